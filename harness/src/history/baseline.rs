//! The last run of a branch in which nothing failed, as what a later run compares itself with.

use super::store::{Candidate, History};
use crate::exit;
use crate::plan::BaselineStep;
use crate::samples::Baseline;
use crate::verdict::{Lane, taken};
use std::path::Path;

/// How many runs of a branch are looked into, the newest first.
const MOST_TRIED: usize = 10;

/// An arm in the last run of a branch in which it was measured and nothing failed or was invalid: what regressed must not
/// become what the next run is held against. One that is blocked or undecided will do, since the first has no baseline itself.
///
/// # Errors
/// Why there is none, for the end of a sentence.
pub fn find(db: &Path, specification: &str, step: &BaselineStep) -> Result<Box<Baseline>, String> {
    if !db.is_file() {
        return Err(format!("there is no history at {}", db.display()));
    }
    let history = History::open(db).map_err(|e| e.to_string())?;
    let all = history.candidates(specification, &step.branch).map_err(|e| e.to_string())?;
    if all.is_empty() {
        return Err(format!(
            "{} has no run of the specification {specification} on the branch {}",
            db.display(),
            step.branch
        ));
    }
    let sound: Vec<&Candidate> =
        all.iter().filter(|run| [exit::OK, exit::INCONCLUSIVE, exit::BLOCKED].contains(&run.exit_code)).collect();
    let mut last = format!("in every one of its {} runs on the branch {} something failed", all.len(), step.branch);
    for run in sound.into_iter().take(MOST_TRIED) {
        match of_run(run, step) {
            Ok(baseline) => return Ok(Box::new(baseline)),
            Err(why) => last = format!("{} cannot be one: {why}", run.path),
        }
    }
    Err(last)
}

fn of_run(run: &Candidate, step: &BaselineStep) -> Result<Baseline, String> {
    let path = Path::new(&run.path);
    let (data, found) = super::run_of(path).map_err(|e| e.to_string())?;
    if found != run.samples_sha256 {
        return Err("its samples are not those that were added to the history".into());
    }
    let lane = Lane { workload: &step.workload, arm: &step.arm, side: 0 };
    taken(&data.spec, &data.environment, &data.records, lane, (&run.path, &found))
}
