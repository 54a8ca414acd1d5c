//! Where the time of a token goes: the plot, and what it adds up to.

use crate::report::model::{Report, TokenTimeline};
use crate::report::svg::timeline::{self as drawing, Plot};
use crate::report::{number, phrase, trace};
use serde::Serialize;

/// Names in the table beside the plot; the rest is folded.
const NAMED: usize = 12;

/// A token's part of the page.
#[derive(Serialize)]
pub struct Timeline {
    anchor: String,
    arm: String,
    workload: String,
    summary: String,
    source: String,
    description: String,
    whole: Plot,
    close: Option<Plot>,
    named: Vec<Row>,
    more: Vec<Row>,
    /// The trace's file, beside the page.
    file: String,
}

#[derive(Serialize)]
struct Row {
    colour: usize,
    name: String,
    count: u32,
    time: String,
    of_time: String,
    bytes: String,
    share: String,
}

/// Every timeline of a report.
pub fn all(report: &Report) -> Vec<Timeline> {
    trace::of_report(report).into_iter().enumerate().map(|(i, (file, t))| Timeline::of(t, i, file)).collect()
}

impl Timeline {
    fn of(timeline: &TokenTimeline, index: usize, file: String) -> Self {
        let us = |value: f64| format!("{} µs", number::value(value));
        let share = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), number::percent);
        let mut rows: Vec<Row> = timeline
            .by_name
            .iter()
            .map(|row| Row {
                colour: drawing::colour(timeline, &row.name),
                name: row.name.clone(),
                count: row.count,
                time: us(row.time_us),
                of_time: number::percent(row.of_time),
                bytes: if row.bytes == 0 { "–".to_owned() } else { number::bytes(row.bytes) },
                share: share(row.share),
            })
            .collect();
        let more = rows.split_off(rows.len().min(NAMED));
        let ceiling = timeline.ceiling_bytes_per_s.map_or_else(String::new, |ceiling| {
            format!(" of the {} GB/s that were measured on this card", number::value(ceiling as f64 / 1e9))
        });
        Self {
            anchor: format!("timeline-{index}"),
            arm: timeline.arm.clone(),
            workload: timeline.workload.clone(),
            summary: format!(
                "{} from the first begin to the last end. Something ran for {}; two streams or more at once for {}. It read {} \
                 of weights: {}{ceiling}.",
                us(timeline.total_us),
                us(timeline.busy_us),
                us(timeline.overlap_us),
                number::bytes(timeline.bytes),
                share(timeline.share),
            ),
            source: timeline.source.clone(),
            description: format!(
                "{} on {}; the longest by name: {}.",
                phrase::count(timeline.spans.len(), "span"),
                phrase::count(timeline.lanes.len(), "lane"),
                timeline.by_name.iter().take(3).map(|row| row.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
            whole: drawing::whole(timeline),
            close: drawing::close(timeline),
            named: rows,
            more,
            file,
        }
    }
}
