//! How the runner talks to a worker, whatever the worker is: a process, or a simulation on a simulated clock.

use crate::samples::Loss;
use crate::spec::{Arm, Deadlines};
use qa_protocol::{
    Hello, PrepareRequest, Prepared, Profile, ProfileRequest, RunRequest, Sample, ScoreRequest, ScoreRow,
};
use std::time::Duration;

/// Starts workers. A launched worker is fresh: nothing of an earlier one is left in it.
pub trait Launcher {
    /// Whether a worker for `arm` could be started here at all, as far as can be said without starting one.
    ///
    /// # Errors
    /// The loss to be recorded.
    fn check(&self, arm: &Arm) -> Result<(), Loss>;

    /// Start a worker for `arm`, which sees this card and no other; every card of the machine where none is given.
    ///
    /// # Errors
    /// The loss to be recorded, when the program cannot be found or started.
    fn launch(&self, arm: &Arm, deadlines: &Deadlines, card: Option<&str>) -> Result<Box<dyn Session>, Loss>;
}

/// Takes a sample, and the time that it was waited for.
pub type OnSample<'a> = &'a mut dyn FnMut(Sample, Option<Duration>);

/// A conversation with one worker. After an error the session is dead: its processes are gone, its loss is to be recorded.
pub trait Session {
    /// The process group that it runs in, where it is a process.
    fn group(&self) -> Option<u32> {
        None
    }

    /// Ask who it is.
    ///
    /// # Errors
    /// The loss to be recorded.
    fn hello(&mut self) -> Result<Hello, Loss>;

    /// Load the model.
    ///
    /// # Errors
    /// The loss to be recorded.
    fn prepare(&mut self, request: &PrepareRequest) -> Result<Prepared, Loss>;

    /// Time iterations; each sample is handed on as it arrives, with the time by the harness's clock since the one before,
    /// or since the request: nothing where the worker's clock is not the harness's.
    ///
    /// # Errors
    /// The loss to be recorded. Samples handed on before stand as evidence, but the process did not deliver.
    fn run(&mut self, request: &RunRequest, on_sample: OnSample<'_>) -> Result<(), Loss>;

    /// Score tokens; each row is handed on as it arrives.
    ///
    /// # Errors
    /// The loss to be recorded.
    fn score(&mut self, request: &ScoreRequest, on_row: &mut dyn FnMut(ScoreRow)) -> Result<(), Loss>;

    /// Look at a decode without timing it.
    ///
    /// # Errors
    /// The loss to be recorded.
    fn profile(&mut self, request: &ProfileRequest) -> Result<Profile, Loss>;

    /// Say goodbye and see the worker's whole process group gone.
    ///
    /// # Errors
    /// The loss to be recorded, when it did not leave by itself. It is gone all the same.
    fn finish(self: Box<Self>) -> Result<(), Loss>;
}
