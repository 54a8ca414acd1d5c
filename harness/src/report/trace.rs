//! A token's timeline as a table for a terminal, and as trace events for Perfetto and Chrome.

use super::model::{Report, TokenTimeline};
use super::{number, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Rows of the table: more are summed.
const ROWS: usize = 20;

/// Every timeline of a report, once, with the name of its trace's file.
pub fn of_report(report: &Report) -> Vec<(String, &TokenTimeline)> {
    let mut seen = BTreeSet::new();
    let claims = report.entries.iter().flat_map(|entry| &entry.claims);
    claims
        .filter_map(|claim| claim.timeline.as_ref())
        .filter(|timeline| seen.insert((timeline.arm.clone(), timeline.workload.clone())))
        .map(|timeline| (file(timeline), timeline))
        .collect()
}

/// The name of the file that a timeline's trace goes to.
pub fn file(timeline: &TokenTimeline) -> String {
    format!("trace-{}-{}.json", text::slug(&timeline.arm), text::slug(&timeline.workload))
}

/// Trace events, as `chrome://tracing` and <https://ui.perfetto.dev> open them. Times are microseconds.
pub fn events(timeline: &TokenTimeline) -> Value {
    let process = json!({
        "ph": "M", "name": "process_name", "pid": 1, "tid": 0,
        "args": { "name": format!("{}, one token of {}", timeline.arm, timeline.workload) }
    });
    let lane = |(index, lane): (usize, &super::model::TimelineLane)| json!({ "ph": "M", "name": "thread_name", "pid": 1, "tid": index, "args": { "name": lane.name } });
    let span = |span: &super::model::TimelineSpan| {
        json!({
            "ph": "X", "name": span.name, "cat": "gpu", "pid": 1, "tid": span.lane,
            "ts": span.begin_us + span.wait_us.unwrap_or(0.0), "dur": span.time_us,
            "args": {
                "layer": span.layer, "bytes": span.bytes, "share_of_measured_bandwidth": span.share,
                "waits_us": span.wait_us
            }
        })
    };
    let lanes = timeline.lanes.iter().enumerate().map(lane);
    let events: Vec<Value> = std::iter::once(process).chain(lanes).chain(timeline.spans.iter().map(span)).collect();
    json!({
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": { "times taken by": timeline.source, "token": timeline.token }
    })
}

/// The timeline for a terminal: what took how long, and what it read.
pub fn table(timeline: &TokenTimeline) -> String {
    let percent = |share: Option<f64>| share.map_or_else(|| "-".into(), number::percent);
    let megabytes = |bytes: u64| if bytes == 0 { "-".to_owned() } else { number::bytes(bytes) };
    let name_width = timeline.by_name.iter().take(ROWS).map(|row| row.name.chars().count()).max().unwrap_or(0).max(6);
    let mut out = format!(
        "{}, token {} of {}: {} us; something ran for {} us, two streams at once for {} us\n\
         read {} at {} of the measured bandwidth{}\ntimes taken by {}\n\n",
        timeline.arm,
        timeline.token,
        timeline.workload,
        number::fixed(timeline.total_us, 1),
        number::fixed(timeline.busy_us, 1),
        number::fixed(timeline.overlap_us, 1),
        number::bytes(timeline.bytes),
        percent(timeline.share),
        timeline.ceiling_bytes_per_s.map_or_else(String::new, |b| format!(" ({} GB/s)", number::value(b as f64 / 1e9))),
        timeline.source,
    );
    let line = |name: &str, cells: [&str; 6]| {
        format!(
            "{name:<name_width$}  {:>5}  {:>10}  {:>8}  {:>7}  {:>10}  {:>9}\n",
            cells[0], cells[1], cells[2], cells[3], cells[4], cells[5]
        )
    };
    out.push_str(&line("kernel", ["count", "time us", "each us", "of time", "reads", "bandwidth"]));
    for row in timeline.by_name.iter().take(ROWS) {
        out.push_str(&line(
            &row.name,
            [
                &row.count.to_string(),
                &number::fixed(row.time_us, 1),
                &number::fixed(row.time_us / f64::from(row.count.max(1)), 2),
                &number::percent(row.of_time),
                &megabytes(row.bytes),
                &percent(row.share),
            ],
        ));
    }
    let rest: Vec<_> = timeline.by_name.iter().skip(ROWS).collect();
    if !rest.is_empty() {
        let time: f64 = rest.iter().map(|row| row.time_us).sum();
        let _ = writeln!(out, "and {} more names, together {} us", rest.len(), number::fixed(time, 1));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_trace_has_an_event_for_each_span_and_a_name_for_each_lane() {
        let timeline = fixture::timeline();
        let trace = events(&timeline);
        let all = trace["traceEvents"].as_array().expect("events");
        let of = |kind: &str| all.iter().filter(|event| event["ph"] == kind).count();
        assert_eq!((of("X"), of("M")), (timeline.spans.len(), 1 + timeline.lanes.len()));
        let first = all.iter().find(|event| event["ph"] == "X").expect("a span");
        assert_eq!(first["ts"].as_f64(), Some(0.0));
        assert_eq!(first["dur"].as_f64(), Some(timeline.spans[0].end_us));
        assert_eq!(first["tid"], 0);
    }

    #[test]
    fn the_table_adds_up() {
        let timeline = fixture::timeline();
        let table = table(&timeline);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].starts_with("streams, token 64 of decode: "), "{table}");
        assert_eq!(lines.len(), 5 + timeline.by_name.len());
        assert!(lines[5].starts_with(&timeline.by_name[0].name), "the longest first:\n{table}");
    }

    #[test]
    fn each_timeline_of_a_report_has_one_file() {
        let mut report = fixture::report();
        report.entries[0].claims[0].timeline = Some(fixture::timeline());
        report.entries[1].claims[0].timeline = Some(fixture::timeline());
        let files: Vec<String> = of_report(&report).into_iter().map(|(file, _)| file).collect();
        assert_eq!(files, ["trace-streams-decode.json"]);
    }
}
