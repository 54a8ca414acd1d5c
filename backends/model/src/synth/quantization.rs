//! Which type each tensor gets: the rules of llama.cpp's quantiser.
//!
//! They are `llama_tensor_get_type` and `tensor_type_fallback` of llama.cpp's `src/llama-quant.cpp`, for dense models
//! and without an importance matrix. A test holds them against a real `llama-quantize --dry-run`.

use std::fmt;
use std::str::FromStr;

use crate::config::{ExpectedTensor, ModelConfig, names};
use crate::gguf::TensorType;

/// A kind of model file (`llama_ftype`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Quantization {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K_S,
    Q3_K_M,
    Q3_K_L,
    Q4_K_S,
    Q4_K_M,
    Q5_K_S,
    Q5_K_M,
    Q6_K,
}

/// A name that no quantisation has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no quantization `{found}`; there are {}", Quantization::ALL.map(|q| format!("`{q}`")).join(", "))]
pub struct UnknownQuantization {
    /// The name asked for.
    pub found: String,
}

/// What a tensor is to the quantiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The matrix that makes the logits: the head, or the embedding where it is tied.
    Head,
    AttentionV {
        layer: usize,
    },
    AttentionOutput,
    FfnDown {
        layer: usize,
    },
    Other,
}

impl Role {
    fn of(tensor: &str, config: &ModelConfig) -> Self {
        if tensor == config.head_tensor() {
            return Self::Head;
        }
        let Some((layer, part)) = tensor.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else {
            debug_assert_eq!(tensor, names::TOKEN_EMBD, "the only other matrix outside the blocks");
            return Self::Other;
        };
        let layer = layer.parse().unwrap_or_default();
        match part {
            "attn_v.weight" => Self::AttentionV { layer },
            "attn_output.weight" => Self::AttentionOutput,
            "ffn_down.weight" => Self::FfnDown { layer },
            _ => Self::Other,
        }
    }
}

/// Whether a layer is among those that mixtures give more bits: the first and last eighth, and every third between.
fn use_more_bits(layer: usize, layers: usize) -> bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
}

