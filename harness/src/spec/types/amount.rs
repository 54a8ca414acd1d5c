//! Counts that depend on the model: `layers + 4`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// A count: a number, or one that grows with the layers of the arm's model, such as `layers`, `layers + 4` or
/// `5 * layers + 3`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amount {
    /// For each layer of the model.
    pub per_layer: f64,
    /// Whatever the model.
    pub fixed: f64,
}

/// A closed range of counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AmountBound {
    /// Smallest allowed value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Amount>,
    /// Largest allowed value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Amount>,
}

impl AmountBound {
    /// Whether it can only be known with a model.
    pub fn needs_layers(self) -> bool {
        self.at_least.into_iter().chain(self.at_most).any(|amount| amount.per_layer != 0.0)
    }

    /// The range for a model of so many layers.
    pub fn of(self, layers: u32) -> super::Bound {
        super::Bound { at_least: self.at_least.map(|a| a.of(layers)), at_most: self.at_most.map(|a| a.of(layers)) }
    }
}

impl Amount {
    /// The count for a model of so many layers.
    pub fn of(self, layers: u32) -> f64 {
        self.per_layer * f64::from(layers) + self.fixed
    }

    fn read(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |word: &str| word.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        let (per_layer, rest) = match words.as_slice() {
            ["layers", rest @ ..] => (1.0, rest),
            [times, "*", "layers", rest @ ..] => (number(times)?, rest),
            _ => return None,
        };
        let fixed = match rest {
            [] => 0.0,
            ["+", more] => number(more)?,
            ["-", less] => -number(less)?,
            _ => return None,
        };
        Some(Self { per_layer, fixed })
    }
}

/// As it is written.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { per_layer, fixed } = self;
        match *per_layer {
            0.0 => return write!(f, "{fixed}"),
            1.0 => write!(f, "layers")?,
            times => write!(f, "{times} * layers")?,
        }
        match *fixed {
            0.0 => Ok(()),
            less if less < 0.0 => write!(f, " - {}", -less),
            more => write!(f, " + {more}"),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.per_layer == 0.0 { serializer.serialize_f64(self.fixed) } else { serializer.collect_str(self) }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrLayers;
        impl Visitor<'_> for NumberOrLayers {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or one by the model: `layers`, `layers + 4`, `5 * layers + 3`")
            }

            fn visit_f64<E: de::Error>(self, fixed: f64) -> Result<Amount, E> {
                Ok(Amount { per_layer: 0.0, fixed })
            }

            fn visit_u64<E: de::Error>(self, fixed: u64) -> Result<Amount, E> {
                self.visit_f64(fixed as f64)
            }

            fn visit_i64<E: de::Error>(self, fixed: i64) -> Result<Amount, E> {
                self.visit_f64(fixed as f64)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                Amount::read(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(NumberOrLayers)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let number = r"\d+(\.\d+)?";
        json_schema!({
            "description": "A count: a number, or one by the layers of the arm's model, such as `layers + 4`.",
            "anyOf": [
                { "type": "number" },
                { "type": "string", "pattern": format!(r"^\s*({number}\s+\*\s+)?layers(\s+[+-]\s+{number})?\s*$") },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn counts_are_numbers_or_grow_with_layers_and_are_written_as_they_are_read() {
        for (written, of_24, again) in [
            (json!(28), 28.0, json!(28.0)),
            (json!(0.5), 0.5, json!(0.5)),
            (json!("layers"), 24.0, json!("layers")),
            (json!("layers + 4"), 28.0, json!("layers + 4")),
            (json!("  layers  -  1 "), 23.0, json!("layers - 1")),
            (json!("5 * layers + 3"), 123.0, json!("5 * layers + 3")),
            (json!("0.5 * layers"), 12.0, json!("0.5 * layers")),
        ] {
            let amount: Amount = serde_json::from_value(written.clone()).unwrap();
            assert!((amount.of(24) - of_24).abs() < 1e-12, "{written}");
            assert_eq!(serde_json::to_value(amount).unwrap(), again, "{written}");
        }
    }

    #[test]
    fn what_is_no_count_is_refused() {
        let validator = jsonschema::draft7::new(
            Amount::json_schema(&mut schemars::generate::SchemaSettings::draft07().into_generator()).as_value(),
        )
        .unwrap();
        for wrong in [
            "",
            "layer",
            "layers+4",
            "layers + ",
            "layers + x",
            "layers + 4 + 4",
            "-1 * layers",
            "4 + layers",
            "NaN * layers",
        ] {
            let error = serde_json::from_value::<Amount>(Value::from(wrong)).unwrap_err().to_string();
            assert!(error.contains("`layers + 4`"), "{error}");
            assert!(!validator.is_valid(&Value::from(wrong)), "{wrong}");
        }
        assert!(validator.is_valid(&json!("5 * layers + 3")) && validator.is_valid(&json!(2)));
    }
}
