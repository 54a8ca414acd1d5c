//! Runs on a simulated clock, many at once.

use crate::report::model::{EntryResult, Report};
use crate::run::{RunError, in_memory, simulated::SimulatedLauncher};
use crate::samples::{Environment, Record};
use crate::spec::{Spec, SpecErrors, read_resolved};
use crate::stats::StatsError;
use crate::verdict::{self, Lane, Observed, Onlooker, Process};
use qa_protocol::Metric;
use rayon::prelude::*;
use std::fmt::Write as _;
use std::path::Path;

/// What keeps a self-test from being run.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A specification of the self-test is wrong.
    #[error(transparent)]
    Spec(#[from] SpecErrors),
    /// A simulated run broke.
    #[error("a simulated run broke: {0}")]
    Run(#[from] RunError),
    /// A statistic cannot be computed.
    #[error("a statistic of the self-test fails: {0}")]
    Stats(#[from] StatsError),
    /// A real process could not be run.
    #[error("a run through real processes cannot be made: {0}")]
    Process(#[from] std::io::Error),
}

/// The scatter of a real machine: 1.5 % between processes, 0.6 % between iterations, which remember 0.7 of each other.
pub const MACHINE: &str = "process_log_sd: 0.015, iteration_log_sd: 0.006, autocorrelation: 0.7";
/// The same while everything gets 0.4 % faster a block.
pub const DRIFTING: &str =
    "process_log_sd: 0.015, iteration_log_sd: 0.006, autocorrelation: 0.7, drift_per_block: 0.004";

/// Two simulated engines and a claim.
#[derive(Clone, Debug)]
pub struct Scene {
    /// True decode rates of the arms `fast` and `slow`, in tok/s.
    pub rates: [f64; 2],
    /// The scatter of each.
    pub noise: [String; 2],
    /// `sampling.blocks`.
    pub blocks: String,
    /// The entries: all that stands under `acceptance`. An arm that none of them names is left out.
    pub claims: String,
    /// Tokens an iteration.
    pub tokens: u32,
}

impl Scene {
    /// Two engines of equal scatter in ten blocks.
    pub fn new(rates: [f64; 2], noise: &str, claims: impl Into<String>) -> Self {
        Self { rates, noise: [noise.into(), noise.into()], blocks: "10".into(), claims: claims.into(), tokens: 8 }
    }

    /// The specification of one run of it.
    pub fn yaml(&self, seed: u32) -> String {
        let mut yaml = format!(
            "apiVersion: qa/v1\nname: selftest\n\
             workloads: {{ decode: {{ prompt_tokens: 4, generate_tokens: {}, ignore_eos: true }} }}\narms:\n",
            self.tokens
        );
        // What the two switches of an ablation do: gains that multiply.
        let switches = if self.claims.contains("ablation:") {
            ", effects: [{ with: [graph], factor: 1.25 }, { with: [streams], factor: 1.1 }]"
        } else {
            ""
        };
        let arms = ["fast", "slow"].into_iter().zip(self.rates).zip(&self.noise);
        for ((arm, rate), noise) in arms.filter(|((arm, _), _)| self.claims.contains(arm)) {
            // Writing to a string cannot fail.
            let _ = writeln!(
                yaml,
                "  {arm}: {{ backend: fake, decode_rate: {rate}, engine: {{ name: {arm} }}, noise: {{ seed: {seed}, {noise} }}{switches} }}"
            );
        }
        let blocks = &self.blocks;
        let _ = write!(
            yaml,
            "sampling: {{ blocks: {blocks}, iterations: 10, warmup: 1, seed: {seed} }}\nacceptance:\n{}",
            self.claims
        );
        yaml
    }

    /// One run: its records and its report.
    ///
    /// # Errors
    /// When the specification is wrong or the run breaks.
    pub fn run(&self, seed: u32) -> Result<(Vec<Record>, Report), Broken> {
        let (spec, records) = self.records(seed)?;
        let report = verdict::judge(&spec, "", &Environment::default(), &records);
        Ok((records, report))
    }

    fn records(&self, seed: u32) -> Result<(Spec, Vec<Record>), Broken> {
        let spec: Spec = read_resolved(&self.yaml(seed), Path::new("selftest.yaml"))?;
        let environment = Environment::default();
        let onlooker = Onlooker::new(&spec, &environment);
        let decided = &mut |workload: &str, records: &[Record]| onlooker.decided(records, workload);
        let records = in_memory(&spec, &SimulatedLauncher, decided)?;
        drop(onlooker);
        Ok((spec, records))
    }

    /// What was measured in `runs` runs, which nobody judges: in each block, a metric of `fast`, over that of `slow` where there
    /// is one.
    ///
    /// # Errors
    /// The first run that breaks.
    pub fn measured(&self, metric: Metric, first: u32, runs: u32) -> Result<Vec<f64>, Broken> {
        let values = parallel(runs, |index| {
            let (spec, records) = self.records(first + index)?;
            let observed = Observed::new(&spec, &records);
            let lane = |arm| observed.processes(Lane { workload: "decode", arm, side: 0 });
            let of_block = |block| lane("slow").iter().find(|p| p.key.block == block).and_then(|p| p.value(metric));
            let value = |p: &Process<'_>| Some(p.value(metric)? / of_block(p.key.block).unwrap_or(1.0));
            Ok(lane("fast").iter().filter_map(value).collect::<Vec<f64>>())
        })?;
        Ok(values.concat())
    }

    /// What `look` makes of each of `runs` runs, in the order of their seeds, which begin at `first`.
    ///
    /// # Errors
    /// The first run that breaks.
    pub fn each<T: Send>(
        &self,
        first: u32,
        runs: u32,
        look: impl Fn(&[Record], &Report) -> T + Sync + Send,
    ) -> Result<Vec<T>, Broken> {
        parallel(runs, |index| self.run(first + index).map(|(records, report)| look(&records, &report)))
    }
}

/// `work(0)` to `work(count - 1)` on every core.
///
/// # Errors
/// One of those that `work` gave.
pub fn parallel<T: Send>(count: u32, work: impl Fn(u32) -> Result<T, Broken> + Sync + Send) -> Result<Vec<T>, Broken> {
    (0..count).into_par_iter().map(work).collect()
}

/// An entry that makes one check.
pub fn entry(check: &str) -> String {
    format!("  - {{ id: P, title: At the margin, {check} }}\n")
}

/// An entry on the ratio of the decode rates of `fast` and `slow`, with a bound such as `at_least: 1.25`.
pub fn faster(bound: &str) -> String {
    entry(&format!("require: {{ metric: decode_rate, of: fast, over: slow, {bound} }}"))
}

/// A report's first entry.
///
/// # Panics
/// Where the scene has no claim.
pub fn first(report: &Report) -> &EntryResult {
    report.entries.first().expect("a scene has a claim")
}

/// The pairs of a report's first claim, on the scale of the ratio.
pub fn pairs(report: &Report) -> Vec<f64> {
    let comparison = first(report).claims.first().and_then(|claim| claim.comparison.as_ref());
    comparison.map_or_else(Vec::new, |comparison| comparison.pairs.iter().map(|pair| pair.value).collect())
}
