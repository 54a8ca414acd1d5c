//! The weights themselves: random, but so that a wrong kernel cannot hide.
//!
//! Independent normal matrices of the usual size would give attention that is nearly flat and logits that hardly
//! depend on the context: almost any error would pass. Here instead
//!
//! - the head is scaled so that logits have a standard deviation of [`LOGIT_DEVIATION`];
//! - every sublayer adds [`SUBLAYER_SHARE`] of the embedding's deviation to the residual stream, so that all layers count
//!   alike and, together, far more than the embedding;
//! - content scores `q . k / sqrt(d)` have a deviation near 2, and each query head has biases that raise the score of one
//!   distance by 3 to 8: attention is peaked by content and by position. The positional peak is made of the rotary
//!   embedding's own waves, `sum_p a_p cos(w_p (distance - offset))`, and dissolves where base, pairing or positions are
//!   wrong;
//! - value biases are as large as the values' own spread after averaging;
//! - norm scales differ from 1 and between channels; the final norm's have random signs, without which a tied head would
//!   answer every token with itself (the residual stream still contains the token's embedding).

use std::ops::Range;

use crate::config::{ModelConfig, names};
use crate::gguf::TensorPlan;

use super::normal::Stream;

/// Standard deviation of logits over the vocabulary.
const LOGIT_DEVIATION: f32 = 2.5;
/// Deviation of an embedding's elements where the head is not tied to it.
const UNTIED_EMBEDDING_DEVIATION: f32 = 0.08;
/// What a sublayer adds to the residual stream, relative to an embedding.
const SUBLAYER_SHARE: f32 = 0.5;
/// Deviation of the elements of queries and keys, before their biases.
const QUERY_KEY_DEVIATION: f32 = 1.3;
/// Deviation of value biases; values themselves have deviation 1.
const VALUE_BIAS_DEVIATION: f32 = 0.5;
/// Deviation of what attention hands to the output projection: peaked averages of values, and their bias.
const ATTENTION_OUT_DEVIATION: f32 = 0.8;
/// Deviation of the gate before its activation; of the up projection it is 1.
const GATE_DEVIATION: f32 = 1.5;
/// Root mean square of `silu(g) u` for normal `g` and `u` of those deviations, by numerical integration.
const GATED_DEVIATION: f32 = 0.957;
/// Norm scales are uniform from `1 - NORM_SPREAD` to `1 + NORM_SPREAD`.
const NORM_SPREAD: f32 = 0.5;
/// The rotary pairs that carry position: those that turn by at least this angle, in radians, per position.
const SLOWEST_POSITIONAL_WAVE: f64 = 0.03;
/// Heights of a query head's positional peak, least and greatest.
const PEAK: (f32, f32) = (3.0, 8.0);
/// Distances that a query head may prefer.
const OFFSETS: [u8; 12] = [0, 1, 2, 3, 4, 5, 7, 9, 12, 16, 24, 32];
/// Deviation of what is added to every element of a query or key bias.
const BIAS_NOISE: f32 = 0.3;

/// Draws rows of a tensor; `chunk` numbers them among the tensor's chunks.
pub(super) fn draw(
    config: &ModelConfig,
    seed: u64,
    tensor: &TensorPlan,
    rows: &Range<u64>,
    chunk: u64,
    out: &mut [f32],
) {
    debug_assert_eq!(out.len() as u64, (rows.end - rows.start) * tensor.shape[0]);
    let mut stream = Stream::new(seed, &tensor.name, chunk);
    // The deviation of a matrix whose input has deviation `input` and whose output shall have deviation `output`.
    let matrix = |input: f32, output: f32| output / (input * (tensor.shape[0] as f32).sqrt());
    let normed = norm_deviation();
    let head = LOGIT_DEVIATION / (normed * (config.hidden as f32).sqrt());
    let embedding = if config.tied_head { head } else { UNTIED_EMBEDDING_DEVIATION };
    let sublayer = SUBLAYER_SHARE * embedding;
    let (layer, part) = match tensor.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, part)) => (layer, part),
        None => ("", tensor.name.as_str()),
    };
    match part {
        names::TOKEN_EMBD => stream.normal(embedding, out),
        names::OUTPUT => stream.normal(head, out),
        names::OUTPUT_NORM => signed_scales(&mut stream, out),
        "attn_norm.weight" | "ffn_norm.weight" => scales(&mut stream, out),
        "attn_q.weight" | "attn_k.weight" => stream.normal(matrix(normed, QUERY_KEY_DEVIATION), out),
        "attn_v.weight" | "ffn_up.weight" => stream.normal(matrix(normed, 1.0), out),
        "attn_output.weight" => stream.normal(matrix(ATTENTION_OUT_DEVIATION, sublayer), out),
        "ffn_gate.weight" => stream.normal(matrix(normed, GATE_DEVIATION), out),
        "ffn_down.weight" => stream.normal(matrix(GATED_DEVIATION, sublayer), out),
        "attn_q.bias" => Positional::new(config, seed, layer).query_bias(&mut stream, out),
        "attn_k.bias" => Positional::new(config, seed, layer).key_bias(&mut stream, out),
        "attn_v.bias" => stream.normal(VALUE_BIAS_DEVIATION, out),
        other => unreachable!("the presets have no tensor {other}"),
    }
}

