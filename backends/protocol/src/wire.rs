//! Requests and replies as they travel. Unknown fields of a reply are ignored, missing ones are named.

use crate::{Load, Profile, ProfileRequest, ServedRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// A request with the number that its replies repeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestLine {
    /// Chosen by the harness, increasing, unique within a process.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// What the harness asks of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// The first request. Answered by [`Reply::Hello`].
    Hello {
        /// The harness's [`crate::VERSION`].
        protocol: u32,
    },
    /// Load a model, apply options. Answered by [`Reply::Prepared`].
    Prepare(PrepareRequest),
    /// Time iterations. Answered by `warmup + iterations` of [`Reply::Sample`] in order, then [`Reply::Done`].
    Run(RunRequest),
    /// Score tokens. Answered by [`Reply::Score`], one a scored position, then [`Reply::Done`].
    Score(ScoreRequest),
    /// Look at a decode without timing it. Asked only of a worker that says that it can, in a process of its own that was
    /// prepared with `profile`. Answered by [`Reply::Profile`].
    Profile(ProfileRequest),
    /// The last request: exit with status 0, without a reply.
    Bye,
}

/// The body of [`Request::Prepare`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PrepareRequest {
    /// The model to load; absent for a backend that needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelRef>,
    /// The arm's options, as the specification gives them. An unknown name must be refused.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// Nothing that this process does will be timed: it will be asked for a profile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub profile: bool,
    /// Which replicate of the run this process is. Sent to scripted workers only: an engine must not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicate: Option<Replicate>,
}

/// A process's place in a run. A scripted worker's noise is a function of it, so that a resumed run equals an unbroken
/// one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicate {
    /// The arm.
    pub arm: String,
    /// The workload.
    pub workload: String,
    /// The block; counts from 0.
    pub block: u32,
    /// The attempt at that block; counts from 0.
    pub attempt: u32,
    /// 0, or 1 for the second side of a control that compares an arm with itself.
    pub side: u8,
    /// Its place in the block's order; counts from 0.
    pub place: u32,
    /// How many places the block has, at least 1.
    pub places: u32,
}

/// A model file that the harness has hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// Absolute path of the GGUF file.
    pub path: std::path::PathBuf,
    /// SHA-256 of the whole file, lower-case hexadecimal.
    pub sha256: String,
}

/// A quantity that a worker can be asked to time. Names, units and definitions are in the README's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Tokens a second of single-token forward passes: `decode_tokens / decode_ns`.
    DecodeRate,
    /// Prompt tokens a second: `prompt_tokens / prefill_ns`.
    PrefillRate,
    /// Milliseconds from prompt ids on the host to the first generated id: `prefill_ns`.
    TimeToFirstToken,
    /// 99th percentile of `token_ns` within a process, in milliseconds.
    InterTokenLatencyP99,
    /// Peak resident memory of the worker's process group's engine, in bytes.
    PeakHostMemory,
    /// Peak device memory of the worker, in bytes.
    PeakDeviceMemory,
    /// Milliseconds from a fresh process's `prepare` to a loaded model: the cold start.
    LoadTime,
    /// Requests a second that were answered within the bounds of their workload's `load`.
    Goodput,
    /// Generated tokens a second, of all requests of a `load` together.
    OutputRate,
    /// Median over the requests of a `load` of the time from when a request was due to its first token, in milliseconds.
    TimeToFirstTokenP50,
    /// 99th percentile of the same.
    TimeToFirstTokenP99,
    /// Median of `token_ns` over the requests of a `load`, in milliseconds.
    InterTokenLatencyP50,
}

impl Metric {
    /// Every metric, in the order in which documentation lists them.
    pub const ALL: [Self; 12] = [
        Self::DecodeRate,
        Self::PrefillRate,
        Self::TimeToFirstToken,
        Self::InterTokenLatencyP99,
        Self::PeakHostMemory,
        Self::PeakDeviceMemory,
        Self::LoadTime,
        Self::Goodput,
        Self::OutputRate,
        Self::TimeToFirstTokenP50,
        Self::TimeToFirstTokenP99,
        Self::InterTokenLatencyP50,
    ];

    /// Those of one request after the other: the first of [`Self::ALL`].
    pub const SINGLE: [Self; 7] = *Self::ALL.first_chunk().unwrap();

    /// Whether it means something of several requests at a time alone.
    pub fn needs_load(self) -> bool {
        !Self::SINGLE.contains(&self)
    }

    /// Whether it means something of several requests at a time.
    pub fn fits_load(self) -> bool {
        self.needs_load() || matches!(self, Self::TimeToFirstToken | Self::InterTokenLatencyP99 | Self::LoadTime)
    }

