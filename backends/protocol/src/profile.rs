//! A decode that is looked at and not timed: which kernels ran, when, and on what.

use crate::{Sampling, Witness};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The body of [`crate::Request::Profile`]: the workload, once, under a profiler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileRequest {
    /// Prompt token ids.
    pub prompt: Vec<u32>,
    /// Tokens to generate after the prompt.
    pub generate_tokens: u32,
    /// How the next token is chosen.
    #[serde(default)]
    pub sampling: Sampling,
    /// Go on past the end-of-sequence token.
    #[serde(default)]
    pub ignore_eos: bool,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Single-token forward passes of the decode.
    pub decode_tokens: u32,
    /// The worker's own count of this very decode, made as in a timed one.
    pub witness: Witness,
    /// What somebody else counted of it.
    pub confirmation: Confirmation,
    /// The name by which the driver knows a kernel, where it is another than the worker's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entries: BTreeMap<String, String>,
    /// The timeline of one token, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
}

/// The count of a decode by somebody else than the worker's own code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmation {
    /// A profiler counted too; kernels go by the driver's names.
    Counted {
        /// Which profiler, and its version.
        by: String,
        /// What it counted.
        witness: Witness,
    },
    /// Nobody else did.
    Unconfirmed {
        /// Why, as a sentence.
        reason: String,
    },
}

impl Default for Confirmation {
    fn default() -> Self {
        Self::Unconfirmed { reason: "No profiler was asked.".into() }
    }
}

/// What ran for one token, and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// Who took the times, and what they disturb.
    pub source: String,
    /// Which token of the decode it is; counts from 0.
    pub token: u32,
    /// What runs beside each other.
    pub lanes: Vec<Lane>,
    /// In the order in which they begin.
    pub spans: Vec<Span>,
}

/// Something that does one thing after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Its name, such as `main stream` or `block 7`.
    pub name: String,
    /// What it is.
    pub kind: LaneKind,
}

/// What a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneKind {
    /// A stream of the device, with a span for each kernel. Streams together are the whole token.
    Stream,
    /// A resident grid, with a span for each phase from the first block that begins it to the last that ends it.
    Grid,
    /// One block of a resident grid: a close look, which the grid's lane holds already.
    Block,
}

/// A kernel, or a phase of a resident one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Kernel or phase.
    pub name: String,
    /// Index of its lane.
    pub lane: u32,
    /// Block of the model, where it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<u32>,
    /// Nanoseconds since the token's first span began.
    pub begin_ns: f64,
    /// Nanoseconds since the token's first span began.
    pub end_ns: f64,
    /// How long it waited for what others compute, from `begin_ns` on, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ns: Option<f64>,
    /// Bytes that it reads from device memory, as its sizes say; 0 where that is not known or next to nothing.
    #[serde(default)]
    pub bytes: u64,
}
