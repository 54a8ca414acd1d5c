//! What a specification asks for, as steps in their order. Pure: the same specification gives the same plan.
//!
//! Workloads first, in the order in which claims name them: blocks of fresh processes, every arm that a claim needs there.
//! Then the oracle checks the tokens, decodes are looked at, scores are compared, long decodes run, and programs last, so that nothing disturbs
//! what is timed.

mod load;
mod needs;
mod order;
mod select;
mod unseen;

pub use load::requests;
pub use needs::{Need, needs};
pub use order::turn;
pub use select::{matches, select};
pub use unseen::{UNSEEN_ASKED, unseen_prompt, unseen_tokens};

use crate::spec::{Correct, Program, Require, SamplingPlan, Soak, Spec};
use qa_protocol::Metric;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What the oracle is called where an arm's name is expected.
pub const ORACLE: &str = "reference";

/// A specification's steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Workloads with their blocks, in order.
    pub groups: Vec<Group>,
    /// Decodes to be looked at, in order.
    pub profiles: Vec<ProfileStep>,
    /// Texts to be scored, in order.
    pub scores: Vec<ScoreStep>,
    /// Long decodes, in order.
    pub soaks: Vec<SoakStep>,
    /// Programs to be run, in order.
    pub programs: Vec<ProgramStep>,
}

/// A workload and every lane that is measured there.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The workload.
    pub workload: String,
    /// Lanes, sorted. [`Group::order`] says in which order a block runs them.
    pub members: Vec<Member>,
    /// What each arm is asked for: the union over the claims that need it here.
    pub metrics: BTreeMap<String, Vec<Metric>>,
    /// Which arms each claim needs together. An arm none of whose claims can still be judged need not run.
    pub claims: BTreeSet<BTreeSet<String>>,
    /// Block counts at which the run may stop; the last is the most that is run.
    pub looks: Vec<u32>,
    /// What its arms were in earlier runs, where a claim compares with that.
    pub baselines: BTreeSet<BaselineStep>,
}

/// An arm of an earlier run, to be looked up in the history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaselineStep {
    /// The workload.
    pub workload: String,
    /// The branch, as the history has it.
    pub branch: String,
    /// The arm, as that run calls it.
    pub arm: String,
}

impl BaselineStep {
    /// What a claim compares its arm with; nothing where that is no earlier run.
    pub fn of(require: &Require, workload: &str) -> Option<Self> {
        let baseline = require.baseline()?;
        let arm = baseline.arm.as_ref().unwrap_or(&require.of).clone();
        Some(Self { workload: workload.to_owned(), branch: baseline.baseline.clone(), arm })
    }
}

/// One lane of a block: an arm, or the second side of its control.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The arm.
    pub arm: String,
    /// 0, or 1 for the second side of a control that compares an arm with itself.
    pub side: u8,
}

/// A text to be scored by an arm and by what it is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreStep {
    /// The entry that asks, by id.
    pub entry: String,
    /// What it asks.
    pub check: Correct,
}

/// A decode that is looked at, after the arm was timed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProfileStep {
    /// The workload.
    pub workload: String,
    /// The arm.
    pub arm: String,
}

/// A long decode.
#[derive(Clone, Debug, PartialEq)]
pub struct SoakStep {
    /// The entry that asks, by id.
    pub entry: String,
    /// The workload that is repeated.
    pub workload: String,
    /// What it asks.
    pub check: Soak,
}

/// A program to be run.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramStep {
    /// The entry that asks, by id.
    pub entry: String,
    /// What it asks.
    pub check: Program,
}

/// A claim names something that is not there. Validation refuses this earlier, with line and column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` needs the {what} `{name}`, which the specification does not define")]
pub struct PlanError {
    /// The entry.
    pub entry: String,
    /// `arm` or `workload`.
    pub what: &'static str,
    /// The name.
    pub name: String,
}

impl Plan {
    /// The plan of a valid specification.
    ///
    /// # Errors
    /// [`PlanError`], for a specification that did not pass validation.
    pub fn new(spec: &Spec) -> Result<Self, PlanError> {
        let mut plan = Self {
            groups: Vec::new(),
            profiles: Vec::new(),
            scores: Vec::new(),
            soaks: Vec::new(),
            programs: Vec::new(),
        };
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for need in needs(spec)? {
            let place = *places.entry(need.workload.clone()).or_insert(plan.groups.len());
            if place == plan.groups.len() {
                plan.groups.push(Group::new(&need.workload, &spec.sampling));
            }
            plan.groups[place].add(&need);
        }
        let mut looked_at: BTreeSet<(String, String)> = BTreeSet::new();
        for (_, entry) in spec.entries() {
            let baseline = entry
                .require
                .as_ref()
                .and_then(|require| BaselineStep::of(require, spec.workload_name(require.workload.as_deref())));
            if let Some(step) = baseline
                && let Some(place) = places.get(&step.workload)
            {
                plan.groups[*place].baselines.insert(step);
            }
            let witness = entry.witness.as_ref().map(|check| (&check.arm, &check.workload));
            let timeline = entry.timeline.as_ref().map(|check| (&check.of, &check.workload));
            for (arm, workload) in witness.into_iter().chain(timeline) {
                let workload = needs::workload_of(spec, entry, workload.as_deref())?;
                if looked_at.insert((workload.clone(), arm.clone())) {
                    plan.profiles.push(ProfileStep { workload, arm: arm.clone() });
                }
            }
            if let Some(check) = &entry.correct {
                plan.scores.push(ScoreStep { entry: entry.id.clone(), check: check.clone() });
            }
            if let Some(check) = &entry.soak {
                let workload = needs::workload_of(spec, entry, check.workload.as_deref())?;
                plan.soaks.push(SoakStep { entry: entry.id.clone(), workload, check: check.clone() });
            }
            if let Some(check) = &entry.program {
                plan.programs.push(ProgramStep { entry: entry.id.clone(), check: check.clone() });
            }
        }
        Ok(plan)
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.scores.is_empty() && self.soaks.is_empty() && self.programs.is_empty()
    }

    /// Every arm that some step runs, the oracle not included.
    pub fn arms(&self) -> BTreeSet<&str> {
        let measured = self.groups.iter().flat_map(|g| g.members.iter().map(|m| m.arm.as_str()));
        let scored = self.scores.iter().flat_map(|s| [s.check.arm.as_str(), s.check.against.as_str()]);
        let soaked = self.soaks.iter().map(|s| s.check.of.as_str());
        measured.chain(scored.filter(|name| *name != ORACLE)).chain(soaked).collect()
    }
}

impl Group {
    fn new(workload: &str, sampling: &SamplingPlan) -> Self {
        Self {
            workload: workload.into(),
            members: Vec::new(),
            metrics: BTreeMap::new(),
            claims: BTreeSet::new(),
            looks: sampling.looks(),
            baselines: BTreeSet::new(),
        }
    }

    fn add(&mut self, need: &Need) {
        for member in &need.members {
            if let Err(at) = self.members.binary_search(member) {
                self.members.insert(at, member.clone());
            }
            let metrics = self.metrics.entry(member.arm.clone()).or_default();
            if let Err(at) = metrics.binary_search(&need.metric) {
                metrics.insert(at, need.metric);
            }
        }
        self.claims.insert(need.members.iter().map(|m| m.arm.clone()).collect());
    }

    /// The most blocks that are run.
    pub fn blocks(&self) -> u32 {
        self.looks.last().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
