//! A long decode: one process that is asked to run again and again.

use super::event::Event;
use super::execute::{Halt, Runner};
use super::footprint;
use super::journal::Recorded;
use super::unit::Unit;
use super::worker::{refusal, single};
use crate::plan::SoakStep;
use crate::samples::{Evidence, Loss, LossCause, Phase, Record, Stage};
use qa_protocol::{Metric, RunRequest, Sample};
use std::time::Instant;

/// Fewer iterations cannot show a drift from the first fifth to the last.
const ITERATIONS_AT_LEAST: u32 = 10;
/// A worker whose iterations take this many times longer than they say never ends: it is given up.
const PATIENCE: f64 = 20.0;

/// Decode for as long as the claim says. Nothing is tried again: a fault is what the claim is about.
pub(super) fn run(runner: &mut Runner<'_, '_>, step: &SoakStep) -> Result<(), Halt> {
    let iterations = runner.setup.spec.sampling.iterations.max(1);
    let name = || format!("the long decode of {}", step.entry);
    let recorded = |left: &[Record]| recorded(left, step, iterations);
    let unit = |_| Unit::Soak { entry: step.entry.clone() };
    if runner.walk(&name, &recorded, &unit)?.is_some() {
        return Ok(());
    }
    if let Some(loss) = runner.setup.refused.get(&step.check.of).cloned() {
        let process = single(Phase::Soak, &step.entry, &step.check.of, 0);
        runner.journal.append(Evidence::Lost { process, loss })?;
        return Ok(runner.journal.sync()?);
    }
    runner.journal.note(Event::Soaking {
        entry: step.entry.clone(),
        arm: step.check.of.clone(),
        seconds: step.check.run_s,
    })?;
    decode(runner, step, iterations)?;
    Ok(runner.journal.sync()?)
}

/// How far a long decode has come. Its clock is the worker's own: what it did not decode does not count.
#[derive(Clone, Copy, Default)]
struct Progress {
    seconds: f64,
    timed: u32,
}

impl Progress {
    fn add(&mut self, sample: &Sample) {
        if !sample.warmup {
            self.seconds += (sample.prefill_ns.unwrap_or(0.0) + sample.decode_ns.unwrap_or(0.0)) * 1e-9;
            self.timed += 1;
        }
    }

    fn done(self, step: &SoakStep, iterations: u32) -> bool {
        self.timed.is_multiple_of(iterations) && self.timed >= ITERATIONS_AT_LEAST && self.seconds >= step.check.run_s
    }
}

/// The step ends with a loss, or with the last sample of the request that made the time full.
fn recorded(left: &[Record], step: &SoakStep, iterations: u32) -> Recorded {
    let mut progress = Progress::default();
    for (index, record) in left.iter().enumerate() {
        let ours = |p: &crate::samples::ProcessKey| p.phase == Phase::Soak && p.workload == step.entry;
        match &record.evidence {
            Evidence::Process { process, .. } | Evidence::Footprint { process, .. } if ours(process) => {}
            Evidence::Lost { process, .. } if ours(process) => return Recorded::Whole(index + 1),
            Evidence::Sample { process, sample, .. } if ours(process) => {
                progress.add(sample);
                if !sample.warmup && progress.done(step, iterations) {
                    return Recorded::Whole(index + 1);
                }
            }
            _ => return Recorded::Foreign(index),
        }
    }
    Recorded::Part
}

fn decode(runner: &mut Runner<'_, '_>, step: &SoakStep, iterations: u32) -> Result<(), Halt> {
    let spec = runner.setup.spec;
    let (Some(arm), Some(workload)) = (spec.arms.get(&step.check.of), spec.workloads.get(&step.workload)) else {
        unreachable!("a plan names only what its specification defines");
    };
    let key = single(Phase::Soak, &step.entry, &step.check.of, 0);
    let begun = Instant::now();
    let delivery = runner.converse(&key, arm, 1, |runner, ready| {
        let prompt = match runner.setup.inputs.prompt(&step.workload, arm.model.as_deref()) {
            Ok(prompt) => prompt.to_vec(),
            Err(cause) => return Ok(Err(refusal(Stage::Run, cause))),
        };
        let mut request = RunRequest {
            prompt,
            generate_tokens: workload.generate_tokens,
            sampling: workload.sampling,
            ignore_eos: workload.ignore_eos,
            warmup: spec.sampling.warmup,
            iterations,
            metrics: vec![Metric::DecodeRate],
            tokens: false,
            load: None,
        };
        let mut progress = Progress::default();
        loop {
            if let Err(loss) = runner.iterate(&key, ready, &request, None, &mut |sample| progress.add(sample))? {
                return Ok(Err(loss));
            }
            runner.journal.sync()?;
            runner.check_interrupt()?;
            if progress.done(step, iterations) {
                return Ok(Ok(()));
            }
            let patience = PATIENCE * step.check.run_s + 60.0;
            if begun.elapsed().as_secs_f64() > patience {
                return Ok(Err(Loss {
                    stage: Stage::Run,
                    cause: LossCause::Deadline(patience),
                    message: format!(
                        "After {patience:.0} s it had decoded for {:.0} s by its own clock, of {} s.",
                        progress.seconds, step.check.run_s
                    ),
                    stderr_tail: Vec::new(),
                }));
            }
            request.warmup = 0;
            if let Some(group) = ready.session.group() {
                let (worker, harness) = (footprint::of_group(group), footprint::own());
                runner.journal.append_and_forget(Evidence::Footprint { process: key.clone(), worker, harness })?;
            }
        }
    })?;
    match delivery {
        Ok(()) => Ok(()),
        Err(loss) => Ok(runner.journal.append(Evidence::Lost { process: key, loss })?),
    }
}
