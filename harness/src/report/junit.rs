//! JUnit XML, as CI systems read it: one suite a section, one case an entry.
//!
//! A failure is a claim that was measured and did not hold or was not decided; an error is one that could not be
//! measured. An entry that the run's verdict does not depend on is never either of them: when it did not pass it is
//! `skipped`, and says what it would have been. So a CI system fails exactly when acceptance is not met.

use super::model::{ClaimResult, EntryResult, EvidenceType, Report, Section, Verdict};
use super::phrase::{self, Figures};
use super::{ablation, text};
use quick_junit::{NonSuccessKind, SerializeError, TestCase, TestCaseStatus, TestSuite};
use std::fmt::Write as _;

/// A report as JUnit XML.
///
/// # Errors
/// When the XML cannot be written, which no content of a report causes.
pub fn render(report: &Report) -> Result<String, SerializeError> {
    let mut junit = quick_junit::Report::new(text::one_line(&report.name));
    for section in [Section::Checkpoint, Section::Acceptance] {
        let entries: Vec<&EntryResult> = report.entries.iter().filter(|e| e.section == section).collect();
        if entries.is_empty() {
            continue;
        }
        let mut suite = TestSuite::new(phrase::section(section));
        suite.add_property(("headline", text::one_line(&report.headline.sentence).as_str()));
        suite.add_property(("spec-sha256", text::one_line(&report.environment.spec_sha256).as_str()));
        suite.add_test_cases(entries.into_iter().map(|entry| case(report, entry)));
        junit.add_test_suite(suite);
    }
    junit.to_string().map(|xml| as_the_schema_has_it(&xml))
}

/// The schema that Jenkins publishes knows `skipped` of a suite, and not of all suites together.
fn as_the_schema_has_it(xml: &str) -> String {
    let Some(start) = xml.find("<testsuites") else { return xml.to_owned() };
    let end = xml[start..].find('>').map_or(xml.len(), |length| start + length);
    let root = &xml[start..end];
    // A quote within a value is escaped, so the name with a quote before it is the attribute.
    let Some((before, rest)) = root.split_once("\" skipped=\"") else { return xml.to_owned() };
    let after = rest.split_once('"').map_or("", |(_, after)| after);
    format!("{}{before}\"{after}{}", &xml[..start], &xml[end..])
}

fn case(report: &Report, entry: &EntryResult) -> TestCase {
    let mut status = match (entry.verdict, entry.required) {
        (Verdict::Pass, _) | (Verdict::Reported, true) => TestCaseStatus::success(),
        (_, false) => TestCaseStatus::skipped(),
        (Verdict::Fail | Verdict::Inconclusive, true) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        (Verdict::Invalid | Verdict::Blocked | Verdict::Error, true) => {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        }
    };
    let word = phrase::word(entry.verdict);
    let reason = text::one_line(&entry.reason);
    status.set_message(if entry.required {
        format!("{word}: {reason}")
    } else {
        format!("{word}, not required: {reason}")
    });
    status.set_type(word);
    status.set_description(text::visible(&description(entry)));
    let mut case = TestCase::new(text::one_line(&format!("{}: {}", entry.id, entry.title)), status);
    case.set_classname(text::one_line(&format!("{}.{}", report.name, suite_class(entry.section))));
    if entry.verdict == Verdict::Pass {
        case.set_system_out(text::visible(&description(entry)));
    }
    case
}

const fn suite_class(section: Section) -> &'static str {
    match section {
        Section::Checkpoint => "checkpoints",
        Section::Acceptance => "acceptance",
    }
}

/// Every claim of an entry, a paragraph each, and how to run it again.
fn description(entry: &EntryResult) -> String {
    let mut out = String::new();
    for claim in &entry.claims {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{} {}: {}", phrase::word(claim.verdict), claim.check, claim.words);
        for line in lines(claim) {
            let _ = writeln!(out, "  {line}");
        }
    }
    let _ = writeln!(out, "rerun: {}", entry.rerun);
    out
}

fn lines(claim: &ClaimResult) -> Vec<String> {
    let mut lines = own_lines(claim);
    if let Some(found) = &claim.ablation {
        lines.push(ablation::title(found));
        let rows = ablation::switches(found).into_iter().map(|[name, alone, claimed, shapley, _]| {
            let claimed = if claimed.is_empty() { claimed } else { format!(", claimed {claimed}") };
            let shapley = if shapley.is_empty() { shapley } else { format!(", Shapley {shapley}") };
            format!("{name}: {alone}{claimed}{shapley}")
        });
        lines.extend(rows);
        lines.extend(
            ablation::combinations(found)
                .into_iter()
                .map(|[on, median, factor, _]| format!("{on}: {median}, {factor}")),
        );
    }
    lines
}

fn own_lines(claim: &ClaimResult) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(comparison) = &claim.comparison {
        let figures = Figures::of(comparison);
        lines.push(format!(
            "{} {}, {}, {}, {}",
            figures.estimate,
            figures.interval(),
            phrase::margin(claim).unwrap_or_default(),
            figures.pairs,
            phrase::evidence(claim.evidence)
        ));
    } else if claim.evidence != EvidenceType::None {
        lines.push(phrase::evidence(claim.evidence).to_owned());
    }
    lines.push(claim.reason.clone());
    lines.extend(claim.remedy.iter().map(|remedy| format!("to change this: {remedy}")));
    lines.extend(claim.facts.iter().map(|fact| format!("{}: {}", fact.name, fact.value)));
    lines.extend(claim.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines
}

#[cfg(test)]
mod tests;
