//! The steps of a plan, in order.

use super::baseline::Baselines;
use super::elsewhere::{AwayError, Elsewhere};
use super::event::{Event, Unobserved};
use super::gpu::{Cards, Holds, NoCards};
use super::inputs::Inputs;
use super::journal::{ForeignRecord, Journal, JournalError};
use super::oracle::Opinions;
use super::session::Launcher;
use super::standing::is_refusal;
use super::store::{Memory, StoreError};
use super::{measure, profile, program, score, soak};
use crate::plan::{Plan, PlanError, ProfileStep};
use crate::samples::{Identity, Loss, LossCause, ModelFile, Place, Record};
use crate::spec::{Arm, Backend, Spec};
use qa_protocol::{Failure, ModelRef};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a run is about. Nothing in it changes while it runs.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// The resolved specification.
    pub spec: &'a Spec,
    /// Its steps.
    pub plan: &'a Plan,
    /// Its model files, by name.
    pub models: &'a BTreeMap<String, ModelFile>,
    /// Its prompts and texts, as token ids.
    pub inputs: &'a Inputs,
    /// The folder that its programs run in.
    pub directory: &'a Path,
    /// Where the oracle's opinions are kept from run to run, and the locks of cards are; nowhere when absent.
    pub cache: Option<&'a Path>,
    /// Starts workers.
    pub launcher: &'a dyn Launcher,
    /// The cards to be watched while arms are timed.
    pub cards: &'a dyn Cards,
    /// Arms that cannot run here, as [`refused`] found before anything was prepared.
    pub refused: &'a BTreeMap<String, Loss>,
    /// What arms were in earlier runs.
    pub baselines: &'a Baselines,
    /// Something of this run alone that no worker is told, such as when it began.
    pub salt: &'a str,
    /// Cards that blocks take turns on, by identity. A block is on one of them; where there are none, its workers see every
    /// card of the machine.
    pub spread: &'a [String],
    /// The machine that workers run on; a simulation has none.
    pub place: Option<&'a Place>,
    /// Who has the steps run on other machines; they are run here when absent.
    pub elsewhere: Option<&'a dyn Elsewhere>,
    /// Becomes true when the user wants the run to end.
    pub interrupted: &'a AtomicBool,
}

/// Arms that wait for hardware that is not here. It is known before their models are made and without starting a worker.
pub fn refused(spec: &Spec, launcher: &dyn Launcher) -> BTreeMap<String, Loss> {
    let waiting = spec.arms.iter().filter(|(_, arm)| arm.backend == Backend::Native);
    let loss = |arm| launcher.check(arm).err().filter(is_refusal);
    waiting.filter_map(|(name, arm)| Some((name.clone(), loss(arm)?))).collect()
}

