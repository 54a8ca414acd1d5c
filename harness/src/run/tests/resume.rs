//! A run that was killed goes on, and ends as one that was not.

use super::launcher::{Deed, Table};
use super::*;
use crate::run::read::{self, ReadError, RunData};
use crate::run::store::{EVENTS, Folder, SAMPLES, SPEC as SPEC_FILE, StoreError};
use crate::samples::{Environment, Phase};
use crate::verdict::judge;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::{fs, io};

/// Every kind of step, with an arm that refuses late, one that breaks a block, and one that breaks it always.
const EVERYTHING: &str = "
apiVersion: qa/v1
name: test
workloads:
  decode: { prompt_tokens: 2, generate_tokens: 3, ignore_eos: true }
arms:
  a: { backend: fake }
  b: { backend: fake }
  c: { backend: fake }
  d: { backend: fake }
sampling: { blocks: { looks: [2, 3, 4] }, iterations: 1, warmup: 1, retries: 1 }
acceptance:
  - { id: AB, title: t, require: { metric: decode_rate, of: a, over: b, at_least: 1.0 } }
  - { id: CD, title: t, require: { metric: decode_rate, of: c, over: d, at_least: 1.0 } }
  - { id: S, title: t, correct: { arm: a, against: reference, tokens: 4, context: 4 } }
  - { id: L, title: t, soak: { of: a, duration_s: 9, run_s: 0.2 } }
  - { id: P, title: t, program: { argv: ['true'] } }
";

fn table() -> Table {
    Table::with(&[
        ("b", |r| r.block == 1 && r.attempt == 0, Deed::CrashAfterOne),
        ("d", |r| r.block == 2, Deed::Crash),
        ("reference", |r| r.workload == "S" && r.attempt == 0, Deed::CrashAfterOne),
    ])
}

/// Ends at the second look, so that a resumed run has to come to the same decision.
fn at_three_blocks(_: &str, records: &[Record]) -> bool {
    records.iter().filter(|r| matches!(r.evidence, Evidence::Block { complete: true, .. })).count() >= 3
}

/// Thousands of runs that see to it that nothing is lost in a power cut take long on a disk.
fn in_memory_folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn environment(yaml: &str) -> Environment {
    Environment { spec_sha256: qa_model::hash::sha256_bytes(yaml.as_bytes()), ..Environment::default() }
}

fn without_seconds(records: &[Record]) -> Vec<Record> {
    let mut records = timeless(records);
    for record in &mut records {
        if let Evidence::Program { seconds, .. } = &mut record.evidence {
            *seconds = 0.0;
        }
    }
    records
}

/// A finished run in a folder, and its records as they are there.
fn whole(dir: &Path) -> Vec<Record> {
    run_whole(dir);
    on_disk(dir)
}

fn on_disk(dir: &Path) -> Vec<Record> {
    read::whole(dir).unwrap().0.records
}

/// A finished run in a folder, and what was in memory at its end.
fn run_whole(dir: &Path) -> Vec<Record> {
    let spec = spec(EVERYTHING);
    let mut folder = Folder::create(dir, EVERYTHING, &environment(EVERYTHING)).unwrap();
    let ran = Run::of(&spec, &table()).into(&mut folder, &mut at_three_blocks);
    assert_eq!(ran.outcome.unwrap(), Outcome::Finished);
    ran.records
}

fn resume(dir: &Path, table: &Table) -> Ran {
    let (data, mut folder) = read::resume(dir).unwrap();
    let run = Run { earlier: data.records, ..Run::of(&data.spec, table) };
    run.into(&mut folder, &mut at_three_blocks)
}

#[test]
fn a_run_on_disk_is_the_run_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let left = run_whole(dir.path());
    let (data, chain) = read::whole(dir.path()).unwrap();
    let spec = spec(EVERYTHING);
    let in_memory = Run::of(&spec, &table()).in_memory(&mut at_three_blocks);
    assert_eq!(without_seconds(&data.records), without_seconds(&in_memory.records));
    assert_eq!((data.spec, data.spec_yaml.as_str(), chain.records), (spec, EVERYTHING, data.records.len()));
    // What no later step asks for is on disk alone: a workload's records when it is over, and the samples of a long decode.
    let gone = |e: &Evidence| {
        matches!(e, Evidence::Block { .. } | Evidence::Tokens { .. })
            || matches!(e, Evidence::Sample { process, .. } if process.phase == Phase::Soak)
    };
    assert!(!left.iter().any(|record| gone(&record.evidence)), "{:?}", outline(&left));
    assert!(!left.is_empty());
}

