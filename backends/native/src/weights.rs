//! A model's weights, packed and in device memory.

use crate::error::{Error, Result};
use crate::gpu::{Arena, Upload};
use crate::layout::{Layer, Tensor};
use qa_kernels::{Format, FormatSet, KvCache, Shape, pack_rows};
use qa_model::config::names;
use qa_model::{Gguf, ModelConfig, RopeScaling, TensorInfo, TensorType};
use rayon::prelude::*;

/// Rows that are packed by one thread at a time.
const ROWS_AT_ONCE: usize = 64;

/// Bytes that are packed while as many travel.
const PIECE: usize = 16 << 20;

/// Weights on the device, with where each is.
#[derive(Debug)]
pub struct Weights {
    /// Blocks in order.
    pub layers: Vec<Layer>,
    /// The embedding.
    pub embedding: Tensor,
    /// The head; the embedding where it is tied.
    pub head: Tensor,
    /// Address of the last norm.
    pub output_norm: u64,
    owned: Arena,
}

/// Weights on their way.
struct Loader<'a> {
    gguf: &'a Gguf,
    owned: Arena,
    upload: Upload,
}

/// What of a file this backend cannot compute, said before anything is allocated.
///
/// # Errors
/// [`Error::Unsupported`] with what was found and what is possible.
pub fn check(gguf: &Gguf, config: &ModelConfig) -> Result<()> {
    let refuse = |what: String| Err(Error::Unsupported(format!("{}: {what}", gguf.path().display())));
    for (what, extent) in
        [("embedding", config.hidden), ("feed-forward", config.intermediate), ("attention", config.query_width())]
    {
        if !extent.is_multiple_of(32) {
            return refuse(format!("the {what} length is {extent}; the native backend needs a multiple of 32"));
        }
    }
    if !(config.head_dim.is_power_of_two() && (32..=256).contains(&config.head_dim)) {
        return refuse(format!("heads have {} elements; the native backend needs 32, 64, 128 or 256", config.head_dim));
    }
    for tensor in gguf.tensors().iter().filter(|tensor| tensor.shape.len() > 1) {
        if Format::of(tensor.dtype).is_none() {
            let known = Format::ALL.map(|format| format.to_string()).join(", ");
            return refuse(format!(
                "tensor `{}` is {}; the native backend has kernels for {known}",
                tensor.name, tensor.dtype
            ));
        }
    }
    Ok(())
}

/// The constants that kernels for this file are compiled with.
///
/// # Errors
/// As [`check`].
pub fn shape(
    gguf: &Gguf,
    config: &ModelConfig,
    splits: u32,
    float_activations: bool,
    kv_cache: KvCache,
) -> Result<Shape> {
    check(gguf, config)?;
    let dtype = |name: &str| gguf.tensor(name).map(|tensor| tensor.dtype);
    Ok(shape_of(config, splits, float_activations, kv_cache, dtype))
}

/// The same from the tensors' types alone; a type that no kernel knows is left out.
pub fn shape_of(
    config: &ModelConfig,
    splits: u32,
    float_activations: bool,
    kv_cache: KvCache,
    dtype: impl Fn(&str) -> Option<TensorType>,
) -> Shape {
    let of = |name: &str| -> FormatSet { dtype(name).and_then(Format::of).into_iter().collect() };
    let role = |parts: &[&str]| -> FormatSet {
        let names = (0..config.layers).flat_map(|layer| parts.iter().map(move |part| names::block(layer, part)));
        names.map(|name| of(&name)).fold(FormatSet::default(), FormatSet::union)
    };
    Shape {
        config: config.clone(),
        splits,
        float_activations,
        kv_cache,
        qkv: role(&["attn_q.weight", "attn_k.weight", "attn_v.weight"]),
        output: role(&["attn_output.weight"]),
        gate_up: role(&["ffn_gate.weight", "ffn_up.weight"]),
        down: role(&["ffn_down.weight"]),
        head: of(config.head_tensor()),
        embedding: of(names::TOKEN_EMBD),
    }
}

/// Pieces that a sequence is attended in at most: as many as give each multiprocessor one.
pub fn splits(config: &ModelConfig, multiprocessors: u32) -> u32 {
    (multiprocessors / config.heads as u32).clamp(1, 32)
}

impl Weights {
    /// Packs and copies every weight of a file.
    ///
    /// # Errors
    /// When a tensor cannot be packed, or memory runs out.
    pub fn load(gguf: &Gguf, config: &ModelConfig) -> Result<Self> {
        let mut loader = Loader { gguf, owned: Arena::default(), upload: Upload::new(PIECE)? };
        let embedding = loader.matrices(&[names::TOKEN_EMBD])?[0];
        let head = if config.tied_head { embedding } else { loader.matrices(&[names::OUTPUT])?[0] };
        let output_norm = loader.vector(names::OUTPUT_NORM)?;
        let layers = (0..config.layers).map(|layer| loader.layer(config, layer)).collect::<Result<_>>()?;
        loader.upload.finish()?;
        Ok(Self { layers, embedding, head, output_norm, owned: loader.owned })
    }

    /// Bytes of device memory.
    pub fn device_bytes(&self) -> usize {
        self.owned.bytes()
    }
}

