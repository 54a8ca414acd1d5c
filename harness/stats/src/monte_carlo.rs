//! Monte-Carlo checks of what the statistics promise: error rates at the margin and coverage of intervals.
//!
//! Seeds are fixed, so these either pass or fail for good; the tolerances are four standard errors, so that they would
//! pass with nearly any seed.

use super::bootstrap::{Interval, Options, Statistic, bootstrap};
use super::looks::{Spending, schedule};
use super::paired::{Claim, Decision, judge, judge_ratio, mean_bounds};
use super::power::{detectable_effect, pairs_needed};
use super::rng::Rng;
use super::summary::cv_upper_bound;
use super::testing::{binomial_error, normal};

/// Symmetric, light-tailed noise of standard deviation one.
#[derive(Clone, Copy, Debug)]
enum Noise {
    Normal,
    Uniform,
    /// The sum of two uniforms.
    Triangular,
}

impl Noise {
    fn draw(self, rng: &mut Rng) -> f64 {
        let mut centred = || rng.uniform() - 0.5;
        match self {
            Self::Uniform => centred() * 12f64.sqrt(),
            Self::Triangular => (centred() + centred()) * 6f64.sqrt(),
            Self::Normal => normal(rng),
        }
    }
}

fn share(runs: usize, mut happens: impl FnMut() -> bool) -> f64 {
    (0..runs).filter(|_| happens()).count() as f64 / runs as f64
}

#[test]
fn false_passes_at_the_margin_keep_to_the_level() {
    const RUNS: usize = 20_000;
    let limit = 0.05 + 4.0 * binomial_error(0.05, RUNS);
    for noise in [Noise::Normal, Noise::Triangular, Noise::Uniform] {
        for pairs in [6, 10] {
            let mut rng = Rng::new(17);
            let margin = 1.25f64;
            let passed = share(RUNS, || {
                let y: Vec<f64> = (0..pairs).map(|_| margin.ln() + 0.02 * noise.draw(&mut rng)).collect();
                judge_ratio(&y, Claim::AtLeast { margin }, 0.95).unwrap().decision == Decision::Pass
            });
            assert!(passed <= limit, "{noise:?}, {pairs} pairs: {passed}");
            // For normal noise the test is exact, so the rate must not lie far below the level either.
            assert!(passed >= 0.05 - 4.0 * binomial_error(0.05, RUNS) || !matches!(noise, Noise::Normal));
        }
    }
}

#[test]
fn false_passes_over_declared_looks_keep_to_the_level() {
    const RUNS: usize = 10_000;
    for spending in [Spending::Bonferroni, Spending::Pocock, Spending::ObrienFleming] {
        let looks = schedule(&[6, 10, 16], 0.95, spending).unwrap();
        let mut rng = Rng::new(23);
        let mut stop = |claim: Claim, wanted: Decision| {
            let values: Vec<f64> = (0..16).map(|_| normal(&mut rng)).collect();
            let decisions =
                looks.iter().map(|look| judge(&values[..look.blocks], claim, look.confidence).unwrap().decision);
            // A run stops at the first look that decides.
            decisions.into_iter().find(|decision| *decision != Decision::Inconclusive) == Some(wanted)
        };
        let passed = share(RUNS, || stop(Claim::AtLeast { margin: 0.0 }, Decision::Pass));
        let failed = share(RUNS, || stop(Claim::AtMost { margin: 0.0 }, Decision::Fail));
        let limit = 0.05 + 4.0 * binomial_error(0.05, RUNS);
        assert!(passed <= limit && failed <= limit, "{spending:?}: {passed} {failed}");
        // The union bound costs something, but not everything.
        assert!(passed >= 0.02, "{spending:?}: {passed}");
    }
}

#[test]
fn looking_after_every_pair_does_not_keep_to_the_level() {
    // What declared looks are there to prevent; about 21 % with looks from the fifth to the thirtieth pair.
    let mut rng = Rng::new(29);
    let passed = share(2_000, || {
        let values: Vec<f64> = (0..30).map(|_| normal(&mut rng)).collect();
        (5..=30).any(|n| mean_bounds(&values[..n], 0.95).unwrap().lower >= 0.0)
    });
    assert!(passed > 0.15, "{passed}");
}

