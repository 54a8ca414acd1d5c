//! The roofline, and metrics over the length of a context.

use super::{Area, Axis, Kind, Rise, XTick, YTick, percent, pixels};
use crate::report::model::{Roofline, Sweep};
use crate::report::number;
use serde::Serialize;

const HEIGHT: f64 = 300.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 262.0;
const LEFT: f64 = 0.09;
const RIGHT: f64 = 0.71;
/// Where labels of points begin.
const LABELS: f64 = 0.73;
const TICKS: usize = 6;
/// Height of a line of labels.
const LINE: f64 = 14.0;
/// Arms with a colour of their own; the others share the last.
const COLOURS: usize = 6;

/// A plot of points with labels at its right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plot {
    /// Where values are drawn.
    #[serde(flatten)]
    pub area: Area,
    /// Labels of the vertical axis.
    pub y_ticks: Vec<YTick>,
    /// Labels of the horizontal axis.
    pub x_ticks: Vec<XTick>,
    /// Roofs, from left to right.
    pub roofs: Vec<Line>,
    /// One an arm.
    pub arms: Vec<Arm>,
}

/// A straight line with what it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Left end.
    pub x1: String,
    /// Left end.
    pub y1: String,
    /// Right end.
    pub x2: String,
    /// Right end.
    pub y2: String,
    /// In words.
    pub label: String,
}

/// An arm's points, the lines between them, and its label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Arm {
    /// Number of its colour and shape.
    pub colour: usize,
    /// Positions.
    pub points: Vec<Point>,
    /// Between neighbours.
    pub lines: Vec<Line>,
    /// From the last point to the label.
    pub leader: Line,
    /// Where the label's text begins.
    pub label_x: String,
    /// Its middle.
    pub label_y: String,
    /// The arm's name.
    pub label: String,
}

/// A point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// From the left.
    pub x: String,
    /// From the top.
    pub y: String,
    /// In words.
    pub title: String,
}

/// An arm's name, and its points: across, up, in words.
type Series = (String, Vec<(f64, f64, String)>);

/// Where values are drawn.
struct Field {
    across: Axis,
    up: Rise,
}

impl Field {
    fn x(&self, value: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * self.across.position(value).clamp(0.0, 1.0)
    }

    fn line(&self, from: (f64, f64), to: (f64, f64), label: String) -> Line {
        let (x1, y1) = (percent(self.x(from.0)), pixels(self.up.y(from.1)));
        let (x2, y2) = (percent(self.x(to.0)), pixels(self.up.y(to.1)));
        Line { x1, y1, x2, y2, label }
    }

    fn plot(&self, x_ticks: Vec<XTick>, roofs: Vec<Line>, arms: Vec<Arm>) -> Plot {
        Plot {
            area: Area::new(HEIGHT, [TOP, BOTTOM], [LEFT, RIGHT]),
            y_ticks: self.up.ticks(TICKS),
            x_ticks,
            roofs,
            arms,
        }
    }

    /// Arms with their values and the words of each; labels at the right, none over another.
    fn arms(&self, series: &[Series]) -> Vec<Arm> {
        let ends: Vec<f64> =
            series.iter().map(|(_, points)| points.last().map_or(BOTTOM, |last| self.up.y(last.1))).collect();
        let labels = apart(&ends);
        let arm = |(index, (name, points)): (usize, &Series)| {
            let at = |x: f64, y: f64, title: &str| Point {
                x: percent(self.x(x)),
                y: pixels(self.up.y(y)),
                title: title.to_owned(),
            };
            let end = points.last().map_or(LEFT, |last| self.x(last.0));
            Arm {
                colour: index.min(COLOURS),
                points: points.iter().map(|(x, y, words)| at(*x, *y, words)).collect(),
                lines: points
                    .windows(2)
                    .map(|p| self.line((p[0].0, p[0].1), (p[1].0, p[1].1), String::new()))
                    .collect(),
                leader: Line {
                    x1: percent(end + 0.008),
                    y1: pixels(ends[index]),
                    x2: percent(LABELS - 0.004),
                    y2: pixels(labels[index]),
                    label: String::new(),
                },
                label_x: percent(LABELS),
                label_y: pixels(labels[index]),
                label: name.clone(),
            }
        };
        series.iter().enumerate().map(arm).collect()
    }
}

