//! Ablations from run to rows, on a simulated clock, against truths that are known.

use crate::report::model::{self, EntryResult, Factor, Report, Verdict};
use crate::run::{in_memory, simulated::SimulatedLauncher};
use crate::samples::{Environment, Evidence, Record};
use crate::spec::{Spec, read_resolved, resolved_yaml};
use std::path::Path;

/// Four switches: `a` and `b` overlap, `c` is useless, `d` multiplies with everything.
const EFFECTS: &str = "[{ with: [a], factor: 1.3 }, { with: [b], factor: 1.5 }, { with: [a, b], factor: 0.8 },
    { with: [d], factor: 1.1 }]";

/// Their Shapley factors: a pair's effect is shared by its two.
fn truth() -> [f64; 4] {
    [1.3 * 0.8_f64.sqrt(), 1.5 * 0.8_f64.sqrt(), 1.0, 1.1]
}

fn yaml(effects: &str, ablation: &str) -> String {
    format!(
        "
apiVersion: qa/v1
name: ablation
workloads: {{ decode: {{ prompt_tokens: 4, generate_tokens: 8, ignore_eos: true }} }}
arms:
  base:
    backend: fake
    noise: {{ seed: 11, process_log_sd: 0.01, iteration_log_sd: 0.004 }}
    effects: {effects}
sampling: {{ blocks: 6, iterations: 3, warmup: 1 }}
checkpoints:
  - id: ABLATION
    title: What each switch contributes
    ablation: {{ metric: decode_rate, arm: base, switches: [a, b, c, d]{ablation} }}
"
    )
}

fn spec(effects: &str, ablation: &str) -> Spec {
    read_resolved(&yaml(effects, ablation), Path::new("ablation.yaml")).expect("the test's specification")
}

fn records(spec: &Spec) -> Vec<Record> {
    in_memory(spec, &SimulatedLauncher, &mut |_, _| false).expect("a run")
}

fn judge(spec: &Spec, records: &[Record]) -> Report {
    super::super::judge(spec, &resolved_yaml(spec), &Environment::default(), records)
}

fn entry(effects: &str, ablation: &str) -> EntryResult {
    let spec = spec(effects, ablation);
    judge(&spec, &records(&spec)).entries.remove(0)
}

fn found(entry: &EntryResult) -> &model::Ablation {
    entry.claims[0].ablation.as_ref().expect("an ablation")
}

fn verdicts(entry: &EntryResult) -> Vec<(&str, Verdict, bool)> {
    entry.claims.iter().map(|claim| (claim.check.as_str(), claim.verdict, claim.gates)).collect()
}

#[track_caller]
fn holds(factor: Option<Factor>, truth: f64) {
    let factor = factor.expect("a factor");
    assert!((factor.lower..=factor.upper).contains(&truth), "{truth} is not in {factor:?}");
    assert!(factor.upper / factor.lower < 1.15, "so wide an interval says nothing: {factor:?}");
}

#[test]
fn what_is_measured_holds_the_truth_and_passes_nothing() {
    let entry = entry(EFFECTS, "");
    assert_eq!(verdicts(&entry), [("ablation", Verdict::Reported, false)]);
    assert_eq!((entry.verdict, entry.required), (Verdict::Reported, false));
    let found = found(&entry);
    assert_eq!((found.blocks, found.planned), (6, 6));
    for (switch, truth) in found.switches.iter().zip(truth()) {
        holds(switch.shapley, truth);
    }
    for (switch, alone) in found.switches.iter().zip([1.3, 1.5, 1.0, 1.1]) {
        holds(switch.alone, alone);
        let [least, most] = switch.range.expect("a range");
        assert!(least <= switch.last.expect("last in") && switch.last <= Some(most));
    }
    holds(found.joint, 1.3 * 1.5 * 0.8 * 1.1);
    holds(found.product, 1.3 * 1.5 * 1.1);
    holds(found.joint_over_product, 0.8);
    let pair = found.interactions.iter().find(|i| i.switches == ["a", "b"]).expect("a pair");
    holds(Some(pair.factor), 0.8);
    assert!(entry.claims[0].reason.contains("they do not multiply"), "{}", entry.claims[0].reason);
    // Factors of all switches multiply to the joint one, exactly.
    let product: f64 = found.switches.iter().filter_map(|s| s.shapley).map(|f| f.estimate).product();
    assert!((product / found.joint.expect("a factor").estimate - 1.0).abs() < 1e-9);
}

