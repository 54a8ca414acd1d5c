//! The sign-flip test of a mean: the cross-check beside every verdict.
//!
//! If the values scatter symmetrically about the null value, each difference from it was as likely to have the other
//! sign. The p-value is the share of the 2^k sign assignments whose sum is at least as extreme as the one observed
//! (Fisher, *The Design of Experiments*, 1935, section 21). It needs no distribution and no variance, but k pairs can
//! never show less than 2^-k: with few pairs the test cannot reach a strict level, which [`CrossCheck::CannotReach`]
//! says instead of disagreeing.

use super::StatsError;
use super::error::{check, check_finite, check_probability, finite};
use super::rng::Rng;
use super::summary::sorted;
use serde::{Deserialize, Serialize};

/// The largest number of values that is enumerated: two halves of 2^18 sums.
pub const EXACT_LIMIT: usize = 36;

/// Random assignments drawn beyond [`EXACT_LIMIT`].
pub const MONTE_CARLO_DRAWS: u64 = 99_999;

/// Sums closer than this share of the sum of absolute differences are one and the same, but for rounding.
const TIE: f64 = 1e-12;

/// Result of a sign-flip test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignFlip {
    /// Number of values, k.
    pub n: usize,
    /// Mean difference from the null value.
    pub mean_difference: f64,
    /// P-value for a true mean above the null value: the share of assignments with a sum at least as large.
    pub p_greater: f64,
    /// P-value for a true mean below the null value.
    pub p_less: f64,
    /// P-value for either.
    pub p_two_sided: f64,
    /// The smallest one-sided p-value that these values could have given, had all their signs agreed: 2^-k, or more
    /// where some values equal the null value.
    pub smallest_p: f64,
    /// How the p-values came about.
    pub method: Method,
}

/// How a permutation p-value was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Method {
    /// All assignments were counted.
    Exact {
        /// Their number, 2^k.
        assignments: u64,
    },
    /// Random assignments were drawn, and the observed one counted among them (Phipson and Smyth, "Permutation p-values
    /// should never be zero", 2010).
    MonteCarlo {
        /// Number of assignments drawn.
        draws: u64,
        /// Seed of the draws.
        seed: u64,
    },
}

/// How the sign-flip test stands to a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrossCheck {
    /// Both reach the level, or neither does.
    Agrees,
    /// One reaches the level and the other does not.
    Disagrees,
    /// So few pairs cannot reach the level whatever they show; that is no disagreement.
    CannotReach,
}

/// Tests whether the values lie symmetrically about `null`. The `seed` matters only beyond [`EXACT_LIMIT`] values.
///
/// # Errors
/// [`StatsError::TooFew`] for an empty sample, [`StatsError::NotFinite`], [`StatsError::Overflow`],
/// [`StatsError::Parameter`] for a null value that is not finite.
pub fn sign_flip(values: &[f64], null: f64, seed: u64) -> Result<SignFlip, StatsError> {
    check(values, "a sign-flip test", 1)?;
    check_finite("the null value", null)?;
    let differences: Vec<f64> = values.iter().map(|value| value - null).collect();
    let n = differences.len();
    let magnitude = finite("the sum of the differences", differences.iter().map(|d| d.abs()).sum())?;
    let observed: f64 = differences.iter().sum();
    let tie = TIE * magnitude;

    let tails = if n <= EXACT_LIMIT {
        count_all(&differences, observed, tie)
    } else {
        count_drawn(&differences, observed, tie, seed)
    };
    let share = |count: u64| count as f64 / tails.total as f64;
    let nonzero = differences.iter().filter(|d| d.abs() > tie).count();
    Ok(SignFlip {
        n,
        mean_difference: observed / n as f64,
        p_greater: share(tails.greater),
        p_less: share(tails.less),
        p_two_sided: share(tails.two_sided),
        smallest_p: match tails.method {
            Method::Exact { .. } => (-(nonzero as f64)).exp2(),
            Method::MonteCarlo { .. } => 1.0 / tails.total as f64,
        },
        method: tails.method,
    })
}