/// Deviation of what leaves a norm: the root mean square of its scales.
fn norm_deviation() -> f32 {
    (1.0 + NORM_SPREAD * NORM_SPREAD / 3.0).sqrt()
}

fn scales(stream: &mut Stream, out: &mut [f32]) {
    out.fill_with(|| 1.0 + NORM_SPREAD * (2.0 * stream.uniform() - 1.0));
}

fn signed_scales(stream: &mut Stream, out: &mut [f32]) {
    scales(stream, out);
    for scale in out {
        if stream.uniform() < 0.5 {
            *scale = -*scale;
        }
    }
}

/// The positional part of one layer's query and key biases: waves with a common phase, which the rotary embedding
/// turns into a peak of the score at a distance of each query head's choosing. Halves are paired (NEOX), as in Qwen2.
struct Positional {
    head_dim: usize,
    /// Query heads per key head.
    group: usize,
    /// Angle per position of the waves that are used, fastest first; wave `p` lies in elements `p` and `p + dims / 2`.
    waves: Vec<f64>,
    /// Distance between the two elements of a pair.
    half: usize,
    /// Phase of each key head's waves: `phases[key head][wave]`.
    phases: Vec<Vec<f64>>,
    /// Length of a key bias in each wave's plane.
    radius: f32,
}

impl Positional {
    fn new(config: &ModelConfig, seed: u64, layer: &str) -> Self {
        let dims = config.rope.dims;
        // Powers and sines in f64, rounded once: mathematical libraries differ in the last bit, files must not.
        let waves: Vec<f64> = (0..dims / 2)
            .map(|pair| f64::from(config.rope.base).powf(-2.0 * pair as f64 / dims as f64))
            .take_while(|&wave| wave >= SLOWEST_POSITIONAL_WAVE)
            .collect();
        // Queries and keys must agree on the phases, so these have a stream of their own.
        let mut stream = Stream::new(seed, &format!("blk.{layer}.positional_phases"), 0);
        let phases = (0..config.kv_heads)
            .map(|_| waves.iter().map(|_| std::f64::consts::TAU * f64::from(stream.uniform())).collect())
            .collect();
        // A query of the same length would give a peak of the middle height.
        let middle = f32::midpoint(PEAK.0, PEAK.1);
        let radius = (middle * (config.head_dim as f32).sqrt() / waves.len() as f32).sqrt();
        Self { head_dim: config.head_dim, group: config.heads / config.kv_heads, waves, half: dims / 2, phases, radius }
    }

    fn key_bias(&self, stream: &mut Stream, out: &mut [f32]) {
        stream.normal(BIAS_NOISE, out);
        for (head, out) in out.chunks_exact_mut(self.head_dim).enumerate() {
            self.add_waves(head, self.radius, 0.0, out);
        }
    }

    fn query_bias(&self, stream: &mut Stream, out: &mut [f32]) {
        stream.normal(BIAS_NOISE, out);
        for (head, out) in out.chunks_exact_mut(self.head_dim).enumerate() {
            let peak = PEAK.0 + (PEAK.1 - PEAK.0) * stream.uniform();
            let offset = OFFSETS[(stream.uniform() * OFFSETS.len() as f32) as usize];
            let radius = peak * (self.head_dim as f32).sqrt() / (self.waves.len() as f32 * self.radius);
            self.add_waves(head / self.group, radius, f64::from(offset), out);
        }
    }

    /// Adds waves of a key head's phases, turned back by `offset` positions: after rotation, the product of a query at
    /// position `i` and a key at `j` is the sum over waves of `cos(w (i - j - offset))`.
    fn add_waves(&self, key_head: usize, radius: f32, offset: f64, out: &mut [f32]) {
        for (pair, (&wave, &phase)) in self.waves.iter().zip(&self.phases[key_head]).enumerate() {
            let (sine, cosine) = (phase - wave * offset).sin_cos();
            out[pair] += radius * cosine as f32;
            out[pair + self.half] += radius * sine as f32;
        }
    }
}
