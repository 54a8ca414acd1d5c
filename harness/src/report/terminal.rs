//! A report on a terminal: a row a claim, then the headline, since the end is what stays in sight.

use super::model::{ClaimResult, EntryResult, Report, Verdict};
use super::phrase::{self, Figures};
use super::{ablation, text};
use anstyle::{AnsiColor, Style};
use std::path::Path;
use textwrap::core::display_width;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Whether to colour.
    pub color: bool,
    /// Columns.
    pub width: usize,
}

impl Screen {
    const NARROWEST: usize = 40;
    const WIDEST: usize = 120;
    const USUAL: usize = 80;

    /// Standard output's screen: as wide as the terminal, or 80 columns where there is none.
    pub fn of_stdout(color: bool) -> Self {
        let width = terminal_size::terminal_size().map_or(Self::USUAL, |(width, _)| usize::from(width.0));
        Self { color, width: width.clamp(Self::NARROWEST, Self::WIDEST) }
    }

    fn paint(self, text: &str, style: Style) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Columns of the widest verdict.
const VERDICT_WIDTH: usize = 12;
/// Widest column of names.
const WIDEST_NAME: usize = 24;

/// A report for a terminal; `html` is where its page was written.
pub fn render(report: &Report, screen: Screen, html: Option<&Path>) -> String {
    let mut rows: Vec<Row> = report.entries.iter().flat_map(rows_of).collect();
    // What is said once for the whole run is not said again at every claim.
    let run_wide: Vec<String> = report.warnings.iter().map(|w| warning_note(&w.message)).collect();
    for row in &mut rows {
        row.notes.retain(|note| !run_wide.contains(note));
    }
    let layout = Layout::of(&rows, screen);
    let mut lines = wrapped(&report.title, "", screen, BOLD);
    lines.push(String::new());
    lines.extend(rows.iter().flat_map(|row| row.lines(&layout)));
    for (entry, found) in ablation::all(report) {
        lines.push(String::new());
        lines.extend(wrapped(&format!("{}: {}", entry.id, ablation::title(found)), "", screen, BOLD));
        lines.extend(table(&ablation::SWITCH_COLUMNS, &ablation::switches(found), screen));
        let combinations = ablation::combinations(found);
        if !combinations.is_empty() {
            lines.push(String::new());
            lines.extend(table(&ablation::COMBINATION_COLUMNS, &combinations, screen));
        }
    }
    lines.push(String::new());
    for warning in &report.warnings {
        let times = if warning.count > 1 { format!(" ({} times)", warning.count) } else { String::new() };
        lines.extend(wrapped(
            &format!("{}{times}", warning.message),
            "warning: ",
            screen,
            style(Verdict::Inconclusive),
        ));
    }
    lines.extend(wrapped(&report.headline.sentence, "", screen, BOLD));
    if let Some(because) = &report.headline.because {
        lines.extend(wrapped(because, "  ", screen, PLAIN));
    }
    let stops = report.entries.iter().filter(|e| e.required && e.verdict != Verdict::Pass);
    if let Some(entry) = stops.min_by_key(|e| phrase::rank(e.verdict)) {
        // Commands are never wrapped: they are there to be copied.
        lines.push(format!("rerun: {}", text::one_line(&entry.rerun)));
    }
    if let Some(html) = html {
        lines.push(format!("report: {}", text::one_line(&html.display().to_string())));
    }
    let mut out = lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n");
    out.push('\n');
    out
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const PLAIN: Style = Style::new();

/// Blue and orange-red stay apart for readers who confuse red and green; the word says it to everybody.
const fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Pass => BOLD.fg_color(Some(anstyle::Color::Ansi(AnsiColor::Blue))),
        Verdict::Fail => BOLD.fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red))),
        Verdict::Inconclusive => BOLD.fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow))),
        Verdict::Reported | Verdict::Invalid | Verdict::Blocked | Verdict::Error => BOLD,
    }
}

/// One line of the table, and what is said beneath it.
struct Row {
    indent: usize,
    verdict: Verdict,
    name: String,
    /// Estimate, interval, margin, pairs: aligned over rows.
    figures: Option<[String; 4]>,
    /// In place of figures.
    sentence: String,
    /// Beneath, dimmed.
    notes: Vec<String>,
}

