//! What the requests of a load are and when they are due: the same for every arm, by the seed alone.

use super::order::{generator, shuffle};
use crate::spec::Load;
use qa_protocol as wire;
use rand_xoshiro::rand_core::Rng;
use std::collections::BTreeSet;

/// How often another order of a prompt is drawn before its orders are taken to be used up.
const DRAWS: u32 = 64;

/// The requests of `iterations` iterations after a prompt, warm-up included. The first of each iteration has the prompt
/// itself, whose answer the oracle checks; the others have its tokens in an order that no other has, which costs the same to
/// compute and is in no cache.
///
/// # Errors
/// A sentence, where the prompt has too few orders.
pub fn requests(load: &Load, workload: &str, prompt: &[u32], iterations: u32) -> Result<wire::Load, String> {
    let arrivals = match (load.arrivals_per_s, load.clients) {
        (Some(rate), _) => wire::Arrivals::Open { at_ns: arrivals(load, workload, rate) },
        (None, clients) => wire::Arrivals::Closed { clients: clients.unwrap_or(1) },
    };
    let mut draws = generator(load.seed, &format!("prompts of {workload}"), 0);
    let mut seen = BTreeSet::from([prompt.to_vec()]);
    let mut prompts = Vec::new();
    for number in 0..iterations * load.requests {
        if number.is_multiple_of(load.requests) {
            prompts.push(prompt.to_vec());
            continue;
        }
        let mut draw = || {
            let mut tokens = prompt.to_vec();
            // What may be the begin of every sequence stays where it is.
            let from = usize::from(tokens.len() > 2);
            shuffle(&mut tokens[from..], &mut draws);
            seen.insert(tokens.clone()).then_some(tokens)
        };
        prompts.push((0..DRAWS).find_map(|_| draw()).ok_or_else(|| {
            format!(
                "A prompt of {} tokens has no {} orders for as many requests that no cache knows: make it longer.",
                prompt.len(),
                iterations * load.requests
            )
        })?);
    }
    Ok(wire::Load { arrivals, requests: load.requests, prompts })
}

/// A Poisson process: gaps are exponential, by inversion (Devroye, Non-Uniform Random Variate Generation, 1986, II.2).
fn arrivals(load: &Load, workload: &str, rate: f64) -> Vec<f64> {
    let mut draws = generator(load.seed, &format!("arrivals of {workload}"), 0);
    let mut at = 0.0;
    let mut next = || {
        // 53 bits, in (0, 1].
        let uniform = ((draws.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        at += -uniform.ln() / rate * 1e9;
        at
    };
    (0..load.requests).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(seed: u64, requests: u32) -> Load {
        Load { arrivals_per_s: Some(50.0), requests, seed, ..Load::default() }
    }

    #[test]
    fn arrivals_are_a_seeded_poisson_process() {
        let at = |seed| arrivals(&open(seed, 4000), "w", 50.0);
        let first = at(1);
        assert_eq!(first, at(1));
        assert_ne!(first, at(2));
        let gaps: Vec<f64> = std::iter::once(first[0]).chain(first.windows(2).map(|w| w[1] - w[0])).collect();
        assert!(gaps.iter().all(|gap| *gap > 0.0));
        let mean = gaps.iter().sum::<f64>() / 4000.0;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 4000.0;
        // 20 ms; an exponential's deviation is its mean. Five standard errors of 4000 draws are 8 and 16 %.
        assert!((mean / 2e7 - 1.0).abs() < 0.08, "{mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.16, "{variance}");
        let over_a_mean = gaps.iter().filter(|gap| **gap > mean).count() as f64 / 4000.0;
        assert!((over_a_mean - (-1.0_f64).exp()).abs() < 0.04, "{over_a_mean}");
    }

    #[test]
    fn no_prompt_comes_twice_but_the_checked_one() {
        let prompt: Vec<u32> = (0..16).collect();
        let load = requests(&open(1, 5), "w", &prompt, 3).unwrap();
        assert_eq!((load.prompts.len(), load.requests), (15, 5));
        let (checked, others): (Vec<_>, Vec<_>) =
            load.prompts.iter().enumerate().partition(|(index, _)| index.is_multiple_of(5));
        assert!(checked.iter().all(|(_, tokens)| **tokens == prompt));
        let distinct: BTreeSet<&Vec<u32>> = others.iter().map(|(_, tokens)| *tokens).collect();
        assert_eq!(distinct.len(), 12);
        assert!(!distinct.contains(&prompt));
        let sorted = |tokens: &Vec<u32>| tokens.iter().copied().collect::<BTreeSet<u32>>();
        assert!(distinct.iter().all(|tokens| tokens[0] == 0 && sorted(tokens) == sorted(&prompt)));
        assert_eq!(load, requests(&open(1, 5), "w", &prompt, 3).unwrap(), "every arm gets the same");
        assert!(requests(&open(1, 5), "w", &[1, 2, 3], 3).unwrap_err().contains("prompt of 3 tokens has no 15 orders"));
    }
}
