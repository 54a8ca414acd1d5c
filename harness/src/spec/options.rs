//! Arms' options by backend: the names, types and documentation that specifications are checked against and that the
//! schema shows. Each backend reads its own again when it is prepared; a test holds the two equal.

use super::node::Node;
use super::problem::Problem;
use super::source::Span;
use super::typed;
use super::types::{Backend, Matrix, OutputPolicy};
use qa_protocol::Failure;
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fmt;

/// Options of an arm with `backend: native`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NativeOptions {
    /// Which optimisations are on: a list, `best` (a set fixed for each card beforehand) or `all`.
    pub optimizations: Optimizations,
    /// Element type of cached keys and values.
    pub kv_cache_type: KvCacheType,
    /// Longest sequence in tokens; 4096 when absent, or what the workload needs if that is more. Less than is needed is
    /// refused.
    #[schemars(range(min = 1))]
    pub context: Option<u32>,
    /// Speculative decoding: most tokens that are drafted for each verifying pass; off when absent. What is generated is what
    /// greedy decoding generates, by the kernels of one operation; of `optimizations` only `graph` then acts.
    #[schemars(range(min = 1, max = 15))]
    pub draft_tokens: Option<u32>,
    /// Where drafts come from; `prompt_lookup` when absent. Needs `draft_tokens`.
    pub draft: Option<Draft>,
    /// What activations are when they meet quantised weights.
    pub activations: Activations,
    /// Programmatic dependent launch: a kernel begins to load its weights before the one ahead of it has ended.
    pub dependent_launch: bool,
    /// An older architecture than the card's, whose instructions and shared memory are then all that kernels use: what its
    /// cards would run, measured on this one.
    pub architecture: Option<OlderArchitecture>,
}

impl Default for NativeOptions {
    fn default() -> Self {
        Self {
            optimizations: Optimizations::default(),
            kv_cache_type: KvCacheType::default(),
            context: None,
            draft_tokens: None,
            draft: None,
            activations: Activations::default(),
            dependent_launch: true,
            architecture: None,
        }
    }
}

/// An architecture before `sm_90`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OlderArchitecture {
    /// A100.
    #[serde(rename = "sm_80")]
    Sm80,
    /// RTX 30.
    #[serde(rename = "sm_86")]
    Sm86,
    /// RTX 40.
    #[serde(rename = "sm_89")]
    Sm89,
}

/// Where drafts come from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(untagged)]
pub enum Draft {
    /// The text itself.
    Named(NamedDraft),
    /// A stated acceptance: the continuation, which is generated beforehand and untimed, with some tokens replaced.
    Stated(StatedDraft),
}

/// Drafts with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NamedDraft {
    /// What followed where the prompt or what was generated last read as the text does at its end.
    PromptLookup,
}

/// Drafts that are right with a stated share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatedDraft {
    /// The share of drafts that stay what they are, above 0 and at most 1.
    #[schemars(range(min = 0, max = 1))]
    pub acceptance: f64,
    /// Which ones.
    #[serde(default = "first_seed")]
    pub seed: u64,
}

fn first_seed() -> u64 {
    1
}

/// What activations are when they meet quantised weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activations {
    /// Quantised to 8 bits, block by block, for integer dot products.
    #[default]
    Int8,
    /// Floating point; every format is then held to the bars of the float formats.
    Float,
}

/// A set of optimisations.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Optimizations {
    /// A set by name.
    Named(NamedSet),
    /// These; none of them is the baseline.
    These(Vec<Optimization>),
}

impl Default for Optimizations {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

/// Sets of optimisations with names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NamedSet {
    /// The fastest set for the card, fixed beforehand.
    Best,
    /// All four.
    All,
}

/// An optimisation of the native decoder: an axis that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimization {
    /// Who walks the phases: a resident grid in place of launches by the host.
    Persistent,
    /// How launches are submitted: captured once, replayed for each token.
    Graph,
    /// What overlaps: independent work on several streams.
    Streams,
    /// Fusion: a transformer block in one launch.
    Megakernel,
}

