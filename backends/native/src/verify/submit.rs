//! What is submitted for a pass that verifies drafts.

use super::Passes;
use crate::decoder::{Choice, Decoder};
use crate::error::Result;
use crate::gpu::LaunchConfig;
use crate::layout::{Layer, Tensor};
use crate::submit::arguments;
use qa_kernels::verify::{INNER_ROWS, Step, VERIFY_THREADS, vectors_bytes};
use qa_kernels::{KvCache, THREADS};

/// Threads of a block that only moves data.
const COPY_THREADS: u32 = 256;
/// Warps of a block of a product.
const WARPS: usize = VERIFY_THREADS as usize / 32;

/// A pass: how many tokens it has room for, and whether attention is in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Extent {
    /// 1, or what [`Passes::tokens`] says.
    pub tokens: usize,
    /// Whether a sequence may be longer than one piece of attention.
    pub pieces: bool,
}

impl Decoder {
    /// A pass over the weights for the certain token and the drafts that were given.
    pub(crate) fn submit_verification(&self, passes: &Passes, extent: Extent, choice: Choice) -> Result<()> {
        let (buffers, verify, tokens) = (self.buffers_for(choice), passes.buffers, extent.tokens as u32);
        let vectors = vectors_bytes(&self.shape, extent.tokens) as u32;
        let submit = |step: Step, launch: LaunchConfig, arguments: &mut [*mut std::ffi::c_void]| {
            let shared_bytes = if step.holds_vectors() { vectors } else { 0 };
            let function = self.kernels.get(&step.name(extent.tokens))?;
            self.submit_main(function, LaunchConfig { shared_bytes, ..launch }, arguments)
        };
        submit(Step::Embed, LaunchConfig::new(tokens, COPY_THREADS), arguments![buffers, verify])?;
        for (index, layer) in self.weights.layers.iter().enumerate() {
            let index = index as u32;
            let config = &self.config;
            // Two rows a warp, which are turned together.
            let pairs = config.query_width() / 2 + config.kv_width();
            let launch = a_warp_each(pairs, self.phase_bytes("qkv", Some(index)));
            submit(Step::Qkv, launch, arguments![buffers, verify, *layer, index])?;
            if self.shape.kv_cache == KvCache::Q8_0 {
                submit(Step::Keep, LaunchConfig::new(tokens, THREADS), arguments![buffers, verify, index])?;
            }
            let pieces = if extent.pieces { self.shape.splits } else { 1 };
            let grid = (config.heads as u32, pieces * tokens);
            let launch = LaunchConfig { grid, ..LaunchConfig::new(1, THREADS) };
            submit(Step::Attention, launch, arguments![buffers, verify, index])?;
            if extent.pieces {
                submit(Step::Merge, LaunchConfig::new(tokens, THREADS), arguments![verify])?;
            }
            let Layer { output, output_bias, feed_forward_norm, gate, up, down, .. } = *layer;
            let residual = buffers.residual;
            let add = |step, phase, weight: Tensor, bias: u64| {
                let launch = a_warp_each(config.hidden, self.phase_bytes(phase, Some(index)));
                submit(step, launch, arguments![verify, weight, bias, residual])
            };
            add(Step::Output, "output", output, output_bias)?;
            let blocks = (config.intermediate / INNER_ROWS) as u32;
            let reads = self.phase_bytes("gate_up", Some(index));
            let launch = LaunchConfig { reads, ..LaunchConfig::new(blocks, VERIFY_THREADS) };
            submit(Step::GateUp, launch, arguments![verify, residual, feed_forward_norm, gate, up])?;
            add(Step::Down, "down", down, 0)?;
        }
        let reads = self.phase_bytes("head", None);
        let launch = LaunchConfig { reads, ..LaunchConfig::new(passes.head_blocks, VERIFY_THREADS) };
        submit(Step::Head, launch, arguments![buffers, verify])?;
        submit(Step::Accept, LaunchConfig::new(1, THREADS), arguments![buffers, verify, passes.head_blocks])
    }
}

/// A launch in which each warp has one unit of so many.
fn a_warp_each(units: usize, reads: u64) -> LaunchConfig {
    LaunchConfig { reads, ..LaunchConfig::new(units.div_ceil(WARPS) as u32, VERIFY_THREADS) }
}
