//! The language's reference, `specs/README.md`: its examples load, and it leaves nothing out.

use super::{Files, loaded};
use crate::spec::schema;
use serde_json::Value;
use std::collections::BTreeSet;

fn text() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/README.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn its_examples_load() {
    let text = text();
    let examples: Vec<&str> = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 2);
    for example in examples {
        assert!(loaded(example).warnings.is_empty(), "{example}");
    }
}

#[test]
fn its_command_lines_apply() {
    let phase2 = include_str!("../../../../specs/phase2.yaml");
    let text = text();
    let sets: Vec<&str> = text
        .split("--set ")
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next())
        .map(|set| set.trim_matches('\''))
        .filter(|set| set.contains('=') && !set.starts_with("PATH"))
        .collect();
    assert!(sets.len() >= 3, "{sets:?}");
    for set in sets {
        Files::of(&[("spec.yaml", phase2)]).load(&[set], &[]).unwrap_or_else(|errors| panic!("{set}: {errors}"));
    }
}

/// Every name of a field or of a choice in the schema.
fn names(schema: &Value, all: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for (keyword, value) in fields {
                match keyword.as_str() {
                    "properties" => all.extend(value.as_object().unwrap().keys().cloned()),
                    "const" => all.extend(value.as_str().map(str::to_owned)),
                    "enum" => all.extend(value.as_array().unwrap().iter().filter_map(Value::as_str).map(str::to_owned)),
                    _ => {}
                }
                names(value, all);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, all)),
        _ => {}
    }
}

#[test]
fn it_names_everything_that_the_schema_has() {
    let text = text();
    let words: BTreeSet<&str> =
        text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/'))).collect();
    let mut all = BTreeSet::new();
    names(&schema::json_schema(), &mut all);
    assert!(all.len() > 100, "{all:?}");
    let missing: Vec<&String> = all.iter().filter(|name| !words.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "specs/README.md does not name {missing:?}");
}
