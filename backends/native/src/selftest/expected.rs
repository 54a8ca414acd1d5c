//! What a small model should compute, from its file and in f64.

use super::exact::{self, Bounded};
use super::inputs;
use crate::decoder::Options;
use crate::error::{Error, Result};
use qa_kernels::Format;
use qa_model::config::names;
use qa_model::{Gguf, ModelConfig, TensorInfo, dequantize};
use rayon::prelude::*;

/// Rows of a product that are compared; of more, as many spread over all.
const ROWS: usize = 1024;

/// The small model's side of a comparison.
pub(super) struct Model<'a> {
    /// Its shape.
    pub config: ModelConfig,
    gguf: &'a Gguf,
    float_activations: bool,
}

impl<'a> Model<'a> {
    /// The model of a file.
    pub fn new(gguf: &'a Gguf, options: &Options) -> Result<Self> {
        Ok(Self { gguf, config: ModelConfig::from_gguf(gguf)?, float_activations: options.float_activations })
    }

    fn tensor(&self, name: &str) -> Result<&TensorInfo> {
        self.gguf.tensor(name).ok_or_else(|| Error::Internal(format!("a small model without `{name}`")))
    }

    fn floats(tensor: &TensorInfo, bytes: &[u8]) -> Result<Vec<f32>> {
        dequantize(tensor.dtype, bytes).map_err(|e| Error::Internal(format!("tensor `{}`: {e}", tensor.name)))
    }

    /// A norm's weights or a bias; zeros where there is none.
    pub fn vector(&self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.tensor(name)?;
        Self::floats(tensor, self.gguf.data(tensor))
    }

    /// The embedding of each token.
    pub fn embedded(&self, tokens: impl Iterator<Item = u32>) -> Result<Vec<Vec<f32>>> {
        let tensor = self.tensor(names::TOKEN_EMBD)?;
        let row = |token: u32| Self::floats(tensor, self.gguf.row_data(tensor, u64::from(token)..u64::from(token) + 1));
        tokens.map(row).collect()
    }

    /// A row, normalised with the weights of a norm of the block.
    pub fn norm(&self, x: &[f32], part: &str) -> Result<Vec<Bounded>> {
        Ok(exact::norm(x, &self.vector(&names::block(0, part))?, self.config.rms_epsilon))
    }

    /// A matrix times vectors, plus its bias where it has one. Rows that are not compared are free.
    pub fn products(&self, name: &str, vectors: &[Vec<Bounded>]) -> Result<Vec<Vec<Bounded>>> {
        self.products_in(name, vectors, 32)
    }

    /// The same where vectors of int8 have a scale for so many `neighbours`.
    pub fn products_in(&self, name: &str, vectors: &[Vec<Bounded>], neighbours: usize) -> Result<Vec<Vec<Bounded>>> {
        let tensor = self.tensor(&format!("{name}.weight"))?;
        let format =
            Format::of(tensor.dtype).ok_or_else(|| Error::Internal(format!("tensor `{name}` is {}", tensor.dtype)))?;
        let bias = match self.gguf.tensor(&format!("{name}.bias")) {
            Some(_) => self.vector(&format!("{name}.bias"))?,
            None => vec![0.0; tensor.rows() as usize],
        };
        let int8 = !self.float_activations && !format.is_float();
        let operands: Vec<_> = vectors.iter().map(|x| exact::operand(x, int8.then_some(neighbours))).collect();
        let rows = tensor.rows() as usize;
        // An odd step meets every kind of row.
        let step = if rows <= ROWS { 1 } else { rows.div_ceil(ROWS) | 1 };
        let columns: Vec<Vec<Bounded>> = (0..rows)
            .into_par_iter()
            .map(|row| {
                if !row.is_multiple_of(step) {
                    return Ok(vec![Bounded::ANYTHING; operands.len()]);
                }
                let bytes = self.gguf.row_data(tensor, row as u64..row as u64 + 1);
                let (weights, parts) = (Self::floats(tensor, bytes)?, inputs::parts(format, bytes));
                Ok(operands.iter().map(|x| exact::dot(&weights, &parts, x, bias[row])).collect())
            })
            .collect::<Result<_>>()?;
        Ok((0..operands.len()).map(|token| columns.iter().map(|column| column[token]).collect()).collect())
    }
}