impl Optimization {
    /// Every one, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Persistent, Self::Graph, Self::Streams, Self::Megakernel];

    /// Its name in a specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Persistent => "persistent",
            Self::Graph => "graph",
            Self::Streams => "streams",
            Self::Megakernel => "megakernel",
        }
    }
}

impl<'de> Deserialize<'de> for Optimizations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Set;
        impl<'de> Visitor<'de> for Set {
            type Value = Optimizations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`best`, `all` or a list of `persistent`, `graph`, `streams` and `megakernel`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Optimizations, E> {
                NamedSet::deserialize(de::value::StrDeserializer::<E>::new(name)).map(Optimizations::Named)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, items: A) -> Result<Optimizations, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(items)).map(Optimizations::These)
            }
        }
        deserializer.deserialize_any(Set)
    }
}

/// Element type of a KV cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KvCacheType {
    /// 16 bits.
    #[default]
    F16,
    /// Blocks of 32 with a scale, 8.5 bits.
    Q8_0,
}

/// Options of an arm with `backend: reference`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReferenceOptions {
    /// CPU threads; every core when absent.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u32>,
    /// Keep keys and values between passes. Without it, each pass computes the whole prefix again.
    pub kv_cache: bool,
    /// Dequantised weights to keep in memory, in bytes; half of the machine's memory when absent. What is beyond it is
    /// loaded layer by layer in each pass.
    pub memory_limit_bytes: Option<u64>,
}

impl Default for ReferenceOptions {
    fn default() -> Self {
        Self { threads: None, kv_cache: true, memory_limit_bytes: None }
    }
}

/// Every backend, in the order of the documentation.
pub const BACKENDS: [Backend; 7] = [
    Backend::Native,
    Backend::Reference,
    Backend::LlamaCpp,
    Backend::Ollama,
    Backend::OpenAi,
    Backend::Fake,
    Backend::Plugin,
];

/// Schema twin of the fields that every arm has.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub(super) struct ArmFields {
    /// Which program it runs on; the other options depend on it.
    backend: Backend,
    /// Name of a model. Only `fake` and `plugin` may leave it out.
    model: Option<String>,
    /// The program that speaks the protocol, and its arguments.
    command: Option<Vec<String>>,
    /// Variants: one entry for each combination of these values, which replace `${matrix.<name>}`.
    matrix: Option<Matrix>,
    /// Whether the arm's output must be checked before any claim about it can pass. `unchecked` waives that, for a
    /// program whose output no oracle knows; the report says so.
    output: Option<OutputPolicy>,
}

/// The options of a backend by name; `None` for a plugin, which has any.
pub(super) fn schema(backend: Backend, generator: &mut SchemaGenerator) -> Option<Map<String, Value>> {
    let of = |schema: Schema| schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    match backend {
        Backend::Native => Some(of(NativeOptions::json_schema(generator))),
        Backend::Reference => Some(of(ReferenceOptions::json_schema(generator))),
        Backend::LlamaCpp => Some(of(LlamaCppOptions::json_schema(generator))),
        Backend::Ollama => Some(of(OllamaOptions::json_schema(generator))),
        Backend::OpenAi => Some(of(OpenAiOptions::json_schema(generator))),
        Backend::Fake => Some(fake()),
        Backend::Plugin => None,
    }
}

/// The fields of a script with the kinds of their defaults; what is within them, `qa check` knows.
fn fake() -> Map<String, Value> {
    let Ok(Value::Object(defaults)) = serde_json::to_value(qa_fake::Script::default()) else { return Map::new() };
    let kind = |value: &Value| match value {
        Value::Bool(_) => json!({ "type": "boolean" }),
        Value::Number(_) => json!({ "type": "number" }),
        Value::Array(_) => json!({ "type": "array" }),
        Value::Object(_) | Value::String(_) | Value::Null => json!({}),
    };
    defaults.iter().map(|(name, value)| (name.clone(), kind(value))).collect()
}