    /// The name on the wire and in specifications, such as `decode_rate`.
    pub fn name(self) -> &'static str {
        match self {
            Self::DecodeRate => "decode_rate",
            Self::PrefillRate => "prefill_rate",
            Self::TimeToFirstToken => "time_to_first_token",
            Self::InterTokenLatencyP99 => "inter_token_latency_p99",
            Self::PeakHostMemory => "peak_host_memory",
            Self::PeakDeviceMemory => "peak_device_memory",
            Self::LoadTime => "load_time",
            Self::Goodput => "goodput",
            Self::OutputRate => "output_rate",
            Self::TimeToFirstTokenP50 => "time_to_first_token_p50",
            Self::TimeToFirstTokenP99 => "time_to_first_token_p99",
            Self::InterTokenLatencyP50 => "inter_token_latency_p50",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// The most likely token; the lowest id wins a tie.
    #[default]
    Greedy,
    /// A seeded draw after temperature, top-k and top-p.
    Random {
        /// Divides the logits; above 0.
        temperature: f32,
        /// Keep this many of the likeliest tokens; 0 keeps all.
        top_k: u32,
        /// Keep the smallest set with at least this mass, in (0, 1].
        top_p: f32,
        /// Same seed, same tokens.
        seed: u64,
    },
}

/// The body of [`Request::Run`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRequest {
    /// Prompt token ids. A program that takes no prompt uses their count.
    pub prompt: Vec<u32>,
    /// Tokens to generate after the prompt.
    pub generate_tokens: u32,
    /// How the next token is chosen.
    #[serde(default)]
    pub sampling: Sampling,
    /// Go on past the end-of-sequence token.
    #[serde(default)]
    pub ignore_eos: bool,
    /// Untimed iterations first; they are sent as samples with `warmup: true`.
    pub warmup: u32,
    /// Timed iterations.
    pub iterations: u32,
    /// What the samples must allow to be computed. A worker that cannot give one answers `unsupported`.
    pub metrics: Vec<Metric>,
    /// Whether generated ids are wanted. A worker whose timed program returns none then generates beside it.
    pub tokens: bool,
    /// Several requests at a time, for a worker that says `load` among its capabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
}

/// The body of [`Request::Score`]: teacher-forced probabilities of given tokens.
///
/// `tokens` is cut into windows of `context`; each is evaluated from an empty cache, and in each the
/// predictions of the tokens at window offsets `first..context` are scored (offset `first` is predicted from the
/// `first` tokens before it; `first` is at least 1). A last, incomplete window is dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreRequest {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// The text that the ids came from, for a program that tokenises itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Window length, in tokens.
    pub context: u32,
    /// First scored offset within a window.
    pub first: u32,
    /// How many of the likeliest tokens to return for a position.
    pub top: u32,
}

/// A reply with the number of its request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplyLine {
    /// The request's number.
    pub id: u64,
    /// The answer.
    #[serde(flatten)]
    pub reply: Reply,
}

/// What a worker answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply {
    /// Who answers.
    Hello(Hello),
    /// The model is loaded.
    Prepared(Prepared),
    /// One iteration.
    Sample(Sample),
    /// One scored position.
    Score(ScoreRow),
    /// What was seen of a decode.
    Profile(Profile),
    /// The request is complete.
    Done,
    /// The request failed; the worker may be asked again unless it says otherwise by exiting.
    Error(Failure),
}

impl Hello {
    /// The greeting of a worker that is built from this workspace: the version that it has in common with everything here,
    /// and how it was built.
    pub fn of_workspace(name: &str, capabilities: Capabilities) -> Self {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let build = [("profile", profile), ("arch", std::env::consts::ARCH)];
        Self {
            protocol: crate::VERSION,
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: build.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            capabilities,
        }
    }
}

/// Who a worker is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The worker's [`crate::VERSION`].
    pub protocol: u32,
    /// Name of the engine, such as `llama.cpp`.
    pub name: String,
    /// Version or commit of the engine.
    pub version: String,
    /// How it was built: compiler, features, backends.
    #[serde(default)]
    pub build: BTreeMap<String, String>,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// What a worker can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Metrics that it can be asked for.
    pub metrics: Vec<Metric>,
    /// Where generated ids come from; absent when it returns none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenSource>,
    /// Whether it answers `score`.
    #[serde(default)]
    pub score: bool,
    /// Whether it answers `profile`.
    #[serde(default)]
    pub profile: bool,
    /// Whether it can be asked for several requests at a time.
    #[serde(default)]
    pub load: bool,
}

/// Where the ids of a sample come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// From the very iteration that was timed.
    Timed,
    /// From another program of the same build, file and options: "checked beside".
    Beside,
}

