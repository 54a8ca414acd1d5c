//! The table of metrics: name, unit, direction, definition, and how a process collapses to one number.

mod load;

use crate::samples::{Part, Row};
use crate::spec::Load;
use qa_protocol::{Metric, ServedRequest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// A larger value is better.
    HigherIsBetter,
    /// A smaller value is better.
    LowerIsBetter,
}

/// What a metric means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The metric.
    pub metric: Metric,
    /// Unit of its value, such as `tok/s`.
    pub unit: &'static str,
    /// Which way is better.
    pub direction: Direction,
    /// One sentence.
    pub definition: &'static str,
}

/// The definition of a metric.
pub fn definition(metric: Metric) -> Definition {
    use Direction::{HigherIsBetter, LowerIsBetter};
    let (unit, direction, definition) = match metric {
        Metric::DecodeRate => (
            "tok/s",
            HigherIsBetter,
            "single-token forward passes over the time from the first generated id on the host to the last",
        ),
        Metric::PrefillRate => ("tok/s", HigherIsBetter, "prompt tokens over the time to the first generated id"),
        Metric::TimeToFirstToken => ("ms", LowerIsBetter, "prompt ids on the host to the first generated id"),
        Metric::InterTokenLatencyP99 => ("ms", LowerIsBetter, "99th percentile of the time of a token, by process"),
        Metric::PeakHostMemory => ("MB", LowerIsBetter, "peak resident set of the engine's process"),
        Metric::PeakDeviceMemory => {
            ("MB", LowerIsBetter, "peak device memory of the arm, as the driver counts it where it can be asked")
        }
        Metric::LoadTime => {
            ("ms", LowerIsBetter, "a fresh process until the model is loaded, after a first one that is not counted")
        }
        Metric::Goodput => {
            ("req/s", HigherIsBetter, "requests of a load that were answered within its bounds, over its time")
        }
        Metric::OutputRate => ("tok/s", HigherIsBetter, "generated tokens of all requests of a load, over its time"),
        Metric::TimeToFirstTokenP50 => {
            ("ms", LowerIsBetter, "median over the requests of a load: when it was due to its first token")
        }
        Metric::TimeToFirstTokenP99 => ("ms", LowerIsBetter, "99th percentile of the same"),
        Metric::InterTokenLatencyP50 => ("ms", LowerIsBetter, "median time of a token, over the requests of a load"),
    };
    Definition { metric, unit, direction, definition }
}

/// A process's timed samples collapsed to one number, in the metric's unit: total tokens over total time for a rate.
/// `load_ns` is the process's own, and `load` that of the workload. `None` when the samples do not hold what the metric needs.
pub fn of_process(metric: Metric, timed: Part<'_>, load_ns: u64, load: Option<&Load>) -> Option<f64> {
    const MILLI: f64 = 1e6;
    const MEGA: f64 = 1e6;
    let sum = |f: fn(Row<'_>) -> Option<f64>| timed.clone().map(f).sum::<Option<f64>>();
    let peak = |f: fn(Row<'_>) -> Option<u64>| timed.clone().filter_map(f).max();
    if timed.len() == 0 {
        return None;
    }
    if let Some(load) = load.filter(|_| metric != Metric::LoadTime) {
        let value = load::of_process(metric, &timed, load)?;
        return Some(if definition(metric).unit == "ms" { value / MILLI } else { value });
    }
    let value = match metric {
        Metric::DecodeRate => {
            let tokens: f64 = timed.clone().map(|s| f64::from(s.work.decode_tokens)).sum();
            tokens / (sum(|s| s.decode_ns)? * 1e-9)
        }
        Metric::PrefillRate => {
            let tokens: f64 = timed.clone().map(|s| f64::from(s.work.prompt_tokens)).sum();
            tokens / (sum(|s| s.prefill_ns)? * 1e-9)
        }
        Metric::TimeToFirstToken => sum(|s| s.prefill_ns)? / timed.len() as f64 / MILLI,
        Metric::InterTokenLatencyP99 => {
            load::percentile(timed.flat_map(|s| s.token_ns).copied().collect(), 0.99)? / MILLI
        }
        Metric::PeakHostMemory => peak(|s| s.memory.host_peak_bytes)? as f64 / MEGA,
        Metric::PeakDeviceMemory => peak(|s| s.memory.device_peak_bytes)? as f64 / MEGA,
        Metric::LoadTime => load_ns as f64 / MILLI,
        Metric::Goodput
        | Metric::OutputRate
        | Metric::TimeToFirstTokenP50
        | Metric::TimeToFirstTokenP99
        | Metric::InterTokenLatencyP50 => return None,
    };
    (value.is_finite() && value > 0.0).then_some(value)
}

/// Whether a request was answered within the bounds of its load.
pub fn in_time(request: &ServedRequest, load: &Load) -> bool {
    load::in_time(request, load)
}