/// Schema twin of [`qa_ollama::Options`].
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct OllamaOptions {
    /// Where the server is, as in `OLLAMA_HOST`, which holds when this is absent; `127.0.0.1:11434` without either.
    host: Option<String>,
    /// A model that the server has, such as `qwen2.5-coder:0.5b`; it must be made of the arm's model file. When absent,
    /// the file is handed to the server under a name of its own.
    tag: Option<String>,
    /// Where the model must be. Elsewhere, or in part elsewhere, is invalid.
    device: Option<PlaceSchema>,
    /// Context length to load the model with; a workload must fit.
    #[schemars(range(min = 1))]
    context: Option<u32>,
    /// CPU threads; Ollama's own choice when absent.
    #[schemars(range(min = 1))]
    threads: Option<u32>,
    /// Most tokens of a prompt that are computed at once; Ollama's default when absent.
    #[schemars(range(min = 1))]
    batch_size: Option<u32>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)]
enum PlaceSchema {
    Auto,
    Gpu,
    Cpu,
}

/// Schema twin of [`qa_openai::Options`], but for `command`, which is every arm's.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct OpenAiOptions {
    /// Where the server is, such as `http://127.0.0.1:8000`; `OPENAI_BASE_URL` when absent. Not beside `command`.
    url: Option<String>,
    /// The model's name there; the only one that the server lists when absent.
    served_model: Option<String>,
    /// Where the model is computed, as whoever started the server knows: no server says. `gpu` when absent.
    device: Option<ServedPlaceSchema>,
    /// The environment variable that holds the key, where the server wants one.
    key_variable: Option<String>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)]
enum ServedPlaceSchema {
    Gpu,
    Cpu,
}

/// Schema twin of [`qa_llama_cpp::Options`].
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct LlamaCppOptions {
    /// The folder of llama.cpp's programs, or one of them. When absent, `QA_LLAMA_CPP` and then `PATH` are searched.
    programs: Option<String>,
    /// Layers that the GPU computes: `all`, a number, or `auto` for llama.cpp's own choice. With `all` or a number above
    /// 0, a run that is not on the GPU is invalid; 0 keeps every operation on the CPU.
    gpu_layers: Option<GpuLayersSchema>,
    /// Fused attention: `true`, `false`, or `auto` for llama.cpp's own choice.
    flash_attention: Option<FlashAttentionSchema>,
    /// CPU threads; llama.cpp's own choice when absent.
    #[schemars(range(min = 1))]
    threads: Option<u32>,
    /// Most tokens of a prompt that are submitted at once (`--batch-size`); llama.cpp's default when absent.
    #[schemars(range(min = 1))]
    batch_size: Option<u32>,
    /// Most tokens that are computed at once (`--ubatch-size`); llama.cpp's default when absent.
    #[schemars(range(min = 1))]
    ubatch_size: Option<u32>,
    /// Element type of cached keys, such as `f16` or `q8_0`; llama.cpp's default when absent.
    cache_type_k: Option<String>,
    /// Element type of cached values, likewise.
    cache_type_v: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code)]
enum GpuLayersSchema {
    Named(LayersWord),
    Count(u32),
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code)]
enum LayersWord {
    All,
    Auto,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code)]
enum FlashAttentionSchema {
    Named(FlashWord),
    Switch(bool),
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code)]
enum FlashWord {
    Auto,
}

