//! Models as files: GGUF read, checked, inspected and synthesised, the configuration and tokenizer inside, and the one
//! model that ships with the program.

pub mod dequantize;
pub mod gguf;

pub use dequantize::{DequantizeError, dequantize, dequantize_into};
pub use gguf::{Gguf, GgufError, MetadataError, MetadataResultExt, TensorInfo, TensorType, Value};
