//! False verdicts of every deciding rule, with the truth exactly at its margin.

use super::simulate::{Broken, DRIFTING, MACHINE, Scene, entry, faster, first};
use super::{FULL, NOMINAL, Share};
use crate::report::model::{Report, Verdict};
use crate::stats::summary;
use qa_protocol::Metric;
use serde::{Deserialize, Serialize};

/// Seeds from here on calibrate margins, and are used for nothing else.
pub const CALIBRATION: u32 = 1_000_000;

/// Runs that a margin is put at the mean of: then its error is a fiftieth of what one run's mean has.
pub fn calibrating(runs: u32) -> u32 {
    runs.saturating_mul(4).min(runs.max(FULL))
}

/// One rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub rule: String,
    /// What is claimed, and what is true.
    pub claim: String,
    /// Runs that passed, where the claim is at the edge of being true.
    pub false_pass: Share,
    /// Runs that failed, where the claim is at the edge of being false.
    pub false_fail: Share,
    /// Runs that ended in anything but PASS, FAIL or INCONCLUSIVE.
    pub other: u32,
}

impl Row {
    /// Whether its errors are what was asked for, and it decides at all.
    pub fn holds(&self) -> bool {
        let decides = self.false_pass.hits > 0;
        self.false_pass.at_most(NOMINAL) && self.false_fail.at_most(NOMINAL) && self.other == 0 && decides
    }
}

struct Rule {
    name: &'static str,
    claim: String,
    scene: Scene,
}

fn rule(name: &'static str, claim: impl Into<String>, scene: Scene) -> Rule {
    Rule { name, claim: claim.into(), scene }
}

/// Every rule that the language offers.
fn rules(runs: u32) -> Result<Vec<Rule>, Broken> {
    let superior = faster("at_least: 1.25");
    let mut looks = Scene::new([125.0, 100.0], DRIFTING, superior.clone());
    looks.blocks = "{ looks: [6, 10, 16] }".into();
    let members = ["P", "Q", "R"]
        .map(|id| superior.replace("id: P", &format!("id: {id}")).replace(" }\n", ", family: three }\n"));
    // ln(1 + CV^2) = sd^2 of a lognormal.
    let cv_sd = (0.05_f64 * 0.05).ln_1p().sqrt();
    // With process noise alone, y = ln(fast / slow) has sqrt(2) times its deviation.
    let effect = (0.8 * 2f64.sqrt() * 0.015).exp();
    let still = |sd: f64| format!("process_log_sd: {sd}");
    let mut latency = Scene::new([100.0, 100.0], &format!("{MACHINE}, token_log_sd: 0.1"), String::new());
    latency.tokens = 64;
    let p99 =
        |bound: f64| entry(&format!("require: {{ metric: inter_token_latency_p99, of: fast, at_most: {bound} }}"));
    latency.claims = p99(20.0);
    let truth = summary::mean(&latency.measured(Metric::InterTokenLatencyP99, CALIBRATION, calibrating(runs))?)?;
    latency.claims = p99(truth);
    let mut spent = looks.clone();
    spent.blocks.push_str(", spending: o_brien_fleming");
    let ablation = "ablation: { metric: decode_rate, arm: fast, switches: [graph, streams], require: { shapley: { graph: { at_least: 1.25 } } } }";
    Ok(vec![
        rule("superiority", "at least 1.25x, and it is 1.25x", Scene::new([125.0, 100.0], DRIFTING, superior)),
        rule("superiority, declared looks", "the same, looked at after 6, 10 and 16 pairs", looks),
        rule(
            "the same, error spent as O'Brien and Fleming do",
            "the same, most of the error left for the last look",
            spent,
        ),
        rule(
            "superiority of a time",
            "at most 0.8x the time, and it is 0.8x",
            Scene::new(
                [125.0, 100.0],
                DRIFTING,
                entry("require: { metric: inter_token_latency_p99, of: fast, over: slow, at_most: 0.8 }"),
            ),
        ),
        rule(
            "ablation",
            "a switch contributes at least 1.25x (Shapley value), and it contributes 1.25x",
            Scene::new([100.0, 100.0], DRIFTING, entry(ablation)),
        ),
        rule(
            "non-inferiority",
            "at least 0.95x, and it is 0.95x",
            Scene::new([95.0, 100.0], DRIFTING, faster("at_least: 0.95")),
        ),
        rule(
            "equivalence",
            "0.97x to 1.03x, and it is 1.03x",
            Scene::new([103.0, 100.0], DRIFTING, faster("within: [0.97, 1.03]")),
        ),
        rule(
            "family of three",
            "three superiority claims share the error; any false verdict counts",
            Scene::new([125.0, 100.0], DRIFTING, members.concat()),
        ),
        rule(
            "threshold",
            "at least 100 tok/s, and it is 100 tok/s",
            Scene::new([100.0, 100.0], MACHINE, entry("require: { metric: decode_rate, of: fast, at_least: 100 }")),
        ),
        rule("quantile", format!("P99 of the latency at most {truth:.4} ms, which it is"), latency),
        rule(
            "variation",
            "processes vary by at most 5 %, and they vary by 5 %",
            Scene::new(
                [100.0, 100.0],
                &still(cv_sd),
                entry("variation: { metric: decode_rate, of: fast, at_most: 0.05 }"),
            ),
        ),
        rule(
            "significance",
            "faster at p < 0.05, and it is equally fast",
            Scene::new(
                [100.0, 100.0],
                DRIFTING,
                entry("significance: { metric: decode_rate, of: fast, over: slow, p_below: 0.05 }"),
            ),
        ),
        rule(
            "effect size",
            "at least 0.8 deviations faster, and it is 0.8",
            Scene::new(
                [100.0 * effect, 100.0],
                &still(0.015),
                entry("effect: { metric: decode_rate, of: fast, over: slow, at_least: 0.8 }"),
            ),
        ),
    ])
}

/// All rules, `runs` runs each.
///
/// # Errors
/// When a simulation cannot be run.
pub fn run(runs: u32) -> Result<Vec<Row>, Broken> {
    rules(runs)?
        .into_iter()
        .map(|Rule { name, claim, scene }| {
            let verdicts = scene.each(0, runs, worst)?;
            let count = |wanted: Verdict| verdicts.iter().filter(|verdict| **verdict == wanted).count() as u32;
            let (pass, fail) = (count(Verdict::Pass), count(Verdict::Fail));
            Ok(Row {
                rule: name.into(),
                claim,
                false_pass: Share { hits: pass, of: runs },
                false_fail: Share { hits: fail, of: runs },
                other: runs - pass - fail - count(Verdict::Inconclusive),
            })
        })
        .collect()
}

/// The verdict that is furthest from undecided, over all entries of a run.
fn worst(_: &[crate::samples::Record], report: &Report) -> Verdict {
    let decided = |verdict: &Verdict| *verdict != Verdict::Inconclusive;
    report.entries.iter().map(|entry| entry.verdict).find(decided).unwrap_or(first(report).verdict)
}
