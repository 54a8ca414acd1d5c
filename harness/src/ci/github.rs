//! GitHub Actions: workflow commands, the step's summary, and outputs.
//!
//! The formats are those of "Workflow commands for GitHub Actions" in GitHub's documentation.

use super::{Level, Place, explanation, title, troubles};
use crate::report::model::{EntryResult, Report};
use std::fmt::Write as _;

/// GitHub shows ten annotations of a level for a step, and drops the rest without a word: the tenth counts them.
const MOST_ANNOTATIONS: usize = 9;
/// A summary above 1 MiB is dropped whole.
const MOST_SUMMARY_BYTES: usize = 1024 * 1024;

/// A workflow command a line for each entry that did not pass, at the line that claims it.
pub fn annotations(report: &Report, place: &dyn Fn(&EntryResult) -> Option<Place>) -> String {
    let mut out = String::new();
    let troubles = troubles(report);
    for (level, word) in [(Level::Error, "error"), (Level::Warning, "warning")] {
        let of_level: Vec<&EntryResult> =
            troubles.iter().filter(|(l, _)| *l == level).map(|(_, entry)| *entry).collect();
        for entry in of_level.iter().take(MOST_ANNOTATIONS) {
            let mut properties = String::new();
            if let Some(place) = place(entry) {
                let _ = write!(properties, "file={},", property(&place.file));
                if let Some(line) = place.line {
                    let _ = write!(properties, "line={line},");
                }
            }
            let _ =
                writeln!(out, "::{word} {properties}title={}::{}", property(&title(entry)), data(&explanation(entry)));
        }
        if of_level.len() > MOST_ANNOTATIONS {
            let more = of_level.len() - MOST_ANNOTATIONS;
            let _ = writeln!(out, "::{word} title=qa::{more} more did not pass; the summary of this step lists them");
        }
    }
    out
}

/// A command's message: one line, in which a percent sign begins an escape.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A command's property, in which commas and colons separate.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// What is appended to the file of `GITHUB_OUTPUT`. Every value is on one line, so that none can pretend to be another.
pub fn outputs(report: &Report, folder: &str) -> String {
    let line = |text: &str| text.replace(['\r', '\n'], " ");
    let headline = &report.headline;
    let mut out = String::new();
    for (name, value) in [
        ("met", headline.met.to_string()),
        ("exit-code", headline.exit_code.to_string()),
        ("sentence", line(&headline.sentence)),
        ("because", line(headline.because.as_deref().unwrap_or_default())),
        ("folder", line(folder)),
    ] {
        let _ = writeln!(out, "{name}={value}");
    }
    out
}

/// What is appended to the file of `GITHUB_STEP_SUMMARY`: the Markdown report, or its headline where that is too long.
pub fn step_summary(report: &Report, markdown: &str) -> String {
    if markdown.len() < MOST_SUMMARY_BYTES {
        return format!("{markdown}\n");
    }
    let because = report.headline.because.as_deref().unwrap_or_default();
    format!(
        "### {}\n\n{because}\n\nThe whole report is too long for a summary; it is among the artifacts.\n",
        report.headline.sentence
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use crate::report::model::Verdict;

    fn here(entry: &EntryResult) -> Place {
        Place { file: "specs/a,b.yaml".into(), line: (entry.id != "PAR-038").then_some(12) }
    }

    #[test]
    fn what_stops_the_acceptance_is_an_error_at_its_line() {
        let said = annotations(&fixture::report(), &|entry| Some(here(entry)));
        let line = said.lines().find(|line| line.contains("POINT-47")).expect("an annotation");
        assert_eq!(
            line,
            "::error file=specs/a%2Cb.yaml,line=12,title=POINT-47 INCONCLUSIVE%3A P99 inter-token latency at most 35 ms::34.6 ms; \
             the margin 35 lies between the bounds.%0ATo change this: about 31 processes would probably decide"
        );
        assert!(said.contains("::error file=specs/a%2Cb.yaml,title=PAR-038 BLOCKED"), "a place without a line\n{said}");
        assert!(said.contains("::warning file=specs/a%2Cb.yaml,line=12,title=SPECULATIVE FAIL"), "{said}");
        assert!(!said.contains("POINT-41 "), "what passed is not annotated\n{said}");
        assert!(said.lines().all(|line| line.starts_with("::")), "{said}");
    }

    #[test]
    fn more_than_nine_are_counted_in_the_tenth() {
        let mut report = fixture::report();
        let one =
            report.entries.iter().find(|entry| entry.verdict == Verdict::Fail && entry.required).cloned().unwrap();
        report.entries = (0..30).map(|n| EntryResult { id: format!("E{n}"), ..one.clone() }).collect();
        let said = annotations(&report, &|_| None);
        assert_eq!(said.lines().count(), 10);
        assert!(
            said.ends_with("::error title=qa::21 more did not pass; the summary of this step lists them\n"),
            "{said}"
        );
    }

    #[test]
    fn text_can_neither_end_a_command_nor_begin_another() {
        let mut report = fixture::report();
        for entry in &mut report.entries {
            entry.reason = "100 %\n::set-output name=x::y".into();
            entry.title = "a\r\n::error::b,c=d:e".into();
        }
        let said = annotations(&report, &|entry| Some(here(entry)));
        assert!(said.lines().all(|line| line.starts_with("::error ") || line.starts_with("::warning ")), "{said}");
        assert!(said.contains("100 %25%0A::set-output"), "{said}");
        report.headline.because = Some("one\nmet=true".into());
        let outputs = outputs(&report, "runs/a\nmet=true");
        assert_eq!(outputs.lines().count(), 5, "{outputs}");
        assert!(outputs.starts_with("met=false\nexit-code=70\n"), "{outputs}");
    }

    #[test]
    fn a_summary_that_would_be_dropped_is_cut_to_its_headline() {
        let report = fixture::report();
        assert_eq!(step_summary(&report, "short"), "short\n");
        let cut = step_summary(&report, &"x".repeat(MOST_SUMMARY_BYTES));
        assert!(cut.starts_with("### Acceptance NOT MET") && cut.len() < 1000, "{cut}");
    }
}
