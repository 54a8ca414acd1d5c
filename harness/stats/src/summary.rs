//! Describing one sample: mean, spread, quantiles, and the coefficient of variation with its upper bound.

use super::StatsError;
use super::distributions::chi_square_quantile;
use super::error::{check, check_probability, finite};
use serde::{Deserialize, Serialize};

/// One sample, described. All values carry the unit of the sample, except `n` and `cv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of values.
    pub n: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation with n - 1 in the denominator; `None` for a single value.
    pub sd: Option<f64>,
    /// Standard error of the mean of independent values, sd / sqrt(n); `None` for a single value.
    pub standard_error: Option<f64>,
    /// Coefficient of variation, sd / |mean|; `None` for a single value or a mean of zero.
    pub cv: Option<f64>,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Median: the middle value, or the mean of the middle two.
    pub median: f64,
    /// Median absolute deviation from the median, unscaled (times 1.4826 it estimates a normal sd).
    pub mad: f64,
    /// Quantiles by [`quantile`].
    pub quantiles: Quantiles,
}

/// The quantiles that a report shows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// 1 %.
    pub p01: f64,
    /// 5 %.
    pub p05: f64,
    /// 25 %.
    pub p25: f64,
    /// 75 %.
    pub p75: f64,
    /// 95 %.
    pub p95: f64,
    /// 99 %.
    pub p99: f64,
}

/// Describes a sample of at least one value.
///
/// # Errors
/// [`StatsError::TooFew`] for an empty sample, [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn summarize(values: &[f64]) -> Result<Summary, StatsError> {
    check(values, "a summary", 1)?;
    let n = values.len();
    let mean = mean(values)?;
    let sd = if n > 1 { Some(sd(values)?) } else { None };
    let sorted = sorted(values);
    let at = |p| quantile_of_sorted(&sorted, p);
    Ok(Summary {
        n,
        mean,
        sd,
        standard_error: sd.map(|sd| sd / (n as f64).sqrt()),
        cv: sd.map(|sd| sd / mean.abs()).filter(|cv| cv.is_finite()),
        min: sorted[0],
        max: sorted[n - 1],
        median: at(0.5),
        mad: mad(values)?,
        quantiles: Quantiles {
            p01: at(0.01),
            p05: at(0.05),
            p25: at(0.25),
            p75: at(0.75),
            p95: at(0.95),
            p99: at(0.99),
        },
    })
}

/// Arithmetic mean: a first pass, and a second that adds the mean of what the first left over, so that a large common
/// offset costs no digits.
///
/// # Errors
/// [`StatsError::TooFew`] for an empty sample, [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn mean(values: &[f64]) -> Result<f64, StatsError> {
    check(values, "a mean", 1)?;
    finite("the sum of the values", raw_mean(values))
}

/// Standard deviation with n - 1 in the denominator, about the mean of [`mean`], with the rounding of that mean taken
/// out (Chan, Golub and LeVeque, "Algorithms for computing the sample variance", The American Statistician 37, 1983).
///
/// # Errors
/// [`StatsError::TooFew`] below two values, [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn sd(values: &[f64]) -> Result<f64, StatsError> {
    check(values, "a standard deviation", 2)?;
    finite("the sum of squares", raw_sd(values))
}

/// The `p` quantile, by linear interpolation at position (n - 1) p: type 7 of Hyndman and Fan, "Sample quantiles in
/// statistical packages", The American Statistician 50 (1996), the default of R and NumPy.
///
/// # Errors
/// [`StatsError::Parameter`] unless 0 <= `p` <= 1; [`StatsError::TooFew`], [`StatsError::NotFinite`].
pub fn quantile(values: &[f64], p: f64) -> Result<f64, StatsError> {
    check(values, "a quantile", 1)?;
    if !(0.0..=1.0).contains(&p) {
        return Err(StatsError::Parameter { name: "the quantile", value: p, range: "from 0 to 1" });
    }
    Ok(quantile_of_sorted(&sorted(values), p))
}

/// The median.
///
/// # Errors
/// [`StatsError::TooFew`] for an empty sample, [`StatsError::NotFinite`].
pub fn median(values: &[f64]) -> Result<f64, StatsError> {
    quantile(values, 0.5)
}

/// Median absolute deviation from the median, unscaled.
///
/// # Errors
/// [`StatsError::TooFew`] for an empty sample, [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn mad(values: &[f64]) -> Result<f64, StatsError> {
    let centre = median(values)?;
    let deviations: Vec<f64> = values.iter().map(|value| (value - centre).abs()).collect();
    finite("a deviation from the median", raw_median(&mut deviations.clone()))
}

