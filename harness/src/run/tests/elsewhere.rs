//! Steps that run on other machines, which are this one.

use super::launcher::{Deed, Table};
use super::*;
use crate::run::elsewhere::AwayError;
use crate::run::unit::{self, Unit};
use std::cell::RefCell;

/// Runs each unit by itself, as a job would, from what the run had recorded before.
struct Jobs<'a> {
    spec: &'a Spec,
    table: &'a Table,
    begun: RefCell<Vec<Unit>>,
    fetched: RefCell<Vec<String>>,
    ended: RefCell<u32>,
    /// What is done to the records of every unit.
    tampered: fn(&mut Vec<Record>),
}

impl<'a> Jobs<'a> {
    fn new(spec: &'a Spec, table: &'a Table) -> Self {
        let (begun, fetched, ended) = (RefCell::default(), RefCell::default(), RefCell::default());
        Self { spec, table, begun, fetched, ended, tampered: |_| {} }
    }

    fn run(&self) -> Ran {
        Run { elsewhere: Some(self), ..Run::of(self.spec, self.table) }.in_memory(&mut never)
    }
}

impl Elsewhere for Jobs<'_> {
    fn begin(&self, units: &[Unit], _: &mut Journal<'_>) -> Result<(), AwayError> {
        let mut begun = self.begun.borrow_mut();
        for unit in units {
            if !begun.iter().any(|other| other.is(unit)) {
                begun.push(unit.clone());
            }
        }
        Ok(())
    }

    fn fetch(&self, unit: &Unit, journal: &mut Journal<'_>) -> Result<Vec<Record>, AwayError> {
        self.begin(std::slice::from_ref(unit), journal)?;
        // What it was begun with counts, and not what has been found out since.
        let unit = self.begun.borrow().iter().find(|other| other.is(unit)).unwrap().clone();
        self.fetched.borrow_mut().push(unit.words());
        let written = serde_json::to_string(&unit).unwrap();
        let read: Unit = serde_json::from_str(&written).unwrap();
        let plan = Plan::new(self.spec).unwrap();
        let inputs = Inputs::without_models(self.spec, &plan);
        let setup = Setup {
            spec: self.spec,
            plan: &plan,
            models: &BTreeMap::new(),
            inputs: &inputs,
            directory: Path::new("/"),
            cache: None,
            launcher: self.table,
            cards: &NoCards,
            refused: &BTreeMap::new(),
            baselines: &Baselines::new(),
            salt: "",
            spread: &[],
            place: None,
            elsewhere: None,
            interrupted: &self.table.interrupted,
        };
        let earlier = unit.needs_records().map_or(Vec::new(), |n| journal.records()[..n as usize].to_vec());
        let before = earlier.len();
        let (mut store, mut watch) = (Memory, Watch::default());
        let mut aside = Journal::beside(earlier, &mut store, &mut watch);
        assert_eq!(unit::run(&setup, &mut aside, &read).unwrap(), Outcome::Finished);
        let mut records = aside.into_records().split_off(before);
        (self.tampered)(&mut records);
        Ok(records)
    }

    fn end(&self) {
        *self.ended.borrow_mut() += 1;
    }
}

const STEPS: &str = "
  - { id: S, title: t, correct: { arm: a, against: reference, tokens: 4, context: 4 } }
  - { id: L, title: t, soak: { of: a, duration_s: 9, run_s: 0.2 } }
  - { id: P, title: t, program: { argv: ['true'] } }
";

fn without_seconds(records: &[Record]) -> Vec<Record> {
    let mut records = timeless(records);
    for record in &mut records {
        if let Evidence::Program { seconds, .. } = &mut record.evidence {
            *seconds = 0.0;
        }
    }
    records
}

#[test]
fn every_step_by_itself_leaves_what_it_leaves_among_the_others() {
    let spec = spec(&(SPEC.to_owned() + STEPS));
    let table = Table::with(&[
        ("b", |r| r.block == 1 && r.attempt == 0, Deed::CrashAfterOne),
        ("c", |r| r.block == 0, Deed::Refuse),
    ]);
    let here = Run::of(&spec, &table).in_memory(&mut never);
    let jobs = Jobs::new(&spec, &table);
    let there = jobs.run();
    assert_eq!(there.outcome.unwrap(), Outcome::Finished);
    assert_eq!(without_seconds(&there.records), without_seconds(&here.records));
    assert_eq!(*jobs.ended.borrow(), 1);
    let fetched = jobs.fetched.borrow();
    for step in [
        "block 1 of decode",
        "block 2 of decode, attempt 2",
        "the oracle's check of a in decode",
        "the scores of S",
        "the long decode of L",
    ] {
        assert!(fetched.iter().any(|other| other == step), "{step} was not fetched: {fetched:?}");
    }
    // Two blocks until the first look, all before the first of them is waited for.
    let blocks = |unit: &Unit| matches!(unit, Unit::Block { attempt: 0, .. });
    assert_eq!(jobs.begun.borrow().iter().take(2).filter(|unit| blocks(unit)).count(), 2);
}

#[test]
fn what_is_not_the_whole_step_is_not_taken() {
    let spec = spec(SPEC);
    let table = Table::default();
    for (tampered, phrase) in [
        ((|records| drop(records.pop())) as fn(&mut Vec<Record>), "its records do not reach its end"),
        (|records| records.clear(), "its records do not reach its end"),
        (|records| records.push(records[0].clone()), "it ends after"),
        (
            |records| {
                for record in records {
                    if let Evidence::Block { block, .. } = &mut record.evidence {
                        *block += 1;
                    }
                }
            },
            "is of another step",
        ),
    ] {
        let ran = Jobs { tampered, ..Jobs::new(&spec, &table) }.run();
        let said = ran.outcome.unwrap_err().to_string();
        assert!(
            said.starts_with("what came back for block 1 of decode is not that step: ") && said.contains(phrase),
            "{said}"
        );
        assert_eq!(ran.records, [], "{phrase}");
    }
}

#[test]
fn a_resumed_run_asks_only_for_what_it_does_not_have() {
    let spec = spec(SPEC);
    let table = Table::default();
    let whole = Jobs::new(&spec, &table).run().records;
    let blocks: Vec<usize> =
        (0..whole.len()).filter(|i| matches!(whole[*i].evidence, Evidence::Block { .. })).collect();
    let jobs = Jobs::new(&spec, &table);
    let earlier = whole[..=blocks[0]].to_vec();
    let ran = Run { elsewhere: Some(&jobs), earlier, ..Run::of(&spec, &table) }.in_memory(&mut never);
    assert_eq!(timeless(&ran.records), timeless(&whole));
    assert!(!jobs.fetched.borrow().iter().any(|step| step == "block 1 of decode"), "{:?}", jobs.fetched.borrow());
}
