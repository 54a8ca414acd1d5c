//! What a strategy submits for a token or a run of tokens: launched, or captured once and replayed.

use super::{Choice, Decoder};
use crate::error::Result;
use crate::gpu::Graph;
use crate::layout::Buffers;
use crate::verify::{Extent, Passes};
use crate::witness::Launches;

/// What is captured as one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// A token of the host's walk.
    Token(Choice),
    /// A launch of the resident grid.
    Resident(Choice),
    /// A pass that verifies drafts.
    Verification(Extent, Choice),
}

/// A captured token, or a captured launch of the resident grid.
pub(super) struct Captured {
    graph: Graph,
    kernels: Launches,
    streams: u32,
}

impl Decoder {
    /// Buffers of passes that choose so.
    pub(crate) fn buffers_for(&self, choice: Choice) -> Buffers {
        let logits = if choice == Choice::Likeliest { 0 } else { self.logits.address() };
        Buffers { logits, ..self.buffers }
    }

    /// One token of the host's walk, launched or replayed.
    pub(super) fn token(&mut self, choice: Choice) -> Result<()> {
        self.launch_or_replay(Work::Token(choice), |decoder| decoder.submit_token(choice))
    }

    /// The resident grid, launched or replayed.
    pub(super) fn resident(&mut self, choice: Choice) -> Result<()> {
        self.launch_or_replay(Work::Resident(choice), |decoder| decoder.submit_resident(choice))
    }

    /// A pass that verifies drafts, launched or replayed.
    pub(super) fn verification(&mut self, passes: &Passes, extent: Extent, choice: Choice) -> Result<()> {
        let work = Work::Verification(extent, choice);
        self.launch_or_replay(work, |decoder| decoder.submit_verification(passes, extent, choice))
    }

    fn launch_or_replay(&mut self, work: Work, submit: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        if !self.switches.graph {
            return submit(self);
        }
        if !self.captured.contains_key(&work) {
            self.recorder.get_mut().begin_capture();
            let graph = Graph::capture(&self.main, || submit(self));
            let kernels = self.recorder.get_mut().end_capture();
            let streams = if self.forks() { 0b11 } else { 0b1 };
            self.captured.insert(work, Captured { graph: graph?, kernels, streams });
        }
        if let Some(captured) = self.captured.get(&work) {
            captured.graph.launch(&self.main)?;
            self.recorder.borrow_mut().replay(&captured.kernels, captured.streams);
        }
        Ok(())
    }
}
