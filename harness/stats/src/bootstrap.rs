//! Bootstrap intervals, for display beside the deciding t bounds.
//!
//! Resample the n values with replacement, compute the statistic each time, and read an interval off the resampled
//! statistics, in four ways:
//!
//! - **percentile**: their alpha/2 and 1 - alpha/2 quantiles. Too short for few values: at ten, a nominal 95 % covers
//!   about 90 %.
//! - **expanded percentile**: the same at a wider level, alpha'/2 = Phi(-sqrt(n / (n - 1)) t[1 - alpha/2, n - 1]), which
//!   gives a mean the length of its t interval (Hesterberg, "What teachers should know about the bootstrap", The American
//!   Statistician 69, 2015, 371-386).
//! - **bootstrap-t**: quantiles of (resampled - observed) / (its own standard error), turned around (Efron and Tibshirani,
//!   *An Introduction to the Bootstrap*, 1993, chapter 12). The best of the four for means of few values.
//! - **BCa**: the percentile interval at levels corrected for median bias and for a standard error that moves with the
//!   statistic (Efron, "Better bootstrap confidence intervals", Journal of the American Statistical Association 82, 1987,
//!   171-185).
//!
//! A quantile of B resampled statistics is their (B + 1) p-th smallest, interpolated, and never beyond the outermost.

use super::StatsError;
use super::distributions::{normal_cdf, normal_quantile, t_quantile};
use super::error::{check, check_probability, finite};
use super::rng::Rng;
use super::summary::{quantile_of_sorted, raw_mean, raw_sd};
use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;

/// The statistic whose interval is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Arithmetic mean.
    #[default]
    Mean,
    /// Median.
    Median,
    /// Standard deviation, n - 1 in the denominator.
    Sd,
}

/// How to resample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// The statistic.
    pub statistic: Statistic,
    /// Two-sided confidence of the intervals.
    pub confidence: f64,
    /// Number of resamples, B. One less than a round number makes the usual quantiles fall on a resample.
    pub resamples: usize,
    /// Seed of the resampling.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { statistic: Statistic::Mean, confidence: 0.95, resamples: 9_999, seed: 1 }
    }
}

/// An interval, in the unit of the sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// The bootstrap's answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// How the values were resampled.
    pub options: Options,
    /// Number of values.
    pub n: usize,
    /// The statistic of the sample itself.
    pub estimate: f64,
    /// Standard deviation of the resampled statistics.
    pub standard_error: f64,
    /// Mean of the resampled statistics less the estimate.
    pub bias: f64,
    /// Percentile interval.
    pub percentile: Interval,
    /// Percentile interval with the small-sample expansion.
    pub expanded_percentile: Interval,
    /// Bootstrap-t interval; `None` where so many resamples have no spread that an end is unbounded.
    pub bootstrap_t: Option<Interval>,
    /// BCa interval; `None` where the corrections leave no level to read (the estimate beyond all resamples).
    pub bca: Option<Interval>,
}

/// Resamples and computes all four intervals.
///
/// # Errors
/// [`StatsError::TooFew`] below two values or a hundred resamples, [`StatsError::NotFinite`], [`StatsError::Overflow`],
/// [`StatsError::Parameter`] unless 0 < confidence < 1.
pub fn bootstrap(values: &[f64], options: Options) -> Result<Bootstrap, StatsError> {
    check(values, "a bootstrap", 2)?;
    check_probability("the confidence", options.confidence)?;
    if options.resamples < 100 {
        return Err(StatsError::TooFew { what: "a bootstrap's resampling", needed: 100, found: options.resamples });
    }
    let n = values.len();
    let estimator = Estimator::new(options.statistic, n);
    let (estimate, own_error) = estimator.estimate(&mut values.to_vec());
    finite("the statistic", estimate)?;
    finite("the standard error", own_error)?;

    let mut rng = Rng::new(options.seed);
    let mut resample = vec![0.0; n];
    let (mut replicates, mut pivots) = (Vec::with_capacity(options.resamples), Vec::with_capacity(options.resamples));
    for _ in 0..options.resamples {
        resample.fill_with(|| values[rng.index(n)]);
        let (replicate, error) = estimator.estimate(&mut resample);
        replicates.push(replicate);
        let deviation = replicate - estimate;
        // A resample without spread lies infinitely many of its own standard errors away, unless it hit the estimate.
        pivots.push(if deviation == 0.0 { 0.0 } else { deviation / error });
    }
    replicates.sort_unstable_by(f64::total_cmp);
    pivots.sort_unstable_by(f64::total_cmp);

    let tail = (1.0 - options.confidence) / 2.0;
    let between = |lower: f64, upper: f64| Interval {
        lower: order_quantile(&replicates, lower),
        upper: order_quantile(&replicates, upper),
    };
    let expanded = expanded_tail(tail, n);
    let mean = raw_mean(&replicates);
    Ok(Bootstrap {
        options,
        n,
        estimate,
        standard_error: finite("the standard error", raw_sd(&replicates))?,
        bias: finite("the bias", mean - estimate)?,
        percentile: between(tail, 1.0 - tail),
        expanded_percentile: between(expanded, 1.0 - expanded),
        bootstrap_t: bootstrap_t(&pivots, estimate, own_error, tail),
        bca: bca_levels(&replicates, estimate, acceleration(values, &estimator), tail)
            .map(|(lower, upper)| between(lower, upper)),
    })
}

