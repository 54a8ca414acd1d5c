//! Counts of what was submitted, made where it is submitted.

use qa_protocol::Witness;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Counters of one run.
#[derive(Debug, Default)]
pub struct Recorder {
    launches: u64,
    replays: u64,
    kernels: BTreeMap<String, u64>,
    /// Bit a stream.
    streams: u32,
    /// Kernels of the graph that is being captured; `None` while none is.
    captured: Option<Launches>,
    /// Every kernel in order, while somebody wants to know.
    log: Option<Log>,
}

/// Kernels of a graph.
#[derive(Clone, Debug, Default)]
pub struct Launches {
    /// How often each, by name.
    pub counts: BTreeMap<String, u64>,
    /// In the order in which they were submitted.
    pub order: Vec<Launch>,
}

/// One kernel that was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The kernel.
    pub kernel: Arc<str>,
    /// Index of the stream.
    pub stream: usize,
    /// Bytes of weights that it reads.
    pub bytes: u64,
}

/// Kernels in the order in which they were submitted.
#[derive(Debug, Default)]
pub struct Log {
    /// All of them.
    pub launches: Vec<Launch>,
    /// How many of them were the prompt's.
    pub prompt: usize,
}

impl Recorder {
    /// A kernel was submitted to a stream, or captured.
    pub fn launch(&mut self, kernel: &Arc<str>, stream: usize, bytes: u64) {
        self.streams |= 1 << stream;
        let launch = || Launch { kernel: Arc::clone(kernel), stream, bytes };
        let counts = if let Some(captured) = &mut self.captured {
            captured.order.push(launch());
            &mut captured.counts
        } else {
            self.launches += 1;
            if let Some(log) = &mut self.log {
                log.launches.push(launch());
            }
            &mut self.kernels
        };
        *counts.entry(kernel.to_string()).or_default() += 1;
    }

    /// From here on every kernel is written down.
    pub fn begin_log(&mut self) {
        self.log = Some(Log::default());
    }

    /// What was written down.
    pub fn end_log(&mut self) -> Log {
        self.log.take().unwrap_or_default()
    }

    /// What follows is captured rather than run.
    pub fn begin_capture(&mut self) {
        self.captured = Some(Launches::default());
    }

    /// The kernels that were captured.
    pub fn end_capture(&mut self) -> Launches {
        self.captured.take().unwrap_or_default()
    }

    /// A graph of these kernels was submitted.
    pub fn replay(&mut self, kernels: &Launches, streams: u32) {
        self.replays += 1;
        self.streams |= streams;
        for (name, count) in &kernels.counts {
            *self.kernels.entry(name.clone()).or_default() += count;
        }
        if let Some(log) = &mut self.log {
            log.launches.extend_from_slice(&kernels.order);
        }
    }

    /// Streams that received work, a bit each.
    pub fn streams(&self) -> u32 {
        self.streams
    }

    /// Forgets what the prompt took, which is not what decoding takes.
    pub fn end_prompt(&mut self) {
        self.take(0, 0);
        if let Some(log) = &mut self.log {
            log.prompt = log.launches.len();
        }
    }

    /// The counts since the last call, with what the device counted.
    pub fn take(&mut self, grid_syncs: u64, positions: u64) -> Witness {
        let log = self.log.take();
        let counts = std::mem::replace(self, Self { log, ..Self::default() });
        Witness {
            launches: Some(counts.launches),
            graph_replays: Some(counts.replays),
            streams: Some(u64::from(counts.streams.count_ones())),
            grid_syncs: Some(grid_syncs),
            positions: Some(positions),
            drafts: None,
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
        recorder.begin_log();
        recorder.launch(&"embed".into(), 0, 0);
        recorder.end_prompt();
        recorder.begin_capture();
        recorder.launch(&"norm".into(), 0, 0);
        recorder.launch(&"project".into(), 1, 7);
        recorder.launch(&"project".into(), 1, 7);
        let streams = recorder.streams();
        let captured = recorder.end_capture();
        recorder.replay(&captured, streams);
        recorder.replay(&captured, streams);
        recorder.launch(&"head".into(), 0, 9);
        let witness = recorder.take(7, 2);
        assert_eq!((witness.launches, witness.graph_replays, witness.streams), (Some(1), Some(2), Some(2)));
        assert_eq!(witness.kernels, [("norm", 2), ("project", 4), ("head", 1)].map(|(k, n)| (k.to_owned(), n)).into());
        assert_eq!((witness.grid_syncs, witness.positions), (Some(7), Some(2)));
        assert_eq!(recorder.take(0, 0).launches, Some(0));
        let log = recorder.end_log();
        let order: Vec<&str> = log.launches.iter().map(|launch| &*launch.kernel).collect();
        assert_eq!(order, ["embed", "norm", "project", "project", "norm", "project", "project", "head"]);
        assert_eq!((log.prompt, log.launches.iter().map(|l| l.bytes).sum::<u64>()), (1, 37));
        recorder.launch(&"head".into(), 0, 9);
        assert!(recorder.end_log().launches.is_empty(), "nobody asked for more");
    }
}
