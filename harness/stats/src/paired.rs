//! The deciding rule: one-sided t bounds on a mean, held against a margin.
//!
//! The replicate is a block: a fresh process of every arm. Two arms of one block make a pair, and y = ln(A / B) of the
//! k pairs is what the rule sees; a claim about one arm alone sees that arm's k per-process values instead. With the
//! mean m, the standard deviation s and t the `confidence` quantile of Student's t with k - 1 degrees of freedom, the
//! bounds are m - t s / sqrt(k) and m + t s / sqrt(k), each holding with that confidence on its own.
//!
//! Values without any spread (a byte count that never varies) have bounds equal to their mean: the rule then decides by
//! plain comparison, and never says "inconclusive" unless an equivalence zone is asked for and left on neither side.

use super::StatsError;
use super::distributions::{t_cdf, t_quantile, t_upper};
use super::error::{check, check_finite, check_positive, check_probability, finite};
use super::summary::{mean, quantile, sd};
use serde::{Deserialize, Serialize};

/// A lower and an upper confidence bound on a mean, each one-sided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Number of values (pairs or processes).
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, n - 1 in the denominator.
    pub sd: f64,
    /// sd / sqrt(n).
    pub standard_error: f64,
    /// Confidence of each bound on its own; the two together hold with 2 * confidence - 1.
    pub confidence: f64,
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
}

/// Bounds on the mean log ratio, and the same on the scale of the ratio, where the mean becomes a geometric mean.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioBounds {
    /// Geometric mean of the ratios.
    pub ratio: f64,
    /// Lower bound of the ratio.
    pub lower: f64,
    /// Upper bound of the ratio.
    pub upper: f64,
    /// The bounds on the scale on which they were computed.
    pub log: Bounds,
}

/// What is claimed of a mean (or, for a ratio, of the geometric mean of A / B).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Claim {
    /// At least `margin`: superiority of a rate, or with a margin below 1 its non-inferiority.
    AtLeast {
        /// The value to reach.
        margin: f64,
    },
    /// At most `margin`: the mirror image, for what is better when lower.
    AtMost {
        /// The value not to exceed.
        margin: f64,
    },
    /// Between `low` and `high`: equivalence, by two one-sided tests (Schuirmann, "A comparison of the two one-sided
    /// tests procedure and the power approach for assessing the equivalence of average bioavailability", Journal of
    /// Pharmacokinetics and Biopharmaceutics 15, 1987, 657-680).
    Within {
        /// Lower end of the zone.
        low: f64,
        /// Upper end of the zone.
        high: f64,
    },
}

/// What the bounds say of a claim. (Whether the samples may be believed at all is decided elsewhere.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The bound lies on the claim's side of the margin, or on it.
    Pass,
    /// The other bound excludes the claim.
    Fail,
    /// The bounds straddle the margin.
    Inconclusive,
}

/// A claim about a mean, decided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// What was claimed.
    pub claim: Claim,
    /// What the bounds say of it.
    pub decision: Decision,
    /// The bounds.
    pub bounds: Bounds,
    /// One-sided p-value against the claim's negation; the larger of the two for equivalence. Without any spread it is
    /// 0 where the claim holds, else 1.
    pub p_value: f64,
}

/// A claim about a ratio, decided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioJudgement {
    /// What was claimed of the ratio (on its own scale, not its logarithm's).
    pub claim: Claim,
    /// What the bounds say of it.
    pub decision: Decision,
    /// The bounds.
    pub bounds: RatioBounds,
    /// As in [`Judgement`].
    pub p_value: f64,
}

/// ln(a / b) of each pair, as ln a - ln b, which neither overflows nor underflows.
///
/// # Errors
/// [`StatsError::Unpaired`] for sides of different lengths; [`StatsError::NotFinite`] or [`StatsError::NotPositive`]
/// with the pair's position.
pub fn log_ratios(a: &[f64], b: &[f64]) -> Result<Vec<f64>, StatsError> {
    if a.len() != b.len() {
        return Err(StatsError::Unpaired { left: a.len(), right: b.len() });
    }
    let log = |index: usize, value: f64| {
        if !value.is_finite() {
            Err(StatsError::NotFinite { index, value })
        } else if value <= 0.0 {
            Err(StatsError::NotPositive { index, value })
        } else {
            Ok(value.ln())
        }
    };
    a.iter().zip(b).enumerate().map(|(index, (&a, &b))| Ok(log(index, a)? - log(index, b)?)).collect()
}

