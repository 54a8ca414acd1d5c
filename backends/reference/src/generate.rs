//! Generation with a time for each token.

use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::sampling::Sampler;
use std::time::{Duration, Instant};

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Ids to begin with.
    pub prompt: &'a [u32],
    /// Most ids to generate.
    pub count: usize,
    /// Ids that end it.
    pub stop: &'a [u32],
    /// How ids are drawn; the likeliest, and the lowest of equals, without.
    pub sampler: Option<Sampler>,
}

/// What one generation gave, and how long it took on the monotonic clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// Generated ids, a token of the stop list included if one ended it.
    pub tokens: Vec<u32>,
    /// From the prompt's ids to the first generated id.
    pub prefill: Duration,
    /// From each generated id to the next: one single-token pass and its argmax each.
    pub steps: Vec<Duration>,
    /// Positions whose hidden states were computed after the first id was there: one a step with a KV cache.
    pub decode_positions: u64,
}

impl Generation {
    /// From the first generated id to the last.
    pub fn decode(&self) -> Duration {
        self.steps.iter().sum()
    }
}

impl Decoder {
    /// Evaluate a prompt from an empty sequence and extend it by `count` likeliest tokens, or fewer if one of `stop`
    /// comes. The lowest id wins a tie.
    ///
    /// # Errors
    /// As [`Decoder::forward`], and when `count` is 0.
    pub fn generate(&mut self, prompt: &[u32], count: usize, stop: &[u32]) -> Result<Generation> {
        self.generate_as(&Ask { prompt, count, stop, sampler: None }, &mut |_| ())
    }

    /// Evaluate a prompt from an empty sequence and extend it as asked. `seen` is told each id as it comes.
    ///
    /// # Errors
    /// As [`Decoder::generate`].
    pub fn generate_as(&mut self, ask: &Ask<'_>, seen: &mut dyn FnMut(u32)) -> Result<Generation> {
        let Ask { prompt, count, stop, sampler } = *ask;
        let context = self.geometry().config.context_length;
        // The last generated id is never read.
        let positions = (prompt.len() + count).saturating_sub(1);
        if count == 0 {
            return Err(Error::Request("nothing to generate: ask for at least one token".into()));
        }
        if positions > context {
            return Err(Error::Context { positions, context });
        }
        self.reset()?;
        let mut generation = Generation::default();
        let start = Instant::now();
        let mut next = choose(sampler, &self.forward(prompt)?, prompt.len())?;
        let mut last = Instant::now();
        generation.prefill = last - start;
        generation.tokens.push(next);
        seen(next);
        let computed = self.positions_computed();
        while generation.tokens.len() < count && !stop.contains(&next) {
            next = choose(sampler, &self.forward(&[next])?, prompt.len() + generation.tokens.len())?;
            let now = Instant::now();
            generation.tokens.push(next);
            generation.steps.push(now - last);
            last = now;
            seen(next);
        }
        generation.decode_positions = self.positions_computed() - computed;
        Ok(generation)
    }
}

/// The id at index `index` of the sequence, from the logits after the one before it.
fn choose(sampler: Option<Sampler>, logits: &[f32], index: usize) -> Result<u32> {
    let position = index - 1;
    match sampler {
        None => argmax(logits, position),
        Some(sampler) => sampler.draw(logits, index as u32).ok_or(Error::NotFinite { position }),
    }
}

/// The id of the highest logit at `position`, the lowest id of equal ones.
fn argmax(logits: &[f32], position: usize) -> Result<u32> {
    let mut best = 0;
    for (id, &logit) in logits.iter().enumerate() {
        if logit.is_nan() {
            return Err(Error::NotFinite { position });
        }
        if logit > logits[best] {
            best = id;
        }
    }
    if logits[best].is_finite() { Ok(best as u32) } else { Err(Error::NotFinite { position }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_id_wins_a_tie() {
        assert_eq!(argmax(&[1.0, 5.0, 5.0, -1.0], 0).unwrap(), 1);
        assert_eq!(argmax(&[f32::NEG_INFINITY, -3.0], 0).unwrap(), 1);
    }

    #[test]
    fn logits_that_are_not_numbers_are_refused() {
        for bad in [[0.0, f32::NAN], [f32::NAN, 0.0], [0.0, f32::INFINITY], [f32::NEG_INFINITY; 2]] {
            assert!(matches!(argmax(&bad, 9), Err(Error::NotFinite { position: 9 })));
        }
    }
}
