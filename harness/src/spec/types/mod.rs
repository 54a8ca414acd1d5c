//! The specification language as it is written, strict: a field that is not here is refused.
//!
//! These types are the wire form. Their documentation is the language's reference: the JSON schema is generated from it.

mod ablation;
mod amount;
mod checks;
mod claims;
mod entry;
mod load;
mod over;
mod page_cache;
mod plan;

pub use ablation::*;
pub use amount::*;
pub use checks::*;
pub use claims::*;
pub use entry::*;
pub use load::*;
pub use over::*;
pub use page_cache::*;
pub use plan::*;

use qa_protocol::Sampling;
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
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
    /// How many claims share the error of a family of which only a part is here, as `--only` leaves it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub families: BTreeMap<String, u32>,
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
    /// A GGUF file, relative to the specification; or a name: `hf://owner/repo/file.gguf@revision` of the Hugging Face hub, or
    /// `ollama://name:tag` of an Ollama's own store. Empty (as an unset `${QA_MODEL:-}` leaves it) means none.
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
    #[schemars(range(min = 1))]
    pub prompt_tokens: u32,
    /// Tokens to generate, at least 1; a decode rate needs at least 2.
    #[schemars(range(min = 1))]
    pub generate_tokens: u32,
    /// How the next token is chosen.
    #[serde(default)]
    #[schemars(with = "SamplingSchema")]
    pub sampling: Sampling,
    /// Go on past the end-of-sequence token, so that every arm generates the same count.
    #[serde(default)]
    pub ignore_eos: bool,
    /// Several requests at a time; one after the other when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Where the arm's model file is when a timed process starts: in the kernel's page cache, or on the disk alone. However
    /// it was left by whoever read it last when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_cache: Option<PageCache>,
    /// A text file for prompts, relative to the specification; the embedded held-out text when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<PathBuf>,
    /// Variants; see `models`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
}

impl Workload {
    /// Tokens of a sequence: those of the prompt, and those generated.
    pub fn tokens(&self) -> u64 {
        u64::from(self.prompt_tokens) + u64::from(self.generate_tokens)
    }
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// The backend: `native`, `reference`, `llama-cpp`, `ollama`, `openai`, `fake`, or `plugin`.
    pub backend: Backend,
    /// Name of a model above. A backend that needs none may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// For `plugin`: the program that speaks the protocol, and its arguments. For `openai`: a program that serves the arm's
    /// model, where none is named by `url`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Variants; see `models`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
    /// Whether the arm's output must be checked before any claim about it can pass. `unchecked` waives that, for a
    /// program whose output no oracle knows; the report says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputPolicy>,
    /// The backend's own options, checked against what it declares.
    #[serde(flatten)]
    pub options: Map<String, Value>,
}

impl Arm {
    /// What its worker is told: its own options, the program that it is to start, and room for a long workload.
    pub fn worker_options(&self, workload: Option<&Workload>) -> Map<String, Value> {
        let mut options = self.options.clone();
        let needed = workload.map_or(0, Workload::tokens);
        if self.backend == Backend::Native && needed > qa_native::DEFAULT_CONTEXT as u64 {
            options.entry("context").or_insert_with(|| needed.into());
        }
        if self.backend == Backend::OpenAi && !self.command.is_empty() {
            options.insert("command".into(), self.command.clone().into());
        }
        options
    }
}

impl JsonSchema for Arm {
    fn schema_name() -> Cow<'static, str> {
        "Arm".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        super::schema::arm(generator)
    }
}

/// Whether an arm's output must be checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputPolicy {
    /// By the oracle, in the run that is timed.
    #[default]
    Checked,
    /// Not at all: claims rest on the times alone, and the report says so.
    Unchecked,
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
    /// A server with the API of `OpenAI`.
    #[serde(rename = "openai")]
    OpenAi,
    /// A scripted worker for tests of the harness.
    Fake,
    /// Any program that speaks the protocol.
    Plugin,
}