/// Heights near the wanted ones, a line apart at least, within the plot where there is room.
fn apart(wanted: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let mut placed = wanted.to_vec();
    let mut least = TOP;
    for index in &order {
        placed[*index] = placed[*index].max(least);
        least = placed[*index] + LINE;
    }
    let mut most = BOTTOM;
    for index in order.iter().rev() {
        placed[*index] = placed[*index].min(most);
        most = placed[*index] - LINE;
    }
    placed
}

/// The roofline: bytes of weights a token across, tokens a second up, both logarithmic; a device's bandwidth is a falling
/// line that no arm on it can be above.
pub fn roofline(roofline: &Roofline) -> Plot {
    let bytes = |share: f64| roofline.points.iter().map(move |point| point.bytes_per_token as f64 * share);
    let across = Axis::around(Kind::Log, bytes(0.5).chain(bytes(2.0)));
    let roof = |at: f64| roofline.ceilings.iter().map(move |ceiling| ceiling.bytes_per_s as f64 / at);
    let middle: Vec<f64> = bytes(1.0).flat_map(roof).collect();
    let rates = roofline.points.iter().map(|point| point.rate);
    let up = Axis::around(Kind::Log, rates.chain(middle));
    let field = Field { across, up: Rise { axis: up, top: TOP, bottom: BOTTOM, flipped: false } };
    // Few, so that they stay apart on a phone.
    let ticks = field.across.ticks(TICKS / 2).into_iter();
    let megabytes = |bytes: f64| format!("{} MB", number::exact((bytes / 1e6).round()));
    let x_ticks = ticks.map(|tick| XTick { x: percent(field.x(tick.value)), label: megabytes(tick.value) });
    let (low, high) = (bytes(0.5).fold(f64::INFINITY, f64::min), bytes(2.0).fold(0.0, f64::max));
    let roofs = roofline.ceilings.iter().map(|ceiling| {
        let bandwidth = ceiling.bytes_per_s as f64;
        // Cut where the line leaves the plot, so that its slope stays true.
        let inside = |rate: f64| bandwidth / rate;
        let from = low.max(inside(field.up.axis.high()));
        let to = high.min(inside(field.up.axis.low()));
        let label = format!("{}: {} GB/s, measured", ceiling.device, number::value(bandwidth / 1e9));
        field.line((from, bandwidth / from), (to, bandwidth / to), label)
    });
    let series: Vec<_> = roofline
        .points
        .iter()
        .map(|point| {
            let share = point.share.map_or(String::new(), |share| format!(", {} of the roof", number::percent(share)));
            let words = format!("{}: {} tok/s{share}", point.arm, number::value(point.rate));
            (point.arm.clone(), vec![(point.bytes_per_token as f64, point.rate, words)])
        })
        .collect();
    field.plot(x_ticks.collect(), roofs.collect(), field.arms(&series))
}

