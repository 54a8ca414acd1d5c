//! The overview: a strip a claim, each with its margin, its interval and its estimate.

use super::{Axis, Kind, XTick, percent};
use crate::metrics::Direction;
use crate::report::model::{ClaimResult, Estimand, EvidenceType};
use crate::report::phrase::{self, Deciding};
use serde::Serialize;

/// Labels on a shared axis.
const TICKS: usize = 6;
/// Labels on an axis of one strip.
const OWN_TICKS: usize = 4;
/// An interval that reaches this far beyond every estimate is cut at the edge.
const FARTHEST_BOUND: f64 = 4.0;
/// A margin that is this far beyond every interval is shown as an arrow at the edge.
const FARTHEST_MARGIN: f64 = 8.0;
/// Room for markers at both ends, as a share of the width.
const INSET: f64 = 0.02;

/// An axis for the strips of a plot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SharedAxis {
    /// Labels.
    pub ticks: Vec<XTick>,
    /// Where a ratio of 1 is.
    pub one: Option<String>,
    #[serde(skip)]
    axis: Axis,
}

/// What is drawn of one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Strip {
    /// Whether a ratio is drawn as its inverse, because a lower one is better.
    pub inverted: bool,
    /// Where the claim is not met: from and how far.
    pub missing: Vec<Span>,
    /// Margins.
    pub margins: Vec<Margin>,
    /// The interval, when there is one.
    pub bar: Option<Bar>,
    /// The estimate, when it lies on the axis.
    pub point: Option<String>,
    /// `measured`, `imported`, `projected`, `none`: how marker and bar are drawn.
    pub evidence: &'static str,
    /// The labels of a strip with an axis of its own.
    pub ticks: Vec<XTick>,
}

/// A part of the width.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Left end.
    pub x: String,
    /// Width.
    pub width: String,
}

/// A margin's mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Margin {
    /// Where.
    pub x: String,
    /// `left` or `right` when it lies beyond that edge; empty on the axis.
    pub beyond: &'static str,
}

/// An interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// Left end.
    pub x1: String,
    /// Right end.
    pub x2: String,
    /// How the left end is drawn: `decides`, `plain`, or `cut` when it goes on beyond the edge.
    pub left: &'static str,
    /// How the right end is drawn.
    pub right: &'static str,
}

/// A claim's numbers as they are drawn: inverted when that puts better to the right.
struct Drawn {
    inverted: bool,
    margins: [Option<f64>; 2],
    /// Estimate, left bound, right bound.
    interval: Option<[f64; 3]>,
    deciding: Deciding,
}

impl Drawn {
    /// `None` for a claim without any margin.
    fn of(claim: &ClaimResult) -> Option<Self> {
        let (estimand, direction, low, high) = match (&claim.comparison, &claim.awaited) {
            (Some(c), _) => (c.estimand, c.direction, c.margin_lower, c.margin_upper),
            (None, Some(a)) => (a.estimand, a.direction, a.margin_lower, a.margin_upper),
            (None, None) => return None,
        };
        let interval = claim.comparison.as_ref().map(|c| [c.estimate, c.lower, c.upper]);
        let deciding = claim.comparison.as_ref().map_or(Deciding::Neither, |c| phrase::deciding(c, claim.verdict));
        let inverted = estimand == Estimand::Ratio && direction == Direction::LowerIsBetter;
        if !inverted {
            return Some(Self { inverted, margins: [low, high], interval, deciding });
        }
        Some(Self {
            inverted,
            margins: [high.map(f64::recip), low.map(f64::recip)],
            interval: interval.map(|[estimate, lower, upper]| [estimate.recip(), upper.recip(), lower.recip()]),
            deciding: match deciding {
                Deciding::Lower => Deciding::Upper,
                Deciding::Upper => Deciding::Lower,
                other => other,
            },
        })
    }
}

/// Whether a claim has a place on the axis of ratios.
pub fn is_ratio(claim: &ClaimResult) -> bool {
    estimand(claim) == Some(Estimand::Ratio)
}

/// Whether a claim has an axis of its own.
pub fn is_value(claim: &ClaimResult) -> bool {
    estimand(claim) == Some(Estimand::Value)
}

fn estimand(claim: &ClaimResult) -> Option<Estimand> {
    claim.comparison.as_ref().map(|c| c.estimand).or(claim.awaited.as_ref().map(|a| a.estimand))
}

