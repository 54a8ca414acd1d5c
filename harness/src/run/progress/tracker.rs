//! How far a run is and how long it will take at most, from its own processes so far.

use crate::plan::Plan;
use crate::run::event::Event;
use crate::samples::{Evidence, Phase, ProcessKey, Record};
use std::collections::BTreeMap;

/// Follows a run.
#[derive(Clone, Debug)]
pub(super) struct Tracker {
    /// Workloads in order: name, blocks, and arms of one block.
    groups: Vec<(String, u32, Vec<String>)>,
    /// Seconds and processes, by workload and arm.
    spent: BTreeMap<(String, String), (f64, u32)>,
    /// The workload that is being measured, its block, and how many of its processes are over.
    at: Option<(String, u32, u32)>,
    process: Option<ProcessKey>,
    iterations: u32,
    step: Option<String>,
    soak_s: f64,
}

impl Tracker {
    pub(super) fn new(plan: &Plan) -> Self {
        let groups = plan
            .groups
            .iter()
            .map(|g| (g.workload.clone(), g.blocks(), g.members.iter().map(|m| m.arm.clone()).collect()))
            .collect();
        Self {
            groups,
            spent: BTreeMap::new(),
            at: None,
            process: None,
            iterations: 0,
            step: None,
            soak_s: plan.soaks.iter().map(|s| s.check.run_s).sum(),
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Block { workload, block, .. } => {
                self.at = Some((workload.clone(), *block, 0));
                self.step = None;
            }
            Event::FirstStart { arm, .. } => {
                self.step = Some(format!("{arm} is started once, uncounted, before its loads are timed"));
            }
            Event::ProcessStarted { process } => {
                if process.phase == Phase::Measure {
                    self.step = None;
                }
                self.process = Some(process.clone());
                self.iterations = 0;
            }
            Event::ProcessEnded { process, seconds, .. } => {
                self.process = None;
                if process.phase == Phase::Measure {
                    let spent = self.spent.entry((process.workload.clone(), process.arm.clone())).or_default();
                    *spent = (spent.0 + seconds, spent.1 + 1);
                    if let Some(at) = &mut self.at {
                        at.2 += 1;
                    }
                }
            }
            Event::Verifying { arm, .. } => self.step = Some(format!("the oracle checks the tokens of {arm}")),
            Event::Scoring { entry, .. } => self.leave_blocks(format!("{entry}: scoring a text")),
            Event::Soaking { entry, seconds, .. } => {
                self.soak_s -= seconds;
                self.leave_blocks(format!("{entry}: decoding for {seconds} s"));
            }
            Event::Profiling { workload, arm } => {
                self.leave_blocks(format!("{workload}: a decode of {arm} is looked at"));
            }
            Event::Queued { pending, running, .. } => {
                self.step = Some(format!("{pending} pending, {running} running on the cluster"));
            }
            Event::Program { entry, .. } => self.leave_blocks(format!("{entry}: running its program")),
            _ => {}
        }
    }

    pub(super) fn record(&mut self, record: &Record) {
        if matches!(record.evidence, Evidence::Sample { .. }) {
            self.iterations += 1;
        }
    }

    fn leave_blocks(&mut self, step: String) {
        self.at = None;
        self.groups.clear();
        self.step = Some(step);
    }

    /// What is going on, in one line.
    pub(super) fn now(&self) -> String {
        let process = self.process.as_ref().map(|p| match self.iterations {
            0 => format!("{}, starting", p.arm),
            1 => format!("{}, 1 iteration", p.arm),
            n => format!("{}, {n} iterations", p.arm),
        });
        match (&self.step, &self.at, process) {
            (Some(step), _, Some(_)) if self.at.is_none() && self.iterations > 0 => {
                format!("{step}, {} iterations", self.iterations)
            }
            (Some(step), _, _) => step.clone(),
            (None, Some((workload, block, _)), process) => {
                let blocks = self.groups.iter().find(|(name, ..)| name == workload).map_or(0, |(_, blocks, _)| *blocks);
                let process = process.map_or_else(String::new, |p| format!(", {p}"));
                format!("{workload}: block {} of at most {blocks}{process}", block + 1)
            }
            (None, None, _) => "starting".into(),
        }
    }

    /// Seconds that the run will take at most from here, once a process has shown how long one takes.
    pub(super) fn seconds_left(&self) -> Option<f64> {
        let (sum, count) = self.spent.values().fold((0.0, 0), |(s, n), (seconds, count)| (s + seconds, n + count));
        if count == 0 {
            return None;
        }
        let any = sum / f64::from(count);
        let of = |workload: &str, arm: &str| {
            self.spent.get(&(workload.to_owned(), arm.to_owned())).map_or(any, |(s, n)| s / f64::from(*n))
        };
        let mut left = self.soak_s.max(0.0);
        let current = self.at.as_ref().and_then(|(name, ..)| self.groups.iter().position(|(n, ..)| n == name));
        for (index, (workload, blocks, arms)) in self.groups.iter().enumerate() {
            let block: f64 = arms.iter().map(|arm| of(workload, arm)).sum();
            left += match (&self.at, current) {
                (Some((_, at, done)), Some(current)) if index == current => {
                    let share = 1.0 - f64::from(*done) / arms.len().max(1) as f64;
                    block * (f64::from(blocks.saturating_sub(*at + 1)) + share.max(0.0))
                }
                (_, Some(current)) if index < current => 0.0,
                _ => block * f64::from(*blocks),
            };
        }
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Group, Member};
    use std::collections::BTreeSet;

    fn key(arm: &str) -> ProcessKey {
        ProcessKey {
            phase: Phase::Measure,
            workload: "decode".into(),
            block: 0,
            attempt: 0,
            place: 0,
            arm: arm.into(),
            side: 0,
        }
    }

    #[test]
    fn a_cluster_is_told_of_by_what_it_has() {
        let plan = Plan { groups: vec![], profiles: vec![], scores: vec![], soaks: vec![], programs: vec![] };
        let mut tracker = Tracker::new(&plan);
        tracker.event(&Event::Queued { pending: 3, running: 1, reasons: vec![], nodes: vec![] });
        assert_eq!(tracker.now(), "3 pending, 1 running on the cluster");
    }

    #[test]
    fn the_time_left_follows_the_processes_so_far() {
        let members = ["a", "b"].map(|arm| Member { arm: arm.into(), side: 0 }).to_vec();
        let group = Group {
            workload: "decode".into(),
            members: members.clone(),
            metrics: BTreeMap::new(),
            claims: BTreeSet::new(),
            looks: vec![2, 4],
            baselines: BTreeSet::new(),
        };
        let plan = Plan { groups: vec![group], profiles: vec![], scores: vec![], soaks: vec![], programs: vec![] };
        let mut tracker = Tracker::new(&plan);
        assert_eq!((tracker.seconds_left(), tracker.now().as_str()), (None, "starting"));
        tracker.event(&Event::Block { workload: "decode".into(), block: 0, attempt: 0, order: members });
        tracker.event(&Event::ProcessStarted { process: key("a") });
        assert_eq!(tracker.now(), "decode: block 1 of at most 4, a, starting");
        tracker.event(&Event::ProcessEnded { process: key("a"), delivered: true, seconds: 2.0 });
        // Nothing is known of b yet, so it counts like a: 3 blocks of 4 s, and half a block.
        assert_eq!(tracker.seconds_left(), Some(14.0));
        tracker.event(&Event::ProcessEnded { process: key("b"), delivered: true, seconds: 1.0 });
        assert_eq!(tracker.seconds_left(), Some(9.0));
    }
}