impl Quantization {
    /// Every quantisation.
    pub const ALL: [Self; 17] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2_K,
        Self::Q3_K_S,
        Self::Q3_K_M,
        Self::Q3_K_L,
        Self::Q4_K_S,
        Self::Q4_K_M,
        Self::Q5_K_S,
        Self::Q5_K_M,
        Self::Q6_K,
    ];

    /// The name that specifications and the command line use.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
            Self::Q8_0 => "q8_0",
            Self::Q2_K => "q2_k",
            Self::Q3_K_S => "q3_k_s",
            Self::Q3_K_M => "q3_k_m",
            Self::Q3_K_L => "q3_k_l",
            Self::Q4_K_S => "q4_k_s",
            Self::Q4_K_M => "q4_k_m",
            Self::Q5_K_S => "q5_k_s",
            Self::Q5_K_M => "q5_k_m",
            Self::Q6_K => "q6_k",
        }
    }

    /// Its number in `general.file_type` (`enum llama_ftype`).
    pub fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q8_0 => 7,
            Self::Q5_0 => 8,
            Self::Q5_1 => 9,
            Self::Q2_K => 10,
            Self::Q3_K_S => 11,
            Self::Q3_K_M => 12,
            Self::Q3_K_L => 13,
            Self::Q4_K_S => 14,
            Self::Q4_K_M => 15,
            Self::Q5_K_S => 16,
            Self::Q5_K_M => 17,
            Self::Q6_K => 18,
            Self::BF16 => 32,
        }
    }

    /// The type that most matrices get.
    fn base(self) -> TensorType {
        match self {
            Self::F32 => TensorType::F32,
            Self::F16 => TensorType::F16,
            Self::BF16 => TensorType::BF16,
            Self::Q4_0 => TensorType::Q4_0,
            Self::Q4_1 => TensorType::Q4_1,
            Self::Q5_0 => TensorType::Q5_0,
            Self::Q5_1 => TensorType::Q5_1,
            Self::Q8_0 => TensorType::Q8_0,
            Self::Q2_K => TensorType::Q2_K,
            Self::Q3_K_S | Self::Q3_K_M | Self::Q3_K_L => TensorType::Q3_K,
            Self::Q4_K_S | Self::Q4_K_M => TensorType::Q4_K,
            Self::Q5_K_S | Self::Q5_K_M => TensorType::Q5_K,
            Self::Q6_K => TensorType::Q6_K,
        }
    }

    /// The type of a tensor of a model. Norms and biases stay `F32`.
    pub fn tensor_type(self, config: &ModelConfig, tensor: &ExpectedTensor) -> TensorType {
        if tensor.shape.len() < 2 {
            return TensorType::F32;
        }
        if matches!(self, Self::F32 | Self::F16 | Self::BF16) {
            return self.base();
        }
        let row = tensor.shape[0];
        fallback(self.wanted(config, Role::of(&tensor.name, config), row), row)
    }

    /// What a mixture wants for a role, before the length of rows has its say.
    #[expect(clippy::match_same_arms, reason = "one role after the other, so that the rows compare with llama.cpp's")]
    fn wanted(self, config: &ModelConfig, role: Role, row: u64) -> TensorType {
        let base = self.base();
        let more_bits = |layer| use_more_bits(layer, config.layers);
        match (role, self) {
            (Role::Head, Self::Q8_0) => TensorType::Q8_0,
            (Role::Head, _) if !row.is_multiple_of(base.block_elements()) => TensorType::Q8_0,
            (Role::Head, _) => TensorType::Q6_K,

            (Role::AttentionV { .. }, Self::Q2_K) if config.heads / config.kv_heads >= 4 => TensorType::Q4_K,
            (Role::AttentionV { .. }, Self::Q2_K) => TensorType::Q3_K,
            (Role::AttentionV { layer: 0..2 }, Self::Q3_K_M) => TensorType::Q5_K,
            (Role::AttentionV { .. }, Self::Q3_K_M) => TensorType::Q4_K,
            (Role::AttentionV { .. }, Self::Q3_K_L) => TensorType::Q5_K,
            (Role::AttentionV { layer: 0..4 }, Self::Q4_K_S) => TensorType::Q5_K,
            (Role::AttentionV { layer }, Self::Q4_K_M | Self::Q5_K_M) if more_bits(layer) => TensorType::Q6_K,

            (Role::AttentionOutput, Self::Q2_K) => TensorType::Q3_K,
            (Role::AttentionOutput, Self::Q3_K_M) => TensorType::Q4_K,
            (Role::AttentionOutput, Self::Q3_K_L) => TensorType::Q5_K,

            (Role::FfnDown { .. }, Self::Q2_K) => TensorType::Q3_K,
            (Role::FfnDown { layer }, Self::Q3_K_M) if layer < config.layers / 16 => TensorType::Q5_K,
            (Role::FfnDown { .. }, Self::Q3_K_M) => TensorType::Q4_K,
            (Role::FfnDown { .. }, Self::Q3_K_L) => TensorType::Q5_K,
            (Role::FfnDown { layer }, Self::Q4_K_S) if layer < config.layers / 8 => TensorType::Q5_K,
            (Role::FfnDown { layer }, Self::Q4_K_M | Self::Q5_K_M) if more_bits(layer) => TensorType::Q6_K,

            _ => base,
        }
    }
}

/// The type that takes another's place where rows are no whole blocks of it.
fn fallback(wanted: TensorType, row: u64) -> TensorType {
    if row.is_multiple_of(wanted.block_elements()) {
        return wanted;
    }
    let smaller = match wanted {
        TensorType::Q2_K | TensorType::Q3_K => TensorType::Q4_0,
        TensorType::Q4_K => TensorType::Q5_0,
        TensorType::Q5_K => TensorType::Q5_1,
        TensorType::Q6_K => TensorType::Q8_0,
        other => other,
    };
    if row.is_multiple_of(smaller.block_elements()) { smaller } else { TensorType::F16 }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Quantization {
    type Err = UnknownQuantization;

    /// Takes the name in either case, as llama.cpp writes it too (`Q4_K_M`).
    fn from_str(found: &str) -> Result<Self, UnknownQuantization> {
        Self::ALL
            .into_iter()
            .find(|quantization| quantization.name().eq_ignore_ascii_case(found))
            .ok_or_else(|| UnknownQuantization { found: found.to_owned() })
    }
}
