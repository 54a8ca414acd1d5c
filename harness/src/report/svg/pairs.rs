//! A comparison's pairs in the order of running, and its bounds as pairs came in. Both panels share the vertical axis.

use super::{Area, Axis, Kind, Rise, XTick, YTick, percent, pixels};
use crate::metrics::Direction;
use crate::report::model::{Comparison, Estimand};
use crate::report::number;
use serde::Serialize;

/// Height of a panel, in pixels.
const HEIGHT: f64 = 220.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 190.0;
/// Share of the width that labels of the vertical axis take.
const LEFT: f64 = 0.14;
const RIGHT: f64 = 0.97;
const TICKS: usize = 6;

/// Both panels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plot {
    /// Where values are drawn.
    #[serde(flatten)]
    pub area: Area,
    /// Labels of the shared vertical axis.
    pub y_ticks: Vec<YTick>,
    /// Margins, labelled among the values of the vertical axis.
    pub margins: Vec<YTick>,
    /// Margins too far away to be drawn.
    pub beyond: Vec<String>,
    /// Where the claim is not met: top and height.
    pub missing: Vec<[String; 2]>,
    /// Where a ratio of 1 is.
    pub one: Option<String>,
    /// Block numbers below the first panel.
    pub blocks: Vec<XTick>,
    /// The pairs.
    pub points: Vec<Point>,
    /// Counts of pairs below the second panel.
    pub counts: Vec<XTick>,
    /// Bounds after each count of pairs.
    pub running: Vec<Running>,
    /// Counts of pairs at which a verdict could be taken.
    pub looks: Vec<XTick>,
}

/// A pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Where.
    pub x: String,
    /// Where.
    pub y: String,
    /// `first` (a disc: the arm ran first, or alone), `second` (a square), or `excluded` (a cross).
    pub mark: &'static str,
    /// What a pointer shows.
    pub title: String,
}

/// Bounds after so many pairs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Running {
    /// Where.
    pub x: String,
    /// Upper end on the screen.
    pub y1: String,
    /// Lower end on the screen.
    pub y2: String,
    /// The estimate.
    pub y: String,
    /// Whether a verdict could be taken here.
    pub look: bool,
    /// What a pointer shows.
    pub title: String,
}

/// The plot of a comparison. `decimals` is how many its numbers are printed with.
pub fn plot(c: &Comparison, decimals: usize) -> Plot {
    let rise = rise(c);
    let print = |x: f64| number::fixed(x, decimals);
    let (margins, beyond): (Vec<f64>, Vec<f64>) =
        c.margin_lower.into_iter().chain(c.margin_upper).partition(|m| rise.axis.holds(*m));
    let last_block = c.pairs.iter().map(|p| p.block).max().unwrap_or(0);
    let planned = c.planned.max(c.running.last().map_or(2, |r| r.pairs)).max(2);
    let block_x = |block: u32| across(f64::from(block) + 0.5, 0.0, f64::from(last_block.max(planned - 1)) + 1.0);
    let count_x = |pairs: u32| across(f64::from(pairs), 1.0, f64::from(planned) + 0.5);
    let points = c.pairs.iter().filter(|p| p.value.is_finite()).map(|p| Point {
        x: percent(block_x(p.block)),
        y: pixels(rise.y(p.value)),
        mark: match (&p.excluded, c.over.is_some() && !p.of_first) {
            (Some(_), _) => "excluded",
            (None, false) => "first",
            (None, true) => "second",
        },
        title: match &p.excluded {
            Some(why) => format!("block {}: {}, not used: {why}", p.block + 1, print(p.value)),
            None => format!("block {}: {}", p.block + 1, print(p.value)),
        },
    });
    let running = c.running.iter().filter(|r| r.estimate.is_finite()).map(|r| {
        let (low, high) = (rise.y(finite_or(r.lower, f64::MIN_POSITIVE)), rise.y(finite_or(r.upper, f64::MAX)));
        Running {
            x: percent(count_x(r.pairs)),
            y1: pixels(low.min(high)),
            y2: pixels(low.max(high)),
            y: pixels(rise.y(r.estimate)),
            look: c.looks.contains(&r.pairs),
            title: format!("after {} pairs: {} [{}, {}]", r.pairs, print(r.estimate), print(r.lower), print(r.upper)),
        }
    });
    let label = |x: String, n: u32| XTick { x, label: n.to_string() };
    Plot {
        area: Area::new(HEIGHT, [TOP, BOTTOM], [LEFT, RIGHT]),
        y_ticks: rise.ticks_beside(TICKS, &margins),
        beyond: beyond.into_iter().map(number::exact).collect(),
        missing: missing(c, &rise),
        margins: margins.iter().map(|m| YTick { y: pixels(rise.y(*m)), label: number::exact(*m) }).collect(),
        one: (c.estimand == Estimand::Ratio && rise.axis.holds(1.0)).then(|| pixels(rise.y(1.0))),
        blocks: sparse(last_block.max(planned - 1) + 1).map(|b| label(percent(block_x(b)), b + 1)).collect(),
        points: points.collect(),
        counts: sparse(planned + 1).filter(|n| *n >= 2).map(|n| label(percent(count_x(n)), n)).collect(),
        running: running.collect(),
        looks: c.looks.iter().map(|n| label(percent(count_x(*n)), *n)).collect(),
    }
}

