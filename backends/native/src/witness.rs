//! Counts of what was submitted, made where it is submitted.

use qa_protocol::Witness;
use std::collections::BTreeMap;

/// Counters of one run.
#[derive(Debug, Default)]
pub struct Recorder {
    launches: u64,
    replays: u64,
    kernels: BTreeMap<String, u64>,
    /// Bit a stream.
    streams: u32,
    /// Kernels of the graph that is being captured; `None` while none is.
    captured: Option<BTreeMap<String, u64>>,
}

impl Recorder {
    /// A kernel was submitted to a stream, or captured.
    pub fn launch(&mut self, kernel: &str, stream: usize) {
        self.streams |= 1 << stream;
        let kernels = if let Some(captured) = &mut self.captured {
            captured
        } else {
            self.launches += 1;
            &mut self.kernels
        };
        *kernels.entry(kernel.to_owned()).or_default() += 1;
    }

    /// What follows is captured rather than run.
    pub fn begin_capture(&mut self) {
        self.captured = Some(BTreeMap::new());
    }

    /// The kernels that were captured.
    pub fn end_capture(&mut self) -> BTreeMap<String, u64> {
        self.captured.take().unwrap_or_default()
    }

    /// A graph of these kernels was submitted.
    pub fn replay(&mut self, kernels: &BTreeMap<String, u64>, streams: u32) {
        self.replays += 1;
        self.streams |= streams;
        for (name, count) in kernels {
            *self.kernels.entry(name.clone()).or_default() += count;
        }
    }

    /// Streams that received work, a bit each.
    pub fn streams(&self) -> u32 {
        self.streams
    }

    /// The counts since the last call, with what the device counted.
    pub fn take(&mut self, grid_syncs: u64, positions: u64) -> Witness {
        let counts = std::mem::take(self);
        Witness {
            launches: Some(counts.launches),
            graph_replays: Some(counts.replays),
            streams: Some(u64::from(counts.streams.count_ones())),
            grid_syncs: Some(grid_syncs),
            positions: Some(positions),
            kernels: counts.kernels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_a_graph_count_when_it_is_replayed_and_as_no_launches() {
        let mut recorder = Recorder::default();
        recorder.begin_capture();
        recorder.launch("norm", 0);
        recorder.launch("project", 1);
        recorder.launch("project", 1);
        let streams = recorder.streams();
        let captured = recorder.end_capture();
        recorder.replay(&captured, streams);
        recorder.replay(&captured, streams);
        recorder.launch("head", 0);
        let witness = recorder.take(7, 2);
        assert_eq!((witness.launches, witness.graph_replays, witness.streams), (Some(1), Some(2), Some(2)));
        assert_eq!(witness.kernels, [("norm", 2), ("project", 4), ("head", 1)].map(|(k, n)| (k.to_owned(), n)).into());
        assert_eq!((witness.grid_syncs, witness.positions), (Some(7), Some(2)));
        assert_eq!(recorder.take(0, 0).launches, Some(0));
    }
}
