//! The runner against workers that do as a table says.

mod blocks;
mod cards;
mod elsewhere;
mod gpu;
mod launcher;
mod profile;
mod resume;
mod steps;
mod unseen;

use super::elsewhere::Elsewhere;
use super::event::{Event, Observer};
use super::gpu::{Cards, NoCards};
use super::inputs::Inputs;
use super::journal::Journal;
use super::session::Launcher;
use super::store::{Memory, Store};
use super::{Baselines, Outcome, RunError, Setup, execute, refused};
use crate::plan::Plan;
use crate::samples::{Evidence, ModelFile, ProcessKey, Record};
use crate::spec::Spec;
use launcher::Table;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Two arms and a third in mirrored blocks with looks; a decode of three tokens.
const SPEC: &str = "
apiVersion: qa/v1
name: test
workloads:
  decode: { prompt_tokens: 2, generate_tokens: 3, ignore_eos: true }
arms:
  a: { backend: fake }
  b: { backend: fake }
  c: { backend: fake }
sampling: { blocks: { looks: [2, 4] }, iterations: 2, warmup: 1, retries: 1 }
acceptance:
  - { id: AB, title: t, require: { metric: decode_rate, of: a, over: b, at_least: 1.0 } }
  - { id: C, title: t, variation: { metric: decode_rate, of: c, at_most: 0.5 } }
";

fn spec(yaml: &str) -> Spec {
    crate::spec::read_resolved(yaml, Path::new("test.yaml")).unwrap()
}

#[derive(Default)]
struct Watch(Vec<Event>);

impl Observer for Watch {
    fn event(&mut self, event: &Event) {
        self.0.push(event.clone());
    }
}

/// What a run left and how it ended.
struct Ran {
    records: Vec<Record>,
    events: Vec<Event>,
    outcome: Result<Outcome, RunError>,
}

/// Runs a specification whose arms need no models.
struct Run<'a> {
    spec: &'a Spec,
    launcher: &'a dyn Launcher,
    cards: &'a dyn Cards,
    earlier: Vec<Record>,
    elsewhere: Option<&'a dyn Elsewhere>,
    spread: &'a [String],
    interrupted: &'a AtomicBool,
}

impl<'a> Run<'a> {
    fn of(spec: &'a Spec, launcher: &'a Table) -> Self {
        Self {
            spec,
            launcher,
            cards: &NoCards,
            earlier: Vec::new(),
            elsewhere: None,
            spread: &[],
            interrupted: &launcher.interrupted,
        }
    }

    fn in_memory(self, decided: &mut dyn FnMut(&str, &[Record]) -> bool) -> Ran {
        self.into(&mut Memory, decided)
    }

    fn into(self, store: &mut dyn Store, decided: &mut dyn FnMut(&str, &[Record]) -> bool) -> Ran {
        let plan = Plan::new(self.spec).unwrap();
        let inputs = Inputs::without_models(self.spec, &plan);
        let models: BTreeMap<String, ModelFile> = BTreeMap::new();
        let setup = Setup {
            spec: self.spec,
            plan: &plan,
            models: &models,
            inputs: &inputs,
            directory: Path::new("/"),
            cache: None,
            launcher: self.launcher,
            cards: self.cards,
            refused: &refused(self.spec, self.launcher),
            baselines: &Baselines::new(),
            salt: "",
            spread: self.spread,
            place: None,
            elsewhere: self.elsewhere,
            interrupted: self.interrupted,
        };
        let mut watch = Watch::default();
        let mut journal = Journal::new(self.earlier, store, &mut watch);
        let outcome = execute(&setup, &mut journal, decided);
        let records = journal.into_records();
        Ran { records, events: watch.0, outcome }
    }
}

fn never(_: &str, _: &[Record]) -> bool {
    false
}

/// Records without their times, which differ from run to run.
fn timeless(records: &[Record]) -> Vec<Record> {
    records.iter().map(|r| Record { at: String::new(), ..r.clone() }).collect()
}

/// One word a record: `P` ready, `S` sample, `U` sample of an unseen prompt, `G` card watched or not, `L` lost, `B+` and `B-` block whole or broken, `T` tokens.
fn outline(records: &[Record]) -> Vec<String> {
    let process = |letter: &str, key: &ProcessKey| {
        let side = if key.side == 0 { "" } else { "'" };
        format!("{letter} {}{side} {}.{}", key.arm, key.block, key.attempt)
    };
    let mut words: Vec<String> = Vec::new();
    for record in records {
        let word = match &record.evidence {
            Evidence::Process { process: key, .. } => process("P", key),
            Evidence::Sample { process: key, .. } => process("S", key),
            Evidence::Rows { process: key, .. } => process("R", key),
            Evidence::Unseen { process: key, .. } => process("U", key),
            Evidence::Gpu { process: key, watch } => process(if watch.is_ok() { "G+" } else { "G-" }, key),
            Evidence::Lost { process: key, .. } => process("L", key),
            Evidence::Block { block, attempt, complete, .. } => {
                format!("B{} {block}.{attempt}", if *complete { '+' } else { '-' })
            }
            Evidence::Tokens { arm, .. } => format!("T {arm}"),
            Evidence::Scores { entry, .. } => format!("scores {entry}"),
            Evidence::Profile { process: key, .. } => format!("profile {}", key.arm),
            Evidence::Footprint { process: key, .. } => process("F", key),
            Evidence::Program { entry, .. } => format!("program {entry}"),
            Evidence::Baseline { branch, arm, .. } => format!("baseline {branch} of {arm}"),
        };
        if words.last() != Some(&word) {
            words.push(word);
        }
    }
    words
}
