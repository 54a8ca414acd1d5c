//! What the page shows, as strings in the order of reading.

use super::ablation::Section as Ablation;
use super::arms::{self, Arm};
use super::card::Card;
use super::differences::Differences;
use super::overview::{Forest, Row, Unmeasured};
use super::rates;
use super::timeline::{self, Timeline};
use crate::report::model::{EntryResult, PlaceRow, Report, Verdict};
use crate::report::text::shell;
use crate::report::{number, phrase};
use serde::Serialize;
use std::collections::BTreeMap;

/// Entries up to which every card has its plots. A browser takes longer over those of a thousand than a reader would.
const MOST_DRAWN: usize = 200;

/// The page.
#[derive(Serialize)]
pub struct View {
    title: String,
    description: Option<String>,
    started_at: String,
    met: bool,
    sentence: String,
    stops: Option<Stop>,
    counts: Vec<Count>,
    total: usize,
    exit_code: u8,
    verdicts: Vec<Legend>,
    warnings: Vec<Warning>,
    rows: Vec<Row>,
    forest: Option<Forest>,
    cards: Vec<Section>,
    /// How many entries there are, where that is too many to draw those that passed.
    undrawn: Option<usize>,
    ablations: Vec<Ablation>,
    unmeasured: Vec<Unmeasured>,
    timelines: Vec<Timeline>,
    roofline: Option<rates::Section>,
    sweeps: Vec<rates::Section>,
    places: Vec<PlaceLine>,
    differences: Option<Differences>,
    arms: Vec<Arm>,
    environment: Vec<Group>,
    reproduce: Vec<String>,
    risks: Vec<String>,
    remaining: Vec<String>,
    files: Vec<File>,
    spec_yaml: String,
    schema: String,
}

/// Blocks that ran on one card of one machine.
#[derive(Serialize)]
struct PlaceLine {
    workload: String,
    blocks: String,
    machine: String,
    device: String,
    jobs: String,
}

impl PlaceLine {
    fn of(row: &PlaceRow) -> Self {
        Self {
            workload: row.workload.clone(),
            blocks: row.blocks_words(),
            machine: row.machine_words(),
            device: row.device_words(),
            jobs: row.jobs.join(", "),
        }
    }
}

/// A verdict as a badge.
#[derive(Clone, Serialize)]
pub struct Badge {
    /// Class and icon.
    pub class: String,
    /// What it says.
    pub word: &'static str,
}

impl Badge {
    /// The badge of a verdict.
    pub fn of(verdict: Verdict) -> Self {
        let word = phrase::word(verdict);
        Self { class: word.to_lowercase(), word }
    }
}

#[derive(Serialize)]
struct Count {
    badge: Badge,
    count: u32,
}

#[derive(Serialize)]
struct Legend {
    badge: Badge,
    meaning: &'static str,
}

#[derive(Serialize)]
struct Warning {
    message: String,
    /// `7 times`, when more than once.
    times: Option<String>,
}

#[derive(Serialize)]
struct Section {
    heading: &'static str,
    cards: Vec<Card>,
}

/// A named group of names and values.
#[derive(Serialize)]
pub struct Group {
    /// Heading.
    pub name: String,
    /// Names and values.
    pub rows: Vec<[String; 2]>,
}

#[derive(Serialize)]
struct File {
    name: &'static str,
    what: &'static str,
}

/// What stops the acceptance: the entry that it names first, where its card is, and the rest of the sentence.
#[derive(Serialize)]
struct Stop {
    entry: Option<[String; 2]>,
    rest: String,
}

impl Stop {
    fn of(because: &str, report: &Report, anchors: &[String]) -> Self {
        let named = report.entries.iter().zip(anchors).filter_map(|(entry, anchor)| {
            let rest = because.strip_prefix(&entry.id).filter(|rest| rest.starts_with([' ', ':']))?;
            Some((entry.id.clone(), anchor.clone(), rest.to_owned()))
        });
        // An id may hold the beginning of another, and a space after it.
        match named.max_by_key(|(id, ..)| id.len()) {
            Some((id, anchor, rest)) => Self { entry: Some([id, anchor]), rest },
            None => Self { entry: None, rest: because.to_owned() },
        }
    }
}

impl View {
    /// The page of a report.
    pub fn of(report: &Report) -> Self {
        let anchors = anchors(report);
        Self {
            title: report.title.clone(),
            description: report.description.clone(),
            started_at: phrase::moment(&report.environment.started_at),
            met: report.headline.met,
            sentence: unbroken(&report.headline.sentence),
            stops: report.headline.because.as_deref().map(|because| Stop::of(because, report, &anchors)),
            counts: phrase::counts(&report.headline)
                .into_iter()
                .map(|(verdict, count)| Count { badge: Badge::of(verdict), count })
                .collect(),
            total: report.entries.len(),
            exit_code: report.headline.exit_code,
            verdicts: legend(report),
            warnings: report
                .warnings
                .iter()
                .map(|w| Warning {
                    message: w.message.clone(),
                    times: (w.count > 1).then(|| format!("{} times", w.count)),
                })
                .collect(),
            rows: Row::all(report, &anchors),
            forest: Forest::of(report, &anchors),
            cards: sections(report, &anchors),
            undrawn: (report.entries.len() > MOST_DRAWN).then_some(report.entries.len()),
            ablations: Ablation::all(report, &anchors),
            unmeasured: Unmeasured::all(report, &anchors),
            timelines: timeline::all(report),
            roofline: rates::roofline(report),
            sweeps: rates::sweeps(report),
            places: report.places.iter().map(PlaceLine::of).collect(),
            differences: Differences::of(report),
            arms: arms::all(report),
            environment: environment(report),
            reproduce: report.reproduce.clone(),
            risks: report.risks.clone(),
            remaining: report.remaining.clone(),
            files: files(),
            spec_yaml: report.spec_yaml.clone(),
            schema: report.schema.clone(),
        }
    }
}

