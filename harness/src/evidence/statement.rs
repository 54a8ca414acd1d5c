//! What a pack claims of its files: an in-toto statement with the predicate `test-result`.

use crate::report::model::{Report, Verdict};
use crate::run::read::Chain;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `_type` of a statement.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of a test result.
pub const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";

/// A statement about files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// [`STATEMENT`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// The files that it is about.
    pub subject: Vec<Resource>,
    /// [`TEST_RESULT`].
    pub predicate_type: String,
    /// What is said of them.
    pub predicate: Predicate,
}

/// A file by name and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its name in the pack.
    pub name: String,
    /// Its hashes by algorithm; `sha256` always.
    pub digest: BTreeMap<String, String>,
}

impl Resource {
    /// A file of this content.
    pub fn of(name: &str, content: &[u8]) -> Self {
        Self::hashed(name, &qa_model::hash::sha256_bytes(content))
    }

    /// A file whose SHA-256 is known, in hexadecimal.
    pub fn hashed(name: &str, sha256: &str) -> Self {
        Self { name: name.to_owned(), digest: [("sha256".to_owned(), sha256.to_owned())].into() }
    }
}

/// The predicate `test-result`, and what a run has beyond it under `qa`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Predicate {
    /// `PASSED` where acceptance was met, else `FAILED`: an undecided claim is no pass.
    pub result: String,
    /// What was run.
    pub configuration: Vec<Resource>,
    /// Entries that passed.
    pub passed_tests: Vec<String>,
    /// Entries that did not pass and are not required.
    pub warned_tests: Vec<String>,
    /// Required entries that did not pass, for whatever reason.
    pub failed_tests: Vec<String>,
    /// What the predicate has no member for.
    pub qa: Details,
}

/// What a run has to say beside the predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Version of `qa` that judged.
    pub version: String,
    /// The verdict in one sentence.
    pub sentence: String,
    /// The verdict of each entry.
    pub verdicts: BTreeMap<String, Verdict>,
    /// The exit code of the run.
    pub exit_code: u8,
    /// Records in `samples.jsonl`.
    pub records: usize,
    /// The link after the last of them.
    pub chain: String,
}

impl Statement {
    /// About a run's files, as judged.
    pub fn of(subject: Vec<Resource>, report: &Report, chain: &Chain) -> Self {
        let ids = |wanted: &dyn Fn(bool, Verdict) -> bool| {
            let entries = report.entries.iter().filter(|entry| wanted(entry.required, entry.verdict));
            entries.map(|entry| entry.id.clone()).collect()
        };
        let configuration = subject.iter().filter(|file| file.name == crate::run::store::SPEC).cloned().collect();
        Self {
            kind: STATEMENT.into(),
            subject,
            predicate_type: TEST_RESULT.into(),
            predicate: Predicate {
                result: if report.headline.met { "PASSED" } else { "FAILED" }.into(),
                configuration,
                passed_tests: ids(&|_, verdict| verdict == Verdict::Pass),
                warned_tests: ids(&|required, verdict| verdict != Verdict::Pass && !required),
                failed_tests: ids(&|required, verdict| verdict != Verdict::Pass && required),
                qa: Details {
                    version: env!("CARGO_PKG_VERSION").into(),
                    sentence: report.headline.sentence.clone(),
                    verdicts: report.entries.iter().map(|entry| (entry.id.clone(), entry.verdict)).collect(),
                    exit_code: report.headline.exit_code,
                    records: chain.records,
                    chain: chain.head.to_string(),
                },
            },
        }
    }
}
