//! What each of several switches contributes to a joint gain.
//!
//! A block of an ablation runs every combination of n switches once and so gives 2^n values; on the scale of logarithms,
//! gains add. A switch's Shapley value is its marginal gain averaged over all orders in which the switches could have
//! been turned on (Shapley, "A value for n-person games", 1953); the values sum to the joint gain exactly. One block
//! yields one value a switch, and the t bounds run over blocks.

use super::StatsError;
use super::error::{check, finite};
use serde::{Deserialize, Serialize};

/// The largest number of switches: 64 arms a block.
pub const SWITCHES_LIMIT: usize = 6;

/// One block's attribution; every number is a difference of logarithms (of rates, say), in the order of the switches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// Gain of all switches together, over none.
    pub joint: f64,
    /// Gain of each switch alone, over none.
    pub alone: Vec<f64>,
    /// Sum of the gains alone: what the joint gain would be if the gains multiplied.
    pub product_of_alone: f64,
    /// Shapley value of each switch.
    pub shapley: Vec<f64>,
    /// Interaction of each pair of switches, (0, 1), (0, 2), ..., (1, 2), ...
    pub interactions: Vec<Interaction>,
}

/// How two switches act on each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interaction {
    /// Index of the first switch.
    pub first: usize,
    /// Index of the second switch, above the first.
    pub second: usize,
    /// Shapley interaction index: by how much the gain of one grows when the other is on, averaged over what else is on
    /// (Grabisch and Roubens, "An axiomatic approach to the concept of interaction among players in cooperative games",
    /// International Journal of Game Theory 28, 1999). Zero: they multiply. Below: they overlap.
    pub value: f64,
}

/// Attributes the joint gain of one block. `values[c]` is the logarithm measured with the combination c, in which bit i
/// says whether switch i is on; `None` where that arm has no sample.
///
/// # Errors
/// [`StatsError::NotAllCombinations`] unless there are 2, 4, ..., 64 values; [`StatsError::TooMany`] beyond;
/// [`StatsError::MissingCombination`] for a `None`, since an average over the rest would be of something else;
/// [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn attribute(values: &[Option<f64>]) -> Result<Attribution, StatsError> {
    let combinations = values.len();
    if combinations < 2 || !combinations.is_power_of_two() {
        return Err(StatsError::NotAllCombinations { found: combinations });
    }
    let n = combinations.ilog2() as usize;
    if n > SWITCHES_LIMIT {
        return Err(StatsError::TooMany { what: "an attribution to switches", limit: SWITCHES_LIMIT, found: n });
    }
    let v = values
        .iter()
        .enumerate()
        .map(|(c, value)| {
            value.ok_or_else(|| StatsError::MissingCombination {
                switches: (0..n).filter(|&i| c >> i & 1 == 1).collect(),
            })
        })
        .collect::<Result<Vec<f64>, _>>()?;
    check(&v, "an attribution", 2)?;

    let alone: Vec<f64> = (0..n).map(|i| v[1 << i] - v[0]).collect();
    let shapley = (0..n).map(|i| weighted_mean(&v, n, 1 << i, |c| v[c | 1 << i] - v[c])).collect();
    let mut interactions = Vec::new();
    for first in 0..n {
        for second in first + 1..n {
            let (f, s) = (1 << first, 1 << second);
            let value = weighted_mean(&v, n, f | s, |c| v[c | f | s] - v[c | f] - v[c | s] + v[c]);
            interactions.push(Interaction { first, second, value });
        }
    }
    let attribution = Attribution {
        joint: v[combinations - 1] - v[0],
        product_of_alone: alone.iter().sum(),
        alone,
        shapley,
        interactions,
    };
    let numbers = attribution.shapley.iter().chain(&attribution.alone).copied();
    for number in numbers.chain(attribution.interactions.iter().map(|i| i.value)).chain([attribution.joint]) {
        finite("a difference of the logarithms", number)?;
    }
    Ok(attribution)
}

/// The mean of `difference` over the combinations of the switches outside `excluded`, each size of combination weighing
/// the same: the order weights s! (m - s)! / (m + 1)! with m switches outside.
fn weighted_mean(v: &[f64], n: usize, excluded: usize, difference: impl Fn(usize) -> f64) -> f64 {
    let outside = n as u32 - excluded.count_ones();
    (0..v.len())
        .filter(|c| c & excluded == 0)
        .map(|c| difference(c) / (f64::from(outside + 1) * binomial(outside, c.count_ones())))
        .sum()
}

