//! Generation: a prompt, then a token after the other.

use super::{Choice, Decoder};
use crate::error::{Error, Result};
use crate::layout::{NO_TOKEN, Start, word};
use qa_protocol::Drafts;
use std::time::Instant;

/// Times of a generation, on the monotonic clock.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Generated ids.
    pub tokens: Vec<u32>,
    /// When the prompt's ids were on the host.
    pub begun: Instant,
    /// When each id was visible on the host.
    pub seen: Vec<Instant>,
    /// Positions that the device computed after the first id, those of drafts that did not hold included.
    pub positions: u64,
    /// Barriers across the grid among them.
    pub grid_syncs: u64,
    /// What became of drafts, where there were any.
    pub drafts: Option<Drafts>,
}

impl Decoder {
    pub(super) fn start(&self, start: Start) -> Result<()> {
        self.state.write(0, &[start])
    }

    pub(super) fn check_tokens(&self, tokens: &[u32], further: usize) -> Result<()> {
        let vocab = self.config.vocab;
        if tokens.is_empty() {
            return Err(Error::Unsupported("no tokens were given: a sequence begins with at least one".into()));
        }
        if let Some((index, id)) = tokens.iter().enumerate().find(|&(_, &id)| id as usize >= vocab) {
            return Err(Error::Unsupported(format!("token {index} is {id}; the vocabulary has {vocab}")));
        }
        let positions = tokens.len() + further;
        if positions > self.context {
            let context = self.context;
            return Err(Error::Unsupported(format!(
                "{positions} positions do not fit a context of {context}: set the option `context`"
            )));
        }
        Ok(())
    }

    /// Evaluates a prompt from an empty sequence and generates `count` tokens, or fewer where the text ends and
    /// `ignore_eos` is off. `seen` is told each id as it arrives.
    ///
    /// # Errors
    /// Where the request does not fit, or the device fails.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        count: usize,
        ignore_eos: bool,
        seen: &mut dyn FnMut(u32),
    ) -> Result<Generation> {
        let choice = if self.sampler.is_some() { Choice::Drawn } else { Choice::Likeliest };
        self.generate_by(choice, prompt, count, ignore_eos, seen)
    }

    pub(super) fn generate_by(
        &mut self,
        choice: Choice,
        prompt: &[u32],
        count: usize,
        ignore_eos: bool,
        seen: &mut dyn FnMut(u32),
    ) -> Result<Generation> {
        if count == 0 {
            return Err(Error::Unsupported("nothing to generate: ask for at least one token".into()));
        }
        self.check_tokens(prompt, count - 1)?;
        self.prepare_drafts(prompt, count)?;
        self.generate_from(choice, prompt, count, ignore_eos, seen)
    }

    /// A generation of a request that fits, with what drafts are there.
    pub(super) fn generate_from(
        &mut self,
        choice: Choice,
        prompt: &[u32],
        count: usize,
        ignore_eos: bool,
        seen: &mut dyn FnMut(u32),
    ) -> Result<Generation> {
        let mut stop = [NO_TOKEN; 4];
        if !ignore_eos {
            stop.iter_mut().zip(&self.stop).for_each(|(to, from)| *to = *from);
        }
        self.produced.clear();
        let begun = Instant::now();
        self.forced.write(0, prompt)?;
        self.start(Start {
            position: prompt.len() as u32 - 1,
            token: NO_TOKEN,
            produced: 0,
            forced: prompt.len() as u32,
            keep_logits: 0,
            limit: count as u32,
            stopped: 0,
            stop,
        })?;
        self.prompt(prompt.len(), choice)?;
        let mut generation = Generation {
            tokens: Vec::with_capacity(count),
            begun,
            seen: Vec::with_capacity(count),
            positions: 0,
            grid_syncs: 0,
            drafts: None,
        };
        self.take_token(&mut generation, seen)?;
        self.recorder.get_mut().end_prompt();
        let before: Vec<u32> = self.state.read(0, word::COUNT)?;
        let ends = |generation: &Generation| {
            generation.tokens.len() == count || generation.tokens.last().is_some_and(|token| stop.contains(token))
        };
        if self.drafter.is_some() {
            self.generate_drafted(prompt, count, &mut generation, &ends, seen)?;
        } else if self.switches.persistent {
            if !ends(&generation) {
                self.resident(choice)?;
            }
            while !ends(&generation) {
                self.take_token(&mut generation, seen)?;
            }
        } else {
            // One token ahead of the host, so that the device need not wait for it.
            let mut submitted = 1;
            while !ends(&generation) {
                while submitted < count && submitted < generation.tokens.len() + 2 {
                    self.token(choice)?;
                    submitted += 1;
                }
                self.take_token(&mut generation, seen)?;
            }
        }
        let after = self.finish()?;
        let produced = u64::from(after[word::PRODUCED] - before[word::PRODUCED]);
        // A pass computes the position of each draft, and of the token before them.
        generation.positions = generation.drafts.map_or(produced, |drafts| drafts.passes + drafts.drafted);
        generation.grid_syncs = u64::from(after[word::SYNCS].wrapping_sub(before[word::SYNCS]));
        Ok(generation)
    }

    /// Waits until the next id is visible.
    pub(super) fn take_token(&self, generation: &mut Generation, seen: &mut dyn FnMut(u32)) -> Result<()> {
        let index = generation.tokens.len();
        let mut polls = 0_u32;
        let token = loop {
            let found = self.produced.get(index);
            if found != 0 {
                break found - 1;
            }
            polls = polls.wrapping_add(1);
            if polls.is_multiple_of(1 << 14) && self.main.is_idle()? && self.produced.get(index) == 0 {
                // NO_TOKEN + 1 is 0: where no logit is a number, nothing is ever delivered.
                self.finish()?;
                return Err(Error::NotFinite { position: index });
            }
            std::hint::spin_loop();
        };
        generation.seen.push(Instant::now());
        generation.tokens.push(token);
        seen(token);
        Ok(())
    }

    /// Waits for the device and answers the state's words.
    pub(super) fn finish(&self) -> Result<Vec<u32>> {
        self.main.synchronize()?;
        let words: Vec<u32> = self.state.read(0, word::COUNT)?;
        if words[word::ABORT] != 0 {
            // Counters of a barrier that was given up agree no more, and values that were exchanged must never be taken for
            // those of a later launch: it begins with equal counters, far ahead.
            let mut fresh = [0_u32; word::COUNT];
            fresh[word::EPOCH] = words[word::EPOCH].wrapping_add(1 << 28);
            fresh[word::ARRIVALS] = fresh[word::EPOCH];
            self.state.write(0, &fresh)?;
            return Err(Error::Barrier);
        }
        Ok(words)
    }
}