/// One-sided t bounds on the mean of `values`, each at `confidence`.
///
/// # Errors
/// [`StatsError::TooFew`] below two values, [`StatsError::NotFinite`], [`StatsError::Overflow`],
/// [`StatsError::Parameter`] unless 0.5 < `confidence` < 1 (at or below one half the "bounds" would cross).
pub fn mean_bounds(values: &[f64], confidence: f64) -> Result<Bounds, StatsError> {
    check(values, "a t bound", 2)?;
    if !(confidence > 0.5 && confidence < 1.0) {
        return Err(StatsError::Parameter {
            name: "the confidence",
            value: confidence,
            range: "strictly between 0.5 and 1",
        });
    }
    let n = values.len();
    let (mean, sd) = (mean(values)?, sd(values)?);
    let standard_error = sd / (n as f64).sqrt();
    let reach = t_quantile(confidence, (n - 1) as f64) * standard_error;
    Ok(Bounds {
        n,
        mean,
        sd,
        standard_error,
        confidence,
        lower: finite("the lower bound", mean - reach)?,
        upper: finite("the upper bound", mean + reach)?,
    })
}

/// One-sided t bounds on the ratio of which `y` are the logarithms, one a pair; each at `confidence`.
///
/// # Errors
/// As [`mean_bounds`]; [`StatsError::Overflow`] also where a bound of the ratio leaves the range of numbers.
pub fn ratio_bounds(y: &[f64], confidence: f64) -> Result<RatioBounds, StatsError> {
    let log = mean_bounds(y, confidence)?;
    Ok(RatioBounds {
        ratio: finite("the ratio", log.mean.exp())?,
        lower: finite("the lower bound of the ratio", log.lower.exp())?,
        upper: finite("the upper bound of the ratio", log.upper.exp())?,
        log,
    })
}

/// Decides a claim about the mean of `values`: a rate, a time, a byte count or a quantile of one arm, one value a process.
///
/// # Errors
/// As [`mean_bounds`]; [`StatsError::Parameter`] for a margin that is not finite or a zone that is empty.
pub fn judge(values: &[f64], claim: Claim, confidence: f64) -> Result<Judgement, StatsError> {
    claim.check(check_finite)?;
    let bounds = mean_bounds(values, confidence)?;
    Ok(Judgement { claim, decision: decide(&bounds, claim), p_value: p_value(&bounds, claim), bounds })
}

/// Decides a claim about the ratio of which `y` are the logarithms, one a pair. The claim's margins are ratios.
///
/// # Errors
/// As [`ratio_bounds`]; [`StatsError::Parameter`] for a margin that is not above zero or a zone that is empty.
pub fn judge_ratio(y: &[f64], claim: Claim, confidence: f64) -> Result<RatioJudgement, StatsError> {
    claim.check(check_positive)?;
    let bounds = ratio_bounds(y, confidence)?;
    let log_claim = claim.map(f64::ln);
    Ok(RatioJudgement {
        claim,
        decision: decide(&bounds.log, log_claim),
        p_value: p_value(&bounds.log, log_claim),
        bounds,
    })
}

/// One quantile a process, to be judged over processes: `p` = 0.99 of each process's inter-token times, say.
///
/// # Errors
/// [`StatsError::Parameter`] unless 0 < `p` < 1. [`StatsError::TooFew`] where a process has fewer than 1 / min(p, 1 - p)
/// values: the 99th percentile of fifty values is their maximum by another name. [`StatsError::NotFinite`].
pub fn process_quantiles<S: AsRef<[f64]>>(processes: &[S], p: f64) -> Result<Vec<f64>, StatsError> {
    check_probability("the quantile", p)?;
    // The subtraction leaves 0.010000000000000009 of one hundredth; the smallest excess must not ask for one value more.
    let needed = ((1.0 - 1e-9) / p.min(1.0 - p)).ceil() as usize;
    processes
        .iter()
        .map(|process| {
            check(process.as_ref(), "a quantile of a process", needed)?;
            quantile(process.as_ref(), p)
        })
        .collect()
}

impl Claim {
    /// The same claim with every margin mapped, for example to logarithms.
    #[must_use]
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::AtLeast { margin } => Self::AtLeast { margin: f(margin) },
            Self::AtMost { margin } => Self::AtMost { margin: f(margin) },
            Self::Within { low, high } => Self::Within { low: f(low), high: f(high) },
        }
    }

    fn check(self, each: impl Fn(&'static str, f64) -> Result<(), StatsError>) -> Result<(), StatsError> {
        match self {
            Self::AtLeast { margin } | Self::AtMost { margin } => each("the margin", margin),
            Self::Within { low, high } => {
                each("the lower margin", low)?;
                each("the upper margin", high)?;
                if low < high {
                    Ok(())
                } else {
                    Err(StatsError::Parameter { name: "the upper margin", value: high, range: "above the lower one" })
                }
            }
        }
    }
}

