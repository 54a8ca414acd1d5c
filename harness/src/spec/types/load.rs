//! Several requests at a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Several requests at a time: an iteration sends `requests` of them, each with a prompt of its own, and is over when the last
/// is answered. Either they arrive at random (`arrivals_per_s`), whatever became of those before, or `clients` send each
/// their next one when the one before is answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Mean arrivals a second of a Poisson process: the open loop. Latencies count from when a request was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals_per_s: Option<f64>,
    /// Clients at a time: the closed loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 512))]
    pub clients: Option<u32>,
    /// Requests an iteration.
    #[schemars(range(min = 1, max = 4096))]
    pub requests: u32,
    /// Seed of arrivals and prompts; every arm gets the same.
    #[serde(default = "first")]
    pub seed: u64,
    /// Most milliseconds from when a request was due to its first token, for a request to count in `goodput`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<f64>,
    /// Most milliseconds a token after the first, in the mean of a request, for it to count in `goodput`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_token_ms: Option<f64>,
    /// Most milliseconds after it is due that the client may send a request of the open loop. Where more than one in a hundred
    /// is later, the client was measured and not the server: INVALID.
    #[serde(default = "ten")]
    pub late_ms: f64,
}

fn first() -> u64 {
    1
}

fn ten() -> f64 {
    10.0
}
