//! The oracle: a GGUF model evaluated on the CPU with its weights dequantised to f32.
//!
//! Matrix products run through `candle-core`; everything else is written out here, plainly, so that it can be read
//! against the papers that it names. Qwen2 and Llama share the code: they differ in biases and in which dimensions rotate.

mod attention;
mod cache;
pub mod compare;
mod decoder;
mod error;
mod generate;
mod geometry;
mod gguf_source;
mod host;
mod layer;
mod linear;
mod ops;
pub mod options;
pub mod sampling;
mod score;
mod weights;
mod worker;

pub use decoder::{Decoder, Observer, Options};
pub use error::{Error, Result};
pub use generate::{Ask, Generation};
pub use geometry::Geometry;
pub use gguf_source::GgufSource;
pub use layer::{LayerTap, LayerWeights};
pub use linear::Linear;
pub use score::{Windows, score_row};
pub use weights::WeightSource;
pub use worker::worker;
