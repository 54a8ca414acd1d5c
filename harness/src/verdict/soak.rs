//! A long decode: whether anything broke, drifted or leaked.

use super::checks::{Checked, fact, fail, pass};
use super::gates::Run;
use super::outcome::Outcome;
use super::words;
use crate::report::model::{FactRow, Verdict};
use crate::samples::{Footprint, Part, Phase};
use crate::spec::Soak;
use qa_protocol::Metric;

/// Growth of resident memory, in bytes, that is no leak: an allocator keeps some of what it once needed.
const SLACK_BYTES: u64 = 4 << 20;

/// Judge a long decode by its first fifth and its last.
pub fn soak(run: Run<'_>, entry: &str, check: &Soak) -> Checked {
    if let Some(loss) = run.observed.losses(Phase::Soak, entry, &check.of).last() {
        return (Outcome::of_loss(&check.of, loss), Vec::new());
    }
    let Some(process) = run.observed.soak(entry).filter(|p| p.timed.len() >= 10) else {
        return (
            Outcome::new(Verdict::Error, "The long decode was not run, or has fewer than ten iterations.")
                .with_remedy("finish it with `qa run --resume`, or raise `run_s`"),
            Vec::new(),
        );
    };
    let seconds: f64 =
        process.timed.iter().map(|s| (s.prefill_ns.unwrap_or(0.0) + s.decode_ns.unwrap_or(0.0)) * 1e-9).sum();
    let fifth = process.timed.len() / 5;
    let rate = |samples: Part<'_>| crate::metrics::of_process(Metric::DecodeRate, samples, 1, None);
    let memory = |samples: Part<'_>| crate::metrics::of_process(Metric::PeakHostMemory, samples, 1, None);
    let (first, last) = (0..fifth, process.timed.len() - fifth..process.timed.len());
    let change = |f: &dyn Fn(Part<'_>) -> Option<f64>| {
        Some(f(process.timed.part(last.clone()))? / f(process.timed.part(first.clone()))? - 1.0)
    };
    let (drift, growth) = (change(&rate), change(&memory));
    let percent = |v: Option<f64>| v.map_or("unknown".into(), |v| format!("{:+.2} %", 100.0 * v));
    let mut rows = vec![
        fact("decoded for", format!("{} s of {} s", words::number(seconds), check.duration_s)),
        fact("iterations", process.timed.len().to_string()),
        fact("rate, last fifth against first", percent(drift)),
        fact("peak host memory, last fifth against first", percent(growth)),
    ];
    let limit = check.drift_at_most;
    let leaks = leaks(run, entry, limit, &mut rows);
    let outcome = if drift.is_none_or(|d| d.abs() > limit) || growth.is_some_and(|g| g > limit) {
        fail(format!(
            "The rate drifted by {}, memory by {}; allowed {} %.",
            percent(drift),
            percent(growth),
            100.0 * limit
        ))
    } else if let Some(leak) = leaks.first() {
        fail(leak.clone())
    } else if seconds < check.duration_s {
        Outcome::new(
            Verdict::Inconclusive,
            format!("Without fault for {} s; the claim is about {} s.", words::number(seconds), check.duration_s),
        )
        .with_remedy(format!("set `run_s` to {}", check.duration_s))
    } else {
        pass(format!("Without fault, leak or drift for {} s.", words::number(seconds)))
    };
    (outcome, rows)
}

/// What grew that must not, a sentence each: memory and handles as the kernel counted them, of the worker and of `qa`
/// itself. Most in the last fifth is held against most in the first.
fn leaks(run: Run<'_>, entry: &str, limit: f64, rows: &mut Vec<FactRow>) -> Vec<String> {
    let Some(seen) = run.observed.footprints(entry) else { return Vec::new() };
    let mut leaks = Vec::new();
    for (who, seen) in [("the worker", &seen.worker), ("qa", &seen.harness)] {
        let fifth = seen.len() / 5;
        if fifth == 0 {
            continue;
        }
        let most = |of: &[Footprint], what: fn(&Footprint) -> u64| of.iter().map(what).max().unwrap_or(0);
        let ends = |what: fn(&Footprint) -> u64| (most(&seen[..fifth], what), most(&seen[seen.len() - fifth..], what));
        let (first, last) = ends(|footprint| footprint.rss_bytes);
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let (from, to) = (megabytes(first), megabytes(last));
        rows.push(fact(format!("resident memory of {who}, first fifth and last"), format!("{from}, {to}")));
        if last as f64 > first as f64 * (1.0 + limit) && last > first + SLACK_BYTES {
            leaks.push(format!("The resident memory of {who} grew from {from} to {to}."));
        }
        let (first, last) = ends(|footprint| footprint.handles);
        rows.push(fact(format!("open handles of {who}, first fifth and last"), format!("{first}, {last}")));
        if last > first {
            leaks.push(format!("The open handles of {who} grew from {first} to {last}."));
        }
    }
    leaks
}
