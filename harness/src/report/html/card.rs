//! An entry's card: each claim with why, its numbers, its plot and its data.

use super::ablation;
use super::view::Badge;
use crate::report::model::{ArmValues, ClaimResult, Comparison, EntryResult, Estimand, SignFlip, Verdict};
use crate::report::phrase::{self, Figures};
use crate::report::svg::pairs;
use crate::report::{number, text};
use serde::Serialize;

/// A card.
#[derive(Serialize)]
pub struct Card {
    anchor: String,
    id: String,
    title: String,
    description: Option<String>,
    required: bool,
    badge: Badge,
    /// Whether it is open at first: everything that did not pass is.
    open: bool,
    /// The number that matters, for the folded card.
    brief: Option<String>,
    /// Whether the card has more than one claim, each of which then shows its own badge.
    several: bool,
    claims: Vec<Claim>,
    rerun: String,
}

/// A claim on a card.
#[derive(Serialize)]
struct Claim {
    /// Part of the ids of its elements.
    anchor: String,
    badge: Badge,
    check: String,
    words: String,
    weight: Option<&'static str>,
    reason: String,
    remedy: Option<String>,
    evidence: &'static str,
    warnings: Vec<String>,
    /// Of a claim without a comparison; the others show theirs among its details.
    facts: Vec<[String; 2]>,
    comparison: Option<Numbers>,
    /// Where the plots of its ablation are.
    ablation: Option<String>,
}

/// A comparison on a card.
#[derive(Serialize)]
struct Numbers {
    /// Whether the numbers support no verdict.
    unused: bool,
    estimate: String,
    interval: String,
    margin: Option<String>,
    metric: String,
    better: &'static str,
    arms: Vec<ArmRow>,
    details: Vec<[String; 2]>,
    /// Absent where plots and their data are left out.
    plot: Option<pairs::Plot>,
    /// Whether pairs were run in two orders, so that marks differ.
    ratio: bool,
    any_excluded: bool,
    pairs_description: String,
    running_description: String,
    pair_columns: Vec<String>,
    pair_rows: Vec<Vec<String>>,
    running_rows: Vec<[String; 4]>,
}

#[derive(Serialize)]
struct ArmRow {
    arm: String,
    median: String,
    mean: String,
    sd: String,
    processes: u32,
    iterations: u32,
    output: String,
}

impl Card {
    /// The card of an entry.
    ///
    /// `drawn` says whether its plots are on the page: of a page of very many, those that passed have none.
    pub fn of(entry: &EntryResult, anchor: &str, drawn: bool) -> Self {
        let several = entry.claims.len() > 1;
        let brief = match entry.claims.as_slice() {
            [claim] => claim.comparison.as_ref().map(|c| {
                let figures = Figures::of(c);
                format!("{} {}", figures.estimate, figures.interval())
            }),
            // What did not pass although the entry did, since it gates nothing, shows on a folded card, too.
            claims => Some(phrase::by_verdict(claims)),
        };
        Self {
            anchor: anchor.to_owned(),
            id: entry.id.clone(),
            title: entry.title.clone(),
            description: entry.description.clone(),
            required: entry.required,
            badge: Badge::of(entry.verdict),
            open: entry.verdict != Verdict::Pass,
            brief,
            several,
            claims: entry.claims.iter().enumerate().map(|(i, c)| Claim::of(entry, c, anchor, i, drawn)).collect(),
            rerun: text::one_line(&entry.rerun),
        }
    }
}

impl Claim {
    fn of(entry: &EntryResult, claim: &ClaimResult, entry_anchor: &str, index: usize, drawn: bool) -> Self {
        Self {
            anchor: format!("{entry_anchor}-{index}"),
            badge: Badge::of(claim.verdict),
            check: claim.check.clone(),
            words: claim.words.clone(),
            weight: phrase::weight(entry, claim),
            reason: claim.reason.clone(),
            remedy: claim.remedy.clone(),
            evidence: phrase::evidence(claim.evidence),
            warnings: claim.warnings.clone(),
            facts: if claim.comparison.is_some() { Vec::new() } else { facts(claim) },
            comparison: claim.comparison.as_ref().map(|comparison| Numbers::of(claim, comparison, drawn)),
            ablation: claim.ablation.is_some().then(|| ablation::anchor(entry_anchor)),
        }
    }
}

