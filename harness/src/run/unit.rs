//! One step of a run by itself, by the same code that runs it among others.

use super::execute::{Halt, Outcome, RunError, Runner, Setup};
use super::journal::Journal;
use super::{measure, profile, score, soak, verify};
use crate::plan::ProfileStep;
use crate::samples::Loss;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A step that can be run apart from the others. What it means is settled by the specification that it is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub enum Unit {
    /// One attempt at a block: every arm once, in order.
    Block {
        /// The workload.
        workload: String,
        /// Counts from 0.
        block: u32,
        /// Counts from 0.
        attempt: u32,
        /// Whether it goes on without whom it loses.
        last: bool,
        /// Arms that earlier blocks ruled out, as far as is known when it is begun.
        out: BTreeMap<String, Loss>,
    },
    /// The oracle's check of an arm's tokens, which are among the `records` before it.
    Tokens {
        /// The workload.
        workload: String,
        /// The arm.
        arm: String,
        /// The place of the oracle's process.
        place: u32,
        /// How many distinct outputs the arm has so far.
        outputs: u32,
        /// How many records stand before it.
        records: u64,
    },
    /// A decode that is looked at.
    Profile {
        /// The workload.
        workload: String,
        /// The arm.
        arm: String,
        /// How many records stand before it: whether the arm can be profiled is in what it delivered.
        records: u64,
    },
    /// A text that is scored.
    Scores {
        /// The entry that asks, by id.
        entry: String,
    },
    /// A long decode.
    Soak {
        /// The entry that asks, by id.
        entry: String,
    },
}

impl Unit {
    /// What the step is, for people.
    pub fn words(&self) -> String {
        match self {
            Self::Block { workload, block, attempt: 0, .. } => format!("block {} of {workload}", block + 1),
            Self::Block { workload, block, attempt, .. } => {
                format!("block {} of {workload}, attempt {}", block + 1, attempt + 1)
            }
            Self::Tokens { workload, arm, .. } => format!("the oracle's check of {arm} in {workload}"),
            Self::Profile { workload, arm, .. } => format!("the profile of {arm} in {workload}"),
            Self::Scores { entry } => format!("the scores of {entry}"),
            Self::Soak { entry } => format!("the long decode of {entry}"),
        }
    }

    /// Whether both are one step of one run, whatever was known when each was begun.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Block { workload: a, block: b, attempt: c, .. },
                Self::Block { workload: x, block: y, attempt: z, .. },
            ) => (a, b, c) == (x, y, z),
            (
                Self::Tokens { workload: a, arm: b, outputs: c, .. },
                Self::Tokens { workload: x, arm: y, outputs: z, .. },
            ) => (a, b, c) == (x, y, z),
            (Self::Profile { workload: a, arm: b, .. }, Self::Profile { workload: x, arm: y, .. }) => (a, b) == (x, y),
            _ => self == other,
        }
    }

    /// How many records of the run stand before it that it needs.
    pub fn needs_records(&self) -> Option<u64> {
        match self {
            Self::Tokens { records, .. } | Self::Profile { records, .. } => Some(*records),
            Self::Block { .. } | Self::Scores { .. } | Self::Soak { .. } => None,
        }
    }
}

/// Run one step. The journal holds what the step needs of the steps before it.
///
/// # Errors
/// [`RunError`] when evidence cannot be written, or the plan has no such step. What a worker does is never an error.
pub fn run(setup: &Setup<'_>, journal: &mut Journal<'_>, unit: &Unit) -> Result<Outcome, RunError> {
    let ran = one(&mut Runner::new(*setup, journal), unit);
    journal.sync()?;
    match ran {
        Ok(()) => Ok(Outcome::Finished),
        Err(Halt::Interrupted) => Ok(Outcome::Interrupted),
        Err(Halt::Error(error)) => Err(error),
    }
}

fn one(runner: &mut Runner<'_, '_>, unit: &Unit) -> Result<(), Halt> {
    let plan = runner.setup.plan;
    let unknown = || Halt::Error(RunError::UnknownStep { step: unit.words() });
    match unit {
        Unit::Block { workload, block, attempt, last, out } => {
            let group = plan.groups.iter().find(|group| group.workload == *workload).ok_or_else(unknown)?;
            if *block >= group.blocks() {
                return Err(unknown());
            }
            measure::unit(runner, group, (*block, *attempt, *last), out)
        }
        Unit::Tokens { workload, arm, place, .. } => {
            let known = plan.groups.iter().any(|g| g.workload == *workload && g.members.iter().any(|m| m.arm == *arm));
            if known { verify::one(runner, 0, (workload, arm), *place) } else { Err(unknown()) }
        }
        Unit::Profile { workload, arm, .. } => {
            let step = ProfileStep { workload: workload.clone(), arm: arm.clone() };
            runner.can_profile = profile::able(runner.journal.records());
            if plan.profiles.contains(&step) { profile::run(runner, &step) } else { Err(unknown()) }
        }
        Unit::Scores { entry } => {
            score::run(runner, plan.scores.iter().find(|step| step.entry == *entry).ok_or_else(unknown)?)
        }
        Unit::Soak { entry } => {
            soak::run(runner, plan.soaks.iter().find(|step| step.entry == *entry).ok_or_else(unknown)?)
        }
    }
}
