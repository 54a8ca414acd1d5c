//! How much is measured, in what order, and how sure a verdict must be.

use schemars::JsonSchema;
use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How much is measured, in what order, and how sure a verdict must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingPlan {
    /// Blocks: every arm of a workload once, each in a fresh process.
    pub blocks: Blocks,
    /// Timed iterations a process.
    pub iterations: u32,
    /// Untimed iterations first, a process.
    pub warmup: u32,
    /// Order of arms within blocks.
    pub order: Order,
    /// One-sided confidence of every bound, in (0.5, 1).
    pub confidence: f64,
    /// How the error is spent over declared looks.
    pub spending: Spending,
    /// Seed of the order and of every resampling.
    pub seed: u64,
    /// Deadlines in seconds.
    pub deadlines: Deadlines,
    /// How often a block that broke (an infrastructure error, never a verdict) is run again.
    pub retries: u32,
    /// How many hours may lie between the first block of an arm and the last; a run that is resumed later is invalid.
    pub max_age_h: f64,
}

impl Default for SamplingPlan {
    fn default() -> Self {
        Self {
            blocks: Blocks::Count(10),
            iterations: 5,
            warmup: 1,
            order: Order::Mirrored,
            confidence: 0.95,
            spending: Spending::Bonferroni,
            seed: 1,
            deadlines: Deadlines::default(),
            retries: 1,
            max_age_h: 24.0,
        }
    }
}

/// How many blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Blocks {
    /// A fixed number.
    Count(u32),
    /// Sequential: stop at the first look at which every claim is decided.
    Looks {
        /// Block counts, increasing.
        looks: Vec<u32>,
    },
}

/// By hand, since an untagged enum's derived error says neither what was found nor what was expected.
impl<'de> Deserialize<'de> for Blocks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Sequential {
            looks: Vec<u32>,
        }
        struct CountOrLooks;
        impl<'de> Visitor<'de> for CountOrLooks {
            type Value = Blocks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of blocks, or `{ looks: [6, 10, 16] }`")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Blocks, E> {
                let count = u32::try_from(count).map_err(|_| E::invalid_value(Unexpected::Unsigned(count), &self))?;
                Ok(Blocks::Count(count))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Blocks, A::Error> {
                let Sequential { looks } = Deserialize::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Blocks::Looks { looks })
            }
        }
        deserializer.deserialize_any(CountOrLooks)
    }
}

/// Order of arms within blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// A seeded order that the next block mirrors (with two arms: ABBA).
    Mirrored,
    /// A fresh seeded order in every block.
    Random,
}

/// How the error is spent over declared looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Spending {
    /// An equal part to each look.
    Bonferroni,
    /// Little at first, most at the last look (O'Brien and Fleming's shape).
    OBrienFleming,
}

/// Deadlines, in seconds. A worker that misses one is killed with its process group, and the loss is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Deadlines {
    /// For `hello`.
    pub hello_s: f64,
    /// For `prepare`: loading, compiling.
    pub prepare_s: f64,
    /// For each iteration of `run`; for the first of a program that is run once for all of them, as often.
    pub iteration_s: f64,
    /// For each `score`.
    pub score_s: f64,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { hello_s: 20.0, prepare_s: 300.0, iteration_s: 120.0, score_s: 900.0 }
    }
}
