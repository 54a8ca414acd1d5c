//! Inputs near to others: what a fuzzer tries that does not see what its inputs reach.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

/// Numbers at which code tends to change its mind.
const EDGES: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
/// Words that mean something to one of the targets.
const WORDS: [&str; 16] = [
    "null",
    "true",
    "-1",
    "1e308",
    "NaN",
    "${",
    "}",
    "[",
    "{",
    "\"",
    "\n",
    "matrix",
    "include",
    "warmup",
    "\u{1b}[2J",
    "\\u0000",
];

/// A source of inputs made from a corpus.
pub struct Mutator<'a> {
    corpus: &'a [Vec<u8>],
    rng: Xoshiro256PlusPlus,
}

impl<'a> Mutator<'a> {
    /// The same seed and corpus give the same inputs.
    pub fn new(corpus: &'a [Vec<u8>], seed: u64) -> Self {
        Self { corpus, rng: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.rng.next_u64() % bound.max(1) as u64) as usize
    }

    fn any(&mut self) -> &'a [u8] {
        let index = self.below(self.corpus.len());
        self.corpus.get(index).map_or(&[], Vec::as_slice)
    }

    /// One of the corpus, changed in a few places.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.any().to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut input);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len());
        let end = (at + 1 + self.below(32)).min(input.len());
        match self.below(8) {
            0 if !input.is_empty() => input[at] ^= 1 << self.below(8),
            1 if !input.is_empty() => input[at] = self.rng.next_u64() as u8,
            2 => drop(input.drain(at.min(end)..end)),
            3 => {
                let copy = input[at.min(end)..end].to_vec();
                let to = self.below(input.len());
                input.splice(to..to, copy);
            }
            4 => {
                let number = EDGES[self.below(EDGES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][self.below(4)];
                for (byte, new) in input.iter_mut().skip(at).zip(&number[..width]) {
                    *byte = *new;
                }
            }
            5 => {
                let word = WORDS[self.below(WORDS.len())];
                input.splice(at..at, word.bytes());
            }
            6 => {
                // Its beginning, and the end of another.
                let other = self.any();
                let from = self.below(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => input.truncate(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_differ_from_the_corpus_and_repeat_with_the_seed() {
        let corpus = vec![b"apiVersion: qa/v1\n".to_vec(), Vec::new(), vec![0xff; 100]];
        let make = |seed| {
            let mut mutator = Mutator::new(&corpus, seed);
            (0..500).map(|_| mutator.next_input()).collect::<Vec<_>>()
        };
        let inputs = make(7);
        assert_eq!(inputs, make(7));
        assert_ne!(inputs, make(8));
        let new = inputs.iter().filter(|input| !corpus.contains(input)).count();
        // A third begin from nothing, of which some changes make nothing again.
        assert!(new > 300, "{new} of 500 are new");
    }
}
