//! Tokens, scores, long decodes and programs.

use super::launcher::{Asked, Deed, Table};
use super::*;
use crate::samples::{Phase, TokenCheck};

const ONE: &str = "
apiVersion: qa/v1
name: test
workloads:
  decode: { prompt_tokens: 2, generate_tokens: 3, ignore_eos: true }
arms:
  a: { backend: fake }
  b: { backend: fake }
sampling: { blocks: 2, iterations: 2, warmup: 1, retries: 1 }
acceptance:
";

fn run(entries: &str, table: &Table) -> Ran {
    let spec = spec(&(ONE.to_owned() + entries));
    let ran = Run::of(&spec, table).in_memory(&mut never);
    assert_eq!(ran.outcome.as_ref().unwrap(), &Outcome::Finished);
    ran
}

const MEASURED: &str = "  - { id: A, title: t, variation: { metric: decode_rate, of: a, at_most: 0.5 } }\n";

fn check_of(ran: &Ran, arm: &str) -> TokenCheck {
    let found = ran.records.iter().rev().find_map(|r| match &r.evidence {
        Evidence::Tokens { arm: a, check, .. } if a == arm => Some(check.clone()),
        _ => None,
    });
    found.unwrap()
}

#[test]
fn right_tokens_agree_with_the_oracle() {
    let table = Table::default();
    let check = check_of(&run(MEASURED, &table), "a");
    assert_eq!(check.oracle, Ok("puppet 1".into()));
    assert_eq!((check.distinct_outputs, check.checked, check.disagreements.len(), check.timed), (1, 3, 0, true));
    let Some(Asked::Score(asked)) = table.asked.borrow().last().cloned() else { panic!("the oracle was not asked") };
    assert_eq!((asked.tokens.len(), asked.context, asked.first), (5, 5, 2), "prompt and output, the output scored");
}

#[test]
fn a_wrong_token_is_found_with_its_distance() {
    let check = check_of(&run(MEASURED, &Table::with(&[("a", |_| true, Deed::WrongToken)])), "a");
    let first = check.disagreements[0];
    assert_eq!((first.index, first.token), (1, 49));
    assert!((first.nats - (0.8_f64 * 48.0 / 0.1).ln()).abs() < 1e-6, "{}", first.nats);
}

#[test]
fn every_distinct_output_is_checked() {
    let check = check_of(&run(MEASURED, &Table::with(&[("a", |r| r.block == 1, Deed::AnotherOutput)])), "a");
    assert_eq!((check.distinct_outputs, check.checked, check.disagreements.len()), (2, 6, 1));
    assert!((check.disagreements[0].nats - 8.0_f64.ln()).abs() < 1e-6);
}

#[test]
fn what_a_look_has_checked_is_checked_again_only_if_it_changed() {
    for (deed, checks) in [(Deed::LeaveBadly, 1), (Deed::AnotherOutput, 2)] {
        let yaml = ONE.replace("blocks: 2", "blocks: { looks: [1, 3] }") + MEASURED;
        let (spec, table) = (spec(&yaml), Table::with(&[("a", |r| r.block == 2, deed)]));
        let ran = Run::of(&spec, &table).in_memory(&mut never);
        let found = ran.records.iter().filter(|r| matches!(r.evidence, Evidence::Tokens { .. })).count();
        assert_eq!(found, checks, "{deed:?}");
    }
}

#[test]
fn an_oracle_that_is_lost_is_a_reason_and_is_tried_again() {
    let table = Table::with(&[(crate::plan::ORACLE, |r| r.attempt == 0, Deed::CrashAfterOne)]);
    assert!(check_of(&run(MEASURED, &table), "a").oracle.is_ok());
    let table = Table::with(&[(crate::plan::ORACLE, |_| true, Deed::CrashAfterOne)]);
    let ran = run(MEASURED, &table);
    assert_eq!(check_of(&ran, "a").oracle, Err("the oracle was lost: killed".into()));
    let lost = ran
        .records
        .iter()
        .filter(|r| matches!(&r.evidence, Evidence::Lost { process, .. } if process.phase == Phase::Verify));
    assert_eq!(lost.count(), 2);
}

