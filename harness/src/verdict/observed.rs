//! The records of a run, indexed for judging. This is the one place that says which samples count.

use super::gpu::{self, Memory};
use crate::metrics;
use crate::plan::BaselineStep;
use crate::samples::{
    Baseline, Evidence, Footprints, GpuWatch, Loss, Phase, Place, PositionComparison, ProcessKey, Record, Rows,
    TokenCheck,
};
use crate::spec::{Load, Spec};
use qa_protocol::{Hello, Metric, Prepared, Profile};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// An arm in a workload; `side` is 1 for the second side of a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane<'a> {
    /// The workload.
    pub workload: &'a str,
    /// The arm.
    pub arm: &'a str,
    /// 0, or 1.
    pub side: u8,
}

/// A process whose block is complete.
#[derive(Clone, Debug)]
pub struct Process<'a> {
    /// Which.
    pub key: &'a ProcessKey,
    /// Who it was.
    pub hello: &'a Hello,
    /// What it loaded.
    pub prepared: &'a Prepared,
    /// Timed iterations in order.
    pub timed: Cow<'a, Rows>,
    /// Iterations on prompts that it had not seen, after the timed ones.
    pub unseen: Rows,
    /// The machine that it ran on, where the record says so.
    pub place: Option<&'a Place>,
    /// Share of its model's file that was in the page cache when it was started, where the workload says what it must be.
    pub resident: Option<&'a Result<f64, String>>,
    /// When it was ready, where the record says so.
    pub at: Option<jiff::Timestamp>,
    /// Its card while it ran the timed ones, or why that was not seen; absent for one that computed elsewhere.
    pub gpu: Option<&'a Result<GpuWatch, String>>,
    /// Where its peak device memory is taken from: alike for every process of a run.
    pub memory: Memory,
    /// The load of its workload, where requests are not one after the other.
    pub load: Option<&'a Load>,
}

impl<'a> Process<'a> {
    fn new(key: &'a ProcessKey, hello: &'a Hello, prepared: &'a Prepared) -> Self {
        Self {
            key,
            hello,
            prepared,
            timed: Cow::default(),
            unseen: Rows::default(),
            place: None,
            resident: None,
            at: None,
            gpu: None,
            memory: Memory::AsTold,
            load: None,
        }
    }

    /// The process's value of a metric.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        if metric == Metric::PeakDeviceMemory && self.memory != Memory::AsTold {
            return gpu::peak_bytes(self, self.memory).map(|bytes| bytes as f64 / 1e6);
        }
        metrics::of_process(metric, self.timed.iter(), self.prepared.load_ns, self.load)
    }
}

/// The result of a program check.
#[derive(Clone, Debug)]
pub struct ProgramRun<'a> {
    /// Exit status, when it ended by itself.
    pub exit: Option<i32>,
    /// What happened otherwise.
    pub problem: Option<&'a str>,
    /// Last lines of output.
    pub tail: &'a [String],
    /// Seconds it ran.
    pub seconds: f64,
}

/// The scores of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    /// What the arm was compared with.
    pub against: &'a str,
    /// One a position.
    pub rows: &'a [PositionComparison],
}

/// An index over the records of a run. A specification may have ten thousand workloads: each claim looks up its own.
#[derive(Debug, Default)]
pub struct Observed<'a> {
    /// Sorted by lane.
    lanes: Vec<(Lane<'a>, Vec<Process<'a>>)>,
    /// Where each arm's lanes are, in order.
    lanes_of_arm: BTreeMap<&'a str, Vec<usize>>,
    /// By workload (or entry), in order.
    losses: BTreeMap<&'a str, Vec<(&'a ProcessKey, &'a Loss)>>,
    /// By arm, in order.
    losses_of_arm: BTreeMap<&'a str, Vec<(&'a ProcessKey, &'a Loss)>>,
    /// The attempt that was closed as complete, by workload and block.
    complete: BTreeMap<&'a str, BTreeMap<u32, u32>>,
    /// By workload, branch and arm.
    baselines: BTreeMap<(&'a str, &'a str, &'a str), Result<&'a Baseline, &'a str>>,
    /// The most that any process measured, in bytes a second, by the identity of its device.
    bandwidths: BTreeMap<&'a str, u64>,
    tokens: BTreeMap<(&'a str, &'a str), &'a TokenCheck>,
    scores: BTreeMap<&'a str, Scores<'a>>,
    programs: BTreeMap<&'a str, ProgramRun<'a>>,
    soaks: BTreeMap<&'a str, Process<'a>>,
    profiles: BTreeMap<(&'a str, &'a str), Profiled<'a>>,
}

