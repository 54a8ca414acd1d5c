//! A forward pass written for reading, not for speed: the whole sequence at once, f32, one error planted on request.

#![allow(dead_code, reason = "each test file uses its own part")]

use qa_model::config::{RopeStyle, names};
use qa_model::{Gguf, ModelConfig, dequantize};

/// An error of the kind that a kernel may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plant {
    None,
    /// The rotary embedding's base is another.
    RopeBase(f32),
    /// Pairs in place of halves.
    RopePairs,
    /// Queries are rotated as if they stood one position later.
    QueryPosition,
    /// Every position sees the whole sequence.
    NoMask,
    /// Every position sees the next one too.
    MaskOffByOne,
    /// Biases are left out.
    NoQueryKeyBias,
    NoValueBias,
    /// Query head `h` reads key head `h mod n` in place of `h / group`.
    InterleavedKvHeads,
    /// The cache holds the previous position's keys and values for one position in eight.
    StaleCache,
    /// Scores are not divided by the root of the head size.
    Unscaled,
    /// The residual is left out around attention in one layer.
    LostResidual,
}

/// What a pass gives.
pub struct Output {
    /// Logits by position.
    pub logits: Vec<Vec<f32>>,
    /// The mean over layers, heads and the second half of positions of the sum of squared attention weights: 1 where
    /// attention is on one position, `1 / n` where it is flat.
    pub concentration: f64,
    /// The mean over layers of a sublayer's output relative to the embedding, as root mean squares: attention, then
    /// feed-forward.
    pub shares: [f64; 2],
}

struct Pass<'a> {
    gguf: &'a Gguf,
    config: &'a ModelConfig,
    plant: Plant,
    /// Squared attention weights, and how many rows were added.
    squares: (f64, usize),
    shares: [f64; 2],
}

/// Runs the model over `ids`.
pub fn forward(gguf: &Gguf, config: &ModelConfig, ids: &[u32], plant: Plant) -> Output {
    let mut pass = Pass { gguf, config, plant, squares: (0.0, 0), shares: [0.0; 2] };
    let embedding = gguf.tensor(names::TOKEN_EMBD).unwrap();
    let mut stream: Vec<Vec<f32>> = ids
        .iter()
        .map(|&id| dequantize(embedding.dtype, gguf.row_data(embedding, id.into()..u64::from(id) + 1)).unwrap())
        .collect();
    let embedded = rms(&stream);
    for layer in 0..config.layers {
        let attention = pass.attention(layer, &stream);
        pass.shares[0] += rms(&attention) / embedded / config.layers as f64;
        if plant == Plant::LostResidual && layer == config.layers / 2 {
            stream = attention;
        } else {
            add(&mut stream, &attention);
        }
        let inner = pass.feed_forward(layer, &stream);
        pass.shares[1] += rms(&inner) / embedded / config.layers as f64;
        add(&mut stream, &inner);
    }
    let normed = pass.norm(names::OUTPUT_NORM, &stream);
    Output {
        logits: pass.multiply(config.head_tensor(), &normed),
        concentration: pass.squares.0 / pass.squares.1 as f64,
        shares: pass.shares,
    }
}

