//! How numbers are printed, in one place: three or four significant digits, never "NaN" or "inf", and always enough
//! digits that a bound and a margin which differ look different.

/// Printed where there is no number.
pub const ABSENT: &str = "n/a";

/// Most decimals ever printed.
const MOST_DECIMALS: usize = 6;

/// A number with four significant digits: `519.3`, `0.02314`, `12346`; powers of ten beyond 10^9 or below 10^-4.
pub fn value(x: f64) -> String {
    significant(x, 4)
}

/// A number with three significant digits.
pub fn short(x: f64) -> String {
    significant(x, 3)
}

/// A number with so many decimals.
pub fn fixed(x: f64, decimals: usize) -> String {
    if !x.is_finite() {
        return unbounded(x);
    }
    if x.abs() >= 1e9 {
        return significant(x, 4);
    }
    unsigned_zero(format!("{x:.decimals$}"))
}

/// A number as it was written, such as a margin: the shortest decimal that reads back as the same number.
pub fn exact(x: f64) -> String {
    if !x.is_finite() {
        return unbounded(x);
    }
    let magnitude = x.abs();
    if magnitude != 0.0 && !(1e-6..1e12).contains(&magnitude) {
        return format!("{x:e}");
    }
    unsigned_zero(format!("{x}"))
}

/// A confidence as a percentage: `95 %`, `98.33 %`.
pub fn percent(fraction: f64) -> String {
    if !fraction.is_finite() {
        return ABSENT.to_owned();
    }
    let text = format!("{:.2}", fraction * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A p value: `p = 0.0156`, `p < 0.0001`.
pub fn p_value(p: f64) -> String {
    if !p.is_finite() {
        return format!("p {ABSENT}");
    }
    if p < 1e-4 {
        return "p < 0.0001".to_owned();
    }
    format!("p = {}", probability(p))
}

/// A probability with three significant digits, without trailing zeros: `0.0156`, `0.00098`, `0.5`.
pub fn probability(p: f64) -> String {
    let text = significant(p, 3);
    if text.contains('.') && !text.contains('e') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A count of bytes in the largest decimal unit that leaves at least 1: `394.1 MB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut size = count as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{} {}", value(size), UNITS[unit]) }
}

/// Decimals with which an estimate, its bounds and its margins are printed side by side.
///
/// They start at `significant_digits` of the estimate, grow until the half width of the interval shows two units of the last
/// place, and until neither bound reads like a margin that it differs from.
pub fn common_decimals(estimate: f64, bounds: [f64; 2], margins: &[f64], significant_digits: i32) -> usize {
    let mut decimals = decimals_for(estimate, significant_digits);
    let half_width = (bounds[1] - bounds[0]) / 2.0;
    while half_width > 0.0 && decimals < MOST_DECIMALS && half_width < 2.0 * 10f64.powf(-(decimals as f64)) {
        decimals += 1;
    }
    let alike = |decimals: usize| {
        margins.iter().any(|&margin| {
            bounds.iter().any(|&bound| {
                bound.is_finite()
                    && bound.total_cmp(&margin).is_ne()
                    && fixed(bound, decimals) == fixed(margin, decimals)
            })
        })
    };
    while decimals < MOST_DECIMALS && alike(decimals) {
        decimals += 1;
    }
    decimals
}

fn significant(x: f64, digits: i32) -> String {
    if !x.is_finite() {
        return unbounded(x);
    }
    let magnitude = x.abs();
    if magnitude != 0.0 && !(1e-4..1e9).contains(&magnitude) {
        return format!("{x:.*e}", digits.saturating_sub(1) as usize);
    }
    unsigned_zero(format!("{x:.*}", decimals_for(x, digits)))
}

/// Decimals that show so many significant digits of a number; none for a number that has them before the point.
fn decimals_for(x: f64, digits: i32) -> usize {
    let magnitude = x.abs();
    if magnitude == 0.0 || !magnitude.is_finite() {
        return 0;
    }
    (digits - 1 - magnitude.log10().floor() as i32).clamp(0, 8) as usize
}

fn unbounded(x: f64) -> String {
    if x.is_nan() { ABSENT.to_owned() } else { "unbounded".to_owned() }
}

/// `-0.00` says something that nobody meant.
fn unsigned_zero(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|b| matches!(b, b'0' | b'.')) => rest.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_four_significant_digits() {
        for (x, text) in [
            (0.0, "0"),
            (519.34, "519.3"),
            (35.2, "35.20"),
            (1.306, "1.306"),
            (0.023_144, "0.02314"),
            (12_345.6, "12346"),
            (-0.000_000_1, "-1.000e-7"),
            (3.2e11, "3.200e11"),
            (-0.0, "0"),
        ] {
            assert_eq!(value(x), text);
        }
        assert_eq!(short(1.306), "1.31");
    }

    #[test]
    fn no_form_shows_a_number_that_is_none() {
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for text in [value(x), short(x), fixed(x, 2), exact(x), percent(x), p_value(x)] {
                let lower = text.to_lowercase();
                assert!(!lower.contains("nan") && !lower.contains("inf"), "{text}");
            }
        }
    }

    #[test]
    fn a_margin_reads_as_it_was_written() {
        for (x, text) in [(1.25, "1.25"), (0.999, "0.999"), (1000.0, "1000"), (35.0, "35"), (-0.0, "0"), (1e-9, "1e-9")]
        {
            assert_eq!(exact(x), text);
        }
    }

    #[test]
    fn a_bound_never_reads_like_a_margin_that_it_misses() {
        // 1.2496 misses 1.25 although both are 1.25 in two decimals.
        let decimals = common_decimals(1.31, [1.2496, 1.37], &[1.25], 3);
        assert_eq!(fixed(1.2496, decimals), "1.2496");
        // A bound on the margin itself needs no more digits.
        assert_eq!(common_decimals(1.31, [1.25, 1.37], &[1.25], 3), 2);
    }

    #[test]
    fn a_narrow_interval_gets_the_digits_that_it_earned() {
        assert_eq!(common_decimals(1.000_2, [0.998, 1.002_4], &[0.9], 3), 3);
        assert_eq!(common_decimals(1.31, [1.27, 1.35], &[1.25], 3), 2);
        assert_eq!(common_decimals(130.0, [130.0, 130.0], &[100.0], 3), 0);
        assert_eq!(common_decimals(f64::NAN, [f64::NAN, f64::NAN], &[1.0], 3), 0);
    }

    #[test]
    fn units_and_percentages() {
        assert_eq!(percent(0.95), "95 %");
        assert_eq!(percent(0.983_333), "98.33 %");
        assert_eq!(p_value(0.015_625), "p = 0.0156");
        assert_eq!(p_value(1e-9), "p < 0.0001");
        assert_eq!(p_value(0.000_98), "p = 0.00098");
        assert_eq!(p_value(1.0), "p = 1");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(394_100_000), "394.1 MB");
    }
}
