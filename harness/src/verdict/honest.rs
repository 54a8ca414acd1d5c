//! Whether the timed iterations did the work that they are credited with, by effects that nobody can report away: the
//! harness's own clock, and what the worker does with a prompt that it has not seen.

use super::gates::Run;
use super::observed::{Lane, Process};
use super::outcome::Outcome;
use super::words;
use crate::report::model::Verdict;
use crate::samples::Row;
use crate::spec::Backend;
use crate::stats::summary;
use qa_protocol::TokenSource;

/// Share of the time that passed in a timed iteration that may be in no figure of it.
const UNEXPLAINED: f64 = 0.10;
/// Time of an iteration that is always allowed for pipes and for waking up, in nanoseconds.
const UNEXPLAINED_NS: f64 = 1e6;
/// How many times as long a token, or a prompt, may take where the prompt was not seen before.
const SLOWER_UNSEEN: f64 = 3.0;
/// How many times as long as with fewer tokens to follow the same work on a prompt may take.
const LONGER_PREFILL: f64 = 1.5;
/// Less than this is no difference, in nanoseconds.
const NOTHING_NS: f64 = 1e5;

/// The first sign that the times of a lane are not those of its work.
///
/// A machine that is busy elsewhere makes some iterations longer, and none shorter. So each sign has to be there even where
/// the work went best: it is taken of the quickest iterations, or of three in four of them.
///
/// # Errors
/// INVALID, with the sign.
pub fn gate(run: Run<'_>, lane: Lane<'_>, processes: &[Process<'_>]) -> Result<(), Outcome> {
    // These time a program or a server from outside: it starts, loads and is spoken to in the same time, and has a cache of
    // prompts that their workers look after.
    let outside = [Backend::LlamaCpp, Backend::Ollama, Backend::OpenAi];
    let outside = run.arm(lane.arm).is_some_and(|arm| outside.contains(&arm.backend));
    if !outside {
        unexplained(lane.arm, processes)?;
    }
    // A draft that is right about one text may be wrong about another: there the speed is the text's.
    let drafts = run.arm(lane.arm).is_some_and(|arm| arm.options.get("draft_tokens").is_some_and(|n| *n != 0));
    if let Some(times) = Times::of(processes, decode_of_token).and_then(|t| t.slower_unseen()).filter(|_| !drafts) {
        return invalid(format!(
            "{} takes {} times as long for a token after a prompt that it has not seen: the timed tokens were remembered, not \
             computed (allowed: {SLOWER_UNSEEN} times).",
            lane.arm,
            words::number(times)
        ));
    }
    let prompts = Times::of(processes, |row| row.prefill_ns).filter(|_| !outside);
    let Some(prompts) = prompts else { return Ok(()) };
    if let Some(times) = prompts.slower_unseen() {
        return invalid(format!(
            "{} takes {} times as long for a prompt that it has not seen: the timed prompts were remembered, not evaluated \
             (allowed: {SLOWER_UNSEEN} times).",
            lane.arm,
            words::number(times)
        ));
    }
    match prompts.longer_timed() {
        Some(times) => invalid(format!(
            "{} takes {} times as long for a prompt when more tokens follow it: part of the decode is timed as prefill \
             (allowed: {LONGER_PREFILL} times).",
            lane.arm,
            words::number(times)
        )),
        None => Ok(()),
    }
}

fn invalid(reason: String) -> Result<(), Outcome> {
    Err(Outcome::new(Verdict::Invalid, reason))
}

/// Time that passed and is in no figure: a clock that was read before the work was done, or work beside what is timed.
fn unexplained(arm: &str, processes: &[Process<'_>]) -> Result<(), Outcome> {
    let found: Vec<(f64, f64)> = processes.iter().flat_map(waited_and_told).collect();
    let mut shares: Vec<f64> = found.iter().map(|(waited, told)| (waited - told - UNEXPLAINED_NS) / waited).collect();
    shares.sort_by(f64::total_cmp);
    // Three in four iterations have to lack as much: what was late for one is early for the next.
    if shares.get(shares.len() / 4).is_none_or(|share| *share <= UNEXPLAINED) {
        return Ok(());
    }
    let ms = |pick: fn(&(f64, f64)) -> f64| {
        let values: Vec<f64> = found.iter().map(pick).collect();
        words::number(summary::median(&values).unwrap_or_default() / 1e6)
    };
    invalid(format!(
        "A timed iteration of {arm} took {} ms by the harness's clock, and its own figures explain {} ms of that (medians of {}; \
         allowed to be missing: {} %): its clock is read before the work is done, or it works outside of what it times.",
        ms(|(waited, _)| *waited),
        ms(|(_, told)| *told),
        found.len(),
        100.0 * UNEXPLAINED
    ))
}

/// Of each timed iteration: how long the harness waited, and what its figures add up to, in nanoseconds. Nothing of a process
/// that does not tell both phases, or whose clock is its own.
fn waited_and_told(process: &Process<'_>) -> Vec<(f64, f64)> {
    if process.timed.iter().any(|row| row.waited_ns.is_none()) {
        return Vec::new();
    }
    process.timed.iter().filter_map(|row| Some((row.waited_ns?, told(row)?))).collect()
}

fn told(row: Row<'_>) -> Option<f64> {
    if row.work.token_source == Some(TokenSource::Beside) {
        return None;
    }
    let decode = match row.decode_ns {
        None if row.work.decode_tokens > 0 => return None,
        decode => decode.unwrap_or_default(),
    };
    Some(row.prefill_ns? + decode)
}

fn decode_of_token(row: Row<'_>) -> Option<f64> {
    row.decode_ns.map(|ns| ns / f64::from(row.work.decode_tokens.max(1)))
}

/// What iterations of a lane took by some measure, in nanoseconds.
struct Times {
    timed: f64,
    /// Of iterations that were not the first of their process, which may pay for what comes only once.
    warm_least: Option<f64>,
    unseen: f64,
    unseen_least: f64,
}

impl Times {
    fn of(processes: &[Process<'_>], measure: fn(Row<'_>) -> Option<f64>) -> Option<Self> {
        let timed: Vec<f64> = processes.iter().flat_map(|p| p.timed.iter()).filter_map(measure).collect();
        let unseen: Vec<f64> = processes.iter().flat_map(|p| &p.unseen).filter_map(measure).collect();
        let warm = processes.iter().flat_map(|p| p.timed.iter().skip(usize::from(p.timed.warmups == 0)));
        Some(Self {
            timed: summary::median(&timed).ok()?,
            warm_least: warm.filter_map(measure).reduce(f64::min),
            unseen: summary::median(&unseen).ok()?,
            unseen_least: unseen.into_iter().reduce(f64::min)?,
        })
    }

    /// How many times as long as a usual timed iteration even the quickest took whose prompt had not been seen, if too long.
    fn slower_unseen(&self) -> Option<f64> {
        let times = self.unseen_least / self.timed;
        (times > SLOWER_UNSEEN && self.unseen_least - self.timed > NOTHING_NS).then_some(times)
    }

    /// How many times as long as a usual one with fewer tokens to follow even the quickest timed one took that
    /// was not its process's first, if too long.
    fn longer_timed(&self) -> Option<f64> {
        let least = self.warm_least?;
        let times = least / self.unseen;
        (times > LONGER_PREFILL && least - self.unseen > NOTHING_NS).then_some(times)
    }
}
