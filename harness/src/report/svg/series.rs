//! An arm's iterations in the order of running, for drift that no summary shows.

use super::{Axis, Kind, Rise, XTick, YTick, percent, pixels};
use crate::report::model::SeriesPoint;
use serde::Serialize;

const HEIGHT: f64 = 130.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 104.0;
const LEFT: f64 = 0.10;
const RIGHT: f64 = 0.985;
const TICKS: usize = 4;
/// Most blocks whose numbers are written.
const LABELS: usize = 12;
/// Most points that are drawn; of more, every so many-th is.
const MOST_POINTS: usize = 600;

/// The plot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plot {
    /// Height in pixels.
    pub height: String,
    /// Top of the area in which values are drawn.
    pub top: String,
    /// Height of that area.
    pub area: String,
    /// Left end of that area.
    pub left: String,
    /// Right end of that area.
    pub right: String,
    /// Labels of the vertical axis.
    pub y_ticks: Vec<YTick>,
    /// Where each block is.
    pub blocks: Vec<Band>,
    /// Numbers of blocks.
    pub x_ticks: Vec<XTick>,
    /// The iterations: x and y.
    pub points: Vec<[String; 2]>,
    /// When not every iteration is drawn: `every 4th iteration`.
    pub thinned: Option<String>,
}

/// A block's share of the width.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Band {
    /// Left end.
    pub x: String,
    /// Width.
    pub width: String,
    /// Whether it is shaded; neighbours differ.
    pub shaded: bool,
}

/// The plot of a series that has one of every `each` iterations; `None` for fewer than two finite values, which show no drift.
pub fn plot(series: &[SeriesPoint], each: u32) -> Option<Plot> {
    let finite: Vec<&SeriesPoint> = series.iter().filter(|p| p.value.is_finite()).collect();
    if finite.len() < 2 {
        return None;
    }
    let rise = Rise {
        axis: Axis::around(Kind::Linear, finite.iter().map(|p| p.value)),
        top: TOP,
        bottom: BOTTOM,
        flipped: false,
    };
    let count = finite.len() as f64;
    let x = |index: f64| LEFT + (RIGHT - LEFT) * index / count;
    let blocks: Vec<(u32, usize, usize)> = runs(&finite);
    let bands = blocks.iter().enumerate().map(|(i, (_, from, to))| Band {
        x: percent(x(*from as f64)),
        width: percent(x(*to as f64) - x(*from as f64)),
        shaded: i % 2 == 0,
    });
    let label_stride = blocks.len().div_ceil(LABELS).max(1);
    let x_ticks = blocks
        .iter()
        .step_by(label_stride)
        .map(|(block, from, to)| XTick { x: percent(x((*from + *to) as f64 / 2.0)), label: (block + 1).to_string() });
    let stride = finite.len().div_ceil(MOST_POINTS);
    let points = finite.iter().enumerate().step_by(stride);
    Some(Plot {
        height: pixels(HEIGHT),
        top: pixels(TOP),
        area: pixels(BOTTOM - TOP),
        left: percent(LEFT),
        right: percent(RIGHT),
        y_ticks: rise.ticks(TICKS),
        blocks: bands.collect(),
        x_ticks: x_ticks.collect(),
        points: points.map(|(i, p)| [percent(x(i as f64 + 0.5)), pixels(rise.y(p.value))]).collect(),
        thinned: Some(stride * each as usize)
            .filter(|all| *all > 1)
            .map(|all| format!("one of every {all} iterations")),
    })
}

/// Blocks in order: number, first index, index past the last.
fn runs(points: &[&SeriesPoint]) -> Vec<(u32, usize, usize)> {
    let mut runs: Vec<(u32, usize, usize)> = Vec::new();
    for (i, point) in points.iter().enumerate() {
        match runs.last_mut() {
            Some((block, _, to)) if *block == point.block => *to = i + 1,
            _ => runs.push((point.block, i, i + 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(block: u32, iteration: u32, value: f64) -> SeriesPoint {
        SeriesPoint { block, iteration, value }
    }

    #[test]
    fn blocks_fill_the_width_in_order() {
        let series: Vec<_> = (0..3).flat_map(|b| (0..4).map(move |i| point(b, i, 100.0 + f64::from(b)))).collect();
        let plot = plot(&series, 1).expect("a plot");
        assert_eq!((plot.blocks.len(), plot.points.len()), (3, 12));
        assert_eq!(plot.blocks[0].x, percent(LEFT));
        assert!(plot.points[0][1] > plot.points[11][1], "later blocks are faster: higher on the screen");
        assert_eq!(plot.thinned, None);
    }

    #[test]
    fn a_long_series_is_thinned_and_says_so() {
        let series: Vec<_> = (0..5000).map(|i| point(0, i, 1.0 + f64::from(i % 7))).collect();
        let (whole, part) = (plot(&series, 1).expect("a plot"), plot(&series, 1000).expect("a plot"));
        assert!(whole.points.len() <= MOST_POINTS);
        assert_eq!(whole.thinned.as_deref(), Some("one of every 9 iterations"));
        assert_eq!(part.thinned.as_deref(), Some("one of every 9000 iterations"));
    }

    #[test]
    fn one_value_shows_no_drift() {
        assert_eq!(plot(&[point(0, 0, 1.0)], 1), None);
        assert_eq!(plot(&[point(0, 0, 1.0), point(0, 1, f64::NAN)], 1), None);
    }
}