/// The axis that the ratios of these claims share.
pub fn ratio_axis<'a>(claims: impl IntoIterator<Item = &'a ClaimResult>) -> SharedAxis {
    let drawn: Vec<Drawn> = claims.into_iter().filter_map(Drawn::of).collect();
    let axis = Axis::around(Kind::Log, shown(&drawn, Kind::Log, Some(1.0)));
    SharedAxis { ticks: ticks(axis, TICKS), one: axis.holds(1.0).then(|| percent(inset(axis.position(1.0)))), axis }
}

/// A claim's strip on a shared axis of ratios.
pub fn on_shared(claim: &ClaimResult, shared: &SharedAxis) -> Option<Strip> {
    Drawn::of(claim).map(|drawn| strip(claim, &drawn, shared.axis, Vec::new()))
}

/// A claim's strip on an axis of its own.
pub fn on_own(claim: &ClaimResult) -> Option<Strip> {
    let drawn = Drawn::of(claim)?;
    let values = shown(std::slice::from_ref(&drawn), Kind::Linear, None);
    let axis = Axis::around(Kind::Linear, values);
    Some(strip(claim, &drawn, axis, ticks(axis, OWN_TICKS)))
}

/// The values that an axis must show: every estimate, bounds and margins that are not too far from them.
fn shown(drawn: &[Drawn], kind: Kind, always: Option<f64>) -> Vec<f64> {
    let finite = |v: &f64| v.is_finite() && (kind == Kind::Linear || *v > 0.0);
    let estimates = drawn.iter().filter_map(|d| d.interval.map(|i| i[0]));
    let mut values: Vec<f64> = estimates.chain(always).filter(finite).collect();
    let margins: Vec<f64> = drawn.iter().flat_map(|d| d.margins).flatten().filter(finite).collect();
    let bounds: Vec<f64> = drawn.iter().filter_map(|d| d.interval).flat_map(|i| [i[1], i[2]]).filter(finite).collect();
    if !drawn.iter().any(|d| d.interval.is_some()) {
        values.extend(margins);
        return values;
    }
    for (candidates, farthest) in [(bounds, FARTHEST_BOUND), (margins, FARTHEST_MARGIN)] {
        let (low, high) = reach(&values, kind, farthest);
        values.extend(candidates.into_iter().filter(|v| (low..=high).contains(v)));
    }
    values
}

/// How far values may be from those already shown.
fn reach(values: &[f64], kind: Kind, farthest: f64) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match kind {
        Kind::Log => (low / farthest, high * farthest),
        Kind::Linear => {
            let size = low.abs().max(high.abs()) * (farthest - 1.0);
            (low - size, high + size)
        }
    }
}

fn strip(claim: &ClaimResult, drawn: &Drawn, axis: Axis, ticks: Vec<XTick>) -> Strip {
    let at = |value: f64| inset(axis.position(value).clamp(0.0, 1.0));
    let [low, high] = drawn.margins;
    let mut missing = Vec::new();
    if let Some(low) = low {
        missing.push(Span { x: percent(0.0), width: percent(at(low)) });
    }
    if let Some(high) = high {
        missing.push(Span { x: percent(at(high)), width: percent(1.0 - at(high)) });
    }
    let margins = [low, high].into_iter().flatten().map(|margin| {
        let position = axis.position(margin);
        let beyond = match position {
            p if p < 0.0 => "left",
            p if p > 1.0 => "right",
            _ => "",
        };
        Margin { x: percent(at(margin)), beyond }
    });
    let bar = drawn.interval.filter(|[_, left, right]| !left.is_nan() && !right.is_nan()).map(|[_, left, right]| Bar {
        x1: percent(at(left)),
        x2: percent(at(right)),
        left: end(axis, left, matches!(drawn.deciding, Deciding::Lower | Deciding::Both)),
        right: end(axis, right, matches!(drawn.deciding, Deciding::Upper | Deciding::Both)),
    });
    Strip {
        inverted: drawn.inverted,
        missing,
        margins: margins.collect(),
        bar,
        point: drawn.interval.map(|i| i[0]).filter(|e| axis.holds(*e)).map(|e| percent(at(e))),
        evidence: phrase::evidence(if drawn.interval.is_some() { claim.evidence } else { EvidenceType::None }),
        ticks,
    }
}

fn end(axis: Axis, bound: f64, decides: bool) -> &'static str {
    match (axis.holds(bound), decides) {
        (false, _) => "cut",
        (true, true) => "decides",
        (true, false) => "plain",
    }
}