/// The vertical axis: pairs, final bounds and near margins; better is up.
fn rise(c: &Comparison) -> Rise {
    let kind = if c.estimand == Estimand::Ratio { Kind::Log } else { Kind::Linear };
    let values: Vec<f64> = c.pairs.iter().map(|p| p.value).chain([c.estimate]).filter(|v| v.is_finite()).collect();
    let bounds_and_margins = [c.lower, c.upper].into_iter().chain(c.margin_lower).chain(c.margin_upper);
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // A margin a thousandfold away would press every pair into one line.
    let near = |v: &f64| (low / 3.0..=high * 3.0).contains(v);
    let shown = values.iter().copied().chain(bounds_and_margins.filter(near));
    Rise { axis: Axis::around(kind, shown), top: TOP, bottom: BOTTOM, flipped: c.direction == Direction::LowerIsBetter }
}

/// Bands from the edge to a margin on the side where the claim is not met.
fn missing(c: &Comparison, rise: &Rise) -> Vec<[String; 2]> {
    let band = |a: f64, b: f64| [pixels(a.min(b)), pixels((a - b).abs())];
    let (low_edge, high_edge) = if rise.flipped { (TOP, BOTTOM) } else { (BOTTOM, TOP) };
    let below = c.margin_lower.map(|m| band(rise.y(m), low_edge));
    let above = c.margin_upper.map(|m| band(rise.y(m), high_edge));
    below.into_iter().chain(above).collect()
}

fn finite_or(value: f64, otherwise: f64) -> f64 {
    if value.is_finite() { value } else { otherwise }
}

/// A position between the vertical axis and the right end.
fn across(value: f64, from: f64, to: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * (value - from) / (to - from)
}

/// Numbers below `end`, every one of few or evenly spaced ones of many.
fn sparse(end: u32) -> impl Iterator<Item = u32> {
    let stride = [1, 2, 5, 10, 20, 50, 100, 200, 500].into_iter().find(|s| end / s <= 10).unwrap_or(1000);
    (0..end).step_by(stride as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{Shape, comparison};

    fn y(text: &str) -> f64 {
        text.parse().expect("a number")
    }

    #[test]
    fn better_is_up_for_rates_and_for_times() {
        for shape in [Shape::Faster, Shape::Latency] {
            let c = comparison(shape);
            let plot = plot(&c, 3);
            let best = |higher: bool| {
                let order = |a: &usize, b: &usize| c.pairs[*a].value.total_cmp(&c.pairs[*b].value);
                let all = 0..c.pairs.len();
                if higher { all.max_by(order) } else { all.min_by(order) }.expect("pairs")
            };
            let (best, worst) = match c.direction {
                Direction::HigherIsBetter => (best(true), best(false)),
                Direction::LowerIsBetter => (best(false), best(true)),
            };
            assert!(y(&plot.points[best].y) < y(&plot.points[worst].y), "{shape:?}");
        }
    }

    #[test]
    fn the_side_that_misses_is_shaded_below() {
        for shape in [Shape::Faster, Shape::Latency, Shape::Threshold] {
            let plot = plot(&comparison(shape), 3);
            let [top, height] = &plot.missing[0];
            assert_eq!(top, &plot.margins[0].y, "{shape:?}");
            assert!((y(top) + y(height) - BOTTOM).abs() < 0.11, "{shape:?}: worse is down");
        }
    }

    #[test]
    fn marks_say_order_and_exclusion() {
        let plot = plot(&comparison(Shape::Throttled), 2);
        let marks: Vec<_> = plot.points.iter().map(|p| p.mark).collect();
        assert_eq!(marks.iter().filter(|m| **m == "excluded").count(), 7);
        assert_eq!(marks[7..], ["second", "first", "second"]);
        assert!(plot.points[0].title.contains("throttled"));
    }

    #[test]
    fn everything_is_drawn_inside() {
        let mut c = comparison(Shape::Faster);
        c.running[0].upper = f64::INFINITY;
        c.running[0].lower = f64::NAN;
        let plot = plot(&c, 3);
        for r in &plot.running {
            assert!(y(&r.y1) >= TOP && y(&r.y2) <= BOTTOM && y(&r.y1) <= y(&r.y2), "{r:?}");
        }
        assert_eq!(plot.running.iter().filter(|r| r.look).count(), 2);
        assert_eq!(plot.looks.len(), 3);
    }

    #[test]
    fn a_margin_far_away_is_not_drawn() {
        let mut c = comparison(Shape::Faster);
        c.margin_lower = Some(1000.0);
        let plot = plot(&c, 3);
        assert!(plot.margins.is_empty());
        assert_eq!(plot.beyond, ["1000"]);
        assert_eq!(plot.missing[0], [pixels(TOP), pixels(BOTTOM - TOP)], "every pair misses");
    }
}
