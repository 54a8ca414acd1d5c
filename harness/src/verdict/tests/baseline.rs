//! An earlier run as comparator.

use super::*;
use crate::samples::{Baseline, OfMetric};
use qa_protocol::Metric;

const NO_SLOWER: &str = r"
acceptance:
  - id: P
    title: No slower
    require: { metric: decode_rate, of: a, over: { baseline: main, max_age_h: 48 }, at_least: 0.95 }
";

/// Half a day after a baseline of about 100 tok/s, `a` has these rates.
fn story(ratios: &[f64], change: impl FnOnce(&mut Baseline)) -> Story {
    let mut story = Story::with_ratios(NO_SLOWER, ratios);
    story.environment.started_at = "2026-01-02T12:00:00Z".into();
    let mut baseline = Baseline {
        path: "runs/main-7".into(),
        samples_sha256: "ab".repeat(32),
        started_at: "2026-01-02T00:00:00Z".into(),
        commit: None,
        machine: crate::environment::machine(&story.environment),
        engine: "a 1".into(),
        device: Device { name: "the CPU".into(), ..Device::default() },
        model_sha256: Some("0123456789abcdef".into()),
        workload: serde_json::to_value(&story.spec.workloads["decode"]).unwrap(),
        resolved: serde_json::Map::new(),
        output: "checked in the timed iterations".into(),
        iterations: 12,
        values: vec![OfMetric {
            metric: Metric::DecodeRate,
            of_processes: vec![99.0, 100.0, 101.0, 100.0, 99.5, 100.5],
        }],
    };
    change(&mut baseline);
    story.found(Ok(Box::new(baseline)));
    story
}

impl Story {
    fn found(&mut self, found: Result<Box<Baseline>, String>) {
        let baseline = Evidence::Baseline { workload: "decode".into(), branch: "main".into(), arm: "a".into(), found };
        self.evidence.insert(0, baseline);
    }
}

const SAME: [f64; 6] = [1.0, 1.01, 0.99, 1.0, 1.005, 0.995];
const SLOWER: [f64; 6] = [0.9, 0.91, 0.89, 0.9, 0.905, 0.895];

#[test]
fn what_is_as_fast_as_it_was_passes_and_what_regressed_does_not() {
    let same = story(&SAME, |_| ());
    same.expect(Verdict::Pass, "1.000x as fast; the lower bound 0.993x is not below 0.95x.");
    let report = same.report();
    let comparison = report.entries[0].claims[0].comparison.as_ref().unwrap();
    assert_eq!(comparison.baseline.as_deref(), Some("runs/main-7"));
    assert_eq!(comparison.over.as_ref().unwrap().processes, 6);
    assert!(comparison.sign_flip.is_none() && comparison.pairs_to_decide.is_none(), "nothing is in pairs");
    assert!(report.warnings.iter().any(|w| w.message.contains("measured in another run (runs/main-7")));
    story(&SLOWER, |_| ()).expect(Verdict::Fail, "is below 0.95x");
}

#[test]
fn both_sides_scatter() {
    let wide = |baseline: &mut Baseline| {
        baseline.values[0].of_processes = vec![60.0, 150.0, 100.0, 80.0, 120.0, 95.0];
    };
    story(&SAME, wide).expect(Verdict::Inconclusive, "straddles 0.95x");
    story(&SAME, |b| b.values[0].of_processes.truncate(1)).expect(Verdict::Blocked, "1 process");
    story(&SAME, |b| b.values.clear()).expect(Verdict::Blocked, "0 processes");
}

#[test]
fn what_is_not_the_same_is_not_compared() {
    story(&SAME, |b| b.machine = "an H100".into()).expect(Verdict::Invalid, "was measured on an H100");
    story(&SAME, |b| b.device.name = "GPU".into()).expect(Verdict::Invalid, "the baseline on GPU");
    story(&SAME, |b| b.model_sha256 = Some("f".repeat(64))).expect(Verdict::Invalid, "the baseline ffffffffffff");
    story(&SAME, |b| b.model_sha256 = None).expect(Verdict::Invalid, "the baseline none");
    story(&SAME, |b| b.workload["prompt_tokens"] = 9.into()).expect(Verdict::Invalid, "not what it was");
    story(&SAME, |b| b.started_at = "2025-12-30T00:00:00Z".into()).expect(Verdict::Invalid, "84.0 hours old");
    story(&SAME, |b| b.started_at = "2026-01-03T00:00:00Z".into()).expect(Verdict::Invalid, "hours old");
    let options = story(&SAME, |b| b.resolved = [("threads".to_owned(), 1.into())].into_iter().collect());
    options.expect(Verdict::Pass, "");
    assert!(options.report().warnings.iter().any(|w| w.message.contains("otherwise than in the baseline: threads")));
}

#[test]
fn without_a_baseline_it_is_said_how_to_store_one() {
    let mut missing = Story::with_ratios(NO_SLOWER, &SAME);
    missing.expect(Verdict::Error, "the run is unfinished");
    missing.found(Err("there is no history at runs/history.db".into()));
    missing.expect(Verdict::Blocked, "There is no baseline main of a: there is no history at runs/history.db.");
    let remedy = missing.report().entries[0].claims[0].remedy.clone().unwrap();
    assert!(remedy.contains("qa history add RUN --branch main"), "{remedy}");
}

#[test]
fn a_look_knows_the_baseline() {
    let records = |story: &Story| -> Vec<Record> {
        let record = |(seq, evidence): (usize, &Evidence)| Record {
            seq: seq as u64,
            at: String::new(),
            evidence: evidence.clone(),
        };
        story.evidence.iter().enumerate().map(record).collect()
    };
    let slower = story(&SLOWER, |_| ());
    let onlooker = Onlooker::new(&slower.spec, &slower.environment);
    assert!(onlooker.decided(&records(&slower), "decode"));
    let (shown, _) = onlooker.so_far(&records(&slower), "decode", 5);
    assert!((shown[0].estimate - 0.9).abs() < 0.01, "{shown:?}");
}
