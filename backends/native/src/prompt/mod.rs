//! Prompts: many tokens at once, on tensor cores.
//!
//! Weights are expanded to f16 and multiplied with the tokens' vectors in f16 too; sums are f32. For many tokens a piece of a
//! block is expanded at a time, for few each tile by who multiplies it. The kernels are `prompt_*.cu` of `qa-kernels`.

mod layout;
mod plan;
mod submit;

use crate::error::Result;
use crate::gpu::Arena;
use crate::kernels::Kernels;
use plan::{Kind, Plan};
use qa_kernels::prompt::{TILE_TOKENS, TensorCores, attention_shared_bytes, operand_bytes, product_name};
use qa_model::ModelConfig;

/// Most tokens that are evaluated together.
const MOST_TOKENS: usize = 2048;
/// Room for sums that are computed in parts, in rows of the widest result.
const LEAST_SUMS: usize = 1024;
/// Room for expanded weights: what stays in the second-level cache of an H100 beside the tokens' vectors.
const EXPANDED_BYTES: usize = 32 << 20;

/// Buffers by address, and how blocks are cut.
#[derive(Debug)]
pub struct Prompts {
    /// Tokens that buffers have room for.
    pub capacity: usize,
    /// Most tokens of a pass.
    pub pass: usize,
    plan: Plan,
    cores: TensorCores,
    multiprocessors: u32,
    sums_rows: usize,
    expanded: u64,
    normed: u64,
    queries: u64,
    attended: u64,
    inner: u64,
    sums: u64,
    owned: Arena,
}

/// Bytes of each buffer for a context.
struct Sizes {
    capacity: usize,
    sums_rows: usize,
    normed: usize,
    queries: usize,
    attended: usize,
    inner: usize,
    sums: usize,
}

impl Sizes {
    fn new(config: &ModelConfig, context: usize) -> Self {
        let capacity = context.min(MOST_TOKENS).next_multiple_of(TILE_TOKENS as usize);
        let sums_rows = capacity.max(LEAST_SUMS);
        let widest = Kind::Qkv.rows(config).max(config.hidden);
        Self {
            capacity,
            sums_rows,
            normed: operand_bytes(config.hidden, capacity),
            queries: capacity * config.query_width() * 2,
            attended: operand_bytes(config.query_width(), capacity),
            inner: operand_bytes(config.intermediate, capacity),
            sums: sums_rows * widest * size_of::<f32>(),
        }
    }
}

/// Tokens of the residual stream that prompts need at once.
pub fn capacity(config: &ModelConfig, context: usize) -> usize {
    Sizes::new(config, context).capacity
}

/// Bytes of device memory that prompts take for a context, the residual stream not counted.
pub fn bytes(config: &ModelConfig, context: usize) -> usize {
    let sizes = Sizes::new(config, context);
    let vectors = sizes.normed + sizes.queries + sizes.attended + sizes.inner + sizes.sums;
    vectors + Plan::new(config, EXPANDED_BYTES).bytes
}

impl Prompts {
    /// Allocates buffers for prompts of a model.
    ///
    /// # Errors
    /// Where memory is missing, or the card has too little shared memory for a block.
    pub fn new(
        config: &ModelConfig,
        context: usize,
        kernels: &Kernels,
        cores: TensorCores,
        multiprocessors: u32,
    ) -> Result<Self> {
        for gated in [false, true] {
            kernels.get(product_name(gated))?.allow_shared(cores.product_shared_bytes())?;
        }
        kernels.get("prompt_attention")?.allow_shared(attention_shared_bytes(config.head_dim))?;
        let sizes = Sizes::new(config, context);
        let plan = Plan::new(config, EXPANDED_BYTES);
        let mut owned = Arena::default();
        Ok(Self {
            capacity: sizes.capacity,
            pass: sizes.capacity,
            cores,
            multiprocessors,
            sums_rows: sizes.sums_rows,
            expanded: owned.zeros(plan.bytes)?,
            normed: owned.zeros(sizes.normed)?,
            queries: owned.zeros(sizes.queries)?,
            attended: owned.zeros(sizes.attended)?,
            inner: owned.zeros(sizes.inner)?,
            sums: owned.zeros(sizes.sums)?,
            plan,
            owned,
        })
    }

    /// Bytes of device memory.
    pub fn device_bytes(&self) -> usize {
        self.owned.bytes()
    }
}