fn rows_of(entry: &EntryResult) -> Vec<Row> {
    if let [claim] = entry.claims.as_slice() {
        return vec![Row { indent: 0, name: text::one_line(&entry.id), ..row_of(entry, claim) }];
    }
    let head = Row {
        indent: 0,
        verdict: entry.verdict,
        name: text::one_line(&entry.id),
        figures: None,
        sentence: text::one_line(&entry.title),
        notes: Vec::new(),
    };
    let claims =
        entry.claims.iter().map(|claim| Row { indent: 2, name: text::one_line(&claim.check), ..row_of(entry, claim) });
    std::iter::once(head).chain(claims).collect()
}

fn warning_note(message: &str) -> String {
    format!("warning: {}", text::one_line(message))
}

/// A claim's row, but for its place and name.
fn row_of(entry: &EntryResult, claim: &ClaimResult) -> Row {
    let weight = phrase::weight(entry, claim).map_or_else(String::new, |weight| format!(" ({weight})"));
    let words = format!("{}{weight}", text::one_line(&claim.words));
    let reason = text::one_line(&claim.reason);
    let remedy = claim.remedy.iter().map(|r| format!("to change this: {}", text::one_line(r)));
    let warnings = claim.warnings.iter().map(|w| warning_note(w));
    let figures = claim.comparison.as_ref().map(|comparison| {
        let figures = Figures::of(comparison);
        let interval = figures.interval();
        [figures.estimate, interval, phrase::margin(claim).unwrap_or_default(), figures.pairs]
            .map(|f| text::one_line(&f))
    });
    let passed = claim.verdict == Verdict::Pass;
    let (sentence, mut notes) = match (&figures, passed) {
        (Some(_), true) => (String::new(), vec![]),
        (Some(_), false) => (String::new(), vec![words, reason]),
        (None, true) => (words, vec![]),
        (None, false) => (reason, vec![words]),
    };
    notes.extend(remedy.filter(|_| !passed));
    notes.extend(warnings);
    Row { indent: 0, verdict: claim.verdict, name: String::new(), figures, sentence, notes }
}

/// Widths that rows share.
struct Layout {
    screen: Screen,
    name: usize,
    figures: [usize; 4],
}

impl Layout {
    fn of(rows: &[Row], screen: Screen) -> Self {
        let name = rows.iter().map(|row| row.indent + display_width(&row.name)).max().unwrap_or(0).min(WIDEST_NAME);
        let mut figures = [0; 4];
        for row in rows {
            for (width, figure) in figures.iter_mut().zip(row.figures.iter().flatten()) {
                *width = (*width).max(display_width(figure));
            }
        }
        Self { screen, name, figures }
    }

    /// Where the third column begins.
    fn detail(&self) -> usize {
        VERDICT_WIDTH + 2 + self.name + 2
    }
}

impl Row {
    fn lines(&self, layout: &Layout) -> Vec<String> {
        let screen = layout.screen;
        let indent = " ".repeat(self.indent);
        let verdict = padded(phrase::word(self.verdict), VERDICT_WIDTH);
        let room = screen.width.saturating_sub(VERDICT_WIDTH + 2 + self.indent);
        let name = padded(&format!("{indent}{}", text::shortened(&self.name, room)), layout.name);
        let head = format!("{}  {}  ", screen.paint(&verdict, style(self.verdict)), name);
        // A name beyond its column pushes its own details to the next line, not everybody's to the right.
        let overflows = self.indent + display_width(&self.name) > layout.name;
        // On a narrow screen every row's details stand below its name.
        let stacked = layout.detail() > screen.width / 2;
        let detail = if stacked { VERDICT_WIDTH + 4 } else { layout.detail() };
        let hanging = " ".repeat(detail);
        let details = match &self.figures {
            Some(figures) => figures_lines(figures, layout, screen.width - detail),
            None => fold(&self.sentence, screen.width - detail),
        };
        let mut lines = Vec::new();
        let mut rest = details.iter();
        if overflows || stacked {
            lines.push(head.trim_end().to_owned());
        } else {
            lines.push(format!("{head}{}", rest.next().map_or("", String::as_str)));
        }
        lines.extend(rest.map(|line| format!("{hanging}{line}")));
        for note in &self.notes {
            let folded = fold(note, screen.width - detail);
            lines.extend(folded.iter().map(|line| format!("{hanging}{}", screen.paint(line, DIM))));
        }
        lines
    }
}

