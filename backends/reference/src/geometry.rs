//! What a decoder's arithmetic depends on, apart from its weights.

use qa_model::ModelConfig;

/// Shape and constants of a decoder. They are data so that a wrong one can be planted, and found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    /// What the model file says.
    pub config: ModelConfig,
    /// Divides each frequency of the rotary embedding, `dims / 2` of them; empty when the file has none.
    pub rope_divisors: Vec<f32>,
    /// Whether a position is kept from seeing later ones: true of every decoder.
    pub causal: bool,
}
