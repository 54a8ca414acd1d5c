//! The table of metrics: name, unit, direction, definition, and how a process collapses to one number.

use qa_protocol::{Metric, Sample};
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
        Metric::LoadTime => ("ms", LowerIsBetter, "a fresh process until the model is loaded"),
    };
    Definition { metric, unit, direction, definition }
}

/// A process's timed samples collapsed to one number, in the metric's unit: total tokens over total time for a rate.
/// `load_ns` is the process's own. `None` when the samples do not hold what the metric needs.
pub fn of_process(metric: Metric, timed: &[&Sample], load_ns: u64) -> Option<f64> {
    const MILLI: f64 = 1e6;
    const MEGA: f64 = 1e6;
    let sum = |f: &dyn Fn(&Sample) -> Option<f64>| timed.iter().map(|s| f(s)).sum::<Option<f64>>();
    let peak = |f: &dyn Fn(&Sample) -> Option<u64>| timed.iter().filter_map(|s| f(s)).max();
    if timed.is_empty() {
        return None;
    }
    let value = match metric {
        Metric::DecodeRate => {
            let tokens: f64 = timed.iter().map(|s| f64::from(s.decode_tokens)).sum();
            tokens / (sum(&|s| s.decode_ns)? * 1e-9)
        }
        Metric::PrefillRate => {
            let tokens: f64 = timed.iter().map(|s| f64::from(s.prompt_tokens)).sum();
            tokens / (sum(&|s| s.prefill_ns)? * 1e-9)
        }
        Metric::TimeToFirstToken => sum(&|s| s.prefill_ns)? / timed.len() as f64 / MILLI,
        Metric::InterTokenLatencyP99 => {
            let mut all: Vec<f64> = timed.iter().flat_map(|s| s.token_ns.iter().copied()).collect();
            if all.is_empty() {
                return None;
            }
            all.sort_by(f64::total_cmp);
            // The smallest value that at least 99 % do not exceed: an observed latency, never an interpolated one.
            let rank = (all.len() as f64 * 0.99).ceil() as usize;
            all[rank.clamp(1, all.len()) - 1] / MILLI
        }
        Metric::PeakHostMemory => peak(&|s| s.memory.host_peak_bytes)? as f64 / MEGA,
        Metric::PeakDeviceMemory => peak(&|s| s.memory.device_peak_bytes)? as f64 / MEGA,
        Metric::LoadTime => load_ns as f64 / MILLI,
    };
    (value.is_finite() && value > 0.0).then_some(value)
}