/// What bounds say of a claim on the same scale.
///
/// A false pass has at most probability 1 - confidence whatever the claim, and so has a false fail, except inside an
/// equivalence zone so narrow that both its ends are within reach, where it has at most twice that.
pub fn decide(bounds: &Bounds, claim: Claim) -> Decision {
    let (holds, excluded) = match claim {
        Claim::AtLeast { margin } => (bounds.lower >= margin, bounds.upper < margin),
        Claim::AtMost { margin } => (bounds.upper <= margin, bounds.lower > margin),
        Claim::Within { low, high } => {
            (bounds.lower >= low && bounds.upper <= high, bounds.upper < low || bounds.lower > high)
        }
    };
    match (holds, excluded) {
        (true, _) => Decision::Pass,
        (false, true) => Decision::Fail,
        (false, false) => Decision::Inconclusive,
    }
}

fn p_value(bounds: &Bounds, claim: Claim) -> f64 {
    let df = (bounds.n - 1) as f64;
    let t = |margin: f64| (bounds.mean - margin) / bounds.standard_error;
    let above = |margin: f64| {
        if bounds.standard_error > 0.0 { t_upper(t(margin), df) } else { f64::from(bounds.mean < margin) }
    };
    let below = |margin: f64| {
        if bounds.standard_error > 0.0 { t_cdf(t(margin), df) } else { f64::from(bounds.mean > margin) }
    };
    match claim {
        Claim::AtLeast { margin } => above(margin),
        Claim::AtMost { margin } => below(margin),
        Claim::Within { low, high } => above(low).max(below(high)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::{CLINIC_1A, CLINIC_1B, CLINIC_2A, CLINIC_2B, SLEEP_1, SLEEP_2};
    use crate::testing::{assert_close, assert_printed};

    fn differences(a: &[f64], b: &[f64]) -> Vec<f64> {
        a.iter().zip(b).map(|(a, b)| a - b).collect()
    }

    #[test]
    fn bounds_of_the_sleep_data() {
        // R: t.test(extra ~ group, data = sleep, paired = TRUE) prints the two-sided 95 % interval -2.4598858 to
        // -0.7001142 about -1.58: one-sided bounds at 97.5 % each.
        let bounds = mean_bounds(&differences(SLEEP_1, SLEEP_2), 0.975).unwrap();
        assert_printed(bounds.lower, "-2.4598858");
        assert_printed(bounds.upper, "-0.7001142");
        assert_printed(bounds.mean, "-1.58");
    }

    #[test]
    fn equivalence_of_the_clinic_data() {
        // R's equivalence::tost on pairs 1..15 and 16..30 of clinic, epsilon 0.6, level 5 %: the second variable is not
        // equivalent, p 0.4412034046017588, interval 0.1261653305099018 to 0.999168002823431; the first is, p
        // 0.003166881489265175, interval -0.0744336620516462 to 0.4037669953849797.
        let zone = Claim::Within { low: -0.6, high: 0.6 };
        let second = judge(&differences(CLINIC_2A, CLINIC_2B), zone, 0.95).unwrap();
        assert_eq!(second.decision, Decision::Inconclusive);
        assert_close(second.p_value, 0.441_203_404_601_758_8, 1e-10);
        assert_close(second.bounds.lower, 0.126_165_330_509_901_8, 1e-10);
        assert_close(second.bounds.upper, 0.999_168_002_823_431, 1e-10);
        let first = judge(&differences(CLINIC_1A, CLINIC_1B), zone, 0.95).unwrap();
        assert_eq!(first.decision, Decision::Pass);
        assert_close(first.p_value, 0.003_166_881_489_265_175, 1e-10);
        assert_close(first.bounds.lower, -0.074_433_662_051_646_2, 1e-9);
    }

    #[test]
    fn the_rule_is_the_definition_by_hand() {
        // Ratios 1.3, 1.4, 1.2: mean log 0.260386, sd 0.077094; t[.95, 2] = 2.919986, so the lower bound is 0.130416.
        let y = log_ratios(&[1.3, 2.8, 3.6], &[1.0, 2.0, 3.0]).unwrap();
        let bounds = ratio_bounds(&y, 0.95).unwrap();
        assert_printed(bounds.log.mean, "0.260386");
        assert_close(bounds.ratio, (1.3f64 * 1.4 * 1.2).cbrt(), 1e-12);
        assert_printed(bounds.log.sd, "0.077094");
        assert_printed(bounds.log.lower, "0.130416");
        assert_close(bounds.lower, bounds.log.lower.exp(), 1e-15);
    }

    #[test]
    fn each_claim_passes_fails_and_stays_open() {
        use Decision::{Fail, Inconclusive, Pass};
        // Ratios near 1.30, bounds about 1.27 to 1.33.
        let y: Vec<f64> = [1.30, 1.33, 1.27, 1.31, 1.29, 1.30].iter().map(|r: &f64| r.ln()).collect();
        for (claim, expected) in [
            (Claim::AtLeast { margin: 1.25 }, Pass),
            (Claim::AtLeast { margin: 1.30 }, Inconclusive),
            (Claim::AtLeast { margin: 1.50 }, Fail),
            (Claim::AtMost { margin: 1.50 }, Pass),
            (Claim::AtMost { margin: 1.30 }, Inconclusive),
            (Claim::AtMost { margin: 1.25 }, Fail),
            (Claim::Within { low: 1.2, high: 1.4 }, Pass),
            (Claim::Within { low: 1.2, high: 1.3 }, Inconclusive),
            (Claim::Within { low: 0.9, high: 1.1 }, Fail),
            (Claim::Within { low: 1.4, high: 1.6 }, Fail),
        ] {
            let judgement = judge_ratio(&y, claim, 0.95).unwrap();
            assert_eq!(judgement.decision, expected, "{claim:?}");
            assert_eq!(judgement.p_value <= 0.05, expected == Pass, "{claim:?}");
        }
    }

    #[test]
    fn at_most_mirrors_at_least() {
        let y = [0.1, 0.3, 0.2, 0.25, 0.15];
        let mirrored: Vec<f64> = y.iter().map(|y| -y).collect();
        for margin in [1.05, 1.2, 1.5] {
            let up = judge_ratio(&y, Claim::AtLeast { margin }, 0.95).unwrap();
            let down = judge_ratio(&mirrored, Claim::AtMost { margin: 1.0 / margin }, 0.95).unwrap();
            assert_eq!(up.decision, down.decision);
            assert_close(up.p_value, down.p_value, 1e-9);
            assert_close(up.bounds.lower, 1.0 / down.bounds.upper, 1e-12);
        }
    }

    #[test]
    fn without_spread_the_rule_compares() {
        use Decision::{Fail, Pass};
        let decision = |claim| judge(&[35.0; 6], claim, 0.95).unwrap();
        assert_eq!(decision(Claim::AtMost { margin: 35.0 }).decision, Pass);
        assert_eq!(decision(Claim::AtLeast { margin: 35.0 }).decision, Pass);
        assert_eq!(decision(Claim::AtMost { margin: 34.9 }).decision, Fail);
        assert_eq!(decision(Claim::Within { low: 35.0, high: 36.0 }).decision, Pass);
        let passed = decision(Claim::AtMost { margin: 35.0 });
        assert_eq!((passed.p_value, passed.bounds.lower, passed.bounds.upper), (0.0, 35.0, 35.0));
        assert_close(decision(Claim::AtLeast { margin: 36.0 }).p_value, 1.0, 0.0);
    }

    #[test]
    fn a_quantile_a_process() {
        let slow: Vec<f64> = (0..101).map(f64::from).collect();
        let found = process_quantiles(&[slow.clone(), vec![7.0; 100]], 0.99).unwrap();
        assert_eq!(found, [99.0, 7.0]);
        assert_eq!(
            process_quantiles(&[vec![7.0; 99]], 0.99),
            Err(StatsError::TooFew { what: "a quantile of a process", needed: 100, found: 99 })
        );
        assert!(matches!(process_quantiles(&[slow], 1.0), Err(StatsError::Parameter { .. })));
    }

    #[test]
    fn inputs_without_an_answer() {
        assert_eq!(log_ratios(&[1.0], &[]), Err(StatsError::Unpaired { left: 1, right: 0 }));
        assert_eq!(log_ratios(&[1.0, 2.0], &[1.0, 0.0]), Err(StatsError::NotPositive { index: 1, value: 0.0 }));
        assert!(matches!(log_ratios(&[f64::INFINITY], &[1.0]), Err(StatsError::NotFinite { index: 0, .. })));
        assert!(matches!(mean_bounds(&[1.0], 0.95), Err(StatsError::TooFew { needed: 2, found: 1, .. })));
        for confidence in [0.5, 1.0, f64::NAN] {
            assert!(matches!(mean_bounds(&[1.0, 2.0], confidence), Err(StatsError::Parameter { .. })));
        }
        for claim in [
            Claim::AtLeast { margin: 0.0 },
            Claim::AtMost { margin: f64::NAN },
            Claim::Within { low: 1.1, high: 0.9 },
            Claim::Within { low: 1.0, high: 1.0 },
        ] {
            assert!(matches!(judge_ratio(&[0.1, 0.2], claim, 0.95), Err(StatsError::Parameter { .. })), "{claim:?}");
        }
        // The logarithms are fine, their bounds as ratios are not.
        assert!(matches!(ratio_bounds(&[-400.0, 400.0], 0.95), Err(StatsError::Overflow { .. })));
        // A ratio of extremes neither over- nor underflows on the way.
        assert!(log_ratios(&[1e300], &[1e-300]).unwrap()[0].is_finite());
    }
}