#[test]
fn samples_folded_into_columns_say_what_they_said_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    run_whole(dir.path());
    let (folded, (whole, _)) = (read::load(dir.path()).unwrap(), read::whole(dir.path()).unwrap());
    assert!(folded.records.len() < whole.records.len());
    let report = |data: &RunData| judge(&data.spec, &data.spec_yaml, &data.environment, &data.records);
    assert_eq!(report(&folded), report(&whole));
    let unfolded = |record: &Record| matches!(record.evidence, Evidence::Sample { .. } | Evidence::Footprint { .. });
    assert!(!folded.records.iter().any(unfolded));
    assert!(serde_json::to_string(&folded.records).is_err(), "rows are never written");
}

#[test]
fn what_would_fill_the_memory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    run_whole(dir.path());
    let (spec, environment) = read::texts(dir.path()).unwrap();
    let refused = |samples: &mut dyn io::BufRead, most: usize| {
        read::parse(dir.path(), &spec, &environment, samples, most).unwrap_err().to_string()
    };
    let said = refused(&mut read::open(dir.path()).unwrap(), 10_000);
    assert!(said.contains("takes more than 10000 bytes of memory"), "{said}");
    let said = refused(&mut io::BufReader::new(io::repeat(b' ')), usize::MAX);
    assert!(said.contains("samples.jsonl, line 1: it is longer than 268435456 bytes"), "{said}");
}

#[test]
fn a_run_cut_off_at_any_byte_ends_like_an_unbroken_one() {
    let dir = in_memory_folder();
    let unbroken = without_seconds(&whole(dir.path()));
    let samples = fs::read(dir.path().join(SAMPLES)).unwrap();
    let program = outline(&unbroken);
    for kind in ["B- 1.0", "B+ 1.1", "L d 2.1", "L reference 0.0", "scores S", "program P"] {
        assert!(program.contains(&kind.to_owned()), "{kind} is among {program:?}");
    }
    // Every byte of a line's middle is like any other.
    let ends = samples.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let cuts: BTreeSet<usize> = ends.flat_map(|end| [end - 1, end, end + 1, end + 40]).chain([0, 1, 2]).collect();
    for cut in cuts.into_iter().filter(|cut| *cut < samples.len()) {
        fs::write(dir.path().join(SAMPLES), &samples[..cut]).unwrap();
        let ran = resume(dir.path(), &table());
        assert_eq!(ran.outcome.unwrap(), Outcome::Finished, "cut at {cut}");
        assert_eq!(without_seconds(&on_disk(dir.path())), unbroken, "cut at {cut}, on disk");
    }
}

#[test]
fn a_small_run_cut_off_at_every_byte_ends_like_an_unbroken_one() {
    let dir = in_memory_folder();
    let yaml = "
apiVersion: qa/v1
name: test
workloads: { decode: { prompt_tokens: 1, generate_tokens: 2, ignore_eos: true } }
arms: { a: { backend: fake }, b: { backend: fake } }
sampling: { blocks: 1, iterations: 1, warmup: 0, retries: 1 }
acceptance: [{ id: AB, title: t, require: { metric: decode_rate, of: a, over: b, at_least: 1.0 } }]
";
    let table = Table::with(&[("b", |r| r.attempt == 0, Deed::CrashAfterOne)]);
    let (spec, mut folder) = (spec(yaml), Folder::create(dir.path(), yaml, &environment(yaml)).unwrap());
    assert_eq!(Run::of(&spec, &table).into(&mut folder, &mut never).outcome.unwrap(), Outcome::Finished);
    drop(folder);
    let unbroken = timeless(&on_disk(dir.path()));
    let samples = fs::read(dir.path().join(SAMPLES)).unwrap();
    assert!(samples.len() > 2000, "{}", samples.len());
    for cut in 0..samples.len() {
        fs::write(dir.path().join(SAMPLES), &samples[..cut]).unwrap();
        assert_eq!(resume(dir.path(), &table).outcome.unwrap(), Outcome::Finished, "cut at {cut}");
        assert_eq!(timeless(&on_disk(dir.path())), unbroken, "cut at {cut}");
    }
}

#[test]
fn a_finished_run_resumes_to_itself_without_starting_a_worker() {
    let dir = tempfile::tempdir().unwrap();
    let records = whole(dir.path());
    let table = table();
    assert_eq!(resume(dir.path(), &table).records, records);
    assert!(table.asked.borrow().is_empty());
}

