//! What a model file says of its architecture, checked against its tensors.

mod read;
mod tensors;

pub use read::{ConfigError, ConfigProblem};
pub use tensors::{ExpectedTensor, names};

use serde::Serialize;

/// The architectures that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Qwen2 and Qwen2.5: biases on Q, K and V; rotary embedding of halves.
    Qwen2,
    /// Llama and what shares its shape (`SmolLM2`): no biases as a rule; rotary embedding of pairs.
    Llama,
}

impl Architecture {
    /// The name in `general.architecture`, which prefixes the metadata keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qwen2 => "qwen2",
            Self::Llama => "llama",
        }
    }

    /// How its rotary embedding pairs elements (`llama_model_rope_type` of llama.cpp).
    pub fn rope_style(self) -> RopeStyle {
        match self {
            Self::Qwen2 => RopeStyle::Neox,
            Self::Llama => RopeStyle::Norm,
        }
    }
}

/// Which elements of a head the rotary embedding turns together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RopeStyle {
    /// Element `i` with element `i + dims / 2`.
    Neox,
    /// Element `2 i` with element `2 i + 1`.
    Norm,
}

/// How positions are stretched beyond the trained context.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Positions are divided by the factor.
    Linear {
        /// The divisor.
        factor: f32,
    },
}

/// The rotary position embedding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rope {
    /// Base of the geometric progression of wavelengths.
    pub base: f32,
    /// How many leading elements of each head are rotated; even, at most `head_dim`.
    pub dims: usize,
    /// Which elements are paired.
    pub style: RopeStyle,
    /// Stretching of positions.
    pub scaling: RopeScaling,
    /// Name of a tensor of `dims / 2` divisors of the frequencies (Llama 3 ships one), where there is one.
    pub freqs: Option<String>,
}

/// Which projections add a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Biases {
    /// `attn_q`, `attn_k` and `attn_v`.
    pub qkv: bool,
    /// `attn_output`.
    pub output: bool,
}

/// The shape of a decoder-only transformer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelConfig {
    /// Which architecture.
    pub architecture: Architecture,
    /// Number of transformer blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward part.
    pub intermediate: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; query head `h` attends with key head `h / (heads / kv_heads)`.
    pub kv_heads: usize,
    /// Elements of one head.
    pub head_dim: usize,
    /// Number of tokens.
    pub vocab: usize,
    /// Positions that it was trained for.
    pub context_length: usize,
    /// Added to the mean square before the root in every norm.
    pub rms_epsilon: f32,
    /// The rotary embedding.
    pub rope: Rope,
    /// Whether the token embedding is the output head too.
    pub tied_head: bool,
    /// Which projections add a bias.
    pub biases: Biases,
}

impl ModelConfig {
    /// Width of all query heads together.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key heads together, and of all value heads.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Elements of the key-value cache per position, over all layers: keys and values.
    pub fn kv_elements_per_position(&self) -> u64 {
        2 * self.layers as u64 * self.kv_width() as u64
    }

    /// Name of the tensor that is the output head.
    pub fn head_tensor(&self) -> &'static str {
        if self.tied_head { names::TOKEN_EMBD } else { names::OUTPUT }
    }
}

#[cfg(test)]
mod tests;
