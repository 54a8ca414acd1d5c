//! Facts that come before any statistic: whether a lane was measured at all, and whether what it measured can be believed.

use super::observed::{Lane, Observed, Process};
use super::outcome::Outcome;
use super::{gpu, tolerance};
use crate::report::model::Verdict;
use crate::samples::{Environment, TokenCheck};
use crate::spec::{Arm, OutputPolicy, Spec, Tolerance};
use qa_protocol::{Metric, Sampling};

/// What a claim needs to know of a run.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The resolved specification.
    pub spec: &'a Spec,
    /// Where it ran.
    pub environment: &'a Environment,
    /// What it left.
    pub observed: &'a Observed<'a>,
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
        one_device(lane, processes)?;
        gpu::gate(*self, lane.arm, processes)?;
        self.roofline(lane, processes)
    }

    /// The first fact that makes two lanes incomparable.
    ///
    /// # Errors
    /// The outcome of every claim that compares them.
    pub fn comparable(&self, of: Lane<'_>, over: Lane<'_>) -> Result<(), Outcome> {
        let (Some(a), Some(b)) = (self.measured(of)?.first(), self.measured(over)?.first()) else { return Ok(()) };
        if let (Some(file_a), Some(file_b)) = (self.model_of(of.arm), self.model_of(over.arm))
            && file_a.sha256 != file_b.sha256
        {
            return invalid(format!(
                "{} and {} ran different model files ({:.12} and {:.12}).",
                of.arm, over.arm, file_a.sha256, file_b.sha256
            ));
        }
        let (da, db) = (&a.prepared.device, &b.prepared.device);
        if da.kind != db.kind || (da.uuid.is_some() && db.uuid.is_some() && da.uuid != db.uuid) {
            return invalid(format!(
                "{} ran on {} and {} on {}: a comparison needs one device.",
                of.arm, da.name, over.arm, db.name
            ));
        }
        gpu::same_clock(of.arm, self.measured(of)?, over.arm, self.measured(over)?)?;
        let prompt = |p: &Process<'_>| p.timed.first().map(|s| s.prompt_tokens);
        if prompt(a) != prompt(b) {
            return invalid(format!(
                "{} evaluated a prompt of {:?} tokens and {} one of {:?}: a comparison needs the same.",
                of.arm,
                prompt(a).unwrap_or_default(),
                over.arm,
                prompt(b).unwrap_or_default()
            ));
        }
        Ok(())
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
        let wrong: Vec<_> = check.disagreements.iter().filter(|d| d.nats.is_nan() || d.nats > bar).collect();
        let Some(first) = wrong.first() else { return Ok(()) };
        let constant = self
            .observed
            .processes(lane)
            .iter()
            .flat_map(|p| &p.timed)
            .filter_map(|s| s.tokens.as_deref())
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

    /// A decode rate that reads the weights faster than the device can is not a decode rate.
    fn roofline(&self, lane: Lane<'_>, processes: &[Process<'_>]) -> Result<(), Outcome> {
        let bytes = self.model_of(lane.arm).map_or(0, |m| m.bytes_per_token) as f64;
        for process in processes {
            let device = &process.prepared.device;
            let (Some(ceiling), Some(rate)) =
                (device.read_bytes_per_s.map(|b| b as f64), process.value(Metric::DecodeRate))
            else {
                continue;
            };
            if bytes * rate > ceiling * ROOFLINE_SLACK {
                return invalid(format!(
                    "{} reports {rate:.0} tok/s, which reads {:.0} GB/s of weights; {} reads at most {:.0} GB/s.",
                    lane.arm,
                    bytes * rate / 1e9,
                    device.name,
                    ceiling / 1e9
                ));
            }
        }
        Ok(())
    }
}

fn one_device(lane: Lane<'_>, processes: &[Process<'_>]) -> Result<(), Outcome> {
    let Some(first) = processes.first().map(|p| &p.prepared.device) else { return Ok(()) };
    match processes.iter().map(|p| &p.prepared.device).find(|d| d.kind != first.kind || d.uuid != first.uuid) {
        None => Ok(()),
        Some(other) => {
            invalid(format!("{} ran on {} and later on {}: one arm, one device.", lane.arm, first.name, other.name))
        }
    }
}

fn invalid(reason: String) -> Result<(), Outcome> {
    Err(Outcome::new(Verdict::Invalid, reason))
}