#[test]
fn equivalence_outside_its_zone_keeps_to_the_level() {
    const RUNS: usize = 10_000;
    let mut rng = Rng::new(31);
    let zone = Claim::Within { low: -1.0, high: 1.0 };
    let passed = share(RUNS, || {
        let values: Vec<f64> = (0..8).map(|_| 1.0 + 0.5 * normal(&mut rng)).collect();
        judge(&values, zone, 0.95).unwrap().decision == Decision::Pass
    });
    assert!(passed <= 0.05 + 4.0 * binomial_error(0.05, RUNS), "{passed}");
}

#[test]
fn the_detectable_effect_is_detected_as_often_as_promised() {
    const RUNS: usize = 10_000;
    let effect = detectable_effect(1.0, 10, 0.95, 0.8).unwrap().effect;
    let mut rng = Rng::new(37);
    let passed = share(RUNS, || {
        let values: Vec<f64> = (0..10).map(|_| effect + normal(&mut rng)).collect();
        judge(&values, Claim::AtLeast { margin: 0.0 }, 0.95).unwrap().decision == Decision::Pass
    });
    assert!((passed - 0.8).abs() <= 4.0 * binomial_error(0.8, RUNS), "{passed}");
}

#[test]
fn the_pairs_that_would_decide_do() {
    const RUNS: usize = 5_000;
    let pairs = pairs_needed(0.4, 1.0, 0.0, 0.95, 0.9).unwrap().pairs.unwrap();
    let mut rng = Rng::new(41);
    let passed = share(RUNS, || {
        let values: Vec<f64> = (0..pairs).map(|_| 0.4 + normal(&mut rng)).collect();
        judge(&values, Claim::AtLeast { margin: 0.0 }, 0.95).unwrap().decision == Decision::Pass
    });
    assert!(passed >= 0.9 - 4.0 * binomial_error(0.9, RUNS), "{passed} with {pairs}");
}

#[test]
fn the_bound_of_the_coefficient_of_variation_covers() {
    const RUNS: usize = 10_000;
    for (cv, n) in [(0.05, 6), (0.2, 10)] {
        let mut rng = Rng::new(43);
        let covered = share(RUNS, || {
            let values: Vec<f64> = (0..n).map(|_| 1.0 + cv * normal(&mut rng)).collect();
            cv_upper_bound(&values, 0.95).unwrap().upper.is_none_or(|upper| upper >= cv)
        });
        // The bound is an approximation; Vangel finds it within half a per cent here.
        assert!((covered - 0.95).abs() <= 0.005 + 4.0 * binomial_error(0.95, RUNS), "{cv} {n}: {covered}");
    }
}

#[test]
fn coverage_of_the_bootstrap_intervals_of_a_mean() {
    const RUNS: usize = 1_500;
    let mut rng = Rng::new(47);
    let (mut percentile, mut expanded, mut pivotal, mut bca) = (0, 0, 0, 0);
    for seed in 0..RUNS {
        let values: Vec<f64> = (0..10).map(|_| normal(&mut rng)).collect();
        let options = Options { statistic: Statistic::Mean, confidence: 0.95, resamples: 499, seed: seed as u64 };
        let found = bootstrap(&values, options).unwrap();
        let covers = |interval: Interval| usize::from(interval.lower <= 0.0 && interval.upper >= 0.0);
        percentile += covers(found.percentile);
        expanded += covers(found.expanded_percentile);
        pivotal += found.bootstrap_t.map_or(1, covers);
        bca += found.bca.map_or(1, covers);
    }
    let rate = |count: usize| count as f64 / RUNS as f64;
    // Ten pairs: the percentile interval and BCa cover about 90 %, the other two about 95 %.
    assert!((rate(percentile) - 0.905).abs() < 0.03, "{}", rate(percentile));
    assert!((rate(bca) - 0.905).abs() < 0.03, "{}", rate(bca));
    assert!((rate(expanded) - 0.945).abs() < 0.025, "{}", rate(expanded));
    assert!((rate(pivotal) - 0.95).abs() < 0.025, "{}", rate(pivotal));
}
