//! What a decode that was looked at says: whether the counters of the timed ones are right, and where the time of a token
//! goes.

use super::checks::{Checked, fact};
use super::gates::Run;
use super::observed::{Lane, Profiled};
use super::outcome::Outcome;
use super::words;
use crate::report::model::{FactRow, TimelineLane, TimelineRow, TimelineSpan, TokenTimeline, Verdict};
use crate::samples::{Phase, Work};
use crate::spec::OfArm;
use qa_protocol::{Confirmation, LaneKind, Profile, Timeline, Witness};
use std::collections::BTreeMap;

/// What another pair of eyes says of an arm's counters.
pub enum Second {
    /// They are right; who says so.
    Confirmed(String),
    /// Nobody could say; why, as a sentence.
    Unconfirmed(String),
    /// They are wrong; in what.
    Contradicted(String),
}

impl Second {
    /// As a row of facts.
    pub fn row(&self) -> FactRow {
        match self {
            Self::Confirmed(by) => {
                fact("confirmed", format!("launches, graph replays, streams and kernels by name, by {by}, untimed"))
            }
            Self::Unconfirmed(why) => fact("unconfirmed", why.as_str()),
            Self::Contradicted(what) => fact("contradicted", what.as_str()),
        }
    }
}

/// Holds the counters of timed iterations against a profiler's of an untimed one.
pub fn second<'a>(run: Run<'_>, lane: Lane<'_>, mut timed: impl Iterator<Item = &'a Work>) -> Second {
    let Some(Profiled { profile, .. }) = run.observed.profile(lane.workload, lane.arm) else {
        return Second::Unconfirmed(missing(run, lane));
    };
    let Some(work) = timed.find(|work| work.decode_tokens == profile.decode_tokens) else {
        return Second::Unconfirmed("The profiled decode was of another length than the timed ones.".into());
    };
    if let Some(what) = differs(&work.witness, &profile.witness) {
        return Second::Contradicted(format!("the profiled process did not do what the timed ones did: {what}"));
    }
    match &profile.confirmation {
        Confirmation::Unconfirmed { reason } => Second::Unconfirmed(reason.clone()),
        Confirmation::Counted { by, witness } => match differs(&by_entry(profile), witness) {
            None => Second::Confirmed(by.clone()),
            Some(what) => Second::Contradicted(format!("{by} saw something else: {what}")),
        },
    }
}

/// Why an arm was not profiled.
fn missing(run: Run<'_>, lane: Lane<'_>) -> String {
    if let Some(loss) = run.observed.losses(Phase::Profile, lane.workload, lane.arm).last() {
        return loss.message.clone();
    }
    let able = run.observed.processes(lane).iter().any(|p| p.hello.capabilities.profile);
    if able { "The run ended before it was profiled." } else { "Its backend has no profiler." }.into()
}

/// A worker's counters with the kernels by the driver's names.
fn by_entry(profile: &Profile) -> Witness {
    let mut kernels: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in &profile.witness.kernels {
        *kernels.entry(profile.entries.get(name).unwrap_or(name).clone()).or_default() += count;
    }
    Witness { kernels, ..profile.witness.clone() }
}

/// The first counter in which two counts differ, among those that both have: claimed, then found.
fn differs(claimed: &Witness, found: &Witness) -> Option<String> {
    let counters = [
        ("launches", claimed.launches, found.launches),
        ("graph replays", claimed.graph_replays, found.graph_replays),
        ("streams", claimed.streams, found.streams),
        ("grid barriers", claimed.grid_syncs, found.grid_syncs),
        ("positions", claimed.positions, found.positions),
    ];
    let counter = counters.into_iter().find_map(|(name, a, b)| {
        let (a, b) = (a?, b?);
        (a != b).then(|| format!("{b} {name}, not {a}"))
    });
    counter.or_else(|| {
        let names = claimed.kernels.keys().chain(found.kernels.keys());
        let count = |of: &Witness, name| of.kernels.get(name).copied().unwrap_or(0);
        names
            .map(|name| (name, count(claimed, name), count(found, name)))
            .find(|(_, a, b)| a != b && !claimed.kernels.is_empty() && !found.kernels.is_empty())
            .map(|(name, a, b)| format!("{b} times the kernel {name}, not {a}"))
    })
}