impl Pass<'_> {
    fn tensor(&self, name: &str) -> Vec<f32> {
        let tensor = self.gguf.tensor(name).unwrap();
        dequantize(tensor.dtype, self.gguf.data(tensor)).unwrap()
    }

    fn multiply(&self, name: &str, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let matrix = self.tensor(name);
        let columns = inputs[0].len();
        inputs.iter().map(|input| matrix.chunks_exact(columns).map(|row| dot(row, input)).collect()).collect()
    }

    fn project(&self, layer: usize, part: &str, inputs: &[Vec<f32>], biased: bool) -> Vec<Vec<f32>> {
        let mut out = self.multiply(&names::block(layer, &format!("{part}.weight")), inputs);
        if biased {
            let bias = self.tensor(&names::block(layer, &format!("{part}.bias")));
            for row in &mut out {
                row.iter_mut().zip(&bias).for_each(|(x, b)| *x += b);
            }
        }
        out
    }

    fn norm(&self, name: &str, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let scales = self.tensor(name);
        let norm = |input: &Vec<f32>| {
            let scale = 1.0 / (dot(input, input) / input.len() as f32 + self.config.rms_epsilon).sqrt();
            input.iter().zip(&scales).map(|(x, s)| x * scale * s).collect()
        };
        inputs.iter().map(norm).collect()
    }

    fn rotate(&self, rows: &mut [Vec<f32>], shift: usize) {
        let rope = &self.config.rope;
        let base = if let Plant::RopeBase(base) = self.plant { base } else { rope.base };
        let half = rope.dims / 2;
        let neox = (rope.style == RopeStyle::Neox) != (self.plant == Plant::RopePairs);
        for (position, row) in rows.iter_mut().enumerate() {
            for head in row.chunks_exact_mut(self.config.head_dim) {
                for pair in 0..half {
                    let angle = (position + shift) as f32 * base.powf(-2.0 * pair as f32 / rope.dims as f32);
                    let (a, b) = if neox { (pair, pair + half) } else { (2 * pair, 2 * pair + 1) };
                    let (sine, cosine) = angle.sin_cos();
                    (head[a], head[b]) = (head[a] * cosine - head[b] * sine, head[a] * sine + head[b] * cosine);
                }
            }
        }
    }

    fn attention(&mut self, layer: usize, stream: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let config = self.config;
        let normed = self.norm(&names::block(layer, "attn_norm.weight"), stream);
        let query_key_bias = config.biases.qkv && self.plant != Plant::NoQueryKeyBias;
        let mut queries = self.project(layer, "attn_q", &normed, query_key_bias);
        let mut keys = self.project(layer, "attn_k", &normed, query_key_bias);
        let value_bias = config.biases.qkv && self.plant != Plant::NoValueBias;
        let mut values = self.project(layer, "attn_v", &normed, value_bias);
        self.rotate(&mut queries, usize::from(self.plant == Plant::QueryPosition));
        self.rotate(&mut keys, 0);
        if self.plant == Plant::StaleCache {
            for position in (7..keys.len()).step_by(8) {
                for cache in [&mut keys, &mut values] {
                    let (before, after) = cache.split_at_mut(position);
                    after[0].copy_from_slice(&before[position - 1]);
                }
            }
        }
        let scale = if self.plant == Plant::Unscaled { 1.0 } else { 1.0 / (config.head_dim as f32).sqrt() };
        let (length, size) = (stream.len(), config.head_dim);
        let mut mixed = vec![vec![0.0; config.query_width()]; length];
        for position in 0..length {
            let visible = match self.plant {
                Plant::NoMask => length,
                Plant::MaskOffByOne => (position + 2).min(length),
                _ => position + 1,
            };
            for head in 0..config.heads {
                let kv = match self.plant {
                    Plant::InterleavedKvHeads => head % config.kv_heads,
                    _ => head / (config.heads / config.kv_heads),
                };
                let query = &queries[position][head * size..][..size];
                let mut weights: Vec<f32> =
                    keys[..visible].iter().map(|key| dot(query, &key[kv * size..][..size]) * scale).collect();
                softmax(&mut weights);
                if position >= length / 2 {
                    self.squares.0 += f64::from(dot(&weights, &weights));
                    self.squares.1 += 1;
                }
                let out = &mut mixed[position][head * size..][..size];
                for (weight, value) in weights.iter().zip(&values) {
                    out.iter_mut().zip(&value[kv * size..]).for_each(|(x, v)| *x += weight * v);
                }
            }
        }
        self.project(layer, "attn_output", &mixed, config.biases.output)
    }

    fn feed_forward(&self, layer: usize, stream: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let normed = self.norm(&names::block(layer, "ffn_norm.weight"), stream);
        let mut gate = self.project(layer, "ffn_gate", &normed, false);
        let up = self.project(layer, "ffn_up", &normed, false);
        for (gate, up) in gate.iter_mut().flatten().zip(up.iter().flatten()) {
            *gate = *gate / (1.0 + (-*gate).exp()) * up;
        }
        self.project(layer, "ffn_down", &gate, false)
    }
}

/// Eight running sums, so that the compiler can use vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

fn add(stream: &mut [Vec<f32>], more: &[Vec<f32>]) {
    stream.iter_mut().flatten().zip(more.iter().flatten()).for_each(|(x, m)| *x += m);
}

fn rms(rows: &[Vec<f32>]) -> f64 {
    let squares: f64 = rows.iter().map(|row| f64::from(dot(row, row))).sum();
    (squares / (rows.len() * rows[0].len()) as f64).sqrt()
}

fn softmax(scores: &mut [f32]) {
    let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in &mut *scores {
        *score = (*score - greatest).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

/// Natural logarithms of the probabilities that logits stand for.
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - greatest).exp()).sum();
    logits.iter().map(|&logit| f64::from(logit - greatest) - sum.ln()).collect()
}

/// The index of the greatest, the lowest where several are.
pub fn argmax(logits: &[f32]) -> usize {
    (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap()
}
