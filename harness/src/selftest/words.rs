//! A self-test as tables, for the terminal and for the page.

use super::{SelfTest, Share, coverage};
use serde::Serialize;
use std::fmt::Write as _;

/// A table with what it shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its title.
    pub title: &'static str,
    /// What is to be seen in it.
    pub lead: String,
    /// Names of the columns.
    pub head: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<TableRow>,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableRow {
    /// One a column.
    pub cells: Vec<String>,
    /// Whether it is as it must be; absent where nothing is asked of it.
    pub holds: Option<bool>,
}

fn percent(share: Share) -> String {
    format!("{:.1} % ± {:.1}", 100.0 * share.value(), 100.0 * share.error())
}

/// Every table, in the order of reading.
pub fn tables(found: &SelfTest) -> Vec<Table> {
    let runs = found.runs;
    vec![rules(found), wrong(found), adverse(found), coverage_table(found), power(found)]
        .into_iter()
        .map(|table| Table { lead: table.lead.replace("{runs}", &runs.to_string()), ..table })
        .collect()
}

fn rules(found: &SelfTest) -> Table {
    let row = |row: &super::rules::Row| TableRow {
        cells: vec![
            row.rule.clone(),
            row.claim.clone(),
            percent(row.false_pass),
            percent(row.false_fail),
            row.other.to_string(),
        ],
        holds: Some(row.holds()),
    };
    Table {
        title: "Every deciding rule, with the truth exactly at its margin",
        lead: "{runs} runs a row, ten pairs each, from specification to report. A rule may be wrong 5 times in 100 on either \
               side. Noise: 1.5 % between processes, 0.6 % between iterations with a memory of 0.7, and where arms are \
               compared everything gets 0.4 % faster a block. At most 5.7 % of 4,000 runs may be wrong, and none INVALID."
            .into(),
        head: vec!["rule", "claim and truth", "passes falsely", "fails falsely", "neither, nor undecided"],
        rows: found.rules.iter().map(row).collect(),
    }
}

fn wrong(found: &SelfTest) -> Table {
    let row = |row: &super::wrong::Row| TableRow {
        cells: vec![row.gate.clone(), row.processes.to_string(), percent(row.false_pass)],
        holds: None,
    };
    Table {
        title: "What other gates would have said",
        lead: "The same noise, the same margin, {runs} runs. Each of these gates is in use somewhere.".into(),
        head: vec!["gate", "processes an arm", "passes falsely"],
        rows: found.wrong.iter().map(row).collect(),
    }
}

fn adverse(found: &SelfTest) -> Table {
    let row = |row: &super::adverse::Row| TableRow {
        cells: vec![
            row.noise.clone(),
            row.what.clone(),
            percent(row.false_pass),
            percent(row.false_fail),
            format!("{} of {}", row.warned.hits, row.warned.of),
            percent(row.warnings),
        ],
        holds: Some(row.holds()),
    };
    Table {
        title: "Superiority under noise that the rule does not assume",
        lead: "{runs} runs a row. The rates are what they are; where one exceeds 7 %, most runs have to carry a warning. A run that \
               happened to see none of a rare event cannot warn of it, and is the likeliest to judge falsely: for such noise \
               nothing helps but more samples. No run may be INVALID for its noise."
            .into(),
        head: vec!["noise", "what happens", "passes falsely", "fails falsely", "false verdicts warned of", "runs with a warning"],
        rows: found.adverse.iter().map(row).collect(),
    }
}

fn coverage_table(found: &SelfTest) -> Table {
    let row = |row: &coverage::Row| TableRow {
        cells: vec![row.interval.clone(), row.values.clone(), row.n.to_string(), percent(row.covered)],
        holds: row.is_held().then(|| row.holds()),
    };
    Table {
        title: "How often an interval holds the truth",
        lead: format!(
            "{{runs}} samples a row, two-sided intervals of a mean at {} %. The t interval decides, and is held to its level for \
             normal values; bootstrap intervals are only shown, since for few values they are too short.",
            100.0 * coverage::LEVEL
        ),
        head: vec!["interval", "values", "n", "covered"],
        rows: found.coverage.iter().map(row).collect(),
    }
}

fn power(found: &SelfTest) -> Table {
    let row = |row: &super::power::Row| TableRow {
        cells: vec![
            format!("{:.0} %", 100.0 * row.excess),
            row.pairs.to_string(),
            percent(row.passed),
            format!("{:.1} %", 100.0 * row.predicted),
        ],
        holds: Some(row.holds()),
    };
    Table {
        title: "How often a true gain is seen",
        lead: "{runs} runs a row. The prediction is that of `qa plan`: the noncentral t.".into(),
        head: vec!["true ratio beyond the margin", "pairs", "passes", "predicted"],
        rows: found.power.iter().map(row).collect(),
    }
}

/// The sentence on runs through real processes.
pub fn processes(found: &SelfTest) -> String {
    let matched = &found.processes;
    let first =
        matched.first_difference.as_ref().map_or_else(String::new, |first| format!(" First difference: {first}."));
    format!(
        "{} of {} runs through real processes gave the simulated comparison to the digit, and the exit code of its verdict.{first}",
        matched.equal, matched.runs
    )
}

/// All of it as text.
pub fn text(found: &SelfTest) -> String {
    let mut out = String::new();
    for table in tables(found) {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}\n{}\n", table.title, textwrap::fill(&table.lead, 100));
        let width = |column: usize| {
            let cells = table.rows.iter().map(|row| row.cells[column].chars().count());
            cells.chain([table.head[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..table.head.len()).map(width).collect();
        let mut line = |mark: &str, cells: &[&str]| {
            let cells: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            let _ = writeln!(out, "{}", format!("{mark:<4} {}", cells.join("  ")).trim_end());
        };
        line("", &table.head);
        for row in &table.rows {
            let mark = match row.holds {
                Some(true) => "ok",
                Some(false) => "BAD",
                None => "",
            };
            line(mark, &row.cells.iter().map(String::as_str).collect::<Vec<_>>());
        }
        out.push('\n');
    }
    let _ = writeln!(out, "{}", textwrap::fill(&processes(found), 100));
    out
}
