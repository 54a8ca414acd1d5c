//! Facts that come before any statistic: whether a lane was measured at all, and whether what it measured can be believed.

use super::observed::{Lane, Observed, Process};
use super::outcome::Outcome;
use super::{age, gpu, honest, load, page_cache, place, tolerance, words};
use crate::report::model::Verdict;
use crate::samples::{Disagreement, Environment, Row, TokenCheck};
use crate::spec::{Arm, Families, OutputPolicy, Spec, Tolerance};
use qa_protocol::{Device, Metric, Sampling};

/// What a claim needs to know of a run.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The resolved specification.
    pub spec: &'a Spec,
    /// Where it ran.
    pub environment: &'a Environment,
    /// What it left.
    pub observed: &'a Observed<'a>,
    /// How many claims share the error of each family.
    pub families: &'a Families<'a>,
    /// Whether this is a look in the midst of the run, when no output has been checked yet.
    pub looking: bool,
    /// How the report violates the published schema; known once there is a report.
    pub schema_violation: Option<&'a str>,
}

/// How much more than the measured bandwidth a rate may ask for before it is impossible: the error of measuring it.
const ROOFLINE_SLACK: f64 = 1.02;

impl<'a> Run<'a> {
    /// An arm of the specification. Validation saw to it that every name resolves.
    pub fn arm(&self, name: &str) -> Option<&'a Arm> {
        self.spec.arms.get(name)
    }

    /// The most frequent tensor type of an arm's model, or nothing for an arm without one.
    pub fn format(&self, arm: &str) -> &'a str {
        self.model_of(arm).map_or("", |m| m.format.as_str())
    }

    /// The model file of an arm.
    pub fn model_of(&self, arm: &str) -> Option<&'a crate::samples::ModelFile> {
        self.environment.models.get(self.arm(arm)?.model.as_ref()?)
    }

    /// The processes of a lane, or why there are none to be judged.
    ///
    /// # Errors
    /// The outcome of every claim that needs the lane.
    pub fn measured(&self, lane: Lane<'_>) -> Result<&'a [Process<'a>], Outcome> {
        if let Some(loss) = self.observed.ruled_out(lane) {
            return Err(Outcome::of_loss(lane.arm, loss));
        }
        let processes = self.observed.processes(lane);
        if processes.is_empty() {
            return Err(match self.observed.losses(crate::samples::Phase::Measure, lane.workload, lane.arm).last() {
                Some(loss) => Outcome::of_loss(lane.arm, loss),
                None => Outcome::new(
                    Verdict::Error,
                    format!("{} was not measured in workload {}: the run is unfinished.", lane.arm, lane.workload),
                )
                .with_remedy("finish it with `qa run --resume`"),
            });
        }
        Ok(processes)
    }

    /// The first fact that makes a lane's samples worthless.
    ///
    /// # Errors
    /// The outcome of every claim that rests on them.
    pub fn valid(&self, lane: Lane<'_>) -> Result<(), Outcome> {
        let processes = self.measured(lane)?;
        self.output(lane)?;
        place::one_device(lane, processes)?;
        page_cache::gate(*self, lane, processes)?;
        gpu::gate(*self, lane.arm, processes)?;
        age::gate(*self, lane, processes)?;
        no_circles(lane, processes)?;
        self.roofline(lane, processes)?;
        load::gate(*self, lane, processes)?;
        honest::gate(*self, lane, processes)
    }

    /// Whether the arm's output was checked and is right.
    ///
    /// # Errors
    /// INVALID when it is wrong, BLOCKED when nothing could check it and the specification does not waive the check.
    fn output(&self, lane: Lane<'_>) -> Result<(), Outcome> {
        let Some(arm) = self.arm(lane.arm) else { return Ok(()) };
        let check = self.observed.tokens(lane.workload, lane.arm);
        if let Some(check @ TokenCheck { oracle: Ok(oracle), .. }) = check {
            return self.tokens_right(lane, arm, check, oracle);
        }
        let pending = self.looking && check.is_none();
        if pending || arm.output == Some(OutputPolicy::Unchecked) || !self.greedy(lane.workload) {
            return Ok(());
        }
        let why = match check {
            Some(TokenCheck { oracle: Err(why), .. }) => why.as_str(),
            _ => "it returned no tokens, or the run ended before they were checked",
        };
        Err(Outcome::new(Verdict::Blocked, format!("The output of {} could not be checked: {why}.", lane.arm))
            .with_remedy("give the arm a model that the oracle can run, or waive the check with `output: unchecked`"))
    }

    fn tokens_right(&self, lane: Lane<'_>, arm: &Arm, check: &TokenCheck, oracle: &str) -> Result<(), Outcome> {
        if !self.greedy(lane.workload) {
            return Ok(());
        }
        let bar = tolerance::bars(&Tolerance::Default, arm.backend, self.format(lane.arm)).top1_margin;
        let too_far = |d: &&Disagreement| d.nats.is_nan() || d.nats > bar;
        let wrong: Vec<_> = check.disagreements.iter().filter(too_far).collect();
        let Some(first) = wrong.first() else { return others_right(lane, check, bar, oracle) };
        let constant = self
            .observed
            .processes(lane)
            .iter()
            .flat_map(|p| p.timed.iter())
            .filter_map(|s| s.tokens)
            .any(|t| t.len() > 2 && t.iter().all(|id| *id == t[0]));
        let nature = if constant { " It is one token, repeated." } else { "" };
        invalid(format!(
            "The output of {} is wrong: {} of {} tokens are not what {oracle} would choose; the first, at index {}, is {} \
             in place of {}, which is {:.2} nats likelier (allowed: {bar}).{nature}",
            lane.arm,
            wrong.len(),
            check.checked,
            first.index,
            first.token,
            first.oracle_token,
            first.nats
        ))
    }

    /// How the output was checked, for a reader.
    pub fn output_words(&self, lane: Lane<'_>) -> String {
        match self.observed.tokens(lane.workload, lane.arm) {
            Some(TokenCheck { oracle: Ok(_), timed: true, .. }) if self.greedy(lane.workload) => {
                "checked in the timed iterations".into()
            }
            Some(TokenCheck { oracle: Ok(_), timed: false, .. }) if self.greedy(lane.workload) => {
                "checked beside the timed program".into()
            }
            _ => "not checked".into(),
        }
    }

    fn greedy(&self, workload: &str) -> bool {
        self.spec.workloads.get(workload).is_none_or(|w| w.sampling == Sampling::Greedy)
    }

    /// What a device can read, in bytes a second: as the worker says, or another one that measured the same card.
    fn ceiling(&self, device: &Device) -> Option<f64> {
        let best = device.uuid.as_deref().and_then(|uuid| self.observed.bandwidth(uuid));
        device.read_bytes_per_s.max(best).map(|bytes| bytes as f64)
    }

    /// A decode rate that reads the weights faster than the device can is not a decode rate. Where tokens are drafted a pass over
    /// the weights may decide several.
    fn roofline(&self, lane: Lane<'_>, processes: &[Process<'_>]) -> Result<(), Outcome> {
        let bytes = self.model_of(lane.arm).map_or(0, |m| m.bytes_per_token) as f64;
        for process in processes {
            let device = &process.prepared.device;
            let (Some(ceiling), Some(rate)) = (self.ceiling(device), process.value(Metric::DecodeRate)) else {
                continue;
            };
            let read = bytes * rate * passes_per_token(process);
            if read > ceiling * ROOFLINE_SLACK {
                return invalid(format!(
                    "{} reports {rate:.0} tok/s, which reads {} GB/s of weights; {} reads at most {} GB/s.",
                    lane.arm,
                    words::number(read / 1e9),
                    device.name,
                    words::number(ceiling / 1e9)
                ));
            }
        }
        Ok(())
    }
}

