//! Ablations: what each switch contributes, every combination, and how switches act on each other.

use crate::report::ablation::{median, names};
use crate::report::model::{Ablation, Combination, EntryResult, Factor, Report, SwitchResult};
use crate::report::phrase;
use crate::report::svg::ablation::{Scale, Strip};
use crate::report::{number, text};
use serde::Serialize;

/// An ablation's part of the page.
#[derive(Serialize)]
pub struct Section {
    anchor: String,
    entry: String,
    id: String,
    title: String,
    reason: String,
    metric: String,
    arm: String,
    blocks: String,
    missing: Option<String>,
    scale: Scale,
    rows: Vec<Row>,
    combinations: Vec<CombinationRow>,
    switches: Vec<String>,
    interactions: Vec<[String; 3]>,
    contexts: Vec<[String; 4]>,
    /// In words: how sure the bounds are.
    confidence: Vec<String>,
    any_claimed: bool,
}

/// A question about the switches, with what was measured and what was claimed.
#[derive(Serialize)]
pub struct Row {
    name: String,
    what: &'static str,
    /// `alone`, `shapley` or `all`: which mark is drawn.
    mark: &'static str,
    /// Whether it begins a group.
    first: bool,
    strip: Strip,
    value: String,
    interval: String,
    claimed: String,
    description: String,
}

/// A set of switches.
#[derive(Serialize)]
pub struct CombinationRow {
    arm: String,
    on: Vec<bool>,
    /// In words, for who cannot see the dots.
    words: String,
    none: bool,
    median: String,
    strip: Strip,
    value: String,
    interval: String,
    product: String,
    without_effect: Option<String>,
    problem: Option<String>,
    description: String,
}

/// The anchor of an entry's ablation.
pub fn anchor(entry_anchor: &str) -> String {
    format!("ablation-{entry_anchor}")
}

impl Section {
    /// Every ablation of a report, in its order.
    pub fn all(report: &Report, anchors: &[String]) -> Vec<Self> {
        let entries = report.entries.iter().zip(anchors);
        let with = |(entry, anchor): (&EntryResult, &String)| {
            let claim = entry.claims.iter().find(|claim| claim.ablation.is_some())?;
            Some(Self::of(entry, anchor, &claim.reason, claim.ablation.as_ref()?))
        };
        entries.filter_map(with).collect()
    }

    fn of(entry: &EntryResult, entry_anchor: &str, reason: &str, ablation: &Ablation) -> Self {
        let scale = Scale::of(ablation);
        let mut rows: Vec<Row> = ablation.switches.iter().flat_map(|switch| of_switch(switch, &scale)).collect();
        rows.extend(together(ablation, &scale));
        Self {
            anchor: anchor(entry_anchor),
            entry: entry_anchor.to_owned(),
            id: entry.id.clone(),
            title: entry.title.clone(),
            reason: reason.to_owned(),
            metric: phrase::metric(&ablation.metric),
            arm: ablation.arm.clone(),
            blocks: format!(
                "{} of {} blocks of {} processes",
                ablation.blocks,
                ablation.planned,
                ablation.combinations.len()
            ),
            missing: ablation.missing.clone(),
            rows,
            combinations: if ablation.combinations.iter().any(|c| c.values.is_some()) {
                ablation.combinations.iter().map(|c| of_combination(c, ablation, &scale)).collect()
            } else {
                Vec::new()
            },
            switches: ablation.switches.iter().map(|s| s.name.clone()).collect(),
            interactions: ablation
                .interactions
                .iter()
                .map(|i| {
                    [text::one_line(&i.switches.join(" and ")), phrase::factor(i.factor.estimate), interval(i.factor)]
                })
                .collect(),
            contexts: ablation.switches.iter().filter_map(contexts).collect(),
            confidence: confidence(ablation),
            any_claimed: ablation.joint_claimed.is_some() || ablation.switches.iter().any(|s| s.claimed.is_some()),
            scale,
        }
    }
}

fn interval(factor: Factor) -> String {
    phrase::factor_interval(factor)
}

