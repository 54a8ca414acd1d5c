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

#[derive(Serialize)]
struct ForestRow {
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
        let mut claims: Vec<(&EntryResult, &ClaimResult, &String)> = report
            .entries
            .iter()
            .zip(anchors)
            .flat_map(|(entry, anchor)| entry.claims.iter().map(move |claim| (entry, claim, anchor)))
            .collect();
        claims.sort_by_key(|(_, claim, _)| phrase::rank(claim.verdict));
        let ratios: Vec<_> = claims.iter().filter(|(_, claim, _)| forest::is_ratio(claim)).collect();
        let axis = (!ratios.is_empty()).then(|| forest::ratio_axis(ratios.iter().map(|(_, claim, _)| *claim)));
        let row = |entry: &EntryResult, claim: &ClaimResult, anchor: &String, strip| ForestRow {
            anchor: anchor.clone(),
            entry_class: Badge::of(entry.verdict).class,
            required: entry.required,
            label: phrase::label(entry, claim),
            words: claim.words.clone(),
            badge: Badge::of(claim.verdict),
            strip,
            figures: Measured::of(claim),
            description: description(entry, claim),
        };
        let ratios: Vec<ForestRow> = ratios
            .into_iter()
            .filter_map(|(entry, claim, anchor)| {
                forest::on_shared(claim, axis.as_ref()?).map(|strip| row(entry, claim, anchor, strip))
            })
            .collect();
        let values: Vec<ForestRow> = claims
            .iter()
            .filter(|(_, claim, _)| forest::is_value(claim))
            .filter_map(|(entry, claim, anchor)| forest::on_own(claim).map(|strip| row(entry, claim, anchor, strip)))
            .collect();
        let any_inverted = ratios.iter().any(|row| row.strip.inverted);
        let nothing = ratios.is_empty() && values.is_empty();
        (!nothing).then(|| Self { axis, ratios, any_inverted, values, confidence: confidence(report) })
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
