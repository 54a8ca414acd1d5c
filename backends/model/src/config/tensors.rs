//! Which tensors a model of some shape has: the one list that reading, checking and synthesis share.

use super::ModelConfig;

/// Names of tensors in GGUF files.
pub mod names {
    /// Token embedding, `[hidden, vocab]`.
    pub const TOKEN_EMBD: &str = "token_embd.weight";
    /// Scale of the norm before the head, `[hidden]`.
    pub const OUTPUT_NORM: &str = "output_norm.weight";
    /// Output head, `[hidden, vocab]`; absent where the head is tied.
    pub const OUTPUT: &str = "output.weight";
    /// Divisors of the rotary frequencies, `[dims / 2]`; absent in most models.
    pub const ROPE_FREQS: &str = "rope_freqs.weight";

    /// A tensor of a block, such as `block(3, "attn_q.weight")`.
    pub fn block(layer: usize, part: &str) -> String {
        format!("blk.{layer}.{part}")
    }
}

/// A tensor that must exist, with its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedTensor {
    /// Name.
    pub name: String,
    /// Extents, fastest-varying first.
    pub shape: Vec<u64>,
}

impl ModelConfig {
    /// The tensors of one block, in llama.cpp's order.
    pub fn block_tensors(&self, layer: usize) -> Vec<ExpectedTensor> {
        let hidden = self.hidden as u64;
        let inner = self.intermediate as u64;
        let (query, kv) = (self.query_width() as u64, self.kv_width() as u64);
        let mut parts: Vec<(&str, Vec<u64>)> = vec![("attn_norm.weight", vec![hidden])];
        parts.push(("attn_q.weight", vec![hidden, query]));
        parts.push(("attn_k.weight", vec![hidden, kv]));
        parts.push(("attn_v.weight", vec![hidden, kv]));
        if self.biases.qkv {
            parts.push(("attn_q.bias", vec![query]));
            parts.push(("attn_k.bias", vec![kv]));
            parts.push(("attn_v.bias", vec![kv]));
        }
        parts.push(("attn_output.weight", vec![query, hidden]));
        if self.biases.output {
            parts.push(("attn_output.bias", vec![hidden]));
        }
        parts.push(("ffn_norm.weight", vec![hidden]));
        parts.push(("ffn_gate.weight", vec![hidden, inner]));
        parts.push(("ffn_up.weight", vec![hidden, inner]));
        parts.push(("ffn_down.weight", vec![inner, hidden]));
        parts.into_iter().map(|(part, shape)| ExpectedTensor { name: names::block(layer, part), shape }).collect()
    }

    /// Every tensor of the model: embedding, final norm, head where it is not tied, then block after block.
    pub fn expected_tensors(&self) -> impl Iterator<Item = ExpectedTensor> + '_ {
        let table = vec![self.hidden as u64, self.vocab as u64];
        let one = |name: &str, shape: Vec<u64>| ExpectedTensor { name: name.to_owned(), shape };
        let mut outer = vec![one(names::TOKEN_EMBD, table.clone()), one(names::OUTPUT_NORM, vec![self.hidden as u64])];
        if !self.tied_head {
            outer.push(one(names::OUTPUT, table));
        }
        if let Some(freqs) = &self.rope.freqs {
            outer.push(one(freqs, vec![self.rope.dims as u64 / 2]));
        }
        outer.into_iter().chain((0..self.layers).flat_map(|layer| self.block_tensors(layer)))
    }
}