impl SignFlip {
    /// Compares with a one-sided decision at `level` (1 - confidence): whether `p_value`, one of this test's, reaches
    /// the level exactly where the decision `reached` it.
    ///
    /// # Errors
    /// [`StatsError::Parameter`] unless 0 < `level` < 1.
    pub fn cross_check(&self, p_value: f64, level: f64, reached: bool) -> Result<CrossCheck, StatsError> {
        check_probability("the level", level)?;
        Ok(if self.smallest_p > level {
            CrossCheck::CannotReach
        } else if (p_value <= level) == reached {
            CrossCheck::Agrees
        } else {
            CrossCheck::Disagrees
        })
    }
}

struct Tails {
    greater: u64,
    less: u64,
    two_sided: u64,
    total: u64,
    method: Method,
}

/// Counts all assignments by meeting in the middle: the sums of either half are enumerated and sorted, and for each sum
/// of one half a bound moves monotonically through the other. Every total is then one addition of two short sums, so
/// rounding does not build up as it would along a Gray code.
fn count_all(differences: &[f64], observed: f64, tie: f64) -> Tails {
    let (left, right) = differences.split_at(differences.len() / 2);
    let (left, right) = (signed_sums(left), signed_sums(right));
    let total = (left.len() * right.len()) as u64;
    let at_least = |bound: f64| {
        let mut below = right.len();
        left.iter()
            .map(|sum| {
                while below > 0 && sum + right[below - 1] >= bound {
                    below -= 1;
                }
                (right.len() - below) as u64
            })
            .sum::<u64>()
    };
    // The distribution of the sums is symmetric, so the lower tail is the upper tail of the mirrored sum.
    let greater = at_least(observed - tie);
    let less = at_least(-observed - tie);
    let two_sided = (2 * at_least(observed.abs() - tie)).min(total);
    Tails { greater, less, two_sided, total, method: Method::Exact { assignments: total } }
}

/// The sums of all sign assignments, ascending.
fn signed_sums(differences: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    for difference in differences {
        sums = sums.iter().flat_map(|sum| [sum + difference, sum - difference]).collect();
    }
    sorted(&sums)
}

