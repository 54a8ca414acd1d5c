//! Every field of the language, from its JSON Schema, which is made from the types.

use super::cell;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Definitions that are no section of their own: what stands for them is said where they are used.
const WITHIN: [&str; 2] = ["Arm", "Reference"];

pub(super) fn page(schema: &Value) -> String {
    let mut out = String::from(
        "# Fields\n\nMade from the types, as `qa schema` is. [The language](language.md) says what they are for. Wherever a number, a \
         truth value, a choice or a list is expected, a `${...}` may stand.\n\n## A specification\n",
    );
    table(schema, &mut out);
    let empty = Map::new();
    let definitions = schema["definitions"].as_object().unwrap_or(&empty);
    arms(&definitions["Arm"], &mut out);
    for (name, definition) in definitions.iter().filter(|(name, _)| !WITHIN.contains(&name.as_str())) {
        let _ = write!(out, "\n## {}\n\n", title(name));
        if let Some(words) = definition["description"].as_str() {
            let _ = writeln!(out, "{}", cell(words));
        }
        if definition["properties"].is_object() {
            table(definition, &mut out);
        } else {
            let _ = writeln!(out, "\n{}.", kind(definition));
            choices(definition, &mut out);
        }
    }
    out
}

/// A type's name as a heading: twins of foreign types lose the word that says so.
fn title(name: &str) -> &str {
    name.strip_suffix("Schema").unwrap_or(name)
}

fn table(of: &Value, out: &mut String) {
    let empty = Map::new();
    let required: Vec<&str> = of["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    out.push_str("\n| field | is | |\n| --- | --- | --- |\n");
    for (name, field) in of["properties"].as_object().unwrap_or(&empty) {
        let mut words = cell(field["description"].as_str().unwrap_or_default());
        if required.contains(&name.as_str()) {
            words += " Required.";
        } else if let Some(default) = field.get("default").filter(|default| !default.is_null()) {
            // A type's own section has the values of its fields.
            let _ = match default.as_object().filter(|fields| !fields.is_empty()) {
                Some(_) => write!(words, " Each field's own value unless said."),
                None => write!(words, " `{}` unless said.", cell(&default.to_string())),
            };
        }
        let _ = writeln!(out, "| `{name}` | {} | {} |", kind(field), words.trim());
    }
}

/// One table a backend: what they share, and their own options.
fn arms(arm: &Value, out: &mut String) {
    let _ = write!(out, "\n## Arm\n\n{}\n", cell(arm["description"].as_str().unwrap_or_default()));
    for branch in arm["allOf"].as_array().into_iter().flatten() {
        let backend = branch["if"]["properties"]["backend"]["const"].as_str().unwrap_or_default();
        let _ = write!(out, "\n### `backend: {backend}`\n");
        table(&branch["then"], out);
    }
}

/// What a value may be, in words, with links to the types that have a section.
fn kind(of: &Value) -> String {
    if let Some(target) = of["$ref"].as_str().and_then(|target| target.rsplit('/').next()) {
        return match target {
            "Reference" => String::new(),
            name => format!("[{}](#{})", title(name), title(name).to_lowercase()),
        };
    }
    if let Some(one) = of.get("const") {
        return format!("`{one}`");
    }
    if let Some(values) = of["enum"].as_array() {
        return values
            .iter()
            .filter(|v| !v.is_null())
            .map(|v| format!("`{}`", v.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(", ");
    }
    for of_several in ["anyOf", "oneOf", "allOf"] {
        if let Some(several) = of[of_several].as_array() {
            let mut words: Vec<String> =
                several.iter().map(kind).filter(|words| !words.is_empty() && words != "null").collect();
            words.dedup();
            return words.join(" or ");
        }
    }
    let names: Vec<&str> = match &of["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        _ => Vec::new(),
    };
    names.into_iter().map(|name| typed(name, of)).collect::<Vec<_>>().join(" or ")
}

fn typed(name: &str, of: &Value) -> String {
    match name {
        "integer" => "whole number".to_owned(),
        "boolean" => "`true` or `false`".to_owned(),
        "string" => "text".to_owned(),
        "array" => format!("list of {}", some(&of["items"])),
        "object" if of["additionalProperties"].is_object() => format!("{} by name", some(&of["additionalProperties"])),
        "object" => "fields".to_owned(),
        other => other.to_owned(),
    }
}

fn some(of: &Value) -> String {
    let words = kind(of);
    if words.is_empty() { "any value".to_owned() } else { words }
}

/// The meaning of each choice, where the type says one.
fn choices(of: &Value, out: &mut String) {
    let described = of["oneOf"].as_array().into_iter().flatten().filter(|choice| choice["description"].is_string());
    let rows: Vec<String> = described
        .map(|choice| {
            let words = kind(choice);
            let words = if words == "fields" {
                choice["properties"]
                    .as_object()
                    .and_then(|fields| fields.keys().next())
                    .map(|key| format!("`{key}: {{ ... }}`"))
                    .unwrap_or(words)
            } else {
                words
            };
            format!("| {words} | {} |", cell(choice["description"].as_str().unwrap_or_default()))
        })
        .collect();
    if !rows.is_empty() {
        let _ = write!(out, "\n| value | means |\n| --- | --- |\n{}\n", rows.join("\n"));
    }
}
