//! What a strategy submits for a token or a run of tokens: launched, or captured once and replayed.

use super::Decoder;
use crate::error::Result;
use crate::gpu::Graph;
use crate::layout::Buffers;
use std::collections::BTreeMap;

/// A captured token, or a captured launch of the resident grid.
pub(super) struct Captured {
    graph: Graph,
    kernels: BTreeMap<String, u64>,
    streams: u32,
}

impl Decoder {
    /// Buffers of a pass that keeps its logits, or that does not.
    fn buffers_for(&self, keep: bool) -> Buffers {
        Buffers { logits: if keep { self.logits.address() } else { 0 }, ..self.buffers }
    }

    /// One token of the host's walk, launched or replayed.
    pub(super) fn token(&mut self, keep: bool) -> Result<()> {
        let buffers = self.buffers_for(keep);
        if !self.switches.graph {
            return self.submit_token(&buffers);
        }
        self.replay(keep, |decoder| decoder.submit_token(&buffers))
    }

    /// The resident grid, launched or replayed.
    pub(super) fn resident(&mut self, keep: bool) -> Result<()> {
        let buffers = self.buffers_for(keep);
        if !self.switches.graph {
            return self.submit_resident(&buffers);
        }
        self.replay(keep, |decoder| decoder.submit_resident(&buffers))
    }

    fn replay(&mut self, keep: bool, submit: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let slot = usize::from(keep);
        if self.captured[slot].is_none() {
            self.recorder.get_mut().begin_capture();
            let graph = Graph::capture(&self.main, || submit(self));
            let kernels = self.recorder.get_mut().end_capture();
            let streams = if self.forks() { 0b11 } else { 0b1 };
            self.captured[slot] = Some(Captured { graph: graph?, kernels, streams });
        }
        if let Some(captured) = &self.captured[slot] {
            captured.graph.launch(&self.main)?;
            self.recorder.borrow_mut().replay(&captured.kernels, captured.streams);
        }
        Ok(())
    }
}
