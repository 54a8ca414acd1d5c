//! Generation with drafts: passes that decide several tokens where drafts hold.

use super::{Choice, Decoder, Generation};
use crate::drafts::{self, Continuation, Drafting, Source};
use crate::error::{Error, Result};
use crate::verify::{Extent, Passes};

/// What a decoder needs to draft, and to verify its drafts.
pub(crate) struct Drafter {
    pub drafting: Drafting,
    pub passes: Passes,
    known: Continuation,
}

/// Positions that attention takes as one piece whatever the length: `piece_length` of `attention.cuh`.
const ONE_PIECE: usize = 192;

impl Drafter {
    pub fn new(drafting: Drafting, passes: Passes) -> Self {
        Self { drafting, passes, known: Continuation::default() }
    }

    /// The pass for so many tokens that ends at a length of the sequence.
    fn extent(&self, tokens: usize, length: usize) -> Extent {
        Extent { tokens: if tokens == 1 { 1 } else { self.passes.tokens }, pieces: length > ONE_PIECE }
    }
}

impl Decoder {
    /// How this decoder drafts.
    pub fn drafting(&self) -> Option<Drafting> {
        self.drafter.as_ref().map(|drafter| drafter.drafting)
    }

    /// From now on takes drafts from elsewhere. Without effect on a decoder that does not draft.
    pub fn draft_from(&mut self, source: Source) {
        if let Some(drafter) = &mut self.drafter {
            drafter.drafting.source = source;
        }
    }

    /// Where drafts are made of the continuation itself, generates it first: that is no part of a timed generation.
    pub(super) fn prepare_drafts(&mut self, prompt: &[u32], count: usize) -> Result<()> {
        let Some(drafter) = &mut self.drafter else { return Ok(()) };
        let there = drafter.known.prompt == prompt && drafter.known.tokens.len() >= count;
        if there || drafter.drafting.source == Source::PromptLookup {
            return Ok(());
        }
        drafter.known = Continuation::default();
        let generation = self.generate_from(Choice::Likeliest, prompt, count, true, &mut |_| ())?;
        self.recorder.get_mut().take(0, 0);
        if let Some(drafter) = &mut self.drafter {
            drafter.known = Continuation { prompt: prompt.to_vec(), tokens: generation.tokens };
        }
        Ok(())
    }

    /// The tokens after the first, of a generation of `count` that ends early where `ends` says so.
    pub(super) fn generate_drafted(
        &mut self,
        prompt: &[u32],
        count: usize,
        generation: &mut Generation,
        ends: &dyn Fn(&Generation) -> bool,
        seen: &mut dyn FnMut(u32),
    ) -> Result<()> {
        let vocab = self.config.vocab as u32;
        let mut sequence: Vec<u32> = Vec::with_capacity(prompt.len() + count);
        sequence.extend(prompt.iter().chain(&generation.tokens));
        while !ends(generation) {
            // A pass gives one token more than it accepts drafts.
            let most = count - generation.tokens.len() - 1;
            let drafts = match &self.drafter {
                Some(drafter) => drafter.drafting.draft(&sequence, &drafter.known, vocab, most),
                None => return Err(Error::Internal("drafts without a drafter".into())),
            };
            self.verify(&drafts, sequence.len(), Choice::Likeliest)?;
            let mut accepted = 0;
            let rejected = loop {
                self.take_token(generation, seen)?;
                sequence.extend(generation.tokens.last());
                let Some(&draft) = drafts.get(accepted) else { break false };
                if generation.tokens.last() != Some(&draft) {
                    break true;
                }
                accepted += 1;
                if ends(generation) {
                    break false;
                }
            };
            drafts::count(generation.drafts.get_or_insert_default(), drafts.len(), accepted, rejected);
        }
        Ok(())
    }

    /// Submits a pass: the token at the state's position, the last of a sequence of `length`, and drafts of those after it.
    pub(super) fn verify(&mut self, drafts: &[u32], length: usize, choice: Choice) -> Result<()> {
        let Some(drafter) = self.drafter.take() else {
            return Err(Error::Internal("a pass of drafts without a drafter".into()));
        };
        drafter.passes.give(drafts);
        let extent = drafter.extent(1 + drafts.len(), length + drafts.len());
        let submitted = self.verification(&drafter.passes, extent, choice);
        self.drafter = Some(drafter);
        submitted
    }
}