fn ticks(axis: Axis, most: usize) -> Vec<XTick> {
    let ticks = axis.ticks(most).into_iter();
    ticks.map(|t| XTick { x: percent(inset(axis.position(t.value))), label: t.label }).collect()
}

/// Leaves room for markers at both ends.
pub(super) fn inset(position: f64) -> f64 {
    INSET + position * (1.0 - 2.0 * INSET)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{self, Shape};
    use crate::report::model::Verdict;

    fn number(percentage: &str) -> f64 {
        percentage.trim_end_matches('%').parse().expect("a percentage")
    }

    fn claim(verdict: Verdict, shape: Shape) -> ClaimResult {
        fixture::compared("require", "", verdict, shape)
    }

    #[test]
    fn a_passed_rate_lies_right_of_its_margin() {
        let claim = claim(Verdict::Pass, Shape::Faster);
        let strip = on_shared(&claim, &ratio_axis([&claim])).expect("a strip");
        let bar = strip.bar.expect("a bar");
        assert!(number(&bar.x1) > number(&strip.margins[0].x), "the whole bar is right of the margin");
        assert!(number(&bar.x1) < number(strip.point.as_ref().expect("a point")));
        assert_eq!((bar.left, bar.right), ("decides", "plain"));
        assert_eq!(strip.missing, [Span { x: "0.00%".into(), width: strip.margins[0].x.clone() }]);
    }

    #[test]
    fn a_time_that_is_too_long_lies_left_of_its_margin_too() {
        let claim = claim(Verdict::Fail, Shape::Latency);
        let strip = on_shared(&claim, &ratio_axis([&claim])).expect("a strip");
        let bar = strip.bar.expect("a bar");
        assert!(strip.inverted);
        assert!(number(&bar.x2) < number(&strip.margins[0].x), "0.81x the time misses at most 0.75x: left is worse");
        assert_eq!((bar.left, bar.right), ("plain", "decides"));
    }

    #[test]
    fn an_equivalence_shades_both_sides() {
        let claim = claim(Verdict::Pass, Shape::Control);
        let strip = on_shared(&claim, &ratio_axis([&claim])).expect("a strip");
        assert_eq!((strip.missing.len(), strip.margins.len()), (2, 2));
    }

    #[test]
    fn a_margin_far_away_is_an_arrow_and_leaves_the_axis_to_the_others() {
        let mut far = claim(Verdict::Fail, Shape::Faster);
        far.comparison.as_mut().expect("a comparison").margin_lower = Some(1000.0);
        let axis = ratio_axis([&far]);
        let strip = on_shared(&far, &axis).expect("a strip");
        assert_eq!(strip.margins[0].beyond, "right");
        assert!(axis.axis.holds(1.3) && !axis.axis.holds(10.0));
    }

    #[test]
    fn a_bound_without_end_is_cut_at_the_edge() {
        let mut wide = claim(Verdict::Inconclusive, Shape::Faster);
        let comparison = wide.comparison.as_mut().expect("a comparison");
        (comparison.lower, comparison.upper) = (1e-9, f64::INFINITY);
        let strip = on_shared(&wide, &ratio_axis([&wide])).expect("a strip");
        let bar = strip.bar.expect("a bar");
        assert_eq!((bar.left, bar.right), ("cut", "cut"));
        assert!(number(&bar.x1) >= 0.0 && number(&bar.x2) <= 100.0);
    }

    #[test]
    fn what_was_not_measured_keeps_its_margin_and_has_no_marker() {
        let report = fixture::report();
        let claim = &report.entries.iter().find(|e| e.id == "POINT-42").expect("an entry").claims[0];
        let strip = on_shared(claim, &ratio_axis([claim])).expect("a strip");
        assert_eq!((strip.margins.len(), &strip.bar, &strip.point), (1, &None, &None));
    }

    #[test]
    fn a_threshold_has_an_axis_of_its_own() {
        let claim = claim(Verdict::Inconclusive, Shape::Threshold);
        assert!(is_value(&claim) && !is_ratio(&claim));
        let strip = on_own(&claim).expect("a strip");
        assert!(!strip.ticks.is_empty() && !strip.inverted);
        let bar = strip.bar.expect("a bar");
        let margin = number(&strip.margins[0].x);
        assert!(number(&bar.x1) < margin && margin < number(&bar.x2), "undecided: the margin lies within");
    }
}
