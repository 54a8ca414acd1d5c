//! What arms were in earlier runs: taken over from the history before a workload's blocks, so that a run's folder holds all
//! that its verdicts rest on.

use super::execute::{Halt, Runner};
use super::journal::Recorded;
use crate::plan::{BaselineStep, Group};
use crate::samples::{Baseline, Evidence, Record};
use std::collections::BTreeMap;

/// What the history says of each, or why it says nothing.
pub type Baselines = BTreeMap<BaselineStep, Result<Box<Baseline>, String>>;

/// Record what the claims about a workload compare with.
pub(super) fn record(runner: &mut Runner<'_, '_>, group: &Group) -> Result<(), Halt> {
    for step in &group.baselines {
        let name = || format!("the baseline {} of {} in {}", step.branch, step.arm, step.workload);
        if runner.journal.replay(&name, |left| recorded(left, step))?.is_some() {
            continue;
        }
        let nothing = || Err("nobody looked into a history".to_owned());
        let found = runner.setup.baselines.get(step).cloned().unwrap_or_else(nothing);
        let BaselineStep { workload, branch, arm } = step.clone();
        runner.journal.append(Evidence::Baseline { workload, branch, arm, found })?;
        runner.journal.sync()?;
    }
    Ok(())
}

fn recorded(left: &[Record], step: &BaselineStep) -> Recorded {
    match left.first().map(|record| &record.evidence) {
        Some(Evidence::Baseline { workload, branch, arm, .. })
            if (workload, branch, arm) == (&step.workload, &step.branch, &step.arm) =>
        {
            Recorded::Whole(1)
        }
        Some(_) => Recorded::Foreign(0),
        None => Recorded::Part,
    }
}
