//! What gates that others use would have said of the same samples: the truth is at the margin, so each PASS is false.

use super::simulate::{Broken, DRIFTING, Scene};
use super::{NOMINAL, Share};
use crate::samples::{Evidence, Record};
use crate::stats::bootstrap::{Options, Statistic, bootstrap};
use crate::stats::distributions::t_quantile;
use crate::stats::paired::mean_bounds;
use crate::stats::rng::Rng;
use crate::stats::summary;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const MARGIN: f64 = 1.25;
/// Blocks of a simulated run; the gates take what they need of them.
const BLOCKS: usize = 30;

/// One gate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What it does.
    pub gate: String,
    /// Processes an arm.
    pub processes: u32,
    /// Runs that passed falsely.
    pub false_pass: Share,
}

/// Rates in tok/s, by block and timed iteration.
struct Rates {
    fast: Vec<Vec<f64>>,
    slow: Vec<Vec<f64>>,
}

impl Rates {
    fn of(records: &[Record]) -> Self {
        let mut arms: BTreeMap<(&str, u32), Vec<f64>> = BTreeMap::new();
        for record in records {
            if let Evidence::Sample { process, sample, .. } = &record.evidence
                && !sample.warmup
                && let Some(ns) = sample.decode_ns
            {
                arms.entry((&process.arm, process.block)).or_default().push(1e9 / ns);
            }
        }
        let arm =
            |name: &str| arms.iter().filter(|((arm, _), _)| *arm == name).map(|(_, rates)| rates.clone()).collect();
        Self { fast: arm("fast"), slow: arm("slow") }
    }

    /// One log ratio a pair, of whole processes.
    fn pairs(&self, blocks: std::ops::Range<usize>) -> Vec<f64> {
        blocks.map(|block| log_mean(&self.fast[block]) - log_mean(&self.slow[block])).collect()
    }
}

/// Logarithm of a process's rate: total tokens over total time, which is a harmonic mean.
fn log_mean(rates: &[f64]) -> f64 {
    (rates.len() as f64 / rates.iter().map(|rate| 1.0 / rate).sum::<f64>()).ln()
}

type Gate = fn(&Rates, usize, u64) -> Result<bool, Broken>;

/// Each with the processes an arm that it is shown with.
const GATES: [(&str, [usize; 2], Gate); 8] = [
    ("alternating pairs, one-sided t bound on the log ratio (what qa does)", [5, 10], |r, n, _| paired(&r.pairs(0..n))),
    ("point ratio at least the margin", [5, 10], |r, n, _| Ok(summary::mean(&r.pairs(0..n))? >= MARGIN.ln())),
    ("bootstrap over pooled iterations", [5, 10], |r, n, seed| Ok(pooled_bootstrap(r, n, seed))),
    ("percentile bootstrap over pairs", [5, 10], |r, n, seed| {
        Ok(bootstrap(&r.pairs(0..n), options(seed))?.percentile.lower >= MARGIN.ln())
    }),
    ("all of one arm, then all of the other, t", [5, 10], |r, n, _| {
        let logs = |blocks: &[Vec<f64>]| blocks.iter().map(|rates| log_mean(rates)).collect::<Vec<_>>();
        welch(&logs(&r.fast[n..2 * n]), &logs(&r.slow[..n]))
    }),
    ("one process each, Welch's t over iterations", [1, 1], |r, _, _| {
        let logs = |rates: &[f64]| rates.iter().map(|rate| rate.ln()).collect::<Vec<_>>();
        welch(&logs(&r.fast[0]), &logs(&r.slow[0]))
    }),
    ("the paired t, run again twice when it does not pass", [5, 10], |r, n, _| {
        (0..3).try_fold(false, |passed, again| Ok(passed || paired(&r.pairs(again * n..(again + 1) * n))?))
    }),
    ("the paired t, looked at after every pair up to 30", [30, 30], |r, n, _| {
        (2..=n).try_fold(false, |passed, pairs| Ok(passed || paired(&r.pairs(0..pairs))?))
    }),
];

fn paired(y: &[f64]) -> Result<bool, Broken> {
    Ok(mean_bounds(y, 1.0 - NOMINAL)?.lower >= MARGIN.ln())
}

/// Lower Welch bound of the difference of means against the margin (Welch 1947, with Satterthwaite's degrees of freedom).
fn welch(a: &[f64], b: &[f64]) -> Result<bool, Broken> {
    let part = |values: &[f64]| -> Result<f64, Broken> { Ok(summary::sd(values)?.powi(2) / values.len() as f64) };
    let (va, vb) = (part(a)?, part(b)?);
    let df = (va + vb).powi(2) / (va * va / (a.len() as f64 - 1.0) + vb * vb / (b.len() as f64 - 1.0));
    let difference = summary::mean(a)? - summary::mean(b)?;
    Ok(difference - t_quantile(1.0 - NOMINAL, df) * (va + vb).sqrt() >= MARGIN.ln())
}

fn options(seed: u64) -> Options {
    Options { statistic: Statistic::Mean, confidence: 1.0 - 2.0 * NOMINAL, resamples: 499, seed }
}

/// Iterations of all processes as if they were independent.
fn pooled_bootstrap(rates: &Rates, n: usize, seed: u64) -> bool {
    let logs = |arm: &[Vec<f64>]| arm[..n].concat().into_iter().map(f64::ln).collect::<Vec<_>>();
    let (fast, slow) = (logs(&rates.fast), logs(&rates.slow));
    let mut rng = Rng::new(seed);
    let mut mean =
        |values: &[f64]| (0..values.len()).map(|_| values[rng.index(values.len())]).sum::<f64>() / values.len() as f64;
    let mut differences: Vec<f64> = (0..499).map(|_| mean(&fast) - mean(&slow)).collect();
    differences.sort_by(f64::total_cmp);
    differences[(500.0 * NOMINAL) as usize - 1] >= MARGIN.ln()
}

/// Every gate over the same `runs` runs.
///
/// # Errors
/// When a simulation cannot be run.
pub fn run(runs: u32) -> Result<Vec<Row>, Broken> {
    let claims = "  - { id: P, title: t, variation: { metric: decode_rate, of: fast, at_most: 0.5 } }\n  - { id: Q, title: t, variation: { metric: decode_rate, of: slow, at_most: 0.5 } }\n";
    let scene = Scene { blocks: BLOCKS.to_string(), ..Scene::new([125.0, 100.0], DRIFTING, claims) };
    let all = scene.each(0, runs, |records, _| Rates::of(records))?;
    let mut rows = Vec::new();
    for (gate, sizes, passes) in GATES {
        for n in if sizes[0] == sizes[1] { &sizes[..1] } else { &sizes[..] } {
            let passed = super::simulate::parallel(runs, |seed| passes(&all[seed as usize], *n, u64::from(seed)))?;
            let hits = passed.into_iter().filter(|passed| *passed).count() as u32;
            rows.push(Row { gate: gate.into(), processes: *n as u32, false_pass: Share { hits, of: runs } });
        }
    }
    Ok(rows)
}
