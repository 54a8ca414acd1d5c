//! What an arm is compared with: another arm of the same run, or an earlier run.

use schemars::JsonSchema;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a claim compares its arm with.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Over {
    /// Another arm, measured in the same blocks.
    Arm(String),
    /// What an arm was in an earlier run, as the history has it.
    Baseline(Baseline),
}

/// An arm in the last run of a branch that is in the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The branch, as `qa history add` noted it.
    pub baseline: String,
    /// The arm's name in that run; that of the claim's own arm when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<String>,
    /// How many hours older than this run it may be.
    #[serde(default = "a_month")]
    pub max_age_h: f64,
}

fn a_month() -> f64 {
    720.0
}

impl Over {
    /// The arm of the same run.
    pub fn arm(&self) -> Option<&String> {
        match self {
            Self::Arm(arm) => Some(arm),
            Self::Baseline(_) => None,
        }
    }

    /// The earlier run.
    pub fn baseline(&self) -> Option<&Baseline> {
        match self {
            Self::Arm(_) => None,
            Self::Baseline(baseline) => Some(baseline),
        }
    }
}

/// By hand, since an untagged enum's derived error says neither what was found nor what was expected.
impl<'de> Deserialize<'de> for Over {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ArmOrBaseline;
        impl<'de> Visitor<'de> for ArmOrBaseline {
            type Value = Over;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an arm, or `{ baseline: main }`")
            }

            fn visit_str<E: de::Error>(self, arm: &str) -> Result<Over, E> {
                Ok(Over::Arm(arm.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Over, A::Error> {
                Ok(Over::Baseline(Deserialize::deserialize(de::value::MapAccessDeserializer::new(map))?))
            }
        }
        deserializer.deserialize_any(ArmOrBaseline)
    }
}
