//! What is made of the logits: how the next token is chosen.

use super::Decoder;
use crate::error::{Error, Result};
use crate::kernels;
use crate::layout::{self, Candidate, NO_TOKEN, Start, word};
use qa_kernels::Shape;
use qa_reference::sampling::Sampler;

/// How passes choose the next token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Choice {
    /// The likeliest; logits are not kept.
    Likeliest,
    /// The likeliest; logits are kept for the host.
    Scored,
    /// A draw; logits are kept for it.
    Drawn,
}

impl Choice {
    /// Whether kernels that draw are launched in place of those that take the likeliest token.
    pub fn draws(self) -> bool {
        self == Self::Drawn
    }
}

impl Decoder {
    /// How the following generations choose tokens: by `sampler`, or the likeliest. The device draws, whatever walks the
    /// model, since a resident grid needs each token before the host sees it. Kernels that draw are compiled here, when they are
    /// first asked for, so that no generation is timed with it.
    ///
    /// # Errors
    /// Where such a kernel does not compile or does not fit the card, or the decoder drafts.
    pub fn set_sampler(&mut self, sampler: Option<Sampler>) -> Result<()> {
        if let Some(sampler) = &sampler {
            if self.drafter.is_some() {
                return Err(Error::Unsupported(
                    "drafts are held against the likeliest token, and tokens are to be drawn at random: use `sampling: greedy`, or leave `draft_tokens` out".into(),
                ));
            }
            let needed = kernels::needed_to_draw(self.switches, self.trace.is_some());
            if needed.iter().any(|kernel| self.kernels.get(&kernel.name).is_err()) {
                self.kernels.add(&self.gpu, &self.shape, &needed)?;
                if self.switches.persistent {
                    self.check_resident(Shape::decode_name(self.switches.megakernel, true))?;
                }
            }
            let sampling = layout::Sampling {
                top_p: sampler.top_p_fixed(),
                seed: sampler.seed(),
                octaves_per_logit: sampler.octaves_per_logit(),
                top_k: sampler.top_k(),
            };
            self.state.write(word::SAMPLING * size_of::<u32>(), &[sampling])?;
        }
        self.sampler = sampler;
        Ok(())
    }

    /// What the device draws at index `position` (at least 1) of a sequence from given logits, one a token of the vocabulary:
    /// the kernel alone, to be held against [`Sampler::draw`]. `None` where no token can be drawn.
    ///
    /// # Errors
    /// Where no sampler is set, the logits are not one a token, or the device fails.
    pub fn draw(&mut self, logits: &[f32], position: u32) -> Result<Option<u32>> {
        if self.sampler.is_none() || logits.len() != self.config.vocab || position == 0 {
            let found = logits.len();
            return Err(Error::Unsupported(format!(
                "cannot draw at {position} from {found} logits: that needs a sampler, a logit for each of {} tokens, and a token before it",
                self.config.vocab
            )));
        }
        let first = Candidate { logit: f32::NEG_INFINITY, id: NO_TOKEN };
        let likeliest = (0_u32..).zip(logits).fold(first, |best, (id, &logit)| {
            if logit > best.logit || best.id == NO_TOKEN && !logit.is_nan() { Candidate { logit, id } } else { best }
        });
        self.produced.clear();
        self.logits.write(0, logits)?;
        self.candidates.write(0, &vec![likeliest; self.buffers.candidate_count as usize])?;
        self.start(Start {
            position: position - 1,
            token: 0,
            produced: 0,
            forced: 0,
            keep_logits: 0,
            limit: 1,
            stopped: 0,
            stop: [NO_TOKEN; 4],
        })?;
        self.submit_draw()?;
        self.finish()?;
        Ok(self.produced.get(0).checked_sub(1))
    }
}
