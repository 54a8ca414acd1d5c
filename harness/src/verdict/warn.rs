//! Statistical diagnostics: they warn, loudly, beside the verdict. Only facts invalidate.

use super::observed::Process;
use super::{load, words};
use crate::report::model::Comparison;
use crate::samples::{Part, Row};
use crate::spec::Spec;
use crate::stats::diagnostics::{change, serial, shape};
use qa_protocol::Metric;

/// A diagnostic fires below this p value: there are several for every claim, and a warning must mean something.
pub(super) const LEVEL: f64 = 0.01;

/// The most points of a process in which a change of level is looked for.
const MOST_POINTS: usize = 4096;

/// Warnings about the pairs of a comparison, on the scale of their bounds.
pub fn of_pairs(y: &[f64], comparison: &Comparison, seed: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Ok(line) = serial::drift(y)
        && y.len() > 3
        && line.p_value < LEVEL
    {
        warnings.push(format!(
            "The pairs drift: their value changes steadily over the run (p = {}). The mean describes no single state.",
            words::number(line.p_value)
        ));
    }
    if let Ok(Some(correlation)) = serial::autocorrelation(y, seed)
        && correlation.p_value < LEVEL
    {
        warnings.push(format!(
            "Neighbouring pairs are alike (lag-1 autocorrelation {}, p = {}): the bounds are too narrow.",
            words::number(correlation.lag1),
            words::number(correlation.p_value)
        ));
    }
    if let Ok(dip) = shape::dip(y, seed)
        && dip.p_value < LEVEL
    {
        warnings.push(format!(
            "The pairs fall into two groups (dip test, p = {}): something switches between two states.",
            words::number(dip.p_value)
        ));
    }
    if let Some(flip) = comparison.sign_flip.filter(|flip| !flip.agrees) {
        warnings.push(format!(
            "The exact sign-flip test disagrees with the verdict: its one-sided p is {}, the level {}.",
            words::number(flip.p),
            words::number(1.0 - comparison.confidence)
        ));
    }
    warnings
}

/// A warning about what the plan lets into the statistics.
pub fn of_plan(spec: &Spec, metric: Metric) -> Option<String> {
    (spec.sampling.warmup == 0
        && !matches!(metric, Metric::LoadTime | Metric::PeakHostMemory | Metric::PeakDeviceMemory))
    .then(|| "Nothing was warmed up: the first iteration of every process counts (`sampling.warmup` is 0).".into())
}

/// Warnings about the iterations of a lane's processes.
pub fn of_lane(arm: &str, processes: &[Process<'_>], metric: Metric, seed: u64) -> Vec<String> {
    let series: Vec<Vec<f64>> = processes.iter().map(|p| durations(p.timed.iter(), metric)).collect();
    let mut warnings: Vec<String> = load::failures(arm, processes).map(|failures| failures + ".").into_iter().collect();
    let stalled: usize = series
        .iter()
        .map(|durations| shape::stalls(durations, shape::STALL_FACTOR).map_or(0, |stalls| stalls.len()))
        .sum();
    if stalled > 0 {
        warnings.push(format!(
            "{arm} stalled: {} took more than {} times the median of its process.",
            words::count(stalled, "timed iteration"),
            shape::STALL_FACTOR
        ));
    }
    let (series, each) = condensed(series);
    if let Ok(Some(point)) = change::change_point(&series, seed)
        && point.p_value < LEVEL
    {
        warnings.push(format!(
            "{arm} changes level within its processes, at iteration {} (p = {}): warm-up may be too short.",
            point.at * each,
            words::number(point.p_value)
        ));
    }
    warnings
}

/// At most [`MOST_POINTS`] of each process, each the mean of as many neighbours as is told with them: a permutation of
/// millions would take hours, and a change of level is seen as well in means.
fn condensed(series: Vec<Vec<f64>>) -> (Vec<Vec<f64>>, usize) {
    let longest = series.iter().map(Vec::len).max().unwrap_or(0);
    let each = longest.div_ceil(MOST_POINTS).max(1);
    if each == 1 {
        return (series, each);
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    (series.iter().map(|values| values.chunks(each).map(mean).collect()).collect(), each)
}

/// What a timed iteration took, in nanoseconds, by the phase that the metric is about.
fn durations(timed: Part<'_>, metric: Metric) -> Vec<f64> {
    let phase = |s: Row<'_>| match metric {
        // Of a load: until its last request ended.
        _ if !s.work.requests.is_empty() => s.work.requests.iter().map(|request| request.ended_ns).reduce(f64::max),
        Metric::DecodeRate | Metric::InterTokenLatencyP99 => s.decode_ns,
        Metric::PrefillRate | Metric::TimeToFirstToken => s.prefill_ns,
        _ => None,
    };
    timed.filter_map(phase).collect()
}
