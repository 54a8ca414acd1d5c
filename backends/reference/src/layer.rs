//! One transformer block: the arithmetic that Qwen2 and Llama share.

use crate::attention::Attention;
use crate::cache::LayerCache;
use crate::geometry::Geometry;
use crate::linear::Linear;
use crate::ops::{RmsNorm, RopeTable, Zip, swiglu};
use candle_core::{Result, Tensor};
use qa_model::ModelConfig;

/// Weights of one block, dequantised to f32.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// Normalisation before attention, `[hidden]`.
    pub attention_norm: Tensor,
    /// `[heads * head_dim, hidden]`, with a bias in Qwen2.
    pub query: Linear,
    /// `[kv_heads * head_dim, hidden]`, with a bias in Qwen2.
    pub key: Linear,
    /// `[kv_heads * head_dim, hidden]`, with a bias in Qwen2.
    pub value: Linear,
    /// `[hidden, heads * head_dim]`.
    pub attention_output: Linear,
    /// Normalisation before the feed-forward, `[hidden]`.
    pub feed_forward_norm: Tensor,
    /// `[intermediate, hidden]`.
    pub gate: Linear,
    /// `[intermediate, hidden]`.
    pub up: Linear,
    /// `[hidden, intermediate]`.
    pub down: Linear,
}

/// What a block computed in one pass, for an observer that looks for the first layer that differs.
#[derive(Clone, Copy, Debug)]
pub struct LayerTap<'a> {
    /// Index of the block.
    pub layer: usize,
    /// Residual stream after the block, `[rows, hidden]`.
    pub residual: &'a Tensor,
    /// Keys of this pass's rows, rotated, `[kv_heads, rows, head_dim]`.
    pub keys: &'a Tensor,
    /// Values of this pass's rows, `[kv_heads, rows, head_dim]`.
    pub values: &'a Tensor,
}

/// What [`LayerWeights::forward`] returns.
pub(crate) struct LayerOutput {
    pub residual: Tensor,
    pub keys: Tensor,
    pub values: Tensor,
}

impl LayerWeights {
    /// Advance the residual stream `x: [rows, hidden]` of the positions that follow those in `cache`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        geometry: &Geometry,
        rope: &RopeTable,
        cache: &mut LayerCache,
    ) -> Result<LayerOutput> {
        let rows = x.dim(0)?;
        let ModelConfig { heads, kv_heads, head_dim, rms_epsilon, .. } = geometry.config;
        let norm = RmsNorm { epsilon: f64::from(rms_epsilon) };

        let add = |a: f32, b: f32| a + b;
        let normed = x.apply_op2_no_bwd(&self.attention_norm, &norm)?;
        let query = self.query.forward(&normed)?.reshape((rows, heads, head_dim))?;
        let key = self.key.forward(&normed)?.reshape((rows, kv_heads, head_dim))?;
        query.inplace_op1(rope)?;
        key.inplace_op1(rope)?;
        let keys = key.transpose(0, 1)?.contiguous()?;
        let values = self.value.forward(&normed)?.reshape((rows, kv_heads, head_dim))?.transpose(0, 1)?.contiguous()?;

        let first = cache.len();
        let (all_keys, all_values) = cache.append(&keys, &values)?;
        let attention = Attention { first, causal: geometry.causal };
        let attended = query.apply_op3_no_bwd(all_keys, all_values, &attention)?;
        let x = x.apply_op2_no_bwd(&self.attention_output.forward(&attended)?, &Zip(add))?;

        let normed = x.apply_op2_no_bwd(&self.feed_forward_norm, &norm)?;
        let (gate, up) = (self.gate.forward(&normed)?, self.up.forward(&normed)?);
        let gated = gate.apply_op2_no_bwd(&up, &Zip(swiglu))?;
        let residual = x.apply_op2_no_bwd(&self.down.forward(&gated)?, &Zip(add))?;
        Ok(LayerOutput { residual, keys, values })
    }
}
