//! The tables and plots that show every claim at once.

use super::view::Badge;
use crate::report::model::{ClaimResult, EntryResult, EvidenceType, Report, Verdict};
use crate::report::number;
use crate::report::phrase::{self, Deciding, Figures};
use crate::report::svg::forest::{self, SharedAxis, Strip};
use serde::Serialize;

/// An entry in the table of results.
#[derive(Serialize)]
pub struct Row {
    anchor: String,
    id: String,
    title: String,
    section: &'static str,
    required: bool,
    badge: Badge,
    claims: Vec<Claim>,
}

/// A claim in the table of results.
#[derive(Serialize)]
pub struct Claim {
    badge: Badge,
    check: String,
    words: String,
    weight: Option<&'static str>,
    figures: Measured,
    evidence: &'static str,
}

/// A claim's numbers in their columns.
#[derive(Serialize)]
pub struct Measured {
    /// `number`, `words`, or `absent`.
    kind: &'static str,
    /// What was measured; of claims that no number decides, what was found.
    value: String,
    /// Lower and upper, of a number.
    bounds: Vec<Bound>,
    margin: Option<String>,
}

#[derive(Serialize)]
struct Bound {
    text: String,
    /// Whether the verdict rests on it.
    decides: bool,
}

impl Measured {
    fn of(claim: &ClaimResult) -> Self {
        let margin = phrase::margin(claim);
        if let Some(comparison) = &claim.comparison {
            let figures = Figures::of(comparison);
            let deciding = phrase::deciding(comparison, claim.verdict);
            let lower = Bound { text: figures.lower, decides: matches!(deciding, Deciding::Lower | Deciding::Both) };
            let upper = Bound { text: figures.upper, decides: matches!(deciding, Deciding::Upper | Deciding::Both) };
            return Self { kind: "number", value: figures.estimate, bounds: vec![lower, upper], margin };
        }
        let (kind, value) = match claim.evidence {
            EvidenceType::None => ("absent", "not measured".to_owned()),
            _ => ("words", claim.reason.clone()),
        };
        Self { kind, value, bounds: Vec::new(), margin }
    }
}

impl Row {
    /// A row for every entry, in the specification's order.
    pub fn all(report: &Report, anchors: &[String]) -> Vec<Self> {
        let row = |(entry, anchor): (&EntryResult, &String)| Self {
            anchor: anchor.clone(),
            id: entry.id.clone(),
            title: entry.title.clone(),
            section: phrase::section(entry.section),
            required: entry.required,
            badge: Badge::of(entry.verdict),
            claims: entry.claims.iter().map(|claim| Claim::of(entry, claim)).collect(),
        };
        report.entries.iter().zip(anchors).map(row).collect()
    }
}

impl Claim {
    fn of(entry: &EntryResult, claim: &ClaimResult) -> Self {
        Self {
            badge: Badge::of(claim.verdict),
            check: claim.check.clone(),
            words: claim.words.clone(),
            weight: phrase::weight(entry, claim),
            figures: Measured::of(claim),
            evidence: phrase::evidence(claim.evidence),
        }
    }
}

/// The overview plot.
#[derive(Serialize)]
pub struct Forest {
    /// Claims about ratios, on one axis.
    axis: Option<SharedAxis>,
    ratios: Vec<ForestRow>,
    /// Whether some are drawn as their inverse.
    any_inverted: bool,
    /// Claims about one arm's value, each on its own axis.
    values: Vec<ForestRow>,
    /// `95 %`, or `95 % to 98.33 %` where looks or families are paid for.
    confidence: Option<String>,
}

/// A claim in the plot.
#[derive(Serialize)]
pub struct ForestRow {
    anchor: String,
    /// The entry's own verdict, by which rows are shown and hidden.
    entry_class: String,
    required: bool,
    label: String,
    words: String,
    badge: Badge,
    strip: Strip,
    figures: Measured,
    description: String,
}

impl Forest {
    /// The plot, rows that did not pass first; `None` when no claim has a margin.
    pub fn of(report: &Report, anchors: &[String]) -> Option<Self> {
        let (axis, ratios) = ratios(report, anchors);
        let values: Vec<ForestRow> = claims(report, anchors)
            .into_iter()
            .filter(|(_, claim, _)| forest::is_value(claim))
            .filter_map(|(entry, claim, anchor)| {
                forest::on_own(claim).map(|strip| ForestRow::of(entry, claim, anchor, strip))
            })
            .collect();
        let any_inverted = ratios.iter().any(|row| row.strip.inverted);
        let nothing = ratios.is_empty() && values.is_empty();
        (!nothing).then(|| Self { axis, ratios, any_inverted, values, confidence: confidence(report) })
    }
}

