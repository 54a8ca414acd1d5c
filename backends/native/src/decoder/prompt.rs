//! Prompts, in chunks.

use super::{CHUNK, Decoder};
use crate::error::Result;
use crate::layout::Pass;

impl Decoder {
    /// Evaluates the first `count` forced tokens, and chooses the one after them.
    pub(super) fn prompt(&self, count: usize) -> Result<()> {
        for start in (0..count).step_by(CHUNK) {
            let tokens = CHUNK.min(count - start);
            let pass = Pass { count: tokens as u32, start: start as u32, prompt: 1 };
            self.submit_prompt(pass, start + tokens == count)?;
        }
        Ok(())
    }
}
