//! The specification language as it is written, strict: a field that is not here is refused.
//!
//! These types are the wire form. Their documentation is the language's reference: the JSON schema is generated from it.

use qa_protocol::{Metric, Sampling};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A specification: models, workloads and arms, and the claims to be judged about them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Version of the language.
    pub api_version: ApiVersion,
    /// Short name, used for folders: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// One line for the report's head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A paragraph for the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Other specifications whose models, workloads, arms, checkpoints and acceptance entries are merged in first,
    /// relative to this file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<PathBuf>,
    /// Model files by name.
    #[serde(default)]
    pub models: BTreeMap<String, Model>,
    /// Workloads by name. A claim that names none uses the only one, or the one called `decode`.
    #[serde(default)]
    pub workloads: BTreeMap<String, Workload>,
    /// What is measured, by name.
    #[serde(default)]
    pub arms: BTreeMap<String, Arm>,
    /// How much is measured, in what order, and how sure a verdict must be.
    #[serde(default)]
    pub sampling: SamplingPlan,
    /// Claims about a mechanism: it is what it says, it ran, its output is right, its gain is measured.
    #[serde(default)]
    pub checkpoints: Vec<Entry>,
    /// Claims about the product.
    #[serde(default)]
    pub acceptance: Vec<Entry>,
    /// Risks that the report prints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub risks: Vec<String>,
    /// Remaining steps that the report prints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remaining: Vec<String>,
}

/// Version of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first version.
    #[serde(rename = "qa/v1")]
    V1,
}

/// Where a model comes from. `path` wins when it is not empty; then `embedded`; then `synthesize`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// A GGUF file, relative to the specification. Empty (as an unset `${QA_MODEL:-}` leaves it) means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A model that ships inside `qa`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<EmbeddedModel>,
    /// Real architecture, made-up weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synthesize: Option<Synthesize>,
    /// Variants: one entry for each combination of these values, which replace `${matrix.<name>}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
}

/// A model inside `qa`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EmbeddedModel {
    /// 5.8 million parameters, Qwen2 architecture, trained on Python; Q4_K_M.
    TinyCoder,
}

/// Recipe of a synthetic model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Synthesize {
    /// Architecture and shapes, as `qa model synth --preset` lists them.
    pub preset: String,
    /// Quantisation, as `qa model synth --quant` lists them.
    pub quantization: String,
    /// Same seed, same bytes.
    #[serde(default)]
    pub seed: u64,
}

/// Values that replace `${matrix.<name>}` in the entry's name and fields.
pub type Matrix = BTreeMap<String, Vec<Value>>;

/// Prompt and generation of one iteration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Prompt length in tokens, at least 1: the first tokens of `text` by the model's own tokenizer.
    pub prompt_tokens: u32,
    /// Tokens to generate, at least 1; a decode rate needs at least 2.
    pub generate_tokens: u32,
    /// How the next token is chosen.
    #[serde(default)]
    #[schemars(with = "SamplingSchema")]
    pub sampling: Sampling,
    /// Go on past the end-of-sequence token, so that every arm generates the same count.
    #[serde(default)]
    pub ignore_eos: bool,
    /// A text file for prompts, relative to the specification; the embedded held-out text when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<PathBuf>,
    /// Variants; see `models`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
}

/// Schema twin of [`qa_protocol::Sampling`].
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code)]
enum SamplingSchema {
    /// The most likely token; the lowest id wins a tie.
    Greedy,
    /// A seeded draw.
    Random {
        /// Divides the logits.
        temperature: f32,
        /// Keep this many of the likeliest tokens; 0 keeps all.
        top_k: u32,
        /// Keep the smallest set with at least this mass.
        top_p: f32,
        /// Same seed, same tokens.
        seed: u64,
    },
}

/// Something that is measured: a backend, a model and options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Arm {
    /// The backend: `native`, `reference`, `llama-cpp`, `ollama`, `fake`, or `plugin`.
    pub backend: Backend,
    /// Name of a model above. A backend that needs none may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// For `plugin`: the program that speaks the protocol, and its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Variants; see `models`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
    /// The backend's own options, checked against what it declares.
    #[serde(flatten)]
    pub options: Map<String, Value>,
}