/// A sentence in which no line ends between a number and the word that it counts.
fn unbroken(sentence: &str) -> String {
    let mut out = String::with_capacity(sentence.len());
    let mut previous = ' ';
    for c in sentence.chars() {
        out.push(if c == ' ' && previous.is_ascii_digit() { '\u{a0}' } else { c });
        previous = c;
    }
    out
}

/// An anchor for every entry, in their order, each its own: ids that differ only in odd characters get a number.
pub(super) fn anchors(report: &Report) -> Vec<String> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let ids = report.entries.iter().map(|entry| format!("claim-{}", crate::report::text::slug(&entry.id)));
    ids.map(|id| {
        let count = seen.entry(id.clone()).or_insert(0);
        *count += 1;
        // A colon never comes out of a slug, so that a numbered anchor cannot meet another entry's.
        if *count == 1 { id } else { format!("{id}:{count}") }
    })
    .collect()
}

/// The verdicts that occur, with their meanings.
fn legend(report: &Report) -> Vec<Legend> {
    let occurs =
        |v: &Verdict| report.entries.iter().any(|e| e.verdict == *v || e.claims.iter().any(|c| c.verdict == *v));
    let occurring = phrase::HEAVIEST_FIRST.into_iter().rev().filter(occurs);
    occurring.map(|v| Legend { badge: Badge::of(v), meaning: phrase::meaning(v) }).collect()
}

fn sections(report: &Report, anchors: &[String]) -> Vec<Section> {
    use crate::report::model::Section::{Acceptance, Checkpoint};
    let section = |section| {
        let entries = report.entries.iter().zip(anchors).filter(|(entry, _)| entry.section == section);
        let drawn = |entry: &EntryResult| report.entries.len() <= MOST_DRAWN || entry.verdict != Verdict::Pass;
        let cards: Vec<Card> = entries.map(|(entry, anchor)| Card::of(entry, anchor, drawn(entry))).collect();
        (!cards.is_empty()).then(|| Section { heading: phrase::section(section), cards })
    };
    [Checkpoint, Acceptance].into_iter().filter_map(section).collect()
}

fn environment(report: &Report) -> Vec<Group> {
    let environment = &report.environment;
    let pairs = |map: &BTreeMap<String, String>| map.iter().map(|(k, v)| [k.clone(), v.clone()]).collect::<Vec<_>>();
    let row = |name: &str, value: String| [name.to_owned(), value];
    let mut run = vec![
        row("started", environment.started_at.clone()),
        row("command", shell(environment.command.iter().map(String::as_str))),
        row("directory", environment.directory.display().to_string()),
        row("specification", environment.spec_path.display().to_string()),
        row("specification sha256", environment.spec_sha256.clone()),
    ];
    run.extend(pairs(&environment.qa).into_iter().map(|[name, value]| [format!("qa {name}"), value]));
    let mut groups = vec![
        Group { name: "Run".to_owned(), rows: run },
        Group { name: "Host".to_owned(), rows: pairs(&environment.host) },
    ];
    for (index, gpu) in environment.gpus.iter().enumerate() {
        groups.push(Group { name: format!("GPU {index}"), rows: pairs(gpu) });
    }
    for (name, model) in &environment.models {
        let mut rows = vec![row("source", model.source.clone())];
        match &model.problem {
            Some(problem) => rows.push(row("not here", problem.clone())),
            None => rows.extend([
                row("file", model.path.display().to_string()),
                row("sha256", model.sha256.clone()),
                row("size", number::bytes(model.bytes)),
                row("tensor type", model.format.clone()),
                row("read per token", number::bytes(model.bytes_per_token)),
            ]),
        }
        groups.push(Group { name: format!("Model {name}"), rows });
    }
    groups.push(Group { name: "Variables".to_owned(), rows: pairs(&environment.variables) });
    for group in &mut groups {
        group.rows.retain(|[_, value]| !value.is_empty());
    }
    groups.retain(|group| !group.rows.is_empty());
    groups
}

/// What lies beside the page.
fn files() -> Vec<File> {
    [
        ("samples.jsonl", "every sample, loss and check, in the order in which they happened"),
        ("events.jsonl", "what the harness did, and when"),
        ("environment.json", "where it ran"),
        ("spec.yaml", "the specification as it was resolved"),
        ("report.json", "this report as data"),
        ("report.md", "this report in short"),
        ("junit.xml", "this report for CI systems"),
    ]
    .map(|(name, what)| File { name, what })
    .into()
}
