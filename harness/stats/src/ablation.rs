//! An ablation over blocks: each block attributes its joint gain to the switches, and t bounds run over blocks.
//!
//! Everything is on the scale of logarithms, where factors add. The intervals of one question hold together: see
//! [`Confidence`].

use super::StatsError;
use super::paired::{Bounds, mean_bounds};
use super::shapley::{Attribution, attribute};
use serde::{Deserialize, Serialize};

/// One-sided confidence of each bound, so that all intervals that answer one question hold together (Bonferroni): which
/// combination is best, which switch contributes, which switches interact. Whether gains multiply is a question of one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confidence {
    /// Of each of the 2^n - 1 combinations over none.
    pub combination: f64,
    /// Of each of the n Shapley values.
    pub shapley: f64,
    /// Of each of the n (n - 1) / 2 interactions.
    pub interaction: f64,
    /// Of the joint gain over the product of the gains alone, and of that product.
    pub product: f64,
}

impl Confidence {
    /// What the intervals of `switches` switches get, where `each` says what each of so many intervals that answer one
    /// question gets.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn shared<E>(switches: usize, each: impl Fn(usize) -> Result<f64, E>) -> Result<Self, E> {
        let each = |claims: usize| each(claims.max(1));
        Ok(Self {
            combination: each((1_usize << switches.min(usize::BITS as usize - 1)) - 1)?,
            shapley: each(switches)?,
            interaction: each(switches * switches.saturating_sub(1) / 2)?,
            product: each(1)?,
        })
    }
}

/// What several blocks say of the switches. Every number is a logarithm of a factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The sum of the gains alone: the joint gain, if gains multiplied.
    pub product_of_alone: Bounds,
    /// The joint gain less that sum: 0 where gains multiply, below where they overlap.
    pub joint_over_product: Bounds,
    /// One a switch; their means sum to the mean joint gain.
    pub switches: Vec<Switch>,
    /// One a pair of switches, (0, 1), (0, 2), ..., (1, 2), ...
    pub interactions: Vec<PairBounds>,
}

/// What several blocks say of a switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Switch {
    /// Its Shapley value.
    pub shapley: Bounds,
    /// Mean gain of turning it on, for each of the 2^(n-1) sets of the others, none first and all last.
    pub in_context: Vec<f64>,
}

/// How two switches act on each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairBounds {
    /// Index of the first switch.
    pub first: usize,
    /// Index of the second.
    pub second: usize,
    /// Their interaction; see [`super::shapley::Interaction`].
    pub bounds: Bounds,
}

/// Summarises blocks, each of which has the logarithm measured with every combination (bit i of its index says whether
/// switch i is on).
///
/// # Errors
/// As [`attribute`] for any block, and [`StatsError::TooFew`] below two blocks.
pub fn summarize(blocks: &[Vec<f64>], confidence: Confidence) -> Result<Summary, StatsError> {
    let attributions = blocks
        .iter()
        .map(|block| attribute(&block.iter().copied().map(Some).collect::<Vec<_>>()))
        .collect::<Result<Vec<Attribution>, _>>()?;
    let bounds = |of: &dyn Fn(&Attribution) -> f64, confidence: f64| {
        mean_bounds(&attributions.iter().map(of).collect::<Vec<f64>>(), confidence)
    };
    let first = attributions.first();
    let switches = (0..first.map_or(0, |a| a.shapley.len()))
        .map(|i| {
            Ok(Switch { shapley: bounds(&|a| a.shapley[i], confidence.shapley)?, in_context: in_context(blocks, i) })
        })
        .collect::<Result<_, StatsError>>()?;
    let pairs = first.map_or(&[][..], |a| a.interactions.as_slice()).iter().enumerate();
    let interactions = pairs
        .map(|(p, pair)| {
            let bounds = bounds(&|a| a.interactions[p].value, confidence.interaction)?;
            Ok(PairBounds { first: pair.first, second: pair.second, bounds })
        })
        .collect::<Result<_, StatsError>>()?;
    Ok(Summary {
        product_of_alone: bounds(&|a| a.product_of_alone, confidence.product)?,
        joint_over_product: bounds(&|a| a.joint - a.product_of_alone, confidence.product)?,
        switches,
        interactions,
    })
}

