//! What a plain scalar means, by YAML 1.2's core schema (<https://yaml.org/spec/1.2.2/#103-core-schema>).

use super::node::{Kind, Text};
use serde_json::Number;

/// The value of a scalar without quotes.
///
/// # Errors
/// For a number that this language has no use for: infinite, not a number, or an integer beyond 64 bits.
pub fn resolve(plain: &str) -> Result<Kind, &'static str> {
    let kind = match plain {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Bool(true),
        "false" | "False" | "FALSE" => Kind::Bool(false),
        _ => match number(plain)? {
            Some(number) => Kind::Number(number),
            None => Kind::Text(Text { value: plain.to_owned(), substituted: false, from_outside: false }),
        },
    };
    Ok(kind)
}

/// The number that a plain scalar is, or `None` when it is a string.
fn number(plain: &str) -> Result<Option<Number>, &'static str> {
    let unsigned = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(plain, ".nan" | ".NaN" | ".NAN") {
        return Err("a number must be finite");
    }
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok().map(Number::from);
    for (prefix, base) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = plain.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_digit(base))
        {
            return radix(digits, base).map(Some).ok_or("an integer must fit into 64 bits");
        }
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let integer = plain.strip_prefix('+').unwrap_or(plain);
        let number = integer.parse::<u64>().map(Number::from).or_else(|_| integer.parse::<i64>().map(Number::from));
        return number.map(Some).map_err(|_| "an integer must fit into 64 bits");
    }
    if !is_float(unsigned) {
        return Ok(None);
    }
    let value: f64 = plain.parse().map_err(|_| "a number must be finite")?;
    Number::from_f64(value).map(Some).ok_or("a number must be finite")
}

/// `[0-9]* . [0-9]* ([eE] [-+]? [0-9]+)?` with at least one digit before the exponent.
fn is_float(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['-', '+']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As another implementation reads the same text.
    fn peer(text: &str) -> serde_json::Value {
        serde_yaml::from_str(text).unwrap_or(serde_json::Value::Null)
    }

    #[test]
    fn scalars_mean_what_another_implementation_says() {
        let rows = [
            "1",
            "-1",
            "+1",
            "0",
            "007",
            "1.5",
            "-.5",
            "1e3",
            "1.5e-3",
            "0x1F",
            "0o17",
            "18446744073709551615",
            "true",
            "True",
            "false",
            "null",
            "~",
            "a",
            "1a",
            "1.2.3",
            "e5",
            "1e",
            "yes",
            "no",
            "on",
            "q4_k_m",
            "12:30",
            "2026-01-08",
            "0x",
            "0xg",
            "1_000",
            "best",
        ];
        for row in rows {
            let mine = match resolve(row) {
                Ok(Kind::Null) => serde_json::Value::Null,
                Ok(Kind::Bool(value)) => value.into(),
                Ok(Kind::Number(number)) => number.into(),
                Ok(Kind::Text(text)) => text.value.into(),
                other => panic!("{row}: {other:?}"),
            };
            // A leading zero is octal to YAML 1.1, which the peer therefore reads as a string; 1.2 says a decimal.
            if row == "007" {
                assert_eq!(mine, serde_json::json!(7));
                continue;
            }
            assert_eq!(mine, peer(row), "{row}");
        }
    }

    #[test]
    fn numbers_without_use_are_refused() {
        for row in
            [".inf", "-.inf", ".nan", "1e999", "99999999999999999999", "-9223372036854775809", "0xffffffffffffffffff"]
        {
            assert!(resolve(row).is_err(), "{row}");
        }
    }
}