/// Figures in their columns, or one below the other where the screen is too narrow.
fn figures_lines(figures: &[String; 4], layout: &Layout, width: usize) -> Vec<String> {
    if layout.figures.iter().sum::<usize>() + 2 * (figures.len() - 1) <= width {
        let columns: Vec<String> = figures.iter().zip(layout.figures).map(|(f, w)| padded(f, w)).collect();
        return vec![columns.join("  ").trim_end().to_owned()];
    }
    let [estimate, interval, margin, pairs] = figures;
    [format!("{estimate} {interval}"), margin.clone(), pairs.clone()]
        .iter()
        .flat_map(|line| fold(line, width))
        .collect()
}

/// Rows in columns; where the screen is too narrow, or a cell too long, each row folded with its columns named.
fn table<const COLUMNS: usize>(head: &[&str; COLUMNS], rows: &[[String; COLUMNS]], screen: Screen) -> Vec<String> {
    const INDENT: usize = 2;
    let width = |column: usize| rows.iter().map(|row| display_width(&row[column])).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| width(column).max(display_width(head[column])));
    let line = |row: [&str; COLUMNS]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| padded(cell, width)).collect();
        format!("{}{}", " ".repeat(INDENT), cells.join("  "))
    };
    if INDENT + widths.iter().sum::<usize>() + 2 * (COLUMNS - 1) <= screen.width {
        let mut lines = vec![screen.paint(line(*head).trim_end(), DIM)];
        lines.extend(rows.iter().map(|row| line(row.each_ref().map(String::as_str))));
        return lines;
    }
    let folded = rows.iter().map(|row| {
        let cells = head.iter().zip(row).skip(1).filter(|(_, cell)| !cell.is_empty());
        let cells: Vec<String> = cells.map(|(name, cell)| format!("{name} {cell}")).collect();
        format!("{}: {}", row[0], cells.join(", "))
    });
    folded.flat_map(|row| wrapped(&row, "  ", screen, PLAIN)).collect()
}

fn fold(text: &str, width: usize) -> Vec<String> {
    textwrap::wrap(text, width.max(10)).into_iter().map(std::borrow::Cow::into_owned).collect()
}

fn wrapped(message: &str, prefix: &str, screen: Screen, style: Style) -> Vec<String> {
    let hanging = " ".repeat(prefix.len());
    let lines = fold(&text::one_line(message), screen.width - prefix.len());
    let prefixes = std::iter::once(prefix).chain(std::iter::repeat(hanging.as_str()));
    lines.iter().zip(prefixes).map(|(line, prefix)| screen.paint(&format!("{prefix}{line}"), style)).collect()
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(display_width(text))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    const PLAIN_SCREEN: Screen = Screen { color: false, width: 100 };

    #[test]
    fn a_report_reads_as_reviewed() {
        insta::assert_snapshot!(render(&fixture::report(), PLAIN_SCREEN, Some(Path::new("runs/one/report.html"))));
    }

    #[test]
    fn a_narrow_screen_folds_rows() {
        let text = render(&fixture::report(), Screen { color: false, width: 48 }, None);
        for line in text.lines().filter(|l| !l.starts_with("rerun:")) {
            assert!(display_width(line) <= 48, "{} columns: {line}", display_width(line));
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn colour_is_all_that_colour_adds() {
        let plain = render(&fixture::report(), PLAIN_SCREEN, None);
        let colored = render(&fixture::report(), Screen { color: true, ..PLAIN_SCREEN }, None);
        assert!(colored.contains("\u{1b}["));
        assert!(!plain.contains('\u{1b}'));
        let mut stripped = String::new();
        let mut rest = colored.as_str();
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            stripped.push_str(before);
            rest = after.split_once('m').expect("a colour ends").1;
        }
        stripped.push_str(rest);
        assert!(stripped.lines().map(str::trim_end).eq(plain.lines()), "{stripped}");
    }

    #[test]
    fn hostile_text_cannot_steer_the_terminal() {
        for hostile in fixture::HOSTILE {
            let text = render(&fixture::hostile(hostile), PLAIN_SCREEN, None);
            let steering =
                text.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c));
            assert_eq!(steering, None, "{hostile:?}");
            assert!(text.lines().all(|l| display_width(l) <= 100 || l.starts_with("rerun:")));
        }
    }
}
