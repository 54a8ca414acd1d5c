//! The published JSON Schema of specifications (draft-07, which editors know), generated from the types.
//!
//! It describes what is written: wherever a number, a truth value, a choice or a list is expected, a `${...}` may stand.

use super::options::{self, ArmFields};
use super::types::{Backend, Spec};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Map, Value, json};

/// Name of the schema.
const ID: &str = "urn:qa:spec:v1";
/// Where the schema of `${...}` stands.
const REFERENCE: &str = "#/definitions/Reference";

/// The schema of specifications, as it is committed under `specs/`.
pub fn json_schema() -> Value {
    let mut root = SchemaSettings::draft07().into_generator().into_root_schema_for::<Spec>().to_value();
    let definitions = root["definitions"].as_object().cloned().unwrap_or_default();
    allow_references(&mut root, &definitions);
    if let Some(fields) = root.as_object_mut() {
        fields.insert("$id".to_owned(), ID.into());
        fields.insert("title".to_owned(), "A specification of qa".into());
    }
    root["definitions"]["Reference"] = json!({
        "description": "An environment variable, `${NAME}` or `${NAME:-default}`, or a variable of the entry's matrix.",
        "type": "string",
        "pattern": r"\$\{[^}]+\}",
    });
    root
}

/// The schema of an arm: its backend says which options there are, and no others are allowed.
pub(super) fn arm(generator: &mut SchemaGenerator) -> Schema {
    let base = ArmFields::json_schema(generator).to_value();
    let branches: Vec<Value> = options::BACKENDS.iter().map(|backend| branch(*backend, &base, generator)).collect();
    json_schema!({
        "description": "Something that is measured: a backend, a model and the backend's options.",
        "type": "object",
        "required": ["backend"],
        "properties": { "backend": base["properties"]["backend"] },
        "allOf": branches,
    })
}

fn branch(backend: Backend, base: &Value, generator: &mut SchemaGenerator) -> Value {
    let mut properties = base["properties"].as_object().cloned().unwrap_or_default();
    let own = options::schema(backend, generator);
    properties.extend(own.clone().unwrap_or_default());
    if !matches!(backend, Backend::Plugin | Backend::OpenAi) {
        properties.remove("command");
    }
    let mut then = json!({ "properties": properties });
    if own.is_some() {
        then["additionalProperties"] = json!(false);
    }
    if backend == Backend::Plugin {
        then["required"] = json!(["command"]);
    } else if !backend.may_lack_model() {
        then["required"] = json!(["model"]);
    }
    json!({ "if": { "required": ["backend"], "properties": { "backend": { "const": backend } } }, "then": then })
}

