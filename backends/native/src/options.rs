//! An arm's options: what a specification may say about a native arm.

use crate::decoder::Options;
use crate::drafts::{Drafting, Source};
use crate::switches::Switches;
use qa_kernels::{KvCache, Older};
use qa_protocol::Failure;
use serde_json::{Map, Value, json};

const OPTIMIZATIONS: &str = "optimizations";
const KV_CACHE_TYPE: &str = "kv_cache_type";
const CONTEXT: &str = "context";
const DRAFT_TOKENS: &str = "draft_tokens";
const DRAFT: &str = "draft";
const ACTIVATIONS: &str = "activations";
const DEPENDENT_LAUNCH: &str = "dependent_launch";
const ARCHITECTURE: &str = "architecture";

/// Every option's name, in the order of the documentation.
pub const NAMES: [&str; 8] =
    [OPTIMIZATIONS, KV_CACHE_TYPE, CONTEXT, DRAFT_TOKENS, DRAFT, ACTIVATIONS, DEPENDENT_LAUNCH, ARCHITECTURE];

/// `draft` of drafts out of the text itself.
const PROMPT_LOOKUP: &str = "prompt_lookup";
/// The parts of `draft` of drafts that are right with a stated share.
const ACCEPTANCE: &str = "acceptance";
const SEED: &str = "seed";

impl Options {
    /// Reads an arm's options.
    ///
    /// # Errors
    /// `unsupported` for an unknown name, an impossible value, or what this backend does not offer.
    pub fn from_json(options: &Map<String, Value>) -> Result<Self, Failure> {
        let mut read = Self::default();
        let (mut draft_tokens, mut draft) = (None, None);
        for (name, value) in options {
            match name.as_str() {
                OPTIMIZATIONS => read.switches = Switches::from_json(value)?,
                KV_CACHE_TYPE => {
                    let kind = value.as_str().and_then(KvCache::of_name);
                    read.kv_cache = kind.ok_or_else(|| wrong(name, "`f16` or `q8_0`", value))?;
                }
                CONTEXT | DRAFT_TOKENS | DRAFT | ARCHITECTURE if value.is_null() => {}
                CONTEXT => {
                    read.context = Some(tokens(name, value)?);
                }
                DRAFT_TOKENS => draft_tokens = Some(tokens(name, value)?),
                DRAFT => draft = Some(source(value).ok_or_else(|| wrong(name, SOURCES, value))?),
                ACTIVATIONS => match value.as_str() {
                    Some("int8") => read.float_activations = false,
                    Some("float") => read.float_activations = true,
                    _ => return Err(wrong(name, "`int8` or `float`", value)),
                },
                DEPENDENT_LAUNCH => {
                    read.dependent_launch = value.as_bool().ok_or_else(|| wrong(name, "`true` or `false`", value))?;
                }
                ARCHITECTURE => {
                    let older = value.as_str().and_then(Older::of_name);
                    read.architecture = Some(older.ok_or_else(|| wrong(name, "`sm_80`, `sm_86` or `sm_89`", value))?);
                }
                _ => {
                    let known = NAMES.map(|known| format!("`{known}`")).join(", ");
                    return Err(Failure::unsupported(format!(
                        "the native backend has no option `{name}`; there are {known}"
                    )));
                }
            }
        }
        read.drafting = match (draft_tokens, draft) {
            (Some(tokens), source) => Some(Drafting { tokens, source: source.unwrap_or(Source::PromptLookup) }),
            (None, None) => None,
            (None, Some(_)) => {
                return Err(Failure::unsupported(
                    "option `draft` of the native backend says where drafts come from, and there are none: give `draft_tokens`",
                ));
            }
        };
        if read.drafting.is_some() && options.get(OPTIMIZATIONS).is_some_and(|set| set == "best") {
            read.switches = Switches::BEST_WITH_DRAFTS;
        }
        Ok(read)
    }