#[test]
fn sampled_tokens_have_no_right_choice() {
    let yaml = ONE.replace("ignore_eos: true", "sampling: { random: { temperature: 1, top_k: 0, top_p: 1, seed: 1 } }");
    let (spec, table) = (spec(&(yaml + MEASURED)), Table::default());
    let ran = Run::of(&spec, &table).in_memory(&mut never);
    assert!(check_of(&ran, "a").oracle.unwrap_err().contains("samples at random"));
}

#[test]
fn scores_are_compared_position_by_position() {
    for against in ["reference", "b"] {
        let entry =
            format!("  - {{ id: S, title: t, correct: {{ arm: a, against: {against}, tokens: 16, context: 8 }} }}\n");
        let table = Table::default();
        let ran = run(&entry, &table);
        let Some(Evidence::Scores { entry, arm, against: found, rows }) = ran.records.last().map(|r| &r.evidence)
        else {
            panic!("{:?}", outline(&ran.records))
        };
        assert_eq!((entry.as_str(), arm.as_str(), found.as_str()), ("S", "a", against));
        let indices: Vec<u32> = rows.iter().map(|r| r.index).collect();
        assert_eq!(indices, [5, 6, 7, 13, 14, 15], "the second half of each window, as llama-perplexity scores it");
        assert!(rows.iter().all(|r| r.kl.abs() < 1e-6 && r.top1_equal && (r.margin - 8.0_f64.ln()).abs() < 1e-6));
    }
}

#[test]
fn a_side_that_cannot_score_is_lost_and_the_other_is_not_asked() {
    let entry = "  - { id: S, title: t, correct: { arm: a, against: reference, tokens: 16, context: 8 } }\n";
    let table = Table::with(&[("a", |_| true, Deed::Refuse)]);
    assert_eq!(outline(&run(entry, &table).records), ["L a 0.0"]);
    let table = Table::with(&[("a", |_| true, Deed::CrashAfterOne)]);
    assert_eq!(outline(&run(entry, &table).records), ["P a 0.0", "L a 0.0", "P a 0.1", "L a 0.1"]);
    let table = Table::with(&[("reference", |r| r.attempt == 0, Deed::Crash)]);
    let outlined = outline(&run(entry, &table).records);
    assert_eq!(outlined, ["P a 0.0", "L reference 0.0", "P reference 0.1", "scores S"]);
}

#[test]
fn a_long_decode_goes_on_for_its_time_by_the_workers_clock() {
    // An iteration claims 0.101 s: ten make a second, and a request makes two.
    for (run_s, iterations) in [(0.1, 10), (1.5, 16)] {
        let entry = format!("  - {{ id: L, title: t, soak: {{ of: a, duration_s: 9, run_s: {run_s} }} }}\n");
        let table = Table::default();
        let ran = run(&entry, &table);
        let samples: Vec<bool> = ran
            .records
            .iter()
            .filter_map(|r| match &r.evidence {
                Evidence::Sample { process, sample, .. } if process.phase == Phase::Soak => Some(sample.warmup),
                _ => None,
            })
            .collect();
        assert_eq!(samples.iter().filter(|warmup| **warmup).count(), 1);
        assert_eq!(samples.len(), iterations + 1, "{run_s}");
        assert!(table.runs().iter().all(|r| !r.tokens));
    }
}

#[test]
fn a_fault_in_a_long_decode_is_not_tried_again() {
    let entry = "  - { id: L, title: t, soak: { of: a, duration_s: 9, run_s: 1 } }\n";
    let ran = run(entry, &Table::with(&[("a", |_| true, Deed::CrashAfterOne)]));
    assert_eq!(outline(&ran.records), ["P a 0.0", "S a 0.0", "L a 0.0"]);
}

