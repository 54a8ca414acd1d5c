//! The Mann-Whitney test of two independent samples.

use super::StatsError;
use super::distributions::normal_cdf;
use super::error::check;
use serde::{Deserialize, Serialize};

/// Below this size of both samples the distribution is counted out, as R does.
pub const EXACT_BELOW: usize = 50;

/// Result of a Mann-Whitney test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MannWhitney {
    /// U of the first sample: in how many pairs its value is the larger; equal ones count half.
    pub u: f64,
    /// U over the number of pairs: the estimated probability that a value of the first sample exceeds one of the second.
    pub superiority: f64,
    /// P-value for the first sample's values tending to be larger.
    pub p_greater: f64,
    /// P-value for their tending to be smaller.
    pub p_less: f64,
    /// P-value for either: twice the smaller, at most 1.
    pub p_two_sided: f64,
    /// Whether the p-values count all ways of dealing out the ranks (equal values share theirs), or come from the normal
    /// approximation with corrections for ties and continuity.
    pub exact: bool,
}

/// Tests whether values of `a` tend to be larger or smaller than values of `b` (Mann and Whitney, "On a test of whether
/// one of two random variables is stochastically larger than the other", Annals of Mathematical Statistics 18, 1947).
///
/// `statrs` has this test too, but enumerates combinations one by one, which does not end in time for eight values
/// against a hundred.
///
/// # Errors
/// [`StatsError::TooFew`] for an empty sample, [`StatsError::NotFinite`].
pub fn mann_whitney(a: &[f64], b: &[f64]) -> Result<MannWhitney, StatsError> {
    check(a, "a Mann-Whitney test", 1)?;
    check(b, "a Mann-Whitney test", 1)?;
    let ranks = DoubledRanks::of(a, b);
    let (na, nb) = (a.len() as f64, b.len() as f64);
    // Ranks are doubled so that shared ones are whole numbers.
    let doubled_sum: usize = ranks.ranks[..a.len()].iter().sum();
    let u = (doubled_sum as f64 - na * (na + 1.0)) / 2.0;
    let exact = a.len() < EXACT_BELOW && b.len() < EXACT_BELOW;
    let (p_greater, p_less) =
        if exact { ranks.exact_tails(a.len(), doubled_sum) } else { ranks.normal_tails(u, na, nb) };
    Ok(MannWhitney {
        u,
        superiority: u / (na * nb),
        p_greater,
        p_less,
        p_two_sided: (2.0 * p_greater.min(p_less)).min(1.0),
        exact,
    })
}

/// Twice the rank of each value among both samples together, equal values sharing the mean of theirs.
struct DoubledRanks {
    ranks: Vec<usize>,
    /// Sizes of the groups of equal values.
    ties: Vec<usize>,
}

impl DoubledRanks {
    #[expect(clippy::float_cmp, reason = "ties are equal numbers, a zero and a negative zero among them")]
    fn of(a: &[f64], b: &[f64]) -> Self {
        let values = [a, b].concat();
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
        let mut ranks = vec![0; values.len()];
        let mut ties = Vec::new();
        let mut start = 0;
        for group in order.chunk_by(|&i, &j| values[i] == values[j]) {
            for &i in group {
                ranks[i] = 2 * start + group.len() + 1;
            }
            start += group.len();
            ties.push(group.len());
        }
        Self { ranks, ties }
    }

    /// The shares of all ways to deal `taken` of the ranks out whose sum is at least, and at most, `observed`.
    fn exact_tails(&self, taken: usize, observed: usize) -> (f64, f64) {
        let mut largest = self.ranks.clone();
        largest.sort_unstable_by(|x, y| y.cmp(x));
        let highest: usize = largest[..taken].iter().sum();
        // ways[k][s]: number of ways to take k ranks that sum to s. Only additions, so small tails keep all their digits.
        let mut ways = vec![vec![0.0f64; highest + 1]; taken + 1];
        ways[0][0] = 1.0;
        for (seen, &rank) in self.ranks.iter().enumerate() {
            for k in (1..=taken.min(seen + 1)).rev() {
                let (fewer, more) = ways.split_at_mut(k);
                for (to, from) in more[0].iter_mut().skip(rank).zip(&fewer[k - 1]) {
                    *to += from;
                }
            }
        }
        let all: f64 = ways[taken].iter().sum();
        let at_least: f64 = ways[taken][observed..].iter().sum();
        let at_most: f64 = ways[taken][..=observed].iter().sum();
        (at_least / all, at_most / all)
    }

