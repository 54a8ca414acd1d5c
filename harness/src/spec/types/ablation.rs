//! What each of several switches contributes to a joint gain.

use super::{Bound, MetricSchema};
use qa_protocol::Metric;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Every combination of some switches, each measured in every block: what each gains alone, what all gain together,
/// whether the gains multiply, and each switch's average contribution (its Shapley value). Claims about it are judged
/// beside that; without any it is REPORTED, which is no PASS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ablation {
    /// What is measured.
    #[schemars(with = "MetricSchema")]
    pub metric: Metric,
    /// The arm in which every switch is off. For each set of switches there is an arm `<arm>+<switch>+...` with that set
    /// added to its `optimizations`, the switches in the order of `switches`.
    pub arm: String,
    /// The switches, one to five: names of optimisations of the arm's backend.
    pub switches: Vec<String>,
    /// Factors that were claimed, by switch, each alone over none; `joint` is that of all together. Printed beside what
    /// was measured, each in a row that does not gate.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claimed: BTreeMap<String, f64>,
    /// Bounds that gate.
    #[serde(default, skip_serializing_if = "AblationBounds::is_empty")]
    pub require: AblationBounds,
    /// Which workload; see `workloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
}

/// Bounds on the factors of an ablation. A factor above 1 is better, whatever the metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AblationBounds {
    /// By switch: its factor alone, over none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub alone: BTreeMap<String, Bound>,
    /// By switch: its Shapley value, as a factor. Those of all switches multiply to the joint factor.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub shapley: BTreeMap<String, Bound>,
    /// The factor of all switches together, over none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joint: Option<Bound>,
    /// The joint factor over the product of the factors alone: 1 where gains multiply, less where they overlap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joint_over_product: Option<Bound>,
}

impl AblationBounds {
    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
