//! How often an interval that says 90 % holds the truth.

use super::Share;
use super::simulate::{Broken, parallel};
use crate::stats::bootstrap::{Interval, Options, Statistic, bootstrap};
use crate::stats::distributions::normal_quantile;
use crate::stats::paired::mean_bounds;
use crate::stats::rng::Rng;
use serde::{Deserialize, Serialize};

/// Two-sided confidence of every interval here: that of two one-sided bounds at 95 %.
pub const LEVEL: f64 = 0.9;
/// Resamples of each bootstrap.
const RESAMPLES: usize = 999;
/// How far a t interval's coverage may be off.
const TOLERANCE: f64 = 0.015;

/// One interval over one kind of sample.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The interval.
    pub interval: String,
    /// How the values scatter.
    pub values: String,
    /// Values in a sample.
    pub n: u32,
    /// Samples whose interval held the true mean.
    pub covered: Share,
}

impl Row {
    /// What decides is held to its level: the t interval of normal values. The others are shown as they are.
    pub fn holds(&self) -> bool {
        !self.is_held() || (self.covered.value() - LEVEL).abs() <= TOLERANCE.max(3.0 * self.covered.error())
    }

    /// Whether it is held to its level at all.
    pub fn is_held(&self) -> bool {
        self.interval == INTERVALS[0] && self.values == SCATTERS[0].0
    }
}

const INTERVALS: [&str; 5] =
    ["t", "percentile bootstrap", "expanded percentile bootstrap", "bootstrap-t", "BCa bootstrap"];

type Draw = fn(&mut Rng) -> f64;
/// How values scatter about a mean of 0.
const SCATTERS: [(&str, Draw); 2] = [("normal", normal), ("skewed (exponential)", |rng| -rng.uniform().ln() - 1.0)];

fn normal(rng: &mut Rng) -> f64 {
    normal_quantile(rng.uniform())
}

/// Every interval at 5, 10 and 20 values, over `runs` samples each.
///
/// # Errors
/// When a statistic cannot be computed.
pub fn run(runs: u32) -> Result<Vec<Row>, Broken> {
    let mut rows = Vec::new();
    for (values, draw) in SCATTERS {
        for n in [5, 10, 20] {
            let held = parallel(runs, |seed| held(seed, n, draw))?;
            for (index, interval) in INTERVALS.into_iter().enumerate() {
                let hits = held.iter().filter(|held| held[index]).count() as u32;
                rows.push(Row {
                    interval: interval.into(),
                    values: values.into(),
                    n,
                    covered: Share { hits, of: runs },
                });
            }
        }
    }
    Ok(rows)
}

fn held(seed: u32, n: u32, draw: Draw) -> Result<[bool; 5], Broken> {
    let mut rng = Rng::new(u64::from(seed) << 8 | u64::from(n));
    let sample: Vec<f64> = (0..n).map(|_| draw(&mut rng)).collect();
    let t = mean_bounds(&sample, f64::midpoint(1.0, LEVEL))?;
    let options =
        Options { statistic: Statistic::Mean, confidence: LEVEL, resamples: RESAMPLES, seed: u64::from(seed) };
    let boot = bootstrap(&sample, options)?;
    let holds = |interval: Option<Interval>| interval.is_some_and(|i| i.lower <= 0.0 && 0.0 <= i.upper);
    Ok([
        t.lower <= 0.0 && 0.0 <= t.upper,
        holds(Some(boot.percentile)),
        holds(Some(boot.expanded_percentile)),
        holds(boot.bootstrap_t),
        holds(boot.bca),
    ])
}