fn facts(claim: &ClaimResult) -> Vec<[String; 2]> {
    claim.facts.iter().map(|fact| [fact.name.clone(), fact.value.clone()]).collect()
}

impl Numbers {
    fn of(claim: &ClaimResult, c: &Comparison, drawn: bool) -> Self {
        let figures = Figures::of(c);
        let ratio = phrase::in_pairs(c);
        let noun = if ratio { "pairs" } else { "processes" };
        let print = |x: f64| number::fixed(x, figures.decimals);
        let margin = phrase::margin(claim);
        let margin_words = margin.as_deref().unwrap_or("no margin");
        Self {
            unused: matches!(claim.verdict, Verdict::Invalid | Verdict::Blocked | Verdict::Error),
            estimate: figures.estimate.clone(),
            interval: figures.interval(),
            metric: phrase::with_unit(&phrase::metric(&c.metric), &unit_note(c)),
            better: phrase::better(c.direction),
            arms: std::iter::once(&c.of).chain(&c.over).map(|values| ArmRow::of(values, &c.unit)).collect(),
            details: details(c, &figures).into_iter().chain(facts(claim)).collect(),
            plot: drawn.then(|| pairs::plot(c, figures.decimals)),
            ratio,
            any_excluded: c.pairs.iter().any(|p| p.excluded.is_some()),
            pairs_description: format!(
                "{} {noun} in the order of blocks, from {} to {}; {margin_words}.",
                c.pairs.len(),
                print(c.pairs.iter().map(|p| p.value).fold(f64::NAN, f64::min)),
                print(c.pairs.iter().map(|p| p.value).fold(f64::NAN, f64::max)),
            ),
            running_description: format!(
                "Estimate and bounds after each block; at the end {} {}; {margin_words}.",
                figures.estimate,
                figures.interval()
            ),
            margin,
            pair_columns: pair_columns(c),
            pair_rows: pair_rows(c, &print),
            running_rows: c
                .running
                .iter()
                .map(|r| [r.pairs.to_string(), print(r.estimate), print(r.lower), print(r.upper)])
                .collect(),
        }
    }
}

fn unit_note(c: &Comparison) -> String {
    match &c.over {
        Some(over) => format!("of {} / {}", c.of.arm, over.arm),
        None => format!("of {}", c.of.arm),
    }
}

impl ArmRow {
    fn of(values: &ArmValues, unit: &str) -> Self {
        let print = |x: f64| phrase::with_unit(&number::value(x), unit);
        Self {
            arm: values.arm.clone(),
            median: print(values.median),
            mean: print(values.mean),
            sd: phrase::with_unit(&number::short(values.sd), unit),
            processes: values.processes,
            iterations: values.iterations,
            output: values.output.clone(),
        }
    }
}