    /// Optimisations that are on and cannot act: with drafts, all but the replay of what was captured.
    fn without_effect(&self) -> Vec<&'static str> {
        if self.drafting.is_none() {
            return self.switches.without_effect();
        }
        Switches { graph: false, ..self.switches }.names()
    }

    /// The options as they took effect, with what of them has none.
    pub(crate) fn resolved(&self, context: usize) -> Map<String, Value> {
        let facts = [
            (OPTIMIZATIONS, json!(self.switches.names())),
            ("no_effect_by_construction", json!(self.without_effect())),
            (KV_CACHE_TYPE, json!(self.kv_cache.name())),
            (CONTEXT, json!(context)),
            (ACTIVATIONS, json!(if self.float_activations { "float" } else { "int8" })),
            (DEPENDENT_LAUNCH, json!(self.dependent_launch && self.architecture.is_none())),
            (ARCHITECTURE, json!(self.architecture.map(Older::name))),
            (DRAFT_TOKENS, json!(self.drafting.map(|drafting| drafting.tokens))),
            (DRAFT, json!(self.drafting.map(|drafting| words(drafting.source)))),
        ];
        facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// What `draft` may be.
const SOURCES: &str = "`prompt_lookup`, or `{ acceptance, seed }` with an acceptance above 0 and at most 1";

fn source(value: &Value) -> Option<Source> {
    if value.as_str() == Some(PROMPT_LOOKUP) {
        return Some(Source::PromptLookup);
    }
    let parts = value.as_object()?;
    if parts.keys().any(|name| name != ACCEPTANCE && name != SEED) {
        return None;
    }
    let acceptance = parts.get(ACCEPTANCE)?.as_f64().filter(|&share| share > 0.0 && share <= 1.0)?;
    let seed = parts.get(SEED).map_or(Some(1), Value::as_u64)?;
    Some(Source::Continuation { acceptance, seed })
}

fn words(source: Source) -> Value {
    match source {
        Source::PromptLookup => json!(PROMPT_LOOKUP),
        Source::Continuation { acceptance, seed } => json!({ ACCEPTANCE: acceptance, SEED: seed }),
    }
}

fn tokens(name: &str, value: &Value) -> Result<usize, Failure> {
    let tokens = value.as_u64().filter(|&tokens| tokens > 0 && u32::try_from(tokens).is_ok());
    Ok(tokens.ok_or_else(|| wrong(name, "a number of tokens above 0", value))? as usize)
}

fn wrong(name: &str, expected: &str, found: &Value) -> Failure {
    Failure::unsupported(format!("option `{name}` of the native backend must be {expected}, but is {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &Value) -> Result<Options, Failure> {
        Options::from_json(json.as_object().unwrap())
    }

    #[test]
    fn every_option_takes_effect_and_has_a_default() {
        assert_eq!(read(&json!({})).unwrap(), Options::default());
        let all = json!({
            "optimizations": "best", "kv_cache_type": "q8_0", "context": 77, "activations": "float",
            "dependent_launch": false, "architecture": "sm_89", "draft_tokens": null, "draft": null
        });
        let expected = Options {
            switches: Switches::BEST,
            context: Some(77),
            kv_cache: KvCache::Q8_0,
            float_activations: true,
            tensor_cores: None,
            architecture: Some(Older::Sm89),
            dependent_launch: false,
            drafting: None,
            trace: false,
        };
        assert_eq!(read(&all).unwrap(), expected);
    }

    #[test]
    fn drafts_are_read_with_where_they_come_from_and_said_again() {
        let drafting = |options: &Value| read(options).unwrap().drafting.unwrap();
        let lookup = drafting(&json!({"draft_tokens": 7}));
        assert_eq!(lookup, Drafting { tokens: 7, source: Source::PromptLookup });
        assert_eq!(drafting(&json!({"draft": "prompt_lookup", "draft_tokens": 7})), lookup);
        let stated = drafting(&json!({"draft": {"acceptance": 0.8}, "draft_tokens": 3}));
        assert_eq!(stated.source, Source::Continuation { acceptance: 0.8, seed: 1 });
        let options =
            read(&json!({"draft": {"acceptance": 0.8, "seed": 5}, "draft_tokens": 3, "optimizations": "all"}));
        let resolved = options.unwrap().resolved(9);
        assert_eq!(resolved["draft"], json!({"acceptance": 0.8, "seed": 5}));
        assert_eq!(resolved["draft_tokens"], 3);
        assert_eq!(resolved["no_effect_by_construction"], json!(["persistent", "streams", "megakernel"]));
        assert_eq!(read(&json!({})).unwrap().resolved(9)["draft_tokens"], Value::Null);
    }

    #[test]
    fn the_best_set_for_drafts_is_another() {
        let switches = |options: &Value| read(options).unwrap().switches.names();
        assert_eq!(switches(&json!({"optimizations": "best", "draft_tokens": 7})), ["graph"]);
        assert_eq!(switches(&json!({"draft_tokens": 7, "optimizations": "best"})), ["graph"]);
        assert_eq!(switches(&json!({"optimizations": "best"})), ["persistent", "megakernel"]);
    }

    #[test]
    fn what_is_not_offered_is_refused_by_name() {
        for (options, said) in [
            (json!({"kv_cache_type": "f32"}), "must be `f16` or `q8_0`, but is \"f32\""),
            (json!({"draft_tokens": 0}), "a number of tokens above 0, but is 0"),
            (json!({"draft": "prompt_lookup"}), "give `draft_tokens`"),
            (json!({"draft_tokens": 4, "draft": "model"}), "`prompt_lookup`, or `{ acceptance, seed }`"),
            (json!({"draft_tokens": 4, "draft": {"acceptance": 0}}), "above 0 and at most 1"),
            (json!({"draft_tokens": 4, "draft": {"acceptance": 0.8, "sed": 1}}), "`{ acceptance, seed }`"),
            (json!({"draft_tokens": 4, "draft": {"seed": 1}}), "`{ acceptance, seed }`"),
            (json!({"context": 0}), "a number of tokens above 0, but is 0"),
            (json!({"architecture": "sm_90a"}), "must be `sm_80`, `sm_86` or `sm_89`, but is \"sm_90a\""),
            (json!({"activations": 8}), "`int8` or `float`"),
            (json!({"dependent_launch": "yes"}), "`true` or `false`"),
            (json!({"optimisations": []}), "no option `optimisations`; there are `optimizations`"),
        ] {
            let failure = read(&options).unwrap_err();
            assert!(failure.message.contains(said), "{options}: {failure}");
            assert_eq!(failure.kind, qa_protocol::FailureKind::Unsupported);
        }
    }
}
