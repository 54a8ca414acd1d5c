//! Models as files: GGUF read, checked, inspected and synthesised, the configuration and tokenizer inside, and the one
//! model that ships with the program.

pub mod config;
pub mod dequantize;
pub mod embedded;
pub mod gguf;
pub mod hash;
pub mod inspect;
mod quantize;
pub mod synth;
pub mod tokenizer;

pub use config::{Architecture, ConfigError, ModelConfig, RopeScaling, RopeStyle};
pub use dequantize::{DequantizeError, dequantize, dequantize_into};
pub use gguf::{Gguf, GgufError, MetadataError, MetadataResultExt, TensorInfo, TensorType, Value};
pub use tokenizer::{TextStream, Tokenizer, TokenizerError, end_of_text};
