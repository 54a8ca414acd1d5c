//! A decode that is looked at in a process of its own, after the arm was timed: which kernels ran, and when.

use super::event::Event;
use super::execute::{Halt, Runner};
use super::journal::Recorded;
use super::unit::Unit;
use super::worker::{refusal, single};
use crate::plan::ProfileStep;
use crate::samples::{Evidence, Phase, ProcessKey, Record, Stage};
use qa_protocol::ProfileRequest;
use std::collections::BTreeSet;

/// Profile an arm that was measured, and whose backend can. For any other there is nothing to be recorded: why there is no
/// profile is in the records already.
pub(super) fn run(runner: &mut Runner<'_, '_>, step: &ProfileStep) -> Result<(), Halt> {
    if !runner.can_profile.contains(step) {
        return Ok(());
    }
    let name = || format!("the profile of {} in {}", step.arm, step.workload);
    let unit = |records| Unit::Profile { workload: step.workload.clone(), arm: step.arm.clone(), records };
    if runner.walk(&name, &|left| recorded(left, step), &unit)?.is_some() {
        return Ok(());
    }
    runner.journal.note(Event::Profiling { workload: step.workload.clone(), arm: step.arm.clone() })?;
    let spec = runner.setup.spec;
    let (Some(arm), Some(workload)) = (spec.arms.get(&step.arm), spec.workloads.get(&step.workload)) else {
        unreachable!("a plan names only what its specification defines");
    };
    let key = single(Phase::Profile, &step.workload, &step.arm, 0);
    let delivery = runner.converse(&key, arm, 1, |runner, ready| {
        let prompt = match runner.setup.inputs.prompt(&step.workload, arm.model.as_deref()) {
            Ok(prompt) => prompt.to_vec(),
            Err(cause) => return Ok(Err(refusal(Stage::Profile, cause))),
        };
        Ok(ready.session.profile(&ProfileRequest {
            prompt,
            generate_tokens: workload.generate_tokens,
            sampling: workload.sampling,
            ignore_eos: workload.ignore_eos,
        }))
    })?;
    runner.journal.append(match delivery {
        Ok(profile) => Evidence::Profile { process: key, profile },
        // Nothing that was timed depends on it, so it is not tried again.
        Err(loss) => Evidence::Lost { process: key, loss },
    })?;
    Ok(runner.journal.sync()?)
}

/// What can be profiled: arms of which a process delivered samples, and said that it can be.
pub(super) fn able(records: &[Record]) -> BTreeSet<ProfileStep> {
    let mut said: Option<&ProcessKey> = None;
    let mut able = BTreeSet::new();
    for record in records {
        match &record.evidence {
            Evidence::Process { process, hello, .. } => said = hello.capabilities.profile.then_some(process),
            Evidence::Sample { process, .. } if process.phase == Phase::Measure && said == Some(process) => {
                able.insert(ProfileStep { workload: process.workload.clone(), arm: process.arm.clone() });
                said = None;
            }
            _ => {}
        }
    }
    able
}

/// The step ends with the profile or with a loss.
fn recorded(left: &[Record], step: &ProfileStep) -> Recorded {
    let ours = |p: &ProcessKey| p.phase == Phase::Profile && p.workload == step.workload && p.arm == step.arm;
    for (index, record) in left.iter().enumerate() {
        match &record.evidence {
            Evidence::Process { process, .. } if ours(process) => {}
            Evidence::Profile { process, .. } | Evidence::Lost { process, .. } if ours(process) => {
                return Recorded::Whole(index + 1);
            }
            _ => return Recorded::Foreign(index),
        }
    }
    Recorded::Part
}
