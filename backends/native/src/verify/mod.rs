//! Passes that verify drafts: a few tokens in one pass over the weights, each with the bits of a pass of its own by the
//! kernels of one operation. The kernels are `verify_*.cu` of `qa-kernels`.

mod layout;
mod submit;

use crate::error::{Error, Result};
use crate::gpu::{Arena, HostRing};
use crate::kernels::Kernels;
use layout::{Drafts, Verify};
use qa_kernels::verify::{MOST_TOKENS, Step, largest_pass, pass_of, vectors_bytes};
use qa_kernels::{KvCache, Shape};
pub(crate) use submit::Extent;

/// Blocks of the head that a multiprocessor holds.
const HEAD_BLOCKS_EACH: u32 = 2;

/// Buffers of passes, and which passes there are.
#[derive(Debug)]
pub struct Passes {
    /// Tokens of the largest pass, a power of two.
    pub tokens: usize,
    buffers: Verify,
    given: HostRing,
    head_blocks: u32,
    owned: Arena,
}

/// The pass for so many drafts and the certain token.
///
/// # Errors
/// Where no pass of this model is so large.
pub fn pass_for(shape: &Shape, drafts: usize) -> Result<usize> {
    let most = largest_pass(shape);
    if drafts == 0 || drafts >= most {
        return Err(Error::Unsupported(format!(
            "`draft_tokens` is {drafts}; a pass over this model has room for 1 to {} drafts",
            most - 1
        )));
    }
    Ok(pass_of(drafts + 1))
}

impl Passes {
    /// Allocates the buffers of passes of up to `tokens` tokens.
    ///
    /// # Errors
    /// Where memory is missing, or the card has too little shared memory for a block.
    pub fn new(shape: &Shape, kernels: &Kernels, tokens: usize, multiprocessors: u32) -> Result<Self> {
        for pass in [1, tokens] {
            for step in Step::ALL.into_iter().filter(|step| step.holds_vectors()) {
                kernels.get(&step.name(pass))?.allow_shared(vectors_bytes(shape, pass))?;
            }
        }
        let config = &shape.config;
        let floats = |count: usize| tokens * count * size_of::<f32>();
        let head_blocks = multiprocessors * HEAD_BLOCKS_EACH;
        let given = HostRing::new(MOST_TOKENS)?;
        let mut owned = Arena::default();
        let kept = if shape.kv_cache == KvCache::Q8_0 { owned.zeros(floats(2 * config.kv_width()))? } else { 0 };
        let buffers = Verify {
            given: given.address(),
            drafts: owned.zeros(size_of::<Drafts>())?,
            queries: owned.zeros(floats(config.query_width()))?,
            kept,
            pieces: owned.zeros(floats(config.heads * shape.splits as usize * (config.head_dim + 4)))?,
            attended: owned.zeros(tokens * shape.vector_bytes(config.query_width(), shape.output))?,
            inner: owned.zeros(tokens * shape.vector_bytes(config.intermediate, shape.down))?,
            candidates: owned.zeros(floats(2 * head_blocks as usize))?,
        };
        Ok(Self { tokens, buffers, given, head_blocks, owned })
    }

    /// Says what the next pass verifies. Nothing may be under way on the device.
    pub fn give(&self, drafts: &[u32]) {
        self.given.set(0, drafts.len() as u32);
        (1..).zip(drafts).for_each(|(place, &draft)| self.given.set(place, draft));
    }

    /// Bytes of device memory.
    pub fn device_bytes(&self) -> usize {
        self.owned.bytes()
    }
}
