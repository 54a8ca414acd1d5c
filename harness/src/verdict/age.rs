//! How old the oldest of a lane's samples may be when the newest is taken.

use super::gates::{Run, invalid};
use super::observed::{Lane, Process};
use super::outcome::Outcome;
use super::words;

/// A run may be resumed: then what was measured long ago counts as if it were of today, on a machine that may be another by now.
///
/// # Errors
/// INVALID, where the first block of a lane is older than the specification allows.
pub fn gate(run: Run<'_>, lane: Lane<'_>, processes: &[Process<'_>]) -> Result<(), Outcome> {
    // In the order of blocks: a clock that was set back in between says nothing of how long ago something was.
    let mut times = processes.iter().filter_map(|process| process.at);
    let Some(first) = times.next() else { return Ok(()) };
    let last = times.next_back().unwrap_or(first);
    let hours = last.duration_since(first).as_secs_f64() / 3600.0;
    let allowed = run.spec.sampling.max_age_h;
    if hours <= allowed {
        return Ok(());
    }
    invalid(format!(
        "The first block of {} was measured {} hours before the last, and `sampling.max_age_h` allows {allowed}: a run that was \
         resumed so late is two. Start it anew.",
        lane.arm,
        words::number(hours)
    ))
}
