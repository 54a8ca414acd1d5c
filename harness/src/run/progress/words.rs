//! Events as sentences.

use crate::run::event::Event;

/// What is worth a line of its own, wherever the run is watched; nothing for what the live line shows.
pub(super) fn sentence(event: &Event) -> Option<String> {
    Some(match event {
        Event::Started { recorded: recorded @ 1.. } => {
            format!("going on after {recorded} records of an earlier part of this run")
        }
        Event::Discarded { records } => {
            format!("{} records of an unfinished step were put aside; the step runs again", records.len())
        }
        Event::Torn { .. } => "a half-written line at the end of samples.jsonl was put aside".into(),
        Event::LeftBadly { process, loss } => format!("{}: {}", process.arm, loss.message),
        Event::Retry { workload, block, arm, reason } => {
            format!("{workload}: block {} runs again, since {arm} was lost: {reason}", block + 1)
        }
        Event::RuledOut { workload, arm, reason } => format!("{workload}: {arm} is left out from here: {reason}"),
        Event::Look { workload, blocks, decided: true } => {
            format!("{workload}: every claim is decided after {blocks} blocks")
        }
        Event::Look { workload, blocks, decided: false } => {
            format!("{workload}: not every claim is decided after {blocks} blocks, so it goes on")
        }
        Event::Submitted { job, steps } => {
            let job =
                job.as_ref().map_or_else(|| "a job of which the scheduler said nothing".into(), |j| format!("job {j}"));
            match steps.as_slice() {
                [one] => format!("{one}: submitted as {job}"),
                many => format!("{} steps, from {} on: submitted as {job}", many.len(), many.first().map_or("", |s| s)),
            }
        }
        Event::Queued { pending, running, reasons, nodes } => {
            let list =
                |words: &[String]| if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) };
            format!("{pending} pending{}, {running} running{}", list(reasons), list(nodes))
        }
        Event::Unanswered { said } => format!("the scheduler does not answer, and is waited for: {said}"),
        Event::AttemptLost { step, why, times } => format!("{step} was lost ({times}): {why}"),
        Event::Collected { step, node, .. } => format!("{step}: whole, from {node}"),
        Event::Started { .. }
        | Event::Workload { .. }
        | Event::Block { .. }
        | Event::FirstStart { .. }
        | Event::ProcessStarted { .. }
        | Event::ProcessEnded { .. }
        | Event::Verifying { .. }
        | Event::Scoring { .. }
        | Event::Soaking { .. }
        | Event::Profiling { .. }
        | Event::Program { .. }
        | Event::Finished
        | Event::Interrupted => return None,
    })
}

/// A length of time, for people: `45 s`, `3 min`, `1 h 20 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..90 => format!("{whole} s"),
        90..5400 => format!("{} min", (whole + 30) / 60),
        _ => {
            let minutes = (whole + 30) / 60;
            format!("{} h {} min", minutes / 60, minutes % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, text) in
            [(-1.0, "0 s"), (0.4, "0 s"), (89.0, "89 s"), (90.0, "2 min"), (5399.0, "90 min"), (5400.0, "1 h 30 min")]
        {
            assert_eq!(duration(seconds), text);
        }
    }
}