fn in_context(blocks: &[Vec<f64>], switch: usize) -> Vec<f64> {
    let combinations = blocks.first().map_or(0, Vec::len);
    (0..combinations)
        .filter(|c| c >> switch & 1 == 0)
        .map(|c| blocks.iter().map(|b| b[c | 1 << switch] - b[c]).sum::<f64>() / blocks.len() as f64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::multiplicity::bonferroni_confidence;
    use crate::rng::Rng;
    use crate::testing::{assert_close, binomial_error, normal};

    /// Effects of sets of switches, as bits: a combination's value is the sum of those that it holds.
    fn game(effects: &[(usize, f64)], combinations: usize) -> Vec<f64> {
        (0..combinations).map(|c| effects.iter().filter(|(set, _)| c & set == *set).map(|(_, v)| v).sum()).collect()
    }

    /// The Shapley value of such a game, by hand: each switch of an effect gets an equal share of it.
    fn shares(effects: &[(usize, f64)], switch: usize) -> f64 {
        let of = effects.iter().filter(|(set, _)| set >> switch & 1 == 1);
        of.map(|(set, value)| value / f64::from(set.count_ones())).sum()
    }

    /// Two that overlap, one that is useless, one on its own, and an effect of all three that do something.
    const TRUTH: [(usize, f64); 5] = [(0b0001, 0.26), (0b0010, 0.41), (0b0011, -0.3), (0b1000, 0.1), (0b1011, 0.06)];

    fn nominal(switches: usize) -> Confidence {
        Confidence::shared(switches, |claims| bonferroni_confidence(0.95, claims)).unwrap()
    }

    #[test]
    fn worked_by_hand() {
        // Two switches, two blocks. Block 1: 0, 1, 2, 2; block 2: 0, 2, 3, 3.
        // Shapley of the first: ((1 - 0) + (2 - 2)) / 2 = 0.5, then ((2 - 0) + (3 - 3)) / 2 = 1; of the second: 1.5, 2.
        let blocks = [vec![0.0, 1.0, 2.0, 2.0], vec![0.0, 2.0, 3.0, 3.0]];
        let found = summarize(&blocks, nominal(2)).unwrap();
        let values: Vec<f64> = found.switches.iter().map(|s| s.shapley.mean).collect();
        assert_eq!(values, [0.75, 1.75]);
        assert_eq!(found.switches[0].in_context, [1.5, 0.0], "alone, and beside the other");
        assert_eq!(found.switches[1].in_context, [2.5, 1.0]);
        // Joint 2 and 3, sums of the gains alone 3 and 5: they overlap by 1 and 2.
        assert_close(found.joint_over_product.mean, -1.5, 1e-12);
        assert_close(found.product_of_alone.mean, 4.0, 1e-12);
        assert_close(found.interactions[0].bounds.mean, -1.5, 1e-12);
        // t of 0.975 with one degree of freedom, sd of (0.5, 1) over the root of 2: 12.706 x 0.25.
        assert_close(found.switches[0].shapley.upper - 0.75, 12.706_204_736 * 0.25, 1e-6);
    }

    #[test]
    fn values_are_efficient_symmetric_and_leave_dummies_nothing() {
        let mut rng = Rng::new(5);
        for _ in 0..50 {
            let mut effects: Vec<(usize, f64)> = (1..16).map(|set| (set, normal(&mut rng))).collect();
            // Switch 2 does nothing; 0 and 1 do the same.
            effects.retain(|(set, _)| set & 0b0100 == 0);
            let value = |set: usize| effects.iter().find(|(s, _)| *s == set).map_or(0.0, |(_, v)| *v);
            let swapped = |set: usize| set & !0b11 | (set & 1) << 1 | set >> 1 & 1;
            let symmetric: Vec<(usize, f64)> =
                effects.iter().map(|(set, _)| (*set, f64::midpoint(value(*set), value(swapped(*set))))).collect();
            let block = game(&symmetric, 16);
            let found = attribute(&block.iter().copied().map(Some).collect::<Vec<_>>()).unwrap();
            assert_close(found.shapley.iter().sum(), block[15] - block[0], 1e-12);
            assert!(found.shapley[2].abs() < 1e-12, "a dummy gets nothing: {found:?}");
            assert!((found.shapley[0] - found.shapley[1]).abs() < 1e-12, "equals get the same: {found:?}");
            for i in 0..4 {
                assert!((found.shapley[i] - shares(&symmetric, i)).abs() < 1e-12, "{found:?}");
            }
        }
    }

    #[test]
    fn all_shapley_intervals_hold_together_as_often_as_they_say() {
        const RUNS: usize = 4_000;
        let mut rng = Rng::new(29);
        let truth = game(&TRUTH, 16);
        let (mut all, mut product) = (0, 0);
        for _ in 0..RUNS {
            // A block's own level, and each process's noise: 2 % and 1 %.
            let blocks: Vec<Vec<f64>> = (0..6)
                .map(|_| {
                    let level = 0.02 * normal(&mut rng);
                    truth.iter().map(|v| v + level + 0.01 * normal(&mut rng)).collect()
                })
                .collect();
            let found = summarize(&blocks, nominal(4)).unwrap();
            let holds = |b: &Bounds, value: f64| (b.lower..=b.upper).contains(&value);
            all += usize::from((0..4).all(|i| holds(&found.switches[i].shapley, shares(&TRUTH, i))));
            product += usize::from(holds(&found.joint_over_product, -0.3 + 0.06));
        }
        let share = |n: usize| n as f64 / RUNS as f64;
        // Two one-sided bounds at 95 % make an interval at 90 %. Four of them at Bonferroni's share hold together at
        // least as often, and not much more often, since values of four switches are nearly independent.
        let error = 4.0 * binomial_error(0.9, RUNS);
        assert!((0.9 - error..0.9 + 0.02 + error).contains(&share(all)), "{}", share(all));
        assert!((share(product) - 0.9).abs() <= error, "{}", share(product));
    }

    #[test]
    fn what_cannot_be_summarised_is_refused() {
        assert!(matches!(summarize(&[vec![0.0; 16]], nominal(4)), Err(StatsError::TooFew { .. })));
        assert!(matches!(
            summarize(&[vec![0.0; 3], vec![0.0; 3]], nominal(4)),
            Err(StatsError::NotAllCombinations { .. })
        ));
        assert!(summarize(&[], nominal(4)).is_err());
    }

    #[test]
    fn the_error_is_shared_within_each_question() {
        let found = nominal(4);
        let each = |claims: f64| 1.0 - 0.05 / claims;
        let expected = [each(15.0), each(4.0), each(6.0), each(1.0)];
        for (found, expected) in
            [found.combination, found.shapley, found.interaction, found.product].into_iter().zip(expected)
        {
            assert_close(found, expected, 1e-12);
        }
    }
}