/// Which program an arm runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// The CUDA decoder of this project.
    Native,
    /// The CPU oracle of this project.
    Reference,
    /// The user's llama.cpp.
    LlamaCpp,
    /// The user's Ollama.
    Ollama,
    /// A scripted worker for tests of the harness.
    Fake,
    /// Any program that speaks the protocol.
    Plugin,
}

/// How much is measured, in what order, and how sure a verdict must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingPlan {
    /// Blocks: every arm of a workload once, each in a fresh process.
    pub blocks: Blocks,
    /// Timed iterations a process.
    pub iterations: u32,
    /// Untimed iterations first, a process.
    pub warmup: u32,
    /// Order of arms within blocks.
    pub order: Order,
    /// One-sided confidence of every bound, in (0.5, 1).
    pub confidence: f64,
    /// How the error is spent over declared looks.
    pub spending: Spending,
    /// Seed of the order and of every resampling.
    pub seed: u64,
    /// Deadlines in seconds.
    pub deadlines: Deadlines,
    /// How often a block that broke (an infrastructure error, never a verdict) is run again.
    pub retries: u32,
}

impl Default for SamplingPlan {
    fn default() -> Self {
        Self {
            blocks: Blocks::Count(10),
            iterations: 5,
            warmup: 1,
            order: Order::Mirrored,
            confidence: 0.95,
            spending: Spending::Bonferroni,
            seed: 1,
            deadlines: Deadlines::default(),
            retries: 1,
        }
    }
}

/// How many blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Blocks {
    /// A fixed number.
    Count(u32),
    /// Sequential: stop at the first look at which every claim is decided.
    Looks {
        /// Block counts, increasing.
        looks: Vec<u32>,
    },
}

/// Order of arms within blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// A seeded order that the next block mirrors (with two arms: ABBA).
    Mirrored,
    /// A fresh seeded order in every block.
    Random,
}

/// How the error is spent over declared looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Spending {
    /// An equal part to each look.
    Bonferroni,
    /// Little at first, most at the last look (O'Brien and Fleming's shape).
    OBrienFleming,
}

/// Deadlines, in seconds. A worker that misses one is killed with its process group, and the loss is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Deadlines {
    /// For `hello`.
    pub hello_s: f64,
    /// For `prepare`: loading, compiling.
    pub prepare_s: f64,
    /// For each iteration of `run`.
    pub iteration_s: f64,
    /// For each `score`.
    pub score_s: f64,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { hello_s: 20.0, prepare_s: 300.0, iteration_s: 120.0, score_s: 900.0 }
    }
}

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

/// A bound. With `over`: on the ratio `metric(of) / metric(over)`. Without: on the mean of `metric(of)` over processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Require {
    /// What is measured.
    #[schemars(with = "MetricSchema")]
    pub metric: Metric,
    /// The arm that the claim is about.
    pub of: String,
    /// The comparator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<String>,
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
    /// Confidence of this claim alone, in (0.5, 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Why this margin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Schema twin of [`qa_protocol::Metric`].
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, missing_docs)]
enum MetricSchema {
    DecodeRate,
    PrefillRate,
    TimeToFirstToken,
    InterTokenLatencyP99,
    PeakHostMemory,
    PeakDeviceMemory,
    LoadTime,
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

/// The output is right: teacher-forced scores on a text, and the tokens of the timed iterations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Correct {
    /// The arm to be checked.
    pub arm: String,
    /// `reference` (the oracle on the arm's own model file), or an arm of the same model.
    pub against: String,
    /// A text file, relative to the specification; `heldout` is the embedded text.
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tolerance {
    /// By the model's format: float formats are held to the float bars, quantised ones to those of int8 activations.
    #[default]
    Default,
    /// Explicit bars.
    #[serde(untagged)]
    Bars(Bars),
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

/// Bounds on counters, per decoded token. An arm that did not count one fails the check.
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
    pub launches_per_token: Option<Bound>,
    /// Graph launches a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph_replays_per_token: Option<Bound>,
    /// Streams used in the decode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<Bound>,
    /// Grid-wide barriers a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid_syncs_per_token: Option<Bound>,
    /// Token positions computed a token: 1 with a KV cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions_per_token: Option<Bound>,
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
    /// Static shared memory a block, in bytes.
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
