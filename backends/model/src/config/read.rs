//! From metadata to [`ModelConfig`], refusing what would be computed wrongly.

use std::path::PathBuf;

use super::{Architecture, Biases, ModelConfig, Rope, RopeScaling, names};
use crate::gguf::{Gguf, MetadataError, MetadataResultExt};

/// Largest of any extent that is accepted, so that products of two stay far inside 64 bits.
const EXTENT_LIMIT: u64 = 1 << 30;
/// Default base of the rotary embedding where the file has none (llama.cpp's).
const DEFAULT_ROPE_BASE: f32 = 10_000.0;

/// Why a file is no model that can be run.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: ConfigProblem,
}

/// What is wrong with the model that a file describes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConfigProblem {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("architecture `{found}` is not supported; `qwen2` and `llama` are")]
    Architecture { found: String },
    #[error("`{key}` is {found}; it must be {expected}")]
    Value { key: String, found: String, expected: String },
    #[error("tensor `{name}` is missing; expected shape {shape:?}")]
    MissingTensor { name: String, shape: Vec<u64> },
    #[error("tensor `{name}` has shape {found:?}; expected {expected:?}")]
    Shape { name: String, expected: Vec<u64>, found: Vec<u64> },
    #[error(
        "tensor `{name}` is not part of the {architecture} architecture as this program knows it, and would be ignored"
    )]
    UnknownTensor { name: String, architecture: &'static str },
}

impl ModelConfig {
    /// Reads the configuration of a model and checks that every tensor it calls for exists with the right shape, and
    /// that no others do.
    ///
    /// # Errors
    /// [`ConfigError`] with the file, the key or tensor, what was expected and what was found.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, ConfigError> {
        read(gguf)
            .and_then(|config| check_tensors(gguf, &config).map(|()| config))
            .map_err(|problem| ConfigError { path: gguf.path().to_owned(), problem })
    }
}

/// Metadata of one architecture: its keys carry its name.
struct Keys<'a> {
    gguf: &'a Gguf,
    prefix: &'static str,
}

impl Keys<'_> {
    fn key(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.prefix)
    }

    /// An extent: at least one, and small enough to multiply.
    fn extent(&self, suffix: &str) -> Result<usize, ConfigProblem> {
        let key = self.key(suffix);
        let found = self.gguf.u64(&key)?;
        if found == 0 || found > EXTENT_LIMIT {
            let expected = format!("from 1 to {EXTENT_LIMIT}");
            return Err(ConfigProblem::Value { key, found: found.to_string(), expected });
        }
        Ok(found as usize)
    }

    fn extent_or(&self, suffix: &str, default: usize) -> Result<usize, ConfigProblem> {
        match self.extent(suffix) {
            Err(ConfigProblem::Metadata(MetadataError::Missing { .. })) => Ok(default),
            other => other,
        }
    }

    fn positive(&self, suffix: &str) -> Result<Option<f32>, ConfigProblem> {
        let key = self.key(suffix);
        match self.gguf.f32(&key).optional()? {
            Some(found) if found <= 0.0 => {
                Err(ConfigProblem::Value { key, found: found.to_string(), expected: "above 0".into() })
            }
            other => Ok(other),
        }
    }

    /// Refuses a value unless `valid`.
    fn require(&self, valid: bool, suffix: &str, found: usize, expected: String) -> Result<(), ConfigProblem> {
        if valid {
            return Ok(());
        }
        Err(ConfigProblem::Value { key: self.key(suffix), found: found.to_string(), expected })
    }
}

/// Factors and limits that no decoder here applies, with the value beside 0 that changes nothing. 0 is absent, as in
/// llama.cpp.
const FACTORS: [(&str, f32); 5] = [
    ("attention.scale", 0.0),
    ("attention.clamp_kqv", 0.0),
    ("embedding_scale", 1.0),
    ("residual_scale", 1.0),
    ("logit_scale", 1.0),
];

/// Refuses metadata that changes the result in a way that is not computed.
fn refuse_unknown_mathematics(keys: &Keys<'_>) -> Result<(), ConfigProblem> {
    for (suffix, neutral) in FACTORS {
        let key = keys.key(suffix);
        let neutral = [0.0, neutral];
        if let Some(found) = keys.gguf.f32(&key).optional()?.filter(|found| !neutral.contains(found)) {
            let expected = "absent: no decoder here computes with it".into();
            return Err(ConfigProblem::Value { key, found: found.to_string(), expected });
        }
    }
    let key = keys.key("attention.causal");
    match keys.gguf.bool(&key).optional()? {
        Some(false) => {
            Err(ConfigProblem::Value { key, found: "false".into(), expected: "true: this generates text".into() })
        }
        _ => Ok(()),
    }
}