/// What the timed output alone does not show: whether others than those that were checked are right, and whether a prompt
/// that the arm had not seen gets the right output too.
fn others_right(lane: Lane<'_>, check: &TokenCheck, bar: f64, oracle: &str) -> Result<(), Outcome> {
    if let Some(first) = check.unseen.iter().find(|d| d.nats.is_nan() || d.nats > bar) {
        return invalid(format!(
            "The output of {} is right after the prompt that is timed and wrong after one that it had not seen: at index {} it is \
             {} where {oracle} would choose {}, which is {:.2} nats likelier (allowed: {bar}). What was timed was not \
             computed.",
            lane.arm, first.index, first.token, first.oracle_token, first.nats
        ));
    }
    if check.unchecked_outputs == 0 {
        return Ok(());
    }
    let of = check.distinct_outputs;
    Err(Outcome::new(
        Verdict::Blocked,
        format!(
            "{} gave {of} different outputs to one prompt, without any chance in it; {} are right, and the others were not \
             checked.",
            lane.arm,
            of - check.unchecked_outputs
        ),
    )
    .with_remedy("make the arm deterministic, or waive the check with `output: unchecked`"))
}

/// Passes over the weights a token: 1 where nothing was drafted.
fn passes_per_token(process: &Process<'_>) -> f64 {
    let tokens: f64 = process.timed.iter().map(|row| f64::from(row.work.decode_tokens)).sum();
    let passes =
        |row: Row<'_>| row.work.witness.drafts.map_or(f64::from(row.work.decode_tokens), |drafts| drafts.passes as f64);
    if tokens > 0.0 { process.timed.iter().map(passes).sum::<f64>() / tokens } else { 1.0 }
}

/// Drafts out of a text that goes in circles are always right, which says nothing of other text.
fn no_circles(lane: Lane<'_>, processes: &[Process<'_>]) -> Result<(), Outcome> {
    let samples = processes.iter().flat_map(|process| process.timed.iter());
    let circles = samples.filter_map(|sample| sample.work.witness.drafts?.cycles_from).min();
    let Some(tokens) = circles else { return Ok(()) };
    let reason = format!(
        "The text of {} repeats itself after {tokens} tokens, and its drafts are taken from that text: they are right because it does.",
        lane.arm
    );
    let remedy = format!("generate at most {tokens} tokens, or begin with another text");
    Err(Outcome::new(Verdict::Invalid, reason).with_remedy(remedy))
}

pub(super) fn invalid(reason: String) -> Result<(), Outcome> {
    Err(Outcome::new(Verdict::Invalid, reason))
}
