//! Prompts that a worker has not seen, for asking now and then whether it computes what it answers.
//!
//! Every timed iteration of a workload has the same prompt, so an engine that remembers its answer, or the state that a
//! prompt leaves, would be timed at remembering. A prompt of the same tokens in another order costs the same to compute
//! and is in no memory. With fewer tokens to generate it also shows where the time of the others went.

use super::Group;
use super::order::{generator, shuffle};
use crate::spec::SamplingPlan;
use rand_xoshiro::rand_core::Rng as _;

/// How often each process is asked that is asked at all. The first may pay for what comes only once, such as capturing a graph
/// for another number of tokens.
pub const UNSEEN_ASKED: u32 = 2;

/// One block of so many is asked, and the first two always.
const ONE_OF: u64 = 4;

impl Group {
    /// Whether the processes of a block are asked. A worker does not know before it has delivered.
    pub fn asks_unseen(&self, block: u32, sampling: &SamplingPlan) -> bool {
        let chosen = || generator(sampling.seed, &format!("unseen? {}", self.workload), block).next_u64();
        block < 2 || chosen().is_multiple_of(ONE_OF)
    }
}

/// The tokens of a prompt in another order, which `salt` decides: something of this run alone, or a worker could remember the
/// prompts of an earlier one; the first stays, since it may be the one that every sequence begins with. `None`
/// for a prompt that has no other order.
pub fn unseen_prompt(prompt: &[u32], salt: &str, block: u32, which: u32) -> Option<Vec<u32>> {
    let mut seen = vec![prompt.to_vec()];
    for number in 0..=which {
        let mut tokens = prompt.to_vec();
        let from = usize::from(tokens.len() > 2);
        shuffle(&mut tokens[from..], &mut generator(u64::from(number), salt, block));
        // A short prompt may fall into an order that it had.
        let turns = (from..tokens.len()).find(|_| {
            tokens[from..].rotate_left(1);
            !seen.contains(&tokens)
        });
        turns?;
        seen.push(tokens);
    }
    seen.pop()
}

/// How many tokens follow an unseen prompt: a quarter, but eight where there are as many, since the first few of a decode may
/// take longer than the others.
pub fn unseen_tokens(generate: u32) -> u32 {
    (generate / 4).max(generate.min(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unseen_prompt_has_the_same_tokens_in_another_order() {
        let prompt: Vec<u32> = (0..32).collect();
        let unseen = |which| unseen_prompt(&prompt, "today", 3, which).unwrap();
        let (first, second) = (unseen(0), unseen(1));
        assert!(first != prompt && second != prompt && first != second);
        assert_eq!((first[0], second[0]), (0, 0), "what begins a sequence stays where it is");
        let sorted = |mut tokens: Vec<u32>| {
            tokens.sort_unstable();
            tokens
        };
        assert_eq!((sorted(first.clone()), sorted(second)), (prompt.clone(), prompt.clone()));
        assert_eq!(unseen(0), first, "of one run");
        assert_ne!(unseen_prompt(&prompt, "tomorrow", 3, 0).unwrap(), first, "nobody can learn it beforehand");
    }

    #[test]
    fn short_prompts_have_another_order_or_none() {
        for salt in (0..20).map(|salt: u32| salt.to_string()) {
            let unseen = |prompt: &[u32]| unseen_prompt(prompt, &salt, 0, 0);
            assert_eq!(unseen(&[1, 2]), Some(vec![2, 1]));
            assert_eq!(unseen(&[1, 2, 3]), Some(vec![1, 3, 2]));
            assert_eq!(unseen_prompt(&[1, 2, 3], &salt, 0, 1), None, "there is no third order");
            let [first, second] = [0, 1].map(|which| unseen_prompt(&[1, 2, 3, 4], &salt, 0, which).unwrap());
            assert!(first != second && second != [1, 2, 3, 4]);
            for one_order in [&[5][..], &[5, 5], &[1, 5, 5]] {
                assert_eq!(unseen(one_order), None, "{one_order:?}");
            }
        }
    }

    #[test]
    fn as_many_tokens_as_tell_something() {
        assert_eq!([1, 2, 8, 16, 128].map(unseen_tokens), [1, 2, 8, 8, 32]);
    }
}
