//! Programs that a specification names itself: its author's choice, not its user's.
//!
//! Whoever runs a specification allows the programs of `PATH` and of the environment. What the specification names, with
//! the arguments that it gives, may be anything, so it is run only where the user says so.

use super::node::Step;
use super::{Backend, Loaded, Section, Spec, check};
use crate::plan::ORACLE;
use std::collections::BTreeSet;

/// A program that a specification names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnProgram {
    /// Where, as `--set` would write it.
    pub place: String,
    /// The program with its arguments, or the folder of programs.
    pub words: String,
    path: Vec<Step>,
}

impl Spec {
    /// Every program that the specification names and a claim of it would run, each of the same words once.
    pub fn own_programs(&self) -> Vec<OwnProgram> {
        let used = check::used(self).arms;
        // The oracle is asked whether or not a claim names it.
        let runs = |name: &str| name == ORACLE || used.contains(name);
        let arms = self.arms.iter().filter(|(name, _)| runs(name)).filter_map(|(name, arm)| {
            let (field, words) = match arm.backend {
                Backend::Plugin => ("command", arm.command.join(" ")),
                Backend::OpenAi if !arm.command.is_empty() => ("command", arm.command.join(" ")),
                // A secret of the user's, sent to where the specification says.
                Backend::OpenAi => ("key_variable", format!("(send) {}", arm.options.get("key_variable")?.as_str()?)),
                Backend::LlamaCpp => ("programs", arm.options.get("programs")?.as_str()?.to_owned()),
                _ => return None,
            };
            let path = vec!["arms".into(), name.as_str().into(), field.into()];
            Some(OwnProgram { place: format!("arms.{name}.{field}"), words, path })
        });
        let checks = self.entries().filter_map(|(section, entry)| {
            let words = entry.program.as_ref()?.argv.join(" ");
            let path = vec![section.field().into(), entry.id.as_str().into(), "program".into(), "argv".into()];
            Some(OwnProgram { place: format!("{}.{}.program.argv", section.field(), entry.id), words, path })
        });
        let mut seen = BTreeSet::new();
        arms.chain(checks).filter(|program| seen.insert(program.words.clone())).collect()
    }
}

impl Loaded {
    /// Of the programs that `selected`, a part of this specification, names: those that are written in its files. What
    /// comes from the command line is the user's own choice.
    pub fn own_programs(&self, selected: &Spec) -> Vec<OwnProgram> {
        let mut programs = selected.own_programs();
        programs.retain(|program| {
            let span = self.tree.locate_name(&self.indexed(&program.path));
            self.sources.get(span.source).is_none_or(|source| source.folder.is_some())
        });
        programs
    }

    /// A path with an entry's index in the place of its id.
    fn indexed(&self, path: &[Step]) -> Vec<Step> {
        let mut path = path.to_vec();
        let [Step::Name(section), Step::Name(id), ..] = path.as_slice() else { return path };
        let entries = match section.as_str() {
            name if name == Section::Checkpoint.field() => &self.spec.checkpoints,
            name if name == Section::Acceptance.field() => &self.spec.acceptance,
            _ => return path,
        };
        if let Some(index) = entries.iter().position(|entry| entry.id == *id) {
            path[1] = index.into();
        }
        path
    }
}