/// What was loaded, and where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// Every option as it took effect, defaults included.
    #[serde(default)]
    pub resolved: Map<String, Value>,
    /// Time to load, in nanoseconds of the worker's monotonic clock.
    pub load_ns: u64,
    /// Peak memory so far.
    #[serde(default)]
    pub memory: Memory,
    /// Where it runs.
    pub device: Device,
    /// Facts of compiled kernels, for a backend that has such.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<KernelFacts>,
}

/// What the compiler says of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFacts {
    /// Entry point.
    pub name: String,
    /// Registers a thread.
    pub registers: u32,
    /// Bytes spilled to local memory a thread.
    pub spill_bytes: u32,
    /// Shared memory a block, in bytes: what the code declares and what its launches ask for.
    pub shared_bytes: u32,
    /// Barrier instructions in the code.
    pub barriers: u32,
}

/// Peak memory, in bytes, where known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Peak resident set of the engine's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_peak_bytes: Option<u64>,
    /// Peak device memory of the engine's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_peak_bytes: Option<u64>,
}

/// Where a worker computes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The class of device.
    pub kind: DeviceKind,
    /// Marketing name, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Stable identity of the card, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Driver version, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Measured read bandwidth in bytes a second, for the roofline gate, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bytes_per_s: Option<u64>,
}

/// The class of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// The host's processor.
    #[default]
    Cpu,
    /// A graphics card.
    Gpu,
    /// Nothing real: a scripted worker.
    Simulated,
}

/// One iteration: prefill of the prompt, then generation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Counts from 0 within a `run`, warm-up included.
    pub index: u32,
    /// Whether this iteration is warm-up, and excluded from every statistic.
    pub warmup: bool,
    /// Prompt ids on the host until the first generated id on the host, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_ns: Option<f64>,
    /// First generated id on the host until the last, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_ns: Option<f64>,
    /// Single-token forward passes within `decode_ns`.
    #[serde(default)]
    pub decode_tokens: u32,
    /// Time of each of those passes, in nanoseconds, where the worker sees them apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_ns: Vec<f64>,
    /// Prompt tokens that were evaluated.
    pub prompt_tokens: u32,
    /// Generated ids, where asked for and known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<u32>>,
    /// Where `tokens` come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_source: Option<TokenSource>,
    /// What became of each request of a `load`, in the order of its prompts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<ServedRequest>,
    /// What ran, by counting.
    #[serde(default)]
    pub witness: Witness,
    /// Peak memory so far.
    #[serde(default)]
    pub memory: Memory,
}

/// Proof of what ran in a decode, counted while it ran. Absent counters were not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Kernel launches, a graph's nodes not included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launches: Option<u64>,
    /// Graph launches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph_replays: Option<u64>,
    /// Distinct streams that received work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<u64>,
    /// Barriers across a whole grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid_syncs: Option<u64>,
    /// Token positions whose hidden states were computed during the decode: one a token with a KV cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<u64>,
    /// What became of drafts, where tokens were drafted and verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drafts: Option<Drafts>,
    /// Launches by kernel name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kernels: BTreeMap<String, u64>,
}

/// What became of the drafts of a decode. A draft after one that was rejected is neither accepted nor rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drafts {
    /// Passes over the weights.
    pub passes: u64,
    /// Tokens that were drafted.
    pub drafted: u64,
    /// Those that were what the model itself chose.
    pub accepted: u64,
    /// Those that were not, the first of its pass each.
    pub rejected: u64,
    /// Generated tokens before the text began to repeat itself to its end, where it did and drafts were taken from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycles_from: Option<u32>,
}

/// The model's belief about one token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoreRow {
    /// Index in [`ScoreRequest::tokens`] of the token that is predicted.
    pub index: u32,
    /// Negative log-likelihood of that token, in nats.
    pub nll: f64,
    /// The likeliest tokens with their log-probabilities in nats, likeliest first.
    pub top: Vec<(u32, f32)>,
    /// Probability mass of all other tokens.
    pub tail: f64,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What the failure means for a verdict.
    pub kind: FailureKind,
    /// One or two sentences for a stranger: what, where, and what would mend it.
    pub message: String,
}

/// What a failure means for a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Something it needs is not here: a GPU, a program, a model.
    Blocked,
    /// The option or workload makes no sense to this backend.
    Unsupported,
    /// What ran is not what was asked for, such as a comparator on the wrong device.
    Invalid,
    /// It broke.
    Failed,
}

impl Failure {
    /// Something that the worker needs is not here.
    pub fn blocked(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Blocked, message: message.into() }
    }

    /// The request makes no sense to this backend.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Unsupported, message: message.into() }
    }

    /// What ran is not what was asked for.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Invalid, message: message.into() }
    }

    /// The worker broke.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Failed, message: message.into() }
    }
}
