//! Superiority under noise that its rule does not assume: the error rate as it is, and whether a diagnostic says so.

use super::Share;
use super::rules::{CALIBRATION, calibrating};
use super::simulate::{Broken, MACHINE, Scene, faster, first};
use crate::report::model::Verdict;
use crate::stats::summary;
use qa_protocol::Metric;
use serde::{Deserialize, Serialize};

/// Where the error is above this, most runs have to carry a warning.
pub const UNWARNED: f64 = 0.07;

/// One kind of noise.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub noise: String,
    /// What happens.
    pub what: String,
    /// Runs that passed, with the truth at the margin.
    pub false_pass: Share,
    /// Runs that failed there.
    pub false_fail: Share,
    /// Of the runs that passed or failed falsely, those with a warning beside the verdict.
    pub warned: Share,
    /// Runs with a warning, whatever they said.
    pub warnings: Share,
    /// Runs that were called INVALID: diagnostics must not.
    pub invalid: u32,
}

impl Row {
    /// Whether the error keeps to what may go unwarned, or most runs are warned of; and nothing was called INVALID.
    pub fn holds(&self) -> bool {
        let worse = self.false_pass.value().max(self.false_fail.value());
        (worse <= UNWARNED || 2 * self.warnings.hits >= self.warnings.of) && self.invalid == 0
    }
}

/// Name, what happens, noise of both arms, noise of `fast` alone.
const KINDS: [(&str, &str, &str, &str); 9] = [
    ("drift", "everything gets 2 % faster a block", "drift_per_block: 0.02", ""),
    ("clock step", "from block 5 on everything is 10 % slower", "step: { block: 5, factor: 0.9 }", ""),
    (
        "clock step within a block",
        "the clock falls by 10 % in the midst of block 5",
        "step: { block: 5, iteration: 5, factor: 0.9 }",
        "",
    ),
    (
        "warm-up too short",
        "three slow iterations, of which one is left out",
        "warm_up: { iterations: 3, factor: 1.5 }",
        "",
    ),
    ("outliers", "one iteration in fifty takes twice as long", "outliers: { probability: 0.02, factor: 2.0 }", ""),
    ("outliers of one arm", "the same, of one arm only", "", "outliers: { probability: 0.02, factor: 2.0 }"),
    (
        "stalls of one arm",
        "one iteration in fifty pauses for three times its length",
        "",
        "stalls: { probability: 0.02, ms: 192 }",
    ),
    ("two modes", "three processes in ten are 5 % slower", "two_modes: { probability: 0.3, factor: 0.95 }", ""),
    ("two modes of one arm", "the same, of one arm only", "", "two_modes: { probability: 0.3, factor: 0.95 }"),
];

/// Every kind, `runs` runs each. The margin is the true geometric mean of the ratio, from other seeds.
///
/// # Errors
/// When a simulation cannot be run.
pub fn run(runs: u32) -> Result<Vec<Row>, Broken> {
    KINDS.iter().map(|&(noise, what, both, one)| row(runs, noise, what, both, one)).collect()
}

fn row(runs: u32, noise: &str, what: &str, both: &str, one: &str) -> Result<Row, Broken> {
    let joined = |parts: [&str; 3]| parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    let claim = |margin: f64| faster(&format!("at_least: {margin}"));
    let mut scene = Scene::new([125.0, 100.0], "", claim(1.25));
    scene.noise = [joined([MACHINE, both, one]), joined([MACHINE, both, ""])];
    let ratios = scene.measured(Metric::DecodeRate, CALIBRATION, calibrating(runs))?;
    let logs: Vec<f64> = ratios.into_iter().map(f64::ln).collect();
    scene.claims = claim(summary::mean(&logs)?.exp());
    let found = scene.each(0, runs, |_, report| {
        let entry = first(report);
        (entry.verdict, entry.claims.iter().any(|claim| !claim.warnings.is_empty()))
    })?;
    let count = |wanted: &dyn Fn(Verdict, bool) -> bool| found.iter().filter(|(v, w)| wanted(*v, *w)).count() as u32;
    let share = |hits: u32| Share { hits, of: runs };
    let decided = |verdict: Verdict| matches!(verdict, Verdict::Pass | Verdict::Fail);
    Ok(Row {
        noise: noise.into(),
        what: what.into(),
        false_pass: share(count(&|verdict, _| verdict == Verdict::Pass)),
        false_fail: share(count(&|verdict, _| verdict == Verdict::Fail)),
        warned: Share {
            hits: count(&|verdict, warned| decided(verdict) && warned),
            of: count(&|verdict, _| decided(verdict)),
        },
        warnings: share(count(&|_, warned| warned)),
        invalid: count(&|verdict, _| verdict == Verdict::Invalid),
    })
}