/// The expanded tail probability of Hesterberg for n values.
fn expanded_tail(tail: f64, n: usize) -> f64 {
    let n = n as f64;
    normal_cdf((n / (n - 1.0)).sqrt() * t_quantile(tail, n - 1.0))
}

fn bootstrap_t(pivots: &[f64], estimate: f64, own_error: f64, tail: f64) -> Option<Interval> {
    let lower = estimate - order_quantile(pivots, 1.0 - tail) * own_error;
    let upper = estimate - order_quantile(pivots, tail) * own_error;
    (lower.is_finite() && upper.is_finite()).then_some(Interval { lower, upper })
}

/// The two levels at which BCa reads the sorted replicates.
fn bca_levels(replicates: &[f64], estimate: f64, acceleration: f64, tail: f64) -> Option<(f64, f64)> {
    let below = replicates.partition_point(|&replicate| replicate < estimate);
    let not_above = replicates.partition_point(|&replicate| replicate <= estimate);
    // Replicates that hit the estimate count half; a median of few values hits it often.
    let share = (below + not_above) as f64 / (2 * replicates.len()) as f64;
    if share <= 0.0 || share >= 1.0 {
        return None;
    }
    let bias = normal_quantile(share);
    let level = |z: f64| {
        let shifted = bias + z;
        let shrink = 1.0 - acceleration * shifted;
        (shrink > 0.0).then(|| normal_cdf(bias + shifted / shrink))
    };
    let z = normal_quantile(tail);
    Some((level(z)?, level(-z)?))
}

/// The acceleration of BCa from the jackknife: sum of cubes over six times the sum of squares to the 3/2, of the
/// deviations of the leave-one-out statistics from their mean. Zero where they do not vary.
fn acceleration(values: &[f64], estimator: &Estimator) -> f64 {
    if values.len() < 3 {
        return 0.0;
    }
    let jackknife: Vec<f64> = (0..values.len())
        .map(|left_out| {
            let mut rest: Vec<f64> = [&values[..left_out], &values[left_out + 1..]].concat();
            estimator.statistic(&mut rest)
        })
        .collect();
    let mean = raw_mean(&jackknife);
    // Scaled by the largest deviation, so that neither power under- or overflows.
    let scale = jackknife.iter().map(|value| (mean - value).abs()).fold(0.0, f64::max);
    if scale == 0.0 {
        return 0.0;
    }
    let (mut squares, mut cubes) = (0.0, 0.0);
    for value in &jackknife {
        let deviation = (mean - value) / scale;
        squares += deviation * deviation;
        cubes += deviation * deviation * deviation;
    }
    cubes / (6.0 * squares.powf(1.5))
}

/// The (B + 1) p-th smallest of B sorted values, interpolated, and never beyond the outermost.
#[expect(clippy::float_cmp, reason = "equal neighbours, infinite ones among them, must not be interpolated")]
fn order_quantile(sorted: &[f64], p: f64) -> f64 {
    let last = sorted.len() - 1;
    let position = ((sorted.len() + 1) as f64 * p - 1.0).clamp(0.0, last as f64);
    let below = position.floor() as usize;
    let fraction = position - below as f64;
    if fraction < 1e-9 || below == last || sorted[below] == sorted[below + 1] {
        return sorted[below];
    }
    if fraction > 1.0 - 1e-9 {
        return sorted[below + 1];
    }
    sorted[below] * (1.0 - fraction) + sorted[below + 1] * fraction
}

/// A statistic and its standard error, both from one sample.
struct Estimator {
    statistic: Statistic,
    /// Weights of the order statistics in the standard error of a median.
    median_weights: Vec<f64>,
}

impl Estimator {
    fn new(statistic: Statistic, n: usize) -> Self {
        let median_weights = if statistic == Statistic::Median { median_weights(n) } else { Vec::new() };
        Self { statistic, median_weights }
    }