#[test]
fn what_is_put_aside_is_kept_among_the_events() {
    let dir = tempfile::tempdir().unwrap();
    whole(dir.path());
    let path = dir.path().join(SAMPLES);
    let samples = fs::read_to_string(&path).unwrap();
    let third = samples.match_indices('\n').nth(2).unwrap().0;
    fs::write(&path, &samples[..third + 5]).unwrap();
    let ran = resume(dir.path(), &table());
    assert!(ran.events.iter().any(|e| matches!(e, Event::Discarded { records } if records.len() == 3)));
    let events = fs::read_to_string(dir.path().join(EVENTS)).unwrap();
    assert!(events.contains(r#""event":"torn","line":"{\"se"#), "{events}");
    assert!(events.lines().all(|l| serde_json::from_str::<crate::run::event::EventLine>(l).is_ok()));
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let unbroken = without_seconds(&whole(&dir.path().join("unbroken")));
    let spec = spec(EVERYTHING);
    let broken = dir.path().join("broken");
    let mut folder = Folder::create(&broken, EVERYTHING, &environment(EVERYTHING)).unwrap();
    let mut interrupted = table();
    interrupted.deeds.insert(0, ("c", |r| r.block == 1, Deed::Interrupted));
    let ran = Run::of(&spec, &interrupted).into(&mut folder, &mut at_three_blocks);
    assert_eq!(ran.outcome.unwrap(), Outcome::Interrupted);
    assert!(ran.records.iter().all(|r| !matches!(&r.evidence, Evidence::Lost { process, .. } if process.arm == "c")));
    assert_eq!(ran.events.last(), Some(&Event::Interrupted));
    drop(folder);
    assert!(interrupted.interrupted.load(Ordering::Relaxed));
    resume(&broken, &table());
    assert_eq!(without_seconds(&on_disk(&broken)), unbroken);
}

#[test]
fn a_folder_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let environment = environment(EVERYTHING);
    let folder = Folder::create(dir.path(), EVERYTHING, &environment).unwrap();
    let refused = Folder::create(dir.path(), EVERYTHING, &environment).unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    let refused = read::resume(dir.path()).unwrap_err();
    assert!(matches!(refused, ReadError::Store(StoreError::Locked { .. })), "{refused}");
    assert!(read::load(dir.path()).is_ok(), "readers need no lock");
    drop(folder);
    assert!(read::resume(dir.path()).is_ok(), "the lock of one who is gone is free");
    let refused = Folder::create(dir.path(), EVERYTHING, &environment).unwrap_err();
    assert!(matches!(refused, StoreError::Occupied { .. }), "{refused}");
}

#[test]
fn a_folder_that_is_not_the_runs_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = read::resume(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("holds no run: there is no samples.jsonl in it"), "{refused}");
    whole(dir.path());

    let samples = fs::read_to_string(dir.path().join(SAMPLES)).unwrap();
    let mut lines: Vec<&str> = samples.lines().collect();
    lines.remove(3);
    fs::write(dir.path().join(SAMPLES), lines.join("\n") + "\n").unwrap();
    let refused = read::load(dir.path()).unwrap_err().to_string();
    assert!(refused.ends_with("line 4: record 4 where 3 should be: lines are missing or doubled"), "{refused}");
    fs::write(dir.path().join(SAMPLES), "garbage\n").unwrap();
    assert!(read::load(dir.path()).unwrap_err().to_string().contains("samples.jsonl, line 1: "));
    fs::write(dir.path().join(SAMPLES), &samples).unwrap();

    fs::write(dir.path().join(SPEC_FILE), EVERYTHING.replace("retries: 1", "retries: 0")).unwrap();
    assert!(matches!(read::load(dir.path()).unwrap_err(), ReadError::SpecChanged { .. }));
}

#[test]
fn records_of_another_plan_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let records = whole(dir.path());
    for (yaml, message) in [
        (EVERYTHING.replace("decode", "other").replace("other_rate", "decode_rate"), "record 0 of samples.jsonl"),
        (EVERYTHING.replace("  - { id: P, title: t, program: { argv: ['true'] } }\n", ""), "the end of the run"),
    ] {
        let (spec, table) = (spec(&yaml), table());
        let run = Run { earlier: records.clone(), ..Run::of(&spec, &table) };
        let refused = run.in_memory(&mut at_three_blocks).outcome.unwrap_err().to_string();
        assert!(refused.contains(message), "{refused}");
    }
}
