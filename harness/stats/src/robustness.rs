//! Whatever finite numbers go in, no function panics, and no result holds a NaN or an infinity.
//!
//! JSON has neither, so a result that survives the way to JSON and back unchanged has neither: both are written as null,
//! which reads back as an error, or as `None` where `Some` was written.

use super::bootstrap::{Options, Statistic, bootstrap};
use super::diagnostics::{change, serial, shape};
use super::paired::{Claim, judge, judge_ratio, log_ratios};
use super::rng::Rng;
use super::testing::normal;
use super::ttest::{Alternative, one_sample, welch};
use super::{StatsError, effect, power, rank, shapley, sign_flip, summary, variance};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Samples that break careless arithmetic, then random ones.
fn samples() -> Vec<Vec<f64>> {
    let mut samples = vec![
        vec![],
        vec![0.0],
        vec![-0.0, 0.0],
        vec![1.0; 5],
        vec![0.1; 9],
        vec![f64::MAX; 3],
        vec![f64::MAX, f64::MIN],
        vec![f64::MAX, 1.0, 1.0],
        vec![f64::MIN_POSITIVE; 4],
        vec![5e-324, 1e-323, 5e-324],
        vec![1e-200, 2e-200, 3e-200, 4e-200],
        vec![1e200, 2e200, 3e200, 4e200],
        vec![1e16, 1e16 + 2.0, 1e16 + 4.0, 1e16],
        vec![1.0, 1.0 + f64::EPSILON, 1.0, 1.0, 1.0],
        vec![0.0, 0.0, 0.0, 0.0, 1e-300],
        vec![1.0, 1.0, 1.0, 1.0, 1e300],
        vec![700.0, -700.0, 700.0, -700.0],
        vec![1.0, 2.0, 3.0, 4.0, f64::NAN],
        vec![1.0, f64::INFINITY, 2.0, 3.0],
    ];
    let mut rng = Rng::new(53);
    for n in 2..24 {
        let scale = 10f64.powi(4 * n - 40);
        samples.push((0..n).map(|_| scale * normal(&mut rng)).collect());
        samples.push((0..n).map(|_| scale * normal(&mut rng).abs().round()).collect());
    }
    samples
}

#[track_caller]
fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(result: Result<T, StatsError>, input: &[f64]) {
    if let Ok(value) = result {
        let text = serde_json::to_string(&value).unwrap();
        let back: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {value:?} of {input:?}"));
        assert_eq!(back, value, "of {input:?}");
    }
}

#[test]
fn one_sample_statistics() {
    for x in samples() {
        check(summary::summarize(&x), &x);
        check(summary::cv_upper_bound(&x, 0.95), &x);
        check(one_sample(&x, 0.5, Alternative::TwoSided), &x);
        check(sign_flip::sign_flip(&x, 0.5, 1), &x);
        check(effect::cohens_d(&x), &x);
        check(effect::cohens_d_bounds(&x, 0.95), &x);
        check(serial::autocorrelation(&x, 1), &x);
        check(serial::drift(&x), &x);
        check(shape::stalls(&x, shape::STALL_FACTOR), &x);
        check(shape::dip(&x, 1), &x);
        check(change::change_point(&[&x, &x], 1), &x);
        check(variance::components(&[&x, &x[..x.len() / 2]], 0.95), &x);
        for claim in
            [Claim::AtLeast { margin: 1.0 }, Claim::AtMost { margin: 1.0 }, Claim::Within { low: 0.5, high: 2.0 }]
        {
            check(judge(&x, claim, 0.95), &x);
            check(judge_ratio(&x, claim, 0.95), &x);
        }
        for statistic in [Statistic::Mean, Statistic::Median, Statistic::Sd] {
            check(bootstrap(&x, Options { statistic, resamples: 199, ..Options::default() }), &x);
        }
        let combinations: Vec<Option<f64>> = x.iter().copied().map(Some).collect();
        check(shapley::attribute(&combinations), &x);
    }
}

#[test]
fn two_sample_statistics() {
    let samples = samples();
    for x in &samples {
        for y in &samples {
            check(welch(x, y, Alternative::Greater), x);
            check(rank::mann_whitney(x, y), x);
            check(effect::cohens_d_independent(x, y), x);
            check(log_ratios(x, y), x);
            check(serial::line(x, y), x);
        }
    }
}

#[test]
fn power_over_its_whole_range() {
    for sd in [1e-300, 1e-9, 1.0, 1e9, 1e300] {
        for confidence in [0.500_001, 0.95, 0.999_999_9] {
            for pairs in [2, 3, 16, 1000] {
                for wanted in [0.01, 0.8, 0.999] {
                    check(power::detectable_effect(sd, pairs, confidence, wanted), &[sd]);
                }
                for effect in [-1e300, -1.0, 0.0, 1e-9, 1.0, 1e300] {
                    check(power::power(effect, sd, pairs, confidence), &[effect, sd]);
                    check(power::pairs_needed(effect, sd, 0.1, confidence, 0.8), &[effect, sd]);
                }
            }
        }
    }
}