#[test]
fn programs_run_last() {
    let entries = format!("  - {{ id: P, title: t, program: {{ argv: [sh, -c, 'exit 3'], exit: 3 }} }}\n{MEASURED}");
    let ran = run(&entries, &Table::default());
    let Some(Evidence::Program { entry, exit, problem, .. }) = ran.records.last().map(|r| &r.evidence) else {
        panic!("{:?}", outline(&ran.records))
    };
    assert_eq!((entry.as_str(), *exit, problem), ("P", Some(3), &None));
    let ran = run("  - { id: P, title: t, program: { argv: [/nonexistent] } }\n", &Table::default());
    let Some(Evidence::Program { exit: None, problem: Some(problem), .. }) = ran.records.last().map(|r| &r.evidence)
    else {
        panic!("{:?}", outline(&ran.records))
    };
    assert!(problem.starts_with("`/nonexistent` could not be started"), "{problem}");
}

#[test]
fn a_model_that_is_not_here_blocks_its_arms() {
    let yaml = ONE.replace("a: { backend: fake }", "a: { backend: fake, model: m }") + MEASURED;
    let (spec, table) = (spec(&yaml), Table::default());
    let ran = Run::of(&spec, &table).in_memory(&mut never);
    assert_eq!(outline(&ran.records), ["L a 0.0", "B+ 0.0"]);
    assert!(table.asked.borrow().is_empty(), "no worker was asked");
}

/// An arm whose oracle is the reference, on a file that nobody opens here.
fn with_file(sha256: &str, cache: &Path, table: &Table) -> Vec<Record> {
    let yaml = ONE.replace("a: { backend: fake }", "a: { backend: reference, model: m }") + MEASURED;
    let spec = spec(&yaml);
    let plan = Plan::new(&spec).unwrap();
    let file = ModelFile {
        path: "/m.gguf".into(),
        identity: None,
        sha256: sha256.into(),
        bytes: 1,
        source: "path".into(),
        problem: None,
        format: "F16".into(),
        bytes_per_token: 1,
        layers: None,
    };
    let setup = Setup {
        spec: &spec,
        plan: &plan,
        models: &BTreeMap::from([("m".to_owned(), file)]),
        inputs: &Inputs::without_models(&spec, &plan),
        directory: Path::new("/"),
        cache: Some(cache),
        launcher: table,
        cards: &NoCards,
        refused: &BTreeMap::new(),
        baselines: &Baselines::new(),
        salt: "",
        spread: &[],
        place: None,
        elsewhere: None,
        interrupted: &AtomicBool::new(false),
    };
    let (mut store, mut watch) = (Memory, Watch::default());
    let mut journal = Journal::new(Vec::new(), &mut store, &mut watch);
    assert_eq!(execute(&setup, &mut journal, &mut never).unwrap(), Outcome::Finished);
    journal.into_records()
}

#[test]
fn the_reference_is_asked_once_about_the_same_tokens_of_the_same_file() {
    let cache = tempfile::tempdir().unwrap();
    let asked = |sha256: &str| {
        let table = Table::default();
        let records = with_file(sha256, cache.path(), &table);
        let check = records.iter().rev().find_map(|r| match &r.evidence {
            Evidence::Tokens { check, .. } => Some(check.clone()),
            _ => None,
        });
        let check = check.unwrap();
        assert_eq!((check.oracle.as_deref(), check.checked), (Ok("puppet 1"), 3));
        let asked = table.asked.borrow();
        asked.iter().filter(|a| matches!(a, Asked::Score(_))).count()
    };
    assert_eq!(asked("one"), 2, "its output, and what followed a prompt that it had not seen");
    assert_eq!(asked("one"), 0, "remembered from run to run");
    assert_eq!(asked("two"), 2, "another file is another question");
    for entry in std::fs::read_dir(cache.path().join("scores")).unwrap() {
        std::fs::write(entry.unwrap().path(), "damaged").unwrap();
    }
    assert_eq!(asked("one"), 2, "what cannot be read is asked again");
}

#[test]
fn an_engine_is_not_told_which_replicate_it_is() {
    let cache = tempfile::tempdir().unwrap();
    let table = Table::default();
    with_file("one", cache.path(), &table);
    assert!(table.prepared().is_empty());
    let Some(Asked::Prepare(first)) = table.asked.borrow().first().cloned() else { panic!("nobody was asked") };
    assert_eq!(first.model.unwrap().sha256, "one");
}
