//! Weights out of a GGUF file, dequantised to f32 as they are asked for.

use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::layer::LayerWeights;
use crate::linear::Linear;
use crate::weights::WeightSource;
use candle_core::{Device, Tensor};
use qa_model::config::names;
use qa_model::{Gguf, ModelConfig, TensorInfo, dequantize_into};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Values that one thread dequantises at a time.
const VALUES_AT_ONCE: usize = 1 << 18;

/// A GGUF file as a [`WeightSource`].
pub struct GgufSource {
    gguf: Arc<Gguf>,
    geometry: Geometry,
}

impl GgufSource {
    /// Read the configuration of a file.
    ///
    /// # Errors
    /// When the architecture is not `qwen2` or `llama`, or a tensor is missing or has the wrong shape.
    pub fn new(gguf: Arc<Gguf>) -> Result<Self> {
        let config = ModelConfig::from_gguf(&gguf)?;
        let mut source = Self { gguf, geometry: Geometry { config, rope_divisors: Vec::new(), causal: true } };
        if let Some(name) = source.geometry.config.rope.freqs.clone() {
            source.geometry.rope_divisors = source.vector(&name)?.to_vec1()?;
        }
        Ok(source)
    }

    /// Shape and constants of the model.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn find(&self, name: &str) -> Result<&TensorInfo> {
        self.gguf.tensor(name).ok_or_else(|| Error::Missing(name.to_owned()))
    }

    fn read(&self, info: &TensorInfo, rows: Range<u64>, out: &mut [f32]) -> Result<()> {
        dequantize_into(info.dtype, self.gguf.row_data(info, rows), out)
            .map_err(|source| Error::Dequantize { name: info.name.clone(), source })
    }

    fn vector(&self, name: &str) -> Result<Tensor> {
        let info = self.find(name)?;
        let mut values = vec![0.0; info.row_len() as usize];
        self.read(info, 0..1, &mut values)?;
        Ok(Tensor::new(values, &Device::Cpu)?)
    }

    /// A matrix `[outputs, inputs]`, dequantised on the pool of the caller.
    fn matrix(&self, name: &str) -> Result<Tensor> {
        let info = self.find(name)?;
        let (outputs, inputs) = (info.rows() as usize, info.row_len() as usize);
        let rows_at_once = (VALUES_AT_ONCE / inputs).max(1);
        let mut values = vec![0.0; outputs * inputs];
        values.par_chunks_mut(rows_at_once * inputs).enumerate().try_for_each(|(i, out)| {
            let start = i * rows_at_once;
            self.read(info, start as u64..(start + out.len() / inputs) as u64, out)
        })?;
        Ok(Tensor::from_vec(values, (outputs, inputs), &Device::Cpu)?)
    }

    /// The linear map of `name.weight`, with `name.bias` if the file has one.
    fn linear(&self, name: &str) -> Result<Linear> {
        let bias = format!("{name}.bias");
        Ok(Linear {
            weight: self.matrix(&format!("{name}.weight"))?,
            bias: self.gguf.tensor(&bias).map(|_| self.vector(&bias)).transpose()?,
        })
    }
}

impl WeightSource for GgufSource {
    fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        let info = self.find(names::TOKEN_EMBD)?;
        let hidden = self.geometry.config.hidden;
        let mut values = vec![0.0; ids.len() * hidden];
        for (&id, out) in ids.iter().zip(values.chunks_exact_mut(hidden)) {
            self.read(info, u64::from(id)..u64::from(id) + 1, out)?;
        }
        Ok(Tensor::from_vec(values, (ids.len(), hidden), &Device::Cpu)?)
    }

    fn layer(&self, index: usize) -> Result<LayerWeights> {
        let vector = |part| self.vector(&names::block(index, part));
        let linear = |part| self.linear(&names::block(index, part));
        Ok(LayerWeights {
            attention_norm: vector("attn_norm.weight")?,
            query: linear("attn_q")?,
            key: linear("attn_k")?,
            value: linear("attn_v")?,
            attention_output: linear("attn_output")?,
            feed_forward_norm: vector("ffn_norm.weight")?,
            gate: linear("ffn_gate")?,
            up: linear("ffn_up")?,
            down: linear("ffn_down")?,
        })
    }

    fn output_norm(&self) -> Result<Tensor> {
        self.vector(names::OUTPUT_NORM)
    }

    fn head(&self) -> Result<Linear> {
        Ok(Linear { weight: self.matrix(self.geometry.config.head_tensor())?, bias: None })
    }

    fn layer_bytes(&self, index: usize) -> u64 {
        let tensors = self.geometry.config.block_tensors(index);
        tensors.iter().map(|tensor| f32_bytes(&tensor.shape)).sum()
    }

    fn head_bytes(&self) -> u64 {
        let ModelConfig { hidden, vocab, .. } = self.geometry.config;
        f32_bytes(&[hidden as u64, vocab as u64])
    }
}

/// Bytes of a tensor once it is f32.
fn f32_bytes(shape: &[u64]) -> u64 {
    size_of::<f32>() as u64 * shape.iter().product::<u64>()
}