/// Let a reference stand for every value that is no plain string, no map and no name.
fn allow_references(schema: &mut Value, definitions: &Map<String, Value>) {
    match schema {
        Value::Object(fields) => {
            for (keyword, value) in fields {
                match keyword.as_str() {
                    "properties" => {
                        for property in value.as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
                            allow_references(property, definitions);
                            wrap(property, definitions);
                        }
                    }
                    "items" if value.is_object() => {
                        allow_references(value, definitions);
                        wrap(value, definitions);
                    }
                    // What chooses a branch must stay as it is.
                    "if" | "const" | "enum" | "default" => {}
                    _ => allow_references(value, definitions),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| allow_references(item, definitions)),
        _ => {}
    }
}

fn wrap(schema: &mut Value, definitions: &Map<String, Value>) {
    if !may_be_reference(schema, definitions) {
        return;
    }
    let mut inner = schema.take();
    let mut outer = Map::new();
    for keyword in ["description", "default"] {
        if let Some(value) = inner.as_object_mut().and_then(|fields| fields.shift_remove(keyword)) {
            outer.insert(keyword.to_owned(), value);
        }
    }
    outer.insert("anyOf".to_owned(), json!([inner, { "$ref": REFERENCE }]));
    *schema = Value::Object(outer);
}

/// Whether a schema is of something else than maps and free strings.
fn may_be_reference(schema: &Value, definitions: &Map<String, Value>) -> bool {
    let Some(fields) = schema.as_object() else { return false };
    if let Some(name) = fields.get("$ref").and_then(Value::as_str).and_then(|at| at.rsplit('/').next()) {
        return definitions.get(name).is_some_and(|schema| may_be_reference(schema, definitions));
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        if let Some(branches) = fields.get(keyword).and_then(Value::as_array) {
            return branches.iter().any(|branch| may_be_reference(branch, definitions));
        }
    }
    if fields.contains_key("enum") || fields.contains_key("const") {
        return true;
    }
    let is = |wanted: &[&str]| match fields.get("type") {
        Some(Value::String(kind)) => wanted.contains(&kind.as_str()),
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind.as_str().is_some_and(|kind| wanted.contains(&kind))),
        _ => false,
    };
    is(&["integer", "number", "boolean", "array"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::{BASE, every_spec};
    use std::path::{Path, PathBuf};

    fn specs() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs")
    }

    #[test]
    fn the_committed_schema_is_current() {
        let path = specs().join("qa.schema.json");
        let generated = format!("{:#}\n", json_schema());
        if std::env::var_os("QA_UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &generated).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == generated,
            "{} is not what the types say: run this test with QA_UPDATE_SCHEMAS=1 and commit it",
            path.display()
        );
    }

    #[test]
    fn every_spec_is_valid_and_names_the_schema_for_editors() {
        let validator = jsonschema::draft7::new(&json_schema()).unwrap();
        for file in every_spec() {
            let text = std::fs::read_to_string(&file).unwrap();
            let value: Value = serde_yaml::from_str(&text).unwrap();
            let errors: Vec<String> =
                validator.iter_errors(&value).map(|error| format!("{error} at {}", error.instance_path())).collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", file.display());
            let first = text.lines().next().unwrap_or_default();
            let schema = first.strip_prefix("# yaml-language-server: $schema=");
            let schema = schema.unwrap_or_else(|| panic!("{} names no schema: {first}", file.display()));
            let there = file.with_file_name(schema);
            assert!(there.is_file(), "{} names {schema}, which is not there", file.display());
        }
    }

    #[test]
    fn every_metric_has_a_name_in_the_schema() {
        let validator = jsonschema::draft7::new(&json_schema()).unwrap();
        let mut spec: Value = serde_yaml::from_str(BASE).unwrap();
        for metric in qa_protocol::Metric::ALL {
            spec["acceptance"][0]["require"]["metric"] = metric.name().into();
            assert!(validator.is_valid(&spec), "{metric}");
        }
    }

    #[test]
    fn what_the_loader_refuses_by_shape_is_invalid() {
        let validator = jsonschema::draft7::new(&json_schema()).unwrap();
        let base: Value = serde_yaml::from_str(BASE).unwrap();
        assert!(validator.is_valid(&base));
        let valid_with = |pointer: &str, field: &str, value: Value| {
            let mut changed = base.clone();
            changed.pointer_mut(pointer).unwrap()[field] = value;
            validator.is_valid(&changed)
        };
        for (pointer, field, value) in [
            ("", "colour", json!("red")),
            ("", "apiVersion", json!("qa/v2")),
            ("/arms/cached", "threds", json!(2)),
            ("/arms/cached", "threads", json!("two")),
            ("/arms/cached", "gpu_layers", json!("all")),
            ("/arms/cached", "command", json!(["x"])),
            ("/arms/cached", "backend", json!("referense")),
            ("/sampling", "iterations", json!(-1)),
            ("/sampling", "blocks", json!({ "look": [6] })),
            ("/acceptance/0", "requires", json!({})),
            ("/acceptance/0/require", "metric", json!("speed")),
            ("/acceptance/0/require", "within", json!([1])),
            ("/workloads/decode", "prompt_tokens", json!("eight")),
            ("/workloads/decode", "prompt_tokens", json!(0)),
        ] {
            assert!(!valid_with(pointer, field, value.clone()), "{pointer}/{field} may be {value}");
        }
        for (pointer, field, value) in [
            ("/arms/cached", "threads", json!("${THREADS:-2}")),
            ("/arms/cached", "kv_cache", json!("${matrix.cache}")),
            ("/sampling", "blocks", json!("${BLOCKS}")),
            ("/sampling", "blocks", json!({ "looks": [6, 10] })),
            (
                "/workloads/decode",
                "sampling",
                json!({ "random": { "temperature": 0.8, "top_k": 40, "top_p": 0.9, "seed": 1 } }),
            ),
        ] {
            assert!(valid_with(pointer, field, value.clone()), "{pointer}/{field} may not be {value}");
        }
        let mut plugin = base.clone();
        plugin["arms"]["cached"] = json!({ "backend": "plugin", "command": ["x"], "anything": 1 });
        assert!(validator.is_valid(&plugin));
        plugin["arms"]["cached"] = json!({ "backend": "plugin" });
        assert!(!validator.is_valid(&plugin));
    }
}