/// Every claim with its entry and the entry's anchor, those that did not pass first.
fn claims<'a>(report: &'a Report, anchors: &'a [String]) -> Vec<(&'a EntryResult, &'a ClaimResult, &'a String)> {
    let entries = report.entries.iter().zip(anchors);
    let mut claims: Vec<_> =
        entries.flat_map(|(entry, anchor)| entry.claims.iter().map(move |claim| (entry, claim, anchor))).collect();
    claims.sort_by_key(|(_, claim, _)| phrase::rank(claim.verdict));
    claims
}

/// The claims about ratios on one axis, those that did not pass first.
pub fn ratios(report: &Report, anchors: &[String]) -> (Option<SharedAxis>, Vec<ForestRow>) {
    let claims: Vec<_> = claims(report, anchors).into_iter().filter(|(_, claim, _)| forest::is_ratio(claim)).collect();
    if claims.is_empty() {
        return (None, Vec::new());
    }
    let axis = forest::ratio_axis(claims.iter().map(|(_, claim, _)| *claim));
    let row = |(entry, claim, anchor): &(&EntryResult, &ClaimResult, &String)| {
        Some(ForestRow::of(entry, claim, anchor, forest::on_shared(claim, &axis)?))
    };
    let rows = claims.iter().filter_map(row).collect();
    (Some(axis), rows)
}

impl ForestRow {
    fn of(entry: &EntryResult, claim: &ClaimResult, anchor: &str, strip: Strip) -> Self {
        Self {
            anchor: anchor.to_owned(),
            entry_class: Badge::of(entry.verdict).class,
            required: entry.required,
            label: phrase::label(entry, claim),
            words: claim.words.clone(),
            badge: Badge::of(claim.verdict),
            strip,
            figures: Measured::of(claim),
            description: description(entry, claim),
        }
    }
}

/// A strip in words, for who cannot see it.
fn description(entry: &EntryResult, claim: &ClaimResult) -> String {
    let margin = phrase::margin(claim).unwrap_or_default();
    let label = phrase::label(entry, claim);
    let verdict = phrase::word(claim.verdict);
    match &claim.comparison {
        Some(comparison) => {
            let figures = Figures::of(comparison);
            format!("{label}: {}, bounds {} to {}, {margin}, {verdict}", figures.estimate, figures.lower, figures.upper)
        }
        None => format!("{label}: not measured, {margin}, {verdict}"),
    }
}

/// The range of confidences of the bounds.
fn confidence(report: &Report) -> Option<String> {
    let comparisons = report.entries.iter().flat_map(|e| &e.claims).filter_map(|c| c.comparison.as_ref());
    let mut confidences: Vec<f64> = comparisons.map(|c| c.confidence).filter(|c| c.is_finite()).collect();
    confidences.sort_by(f64::total_cmp);
    let (first, last) = (*confidences.first()?, *confidences.last()?);
    let (first, last) = (number::percent(first), number::percent(last));
    Some(if first == last { first } else { format!("{first} to {last}") })
}

/// Claims that share a reason why there is no usable number.
#[derive(Serialize)]
pub struct Unmeasured {
    badge: Badge,
    reason: String,
    remedy: Option<String>,
    /// Anchor and label of each.
    claims: Vec<[String; 2]>,
}

impl Unmeasured {
    /// Every claim without a usable number, grouped by why, heaviest first.
    pub fn all(report: &Report, anchors: &[String]) -> Vec<Self> {
        let mut groups: Vec<(Verdict, Self)> = Vec::new();
        for (entry, anchor) in report.entries.iter().zip(anchors) {
            for claim in &entry.claims {
                if !matches!(claim.verdict, Verdict::Blocked | Verdict::Error | Verdict::Invalid) {
                    continue;
                }
                let link = [anchor.clone(), phrase::label(entry, claim)];
                let same = |(verdict, group): &&mut (Verdict, Self)| {
                    *verdict == claim.verdict && group.reason == claim.reason && group.remedy == claim.remedy
                };
                match groups.iter_mut().find(same) {
                    Some((_, group)) => group.claims.push(link),
                    None => groups.push((
                        claim.verdict,
                        Self {
                            badge: Badge::of(claim.verdict),
                            reason: claim.reason.clone(),
                            remedy: claim.remedy.clone(),
                            claims: vec![link],
                        },
                    )),
                }
            }
        }
        groups.sort_by_key(|(verdict, _)| phrase::rank(*verdict));
        groups.into_iter().map(|(_, group)| group).collect()
    }
}
