//! The published JSON Schema of `report.json`, generated from the result model.

use super::model::Report;
use schemars::generate::SchemaSettings;

/// Name of the schema.
const ID: &str = "urn:qa:report:v1";

/// The schema of `report.json`, draft-07, as it is committed under `reports/`.
pub fn json_schema() -> serde_json::Value {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Report>().to_value();
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("$id".to_owned(), ID.into());
        fields.insert("title".to_owned(), "A judged run of qa".into());
    }
    schema
}

/// The first way in which a report violates the published schema, with its place.
pub fn violation(report: &Report) -> Option<String> {
    let validator = match jsonschema::validator_for(&json_schema()) {
        Ok(validator) => validator,
        Err(e) => return Some(format!("the schema itself is wrong: {e}")),
    };
    match serde_json::to_value(report) {
        Ok(value) => validator.iter_errors(&value).next().map(|e| format!("{e} at {}", e.instance_path())),
        Err(e) => Some(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use serde_json::{Value, json};
    use std::path::Path;

    #[test]
    fn the_committed_schema_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/report.schema.json");
        let mut generated = serde_json::to_string_pretty(&json_schema()).expect("serializes");
        generated.push('\n');
        if std::env::var_os("QA_UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &generated).expect("writes the schema");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == generated,
            "{} is not what the types say: run this test with QA_UPDATE_SCHEMAS=1 and commit it",
            path.display()
        );
    }

    #[test]
    fn a_report_is_valid_and_a_broken_one_is_not() {
        let validator = jsonschema::validator_for(&json_schema()).expect("a schema");
        let report = serde_json::to_value(fixture::report()).expect("serializes");
        let errors: Vec<String> =
            validator.iter_errors(&report).map(|e| format!("{e} at {}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        let broken = |pointer: &str, value: Value| {
            let mut report = report.clone();
            *report.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
            assert!(!validator.is_valid(&report), "{pointer} may be anything");
        };
        broken("/headline/met", json!("yes"));
        broken("/entries/0/verdict", json!("GREAT"));
        broken("/entries/2/claims/0/comparison/estimate", json!("1.31"));
        broken("/entries/2/claims/0/comparison/of/processes", json!(-1));
        broken("/entries", Value::Null);
    }

    #[test]
    fn a_report_survives_json_even_where_a_number_is_undefined() {
        let mut report = fixture::report();
        let comparison = report.entries[2].claims[0].comparison.as_mut().expect("a comparison");
        comparison.lower = f64::NEG_INFINITY;
        comparison.of.sd = f64::NAN;
        let text = serde_json::to_string(&report).expect("serializes");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert!(jsonschema::validator_for(&json_schema()).expect("a schema").is_valid(&value));
        let read: Report = serde_json::from_str(&text).expect("reads back");
        let read = read.entries[2].claims[0].comparison.as_ref().expect("a comparison");
        assert!(read.lower.is_nan() && read.of.sd.is_nan());
    }
}