#[test]
fn all_sixteen_combinations_are_there_in_order() {
    let entry = entry(EFFECTS, "");
    let found = found(&entry);
    let arms: Vec<&str> = found.combinations.iter().map(|c| c.arm.as_str()).collect();
    assert_eq!(arms.len(), 16);
    assert_eq!(arms[..6], ["base", "base+a", "base+b", "base+c", "base+d", "base+a+b"]);
    assert_eq!(arms[15], "base+a+b+c+d");
    let truth = [1.3, 1.5, 1.0, 1.1];
    for combination in &found.combinations[1..] {
        let alone: f64 = truth.iter().zip(&combination.on).filter(|(_, on)| **on).map(|(f, _)| f).product();
        let overlap = if combination.on[0] && combination.on[1] { 0.8 } else { 1.0 };
        holds(combination.factor, alone * overlap);
        assert!((combination.product.expect("a product") / alone - 1.0).abs() < 0.08);
        assert_eq!(combination.values.as_ref().expect("values").processes, 6);
    }
    assert!(found.combinations[0].factor.is_none(), "none over itself is no factor");
}

#[test]
fn a_claimed_factor_is_a_row_that_does_not_gate() {
    let entry = entry(EFFECTS, ", claimed: { a: 1.2, d: 1.2, joint: 2.145 }");
    let expected = [
        ("ablation", Verdict::Reported, false),
        ("claimed a", Verdict::Pass, false),
        ("claimed d", Verdict::Fail, false),
        ("claimed joint", Verdict::Fail, false),
    ];
    assert_eq!(verdicts(&entry), expected);
    assert_eq!((entry.verdict, entry.required), (Verdict::Fail, false));
    assert_eq!((found(&entry).joint_claimed, found(&entry).product_claimed), (Some(2.145), None));
    // One interval of a combination, wherever it stands.
    let (row, single) = (entry.claims[1].comparison.as_ref().expect("numbers"), found(&entry).switches[0].alone);
    let single = single.expect("a factor");
    assert!((row.lower - single.lower).abs() < 1e-12 && (row.upper - single.upper).abs() < 1e-12);
    assert!((row.confidence - (1.0 - 0.05 / 15.0)).abs() < 1e-12);
}

#[test]
fn a_claimed_product_reads_as_it_would_be_written() {
    let entry = entry(EFFECTS, ", claimed: { a: 1.3, b: 1.4, c: 1.2, d: 1.2 }");
    assert_eq!(found(&entry).product_claimed, Some(2.6208));
}

#[test]
fn claims_that_are_met_make_no_pass_of_a_report() {
    let entry = entry(EFFECTS, ", claimed: { a: 1.1 }");
    assert_eq!((entry.claims[1].verdict, entry.verdict), (Verdict::Pass, Verdict::Reported));
}

#[test]
fn bounds_gate() {
    let require =
        "{ alone: { b: { at_least: 1.3 } }, shapley: { a: { at_least: 1.05 }, c: { at_least: 0.95, at_most: 1.05 } },
        joint: { at_least: 1.5 }, joint_over_product: { at_most: 0.9 } }";
    let passed = entry(EFFECTS, &format!(", require: {require}"));
    assert!(passed.claims[1..].iter().all(|c| c.verdict == Verdict::Pass && c.gates), "{:#?}", verdicts(&passed));
    assert_eq!((passed.claims.len(), passed.verdict, passed.required), (6, Verdict::Pass, true));
    let failed =
        entry(EFFECTS, ", require: { shapley: { a: { at_least: 1.3 } }, joint_over_product: { at_least: 0.95 } }");
    let expected = [
        ("ablation", Verdict::Reported, false),
        ("shapley a", Verdict::Fail, true),
        ("joint over product", Verdict::Fail, true),
    ];
    assert_eq!(verdicts(&failed), expected);
    let open = entry(EFFECTS, ", require: { shapley: { d: { at_least: 1.1 } } }");
    assert_eq!((open.verdict, open.required), (Verdict::Inconclusive, true));
}

