//! An arm's options: what a specification may say about a native arm.

use crate::decoder::Options;
use crate::switches::Switches;
use qa_kernels::KvCache;
use qa_protocol::Failure;
use serde_json::{Map, Value, json};

const OPTIMIZATIONS: &str = "optimizations";
const KV_CACHE_TYPE: &str = "kv_cache_type";
const CONTEXT: &str = "context";
const DRAFT_TOKENS: &str = "draft_tokens";
const ACTIVATIONS: &str = "activations";
const DEPENDENT_LAUNCH: &str = "dependent_launch";

/// Every option's name, in the order of the documentation.
pub const NAMES: [&str; 6] = [OPTIMIZATIONS, KV_CACHE_TYPE, CONTEXT, DRAFT_TOKENS, ACTIVATIONS, DEPENDENT_LAUNCH];

impl Options {
    /// Reads an arm's options.
    ///
    /// # Errors
    /// `unsupported` for an unknown name, an impossible value, or what this backend does not offer.
    pub fn from_json(options: &Map<String, Value>) -> Result<Self, Failure> {
        let mut read = Self::default();
        for (name, value) in options {
            match name.as_str() {
                OPTIMIZATIONS => read.switches = Switches::from_json(value)?,
                KV_CACHE_TYPE => {
                    let kind = value.as_str().and_then(KvCache::of_name);
                    read.kv_cache = kind.ok_or_else(|| wrong(name, "`f16` or `q8_0`", value))?;
                }
                CONTEXT | DRAFT_TOKENS if value.is_null() => {}
                CONTEXT => {
                    let tokens = value.as_u64().filter(|&tokens| tokens > 0 && u32::try_from(tokens).is_ok());
                    read.context =
                        Some(tokens.ok_or_else(|| wrong(name, "a number of tokens above 0", value))? as usize);
                }
                DRAFT_TOKENS => {
                    return Err(Failure::unsupported(
                        "the native backend does not speculate: leave `draft_tokens` out",
                    ));
                }
                ACTIVATIONS => match value.as_str() {
                    Some("int8") => read.float_activations = false,
                    Some("float") => read.float_activations = true,
                    _ => return Err(wrong(name, "`int8` or `float`", value)),
                },
                DEPENDENT_LAUNCH => {
                    read.dependent_launch = value.as_bool().ok_or_else(|| wrong(name, "`true` or `false`", value))?;
                }
                _ => {
                    let known = NAMES.map(|known| format!("`{known}`")).join(", ");
                    return Err(Failure::unsupported(format!(
                        "the native backend has no option `{name}`; there are {known}"
                    )));
                }
            }
        }
        Ok(read)
    }

    /// The options as they took effect, with what of them has none.
    pub(crate) fn resolved(&self, context: usize) -> Map<String, Value> {
        let facts = [
            (OPTIMIZATIONS, json!(self.switches.names())),
            ("no_effect_by_construction", json!(self.switches.without_effect())),
            (KV_CACHE_TYPE, json!(self.kv_cache.name())),
            (CONTEXT, json!(context)),
            (ACTIVATIONS, json!(if self.float_activations { "float" } else { "int8" })),
            (DEPENDENT_LAUNCH, json!(self.dependent_launch)),
        ];
        facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
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
            "dependent_launch": false, "draft_tokens": null
        });
        let expected = Options {
            switches: Switches::BEST,
            context: Some(77),
            kv_cache: KvCache::Q8_0,
            float_activations: true,
            tensor_cores: None,
            dependent_launch: false,
            trace: false,
        };
        assert_eq!(read(&all).unwrap(), expected);
    }

    #[test]
    fn what_is_not_offered_is_refused_by_name() {
        for (options, said) in [
            (json!({"kv_cache_type": "f32"}), "must be `f16` or `q8_0`, but is \"f32\""),
            (json!({"draft_tokens": 4}), "does not speculate"),
            (json!({"context": 0}), "a number of tokens above 0, but is 0"),
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
