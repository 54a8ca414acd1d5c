//! Cold and warm loads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a model file is when a process starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PageCache {
    /// In the page cache: a load copies memory. Less than 95 % of the file there is INVALID.
    Warm,
    /// On the disk alone: a load reads it. More than 5 % of the file in the page cache is INVALID.
    Cold,
}

impl PageCache {
    /// Its name in a specification.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }
}