/// What the verdict rests on, and what stands beside it.
fn details(c: &Comparison, figures: &Figures) -> Vec<[String; 2]> {
    let row = |name: &str, value: String| [name.to_owned(), value];
    let quantity = |x: f64| phrase::quantity(&number::short(x), c.estimand, &c.unit);
    let used = if phrase::in_pairs(c) { "pairs" } else { "processes" };
    let mut rows =
        vec![row("samples", figures.pairs.clone()), row("confidence", confidence(c)), row("looks", looks(c))];
    rows.extend(c.baseline.clone().map(|run| row("baseline", format!("{run}; not in pairs, Welch's t bounds"))));
    rows.extend(c.margin_reason.clone().map(|reason| row("margin's reason", reason)));
    rows.push(row("workload", c.workload.clone()));
    rows.extend(c.sign_flip.map(|flip| row("exact sign-flip test", sign_flip(flip))));
    rows.extend(c.p_better.map(|p| row("better than 1x", format!("one-sided t test, {}", number::p_value(p)))));
    rows.extend(c.effect_size.map(|d| row("effect size", format!("Cohen's d {}", number::short(d)))));
    rows.extend(c.bootstrap.map(|[low, high]| {
        let print = |x: f64| number::fixed(x, figures.decimals);
        row("bootstrap-t interval", format!("[{}, {}], for display", print(low), print(high)))
    }));
    rows.extend(c.detectable.map(|d| {
        let beyond =
            if c.estimand == Estimand::Ratio { "a ratio to the margin of" } else { "a distance to the margin of" };
        row("visible with 80 % power", format!("{beyond} {}", quantity(d)))
    }));
    rows.extend(c.pairs_to_decide.map(|n| row("would probably decide", format!("about {n} {used}"))));
    rows
}

fn confidence(c: &Comparison) -> String {
    let each = number::percent(c.confidence);
    let asked = number::percent(c.nominal_confidence);
    if each == asked {
        format!("each bound one-sided at {each}")
    } else {
        format!("each bound one-sided at {each}: the {asked} asked for, after looks and family are paid for")
    }
}

fn looks(c: &Comparison) -> String {
    match c.looks.as_slice() {
        [only] => format!("one, after {only} blocks"),
        looks => {
            let list: Vec<String> = looks.iter().map(u32::to_string).collect();
            format!("declared after {} blocks; stops at the first that decides", list.join(", "))
        }
    }
}

fn sign_flip(flip: SignFlip) -> String {
    let p = number::p_value(flip.p);
    let smallest = number::probability(flip.smallest);
    if flip.agrees {
        format!("{p} (smallest possible {smallest}), no disagreement")
    } else {
        format!("{p} (smallest possible {smallest}), disagrees with the verdict")
    }
}

fn pair_columns(c: &Comparison) -> Vec<String> {
    let unit = |arm: &str| if c.unit.is_empty() { arm.to_owned() } else { format!("{arm}, {}", c.unit) };
    match &c.over {
        Some(over) if c.baseline.is_some() => vec![
            "block".to_owned(),
            unit(&c.of.arm),
            format!("mean of {}", unit(&over.arm)),
            "ratio".to_owned(),
            "not used because".to_owned(),
        ],
        Some(over) => vec![
            "block".to_owned(),
            unit(&c.of.arm),
            unit(&over.arm),
            "ratio".to_owned(),
            "ran first".to_owned(),
            "not used because".to_owned(),
        ],
        None => vec!["block".to_owned(), unit(&c.of.arm), "not used because".to_owned()],
    }
}

fn pair_rows(c: &Comparison, print: &dyn Fn(f64) -> String) -> Vec<Vec<String>> {
    let row = |p: &crate::report::model::PairPoint| {
        let excluded = p.excluded.clone().unwrap_or_default();
        match (&c.over, p.over) {
            (Some(_), Some(other)) if c.baseline.is_some() => {
                vec![(p.block + 1).to_string(), number::value(p.of), number::value(other), print(p.value), excluded]
            }
            (Some(over), Some(other)) => {
                let first = if p.of_first { &c.of.arm } else { &over.arm };
                vec![
                    (p.block + 1).to_string(),
                    number::value(p.of),
                    number::value(other),
                    print(p.value),
                    first.clone(),
                    excluded,
                ]
            }
            (Some(_), None) => vec![
                (p.block + 1).to_string(),
                number::value(p.of),
                number::ABSENT.to_owned(),
                print(p.value),
                String::new(),
                excluded,
            ],
            (None, _) => vec![(p.block + 1).to_string(), number::value(p.of), excluded],
        }
    };
    c.pairs.iter().map(row).collect()
}