fn count_drawn(differences: &[f64], observed: f64, tie: f64, seed: u64) -> Tails {
    let mut rng = Rng::new(seed);
    // The assignment that was observed is one of the possible ones and counts in every tail.
    let (mut greater, mut less, mut two_sided) = (1, 1, 1);
    for _ in 0..MONTE_CARLO_DRAWS {
        let mut sum = 0.0;
        for chunk in differences.chunks(64) {
            let bits = rng.bits();
            for (i, difference) in chunk.iter().enumerate() {
                sum += if bits >> i & 1 == 1 { *difference } else { -difference };
            }
        }
        greater += u64::from(sum >= observed - tie);
        less += u64::from(sum <= observed + tie);
        two_sided += u64::from(sum.abs() >= observed.abs() - tie);
    }
    Tails {
        greater,
        less,
        two_sided,
        total: MONTE_CARLO_DRAWS + 1,
        method: Method::MonteCarlo { draws: MONTE_CARLO_DRAWS, seed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::{DARWIN, DEPRESSION_AFTER, DEPRESSION_BEFORE};
    use crate::testing::{assert_close, assert_printed, normal};

    #[test]
    fn fishers_count_of_darwins_maize() {
        // Fisher, The Design of Experiments, section 21: of 32,768 totals 835 exceed 314 and 28 equal it; counting both
        // signs, 1,726, or 5.267 per cent.
        let test = sign_flip(DARWIN, 0.0, 1).unwrap();
        assert_eq!(test.method, Method::Exact { assignments: 32_768 });
        assert_close(test.p_greater, 863.0 / 32_768.0, 1e-15);
        assert_close(test.p_two_sided, 1_726.0 / 32_768.0, 1e-15);
        assert_printed(100.0 * test.p_two_sided, "5.267");
        assert_close(test.p_less, 1.0 - 835.0 / 32_768.0, 1e-15);
    }

    #[test]
    fn scaling_and_shifting_change_nothing() {
        // In inches and about another null value the sums are no longer whole numbers; ties must still be found.
        let inches: Vec<f64> = DARWIN.iter().map(|d| d / 8.0 * 0.1 + 0.7).collect();
        assert_close(sign_flip(&inches, 0.7, 1).unwrap().p_greater, 863.0 / 32_768.0, 1e-15);
    }

    #[test]
    fn of_signed_ranks_it_is_wilcoxons_test() {
        // R: wilcox.test(x, y, paired = TRUE, alternative = "greater"): V = 40, p-value = 0.01953, which is 10 / 512.
        let differences: Vec<f64> = DEPRESSION_BEFORE.iter().zip(DEPRESSION_AFTER).map(|(x, y)| x - y).collect();
        let rank = |d: f64| differences.iter().filter(|other| other.abs() <= d.abs()).count() as f64;
        let signed_ranks: Vec<f64> = differences.iter().map(|d| rank(*d) * d.signum()).collect();
        assert_close(signed_ranks.iter().filter(|r| **r > 0.0).sum(), 40.0, 1e-15);
        let test = sign_flip(&signed_ranks, 0.0, 1).unwrap();
        assert_printed(test.p_greater, "0.01953");
        assert_close(test.p_greater, 10.0 / 512.0, 1e-15);
    }

    #[test]
    fn six_agreeing_pairs_reach_one_in_sixty_four() {
        let test = sign_flip(&[0.3, 0.2, 0.25, 0.31, 0.28, 0.22], 0.1, 1).unwrap();
        assert_close(test.p_greater, 1.0 / 64.0, 1e-15);
        assert_close(test.smallest_p, 1.0 / 64.0, 1e-15);
        assert_close(test.p_less, 1.0, 1e-15);
        assert_eq!(test.cross_check(test.p_greater, 0.05 / 3.0, true), Ok(CrossCheck::Agrees));
        assert_eq!(test.cross_check(test.p_greater, 0.05 / 3.0, false), Ok(CrossCheck::Disagrees));
        assert_eq!(test.cross_check(test.p_greater, 0.01, true), Ok(CrossCheck::CannotReach));
        assert_eq!(test.cross_check(test.p_less, 0.05, false), Ok(CrossCheck::Agrees));
    }

    #[test]
    fn values_on_the_null_value_carry_no_sign() {
        let test = sign_flip(&[1.0, 2.0, 0.0, 0.0], 0.0, 1).unwrap();
        assert_close(test.p_greater, 0.25, 1e-15);
        assert_close(test.smallest_p, 0.25, 1e-15);
        let none = sign_flip(&[5.0, 5.0], 5.0, 1).unwrap();
        assert_eq!((none.p_greater, none.p_less, none.p_two_sided, none.smallest_p), (1.0, 1.0, 1.0, 1.0));
    }

    #[test]
    fn many_values_are_sampled_and_say_so() {
        let mut rng = Rng::new(3);
        let values: Vec<f64> = (0..=EXACT_LIMIT).map(|_| normal(&mut rng) + 0.3).collect();
        let exact = sign_flip(&values[..EXACT_LIMIT], 0.0, 1).unwrap();
        assert!(matches!(exact.method, Method::Exact { .. }));
        let drawn = sign_flip(&values, 0.0, 1).unwrap();
        assert_eq!(drawn.method, Method::MonteCarlo { draws: MONTE_CARLO_DRAWS, seed: 1 });
        assert_eq!(drawn, sign_flip(&values, 0.0, 1).unwrap());
        assert_ne!(drawn, sign_flip(&values, 0.0, 2).unwrap());
        // The same values counted out by hand in the normal approximation of the sum.
        let squares: f64 = values.iter().map(|v| v * v).sum();
        let z = values.iter().sum::<f64>() / squares.sqrt();
        assert!((drawn.p_greater - crate::distributions::normal_cdf(-z)).abs() < 0.005);
    }

    #[test]
    fn sampling_agrees_with_counting() {
        let observed: f64 = DARWIN.iter().sum();
        let tails = count_drawn(DARWIN, observed, 1e-9, 5);
        let share = tails.two_sided as f64 / tails.total as f64;
        // Four standard errors of 100,000 draws at 5.267 %.
        assert!((share - 1_726.0 / 32_768.0).abs() < 0.0029);
    }
}