fn read(gguf: &Gguf) -> Result<ModelConfig, ConfigProblem> {
    let architecture = match gguf.str("general.architecture")? {
        "qwen2" => Architecture::Qwen2,
        "llama" => Architecture::Llama,
        other => return Err(ConfigProblem::Architecture { found: other.to_owned() }),
    };
    let keys = Keys { gguf, prefix: architecture.name() };
    refuse_unknown_mathematics(&keys)?;
    let hidden = keys.extent("embedding_length")?;
    let heads = keys.extent("attention.head_count")?;
    let kv_heads = keys.extent_or("attention.head_count_kv", heads)?;
    keys.require(
        heads.is_multiple_of(kv_heads),
        "attention.head_count_kv",
        kv_heads,
        format!("a divisor of the {heads} query heads"),
    )?;
    let head_dim = match keys.extent_or("attention.key_length", 0)? {
        0 => {
            keys.require(
                hidden.is_multiple_of(heads),
                "attention.head_count",
                heads,
                format!("a divisor of the embedding length {hidden}"),
            )?;
            hidden / heads
        }
        length => length,
    };
    let value_length = keys.extent_or("attention.value_length", head_dim)?;
    keys.require(
        value_length == head_dim,
        "attention.value_length",
        value_length,
        format!("{head_dim}, the length of a key"),
    )?;
    let experts = gguf.u64(&keys.key("expert_count")).optional()?.unwrap_or(0);
    keys.require(experts == 0, "expert_count", experts as usize, "0: mixtures of experts are not supported".into())?;
    Ok(ModelConfig {
        architecture,
        layers: keys.extent("block_count")?,
        hidden,
        intermediate: keys.extent("feed_forward_length")?,
        heads,
        kv_heads,
        head_dim,
        vocab: vocab(&keys)?,
        context_length: keys.extent("context_length")?,
        rms_epsilon: epsilon(&keys)?,
        rope: rope(&keys, architecture, head_dim)?,
        tied_head: gguf.tensor(names::OUTPUT).is_none(),
        biases: Biases {
            qkv: gguf.tensor(&names::block(0, "attn_q.bias")).is_some() || architecture == Architecture::Qwen2,
            output: gguf.tensor(&names::block(0, "attn_output.bias")).is_some(),
        },
    })
}

/// The vocabulary size: of the tokenizer, or the architecture's own key where a file carries no tokens.
fn vocab(keys: &Keys<'_>) -> Result<usize, ConfigProblem> {
    match keys.gguf.strings("tokenizer.ggml.tokens").optional()? {
        Some(tokens) if !tokens.is_empty() => Ok(tokens.len()),
        _ => keys.extent("vocab_size"),
    }
}

fn epsilon(keys: &Keys<'_>) -> Result<f32, ConfigProblem> {
    let suffix = "attention.layer_norm_rms_epsilon";
    let expected = "a finite floating-point number above 0";
    Ok(keys.positive(suffix)?.ok_or(MetadataError::Missing { key: keys.key(suffix), expected })?)
}

fn rope(keys: &Keys<'_>, architecture: Architecture, head_dim: usize) -> Result<Rope, ConfigProblem> {
    let dims = keys.extent_or("rope.dimension_count", head_dim)?;
    keys.require(
        dims.is_multiple_of(2) && dims <= head_dim,
        "rope.dimension_count",
        dims,
        format!("even and at most the head size {head_dim}"),
    )?;
    let kind_key = keys.key("rope.scaling.type");
    // `rope.scale_linear` is the older spelling of the factor.
    let factor = match keys.positive("rope.scaling.factor")? {
        Some(factor) => Some(factor),
        None => keys.positive("rope.scale_linear")?,
    };
    let scaling = match (keys.gguf.str(&kind_key).optional()?, factor) {
        // As llama.cpp: without a kind, a factor means linear scaling.
        (Some("none"), _) | (None | Some("linear"), None | Some(1.0)) => RopeScaling::None,
        (None | Some("linear"), Some(factor)) => RopeScaling::Linear { factor },
        (Some(other), _) => {
            let expected = "`none` or `linear`".to_owned();
            return Err(ConfigProblem::Value { key: kind_key, found: format!("{other:?}"), expected });
        }
    };
    Ok(Rope {
        base: keys.positive("rope.freq_base")?.unwrap_or(DEFAULT_ROPE_BASE),
        dims,
        style: architecture.rope_style(),
        scaling,
        freqs: keys.gguf.tensor(names::ROPE_FREQS).map(|tensor| tensor.name.clone()),
    })
}

fn check_tensors(gguf: &Gguf, config: &ModelConfig) -> Result<(), ConfigProblem> {
    let mut known = std::collections::HashSet::new();
    for expected in config.expected_tensors() {
        match gguf.tensor(&expected.name) {
            None => return Err(ConfigProblem::MissingTensor { name: expected.name, shape: expected.shape }),
            Some(found) if found.shape != expected.shape => {
                return Err(ConfigProblem::Shape {
                    name: expected.name,
                    expected: expected.shape,
                    found: found.shape.clone(),
                });
            }
            Some(found) => known.insert(found.name.as_str()),
        };
    }
    match gguf.tensors().iter().find(|tensor| !known.contains(tensor.name.as_str())) {
        Some(tensor) => {
            Err(ConfigProblem::UnknownTensor { name: tensor.name.clone(), architecture: config.architecture.name() })
        }
        None => Ok(()),
    }
}
