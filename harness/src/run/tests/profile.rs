//! Decodes that are looked at after the samples.

use super::launcher::{Asked, Table};
use super::*;

const WITNESS: &str = "
apiVersion: qa/v1
name: test
workloads:
  decode: { prompt_tokens: 2, generate_tokens: 3, ignore_eos: true }
arms:
  a: { backend: fake }
sampling: { blocks: 2, iterations: 2, warmup: 1, retries: 1 }
acceptance:
  - { id: A, title: t, witness: { arm: a, streams: { at_most: 1 } }, timeline: { of: a } }
";

fn run(table: &Table) -> Ran {
    let spec = spec(WITNESS);
    let ran = Run::of(&spec, table).in_memory(&mut never);
    assert_eq!(ran.outcome.as_ref().unwrap(), &Outcome::Finished);
    ran
}

#[test]
fn an_arm_is_profiled_once_after_its_samples_in_a_process_of_its_own() {
    let table = Table { profiles: true, ..Table::default() };
    let outline = outline(&run(&table).records);
    assert_eq!(outline[outline.len() - 3..], ["T a", "P a 0.0", "profile a"]);
    let asked = table.asked.borrow();
    let prepared = asked.iter().rev().find_map(|a| if let Asked::Prepare(p) = a { Some(p.profile) } else { None });
    assert_eq!(prepared, Some(true), "told that nothing is timed");
    let timed = asked.iter().filter(|a| matches!(a, Asked::Prepare(p) if !p.profile)).count();
    assert_eq!(timed, 3, "two blocks and the oracle");
    assert!(matches!(asked.last(), Some(Asked::Profile(p)) if p.generate_tokens == 3 && p.prompt.len() == 2));
}

#[test]
fn a_worker_without_a_profiler_is_not_asked() {
    let table = Table::default();
    assert_eq!(outline(&run(&table).records).last().map(String::as_str), Some("T a"));
    assert!(!table.asked.borrow().iter().any(|asked| matches!(asked, Asked::Profile(_))));
}

#[test]
fn a_profile_that_fails_is_recorded_and_takes_nothing_back() {
    let table = Table { profiles: true, profile_fails: true, ..Table::default() };
    let ran = run(&table);
    let outline = outline(&ran.records);
    assert_eq!(outline[outline.len() - 2..], ["P a 0.0", "L a 0.0"]);
    assert_eq!(outline.iter().filter(|word| word.starts_with("B+")).count(), 2);
}

#[test]
fn a_run_that_was_cut_off_goes_on_to_the_same_profile() {
    let (spec, table) = (spec(WITNESS), Table { profiles: true, ..Table::default() });
    let whole = Run::of(&spec, &table).in_memory(&mut never);
    for kept in 0..=whole.records.len() {
        let earlier = whole.records[..kept].to_vec();
        let ran = Run { earlier, ..Run::of(&spec, &table) }.in_memory(&mut never);
        assert_eq!(outline(&ran.records), outline(&whole.records), "{kept} records kept");
    }
}
