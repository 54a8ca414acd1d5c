//! Several requests at a time: when each is sent, and what became of it.

use serde::{Deserialize, Serialize};

/// The requests of a `run` that are not one after the other. An iteration sends `requests` of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// When requests are sent.
    pub arrivals: Arrivals,
    /// Requests an iteration.
    pub requests: u32,
    /// A prompt for each request, iteration after iteration, as token ids. The first of each iteration is the `prompt` of the
    /// request; no other comes twice, so that no cache of prompts has it.
    pub prompts: Vec<Vec<u32>>,
}

/// When requests are sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// At given times, whatever became of those before.
    Open {
        /// For each request of an iteration, nanoseconds after its begin, in increasing order.
        at_ns: Vec<f64>,
    },
    /// By clients that each send their next request when the one before is answered.
    Closed {
        /// How many.
        clients: u32,
    },
}

/// What became of a request. Times are nanoseconds since its iteration began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServedRequest {
    /// When it was to be sent: as given, or when its client was free. Latencies count from here, so that a request which
    /// waits for its turn to be sent has waited.
    pub scheduled_ns: f64,
    /// When it was sent.
    pub sent_ns: f64,
    /// When its first token arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ns: Option<f64>,
    /// When its last token arrived, or it failed.
    pub ended_ns: f64,
    /// Generated tokens.
    pub tokens: u32,
    /// Time between one token and the next, where each arrived by itself: one fewer than `tokens`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_ns: Vec<f64>,
    /// Why there is no answer, where there is none. Such a request counts: it was never answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl ServedRequest {
    /// From when it was to be sent to its first token, in nanoseconds; infinite where there is no answer.
    pub fn first_token_ns(&self) -> f64 {
        match (self.first_ns, &self.error) {
            (Some(first), None) => first - self.scheduled_ns,
            _ => f64::INFINITY,
        }
    }

    /// The mean time of a token after the first, in nanoseconds; 0 for an answer of one token, infinite where there is none.
    pub fn per_token_ns(&self) -> f64 {
        match (self.first_ns, &self.error) {
            (Some(_), None) if self.tokens < 2 => 0.0,
            (Some(first), None) => (self.ended_ns - first) / f64::from(self.tokens - 1),
            _ => f64::INFINITY,
        }
    }
}
