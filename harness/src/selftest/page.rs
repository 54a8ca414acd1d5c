//! A self-test as one page that a sceptic can read.

use super::{NOMINAL, SelfTest, words};
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
    rates: Vec<Rate>,
    rates_height: f64,
    /// Where the error that was asked for lies, and where what is allowed ends.
    nominal: f64,
    allowed: f64,
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

/// A rule's error rates: false passes above, false fails below.
#[derive(Serialize)]
struct Rate {
    rule: String,
    y: f64,
    pass: Mark,
    fail: Mark,
}

/// A rate with three Monte-Carlo errors on either side.
#[derive(Serialize)]
struct Mark {
    x: f64,
    low: f64,
    high: f64,
    label: String,
}

/// Where names of rules end, what a point of error takes, and the height of a row, in units of their plot.
const NAMES: f64 = 250.0;
const POINT: f64 = 46.0;
const ROW: f64 = 24.0;

/// Where a share of errors lies; beyond eight points it is at the edge.
fn at(share: f64) -> f64 {
    NAMES + POINT * (100.0 * share).clamp(0.0, 8.0)
}

fn rates(found: &SelfTest) -> Vec<Rate> {
    let mark = |what: &str, share: super::Share| {
        let (value, error) = (share.value(), 3.0 * share.error());
        let label = format!("{what} {:.1} % of {} runs", 100.0 * value, share.of);
        Mark { x: at(value), low: at(value - error), high: at(value + error), label }
    };
    let rate = |(index, row): (usize, &super::rules::Row)| Rate {
        rule: row.rule.clone(),
        y: ROW * (index as f64 + 1.0),
        pass: mark("passes falsely in", row.false_pass),
        fail: mark("fails falsely in", row.false_fail),
    };
    found.rules.iter().enumerate().map(rate).collect()
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
            rates: rates(found),
            rates_height: ROW * (found.rules.len() as f64 + 1.0),
            nominal: at(NOMINAL),
            allowed: at(NOMINAL + 0.007),
        },
    )
}
