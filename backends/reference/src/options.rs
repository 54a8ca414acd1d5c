//! An arm's options: what a specification may say about a reference arm.

use crate::decoder::Options;
use qa_protocol::Failure;
use serde_json::{Map, Value};
use std::num::NonZeroUsize;

const THREADS: &str = "threads";
const KV_CACHE: &str = "kv_cache";
const MEMORY_LIMIT: &str = "memory_limit_bytes";

/// Every option's name, in the order of the documentation.
pub const NAMES: [&str; 3] = [THREADS, KV_CACHE, MEMORY_LIMIT];

impl Options {
    /// Read an arm's options.
    ///
    /// # Errors
    /// `unsupported` for an unknown name, with the nearest known one, or for an impossible value.
    pub fn from_json(options: &Map<String, Value>) -> Result<Self, Failure> {
        let mut read = Self::default();
        for (name, value) in options {
            match name.as_str() {
                THREADS => read.threads = Some(threads(value)?),
                MEMORY_LIMIT => {
                    let bytes = value.as_u64();
                    read.memory_limit = Some(bytes.ok_or_else(|| wrong(name, "a whole number of bytes", value))?);
                }
                KV_CACHE => {
                    read.kv_cache = value.as_bool().ok_or_else(|| wrong(name, "`true` or `false`", value))?;
                }
                _ => return Err(unknown(name)),
            }
        }
        Ok(read)
    }
}

/// Threads beyond which a number is taken for a slip.
const MAX_THREADS: usize = 1024;

fn threads(value: &Value) -> Result<NonZeroUsize, Failure> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok()).and_then(NonZeroUsize::new);
    number
        .filter(|number| number.get() <= MAX_THREADS)
        .ok_or_else(|| wrong(THREADS, &format!("a whole number from 1 to {MAX_THREADS}"), value))
}

fn wrong(name: &str, expected: &str, found: &Value) -> Failure {
    Failure::unsupported(format!("option `{name}` of the reference backend must be {expected}, but is {found}"))
}

fn unknown(name: &str) -> Failure {
    let distance = |known: &&str| strsim::damerau_levenshtein(known, name);
    let nearest = NAMES.iter().min_by_key(|known| distance(known)).unwrap_or(&NAMES[0]);
    let known = NAMES.map(|known| format!("`{known}`")).join(", ");
    Failure::unsupported(format!(
        "the reference backend has no option `{name}`: the nearest is `{nearest}`; there are {known}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Options, Failure> {
        Options::from_json(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn every_option_takes_effect_and_has_a_default() {
        assert_eq!(read("{}").unwrap(), Options::default());
        let read = read(r#"{"threads": 3, "kv_cache": false, "memory_limit_bytes": 0}"#).unwrap();
        assert_eq!(read, Options { threads: NonZeroUsize::new(3), kv_cache: false, memory_limit: Some(0) });
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_mend_it() {
        for (json, said) in [
            (r#"{"thread": 3}"#, "no option `thread`: the nearest is `threads`"),
            (r#"{"kvcache": false}"#, "the nearest is `kv_cache`"),
            (r#"{"threads": 0}"#, "`threads` of the reference backend must be a whole number from 1 to 1024, but is 0"),
            (r#"{"threads": 4.5}"#, "but is 4.5"),
            (r#"{"threads": 100000}"#, "but is 100000"),
            (r#"{"kv_cache": "off"}"#, r#"must be `true` or `false`, but is "off""#),
            (r#"{"memory_limit_bytes": -1}"#, "must be a whole number of bytes, but is -1"),
        ] {
            let failure = read(json).unwrap_err();
            assert!(failure.message.contains(said), "{json}: {}", failure.message);
            assert_eq!(failure.kind, qa_protocol::FailureKind::Unsupported);
        }
    }
}
