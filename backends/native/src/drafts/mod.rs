//! Drafts: tokens that are guessed, so that one pass over the weights may decide several.
//!
//! A draft costs the little that another row of a pass costs. It is kept where it is what greedy decoding would have chosen
//! and thrown away with all that follow it where it is not, so that only the time depends on how good drafts are.

mod continuation;
mod cycle;
mod lookup;

pub use continuation::corrupted;
pub use cycle::cycles_from;
pub use lookup::look_up;

use qa_protocol::Drafts as Counts;

/// Whether and how a decoder drafts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drafting {
    /// Most drafts of a pass, at least 1.
    pub tokens: usize,
    /// Where they come from.
    pub source: Source,
}

/// Where drafts come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    /// What followed the latest earlier place where the text read as it does at its end.
    PromptLookup,
    /// The continuation itself, generated beforehand, with a seeded share of its tokens replaced: a stated acceptance.
    Continuation {
        /// The share of tokens that stay what they are, above 0 and at most 1.
        acceptance: f64,
        /// Which ones.
        seed: u64,
    },
}

/// A continuation that was generated beforehand, and what it continues.
#[derive(Clone, Debug, Default)]
pub(crate) struct Continuation {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// What greedy decoding makes of it.
    pub tokens: Vec<u32>,
}

impl Drafting {
    /// At most `most` drafts of what comes after `sequence`, a prompt and what was generated so far.
    pub(crate) fn draft(self, sequence: &[u32], known: &Continuation, vocab: u32, most: usize) -> Vec<u32> {
        let most = most.min(self.tokens);
        match self.source {
            Source::PromptLookup => look_up(sequence, most).to_vec(),
            Source::Continuation { acceptance, seed } => {
                let next = sequence.len().saturating_sub(known.prompt.len());
                let tokens = known.tokens.iter().enumerate().skip(next).take(most);
                tokens.map(|(index, &token)| corrupted(token, index, acceptance, seed, vocab)).collect()
            }
        }
    }
}

/// Adds what came of a pass that verified `drafted` drafts and kept the first `accepted`.
pub(crate) fn count(counts: &mut Counts, drafted: usize, accepted: usize, rejected: bool) {
    counts.passes += 1;
    counts.drafted += drafted as u64;
    counts.accepted += accepted as u64;
    counts.rejected += u64::from(rejected);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_come_from_the_place_that_was_reached() {
        let known = Continuation { prompt: vec![1, 2], tokens: vec![10, 11, 12, 13] };
        let exact = Drafting { tokens: 2, source: Source::Continuation { acceptance: 1.0, seed: 1 } };
        assert_eq!(exact.draft(&[1, 2, 10], &known, 100, 9), [11, 12]);
        assert_eq!(exact.draft(&[1, 2, 10], &known, 100, 1), [11]);
        assert_eq!(exact.draft(&[1, 2, 10, 11, 12], &known, 100, 9), [13]);
        assert!(exact.draft(&[1, 2, 10, 11, 12, 13], &known, 100, 9).is_empty());
        let lookup = Drafting { tokens: 3, source: Source::PromptLookup };
        assert_eq!(lookup.draft(&[5, 6, 7, 8, 5, 6], &known, 100, 9), [7, 8, 5]);
        assert_eq!(lookup.draft(&[5, 6, 7, 8, 5, 6], &known, 100, 2), [7, 8]);
    }
}
