//! A run that is looked at while it goes on: whether a workload's claims are decided, and where they stand.

use super::entry;
use super::gates::Run;
use super::glimpse::{self, Glimpse};
use super::observed::Observed;
use crate::report::model::Verdict;
use crate::samples::{Environment, Record};
use crate::spec::{Entry, Families, Spec};
use std::collections::BTreeMap;

/// Looks at a run, workload by workload. A specification may have ten thousand of them, so each look is given the records
/// of its own workload, and asks the entries of that one.
pub struct Onlooker<'a> {
    spec: &'a Spec,
    environment: &'a Environment,
    families: Families<'a>,
    entries: BTreeMap<&'a str, Vec<&'a Entry>>,
}

impl<'a> Onlooker<'a> {
    /// One for the runs of a specification.
    pub fn new(spec: &'a Spec, environment: &'a Environment) -> Self {
        let mut entries: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for (_, entry) in spec.entries() {
            for workload in entry::workloads(spec, entry) {
                entries.entry(workload).or_default().push(entry);
            }
        }
        Self { spec, environment, families: Families::of(spec), entries }
    }

    /// Whether every claim about a workload is decided at a look: no further block could change a verdict. `records` are
    /// those of the workload.
    pub fn decided(&self, records: &[Record], workload: &str) -> bool {
        let observed = Observed::new(self.spec, records);
        let run = self.run(&observed);
        self.of(workload).flat_map(|entry| entry::claims(run, entry)).all(|c| c.verdict != Verdict::Inconclusive)
    }

    /// The first `most` claims about a workload that have samples, in the specification's order, and how many others there
    /// are. Costs no more than a few means: nothing runs beside it, but the next process waits for it.
    pub fn so_far(&self, records: &[Record], workload: &str, most: usize) -> (Vec<Glimpse>, usize) {
        let observed = Observed::new(self.spec, records);
        let run = self.run(&observed);
        let mut shown = Vec::new();
        let mut others = 0;
        for question in self.of(workload).flat_map(|entry| glimpse::questions(run, entry)) {
            let (label, question) = question;
            if question.of.workload != workload {
                continue;
            }
            if shown.len() < most {
                shown.extend(glimpse::of(run, &question, label));
            } else {
                others += 1;
            }
        }
        (shown, others)
    }

    fn of(&self, workload: &str) -> impl Iterator<Item = &'a Entry> {
        self.entries.get(workload).into_iter().flatten().copied()
    }

    fn run<'r>(&'r self, observed: &'r Observed<'r>) -> Run<'r> {
        let (spec, environment, families) = (self.spec, self.environment, &self.families);
        Run { spec, environment, observed, families, looking: true, schema_violation: None }
    }
}
