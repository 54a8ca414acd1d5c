//! The timeline of a token, ready to be drawn.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What ran for one token of an untimed decode, and what that adds up to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokenTimeline {
    /// The arm.
    pub arm: String,
    /// The workload.
    pub workload: String,
    /// Who took the times, and what that disturbs.
    pub source: String,
    /// Which token of the decode; counts from 0.
    pub token: u32,
    /// What runs beside each other.
    pub lanes: Vec<TimelineLane>,
    /// Kernels or phases, in the order in which they begin.
    pub spans: Vec<TimelineSpan>,
    /// The same, summed by name, the longest first; looks at single blocks left out.
    pub by_name: Vec<TimelineRow>,
    /// From the first begin to the last end, in microseconds.
    pub total_us: f64,
    /// Within it, how long at least one span ran.
    pub busy_us: f64,
    /// Within it, how long spans of two streams or more ran at once.
    pub overlap_us: f64,
    /// Bytes of weights read.
    pub bytes: u64,
    /// Read bandwidth that the backend measured on this card, in bytes a second.
    pub ceiling_bytes_per_s: Option<u64>,
    /// Bytes over the whole time, as a share of that bandwidth.
    pub share: Option<f64>,
}

/// Something that does one thing after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineLane {
    /// Its name.
    pub name: String,
    /// Whether it is a close look at what another lane holds already.
    pub detail: bool,
}

/// A kernel, or a phase of a resident one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineSpan {
    /// Kernel or phase.
    pub name: String,
    /// Index of its lane.
    pub lane: u32,
    /// Block of the model, where it belongs to one.
    pub layer: Option<u32>,
    /// Microseconds since the token began.
    pub begin_us: f64,
    /// Microseconds since the token began.
    pub end_us: f64,
    /// How long it only waited, from its begin on: until the one before it on its lane had ended, or as long as it says.
    pub wait_us: Option<f64>,
    /// The rest: how long it ran.
    pub time_us: f64,
    /// Bytes of weights that it reads.
    pub bytes: u64,
    /// Its bytes over the time that it ran, as a share of the measured bandwidth.
    pub share: Option<f64>,
}

/// All spans of one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineRow {
    /// Kernel or phase.
    pub name: String,
    /// How often it ran.
    pub count: u32,
    /// How long, together, in microseconds.
    pub time_us: f64,
    /// Of the time of all spans.
    pub of_time: f64,
    /// Bytes of weights that they read.
    pub bytes: u64,
    /// Their bytes over their time, as a share of the measured bandwidth.
    pub share: Option<f64>,
}
