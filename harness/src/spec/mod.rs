//! Specifications: read, checked, resolved.
//!
//! [`load`] reads as the pipeline: files with what they include, `--set`, references and matrices, paths, types, rules.
//! Every stage but the types works on one tree whose values know their places ([`node`]), so that whatever is wrong is
//! shown where it is written.

mod access;
pub mod check;
mod derive;
mod include;
mod interpolate;
mod matrix;
pub mod node;
pub mod options;
mod parse;
mod paths;
mod problem;
mod resolved;
mod scalar;
pub mod schema;
mod set;
mod source;
#[cfg(test)]
mod tests;
mod trust;
mod typed;
pub mod types;

pub use access::{Families, Section};
pub use check::JOINT;
pub use derive::MOST_SWITCHES;
pub use interpolate::Env;
pub use paths::HELDOUT;
pub use problem::{SpecError, SpecErrors, render};
pub use resolved::{read_resolved, resolved_yaml};
pub use trust::OwnProgram;
pub use types::*;

use miette::Severity;
use node::{Node, Step};
use source::Sources;
use std::path::{Path, PathBuf};

/// What changes how a specification is read.
pub struct LoadOptions<'a> {
    /// `--set` arguments, in order: `path=value`.
    pub sets: Vec<String>,
    /// Looks an environment variable up.
    pub env: Env<'a>,
}

impl LoadOptions<'_> {
    /// The process's own environment, and `--set` arguments.
    pub fn of_process(sets: Vec<String>) -> LoadOptions<'static> {
        LoadOptions { sets, env: &|name| std::env::var(name).ok() }
    }
}

/// A specification that may be run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The specification, with nothing left to resolve.
    pub spec: Spec,
    /// The same as YAML, as a run keeps it.
    pub resolved: String,
    /// What is probably not meant.
    pub warnings: Vec<SpecError>,
    /// The folder that relative paths of `spec` are relative to.
    pub folder: PathBuf,
    tree: Node,
    sources: Sources,
}

impl Loaded {
    /// File, line and column of an entry, for annotations.
    pub fn place_of(&self, id: &str) -> Option<(String, usize, usize)> {
        let (section, index) =
            [(Section::Checkpoint, &self.spec.checkpoints), (Section::Acceptance, &self.spec.acceptance)]
                .into_iter()
                .find_map(|(section, entries)| Some((section, entries.iter().position(|entry| entry.id == id)?)))?;
        let span = self.tree.locate(&[Step::from(section.field()), index.into(), "id".into()]);
        let file = self.sources.get(span.source)?.named.name().to_owned();
        let (line, column) = self.sources.line_column(span);
        Some((file, line, column))
    }
}

/// Read a specification, and everything that is wrong with it.
///
/// # Errors
/// Everything that keeps it from being run, in the order of the files. A file that cannot be read hides what is in it,
/// and a reference that stands for nothing hides the rules; otherwise every error is reported at once.
pub fn load(path: &Path, options: &LoadOptions<'_>) -> Result<Loaded, SpecErrors> {
    let mut sources = Sources::default();
    let mut tree =
        include::read(path, &mut sources, options.env).map_err(|problems| SpecErrors::new(problems, &sources))?;
    for argument in &options.sets {
        set::apply(&mut tree, argument, &mut sources).map_err(|problem| SpecErrors::new(vec![problem], &sources))?;
    }
    matrix::expand(&mut tree, options.env, &sources).map_err(|problems| SpecErrors::new(problems, &sources))?;
    paths::rebase(&mut tree, &sources);
    let reading = typed::read_all::<Spec>(&mut tree, &[]);
    let mut errors = reading.problems;
    let Some(mut spec) = reading.value else { return Err(SpecErrors::new(errors, &sources)) };
    let mut warnings = Vec::new();
    derive::add_arms(&mut spec);
    if reading.faithful {
        drop_unused_of_included(&mut spec, &tree, &sources);
        let findings = check::check(&spec, &tree);
        errors.extend(findings.errors);
        warnings = problem::diagnostics(findings.warnings, &sources, Severity::Warning);
    }
    if !errors.is_empty() {
        return Err(SpecErrors::new(errors, &sources));
    }
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let resolved = resolved_yaml(&spec);
    Ok(Loaded { spec, resolved, warnings, folder, tree, sources })
}

/// A file of shared definitions may hold more than is used here; what is not used is left out.
fn drop_unused_of_included(spec: &mut Spec, tree: &Node, sources: &Sources) {
    let included = |section: &str, name: &str| {
        let source = tree.locate_name(&[section.into(), name.into()]).source;
        source != tree.span.source && sources.get(source).is_some_and(|source| source.folder.is_some())
    };
    let whole = spec.clone();
    let used = check::used(&whole);
    spec.arms.retain(|name, _| used.arms.contains(name.as_str()) || !included("arms", name));
    spec.workloads.retain(|name, _| used.workloads.contains(name.as_str()) || !included("workloads", name));
    // An arm that went takes its model along.
    let models: Vec<String> = spec.arms.values().filter_map(|arm| arm.model.clone()).collect();
    spec.models.retain(|name, _| models.contains(name) || !included("models", name));
}
