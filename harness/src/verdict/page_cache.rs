//! Cold and warm loads: whether the model's file was where its workload says when each process was started.

use super::entry::fact;
use super::gates::Run;
use super::observed::{Lane, Process};
use super::outcome::Outcome;
use crate::report::model::{FactRow, Verdict};
use crate::spec::PageCache;

/// Share of a file's pages that may be elsewhere than was asked.
const ELSEWHERE: f64 = 0.05;

fn asked(run: Run<'_>, lane: Lane<'_>) -> Option<PageCache> {
    run.spec.workloads.get(lane.workload)?.page_cache
}

/// A cold load of a file that is in memory is a warm one, and the other way about.
///
/// # Errors
/// INVALID for the first process whose file was elsewhere, with the share that was in the page cache; BLOCKED where that is not known.
pub(super) fn gate(run: Run<'_>, lane: Lane<'_>, processes: &[Process<'_>]) -> Result<(), Outcome> {
    let Some(asked) = asked(run, lane) else { return Ok(()) };
    for process in processes {
        let (name, arm, block) = (asked.name(), lane.arm, process.key.block + 1);
        let share = match process.resident {
            Some(Ok(share)) => *share,
            unknown => {
                let why = match unknown {
                    Some(Err(why)) => why,
                    _ => "its record does not say",
                };
                let reason = format!(
                    "Whether the model of {arm} was `{name}` in block {block} is not known: {why}. No claim about such loads \
                     can rest on it."
                );
                let remedy = "run it on Linux, as the owner of the file, or leave `page_cache` out";
                return Err(Outcome::new(Verdict::Blocked, reason).with_remedy(remedy));
            }
        };
        let (good, bound, remedy) = match asked {
            PageCache::Cold => (
                share <= ELSEWHERE,
                format!("at most {} %", 100.0 * ELSEWHERE),
                "keep the file on a disk, not on a file system in memory, and end whatever else has it mapped",
            ),
            PageCache::Warm => (
                share >= 1.0 - ELSEWHERE,
                format!("at least {} %", 100.0 * (1.0 - ELSEWHERE)),
                "leave more memory free than the file is large",
            ),
        };
        if !good {
            let file = run.model_of(arm).map_or_else(|| "its model".into(), |file| file.path.display().to_string());
            let reason = format!(
                "When {arm} was started in block {block}, {:.1} % of {file} was in the page cache; `page_cache: {name}` needs \
                 {bound}.",
                100.0 * share
            );
            return Err(Outcome::new(Verdict::Invalid, reason).with_remedy(remedy));
        }
    }
    Ok(())
}

/// What was seen of a lane whose workload asks for it.
pub(super) fn row(run: Run<'_>, lane: Lane<'_>) -> Option<FactRow> {
    let asked = asked(run, lane)?;
    let shares = run.observed.processes(lane).iter().filter_map(|process| process.resident?.as_ref().ok().copied());
    let (bound, furthest): (_, fn(f64, f64) -> f64) = match asked {
        PageCache::Cold => ("at most", f64::max),
        PageCache::Warm => ("at least", f64::min),
    };
    let share = 100.0 * shares.reduce(furthest)?;
    let value = format!("{}: {bound} {share:.1} % of the model's file when a process was started", asked.name());
    Some(fact(&format!("page cache of {}", lane.arm), value))
}