    /// The tails by the normal approximation, corrected for ties and continuity. All values equal: no evidence, 1 and 1.
    fn normal_tails(&self, u: f64, na: f64, nb: f64) -> (f64, f64) {
        let n = na + nb;
        let tied: f64 = self.ties.iter().map(|&size| (size as f64).powi(3) - size as f64).sum();
        let sd = (na * nb / 12.0 * (n + 1.0 - tied / (n * (n - 1.0)))).max(0.0).sqrt();
        if sd == 0.0 {
            return (1.0, 1.0);
        }
        let centred = u - na * nb / 2.0;
        (normal_cdf(-(centred - 0.5) / sd), normal_cdf((centred + 0.5) / sd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::{PERMEABILITY_EARLY, PERMEABILITY_TERM};
    use crate::testing::{assert_close, assert_printed};

    #[test]
    fn permeability_data() {
        // R: wilcox.test(x, y, alternative = "g"): W = 35, p-value = 0.1272 (exact); 254 / C(15, 5) by counting.
        let test = mann_whitney(PERMEABILITY_TERM, PERMEABILITY_EARLY).unwrap();
        assert!(test.exact);
        assert_close(test.u, 35.0, 1e-15);
        assert_printed(test.p_greater, "0.1272");
        assert_printed(test.p_two_sided, "0.2544");
        assert_close(test.superiority, 0.7, 1e-15);
        let mirrored = mann_whitney(PERMEABILITY_EARLY, PERMEABILITY_TERM).unwrap();
        assert_close(mirrored.p_less, test.p_greater, 1e-12);
        assert_close(mirrored.u, 15.0, 1e-15);
    }

    #[test]
    fn normal_approximation_of_the_same_data() {
        // R with exact = FALSE, correct = FALSE prints p-value = 0.1103: z = 10 / sqrt(50 * 16 / 12) = 1.2247. With the
        // continuity correction, 9.5 / 8.1650.
        let ranks = DoubledRanks::of(PERMEABILITY_TERM, PERMEABILITY_EARLY);
        let (greater, _) = ranks.normal_tails(35.5, 10.0, 5.0);
        assert_printed(greater, "0.1103");
    }

    #[test]
    fn complete_separation() {
        let test = mann_whitney(&[4.0, 5.0, 6.0, 7.0], &[1.0, 2.0, 3.0]).unwrap();
        assert_close(test.p_two_sided, 2.0 / 35.0, 1e-12);
        assert_close(test.superiority, 1.0, 1e-15);
    }

    #[test]
    fn ties_are_counted_too() {
        // {1, 2} against {2, 3}: ranks 1, 2.5 | 2.5, 4. The six ways to deal two ranks sum to 3.5 (twice), 5 (twice) and
        // 6.5 (twice); the observed 3.5 is the smallest.
        let test = mann_whitney(&[1.0, 2.0], &[2.0, 3.0]).unwrap();
        assert_close(test.u, 0.5, 1e-15);
        assert_close(test.p_less, 2.0 / 6.0, 1e-12);
        assert_close(test.p_greater, 1.0, 1e-12);
    }

    #[test]
    fn large_samples_use_the_approximation() {
        let a: Vec<f64> = (0..60).map(f64::from).collect();
        let b: Vec<f64> = (0..60).map(|i| f64::from(i) + 0.5).collect();
        let test = mann_whitney(&a, &b).unwrap();
        assert!(!test.exact);
        // U = 1770 of 3600; z = (30 - 0.5) / sqrt(3600 * 121 / 12) = 0.1548, one-sided p = 0.4385.
        assert_printed(test.p_less, "0.4385");
        let equal = mann_whitney(&[1.0; 60], &[1.0; 60]).unwrap();
        assert_eq!((equal.p_greater, equal.p_less, equal.p_two_sided), (1.0, 1.0, 1.0));
        assert!(matches!(mann_whitney(&[], &[1.0]), Err(StatsError::TooFew { .. })));
    }
}