    /// The statistic of a sample, which is reordered.
    fn statistic(&self, sample: &mut [f64]) -> f64 {
        match self.statistic {
            Statistic::Mean => raw_mean(sample),
            Statistic::Sd => raw_sd(sample),
            Statistic::Median => {
                sample.sort_unstable_by(f64::total_cmp);
                quantile_of_sorted(sample, 0.5)
            }
        }
    }

    /// The statistic of a sample of the size that this was made for, and its standard error; the sample is reordered.
    fn estimate(&self, sample: &mut [f64]) -> (f64, f64) {
        let n = sample.len() as f64;
        let estimate = self.statistic(sample);
        let error = match self.statistic {
            Statistic::Mean => raw_sd(sample) / n.sqrt(),
            Statistic::Sd => sd_error(sample, estimate),
            Statistic::Median => {
                let moment = |power: i32| -> f64 {
                    // Measured from the median, so that a large common offset costs no digits.
                    sample.iter().zip(&self.median_weights).map(|(x, w)| w * (x - estimate).powi(power)).sum()
                };
                (moment(2) - moment(1).powi(2)).max(0.0).sqrt()
            }
        };
        (estimate, error)
    }
}

/// The standard error of a standard deviation s by the delta method, sqrt((m4 - s^4 (n - 3) / (n - 1)) / n) / (2 s), with
/// m4 the mean fourth power of the deviations. Zero without spread.
fn sd_error(sample: &[f64], sd: f64) -> f64 {
    if sd == 0.0 {
        return 0.0;
    }
    let n = sample.len() as f64;
    let mean = raw_mean(sample);
    let fourth = sample.iter().map(|x| ((x - mean) / sd).powi(4)).sum::<f64>() / n;
    // Never negative: the mean fourth power is at least the square of the mean second power.
    sd * ((fourth - (n - 3.0) / (n - 1.0)) / n).max(0.0).sqrt() / 2.0
}