/// A decode that was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Profiled<'a> {
    /// Its process.
    pub prepared: &'a Prepared,
    /// What was seen.
    pub profile: &'a Profile,
}

impl<'a> Observed<'a> {
    /// Index the records. Samples count when their block's attempt was closed as complete, and their process delivered.
    pub fn new(spec: &'a Spec, records: &'a [Record]) -> Self {
        let mut observed = Self::default();
        for record in records {
            if let Evidence::Block { workload, block, attempt, complete: true } = &record.evidence {
                observed.complete.entry(workload).or_default().insert(*block, *attempt);
            }
        }
        let mut processes: BTreeMap<&'a ProcessKey, Process<'a>> = BTreeMap::new();
        for record in records {
            match &record.evidence {
                Evidence::Process { process, hello, prepared, resident, place } => {
                    let (at, place, resident) = (record.at.parse().ok(), place.as_ref(), resident.as_ref());
                    let new = Process { place, resident, at, ..Process::new(process, hello, prepared) };
                    processes.insert(process, new);
                }
                Evidence::Sample { process: key, sample, waited_ns } => {
                    if let Some(process) = processes.get_mut(key) {
                        _ = process.timed.to_mut().push(key.phase, sample, *waited_ns);
                    }
                }
                Evidence::Rows { process, rows } => {
                    match processes.get_mut(process).map(|process| &mut process.timed) {
                        Some(timed) if **timed == Rows::default() => *timed = Cow::Borrowed(rows),
                        Some(timed) => timed.to_mut().append(rows),
                        None => {}
                    }
                }
                Evidence::Unseen { process: key, sample, .. } => {
                    if let Some(process) = processes.get_mut(key) {
                        _ = process.unseen.push(key.phase, sample, None);
                    }
                }
                Evidence::Gpu { process, watch } => {
                    if let Some(process) = processes.get_mut(process) {
                        process.gpu = Some(watch);
                    }
                }
                Evidence::Lost { process, loss } => {
                    observed.losses.entry(&process.workload).or_default().push((process, loss));
                    observed.losses_of_arm.entry(&process.arm).or_default().push((process, loss));
                    processes.remove(process);
                }
                Evidence::Block { .. } => {}
                Evidence::Baseline { workload, branch, arm, found } => {
                    let found = found.as_ref().map(|baseline| &**baseline).map_err(String::as_str);
                    observed.baselines.insert((workload, branch, arm), found);
                }
                Evidence::Tokens { workload, arm, check } => {
                    observed.tokens.insert((workload, arm), check);
                }
                Evidence::Scores { entry, against, rows, .. } => {
                    observed.scores.insert(entry, Scores { against, rows });
                }
                Evidence::Profile { process, profile } => {
                    if let Some(Process { prepared, .. }) = processes.get(process) {
                        observed.profiles.insert((&process.workload, &process.arm), Profiled { prepared, profile });
                    }
                }
                Evidence::Footprint { process, worker, harness } => {
                    if let Some(process) = processes.get_mut(process) {
                        _ = process.timed.to_mut().hold(*worker, *harness);
                    }
                }
                Evidence::Program { entry, exit, problem, tail, seconds } => {
                    let run = ProgramRun { exit: *exit, problem: problem.as_deref(), tail, seconds: *seconds };
                    observed.programs.insert(entry, run);
                }
            }
        }
        let mut lanes: BTreeMap<Lane<'a>, Vec<Process<'a>>> = BTreeMap::new();
        for (key, process) in processes {
            match key.phase {
                Phase::Measure if observed.attempt(&key.workload, key.block) == Some(key.attempt) => {
                    let lane = Lane { workload: &key.workload, arm: &key.arm, side: key.side };
                    lanes.entry(lane).or_default().push(process);
                }
                Phase::Soak => {
                    observed.soaks.insert(&key.workload, process);
                }
                _ => {}
            }
        }
        let memory = gpu::memory(&lanes.values().flatten());
        for lane in lanes.values_mut() {
            lane.sort_by_key(|p| p.key.block);
            for process in lane {
                process.memory = memory;
                process.load = spec.workloads.get(&process.key.workload).and_then(|w| w.load.as_ref());
            }
        }
        observed.lanes = lanes.into_iter().collect();
        for (index, (lane, processes)) in observed.lanes.iter().enumerate() {
            observed.lanes_of_arm.entry(lane.arm).or_default().push(index);
            for device in processes.iter().map(|process| &process.prepared.device) {
                if let (Some(uuid), Some(bytes)) = (&device.uuid, device.read_bytes_per_s) {
                    let most = observed.bandwidths.entry(uuid).or_default();
                    *most = bytes.max(*most);
                }
            }
        }
        observed
    }

