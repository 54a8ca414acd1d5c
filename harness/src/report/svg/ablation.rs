//! Factors of an ablation on one logarithmic axis: a strip for each question, and one for each combination.

use super::forest::inset;
use super::{Axis, Kind, XTick, percent};
use crate::report::model::{Ablation, Factor};
use serde::Serialize;

/// Labels on the axis.
const TICKS: usize = 6;
/// A bound that is this far beyond every estimate is cut at the edge.
const FARTHEST: f64 = 2.0;

/// The axis that all strips of an ablation share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scale {
    /// Labels.
    pub ticks: Vec<XTick>,
    /// Where a factor of 1 is.
    pub one: Option<String>,
    #[serde(skip)]
    axis: Axis,
}

/// What is drawn of one factor. Every position is one on the [`Scale`]; what has none is not drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Strip {
    /// From the lower bound to the upper one.
    pub bar: Option<[String; 2]>,
    /// The estimate.
    pub point: Option<String>,
    /// What was claimed.
    pub claimed: Option<String>,
    /// What the factors of the switches alone multiply to.
    pub product: Option<String>,
    /// From the smallest to the largest factor over all contexts.
    pub range: Option<[String; 2]>,
    /// The factor when turned on last.
    pub last: Option<String>,
}

impl Scale {
    /// The axis of an ablation: every estimate and every claim, and bounds that are not too far from them.
    pub fn of(ablation: &Ablation) -> Self {
        let factors: Vec<Factor> = factors(ablation).collect();
        let switches = || ablation.switches.iter();
        let ranges = switches().filter_map(|s| s.range).flatten();
        let claims = switches().filter_map(|s| s.claimed);
        let claims = claims.chain(ablation.joint_claimed).chain(ablation.product_claimed);
        let products = ablation.combinations.iter().filter_map(|c| c.product);
        let shown = factors.iter().map(|f| f.estimate).chain(ranges).chain(claims).chain(products).chain([1.0]);
        let mut values: Vec<f64> = shown.filter(|v| v.is_finite() && *v > 0.0).collect();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min) / FARTHEST;
        let high = values.iter().copied().fold(0.0, f64::max) * FARTHEST;
        values.extend(factors.iter().flat_map(|f| [f.lower, f.upper]).filter(|v| (low..=high).contains(v)));
        let axis = Axis::around(Kind::Log, values);
        let ticks = axis.ticks(TICKS).into_iter();
        let ticks = ticks.map(|t| XTick { x: percent(inset(axis.position(t.value))), label: t.label }).collect();
        let one = axis.holds(1.0).then(|| percent(inset(axis.position(1.0))));
        Self { ticks, one, axis }
    }

    fn place(&self, value: f64) -> Option<String> {
        (value.is_finite() && value > 0.0).then(|| percent(inset(self.axis.position(value).clamp(0.0, 1.0))))
    }

    /// A factor with its bounds.
    pub fn strip(&self, factor: Option<Factor>) -> Strip {
        let Some(factor) = factor else { return Strip::default() };
        // A bound without end goes to the edge.
        let end = |bound: f64, edge: f64| if bound.is_finite() { self.place(bound) } else { Some(percent(edge)) };
        let bar = end(factor.lower, 0.0).zip(end(factor.upper, 1.0)).map(|(low, high)| [low, high]);
        Strip { bar, point: self.place(factor.estimate), ..Strip::default() }
    }

    /// Where single values are.
    pub fn at(&self, value: Option<f64>) -> Option<String> {
        value.and_then(|v| self.place(v))
    }

    /// Where a range is.
    pub fn range(&self, range: Option<[f64; 2]>) -> Option<[String; 2]> {
        let [low, high] = range?;
        Some([self.place(low)?, self.place(high)?])
    }
}

fn factors(ablation: &Ablation) -> impl Iterator<Item = Factor> {
    let of_switches = ablation.switches.iter().flat_map(|s| [s.alone, s.shapley]);
    let of_all = [ablation.joint, ablation.product, ablation.joint_over_product];
    let of_combinations = ablation.combinations.iter().map(|c| c.factor);
    of_switches.chain(of_all).chain(of_combinations).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn number(position: Option<&String>) -> f64 {
        position.and_then(|p| p.trim_end_matches('%').parse().ok()).expect("a percentage")
    }

    #[test]
    fn everything_has_its_place_from_less_to_more() {
        let ablation = fixture::ablation();
        let scale = Scale::of(&ablation);
        let switch = &ablation.switches[0];
        let strip = Strip {
            claimed: scale.at(switch.claimed),
            range: scale.range(switch.range),
            ..scale.strip(switch.shapley)
        };
        let [left, right] = strip.bar.as_ref().expect("a bar");
        let point = number(strip.point.as_ref());
        assert!(number(Some(left)) < point && point < number(Some(right)));
        let [least, most] = strip.range.as_ref().expect("a range");
        assert!(number(Some(least)) < point && point < number(Some(most)));
        assert!(point < number(strip.claimed.as_ref()), "claimed to be more than it is");
        assert!(number(scale.one.as_ref()) < point, "a gain lies right of 1");
        assert!(scale.ticks.len() >= 2);
    }

    #[test]
    fn what_was_not_measured_is_not_drawn_and_a_bound_without_end_ends_at_the_edge() {
        let scale = Scale::of(&fixture::ablation());
        assert_eq!(scale.strip(None), Strip::default());
        let wide = Factor { estimate: 1.2, lower: 1e-9, upper: f64::NAN };
        let [left, right] = scale.strip(Some(wide)).bar.expect("a bar");
        assert!(number(Some(&left)) < 5.0 && number(Some(&right)) > 95.0);
    }
}