impl Loader<'_> {
    fn layer(&mut self, config: &ModelConfig, layer: usize) -> Result<Layer> {
        let part = |part: &str| names::block(layer, part);
        let matrices = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
            .map(|name| part(&format!("{name}.weight")));
        let matrices = self.matrices(&matrices.each_ref().map(String::as_str))?;
        let mut vector = |name: &str, there: bool| if there { self.vector(&part(name)) } else { Ok(0) };
        let biases = config.biases;
        Ok(Layer {
            query: matrices[0],
            key: matrices[1],
            value: matrices[2],
            output: matrices[3],
            gate: matrices[4],
            up: matrices[5],
            down: matrices[6],
            attention_norm: vector("attn_norm.weight", true)?,
            feed_forward_norm: vector("ffn_norm.weight", true)?,
            query_bias: vector("attn_q.bias", biases.qkv)?,
            key_bias: vector("attn_k.bias", biases.qkv)?,
            value_bias: vector("attn_v.bias", biases.qkv)?,
            output_bias: vector("attn_output.bias", biases.output)?,
        })
    }

    /// Packs matrices into one allocation, in order.
    fn matrices(&mut self, names: &[&str]) -> Result<Vec<Tensor>> {
        let mut bytes: usize = 0;
        let mut places = Vec::new();
        for name in names {
            let info = tensor(self.gguf, name)?;
            let format = Format::of(info.dtype)
                .ok_or_else(|| Error::Unsupported(format!("tensor `{name}` is {}", info.dtype)))?;
            bytes = bytes.next_multiple_of(256);
            places.push((info, bytes as u64, format));
            bytes += info.rows() as usize * format.row_bytes(info.row_len() as usize);
        }
        let base = self.owned.unwritten(bytes)?;
        for &(info, at, format) in &places {
            self.matrix(info, format, base + at)?;
        }
        Ok(places.into_iter().map(|(_, at, format)| Tensor::new(base + at, format)).collect())
    }

    /// Packs a matrix piece by piece: one is packed by all cores while the one before travels.
    fn matrix(&mut self, info: &TensorInfo, format: Format, address: u64) -> Result<()> {
        let gguf = self.gguf;
        let (rows, columns) = (info.rows() as usize, info.row_len() as usize);
        let row_bytes = format.row_bytes(columns);
        let piece = (PIECE / row_bytes).max(1);
        for first in (0..rows).step_by(piece) {
            let count = piece.min(rows - first);
            self.upload.copy(address + (first * row_bytes) as u64, count * row_bytes, |out| {
                out.par_chunks_mut(ROWS_AT_ONCE * row_bytes).enumerate().try_for_each(|(chunk, out)| {
                    let begin = (first + chunk * ROWS_AT_ONCE) as u64;
                    let count = out.len() / row_bytes;
                    let data = gguf.row_data(info, begin..begin + count as u64);
                    pack_rows(format, data, count, columns, out)
                        .map_err(|source| Error::Pack { name: info.name.clone(), source })
                })
            })?;
        }
        Ok(())
    }

    /// A norm or a bias as f32.
    fn vector(&mut self, name: &str) -> Result<u64> {
        let info = tensor(self.gguf, name)?;
        let values = qa_model::dequantize(info.dtype, self.gguf.data(info))
            .map_err(|e| Error::Unsupported(format!("tensor `{name}`: {e}")))?;
        self.owned.of(&values)
    }
}

fn tensor<'a>(gguf: &'a Gguf, name: &str) -> Result<&'a TensorInfo> {
    gguf.tensor(name).ok_or_else(|| Error::Internal(format!("tensor `{name}` was there when the file was checked")))
}

/// Bytes that the matrices take once packed: what is read for a token, the embedding's one row not counted.
pub fn packed_bytes(gguf: &Gguf) -> u64 {
    let matrices = gguf.tensors().iter().filter(|tensor| tensor.shape.len() > 1);
    matrices
        .filter_map(|tensor| {
            Format::of(tensor.dtype).map(|format| tensor.rows() * format.row_bytes(tensor.row_len() as usize) as u64)
        })
        .sum()
}

/// Cosines and sines of every position, `[context, dims / 2, 2]`: angles `position / base^(2 i / dims)` in f64.
///
/// # Errors
/// When the file's divisors cannot be read.
pub fn rope_table(gguf: &Gguf, config: &ModelConfig, context: usize) -> Result<Vec<f32>> {
    let rope = &config.rope;
    let divisors = match &rope.freqs {
        Some(name) => {
            let info = tensor(gguf, name)?;
            qa_model::dequantize(info.dtype, gguf.data(info))
                .map_err(|e| Error::Unsupported(format!("tensor `{name}`: {e}")))?
        }
        None => Vec::new(),
    };
    let stretch = match rope.scaling {
        RopeScaling::None => 1.0,
        RopeScaling::Linear { factor } => f64::from(factor),
    };
    let half = rope.dims / 2;
    let frequency = |i: usize| {
        let divisor = divisors.get(i).map_or(1.0, |&divisor| f64::from(divisor));
        f64::from(rope.base).powf(-((2 * i) as f64) / rope.dims as f64) / (divisor * stretch)
    };
    let frequencies: Vec<f64> = (0..half).map(frequency).collect();
    Ok((0..context)
        .into_par_iter()
        .flat_map_iter(|position| {
            frequencies.iter().flat_map(move |frequency| {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                [cos as f32, sin as f32]
            })
        })
        .collect())
}