/// A claim that a timeline was taken, and what it shows.
pub fn timeline(run: Run<'_>, check: &OfArm, workload: &str) -> (Checked, Option<TokenTimeline>) {
    let lane = Lane { workload, arm: &check.of, side: 0 };
    if let Err(outcome) = run.measured(lane) {
        return ((outcome, Vec::new()), None);
    }
    let blocked = |why: String| {
        let reason = format!("No timeline of a token of {} was recorded: {}", check.of, why);
        let remedy = "a backend with a profiler, and CUPTI where it looks for it (QA_CUPTI)";
        ((Outcome::new(Verdict::Blocked, reason).with_remedy(remedy), Vec::new()), None)
    };
    let Some(Profiled { profile, prepared }) = run.observed.profile(workload, &check.of) else {
        return blocked(missing(run, lane));
    };
    let Some(taken) = profile.timeline.as_ref().filter(|timeline| !timeline.spans.is_empty()) else {
        return blocked(match &profile.confirmation {
            Confirmation::Unconfirmed { reason } => reason.clone(),
            Confirmation::Counted { .. } => "what ran is not what was submitted, kernel by kernel.".into(),
        });
    };
    let timeline = measure(taken, prepared.device.read_bytes_per_s, &check.of, workload);
    let us = |value: f64| format!("{} us", words::number(value));
    let percent =
        |share: Option<f64>| share.map_or_else(|| "unknown".into(), |s| format!("{} %", words::number(100.0 * s)));
    let rows = vec![
        fact("one token, first begin to last end", us(timeline.total_us)),
        fact("something ran for", us(timeline.busy_us)),
        fact("two streams or more ran at once for", us(timeline.overlap_us)),
        fact("bytes of weights read", format!("{} MB", words::number(timeline.bytes as f64 / 1e6))),
        fact(
            "read bandwidth, as measured on this card",
            timeline
                .ceiling_bytes_per_s
                .map_or_else(|| "unknown".into(), |b| format!("{} GB/s", words::number(b as f64 / 1e9))),
        ),
        fact("of that bandwidth, over the token", percent(timeline.share)),
        fact("times taken by", timeline.source.as_str()),
    ];
    let longest = timeline.by_name.first().map_or_else(String::new, |row| {
        format!(" Longest: {}, {} % of the time of all.", row.name, words::number(100.0 * row.of_time))
    });
    let outcome = Outcome::new(
        Verdict::Pass,
        format!(
            "Taken of token {} in an untimed process: {}, {} of it with two streams at once, at {} of the measured bandwidth.{longest}",
            timeline.token,
            us(timeline.total_us),
            us(timeline.overlap_us),
            percent(timeline.share)
        ),
    );
    ((outcome, rows), Some(timeline))
}

/// What a timeline adds up to; `ceiling` is the measured read bandwidth in bytes a second.
pub fn measure(timeline: &Timeline, ceiling: Option<u64>, arm: &str, workload: &str) -> TokenTimeline {
    let detail = |lane: u32| timeline.lanes.get(lane as usize).is_some_and(|lane| lane.kind == LaneKind::Block);
    let share = |bytes: u64, us: f64| {
        ceiling.filter(|_| bytes > 0 && us > 0.0).map(|ceiling| bytes as f64 / (us * 1e-6) / ceiling as f64)
    };
    // A kernel may begin before the one before it has ended, and wait for it: what a lane did is counted once.
    let mut ended: BTreeMap<u32, f64> = BTreeMap::new();
    let mut spans: Vec<TimelineSpan> = Vec::with_capacity(timeline.spans.len());
    for span in &timeline.spans {
        let (begin_us, end_us) = (span.begin_ns / 1e3, span.end_ns / 1e3);
        let before = ended.entry(span.lane).or_insert(0.0);
        let waited = (*before - begin_us).max(span.wait_ns.unwrap_or(0.0) / 1e3).clamp(0.0, end_us - begin_us);
        *before = before.max(end_us);
        let time_us = end_us - begin_us - waited;
        spans.push(TimelineSpan {
            name: span.name.clone(),
            lane: span.lane,
            layer: span.layer,
            begin_us,
            end_us,
            wait_us: (waited > 0.0).then_some(waited),
            time_us,
            bytes: span.bytes,
            share: share(span.bytes, time_us),
        });
    }
    let counted = || spans.iter().filter(|span| !detail(span.lane));
    let total_us = counted().map(|span| span.end_us).fold(0.0, f64::max);
    let time_us: f64 = counted().map(|span| span.time_us).sum();
    let mut rows: BTreeMap<&str, TimelineRow> = BTreeMap::new();
    for span in counted() {
        let row = rows.entry(&span.name).or_insert_with(|| TimelineRow {
            name: span.name.clone(),
            count: 0,
            time_us: 0.0,
            of_time: 0.0,
            bytes: 0,
            share: None,
        });
        row.count += 1;
        row.time_us += span.time_us;
        row.bytes += span.bytes;
    }
    let mut by_name: Vec<TimelineRow> = rows.into_values().collect();
    for row in &mut by_name {
        row.of_time = if time_us > 0.0 { row.time_us / time_us } else { 0.0 };
        row.share = share(row.bytes, row.time_us);
    }
    by_name.sort_by(|a, b| b.time_us.total_cmp(&a.time_us));
    let bytes = counted().map(|span| span.bytes).sum();
    let (busy_us, overlap_us) = occupied(counted());
    TokenTimeline {
        arm: arm.into(),
        workload: workload.into(),
        source: timeline.source.clone(),
        token: timeline.token,
        lanes: timeline
            .lanes
            .iter()
            .map(|lane| TimelineLane { name: lane.name.clone(), detail: lane.kind == LaneKind::Block })
            .collect(),
        by_name,
        total_us,
        busy_us,
        overlap_us,
        bytes,
        ceiling_bytes_per_s: ceiling,
        share: share(bytes, total_us),
        spans,
    }
}

/// How long at least one span ran, and how long spans of two lanes or more did.
fn occupied<'a>(spans: impl Iterator<Item = &'a TimelineSpan>) -> (f64, f64) {
    let mut edges: Vec<(f64, u32, i32)> =
        spans.flat_map(|span| [(span.begin_us, span.lane, 1), (span.end_us, span.lane, -1)]).collect();
    // At one moment ends come first: touching is not overlapping.
    edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
    let mut running: BTreeMap<u32, i32> = BTreeMap::new();
    let (mut busy, mut overlap, mut since) = (0.0, 0.0, 0.0);
    for (at, lane, change) in edges {
        let lanes = running.values().filter(|count| **count > 0).count();
        if lanes >= 1 {
            busy += at - since;
        }
        if lanes >= 2 {
            overlap += at - since;
        }
        since = at;
        *running.entry(lane).or_default() += change;
    }
    (busy, overlap)
}
