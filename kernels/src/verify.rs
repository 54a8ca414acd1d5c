//! Kernels that verify drafts, and what their launches share with them.

use crate::kv_cache::KvCache;
use crate::shape::{Kernel, Shape};

/// Most tokens of a pass, the one that is certain included: `MOST_TOKENS` of `verify.cuh`.
pub const MOST_TOKENS: usize = 16;

/// Threads of a block of a product: `VERIFY_THREADS` of `verify.cuh`.
pub const VERIFY_THREADS: u32 = 256;

/// Inner values of the feed-forward that a block makes.
pub const INNER_ROWS: usize = 32;

/// Shared memory that vectors of a pass may take: what a block of an sm_89 has, less what kernels declare.
const SHARED_BYTES: usize = 80 << 10;

/// The tokens that a pass of so many has room for: passes are compiled for powers of two.
pub fn pass_of(tokens: usize) -> usize {
    tokens.next_power_of_two()
}

/// The largest pass whose vectors fit a block's shared memory.
pub fn largest_pass(shape: &Shape) -> usize {
    let fits = |&tokens: &usize| vectors_bytes(shape, tokens) <= SHARED_BYTES;
    [MOST_TOKENS, 8, 4, 2].into_iter().find(fits).unwrap_or(1)
}

/// Dynamic shared memory of the kernels that norm a pass's vectors for themselves.
pub fn vectors_bytes(shape: &Shape, tokens: usize) -> usize {
    tokens * shape.vector_bytes(shape.config.hidden, shape.hidden_set())
}

/// A step of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Tokens to vectors.
    Embed,
    /// Norm, queries, keys and values.
    Qkv,
    /// Keys and values to an int8 cache.
    Keep,
    /// Attention.
    Attention,
    /// Its pieces merged.
    Merge,
    /// The output projection.
    Output,
    /// Norm, gate and up.
    GateUp,
    /// The down projection.
    Down,
    /// Norm and head.
    Head,
    /// Which drafts hold.
    Accept,
}

impl Step {
    /// All of them, in the order of a pass.
    pub const ALL: [Self; 10] = [
        Self::Embed,
        Self::Qkv,
        Self::Keep,
        Self::Attention,
        Self::Merge,
        Self::Output,
        Self::GateUp,
        Self::Down,
        Self::Head,
        Self::Accept,
    ];

    /// File and entry point, and the constant `ROLE` where the file has roles.
    fn source(self) -> (&'static str, &'static str, Option<u32>) {
        match self {
            Self::Embed => ("verify_embed.cu", "verify_embed", None),
            Self::Qkv => ("verify_qkv.cu", "verify_qkv", None),
            Self::Keep => ("verify_keep.cu", "verify_keep", None),
            Self::Attention => ("verify_attention.cu", "verify_attention", None),
            Self::Merge => ("verify_merge.cu", "verify_merge", None),
            Self::Output => ("verify_add.cu", "verify_add", Some(0)),
            Self::GateUp => ("verify_gate_up.cu", "verify_gate_up", None),
            Self::Down => ("verify_add.cu", "verify_add", Some(1)),
            Self::Head => ("verify_head.cu", "verify_head", None),
            Self::Accept => ("verify_accept.cu", "verify_accept", None),
        }
    }

    /// Whether its blocks hold the vectors of a pass in dynamic shared memory.
    pub fn holds_vectors(self) -> bool {
        matches!(self, Self::Qkv | Self::GateUp | Self::Head)
    }

    /// The name of its kernel for passes of so many tokens.
    pub fn name(self, tokens: usize) -> String {
        let (_, entry, role) = self.source();
        let of = match role {
            None => entry,
            Some(0) => "verify_output",
            Some(_) => "verify_down",
        };
        format!("{of}_x{tokens}")
    }
}

impl Shape {
    /// The kernels of passes of so many tokens, a power of two up to [`MOST_TOKENS`].
    pub fn verify(&self, tokens: usize) -> Vec<Kernel> {
        let needed = |step: &Step| *step != Step::Keep || self.kv_cache == KvCache::Q8_0;
        let kernel = |step: Step| {
            let (file, entry, role) = step.source();
            let constants = [("TOKENS", tokens as u32)].into_iter().chain(role.map(|role| ("ROLE", role))).collect();
            Kernel { name: step.name(tokens), file, entry, constants }
        };
        Step::ALL.into_iter().filter(needed).map(kernel).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Format, FormatSet};
    use qa_model::synth::Preset;

    fn shape(preset: Preset, format: Format) -> Shape {
        let all = FormatSet::only(format);
        Shape {
            config: preset.config(),
            splits: 4,
            float_activations: false,
            kv_cache: KvCache::F16,
            qkv: all,
            output: all,
            gate_up: all,
            down: all,
            head: all,
            embedding: all,
        }
    }

    #[test]
    fn passes_are_powers_of_two_that_fit_a_block() {
        assert_eq!([1, 2, 5, 8, 9, 16].map(pass_of), [1, 2, 8, 8, 16, 16]);
        // 1,120 and 3,584 bytes a vector of 896 elements.
        assert_eq!(largest_pass(&shape(Preset::QwenCoder05B, Format::Q8_0)), 16);
        assert_eq!(largest_pass(&shape(Preset::QwenCoder05B, Format::F16)), 16);
        // 14,336 bytes a vector of 3,584.
        assert_eq!(largest_pass(&shape(Preset::QwenCoder7B, Format::F16)), 4);
    }

    #[test]
    fn only_an_int8_cache_has_a_step_of_its_own_and_names_differ() {
        let mut shape = shape(Preset::QwenCoder05B, Format::Q8_0);
        let names = |shape: &Shape| -> Vec<String> { shape.verify(8).into_iter().map(|kernel| kernel.name).collect() };
        let plain = names(&shape);
        assert_eq!(plain.len(), 9);
        assert!(plain.contains(&"verify_down_x8".to_owned()) && plain.contains(&"verify_output_x8".to_owned()));
        shape.kv_cache = KvCache::Q8_0;
        let int8 = names(&shape);
        assert_eq!(int8.len(), 10);
        assert_eq!(int8.iter().collect::<std::collections::HashSet<_>>().len(), 10);
    }
}
