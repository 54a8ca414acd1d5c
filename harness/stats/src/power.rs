//! What a number of pairs can see, and how many pairs would decide.

use super::StatsError;
use super::distributions::{noncentral_t_cdf, normal_quantile, t_quantile};
use super::error::{check_finite, check_positive, check_probability, finite};
use super::memo::Memo;
use serde::{Deserialize, Serialize};

/// Beyond this many pairs a claim is called undecidable rather than counted.
pub const PAIRS_LIMIT: usize = 1_000_000;

/// The minimum detectable effect of a number of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectableEffect {
    /// Number of pairs, k.
    pub pairs: usize,
    /// Standard deviation of y that was assumed or observed, s.
    pub sd: f64,
    /// One-sided confidence of the deciding bound, 1 - a.
    pub confidence: f64,
    /// Probability with which the effect is to be seen, 1 - b.
    pub power: f64,
    /// Distance of the true mean from the margin, on the scale of y, that is seen with that probability.
    pub effect: f64,
    /// The same by the usual shortcut (t[1-a, k-1] + t[1-b, k-1]) s / sqrt(k).
    pub shortcut: f64,
}

/// How many pairs would decide.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairsNeeded {
    /// The smallest number of pairs with the wanted power; `None` where the observed mean lies on the margin, or so
    /// close to it that more than [`PAIRS_LIMIT`] would be needed.
    pub pairs: Option<usize>,
    /// Distance of the observed mean from the margin, on the scale of y; its sign says to which side they would decide.
    pub effect: f64,
    /// Probability with which they would.
    pub power: f64,
}

/// The probability that a one-sided t bound at `confidence` over `pairs` clears the margin, when the true mean lies
/// `effect` beyond it and the true standard deviation is `sd`: exact, from the noncentral t.
///
/// # Errors
/// [`StatsError::TooFew`] below two pairs; [`StatsError::Parameter`] for an effect that is not finite, a standard
/// deviation not above zero, or a confidence outside (0, 1).
pub fn power(effect: f64, sd: f64, pairs: usize, confidence: f64) -> Result<f64, StatsError> {
    check_pairs(pairs)?;
    check_finite("the effect", effect)?;
    check_positive("the standard deviation", sd)?;
    check_probability("the confidence", confidence)?;
    Ok(power_of(effect / sd, pairs, confidence))
}

/// The minimum detectable effect of `pairs` pairs.
///
/// # Errors
/// [`StatsError::TooFew`] below two pairs; [`StatsError::Parameter`] for a standard deviation not above zero, or a
/// confidence or power outside (0, 1).
pub fn detectable_effect(sd: f64, pairs: usize, confidence: f64, power: f64) -> Result<DetectableEffect, StatsError> {
    check_pairs(pairs)?;
    check_positive("the standard deviation", sd)?;
    check_probability("the confidence", confidence)?;
    check_probability("the power", power)?;
    let key = (pairs, confidence.to_bits(), power.to_bits());
    let (shortcut, standardised) = STANDARDISED.with(|known| known.get(key, || standardised(pairs, confidence, power)));
    let effect = finite("the detectable effect", standardised * sd)?;
    Ok(DetectableEffect { pairs, sd, confidence, power, effect, shortcut: finite("the shortcut", shortcut * sd)? })
}

thread_local! {
    /// By pairs, confidence and power; the claims of a run differ in their spread alone.
    static STANDARDISED: Memo<(usize, u64, u64), (f64, f64)> = Memo::new();
}

/// The shortcut and the detectable effect in units of the standard deviation.
fn standardised(pairs: usize, confidence: f64, power: f64) -> (f64, f64) {
    let (df, root) = ((pairs - 1) as f64, (pairs as f64).sqrt());
    let shortcut = (t_quantile(confidence, df) + t_quantile(power, df)) / root;

    // The power rises with the effect: bracket it around the shortcut, then halve.
    let (mut low, mut high) = (shortcut.min(0.0), shortcut.max(1.0 / root));
    while power_of(low, pairs, confidence) > power {
        low = low * 2.0 - 1.0 / root;
    }
    while power_of(high, pairs, confidence) < power {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if power_of(middle, pairs, confidence) < power {
            low = middle;
        } else {
            high = middle;
        }
    }
    (shortcut, high)
}

/// How many pairs would decide a claim that the observed ones leave open, if their mean and standard deviation were the
/// true ones: the smallest number whose bound clears the `margin` (on the scale of y) with probability `power`, towards
/// whichever side the observed mean lies on.
///
/// # Errors
/// [`StatsError::Parameter`] for a mean or margin that is not finite, a standard deviation that is negative or not
/// finite, or a confidence or power outside (0, 1).
pub fn pairs_needed(mean: f64, sd: f64, margin: f64, confidence: f64, power: f64) -> Result<PairsNeeded, StatsError> {
    check_finite("the mean", mean)?;
    check_finite("the margin", margin)?;
    check_probability("the confidence", confidence)?;
    check_probability("the power", power)?;
    let effect = finite("the distance from the margin", mean - margin)?;
    if sd != 0.0 {
        check_positive("the standard deviation", sd)?;
    }
    let enough = |pairs: usize| power_of(effect.abs() / sd, pairs, confidence) >= power;
    let pairs = if effect == 0.0 {
        None
    } else if sd == 0.0 || enough(2) {
        Some(2)
    } else if !enough(PAIRS_LIMIT) {
        None
    } else {
        let (mut too_few, mut plenty) = bracket(effect.abs() / sd, confidence, power, &enough);
        while plenty - too_few > 1 {
            let middle = usize::midpoint(too_few, plenty);
            if enough(middle) {
                plenty = middle;
            } else {
                too_few = middle;
            }
        }
        Some(plenty)
    };
    Ok(PairsNeeded { pairs, effect, power })
}