/// What is wrong with an arm's options. `options` holds them alone; `arm` is where the arm is named.
pub fn check(backend: Backend, options: &Node, at: &[super::node::Step], arm: Span) -> Vec<Problem> {
    let mut tree = options.clone();
    let (problems, values) = match backend {
        Backend::Native => read::<NativeOptions>(&mut tree, at),
        Backend::Reference => read::<ReferenceOptions>(&mut tree, at),
        Backend::LlamaCpp => read::<qa_llama_cpp::Options>(&mut tree, at),
        Backend::Fake => read::<qa_fake::Script>(&mut tree, at),
        Backend::Ollama => read::<qa_ollama::Options>(&mut tree, at),
        Backend::OpenAi => read::<qa_openai::Options>(&mut tree, at),
        // A plugin says at its start what it does not know.
        Backend::Plugin => (Vec::new(), typed::read(&tree).ok()),
    };
    let Some(values) = values.filter(|_| problems.is_empty()) else { return problems };
    let ranges: Result<(), Failure> = match backend {
        Backend::Reference => qa_reference::Options::from_json(&values).map(drop),
        Backend::LlamaCpp => qa_llama_cpp::Options::from_json(&values).map(drop),
        Backend::Fake => qa_fake::Script::from_options(&values).map(drop),
        Backend::Ollama => qa_ollama::Options::from_json(&values).map(drop),
        Backend::OpenAi => qa_openai::Options::from_json(&values).map(drop),
        Backend::Native => qa_native::Options::from_json(&values).map(drop),
        Backend::Plugin => Ok(()),
    };
    let place = |message: &str| {
        let named = options.fields().iter().find(|field| message.contains(&field.name));
        named.map_or(arm, |field| field.value.span)
    };
    let problem = |failure: Failure| Problem::new(place(&failure.message), failure.message, "an option of this arm");
    ranges.err().map(problem).into_iter().collect()
}

fn read<T: de::DeserializeOwned>(
    tree: &mut Node,
    at: &[super::node::Step],
) -> (Vec<Problem>, Option<Map<String, Value>>) {
    let problems = typed::read_all::<T>(tree, at).problems;
    (problems, typed::read(tree).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::generate::SchemaSettings;

    fn names(backend: Backend) -> Vec<String> {
        let schema = schema(backend, &mut SchemaSettings::draft07().into_generator()).unwrap();
        schema.keys().cloned().collect()
    }

    #[test]
    fn the_schema_lists_what_each_backend_reads() {
        assert_eq!(names(Backend::LlamaCpp), qa_llama_cpp::Options::names());
        assert_eq!(names(Backend::Ollama), qa_ollama::Options::names());
        let own: Vec<&str> = qa_openai::Options::names().iter().copied().filter(|name| *name != "command").collect();
        assert_eq!(names(Backend::OpenAi), own);
        let fields = |value: Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(Backend::Fake), fields(serde_json::to_value(qa_fake::Script::default()).unwrap()));
        assert_eq!(names(Backend::Native), fields(serde_json::to_value(NativeOptions::default()).unwrap()));
        assert_eq!(names(Backend::Native), qa_native::options::NAMES);
        assert_eq!(names(Backend::Reference), fields(serde_json::to_value(ReferenceOptions::default()).unwrap()));
    }

    #[test]
    fn every_switch_is_called_as_it_is_written() {
        for switch in Optimization::ALL {
            assert_eq!(serde_json::to_value(switch).unwrap(), switch.name());
        }
        let alike = serde_json::to_value(Optimization::ALL).unwrap();
        let options = Map::from_iter([("optimizations".to_owned(), alike)]);
        assert!(qa_native::Options::from_json(&options).is_ok(), "the backend knows them all");
    }

    #[test]
    fn the_reference_reads_what_is_listed_and_nothing_else() {
        let all = ReferenceOptions { threads: Some(2), kv_cache: false, memory_limit_bytes: Some(1 << 30) };
        let Value::Object(all) = serde_json::to_value(all).unwrap() else { panic!("not a map") };
        qa_reference::Options::from_json(&all).unwrap();
        let refusal = qa_reference::Options::from_json(&Map::from_iter([("x".to_owned(), Value::Null)])).unwrap_err();
        for name in all.keys() {
            assert!(refusal.message.contains(&format!("`{name}`")), "{refusal}");
        }
        assert_eq!(refusal.message.matches('`').count() / 2, all.len() + 2, "it lists others: {refusal}");
    }
}
