//! One token: a lane for each stream, or for a resident grid and some of its blocks; gaps are visible.

use super::{Axis, Kind, XTick, percent, pixels};
use crate::report::model::{TimelineSpan, TokenTimeline};
use crate::report::number;
use serde::Serialize;
use std::fmt::Write as _;

const TOP: f64 = 4.0;
/// Of a lane: its name above its bar, and the pause below.
const NAME: f64 = 15.0;
const BAR: f64 = 22.0;
const PAUSE: f64 = 6.0;
const FOOT: f64 = 20.0;
const LEFT: f64 = 0.01;
const RIGHT: f64 = 0.99;
const TICKS: usize = 6;
/// Narrowest drawn span, as a share of the width: what is there must be seen.
const NARROWEST: f64 = 0.0006;
/// Widest share of the width that a letter takes, on a phone.
const LETTER: f64 = 0.021;
/// Names with a colour of their own.
const COLOURS: usize = 6;
/// Spans of a close look.
const CLOSE_LOOK: usize = 8;

/// The plot of a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plot {
    /// Height in pixels.
    pub height: String,
    /// Top of the area in which bars are drawn.
    pub top: String,
    /// Bottom of that area.
    pub bottom: String,
    /// Names of lanes.
    pub lanes: Vec<LaneName>,
    /// Microseconds.
    pub ticks: Vec<XTick>,
    /// Bars.
    pub bars: Vec<Bar>,
}

/// A lane's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneName {
    /// Base line of the text.
    pub y: String,
    /// The name.
    pub name: String,
}

/// A kernel or phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// Left end.
    pub x: String,
    /// Width.
    pub width: String,
    /// Top.
    pub y: String,
    /// Height.
    pub height: String,
    /// Number of its colour; see [`colour`].
    pub colour: usize,
    /// What it is, for a pointer that rests on it.
    pub title: String,
    /// Its name, where there is room.
    pub label: Option<Label>,
}

/// A name on a bar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// Middle of the bar.
    pub x: String,
    /// Base line of the text.
    pub y: String,
    /// The name.
    pub text: String,
}

/// Number of a name's colour: by rank of its time, the last for all others.
pub fn colour(timeline: &TokenTimeline, name: &str) -> usize {
    timeline.by_name.iter().position(|row| row.name == name).map_or(COLOURS, |rank| rank.min(COLOURS))
}

/// The whole token.
pub fn whole(timeline: &TokenTimeline) -> Plot {
    plot(timeline, 0.0, timeline.total_us)
}

/// A few spans in the middle of the token; `None` where the whole has no more.
pub fn close(timeline: &TokenTimeline) -> Option<Plot> {
    let counted: Vec<&TimelineSpan> = timeline.spans.iter().filter(|span| !is_detail(timeline, span)).collect();
    if counted.len() <= 2 * CLOSE_LOOK {
        return None;
    }
    let middle = &counted[counted.len() / 2 - CLOSE_LOOK / 2..][..CLOSE_LOOK];
    let begin = middle.iter().map(|span| span.end_us - span.time_us).fold(f64::INFINITY, f64::min);
    let end = middle.iter().map(|span| span.end_us).fold(0.0, f64::max);
    Some(plot(timeline, begin, end))
}

fn is_detail(timeline: &TokenTimeline, span: &TimelineSpan) -> bool {
    timeline.lanes.get(span.lane as usize).is_some_and(|lane| lane.detail)
}

fn plot(timeline: &TokenTimeline, begin: f64, end: f64) -> Plot {
    let width = (end - begin).max(f64::MIN_POSITIVE);
    let x = |us: f64| LEFT + (RIGHT - LEFT) * ((us - begin) / width).clamp(0.0, 1.0);
    let lane_top = |lane: u32| TOP + f64::from(lane) * (NAME + BAR + PAUSE);
    let bottom = lane_top(timeline.lanes.len() as u32);
    let bar = |span: &TimelineSpan| {
        let (left, right) = (x(span.end_us - span.time_us), x(span.end_us));
        let drawn = (right - left).max(NARROWEST);
        let y = lane_top(span.lane) + NAME;
        let fits = span.name.chars().count() as f64 * LETTER < drawn;
        Bar {
            x: percent(left),
            width: percent(drawn),
            y: pixels(y),
            height: pixels(BAR),
            colour: colour(timeline, &span.name),
            title: title(span),
            label: fits.then(|| Label {
                x: percent(left + drawn / 2.0),
                y: pixels(y + BAR / 2.0 + 4.0),
                text: span.name.clone(),
            }),
        }
    };
    let axis = Axis::spanning(Kind::Linear, begin, begin + width);
    let ticks = axis.ticks(TICKS).into_iter().map(|tick| XTick { x: percent(x(tick.value)), label: tick.label });
    let lanes = timeline.lanes.iter().zip(0..);
    Plot {
        height: pixels(bottom + FOOT),
        top: pixels(TOP),
        bottom: pixels(bottom),
        lanes: lanes.map(|(lane, i)| LaneName { y: pixels(lane_top(i) + 11.0), name: lane.name.clone() }).collect(),
        ticks: ticks.collect(),
        bars: timeline
            .spans
            .iter()
            .filter(|span| span.end_us > begin && span.end_us - span.time_us < end)
            .map(bar)
            .collect(),
    }
}

fn title(span: &TimelineSpan) -> String {
    let mut words = span.name.clone();
    if let Some(layer) = span.layer {
        let _ = write!(words, ", layer {layer}");
    }
    let (time, from) = (number::value(span.time_us), number::fixed(span.end_us - span.time_us, 1));
    let _ = write!(words, ": {time} us from {from} us on");
    if let Some(wait) = span.wait_us {
        let _ = write!(words, ", after waiting for {} us", number::value(wait));
    }
    if span.bytes > 0 {
        let _ = write!(words, ", {}", number::bytes(span.bytes));
    }
    if let Some(share) = span.share {
        let _ = write!(words, " at {} of the measured bandwidth", number::percent(share));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn bars_lie_where_their_times_say() {
        let timeline = fixture::timeline();
        let plot = whole(&timeline);
        assert_eq!((plot.bars.len(), plot.lanes.len()), (timeline.spans.len(), 2));
        assert_eq!(plot.bars[0].x, percent(LEFT));
        assert!(plot.bars.iter().all(|bar| bar.colour <= COLOURS && !bar.title.is_empty()));
        let side = timeline.spans.iter().position(|span| span.lane == 1).expect("a span of the side stream");
        assert_ne!(plot.bars[side].y, plot.bars[0].y, "a lane of its own");
        assert!(plot.ticks.len() >= 2);
    }

    #[test]
    fn a_close_look_has_room_for_names() {
        let plot = close(&fixture::timeline()).expect("many spans");
        assert!(plot.bars.len() >= CLOSE_LOOK && plot.bars.len() < 3 * CLOSE_LOOK, "{}", plot.bars.len());
        assert!(plot.bars.iter().any(|bar| bar.label.is_some()));
        let mut few = fixture::timeline();
        few.spans.truncate(5);
        assert_eq!(close(&few), None);
    }
}