/// How much a Shapley value of `switches` switches scatters, in units of how much one gain (the difference of two
/// combinations) does, when the combinations scatter independently and alike: the root of the sum of the squared weights.
pub fn noise(switches: usize) -> f64 {
    let outside = switches.saturating_sub(1) as u32;
    let weight = |size: u32| 1.0 / (f64::from(outside + 1) * binomial(outside, size));
    (0..=outside).map(|size| binomial(outside, size) * weight(size).powi(2)).sum::<f64>().sqrt()
}

fn binomial(n: u32, k: u32) -> f64 {
    (0..k).map(|i| f64::from(n - i) / f64::from(i + 1)).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;

    fn full(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().copied().map(Some).collect()
    }

    #[test]
    fn glove_game() {
        // Two owners of a left glove, one of a right: 1/6, 1/6, 4/6 (the standard example after Shapley 1953).
        let values: Vec<f64> = (0..8u32).map(|c| f64::from(c & 4 != 0 && c & 3 != 0)).collect();
        let found = attribute(&full(&values)).unwrap();
        for (value, expected) in found.shapley.iter().zip([1.0 / 6.0, 1.0 / 6.0, 4.0 / 6.0]) {
            assert_close(*value, expected, 1e-12);
        }
    }

    #[test]
    fn airport_game() {
        // Littlechild and Owen 1973: runways of cost 8, 11, 13 and 18 are shared 2, 3, 4 and 9.
        let costs = [8.0, 11.0, 13.0, 18.0];
        let values: Vec<f64> =
            (0..16usize).map(|c| (0..4).filter(|i| c >> i & 1 == 1).map(|i| costs[i]).fold(0.0, f64::max)).collect();
        let found = attribute(&full(&values)).unwrap();
        for (value, expected) in found.shapley.iter().zip([2.0, 3.0, 4.0, 9.0]) {
            assert_close(*value, expected, 1e-12);
        }
    }

    #[test]
    fn independent_gains_multiply() {
        let gains = [0.2, -0.1, 0.4, 0.05];
        let values: Vec<f64> =
            (0..16usize).map(|c| 7.0 + (0..4).filter(|i| c >> i & 1 == 1).map(|i| gains[i]).sum::<f64>()).collect();
        let found = attribute(&full(&values)).unwrap();
        for (i, gain) in gains.iter().enumerate() {
            assert!((found.shapley[i] - gain).abs() < 1e-12 && (found.alone[i] - gain).abs() < 1e-12);
        }
        assert!((found.joint - found.product_of_alone).abs() < 1e-12);
        assert_eq!(found.interactions.len(), 6);
        assert!(found.interactions.iter().all(|interaction| interaction.value.abs() < 1e-12));
    }

    #[test]
    fn an_overlap_is_a_negative_interaction() {
        // Two switches that remove the same cost: either gives 1, both give 1.
        let found = attribute(&full(&[0.0, 1.0, 1.0, 1.0])).unwrap();
        assert_eq!(found.shapley, [0.5, 0.5]);
        assert_eq!(found.interactions, [Interaction { first: 0, second: 1, value: -1.0 }]);
        assert_close(found.shapley.iter().sum(), found.joint, 1e-15);
    }

    #[test]
    fn the_noise_of_a_value_is_that_of_its_weights() {
        // Four switches: weights 1/4, three of 1/12, three of 1/12, 1/4; the squares sum to 1/6.
        for (switches, squared) in [(1, 1.0), (2, 0.5), (4, 1.0 / 6.0)] {
            assert_close(noise(switches).powi(2), squared, 1e-12);
        }
    }

    #[test]
    fn a_missing_combination_is_refused() {
        let mut values = full(&[0.0; 8]);
        values[0b101] = None;
        assert_eq!(attribute(&values), Err(StatsError::MissingCombination { switches: vec![0, 2] }));
        assert_eq!(attribute(&full(&[0.0; 3])), Err(StatsError::NotAllCombinations { found: 3 }));
        assert_eq!(attribute(&[Some(1.0)]), Err(StatsError::NotAllCombinations { found: 1 }));
        assert!(matches!(attribute(&full(&[0.0; 128])), Err(StatsError::TooMany { found: 7, .. })));
        assert!(matches!(attribute(&full(&[0.0, f64::NAN])), Err(StatsError::NotFinite { index: 1, .. })));
    }
}