/// The probability that the median of a resample of n is the i-th smallest of the sample, which makes the bootstrap
/// variance of a median a weighted sum (Maritz and Jarrett, "A note on estimating the variance of the sample median",
/// Journal of the American Statistical Association 73, 1978, 194-196): exact for odd n; for even n the same beta
/// distribution with its parameters halfway.
fn median_weights(n: usize) -> Vec<f64> {
    let shape = f64::midpoint(n as f64, 1.0);
    let cumulative = |i: usize| beta_reg(shape, shape, i as f64 / n as f64);
    (1..=n).map(|i| cumulative(i) - cumulative(i - 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::{MICE_CONTROL, MICE_TREATED, SPATIAL_A};
    use crate::testing::{assert_close, assert_printed};

    fn options(statistic: Statistic, confidence: f64, resamples: usize) -> Options {
        Options { statistic, confidence, resamples, seed: 1 }
    }

    #[test]
    fn standard_errors_of_the_mice() {
        // Efron and Tibshirani 1993, table 2.1: the bootstrap standard error of the treated mice's mean tends to 23.36
        // and that of their median to 37.83; 20,000 resamples leave half a per cent.
        let mean = bootstrap(MICE_TREATED, options(Statistic::Mean, 0.9, 19_999)).unwrap();
        assert_close(mean.standard_error, 23.36, 0.02);
        let median = bootstrap(MICE_TREATED, options(Statistic::Median, 0.9, 19_999)).unwrap();
        assert_close(median.standard_error, 37.83, 0.02);
        assert_close(median.estimate, 94.0, 1e-15);
    }

    #[test]
    fn the_closed_form_of_the_medians_error() {
        // The same 37.83 without resampling (odd number of values: Maritz and Jarrett are exact).
        let estimator = Estimator::new(Statistic::Median, MICE_TREATED.len());
        assert_printed(estimator.estimate(&mut MICE_TREATED.to_vec()).1, "37.83");
    }

    #[test]
    fn bootstrap_t_of_the_control_mice() {
        // Efron and Tibshirani 1993, section 12.5: 90 % bootstrap-t interval (35.82, 116.74) from B = 1000, whose
        // Monte-Carlo error at the long upper end is several units.
        let found = bootstrap(MICE_CONTROL, options(Statistic::Mean, 0.9, 19_999)).unwrap();
        let interval = found.bootstrap_t.unwrap();
        assert!((interval.lower - 35.82).abs() < 1.0, "{interval:?}");
        assert!((interval.upper - 116.74).abs() < 5.0, "{interval:?}");
    }

    #[test]
    fn percentile_and_bca_of_the_spatial_test() {
        // Efron and Tibshirani 1993, table 14.2: 90 % intervals of the variance (divisor n) from B = 2000, percentile
        // (100.8, 233.9) and BCa (115.8, 259.6); both kinds transform with the statistic.
        let found = bootstrap(SPATIAL_A, options(Statistic::Sd, 0.9, 19_999)).unwrap();
        let variance = |sd: f64| sd * sd * 25.0 / 26.0;
        assert_printed(variance(found.estimate), "171.5");
        assert_close(variance(found.percentile.lower), 100.8, 0.05);
        assert_close(variance(found.percentile.upper), 233.9, 0.05);
        let bca = found.bca.unwrap();
        assert_close(variance(bca.lower), 115.8, 0.05);
        assert_close(variance(bca.upper), 259.6, 0.05);
    }

    #[test]
    fn acceleration_of_the_spatial_test() {
        // Efron and Tibshirani 1993, section 14.3: acceleration 0.061 for the variance.
        let estimator = Estimator::new(Statistic::Sd, SPATIAL_A.len());
        // The acceleration of a statistic and of its square agree to first order.
        assert_close(acceleration(SPATIAL_A, &estimator), 0.061, 0.05);
        assert_close(acceleration(&[1.0, 2.0, 3.0, 4.0], &Estimator::new(Statistic::Mean, 4)) + 1.0, 1.0, 1e-12);
    }

    #[test]
    fn the_expansion_gives_a_mean_its_t_interval() {
        // By its definition, z(alpha'/2) / sqrt(n) with divisor n equals t(alpha/2) / sqrt(n) with divisor n - 1.
        for n in [3, 5, 10, 40] {
            let z = normal_quantile(expanded_tail(0.025, n));
            let t = t_quantile(0.025, n as f64 - 1.0);
            assert_close(z * ((n as f64 - 1.0) / n as f64).sqrt(), t, 1e-9);
        }
        assert!((expanded_tail(0.025, 1_000_000) - 0.025).abs() < 1e-6);
    }

    #[test]
    fn a_seed_is_a_result() {
        let with = |seed| bootstrap(MICE_CONTROL, Options { seed, resamples: 999, ..Options::default() }).unwrap();
        assert_eq!(with(5), with(5));
        assert_ne!(with(5).percentile, with(6).percentile);
        let text = serde_json::to_string(&with(5)).unwrap();
        assert!(!text.contains("null"), "{text}");
    }

    #[test]
    fn order_quantiles() {
        let nine: Vec<f64> = (1..=9).map(f64::from).collect();
        assert_close(order_quantile(&nine, 0.1), 1.0, 1e-12);
        assert_close(order_quantile(&nine, 0.25), 2.5, 1e-12);
        assert_close(order_quantile(&nine, 0.001), 1.0, 1e-12);
        assert_close(order_quantile(&nine, 0.999), 9.0, 1e-12);
        let infinite = [f64::NEG_INFINITY, f64::NEG_INFINITY, 0.0];
        assert!(order_quantile(&infinite, 0.3) < f64::MIN);
    }

    #[test]
    fn two_values_leave_the_bootstrap_t_unbounded() {
        let found = bootstrap(&[1.0, 2.0], Options::default()).unwrap();
        assert_eq!(found.bootstrap_t, None);
        assert_eq!(found.percentile, Interval { lower: 1.0, upper: 2.0 });
    }

    #[test]
    fn without_spread_every_interval_is_a_point() {
        for statistic in [Statistic::Mean, Statistic::Median] {
            let found = bootstrap(&[3.0; 5], Options { statistic, ..Options::default() }).unwrap();
            let point = Interval { lower: 3.0, upper: 3.0 };
            assert_eq!((found.percentile, found.expanded_percentile), (point, point));
            assert_eq!((found.bootstrap_t, found.bca), (Some(point), Some(point)));
            assert_eq!((found.standard_error, found.bias), (0.0, 0.0));
        }
    }

    #[test]
    fn inputs_without_an_answer() {
        assert!(matches!(bootstrap(&[1.0], Options::default()), Err(StatsError::TooFew { .. })));
        let few = Options { resamples: 99, ..Options::default() };
        assert!(matches!(bootstrap(&[1.0, 2.0], few), Err(StatsError::TooFew { needed: 100, .. })));
        let sure = Options { confidence: 1.0, ..Options::default() };
        assert!(matches!(bootstrap(&[1.0, 2.0], sure), Err(StatsError::Parameter { .. })));
        assert!(matches!(bootstrap(&[1.0, f64::NAN], Options::default()), Err(StatsError::NotFinite { .. })));
    }
}