/// The coefficient of variation of a sample, and a bound that the true one stays below.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CvBound {
    /// Number of values.
    pub n: usize,
    /// sd / |mean| of the sample.
    pub cv: f64,
    /// One-sided confidence of `upper`.
    pub confidence: f64,
    /// Upper confidence bound of the true coefficient; `None` where the data set no bound (few values, wide spread).
    pub upper: Option<f64>,
}

/// Upper confidence bound of the coefficient of variation of normal values with a mean above zero.
///
/// The modified McKay bound of Vangel, "Confidence intervals for a normal coefficient of variation", The American
/// Statistician 50 (1996) 21-26: with K the sample's coefficient, v = n - 1 and u the (1 - confidence) quantile of
/// chi-square with v degrees of freedom, K / sqrt(((u + 2) / n - 1) K^2 + u / v). It is accurate for coefficients up to
/// about one third; where the expression under the root is not positive there is no bound.
///
/// # Errors
/// [`StatsError::TooFew`] below two values, [`StatsError::NotPositive`] for a value at or below zero,
/// [`StatsError::NotFinite`], [`StatsError::Overflow`], [`StatsError::Parameter`] for the confidence.
pub fn cv_upper_bound(values: &[f64], confidence: f64) -> Result<CvBound, StatsError> {
    check(values, "a bound of the coefficient of variation", 2)?;
    check_probability("the confidence", confidence)?;
    if let Some(index) = values.iter().position(|&value| value <= 0.0) {
        return Err(StatsError::NotPositive { index, value: values[index] });
    }
    let n = values.len();
    let cv = finite("the coefficient of variation", sd(values)? / mean(values)?)?;
    Ok(CvBound { n, cv, confidence, upper: modified_mckay(cv, n, 1.0 - confidence) })
}

/// The modified McKay bound at the lower-tail probability `tail` of chi-square.
fn modified_mckay(cv: f64, n: usize, tail: f64) -> Option<f64> {
    let n = n as f64;
    let u = chi_square_quantile(tail, n - 1.0);
    let under_root = ((u + 2.0) / n - 1.0) * cv * cv + u / (n - 1.0);
    (under_root > 0.0).then(|| cv / under_root.sqrt())
}

/// The mean of one or more finite values, without the checks. Infinite if the sum overflows.
pub(crate) fn raw_mean(values: &[f64]) -> f64 {
    if are_equal(values) {
        return values[0];
    }
    let n = values.len() as f64;
    let first = values.iter().sum::<f64>() / n;
    first + values.iter().map(|value| value - first).sum::<f64>() / n
}

/// The standard deviation of two or more finite values, without the checks. Exactly zero for equal values.
pub(crate) fn raw_sd(values: &[f64]) -> f64 {
    if are_equal(values) {
        return 0.0;
    }
    let n = values.len() as f64;
    let mean = raw_mean(values);
    let (mut squares, mut left_over) = (0.0, 0.0);
    for value in values {
        let deviation = value - mean;
        squares += deviation * deviation;
        left_over += deviation;
    }
    ((squares - left_over * left_over / n).max(0.0) / (n - 1.0)).sqrt()
}

/// Whether all values are one and the same. Asked before summing, because the mean of equal values may come out one
/// rounding off, and "no spread" must be exact.
#[expect(clippy::float_cmp, reason = "equal to the last bit is the question")]
fn are_equal(values: &[f64]) -> bool {
    values.iter().all(|&value| value == values[0])
}

/// The median of finite values, without the checks; reorders them.
pub(crate) fn raw_median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    quantile_of_sorted(values, 0.5)
}

