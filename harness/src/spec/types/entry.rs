//! Checkpoints and acceptance points.

use super::{
    Ablation, Correct, Effect, FactCheck, Gain, GpuCheck, KernelCheck, Matrix, OfArm, Program, Projection, Require,
    SampleSize, Significance, Soak, Variation, WitnessCheck,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A checkpoint or an acceptance point: what is claimed. At least one check; each gets its own row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Unique, such as `POINT-41`.
    pub id: String,
    /// One line.
    pub title: String,
    /// A paragraph for the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether the run's verdict depends on this entry. True unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// Entries that must pass first; where one does not, this one is BLOCKED by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Separate claims of one family share the error (Bonferroni).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Variants; see `models`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
    /// A bound on a ratio of two arms, or on one arm's metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<Require>,
    /// A claimed gain, judged as "at least as much as claimed".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gain: Option<Gain>,
    /// What each of several switches contributes to a joint gain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ablation: Option<Ablation>,
    /// A number that somebody expected, printed beside what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<Projection>,
    /// The output is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correct: Option<Correct>,
    /// What ran, by counting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<WitnessCheck>,
    /// Facts of the compiled code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelCheck>,
    /// Same seed, same tokens, bit for bit, over every process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproducible: Option<OfArm>,
    /// Coefficient of variation between processes: its upper bound against a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variation: Option<Variation>,
    /// Effect size of a comparison (Cohen's d of the paired log ratios).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// One-sided p value of a comparison against a ratio of 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub significance: Option<Significance>,
    /// How much was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<SampleSize>,
    /// State of the GPU while sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuCheck>,
    /// Facts about the run itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<FactCheck>,
    /// Where the time of a token goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<OfArm>,
    /// Decode for a long time without fault, leak or drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Soak>,
    /// A program that must exit as said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
}
