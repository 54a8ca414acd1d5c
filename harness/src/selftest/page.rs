//! A self-test as one page that a sceptic can read.

use super::{SelfTest, words};
use crate::report::html;
use serde::Serialize;

/// Extents of the plot of power, in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 48.0;
const BOTTOM: f64 = 36.0;
/// The largest gain on its axis.
const MOST: f64 = 0.06;

#[derive(Serialize)]
struct View {
    holds: bool,
    runs: u32,
    version: String,
    tables: Vec<words::Table>,
    processes: String,
    curves: Vec<Curve>,
}

/// The power curve at one number of pairs.
#[derive(Serialize)]
struct Curve {
    pairs: u32,
    /// The predicted curve, as SVG points.
    predicted: String,
    /// What happened: centre and the ends of three Monte-Carlo errors.
    points: Vec<Point>,
}

#[derive(Serialize)]
struct Point {
    x: f64,
    y: f64,
    low: f64,
    high: f64,
    label: String,
}

fn x(excess: f64) -> f64 {
    LEFT + excess / MOST * (WIDTH - LEFT - 12.0)
}

fn y(share: f64) -> f64 {
    (HEIGHT - BOTTOM) * (1.0 - share) + 8.0 * share
}

fn curves(found: &SelfTest) -> Vec<Curve> {
    let mut sizes: Vec<u32> = found.power.iter().map(|row| row.pairs).collect();
    sizes.dedup();
    let curve = |pairs: u32| {
        let rows: Vec<_> = found.power.iter().filter(|row| row.pairs == pairs).collect();
        let predicted: Vec<String> =
            rows.iter().map(|row| format!("{:.1},{:.1}", x(row.excess), y(row.predicted))).collect();
        let point = |row: &&super::power::Row| {
            let (share, error) = (row.passed.value(), 3.0 * row.passed.error());
            Point {
                x: x(row.excess),
                y: y(share),
                low: y((share - error).max(0.0)),
                high: y((share + error).min(1.0)),
                label: format!("{:.0} % beyond, {pairs} pairs: {:.1} %", 100.0 * row.excess, 100.0 * share),
            }
        };
        Curve { pairs, predicted: predicted.join(" "), points: rows.iter().map(point).collect() }
    };
    sizes.into_iter().map(curve).collect()
}

/// The page.
///
/// # Errors
/// When its template refers to something that the view does not have, which no result causes.
pub fn render(found: &SelfTest) -> Result<String, tera::Error> {
    html::page(
        "selftest.html",
        &View {
            holds: found.holds(),
            runs: found.runs,
            version: found.version.clone(),
            tables: words::tables(found),
            processes: words::processes(found),
            curves: curves(found),
        },
    )
}