fn row(
    name: &str,
    what: &'static str,
    mark: &'static str,
    factor: Option<Factor>,
    claimed: Option<f64>,
    scale: &Scale,
) -> Row {
    let value = factor.map_or_else(|| "not measured".to_owned(), |f| phrase::factor(f.estimate));
    let bounds = factor.map(interval).unwrap_or_default();
    let said = claimed.map(|c| format!("{}x", number::exact(c))).unwrap_or_default();
    let claim = if said.is_empty() { String::new() } else { format!(", claimed {said}") };
    Row {
        description: format!("{name} {what}: {value} {bounds}{claim}"),
        name: name.to_owned(),
        what,
        mark,
        first: false,
        strip: Strip { claimed: scale.at(claimed), ..scale.strip(factor) },
        value,
        interval: bounds,
        claimed: said,
    }
}

fn of_switch(switch: &SwitchResult, scale: &Scale) -> [Row; 2] {
    let alone = row(&switch.name, "alone", "alone", switch.alone, switch.claimed, scale);
    let shapley = row(&switch.name, "on average (Shapley)", "shapley", switch.shapley, None, scale);
    let strip = Strip { range: scale.range(switch.range), last: scale.at(switch.last), ..shapley.strip };
    [Row { first: true, ..alone }, Row { strip, ..shapley }]
}

fn together(ablation: &Ablation, scale: &Scale) -> Vec<Row> {
    let all = row("together", "", "all", ablation.joint, ablation.joint_claimed, scale);
    if ablation.switches.len() < 2 {
        return vec![Row { first: true, ..all }];
    }
    vec![
        Row { first: true, ..all },
        row("product", "of each alone", "all", ablation.product, ablation.product_claimed, scale),
        row("together", "over the product", "all", ablation.joint_over_product, None, scale),
    ]
}

fn of_combination(combination: &Combination, ablation: &Ablation, scale: &Scale) -> CombinationRow {
    let names = names(combination, ablation);
    let none = names.is_empty();
    let words = if none { "none".to_owned() } else { names.join(" + ") };
    let value = match (combination.factor, none) {
        (Some(factor), _) => phrase::factor(factor.estimate),
        (None, true) => "1x".to_owned(),
        (None, false) => "not used".to_owned(),
    };
    let bounds = combination.factor.map(interval).unwrap_or_default();
    // Of one switch the product is the factor itself.
    let product = combination.product.filter(|_| names.len() > 1);
    CombinationRow {
        arm: combination.arm.clone(),
        on: combination.on.clone(),
        none,
        median: median(combination, ablation),
        strip: Strip { product: scale.at(product), ..scale.strip(combination.factor) },
        description: format!("{words}: {value} {bounds}"),
        value,
        interval: bounds,
        product: product.map(phrase::factor).unwrap_or_default(),
        without_effect: (!combination.without_effect.is_empty()).then(|| combination.without_effect.join(", ")),
        problem: combination.problem.clone(),
        words,
    }
}

/// A switch's factor alone, last, and the least and the most in any context.
fn contexts(switch: &SwitchResult) -> Option<[String; 4]> {
    let ([least, most], last) = (switch.range?, switch.last?);
    Some([switch.name.clone(), phrase::factor(last), phrase::factor(least), phrase::factor(most)])
}

fn confidence(ablation: &Ablation) -> Vec<String> {
    let nominal = number::percent(ablation.nominal_confidence);
    let each = ablation.confidence;
    let line = |what: String, each: f64| {
        format!("{what}: {} one-sided each, so that all hold together at {nominal}", number::percent(each))
    };
    let n = ablation.switches.len();
    let mut lines = vec![
        line(phrase::count(ablation.combinations.len().saturating_sub(1), "combination"), each.combination),
        line(phrase::count(n, "Shapley value"), each.shapley),
    ];
    if n > 1 {
        lines.push(line(phrase::count(n * (n - 1) / 2, "interaction"), each.interaction));
        lines.push(format!("the product, and together over product: {} one-sided", number::percent(each.product)));
    }
    lines
}
