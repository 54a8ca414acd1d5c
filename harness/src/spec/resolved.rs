//! The resolved specification: what a run keeps, and reads again.

use super::derive;
use super::interpolate::{self, Scope};
use super::parse::{self, Limits};
use super::problem::SpecErrors;
use super::source::Sources;
use super::typed;
use super::types::Spec;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A specification as YAML, with nothing left to resolve: it loads back to the same.
pub fn resolved_yaml(spec: &Spec) -> String {
    // By way of JSON: straight to YAML, an enum with a body becomes a tag, which the language does not have.
    let Ok(mut value) = serde_json::to_value(derive::without_derived(spec)) else { return String::new() };
    escape(&mut value);
    serde_yaml::to_string(&value).unwrap_or_default()
}

fn escape(value: &mut Value) {
    match value {
        Value::String(text) => *text = interpolate::escape(text),
        Value::Array(items) => items.iter_mut().for_each(escape),
        Value::Object(map) => map.values_mut().for_each(escape),
        _ => {}
    }
}

/// Read what [`resolved_yaml`] wrote. Nothing of this machine enters: no environment, no other file. The rules are not
/// asked again: a selection of entries leaves definitions that nothing uses.
///
/// # Errors
/// When the text is no resolved specification. `shown` is how messages name it.
pub fn read_resolved(text: &str, shown: &Path) -> Result<Spec, SpecErrors> {
    let mut sources = Sources::default();
    let source = sources.add_file(shown, PathBuf::new(), text.to_owned());
    let fail = |problem, sources: &Sources| SpecErrors::new(vec![problem], sources);
    let mut tree = parse::parse(text, source, Limits::RESOLVED).map_err(|problem| fail(problem, &sources))?;
    let nothing = |_: &str| None;
    Scope::of_env(&nothing, &sources).apply(&mut tree).map_err(|problem| fail(problem, &sources))?;
    let reading = typed::read_all::<Spec>(&mut tree, &[]);
    match reading.value {
        Some(mut spec) if reading.problems.is_empty() => {
            derive::add_arms(&mut spec);
            Ok(spec)
        }
        _ => Err(SpecErrors::new(reading.problems, &sources)),
    }
}
