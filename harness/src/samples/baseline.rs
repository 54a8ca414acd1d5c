//! An arm of an earlier run, as much of it as a comparison needs.

use qa_protocol::{Device, Metric};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What an arm was in an earlier run. Its own run was judged again from its samples when it was taken over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Where the run is, as the history has it.
    pub path: String,
    /// SHA-256 of its samples.
    pub samples_sha256: String,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// The commit of the folder that it was run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The machine, in words.
    pub machine: String,
    /// Name and version of the engine.
    pub engine: String,
    /// Where it computed.
    pub device: Device,
    /// SHA-256 of the model file; nothing for an arm without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_sha256: Option<String>,
    /// The workload there, as the specification has it.
    pub workload: Value,
    /// Options as they took effect.
    #[serde(default)]
    pub resolved: Map<String, Value>,
    /// How its output was checked.
    pub output: String,
    /// Timed iterations, over all processes.
    pub iterations: u32,
    /// Its values, process by process.
    pub values: Vec<OfMetric>,
}

impl Baseline {
    /// The values of a metric, one a process.
    pub fn of(&self, metric: Metric) -> &[f64] {
        self.values.iter().find(|values| values.metric == metric).map_or(&[], |values| &values.of_processes)
    }
}

/// The values of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfMetric {
    /// The metric.
    pub metric: Metric,
    /// In its unit, one a process.
    pub of_processes: Vec<f64>,
}
