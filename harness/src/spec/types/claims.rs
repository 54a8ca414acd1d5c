//! Claims that statistics decide.

use super::Over;
use qa_protocol::Metric;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A bound. With `over`: on the ratio `metric(of) / metric(over)`. Without: on the mean of `metric(of)` over processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Require {
    /// What is measured.
    #[schemars(with = "MetricSchema")]
    pub metric: Metric,
    /// The arm that the claim is about.
    pub of: String,
    /// The comparator: another arm, or what an arm was in an earlier run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
    /// Lower margin: PASS when the lower bound reaches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Upper margin: PASS when the upper bound does not exceed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// Equivalence: PASS when both bounds lie within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<[f64; 2]>,
    /// Which workload; see `workloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// `aa` allows the same arm on both sides: what the harness says when nothing differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// Has the claim hold on each kind of card apart that blocks ran on, and not only on all of them together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Per>,
    /// Confidence of this claim alone, in (0.5, 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Why this margin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Require {
    /// The other arm of a comparison within the run.
    pub fn over_arm(&self) -> Option<&String> {
        self.over.as_ref().and_then(Over::arm)
    }

    /// The earlier run of a comparison with one.
    pub fn baseline(&self) -> Option<&super::Baseline> {
        self.over.as_ref().and_then(Over::baseline)
    }
}

/// Schema twin of [`qa_protocol::Metric`].
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code)]
pub(super) enum MetricSchema {
    DecodeRate,
    PrefillRate,
    TimeToFirstToken,
    InterTokenLatencyP99,
    PeakHostMemory,
    PeakDeviceMemory,
    LoadTime,
    Goodput,
    OutputRate,
    TimeToFirstTokenP50,
    TimeToFirstTokenP99,
    InterTokenLatencyP50,
}

/// What a claim holds on apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each kind of card, by its name.
    GpuModel,
}

/// Kinds of control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    /// The same arm twice.
    Aa,
}

/// A claimed gain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gain {
    /// What is measured.
    #[schemars(with = "MetricSchema")]
    pub metric: Metric,
    /// The arm with the change.
    pub of: String,
    /// The arm without.
    pub over: String,
    /// The ratio that was claimed, by whoever claimed it. Projected evidence, until measured.
    pub claimed: f64,
    /// Which workload; see `workloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Whether the claimed gain gates. False unless said otherwise.
    #[serde(default)]
    pub required: bool,
}

/// A number that somebody expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// What was projected.
    #[schemars(with = "MetricSchema")]
    pub metric: Metric,
    /// The arm that it speaks of.
    pub of: String,
    /// The projected value, in the metric's unit.
    pub value: f64,
    /// Which workload; see `workloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Where the number comes from.
    pub source: String,
    /// Whether it gates. False unless said otherwise.
    #[serde(default)]
    pub required: bool,
}

/// A limit on the variation between processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variation {
    /// What is measured.
    #[schemars(with = "MetricSchema")]
    pub metric: Metric,
    /// The arm.
    pub of: String,
    /// Which workload; see `workloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Largest coefficient of variation, such as 0.05.
    pub at_most: f64,
}

/// An effect size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// What is measured.
    #[schemars(with = "MetricSchema")]
    pub metric: Metric,
    /// The arm that should be better.
    pub of: String,
    /// The comparator.
    pub over: String,
    /// Which workload; see `workloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Smallest Cohen's d in the better direction.
    pub at_least: f64,
}

/// A p value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Significance {
    /// What is measured.
    #[schemars(with = "MetricSchema")]
    pub metric: Metric,
    /// The arm that should be better.
    pub of: String,
    /// The comparator.
    pub over: String,
    /// Which workload; see `workloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// One-sided p, in the better direction, must be below this.
    pub p_below: f64,
}
