//! In what the arms differ: engine, device, options and build, side by side.

use crate::report::model::{ArmSummary, Report};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Facts that are not the same for all arms.
#[derive(Serialize)]
pub struct Differences {
    arms: Vec<String>,
    /// A fact and its value for each arm.
    rows: Vec<Row>,
    /// Facts that are the same for all.
    same: Vec<[String; 2]>,
}

#[derive(Serialize)]
struct Row {
    fact: String,
    values: Vec<String>,
}

/// What is written where an arm does not say.
const UNSAID: &str = "–";

impl Differences {
    /// Of the arms that were measured; nothing of fewer than two.
    pub fn of(report: &Report) -> Option<Self> {
        let arms: Vec<&ArmSummary> = report.arms.iter().filter(|arm| !arm.rows.is_empty()).collect();
        if arms.len() < 2 {
            return None;
        }
        let names: BTreeSet<(u8, &str)> =
            arms.iter().flat_map(|arm| facts(arm)).map(|(group, name, _)| (group, name)).collect();
        let (mut rows, mut same) = (Vec::new(), Vec::new());
        for (group, fact) in names {
            let value = |arm: &&ArmSummary| {
                let found = facts(arm).find(|(g, name, _)| (*g, *name) == (group, fact));
                found.map_or(UNSAID.to_owned(), |(.., value)| words(value))
            };
            let values: Vec<String> = arms.iter().map(value).collect();
            // What only one engine says of itself is no difference between two: it stands with that arm.
            let said: BTreeSet<&String> = values.iter().filter(|value| *value != UNSAID).collect();
            if said.len() > 1 {
                rows.push(Row { fact: fact.to_owned(), values });
            } else if !values.iter().any(|value| value == UNSAID) {
                same.push([fact.to_owned(), values[0].clone()]);
            }
        }
        Some(Self { arms: arms.iter().map(|arm| arm.arm.clone()).collect(), rows, same })
    }
}

/// Facts of an arm by group: itself, its options, its build.
fn facts(arm: &ArmSummary) -> impl Iterator<Item = (u8, &str, &str)> {
    let itself = [("backend", &arm.backend), ("engine", &arm.engine), ("device", &arm.device), ("model", &arm.model)];
    let itself = itself.into_iter().map(|(name, value)| (0, name, value.as_str()));
    let options = arm.resolved.iter().map(|(name, value)| (1, name.as_str(), value.as_str()));
    let build = arm.build.iter().map(|(name, value)| (2, name.as_str(), value.as_str()));
    itself.chain(options).chain(build)
}

/// An option's value as words: backends say lists and absent ones in JSON.
pub(super) fn words(value: &str) -> String {
    match serde_json::from_str(value) {
        Ok(json @ (Value::Null | Value::Array(_) | Value::Object(_))) => of_json(&json),
        // Numbers as they were written, and text that is no JSON.
        _ => value.to_owned(),
    }
}

fn of_json(value: &Value) -> String {
    let all = |parts: Vec<String>| if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => all(values.iter().map(of_json).collect()),
        Value::Object(fields) => all(fields.iter().map(|(name, value)| format!("{name} {}", of_json(value))).collect()),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn values_read_as_words() {
        for (said, read) in [
            ("[\"graph\",\"streams\"]", "graph, streams"),
            ("[]", "none"),
            ("null", "none"),
            ("{\"acceptance\":0.8,\"seed\":42}", "acceptance 0.8, seed 42"),
            ("1.50", "1.50"),
            ("all (25 of 25)", "all (25 of 25)"),
            ("[unfinished", "[unfinished"),
        ] {
            assert_eq!(words(said), read);
        }
    }

    #[test]
    fn what_differs_is_told_from_what_is_the_same() {
        let report = fixture::report();
        let found = Differences::of(&report).expect("two arms were measured");
        assert_eq!(found.arms, ["best", "llama.cpp"]);
        let row = |fact: &str| found.rows.iter().find(|row| row.fact == fact).map(|row| row.values.clone());
        assert_eq!(row("graph"), None, "one of the two engines has no such option");
        assert_eq!(row("backend").unwrap(), ["native", "llama-cpp"]);
        let mut differs = report.clone();
        differs.arms[1].resolved.insert("graph".into(), "false".into());
        let found_anew = Differences::of(&differs).expect("two arms were measured");
        assert!(found_anew.rows.iter().any(|row| row.fact == "graph" && row.values == ["true", "false"]));
        assert!(found.same.iter().any(|[fact, _]| fact == "device" || fact == "model"), "{:?}", found.same);
        let mut one = report;
        one.arms.truncate(1);
        assert!(Differences::of(&one).is_none());
    }
}