/// A sweep: the length of the prompt across, logarithmic; the metric up, from zero.
pub fn sweep(sweep: &Sweep) -> Plot {
    let points = || sweep.arms.iter().flat_map(|arm| &arm.points);
    let mut lengths: Vec<u32> = points().map(|point| point.prompt_tokens).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let most = points().map(|point| point.median).fold(0.0, f64::max);
    let field = Field {
        across: Axis::around(Kind::Log, lengths.iter().map(|length| f64::from(*length))),
        up: Rise {
            axis: Axis::spanning(Kind::Linear, 0.0, if most > 0.0 { most * 1.08 } else { 1.0 }),
            top: TOP,
            bottom: BOTTOM,
            flipped: false,
        },
    };
    let x_ticks =
        lengths.iter().map(|length| XTick { x: percent(field.x(f64::from(*length))), label: length.to_string() });
    let series: Vec<_> = sweep
        .arms
        .iter()
        .map(|arm| {
            let words = |point: &crate::report::model::SweepPoint| {
                let (value, sd) = (number::value(point.median), number::short(point.sd));
                format!("{} at {} tokens: {value} {}, sd {sd}", arm.arm, point.prompt_tokens, sweep.unit)
            };
            let values = arm.points.iter().map(|p| (f64::from(p.prompt_tokens), p.median, words(p))).collect();
            (arm.arm.clone(), values)
        })
        .collect();
    field.plot(x_ticks.collect(), Vec::new(), field.arms(&series))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Direction;
    use crate::report::model::{Ceiling, RooflinePoint, SweepArm, SweepPoint};

    fn number(text: &str) -> f64 {
        text.trim_end_matches('%').parse().unwrap()
    }

    fn point(arm: &str, rate: f64) -> RooflinePoint {
        let bytes_per_token = 400_000_000;
        let bytes_per_s = rate * bytes_per_token as f64;
        RooflinePoint { arm: arm.into(), bytes_per_token, rate, bytes_per_s, share: Some(bytes_per_s / 3e12) }
    }

    #[test]
    fn every_arm_is_below_the_roof_and_labels_stand_apart() {
        let points = vec![point("fast", 2400.0), point("near", 2390.0), point("also", 2395.0), point("slow", 800.0)];
        let ceilings = vec![Ceiling { device: "card".into(), bytes_per_s: 3_000_000_000_000 }];
        let plot = roofline(&Roofline { workload: "decode".into(), ceilings, points });
        let roof = &plot.roofs[0];
        assert!(number(&roof.x1) < number(&roof.x2) && number(&roof.y1) < number(&roof.y2), "it falls: {roof:?}");
        // Over the arms, who are at half of the plot's width: 3 TB/s over 400 MB are 7500 tok/s.
        let middle = f64::midpoint(number(&roof.y1), number(&roof.y2));
        for arm in &plot.arms {
            assert!(number(&arm.points[0].y) > middle, "{arm:?} under {middle}");
        }
        let mut labels: Vec<f64> = plot.arms.iter().map(|arm| number(&arm.label_y)).collect();
        labels.sort_by(f64::total_cmp);
        assert!(labels.windows(2).all(|pair| pair[1] - pair[0] >= LINE - 0.2), "{labels:?}");
    }

    #[test]
    fn a_sweep_begins_at_zero_and_joins_the_points_of_an_arm() {
        let at = |prompt_tokens: u32, median: f64| SweepPoint {
            prompt_tokens,
            workload: "w".into(),
            median,
            sd: 1.0,
            processes: 6,
        };
        let arms = vec![SweepArm { arm: "a".into(), points: vec![at(32, 100.0), at(512, 50.0)] }];
        let sweep = Sweep {
            metric: "decode_rate".into(),
            unit: "tok/s".into(),
            direction: Direction::HigherIsBetter,
            generate_tokens: 64,
            arms,
        };
        let plot = super::sweep(&sweep);
        assert_eq!(plot.x_ticks.iter().map(|tick| tick.label.as_str()).collect::<Vec<_>>(), ["32", "512"]);
        assert_eq!(plot.y_ticks[0].label, "0");
        let arm = &plot.arms[0];
        assert_eq!((arm.points.len(), arm.lines.len()), (2, 1));
        let (first, last) = (number(&arm.points[0].y), number(&arm.points[1].y));
        assert!((BOTTOM - first - 2.0 * (BOTTOM - last)).abs() < 0.3, "half the rate is half as high: {first} {last}");
    }

    #[test]
    fn labels_without_room_stay_in_order() {
        let placed = apart(&[20.0, 20.0, 260.0, 261.0]);
        assert_eq!(placed, [20.0, 34.0, 248.0, 262.0]);
    }
}
