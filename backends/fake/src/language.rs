//! A language that a scripted worker can be right or wrong about: the next token is a function of the last one.

use crate::script::Scores;
use qa_protocol::ScoreRow;

/// Number of token ids.
pub const VOCABULARY: u32 = 1 << 15;

/// How many choices have a probability of their own; all others share [`REST`] evenly.
const CHOICES: u32 = 16;

/// Probability of all tokens beyond the [`CHOICES`].
const REST: f64 = 1e-3;

/// How much less likely each choice after the second is than the one before, in nats.
const STEP: f64 = 0.5;

/// The token that follows `last` as its choice number `rank`; 0 is the likeliest.
///
/// A linear congruential step of full period (Hull and Dobell 1962), so that a right output never repeats a token within
/// [`VOCABULARY`] tokens: no constant output is right.
pub fn next_token(last: u32, rank: u32) -> u32 {
    const MULTIPLIER: u32 = 20_077;
    const INCREMENT: u32 = 12_345;
    // Odd, so that the ranks of a position are all different tokens.
    const RANK_STRIDE: u32 = 7_919;
    last.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT).wrapping_add(rank.wrapping_mul(RANK_STRIDE)) % VOCABULARY
}

/// What `beliefs` say about `token` after `last`, with the `top` likeliest tokens. `index` is the token's own.
pub(crate) fn score(beliefs: Scores, last: u32, token: u32, index: u32, top: u32) -> ScoreRow {
    let weight = |rank: u32| match rank {
        0 => (beliefs.margin - beliefs.displaced).exp(),
        rank => (-STEP * f64::from(rank - 1)).exp(),
    };
    let total: f64 = (0..CHOICES).map(weight).sum();
    let log_probability = |rank| ((1.0 - REST) * weight(rank) / total).ln();
    let mut choices: Vec<(u32, f64)> =
        (0..CHOICES).map(|rank| (next_token(last, rank), log_probability(rank))).collect();
    let known = choices.iter().find(|(id, _)| *id == token % VOCABULARY);
    let nll = -known.map_or_else(|| (REST / f64::from(VOCABULARY - CHOICES)).ln(), |(_, l)| *l);
    choices.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    choices.truncate(top as usize);
    let tail = 1.0 - choices.iter().map(|(_, l)| l.exp()).sum::<f64>();
    ScoreRow { index, nll, top: choices.into_iter().map(|(id, l)| (id, l as f32)).collect(), tail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_right_output_visits_every_token_once() {
        let mut token = 7;
        let seen: HashSet<u32> = (0..VOCABULARY)
            .map(|_| {
                token = next_token(token, 0);
                token
            })
            .collect();
        assert_eq!(seen.len(), VOCABULARY as usize);
    }

    #[test]
    fn choices_of_a_position_differ() {
        let choices: HashSet<u32> = (0..64).map(|rank| next_token(123, rank)).collect();
        assert_eq!(choices.len(), 64);
    }

    #[test]
    fn a_row_is_a_distribution_with_the_scripted_margin() {
        let row = score(Scores { margin: 2.0, displaced: 0.0 }, 5, next_token(5, 0), 9, 8);
        let listed: f64 = row.top.iter().map(|(_, l)| f64::from(*l).exp()).sum();
        assert!((listed + row.tail - 1.0).abs() < 1e-6, "{listed} + {}", row.tail);
        assert_eq!((row.index, row.top.len(), row.top[0].0), (9, 8, next_token(5, 0)));
        assert!((f64::from(row.top[0].1 - row.top[1].1) - 2.0).abs() < 1e-5);
        assert!((row.nll + f64::from(row.top[0].1)).abs() < 1e-6);
        let all: f64 = (0..VOCABULARY).map(|t| (-score(Scores::default(), 5, t, 0, 1).nll).exp()).sum();
        assert!((all - 1.0).abs() < 1e-9, "the probabilities of all tokens add up to {all}");
    }

    #[test]
    fn displacing_the_first_choice_beyond_its_margin_changes_it() {
        let row = score(Scores { margin: 1.0, displaced: 1.5 }, 5, 0, 0, 4);
        assert_eq!(row.top[0].0, next_token(5, 1));
    }
}
