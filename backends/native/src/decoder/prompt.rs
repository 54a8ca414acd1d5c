//! Prompts, in chunks.

use super::{Choice, Decoder};
use crate::error::Result;
use crate::layout::Pass;

impl Decoder {
    /// From now on evaluates at most so many tokens of a prompt together: fewer than the decoder would take by itself.
    pub fn limit_prompt_passes(&mut self, tokens: usize) {
        self.prompts.pass = tokens.clamp(1, self.prompts.capacity);
    }

    /// Evaluates the first `count` forced tokens, and chooses the one after them.
    pub(super) fn prompt(&self, count: usize, choice: Choice) -> Result<()> {
        let most = self.prompts.pass;
        for start in (0..count).step_by(most) {
            let tokens = most.min(count - start);
            let pass = Pass { count: tokens as u32, start: start as u32, prompt: 1 };
            self.submit_prompt(pass, start + tokens == count, choice)?;
        }
        Ok(())
    }
}
