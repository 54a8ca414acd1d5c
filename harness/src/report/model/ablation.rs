//! What each of several switches contributes, as renderers read it.

use super::{ArmValues, absent_is_nan};
use crate::metrics::Direction;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An ablation, measured. Every factor is over the arm in which all switches are off, and above 1 is better whatever the
/// metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ablation {
    /// Metric name, such as `decode_rate`.
    pub metric: String,
    /// The metric's unit, such as `tok/s`.
    pub unit: String,
    /// Which way is better for the metric.
    pub direction: Direction,
    /// The workload.
    pub workload: String,
    /// The arm in which all switches are off.
    pub arm: String,
    /// One a switch, in the specification's order.
    pub switches: Vec<SwitchResult>,
    /// Every set of switches: fewer before more, and none first.
    pub combinations: Vec<Combination>,
    /// All switches together.
    pub joint: Option<Factor>,
    /// What was claimed of them.
    pub joint_claimed: Option<f64>,
    /// The product of the factors of the switches alone: what all together would give if gains multiplied.
    pub product: Option<Factor>,
    /// The product of the claimed factors, where each switch has one.
    pub product_claimed: Option<f64>,
    /// The joint factor over that product: 1 where gains multiply, less where they overlap.
    pub joint_over_product: Option<Factor>,
    /// One a pair of switches; empty without a Shapley value.
    pub interactions: Vec<Interaction>,
    /// Why there is no Shapley value, when there is none: it needs every combination.
    pub missing: Option<String>,
    /// Blocks in which every combination was measured, and that the numbers rest on.
    pub blocks: u32,
    /// Blocks that were planned at most.
    pub planned: u32,
    /// One-sided confidence with which all bounds that answer one question hold together.
    pub nominal_confidence: f64,
    /// One-sided confidence of each bound.
    pub confidence: AblationConfidence,
}

/// One-sided confidence of each bound: the nominal one, after looks and the other intervals of the same question are paid
/// for (Bonferroni).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AblationConfidence {
    /// Of a combination's factor; they share the error.
    pub combination: f64,
    /// Of a Shapley factor; they share it too.
    pub shapley: f64,
    /// Of an interaction; likewise.
    pub interaction: f64,
    /// Of the product, and of the joint factor over it: one question.
    pub product: f64,
}

/// A factor with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Factor {
    /// Geometric mean over blocks.
    pub estimate: f64,
    /// Lower one-sided bound.
    #[serde(deserialize_with = "absent_is_nan")]
    #[schemars(with = "Option<f64>")]
    pub lower: f64,
    /// Upper one-sided bound.
    #[serde(deserialize_with = "absent_is_nan")]
    #[schemars(with = "Option<f64>")]
    pub upper: f64,
}

/// What a switch does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SwitchResult {
    /// Its name.
    pub name: String,
    /// What was claimed of it alone.
    pub claimed: Option<f64>,
    /// It alone, over none.
    pub alone: Option<Factor>,
    /// Its Shapley value as a factor: its gain averaged over all orders of turning switches on. Those of all switches
    /// multiply to the joint factor.
    pub shapley: Option<Factor>,
    /// Its factor when turned on last, over all the others.
    pub last: Option<f64>,
    /// Its smallest and largest factor over all sets of the others.
    pub range: Option<[f64; 2]>,
}

/// A set of switches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Combination {
    /// The arm in which this set is on.
    pub arm: String,
    /// Whether each switch is on, in the order of `switches`.
    pub on: Vec<bool>,
    /// The metric over processes; nothing where it was not measured.
    pub values: Option<ArmValues>,
    /// Over none; nothing for none itself, and where it cannot be used.
    pub factor: Option<Factor>,
    /// What the factors of its switches alone multiply to.
    pub product: Option<f64>,
    /// Switches that the engine says change nothing here, by construction.
    pub without_effect: Vec<String>,
    /// Why it cannot be used, when it cannot.
    pub problem: Option<String>,
}

/// How two switches act on each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interaction {
    /// Both names.
    pub switches: [String; 2],
    /// By what the factor of one is multiplied when the other is on, averaged over what else is on (Shapley interaction
    /// index). 1: they multiply; below: they overlap.
    pub factor: Factor,
}
