//! Rates against what bounds them: the bandwidth of a device, and the length of a context.

use crate::metrics::Direction;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How near each arm's decoding comes to reading its weights as fast as its device can.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Roofline {
    /// The workload: the one in which most arms decode.
    pub workload: String,
    /// One a device whose read bandwidth was measured in this run.
    pub ceilings: Vec<Ceiling>,
    /// One an arm.
    pub points: Vec<RooflinePoint>,
}

/// What a device can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ceiling {
    /// The device.
    pub device: String,
    /// Read bandwidth that a backend measured on it, in bytes a second.
    pub bytes_per_s: u64,
}

/// An arm under the roof.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RooflinePoint {
    /// The arm.
    pub arm: String,
    /// Bytes of weights that a token reads.
    pub bytes_per_token: u64,
    /// Median decode rate over processes, in tok/s.
    pub rate: f64,
    /// Both multiplied: bytes of weights read a second.
    pub bytes_per_s: f64,
    /// Of what its device can read, where that was measured.
    pub share: Option<f64>,
}

/// A metric of each arm over the length of the prompt, in workloads that differ in nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sweep {
    /// Metric name, such as `decode_rate`.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// Which way is better.
    pub direction: Direction,
    /// Tokens that each of the workloads generates.
    pub generate_tokens: u32,
    /// Arms that were measured at two lengths or more.
    pub arms: Vec<SweepArm>,
}

/// An arm's part of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SweepArm {
    /// The arm.
    pub arm: String,
    /// By length, ascending.
    pub points: Vec<SweepPoint>,
}

/// An arm at one length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SweepPoint {
    /// Length of the prompt, in tokens.
    pub prompt_tokens: u32,
    /// The workload.
    pub workload: String,
    /// Median over processes, in the metric's unit.
    pub median: f64,
    /// Standard deviation between processes.
    pub sd: f64,
    /// Processes.
    pub processes: u32,
}