/// A number that is too few and one that is enough, around what the normal distribution would say, since each try costs an
/// integral.
fn bracket(effect: f64, confidence: f64, power: f64, enough: &impl Fn(usize) -> bool) -> (usize, usize) {
    let about = ((normal_quantile(confidence) + normal_quantile(power)) / effect).powi(2);
    let (mut too_few, mut plenty) = (2, PAIRS_LIMIT);
    let mut step = 2;
    let mut next = (about as usize).clamp(3, PAIRS_LIMIT - 1);
    while plenty - too_few > 1 && next > too_few && next < plenty {
        if enough(next) {
            plenty = next;
            next = next.saturating_sub(step);
        } else {
            too_few = next;
            next = next.saturating_add(step);
        }
        if too_few > 2 && plenty < PAIRS_LIMIT {
            break;
        }
        step *= 2;
    }
    (too_few, plenty)
}

/// Power for an effect in units of the standard deviation.
fn power_of(effect: f64, pairs: usize, confidence: f64) -> f64 {
    let df = (pairs - 1) as f64;
    1.0 - noncentral_t_cdf(t_quantile(confidence, df), df, effect * (pairs as f64).sqrt())
}

fn check_pairs(pairs: usize) -> Result<(), StatsError> {
    if pairs < 2 {
        return Err(StatsError::TooFew { what: "a power calculation", needed: 2, found: pairs });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_printed};

    #[test]
    fn one_sample_power_as_published() {
        // The examples of R's pwr package (Cohen 1988, exercise 2.5): pwr.t.test(d = 0.2, n = 60, sig.level = 0.10,
        // type = "one.sample") prints power = 0.4555818. Two-sided: both tails of one-sided bounds at 95 %.
        let both = power(0.2, 1.0, 60, 0.95).unwrap() + power(-0.2, 1.0, 60, 0.95).unwrap();
        assert_printed(both, "0.4555818");
    }

    #[test]
    fn the_detectable_effect_has_the_power() {
        for (pairs, confidence, wanted) in
            [(2, 0.95, 0.8), (6, 0.95, 0.8), (10, 1.0 - 0.05 / 3.0, 0.9), (16, 0.95, 0.5)]
        {
            let found = detectable_effect(0.015, pairs, confidence, wanted).unwrap();
            assert_close(power(found.effect, 0.015, pairs, confidence).unwrap(), wanted, 1e-9);
        }
    }

    #[test]
    fn the_shortcut_is_close_from_six_pairs_on() {
        for pairs in [6, 10, 16, 30] {
            let found = detectable_effect(1.0, pairs, 0.95, 0.8).unwrap();
            assert!((found.shortcut / found.effect - 1.0).abs() < 0.05, "{found:?}");
        }
        // (t[.95, 9] + t[.8, 9]) / sqrt(10) from tables: (1.833 + 0.883) / 3.162.
        assert_printed(detectable_effect(1.0, 10, 0.95, 0.8).unwrap().shortcut, "0.859");
    }

    #[test]
    fn pairs_that_would_decide() {
        // The equation solved with SciPy's noncentral t instead: 10.0811 pairs for an effect of one standard deviation at
        // power 0.9, and 26.1375 for half of one at 0.8.
        assert_eq!(pairs_needed(1.0, 1.0, 0.0, 0.95, 0.9).unwrap().pairs, Some(11));
        assert_eq!(pairs_needed(0.5, 1.0, 0.0, 0.95, 0.8).unwrap().pairs, Some(27));
        let needed = pairs_needed(1.0, 1.0, 0.0, 0.95, 0.9).unwrap();
        let pairs = needed.pairs.unwrap();
        assert!(power(1.0, 1.0, pairs, 0.95).unwrap() >= 0.9);
        assert!(power(1.0, 1.0, pairs - 1, 0.95).unwrap() < 0.9);
        // From few to many: one fewer is never enough.
        for effect in [2.5, 1.2, 0.3, 0.05, 0.01] {
            for (confidence, wanted) in [(0.95, 0.8), (0.999, 0.8), (0.6, 0.3)] {
                let pairs = pairs_needed(effect, 1.0, 0.0, confidence, wanted).unwrap().pairs.unwrap();
                assert!(power(effect, 1.0, pairs, confidence).unwrap() >= wanted, "{effect} {confidence} {pairs}");
                assert!(pairs == 2 || power(effect, 1.0, pairs - 1, confidence).unwrap() < wanted, "{effect} {pairs}");
            }
        }
        // Either side of the margin needs as many.
        assert_eq!(pairs_needed(-1.0, 1.0, 0.0, 0.95, 0.9).unwrap().pairs, Some(pairs));
    }

    #[test]
    fn what_cannot_be_decided_says_so() {
        assert_eq!(pairs_needed(0.5, 1.0, 0.5, 0.95, 0.8).unwrap().pairs, None);
        assert_eq!(pairs_needed(1e-6, 1.0, 0.0, 0.95, 0.8).unwrap().pairs, None);
        assert_eq!(pairs_needed(0.1, 0.0, 0.0, 0.95, 0.8).unwrap().pairs, Some(2));
        assert!(matches!(pairs_needed(0.1, -1.0, 0.0, 0.95, 0.8), Err(StatsError::Parameter { .. })));
        assert!(matches!(power(0.1, 1.0, 1, 0.95), Err(StatsError::TooFew { .. })));
        assert!(matches!(detectable_effect(0.0, 6, 0.95, 0.8), Err(StatsError::Parameter { .. })));
    }
}
