//! Coordinates of plots, computed here and drawn by templates.
//!
//! Horizontal positions are percentages and vertical ones are pixels, so that a plot fills any width without its text
//! growing or shrinking with it.

pub mod ablation;
pub mod forest;
pub mod pairs;
pub mod rates;
mod scale;
pub mod series;
pub mod timeline;

pub use scale::{Axis, Kind};

use serde::Serialize;

/// A labelled position on a horizontal axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct XTick {
    /// Where, such as `42.10%`.
    pub x: String,
    /// What is written there.
    pub label: String,
}

/// A labelled position on a vertical axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct YTick {
    /// Where, in pixels from the top.
    pub y: String,
    /// What is written there.
    pub label: String,
}

/// A share of the width as a percentage.
fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// A number of pixels.
fn pixels(y: f64) -> String {
    format!("{y:.1}")
}

/// The area of a plot in which values are drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Area {
    /// Height of the whole plot in pixels.
    pub height: String,
    /// Upper end.
    pub top: String,
    /// Lower end.
    pub bottom: String,
    /// Left end.
    pub left: String,
    /// Right end.
    pub right: String,
}

impl Area {
    /// Of a plot of `height` pixels, from `top` to `bottom` pixels and from `left` to `right` as shares of the width.
    fn new(height: f64, [top, bottom]: [f64; 2], [left, right]: [f64; 2]) -> Self {
        Self {
            height: pixels(height),
            top: pixels(top),
            bottom: pixels(bottom),
            left: percent(left),
            right: percent(right),
        }
    }
}

/// A vertical axis from `top` to `bottom` pixels; `flipped` puts low values at the top.
#[derive(Clone, Copy, Debug)]
struct Rise {
    axis: Axis,
    top: f64,
    bottom: f64,
    flipped: bool,
}

impl Rise {
    /// Where a value is drawn; values beyond the axis stay on its edge.
    fn y(&self, value: f64) -> f64 {
        let position = self.axis.position(value).clamp(0.0, 1.0);
        let up = if self.flipped { 1.0 - position } else { position };
        self.bottom - up * (self.bottom - self.top)
    }

    fn ticks(&self, most: usize) -> Vec<YTick> {
        self.ticks_beside(most, &[])
    }

    /// Labels of round values, but for those that the labels of `others` would cover.
    fn ticks_beside(&self, most: usize, others: &[f64]) -> Vec<YTick> {
        const LINE: f64 = 13.0;
        let free = |y: f64| others.iter().all(|other| (self.y(*other) - y).abs() >= LINE);
        let ticks = self.axis.ticks(most).into_iter().filter(|t| free(self.y(t.value)));
        ticks.map(|t| YTick { y: pixels(self.y(t.value)), label: t.label }).collect()
    }
}