#[test]
fn a_metric_of_which_less_is_better_gains_when_it_falls() {
    let yaml =
        yaml("[{ with: [a], factor: 2 }]", ", require: { alone: { a: { at_least: 1.8 } }, joint: { at_most: 2.2 } }");
    let yaml = yaml.replace("decode_rate, arm", "inter_token_latency_p99, arm");
    let spec = read_resolved(&yaml, Path::new("ablation.yaml")).expect("the test's specification");
    let report = judge(&spec, &records(&spec));
    let entry = &report.entries[0];
    holds(found(entry).switches[0].alone, 2.0);
    holds(found(entry).switches[0].shapley, 2.0);
    assert_eq!(entry.verdict, Verdict::Pass, "{:#?}", entry.claims);
    let row = entry.claims[1].comparison.as_ref().expect("numbers");
    assert!(row.estimate < 0.6, "the row is about the ratio of the times");
}

#[test]
fn a_wrong_output_takes_away_what_depends_on_it_and_no_more() {
    let effects = EFFECTS.replace("{ with: [d]", "{ with: [b, c], tokens: { wrong: { from: 2 } } }, { with: [d]");
    let ablation = ", claimed: { a: 1.2, joint: 2 }, require: { alone: { b: { at_least: 1.3 } }, shapley: { a: { at_least: 1 } } }";
    let entry = entry(&effects, ablation);
    let expected = [
        ("ablation", Verdict::Invalid, false),
        ("claimed a", Verdict::Pass, false),
        ("claimed joint", Verdict::Invalid, false),
        ("alone b", Verdict::Pass, true),
        ("shapley a", Verdict::Invalid, true),
    ];
    assert_eq!(verdicts(&entry), expected);
    let found = found(&entry);
    assert!(found.missing.is_some() && found.switches.iter().all(|s| s.shapley.is_none()) && found.joint.is_none());
    let unusable: Vec<&str> =
        found.combinations.iter().filter(|c| c.problem.is_some()).map(|c| c.arm.as_str()).collect();
    assert_eq!(unusable, ["base+b+c", "base+a+b+c", "base+b+c+d", "base+a+b+c+d"]);
    assert!(found.combinations.iter().all(|c| c.problem.is_some() || c.arm == "base" || c.factor.is_some()));
    assert!(entry.claims[0].reason.starts_with("4 of 16 combinations cannot be used"), "{}", entry.claims[0].reason);
}

#[test]
fn a_combination_that_is_refused_leaves_the_others() {
    let effects =
        "[{ with: [a], factor: 1.3 }, { with: [a, b, c, d], faults: [{ kind: blocked, message: too large }] }]";
    let entry = entry(effects, ", claimed: { a: 1.2, joint: 1.2 }");
    let expected = [
        ("ablation", Verdict::Blocked, false),
        ("claimed a", Verdict::Pass, false),
        ("claimed joint", Verdict::Blocked, false),
    ];
    assert_eq!(verdicts(&entry), expected);
    assert!(entry.claims[0].reason.contains("too large"), "{}", entry.claims[0].reason);
    assert_eq!(found(&entry).combinations.iter().filter(|c| c.factor.is_some()).count(), 14);
}

#[test]
fn an_unfinished_run_has_no_shapley_value() {
    let spec = spec(EFFECTS, "");
    let mut records = records(&spec);
    records.retain(|r| !matches!(&r.evidence, Evidence::Block { block, .. } if *block > 2));
    let entry = judge(&spec, &records).entries.remove(0);
    assert_eq!(entry.verdict, Verdict::Inconclusive);
    assert!(entry.reason.starts_with("Only 3 complete blocks of the 6"), "{}", entry.reason);
}

#[test]
fn the_arms_are_written_nowhere_and_come_back() {
    let spec = spec(EFFECTS, "");
    assert_eq!(spec.arms.len(), 16);
    let text = resolved_yaml(&spec);
    assert!(!text.contains("base+"), "{text}");
    assert_eq!(read_resolved(&text, Path::new("spec.yaml")).expect("what was written"), spec);
    let without = crate::plan::select(&spec, &["NOTHING".into()]);
    assert!(without.is_none());
}
