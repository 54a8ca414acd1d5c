//! The shapes that can be made.

use std::fmt;
use std::str::FromStr;

use crate::config::{Architecture, Biases, ModelConfig, Rope, RopeScaling};

/// Whose shape a synthetic model has: members of the Qwen2.5-Coder family, and a small relative for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Preset {
    QwenCoder05B,
    QwenCoder15B,
    QwenCoder3B,
    QwenCoder7B,
    Tiny,
}

/// A name that no preset has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no preset `{found}`; there are {}", Preset::ALL.map(|preset| format!("`{preset}`")).join(", "))]
pub struct UnknownPreset {
    /// The name asked for.
    pub found: String,
}

/// The numbers in which the presets differ.
struct Shape {
    layers: usize,
    hidden: usize,
    intermediate: usize,
    heads: usize,
    kv_heads: usize,
    vocab: usize,
    context_length: usize,
    tied_head: bool,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 5] =
        [Self::QwenCoder05B, Self::QwenCoder15B, Self::QwenCoder3B, Self::QwenCoder7B, Self::Tiny];

    /// The name that specifications and the command line use.
    pub fn name(self) -> &'static str {
        match self {
            Self::QwenCoder05B => "qwen2.5-coder-0.5b",
            Self::QwenCoder15B => "qwen2.5-coder-1.5b",
            Self::QwenCoder3B => "qwen2.5-coder-3b",
            Self::QwenCoder7B => "qwen2.5-coder-7b",
            Self::Tiny => "tiny",
        }
    }

    pub(super) fn size_label(self) -> &'static str {
        match self {
            Self::QwenCoder05B => "0.5B",
            Self::QwenCoder15B => "1.5B",
            Self::QwenCoder3B => "3B",
            Self::QwenCoder7B => "7B",
            Self::Tiny => "6M",
        }
    }

    /// From the `config.json` of each model on Hugging Face (`Qwen/Qwen2.5-Coder-*`); `tiny` is this program's own.
    fn shape(self) -> Shape {
        match self {
            Self::QwenCoder05B => Shape {
                layers: 24,
                hidden: 896,
                intermediate: 4864,
                heads: 14,
                kv_heads: 2,
                vocab: 151_936,
                context_length: 32_768,
                tied_head: true,
            },
            Self::QwenCoder15B => Shape {
                layers: 28,
                hidden: 1536,
                intermediate: 8960,
                heads: 12,
                kv_heads: 2,
                vocab: 151_936,
                context_length: 32_768,
                tied_head: true,
            },
            Self::QwenCoder3B => Shape {
                layers: 36,
                hidden: 2048,
                intermediate: 11_008,
                heads: 16,
                kv_heads: 2,
                vocab: 151_936,
                context_length: 32_768,
                tied_head: true,
            },
            Self::QwenCoder7B => Shape {
                layers: 28,
                hidden: 3584,
                intermediate: 18_944,
                heads: 28,
                kv_heads: 4,
                vocab: 152_064,
                context_length: 32_768,
                tied_head: false,
            },
            Self::Tiny => Shape {
                layers: 6,
                hidden: 256,
                intermediate: 768,
                heads: 4,
                kv_heads: 2,
                vocab: 4096,
                context_length: 2048,
                tied_head: true,
            },
        }
    }

    /// The configuration of the preset.
    pub fn config(self) -> ModelConfig {
        let shape = self.shape();
        let architecture = Architecture::Qwen2;
        let head_dim = shape.hidden / shape.heads;
        ModelConfig {
            architecture,
            layers: shape.layers,
            hidden: shape.hidden,
            intermediate: shape.intermediate,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            head_dim,
            vocab: shape.vocab,
            context_length: shape.context_length,
            rms_epsilon: 1e-6,
            rope: Rope {
                base: 1_000_000.0,
                dims: head_dim,
                style: architecture.rope_style(),
                scaling: RopeScaling::None,
                freqs: None,
            },
            tied_head: shape.tied_head,
            biases: Biases { qkv: true, output: false },
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Preset {
    type Err = UnknownPreset;

    /// Takes the full name, and the size alone (`0.5b`).
    fn from_str(found: &str) -> Result<Self, UnknownPreset> {
        Self::ALL
            .into_iter()
            .find(|preset| {
                preset.name() == found || preset.name().strip_prefix("qwen2.5-coder-").is_some_and(|size| size == found)
            })
            .ok_or_else(|| UnknownPreset { found: found.to_owned() })
    }
}
