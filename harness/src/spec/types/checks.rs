//! Claims that facts decide: output, counters, compiled code, the state of the machine and of the run.

use super::AmountBound;
use schemars::JsonSchema;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// The output is right: teacher-forced scores on a text, and the tokens of the timed iterations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Correct {
    /// The arm to be checked.
    pub arm: String,
    /// `reference` (the oracle on the arm's own model file), or an arm of the same model.
    pub against: String,
    /// A text file, relative to the specification; `heldout`, the embedded text, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<PathBuf>,
    /// How many tokens of the text are used; a multiple of `context`.
    #[serde(default = "Correct::default_tokens")]
    pub tokens: u32,
    /// Window length in tokens; the second half of each window is scored.
    #[serde(default = "Correct::default_context")]
    pub context: u32,
    /// `default`, by the model's format, or explicit bars.
    #[serde(default)]
    pub tolerance: Tolerance,
}

impl Correct {
    fn default_tokens() -> u32 {
        1024
    }
    fn default_context() -> u32 {
        256
    }
}

/// How far two outputs may differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tolerance {
    /// By the model's format: float formats are held to the float bars, quantised ones to those of int8 activations.
    #[default]
    Default,
    /// Explicit bars.
    #[serde(untagged)]
    Bars(Bars),
}

/// By hand, as for [`super::Blocks`].
impl<'de> Deserialize<'de> for Tolerance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DefaultOrBars;
        impl<'de> Visitor<'de> for DefaultOrBars {
            type Value = Tolerance;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`default`, or `{ mean_kl: ..., top1_margin: ..., ln_ppl: ... }`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Tolerance, E> {
                if name == "default" { Ok(Tolerance::Default) } else { Err(E::unknown_variant(name, &["default"])) }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Tolerance, A::Error> {
                Deserialize::deserialize(de::value::MapAccessDeserializer::new(map)).map(Tolerance::Bars)
            }
        }
        deserializer.deserialize_any(DefaultOrBars)
    }
}

/// Explicit bars of [`Tolerance`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bars {
    /// Largest mean Kullback-Leibler divergence, in nats.
    pub mean_kl: f64,
    /// The top token must agree wherever the oracle's margin between its first two exceeds this, in nats.
    pub top1_margin: f64,
    /// Largest |difference of the log of perplexity|.
    pub ln_ppl: f64,
}

/// Bounds on counters, per decoded token, in numbers or by the layers of the arm's model (`layers + 4`). An arm that did
/// not count one fails the check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WitnessCheck {
    /// The arm.
    pub arm: String,
    /// Which workload; see `workloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Kernel launches a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launches_per_token: Option<AmountBound>,
    /// Graph launches a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph_replays_per_token: Option<AmountBound>,
    /// Streams used in the decode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<AmountBound>,
    /// Grid-wide barriers a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid_syncs_per_token: Option<AmountBound>,
    /// Token positions computed a token: 1 with a KV cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions_per_token: Option<AmountBound>,
    /// Share of the drafts that held, of those that were held against what the model chose. A draft after one that did not
    /// hold is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft_acceptance: Option<AmountBound>,
}

/// A closed range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// Smallest allowed value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Largest allowed value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
}

/// Facts of the compiled kernels of an arm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelCheck {
    /// The arm.
    pub arm: String,
    /// An entry point that must exist; the bounds below are about it, or about every kernel when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// Registers a thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registers: Option<Bound>,
    /// Spilled bytes a thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spill_bytes: Option<Bound>,
    /// Shared memory a block, declared and asked for, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_bytes: Option<Bound>,
    /// Barrier instructions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barriers: Option<Bound>,
}

/// A check of one arm without parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfArm {
    /// The arm.
    pub of: String,
    /// Which workload; see `workloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
}

/// How much was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleSize {
    /// The arms.
    pub arms: Vec<String>,
    /// Which workload; see `workloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Timed iterations, summed over processes.
    pub iterations_at_least: u32,
    /// Processes.
    pub processes_at_least: u32,
}

/// State of the GPU while sampling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuCheck {
    /// The arms.
    pub arms: Vec<String>,
    /// What must hold.
    pub state: GpuState,
}

/// What must hold of the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GpuState {
    /// Clocks do not move.
    ClocksStable,
    /// No throttle reason is set.
    NotThrottled,
    /// No foreign process.
    Exclusive,
}

/// Facts about the run itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FactCheck {
    /// The arms.
    pub arms: Vec<String>,
    /// What must hold.
    pub fact: Fact,
}

/// A fact about the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Every process ran its warm-up, and no warm-up sample entered a statistic.
    WarmupExcluded,
    /// The load time of every process is recorded, apart from the timed iterations.
    ColdStartReported,
    /// Name, version and resolved options of every arm are recorded, and did not change during the run.
    VersionsRecorded,
    /// Same model file by hash and same token counts in every arm.
    SameInputs,
    /// Every arm ran on the same host and the same device.
    SameHardware,
    /// The results are valid against the published JSON schema.
    ResultsValid,
}

/// Decode for a long time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Soak {
    /// The arm.
    pub of: String,
    /// Which workload; see `workloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// What the claim says, in seconds.
    pub duration_s: f64,
    /// How long this run decodes, in seconds; shorter than `duration_s` is INCONCLUSIVE at best.
    pub run_s: f64,
    /// Largest relative drift of the rate and growth of memory from the first fifth to the last.
    #[serde(default = "Soak::default_drift")]
    pub drift_at_most: f64,
}

impl Soak {
    fn default_drift() -> f64 {
        0.05
    }
}

/// A program that must exit as said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Program and arguments; no shell.
    pub argv: Vec<String>,
    /// The exit status that passes.
    #[serde(default)]
    pub exit: i32,
    /// Deadline in seconds.
    #[serde(default = "Program::default_timeout")]
    pub timeout_s: f64,
}

impl Program {
    fn default_timeout() -> f64 {
        60.0
    }
}