/// Says at a declared look, from the records so far, whether every claim about a workload is decided.
pub type Decided<'a> = &'a mut dyn FnMut(&str, &[Record]) -> bool;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every step is done.
    Finished,
    /// The user ended it. It can be resumed.
    Interrupted,
}

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Evidence cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The earlier records are of another plan.
    #[error(transparent)]
    Foreign(#[from] ForeignRecord),
    /// The specification cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A step was asked for that the plan does not have.
    #[error("the plan has no such step: {step}")]
    UnknownStep {
        /// The step, in words.
        step: String,
    },
    /// A step that was to run on another machine did not.
    #[error(transparent)]
    Away(#[from] AwayError),
}

/// Why a step ended early.
pub(super) enum Halt {
    Interrupted,
    Error(RunError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Error(error.into())
    }
}

impl From<JournalError> for Halt {
    fn from(error: JournalError) -> Self {
        Self::Error(match error {
            JournalError::Store(e) => e.into(),
            JournalError::Foreign(e) => e.into(),
        })
    }
}

impl From<AwayError> for Halt {
    fn from(error: AwayError) -> Self {
        match error {
            AwayError::Interrupted => Self::Interrupted,
            other => Self::Error(other.into()),
        }
    }
}

/// A run in progress.
pub(super) struct Runner<'a, 'j> {
    pub(super) setup: Setup<'a>,
    pub(super) journal: &'a mut Journal<'j>,
    pub(super) opinions: Opinions<'a>,
    /// The cards that nobody else may use meanwhile.
    pub(super) holds: Holds<'a>,
    /// What was measured and can be profiled.
    pub(super) can_profile: BTreeSet<ProfileStep>,
    /// Workload, arm and card of those that were started once, so that their loads can be timed.
    pub(super) first_starts: BTreeSet<(String, String, Option<&'a str>)>,
    /// Model files that were touched since they were hashed, and hold what they held.
    pub(super) touched: BTreeMap<PathBuf, Identity>,
}

/// Run every step that the journal does not hold yet.
///
/// # Errors
/// [`RunError`] when evidence cannot be written, or what the journal holds is of another plan. What a worker does is never
/// an error: it is recorded.
pub fn execute(setup: &Setup<'_>, journal: &mut Journal<'_>, decided: Decided<'_>) -> Result<Outcome, RunError> {
    let walked = Runner::new(*setup, journal).steps(decided);
    if let Some(elsewhere) = setup.elsewhere {
        elsewhere.end();
    }
    journal.sync()?;
    let (event, outcome) = match walked {
        Ok(()) => (Event::Finished, Outcome::Finished),
        Err(Halt::Interrupted) => (Event::Interrupted, Outcome::Interrupted),
        Err(Halt::Error(error)) => return Err(error),
    };
    journal.note(event)?;
    Ok(outcome)
}

/// Run a specification in memory, for simulations: arms need no models.
///
/// # Errors
/// [`RunError::Plan`] for a specification that did not pass validation.
pub fn in_memory(spec: &Spec, launcher: &dyn Launcher, decided: Decided<'_>) -> Result<Vec<Record>, RunError> {
    let plan = Plan::new(spec)?;
    let (models, inputs) = (BTreeMap::new(), Inputs::without_models(spec, &plan));
    let refused = refused(spec, launcher);
    let setup = Setup {
        spec,
        plan: &plan,
        models: &models,
        inputs: &inputs,
        directory: &PathBuf::from("."),
        cache: None,
        launcher,
        cards: &NoCards,
        refused: &refused,
        baselines: &Baselines::new(),
        salt: "",
        spread: &[],
        place: None,
        elsewhere: None,
        interrupted: &AtomicBool::new(false),
    };
    let (mut store, mut observer) = (Memory, Unobserved);
    let mut journal = Journal::new(Vec::new(), &mut store, &mut observer);
    execute(&setup, &mut journal, decided)?;
    Ok(journal.into_records())
}

impl<'a, 'j> Runner<'a, 'j> {
    pub(super) fn new(setup: Setup<'a>, journal: &'a mut Journal<'j>) -> Self {
        let holds = Holds::new(setup.cache, setup.interrupted);
        let opinions = Opinions::new(setup.cache);
        let (can_profile, first_starts, touched) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        Self { setup, journal, opinions, holds, can_profile, first_starts, touched }
    }
}

impl Runner<'_, '_> {
    fn steps(&mut self, decided: Decided<'_>) -> Result<(), Halt> {
        let plan = self.setup.plan;
        self.journal.begin()?;
        for group in &plan.groups {
            measure::workload(self, group, decided)?;
        }
        for step in &plan.profiles {
            profile::run(self, step)?;
        }
        for step in &plan.scores {
            score::run(self, step)?;
        }
        for step in &plan.soaks {
            soak::run(self, step)?;
        }
        for step in &plan.programs {
            program::run(self, step)?;
        }
        self.journal.end().map_err(|e| Halt::Error(e.into()))
    }

    /// Stop here if the user wants so.
    pub(super) fn check_interrupt(&self) -> Result<(), Halt> {
        if self.setup.interrupted.load(Ordering::Relaxed) { Err(Halt::Interrupted) } else { Ok(()) }
    }

    /// What became of an arm's model file since it was hashed, where that is not what it was. A file that was touched is hashed
    /// again, which may take as long as it took at first.
    pub(super) fn swapped(&mut self, arm: &Arm) -> Option<LossCause> {
        let file = self.setup.models.get(arm.model.as_ref()?)?;
        let hashed = self.touched.get(&file.path).copied().or(file.identity)?;
        let now = Identity::of(&file.path);
        if now.as_ref().is_ok_and(|now| *now == hashed) {
            return None;
        }
        let hash = qa_model::hash::sha256_file(&file.path);
        let became = match (hash, now) {
            (Ok(hash), Ok(now)) if hash == file.sha256 => {
                self.touched.insert(file.path.clone(), now);
                return None;
            }
            (Ok(hash), _) => format!("its SHA-256 was {:.16}... and is {hash:.16}...", file.sha256),
            (Err(e), _) => format!("it cannot be read any more: {e}"),
        };
        Some(LossCause::Refused(Failure::invalid(format!(
            "The model file {} was changed while the run went on: {became}. What was measured before and after does not belong \
             together. Start anew.",
            file.path.display()
        ))))
    }

    /// An arm's model as a worker is told of it; nothing for an arm without one.
    ///
    /// # Errors
    /// A refusal, when the model is not here.
    pub(super) fn model(&self, arm: &Arm) -> Result<Option<ModelRef>, LossCause> {
        let Some(name) = &arm.model else { return Ok(None) };
        let file = self.setup.models.get(name);
        let problem = match file {
            Some(ModelFile { problem: None, path, sha256, .. }) => {
                return Ok(Some(ModelRef { path: path.clone(), sha256: sha256.clone() }));
            }
            Some(ModelFile { problem: Some(problem), .. }) => problem.as_str(),
            None => "it was not resolved",
        };
        Err(LossCause::Refused(Failure::blocked(format!("The model {name} is not here: {problem}"))))
    }
}
