//! Markdown for a step summary or a comment on a pull request. Text only: hosts strip inline SVG.

use super::model::{ClaimResult, EntryResult, EvidenceType, Report, Verdict};
use super::phrase::{self, Figures};
use super::{ablation, text};
use std::fmt::Write as _;

/// Bytes that a rendered report never exceeds. GitHub drops a step summary beyond 1 MiB whole and refuses a comment beyond
/// 65,536 characters, so that what fits a comment fits both.
pub const MOST_BYTES: usize = 60_000;

/// Characters of a text in a table cell.
const CELL_CHARACTERS: usize = 300;

/// A report as Markdown. What does not fit is left out from the end, and a last line says so.
pub fn render(report: &Report) -> String {
    let mut out = Limited::default();
    out.push(&headline(report));
    let (passed, open): (Vec<Row<'_>>, Vec<Row<'_>>) =
        rows(report).into_iter().partition(|row| row.claim.verdict == Verdict::Pass);
    if !open.is_empty() {
        out.push(TABLE_HEAD);
        for row in &open {
            out.push(&row.line());
        }
        out.push("\n");
    }
    if !passed.is_empty() {
        // All or nothing: half a folded table would swallow what follows it.
        let mut folded =
            format!("<details><summary>{} passed</summary>\n\n{TABLE_HEAD}", phrase::count(passed.len(), "claim"));
        folded.extend(passed.iter().map(Row::line));
        folded.push_str("\n</details>\n\n");
        out.push(&folded);
    }
    for section in
        [reasons(&open), ablations(report), warnings(report), machine(report), places(report), reproduce(report)]
    {
        out.push(&section);
    }
    out.finish()
}

const TABLE_HEAD: &str = "|Verdict|Claim|Measured [bounds]|Margin|Evidence|\n|-|-|-|-|-|\n";

/// Output that grows to [`MOST_BYTES`] and no further.
#[derive(Default)]
struct Limited {
    text: String,
    left_out: usize,
}

impl Limited {
    const NOTICE_BYTES: usize = 200;

    fn push(&mut self, block: &str) {
        if self.left_out > 0 || self.text.len() + block.len() > MOST_BYTES - Self::NOTICE_BYTES {
            self.left_out += block.lines().count();
        } else {
            self.text.push_str(block);
        }
    }

    fn finish(mut self) -> String {
        if self.left_out > 0 {
            let lines = phrase::count(self.left_out, "more line");
            let _ = write!(self.text, "\n*Cut here: {lines} did not fit; `report.html` has everything.*\n");
        }
        self.text
    }
}

fn headline(report: &Report) -> String {
    let mut out = format!("### {}\n\n", inline(&report.headline.sentence));
    if let Some(because) = &report.headline.because {
        let _ = write!(out, "**What stops it:** {}\n\n", inline(because));
    }
    let _ = write!(out, "{}", inline(&report.title));
    if !report.environment.started_at.is_empty() {
        let _ = write!(out, ", run at {}", inline(&phrase::moment(&report.environment.started_at)));
    }
    out.push_str("\n\n");
    out
}

/// A claim and the entry that makes it.
struct Row<'a> {
    entry: &'a EntryResult,
    claim: &'a ClaimResult,
}

impl Row<'_> {
    fn line(&self) -> String {
        let Self { entry, claim } = self;
        let figures = claim.comparison.as_ref().map(Figures::of);
        let measured = match (&figures, claim.evidence) {
            (Some(f), _) => format!("{} {}", cell(&f.estimate), f.interval()),
            (None, EvidenceType::None) => "not measured".to_owned(),
            (None, _) => cell(&claim.reason),
        };
        let optional = phrase::weight(entry, claim).map_or_else(String::new, |weight| format!(" ({weight})"));
        format!(
            "|**{}**|**{}**{optional}<br>{}|{measured}|{}|{}|\n",
            phrase::word(claim.verdict),
            cell(&phrase::label(entry, claim)),
            cell(&claim.words),
            cell(&phrase::margin(claim).unwrap_or_default()),
            phrase::evidence(claim.evidence)
        )
    }
}

/// Every claim, heaviest verdict first, otherwise in the specification's order.
fn rows(report: &Report) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> =
        report.entries.iter().flat_map(|entry| entry.claims.iter().map(move |claim| Row { entry, claim })).collect();
    rows.sort_by_key(|row| phrase::rank(row.claim.verdict));
    rows
}

fn reasons(open: &[Row<'_>]) -> String {
    if open.is_empty() {
        return String::new();
    }
    let mut out = "#### Why\n\n".to_owned();
    for Row { entry, claim } in open {
        let _ = write!(
            out,
            "- **{} {}**: {}",
            phrase::word(claim.verdict),
            inline(&phrase::label(entry, claim)),
            inline(&claim.reason)
        );
        if let Some(remedy) = &claim.remedy {
            let _ = write!(out, " *To change this:* {}.", inline(remedy.trim_end_matches('.')));
        }
        for warning in &claim.warnings {
            let _ = write!(out, " *Warning:* {}", inline(warning));
        }
        out.push('\n');
    }
    out.push('\n');
    out
}

/// Every ablation: what each switch contributes, and every combination.
fn ablations(report: &Report) -> String {
    let mut out = String::new();
    for (entry, found) in ablation::all(report) {
        let _ = write!(out, "#### {}: {}\n\n", inline(&entry.id), inline(&ablation::title(found)));
        out.push_str(&table(&ablation::SWITCH_COLUMNS, &ablation::switches(found)));
        let combinations = ablation::combinations(found);
        if combinations.is_empty() {
            continue;
        }
        let _ = write!(
            out,
            "<details><summary>{}</summary>\n\n{}</details>\n\n",
            phrase::count(combinations.len(), "combination"),
            table(&ablation::COMBINATION_COLUMNS, &combinations)
        );
    }
    out
}

fn table<const COLUMNS: usize>(head: &[&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    let mut out = format!("|{}|\n|{}\n", head.join("|"), "-|".repeat(COLUMNS));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|value| cell(value)).collect();
        let _ = writeln!(out, "|{}|", cells.join("|"));
    }
    out.push('\n');
    out
}

