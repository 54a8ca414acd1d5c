//! Steps that run on other machines: what the runner asks of whoever has them run.
//!
//! A run walks over its steps as ever. Where a step is not recorded yet it is fetched instead of run, its records are taken
//! over whole, and it is walked over like one of an earlier part of the run: the same check says that they are its own.

use super::execute::{Halt, Runner};
use super::journal::{Journal, Recorded};
use super::store::StoreError;
use super::unit::Unit;
use crate::samples::Record;
use std::ops::Range;

/// Has steps run on other machines.
pub trait Elsewhere {
    /// Begin those units that are not begun, beside each other.
    ///
    /// # Errors
    /// [`AwayError`] when none can be begun.
    fn begin(&self, units: &[Unit], journal: &mut Journal<'_>) -> Result<(), AwayError>;

    /// Wait for a unit, which is begun if it is not, and give what one whole attempt at it left.
    ///
    /// # Errors
    /// [`AwayError`] when the user wants the run to end, or the unit cannot be had.
    fn fetch(&self, unit: &Unit, journal: &mut Journal<'_>) -> Result<Vec<Record>, AwayError>;

    /// See to it that nothing of the run goes on: what was begun and not fetched is of no use to anybody.
    fn end(&self);
}

/// Why a step was not had from another machine.
#[derive(Debug, thiserror::Error)]
pub enum AwayError {
    /// The user wants the run to end.
    #[error("interrupted")]
    Interrupted,
    /// The run's folder cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Every attempt at a step was lost.
    #[error("{step} was lost {times} times, the last time since {why}")]
    Lost {
        /// The step, in words.
        step: String,
        /// How often.
        times: u32,
        /// What happened last.
        why: String,
    },
    /// It took longer than the user would wait.
    #[error("{step} was not done {hours} hours after it was submitted ({state}), and its jobs were cancelled")]
    GivenUp {
        /// The step, in words.
        step: String,
        /// As configured.
        hours: f64,
        /// How it stood.
        state: String,
    },
    /// The scheduler refuses.
    #[error("{program} refuses: {said}")]
    Refused {
        /// What was called.
        program: &'static str,
        /// What it says.
        said: String,
    },
    /// What came back is not the step.
    #[error("what came back for {step} is not that step: {problem}")]
    Foreign {
        /// The step, in words.
        step: String,
        /// What is wrong.
        problem: String,
    },
}

impl Runner<'_, '_> {
    /// Walk over a step that is recorded whole, by whoever ran it; `None` when it is to be run here. `unit` is the step by
    /// itself, told how many records stand before it.
    pub(super) fn walk(
        &mut self,
        step: &dyn Fn() -> String,
        judge: &dyn Fn(&[Record]) -> Recorded,
        unit: &dyn Fn(u64) -> Unit,
    ) -> Result<Option<Range<usize>>, Halt> {
        if let Some(range) = self.journal.replay(step, judge)? {
            return Ok(Some(range));
        }
        let Some(elsewhere) = self.setup.elsewhere else { return Ok(None) };
        self.check_interrupt()?;
        // Whoever runs it reads what was recorded before.
        self.journal.sync()?;
        let unit = unit(self.journal.written());
        let records = elsewhere.fetch(&unit, self.journal)?;
        let foreign = |problem: String| AwayError::Foreign { step: unit.words(), problem };
        match judge(&records) {
            Recorded::Whole(all) if all == records.len() => {}
            Recorded::Whole(some) => return Err(foreign(format!("it ends after {some} of its records")).into()),
            Recorded::Part => return Err(foreign("its records do not reach its end".into()).into()),
            Recorded::Foreign(at) => return Err(foreign(format!("record {at} is of another step")).into()),
        }
        self.journal.adopt(records)?;
        Ok(self.journal.replay(step, judge)?)
    }
}
