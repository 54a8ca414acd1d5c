//! Logits for the host.

use super::{Choice, Decoder, LOGIT_ROWS};
use crate::error::{Error, Result};
use crate::layout::{NO_TOKEN, Start};

impl Decoder {
    /// Logits after each token of a sequence, by the very passes that decode: `[tokens, vocab]` row by row to `row`.
    ///
    /// # Errors
    /// As [`Decoder::generate`], and what `row` says.
    #[allow(clippy::type_complexity)]
    pub fn logits<E: From<Error>>(
        &mut self,
        tokens: &[u32],
        row: &mut dyn FnMut(usize, &[f32]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.logits_from(0, tokens, row)
    }

    /// Logits after a prompt and after each token that follows it, by the passes that generate: those of prompts, then
    /// those that decode. Rows count from the prompt's last token.
    ///
    /// # Errors
    /// As [`Decoder::logits`].
    #[allow(clippy::type_complexity)]
    pub fn logits_after<E: From<Error>>(
        &mut self,
        prompt: &[u32],
        following: &[u32],
        row: &mut dyn FnMut(usize, &[f32]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let logits = self.prompt_logits(prompt)?;
        row(0, &logits)?;
        let tokens = [prompt, following].concat();
        self.logits_from(prompt.len(), &tokens, &mut |index, logits| row(index + 1 - prompt.len(), logits))
    }

    /// Logits after the tokens from `begin` on, where those before it are in the cache.
    #[allow(clippy::type_complexity)]
    fn logits_from<E: From<Error>>(
        &mut self,
        begin: usize,
        tokens: &[u32],
        row: &mut dyn FnMut(usize, &[f32]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.check_tokens(tokens, 0)?;
        self.forced.write(0, tokens)?;
        let vocab = self.config.vocab;
        let most = self.drafter.as_ref().map_or(LOGIT_ROWS, |drafter| drafter.passes.tokens);
        for first in (begin..tokens.len()).step_by(most) {
            let rows = most.min(tokens.len() - first);
            self.produced.clear();
            self.start(Start {
                position: first as u32,
                token: tokens[first],
                produced: 0,
                forced: tokens.len() as u32,
                keep_logits: 1,
                limit: rows as u32,
                stopped: 0,
                stop: [NO_TOKEN; 4],
            })?;
            if self.drafter.is_some() {
                // Tokens that are given hold as drafts.
                self.verify(&tokens[first + 1..first + rows], first + 1, Choice::Scored)?;
            } else if self.switches.persistent {
                self.resident(Choice::Scored)?;
            } else {
                (0..rows).try_for_each(|_| self.token(Choice::Scored))?;
            }
            self.finish()?;
            let logits: Vec<f32> = self.logits.read(0, rows * vocab)?;
            for (offset, logits) in logits.chunks_exact(vocab).enumerate() {
                row(first + offset, logits)?;
            }
        }
        Ok(())
    }

    /// Logits of the last position of a prompt, by the passes that evaluate prompts.
    ///
    /// # Errors
    /// As [`Decoder::generate`].
    pub fn prompt_logits(&mut self, prompt: &[u32]) -> Result<Vec<f32>> {
        self.generate_by(Choice::Scored, prompt, 1, true, &mut |_| ())?;
        self.logits.read(0, self.config.vocab)
    }
}