fn warnings(report: &Report) -> String {
    if report.warnings.is_empty() {
        return String::new();
    }
    let mut out = "#### Warnings\n\n".to_owned();
    for warning in &report.warnings {
        let _ = writeln!(out, "- {}{}", inline(&warning.message), times(warning.count));
    }
    out.push('\n');
    out
}

fn times(count: u32) -> String {
    if count > 1 { format!(" ({count} times)") } else { String::new() }
}

fn machine(report: &Report) -> String {
    if report.arms.is_empty() {
        return String::new();
    }
    let mut out = "<details><summary>Arms</summary>\n\n|Arm|Engine|Device|Model|\n|-|-|-|-|\n".to_owned();
    for arm in &report.arms {
        let _ = writeln!(out, "|{}|{}|{}|{}|", cell(&arm.arm), cell(&arm.engine), cell(&arm.device), cell(&arm.model));
    }
    out.push_str("\n</details>\n\n");
    out
}

fn places(report: &Report) -> String {
    if report.places.is_empty() {
        return String::new();
    }
    let mut out = "#### Where the blocks ran\n\n|Workload|Blocks|Machine|Device|\n|-|-|-|-|\n".to_owned();
    for row in &report.places {
        let (blocks, device) = (row.blocks_words(), row.device_words());
        let _ = writeln!(
            out,
            "|{}|{}|{}|{}|",
            cell(&row.workload),
            cell(&blocks),
            cell(&row.machine_words()),
            cell(&device)
        );
    }
    out.push('\n');
    out
}

fn reproduce(report: &Report) -> String {
    if report.reproduce.is_empty() {
        return String::new();
    }
    let mut out = "#### Reproduce\n\n".to_owned();
    // Indented code cannot be closed from within, as a fence can.
    for command in &report.reproduce {
        let _ = writeln!(out, "    {}", text::one_line(command));
    }
    out
}

/// Text within a table cell, cut to a length.
fn cell(raw: &str) -> String {
    escape(&text::shortened(&text::one_line(raw), CELL_CHARACTERS))
}

/// Text within a line.
fn inline(raw: &str) -> String {
    escape(&text::one_line(raw))
}

/// Text in which nothing is markup, nobody is mentioned and no issue is linked.
fn escape(line: &str) -> String {
    let mut out = String::with_capacity(line.len() + 16);
    let mut previous = ' ';
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push_str("&#64;"),
            // An underscore within a word is no emphasis, and model names are full of them.
            '_' if previous.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric()) => {
                out.push('_');
            }
            '\\' | '`' | '*' | '_' | '[' | '|' | '~' | '#' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
        previous = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_report_reads_as_reviewed() {
        insta::assert_snapshot!(render(&fixture::report()));
    }

    #[test]
    fn hostile_text_stays_text() {
        for hostile in fixture::HOSTILE {
            let report = fixture::hostile(hostile);
            // In a block of code text is text; everywhere else it is escaped.
            let whole = render(&report);
            let markdown = whole.lines().filter(|l| !l.starts_with("    ")).collect::<Vec<_>>().join("\n");
            assert!(!markdown.contains("<script") && !markdown.contains("<img") && !markdown.contains('\u{1b}'));
            let unescaped = markdown.replace("\\[", "");
            assert!(!unescaped.contains("[link"), "{hostile:?} made a link");
            assert!(!markdown.contains("@everyone"), "{hostile:?} mentions somebody");
            // Every row of every table keeps its columns: bars from outside are escaped, line feeds are gone.
            for line in markdown.lines().filter(|l| l.starts_with('|')) {
                let bars = line.replace("\\|", "").matches('|').count();
                assert!([5, 6].contains(&bars), "{bars} bars in {line}");
            }
            let headings = markdown.lines().filter(|l| l.starts_with('#')).count();
            assert_eq!(headings, 6, "{hostile:?} made a heading");
        }
    }

    #[test]
    fn underscores_within_names_stay_readable() {
        assert_eq!(escape("q4_k_m _x_ *y*"), "q4_k_m \\_x\\_ \\*y\\*");
    }

    #[test]
    fn a_report_too_long_for_a_comment_is_cut_and_says_so() {
        let mut report = fixture::report();
        let entry = report.entries[2].clone();
        report.entries.extend(std::iter::repeat_n(report.entries[4].clone(), 400));
        report.entries.extend(std::iter::repeat_n(entry, 400));
        let markdown = render(&report);
        assert!(markdown.len() <= MOST_BYTES, "{} bytes", markdown.len());
        assert!(markdown.contains("Cut here"));
        assert_eq!(markdown.matches("<details>").count(), markdown.matches("</details>").count());
    }
}