    /// The processes of a lane in block order.
    pub fn processes(&self, lane: Lane<'_>) -> &[Process<'a>] {
        let found = self.lanes.binary_search_by(|(other, _)| {
            (other.workload, other.arm, other.side).cmp(&(lane.workload, lane.arm, lane.side))
        });
        found.map_or(&[], |index| &self.lanes[index].1)
    }

    /// Every lane that was measured.
    pub fn lanes(&self) -> impl Iterator<Item = (&Lane<'a>, &[Process<'a>])> {
        self.lanes.iter().map(|(lane, processes)| (lane, processes.as_slice()))
    }

    /// Every lane of an arm that was measured.
    pub fn lanes_of_arm(&self, arm: &str) -> impl Iterator<Item = (&Lane<'a>, &[Process<'a>])> {
        let indices = self.lanes_of_arm.get(arm).map_or(&[][..], Vec::as_slice);
        indices.iter().map(|index| (&self.lanes[*index].0, self.lanes[*index].1.as_slice()))
    }

    /// The most that any process measured of a device, in bytes a second.
    pub fn bandwidth(&self, uuid: &str) -> Option<u64> {
        self.bandwidths.get(uuid).copied()
    }

    /// The attempt at a block that was closed as complete.
    fn attempt(&self, workload: &str, block: u32) -> Option<u32> {
        self.complete.get(workload)?.get(&block).copied()
    }

    /// Every loss of an arm in a phase and workload (or entry), in order.
    pub fn losses(&self, phase: Phase, workload: &str, arm: &str) -> Vec<&'a Loss> {
        let of_workload = self.losses.get(workload).into_iter().flatten();
        of_workload.filter(|(key, _)| key.phase == phase && key.arm == arm).map(|(_, loss)| *loss).collect()
    }

    /// Every loss of an arm, wherever.
    pub fn losses_of_arm(&self, arm: &str) -> impl Iterator<Item = (&'a ProcessKey, &'a Loss)> {
        self.losses_of_arm.get(arm).into_iter().flatten().copied()
    }

    /// The loss that ruled a lane out: one in an attempt that went on without it.
    pub fn ruled_out(&self, lane: Lane<'_>) -> Option<&'a Loss> {
        let of_workload = self.losses.get(lane.workload)?.iter().rev();
        of_workload
            .filter(|(key, _)| key.phase == Phase::Measure && key.arm == lane.arm)
            .find(|(key, _)| self.attempt(&key.workload, key.block) == Some(key.attempt))
            .map(|(_, loss)| *loss)
    }

    /// The oracle's opinion of an arm's tokens in a workload.
    pub fn tokens(&self, workload: &str, arm: &str) -> Option<&'a TokenCheck> {
        self.tokens.get(&(workload, arm)).copied()
    }

    /// What an arm was in an earlier run, or why that is not known.
    pub fn baseline(&self, step: &BaselineStep) -> Option<Result<&'a Baseline, &'a str>> {
        self.baselines.get(&(step.workload.as_str(), step.branch.as_str(), step.arm.as_str())).copied()
    }

    /// The scores that an entry asked for.
    pub fn scores(&self, entry: &str) -> Option<Scores<'a>> {
        self.scores.get(entry).copied()
    }

    /// The program that an entry asked for.
    pub fn program(&self, entry: &str) -> Option<&ProgramRun<'a>> {
        self.programs.get(entry)
    }

    /// The decode of an arm that was looked at.
    pub fn profile(&self, workload: &str, arm: &str) -> Option<Profiled<'a>> {
        self.profiles.get(&(workload, arm)).copied()
    }

    /// The long decode that an entry asked for.
    pub fn soak(&self, entry: &str) -> Option<&Process<'a>> {
        self.soaks.get(entry)
    }

    /// What it held.
    pub fn footprints(&self, entry: &str) -> Option<&Footprints> {
        self.soaks.get(entry).map(|process| &process.timed.footprints)
    }
}