/// A sorted copy.
pub(crate) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// Type-7 quantile of sorted, finite, non-empty values.
pub(crate) fn quantile_of_sorted(sorted: &[f64], p: f64) -> f64 {
    let position = (sorted.len() - 1) as f64 * p;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let fraction = position - below as f64;
    if fraction == 0.0 {
        return sorted[below];
    }
    // Weighted rather than stepped from `below`, so that the span of the two cannot overflow.
    sorted[below] * (1.0 - fraction) + sorted[above] * fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::{LEW, MAVRO, MICHELSON};
    use crate::testing::assert_printed;

    /// Digits that agree with a certified value, as NIST scores them.
    fn digits(found: f64, certified: f64) -> f64 {
        -((found - certified).abs() / certified.abs()).max(1e-16).log10()
    }

    #[test]
    fn certified_means_and_deviations() {
        // NIST StRD, univariate summary statistics; fifteen certified digits.
        for (values, certified_mean, certified_sd) in [
            (LEW, -177.435, 277.332_168_044_316),
            (MICHELSON, 299.8524, 0.079_010_547_819_051_8),
            (MAVRO, 2.001_856, 0.000_429_123_454_003_053),
        ] {
            assert!(digits(mean(values).unwrap(), certified_mean) > 14.5);
            assert!(digits(sd(values).unwrap(), certified_sd) > 12.5);
        }
    }

    /// NIST's constructed sets: a first value and 500 pairs a tenth below and above it.
    fn constructed(centre: f64, below: f64, above: f64) -> Vec<f64> {
        let mut values = vec![centre];
        (0..500).for_each(|_| values.extend([below, above]));
        values
    }

    #[test]
    fn constructed_sets_that_break_naive_sums() {
        // NIST StRD NumAcc1 to NumAcc4; the limit is the rounding of the data themselves.
        let sets = [
            (vec![10_000_001.0, 10_000_003.0, 10_000_002.0], 10_000_002.0, 1.0, 14.0),
            (constructed(1.2, 1.1, 1.3), 1.2, 0.1, 14.0),
            (constructed(1_000_000.2, 1_000_000.1, 1_000_000.3), 1_000_000.2, 0.1, 9.0),
            (constructed(10_000_000.2, 10_000_000.1, 10_000_000.3), 10_000_000.2, 0.1, 8.0),
        ];
        for (values, certified_mean, certified_sd, least) in sets {
            assert!(digits(mean(&values).unwrap(), certified_mean) > 14.5);
            assert!(digits(sd(&values).unwrap(), certified_sd) > least, "{}", sd(&values).unwrap());
        }
    }

    #[test]
    fn quantiles_are_of_type_seven() {
        // R: quantile(c(1, 2, 3, 4, 10), c(.1, .25, .5, .9)) prints 1.4 2.0 3.0 7.6; the type-7 positions are 0.4, 1, 2, 3.6.
        let values = [10.0, 3.0, 1.0, 4.0, 2.0];
        for (p, printed) in [(0.1, "1.4"), (0.25, "2.0"), (0.5, "3.0"), (0.9, "7.6"), (0.0, "1"), (1.0, "10")] {
            assert_printed(quantile(&values, p).unwrap(), printed);
        }
    }

    #[test]
    fn mad_of_the_manual() {
        // R's help of mad: mad(c(1:9)) is 2.965204, which is 1.4826 times the unscaled deviation.
        let values: Vec<f64> = (1..=9).map(f64::from).collect();
        assert_printed(1.4826 * mad(&values).unwrap(), "2.9652");
    }

    #[test]
    fn upper_bound_of_the_coefficient_of_variation() {
        // Vangel's formula in R code by K. Wright, printed on forum.bebac.at for these tensile data: coefficient
        // 0.05263158, modified McKay interval 0.03617573 to 0.09632067 at a two-sided 95 %.
        let values = [3.8, 3.9, 3.9, 3.8, 4.1, 4.0, 3.4, 3.6, 3.8, 3.7];
        let bound = cv_upper_bound(&values, 0.975).unwrap();
        assert_printed(bound.cv, "0.05263158");
        assert_printed(bound.upper.unwrap(), "0.09632067");
        let lower = cv_upper_bound(&values, 0.025).unwrap();
        assert_printed(lower.upper.unwrap(), "0.03617573");
    }

    #[test]
    fn a_wide_small_sample_has_no_upper_bound() {
        let bound = cv_upper_bound(&[0.1, 0.1, 0.1, 0.1, 9.0], 0.95).unwrap();
        assert_eq!(bound.upper, None);
    }

    #[test]
    fn degenerate_samples() {
        assert_eq!(summarize(&[]), Err(StatsError::TooFew { what: "a summary", needed: 1, found: 0 }));
        let one = summarize(&[4.0]).unwrap();
        assert_eq!((one.n, one.mean, one.sd, one.cv, one.median, one.mad), (1, 4.0, None, None, 4.0, 0.0));
        // Equal values have their own mean and a deviation of exactly zero, whatever rounding their sum meets.
        for value in [0.1, 1.0 / 3.0, 1e-300, 12_345.678_9] {
            for n in 2..60 {
                let equal = summarize(&vec![value; n]).unwrap();
                assert_eq!((equal.mean, equal.sd, equal.cv), (value, Some(0.0), Some(0.0)));
            }
        }
        let centred = summarize(&[-1.0, 1.0]).unwrap();
        assert_eq!(centred.cv, None);
        assert_eq!(mean(&[f64::MAX, f64::MAX, 0.0]), Err(StatsError::Overflow { what: "the sum of the values" }));
        assert_eq!(sd(&[1e200, -1e200]), Err(StatsError::Overflow { what: "the sum of squares" }));
        assert_eq!(cv_upper_bound(&[1.0, 0.0], 0.95), Err(StatsError::NotPositive { index: 1, value: 0.0 }));
        assert!(matches!(summarize(&[1.0, f64::NAN]), Err(StatsError::NotFinite { index: 1, .. })));
    }
}
