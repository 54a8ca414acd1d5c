//! Several requests at a time: whether they were sent when they were due, and what became of those that failed.

use super::compare::Question;
use super::gates::{Run, invalid};
use super::observed::{Lane, Process};
use super::outcome::Outcome;
use super::words;
use crate::metrics::{Direction, definition};
use crate::report::model::Verdict;
use crate::stats::paired::Claim;
use qa_protocol::ServedRequest;

/// Share of the requests of an open loop that may be sent late.
const LATE: f64 = 0.01;

fn requests<'a>(processes: &'a [Process<'a>]) -> impl Iterator<Item = &'a ServedRequest> {
    processes.iter().flat_map(|process| process.timed.iter()).flat_map(|sample| &sample.work.requests)
}

/// A client that is busy sends late, and then less arrives at a time than was asked for: what was measured is the client.
///
/// # Errors
/// INVALID, with how many were late and by how much.
pub(super) fn gate(run: Run<'_>, lane: Lane<'_>, processes: &[Process<'_>]) -> Result<(), Outcome> {
    let load = run.spec.workloads.get(lane.workload).and_then(|workload| workload.load.as_ref());
    let Some(load) = load.filter(|load| load.arrivals_per_s.is_some()) else { return Ok(()) };
    let by_ms = |request: &ServedRequest| (request.sent_ns - request.scheduled_ns) / 1e6;
    let all = requests(processes).count();
    let late: Vec<f64> = requests(processes).map(by_ms).filter(|ms| *ms > load.late_ms).collect();
    if late.len() as f64 <= LATE * all as f64 {
        return Ok(());
    }
    invalid(format!(
        "{} of {all} requests to {} were sent more than {} ms after they were due, at most {} ms: the client was too slow, and \
         what it measured is not the load that was asked for (allowed: {} %).",
        late.len(),
        lane.arm,
        words::number(load.late_ms),
        words::number(late.iter().copied().fold(0.0, f64::max)),
        100.0 * LATE
    ))
}

/// How many requests of a lane failed, and why the first one did.
pub(super) fn failures(arm: &str, processes: &[Process<'_>]) -> Option<String> {
    let failed: Vec<&str> = requests(processes).filter_map(|request| request.error.as_deref()).collect();
    let first = failed.first()?;
    Some(format!(
        "{} of {} requests to {arm} failed, and count as never answered; the first: {first}",
        failed.len(),
        requests(processes).count()
    ))
}

/// What follows where a lane's number is that of a request which was never answered, or its goodput is none. `None` for a lane
/// without a load.
pub(super) fn no_number(run: Run<'_>, question: &Question<'_>, lane: Lane<'_>) -> Option<Outcome> {
    run.spec.workloads.get(lane.workload)?.load.as_ref()?;
    let processes = run.observed.processes(lane);
    let metric = words::metric(question.metric);
    let reason = match failures(lane.arm, processes) {
        Some(failures) => format!("The {metric} of {} has no end or is none: {failures}.", lane.arm),
        None if question.over.is_some() => format!(
            "In at least one process no request to {} was answered within the bounds of {}: its {metric} is none.",
            lane.arm, lane.workload
        ),
        None => return None,
    };
    let worse = match question.claim {
        Claim::AtLeast { .. } => definition(question.metric).direction == Direction::HigherIsBetter,
        Claim::AtMost { .. } => definition(question.metric).direction == Direction::LowerIsBetter,
        Claim::Within { .. } => true,
    };
    // Nothing is infinitely better than what does not answer: where the comparator fails there is no ratio.
    let verdict = if lane == question.of && worse { Verdict::Fail } else { Verdict::Inconclusive };
    Some(Outcome::new(verdict, reason).with_remedy("look at the server's log, lower the load, or loosen its bounds"))
}
