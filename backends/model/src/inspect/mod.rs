//! What a model file is: shape, types, and what a decoded token costs to read.

mod text;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{ModelConfig, names};
use crate::gguf::{Gguf, GgufError, TensorType};
use crate::hash;

/// Bytes of an element of the key-value cache as llama.cpp keeps it by default: `f16`.
const KV_ELEMENT_BYTES: u64 = 2;

/// Why a file could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It is no GGUF file, or cannot be read.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// It could not be hashed.
    #[error("cannot read {}: {source}", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Bytes that decoding one token reads at least once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BytesPerToken {
    /// All tensors of all blocks: matrices, biases, norms.
    pub blocks: u64,
    /// The output head; the whole embedding table where the head is tied.
    pub head: u64,
    /// The final norm and, where there are any, the rotary divisors.
    pub norm: u64,
    /// The one row of the embedding that the token selects.
    pub embedding_row: u64,
}

impl BytesPerToken {
    /// Of a file with that configuration.
    pub fn of(gguf: &Gguf, config: &ModelConfig) -> Self {
        let mut bytes = Self { blocks: 0, head: 0, norm: 0, embedding_row: 0 };
        for tensor in gguf.tensors() {
            let name = tensor.name.as_str();
            if name == names::TOKEN_EMBD {
                bytes.embedding_row = tensor.row_bytes();
            }
            if name == config.head_tensor() {
                bytes.head = tensor.bytes;
            } else if name.starts_with("blk.") {
                bytes.blocks += tensor.bytes;
            } else if name != names::TOKEN_EMBD {
                bytes.norm += tensor.bytes;
            }
        }
        bytes
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.blocks + self.head + self.norm + self.embedding_row
    }
}

/// What follows from a configuration that is understood.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelFacts {
    /// The configuration.
    #[serde(flatten)]
    pub config: ModelConfig,
    /// Bytes read per decoded token, by part.
    pub bytes_per_token: BytesPerToken,
    /// Their sum.
    pub bytes_per_token_total: u64,
    /// Bytes of key-value cache that each position takes, in `f16`.
    pub kv_bytes_per_position: u64,
}

/// Tensors of one element type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeSummary {
    /// The type.
    #[serde(rename = "type")]
    pub dtype: TensorType,
    /// How many tensors have it.
    pub tensors: usize,
    /// Elements in them.
    pub parameters: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorSummary {
    /// Name.
    pub name: String,
    /// Extents, fastest-varying first.
    pub shape: Vec<u64>,
    /// Element type.
    #[serde(rename = "type")]
    pub dtype: TensorType,
    /// Bytes.
    pub bytes: u64,
}

/// Everything that `inspect` tells of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// Hash of its content.
    pub sha256: String,
    /// Its length in bytes.
    pub file_bytes: u64,
    /// Version of the format.
    pub gguf_version: u32,
    /// `general.architecture`, where it is given.
    pub architecture: Option<String>,
    /// `general.name`, where it is given.
    pub name: Option<String>,
    /// `general.description`, where it is given.
    pub description: Option<String>,
    /// Elements of all tensors.
    pub parameters: u64,
    /// The configuration and what follows from it, where this program understands the architecture.
    pub model: Option<ModelFacts>,
    /// Why not, otherwise.
    pub model_problem: Option<String>,
    /// Tensors by type, most bytes first.
    pub types: Vec<TypeSummary>,
    /// Every tensor, in the order of the file.
    pub tensors: Vec<TensorSummary>,
}

impl Inspection {
    /// Opens, checks and hashes a file.
    ///
    /// # Errors
    /// [`InspectError`] where it is no well-formed GGUF file or cannot be read. A well-formed file of an architecture
    /// that is not understood is no error: [`Inspection::model_problem`] says what is missing.
    pub fn open(path: &Path) -> Result<Self, InspectError> {
        let gguf = Gguf::open(path)?;
        let sha256 = hash::sha256_file(path).map_err(|source| InspectError::Hash { path: path.to_owned(), source })?;
        Ok(Self::of(&gguf, sha256))
    }

    /// Of an open file with a known hash.
    pub fn of(gguf: &Gguf, sha256: String) -> Self {
        let (model, model_problem) = match ModelConfig::from_gguf(gguf) {
            Ok(config) => (Some(facts(gguf, config)), None),
            Err(error) => (None, Some(error.problem.to_string())),
        };
        let text = |key: &str| gguf.str(key).ok().map(str::to_owned);
        Self {
            path: gguf.path().to_owned(),
            sha256,
            file_bytes: gguf.file_len(),
            gguf_version: gguf.version(),
            architecture: text("general.architecture"),
            name: text("general.name"),
            description: text("general.description"),
            parameters: gguf.tensors().iter().map(crate::TensorInfo::elements).sum(),
            model,
            model_problem,
            types: types(gguf),
            tensors: gguf
                .tensors()
                .iter()
                .map(|tensor| TensorSummary {
                    name: tensor.name.clone(),
                    shape: tensor.shape.clone(),
                    dtype: tensor.dtype,
                    bytes: tensor.bytes,
                })
                .collect(),
        }
    }
}

fn facts(gguf: &Gguf, config: ModelConfig) -> ModelFacts {
    let bytes_per_token = BytesPerToken::of(gguf, &config);
    ModelFacts {
        bytes_per_token,
        bytes_per_token_total: bytes_per_token.total(),
        kv_bytes_per_position: config.kv_elements_per_position() * KV_ELEMENT_BYTES,
        config,
    }
}

fn types(gguf: &Gguf) -> Vec<TypeSummary> {
    let mut by_type: BTreeMap<TensorType, TypeSummary> = BTreeMap::new();
    for tensor in gguf.tensors() {
        let dtype = tensor.dtype;
        let summary = by_type.entry(dtype).or_insert(TypeSummary { dtype, tensors: 0, parameters: 0, bytes: 0 });
        summary.tensors += 1;
        summary.parameters += tensor.elements();
        summary.bytes += tensor.bytes;
    }
    let mut types: Vec<_> = by_type.into_values().collect();
    types.sort_by_key(|summary| std::cmp::Reverse(summary.bytes));
    types
}

#[cfg(test)]
mod tests;
