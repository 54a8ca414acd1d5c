//! A judged run as CI systems want it: annotations where a claim is written, a summary, outputs.
//!
//! Everything here is text made of a report; `qa ci` puts it where the system looks for it.

mod github;
mod gitlab;

pub use github::{annotations, outputs, step_summary};
pub use gitlab::code_quality;

use crate::report::model::{EntryResult, Report, Verdict};

/// Where an entry is written: file and line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, relative to the repository.
    pub file: String,
    /// The line; nothing where the specification has changed since.
    pub line: Option<usize>,
}

/// How much a reader of a pull request must know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It stops the acceptance.
    Error,
    /// It is undecided or not required, and did not pass.
    Warning,
}

/// Entries that did not pass, what stops the acceptance first.
fn troubles(report: &Report) -> Vec<(Level, &EntryResult)> {
    let passed = |entry: &EntryResult| matches!(entry.verdict, Verdict::Pass | Verdict::Reported);
    let level = |entry: &EntryResult| if entry.required { Level::Error } else { Level::Warning };
    let mut all: Vec<_> = report.entries.iter().filter(|e| !passed(e)).map(|e| (level(e), e)).collect();
    all.sort_by_key(|(level, _)| *level);
    all
}

/// `POINT-41 FAIL: At least 25 % faster than llama.cpp`.
fn title(entry: &EntryResult) -> String {
    format!("{} {}: {}", entry.id, crate::verdict::word(entry.verdict), entry.title)
}

/// Why, and what would change it.
fn explanation(entry: &EntryResult) -> String {
    let remedy =
        entry.claims.iter().find(|claim| claim.verdict == entry.verdict).and_then(|claim| claim.remedy.as_ref());
    match remedy {
        Some(remedy) => format!("{}\nTo change this: {remedy}", entry.reason),
        None => entry.reason.clone(),
    }
}
