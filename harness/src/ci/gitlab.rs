//! GitLab: a code quality report, which merge requests show at the line that claims what did not pass.
//!
//! The format is GitLab's subset of Code Climate's: description, check name, fingerprint, severity, and a place.

use super::{Level, Place, explanation, title, troubles};
use crate::report::model::{EntryResult, Report};
use serde_json::{Value, json};

/// The report, an array.
pub fn code_quality(report: &Report, place: &dyn Fn(&EntryResult) -> Option<Place>) -> Value {
    let one = |(level, entry): &(Level, &EntryResult)| {
        let place = place(entry)
            .unwrap_or_else(|| Place { file: report.environment.spec_path.display().to_string(), line: None });
        // The same trouble in the next run is the same to GitLab, which shows what is new and what is gone.
        let fingerprint =
            qa_model::hash::sha256_bytes(format!("{} {} {:?}", report.name, entry.id, entry.verdict).as_bytes());
        json!({
            "description": format!("{}. {}", title(entry), explanation(entry)),
            "check_name": format!("qa/{}", entry.id),
            "fingerprint": fingerprint,
            "severity": if *level == Level::Error { "major" } else { "minor" },
            "location": { "path": place.file, "lines": { "begin": place.line.unwrap_or(1) } },
        })
    };
    troubles(report).iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use std::collections::BTreeSet;

    #[test]
    fn every_trouble_has_a_place_a_severity_and_a_fingerprint_of_its_own() {
        let report = fixture::report();
        let found = code_quality(&report, &|_| Some(Place { file: "specs/a.yaml".into(), line: Some(7) }));
        let rows = found.as_array().expect("an array");
        assert_eq!(rows.len(), 7);
        let prints: BTreeSet<&str> = rows.iter().filter_map(|row| row["fingerprint"].as_str()).collect();
        assert_eq!(prints.len(), rows.len());
        assert!(rows.iter().all(|row| row["location"] == json!({ "path": "specs/a.yaml", "lines": { "begin": 7 } })));
        let severity =
            |id: &str| rows.iter().find(|row| row["check_name"] == format!("qa/{id}")).map(|row| &row["severity"]);
        assert_eq!(severity("POINT-43"), Some(&json!("major")));
        assert_eq!(severity("SPECULATIVE"), Some(&json!("minor")));
        assert_eq!(found, code_quality(&report, &|_| Some(Place { file: "specs/a.yaml".into(), line: Some(7) })));
    }
}
