//! What happens in a run: the one vocabulary of the runner, `events.jsonl` and progress.

use crate::plan::Member;
use crate::samples::{Loss, ProcessKey, Record};
use serde::{Deserialize, Serialize};

/// A line of `events.jsonl`. Nothing in it is evidence: it tells a reader when what was done, and why again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What happens in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Steps begin, or go on after an interruption.
    Started {
        /// Records that an earlier part of the run left, all of finished steps.
        recorded: u64,
    },
    /// Records of an unfinished step, taken out of `samples.jsonl` before the step runs again.
    Discarded {
        /// The records.
        records: Vec<Record>,
    },
    /// A line that was being written when the harness died, taken out of `samples.jsonl`.
    Torn {
        /// As much of it as there was.
        line: String,
    },
    /// A workload's blocks begin.
    Workload {
        /// The workload.
        workload: String,
        /// The most blocks that will run.
        blocks: u32,
    },
    /// A block begins.
    Block {
        /// The workload.
        workload: String,
        /// Counts from 0.
        block: u32,
        /// Counts from 0.
        attempt: u32,
        /// Its lanes, in order.
        order: Vec<Member>,
    },
    /// A program whose loads are timed is started once before, and not counted.
    FirstStart {
        /// The workload.
        workload: String,
        /// The arm.
        arm: String,
    },
    /// A process is being started.
    ProcessStarted {
        /// Which.
        process: ProcessKey,
    },
    /// A process is gone.
    ProcessEnded {
        /// Which.
        process: ProcessKey,
        /// Whether it delivered what it owed.
        delivered: bool,
        /// From start to end, in seconds.
        seconds: f64,
    },
    /// A process delivered, but did not leave as it should.
    LeftBadly {
        /// Which.
        process: ProcessKey,
        /// What happened.
        loss: Loss,
    },
    /// A block broke and is run again.
    Retry {
        /// The workload.
        workload: String,
        /// The block.
        block: u32,
        /// The arm that broke it.
        arm: String,
        /// Why.
        reason: String,
    },
    /// An arm is not measured any more in this workload.
    RuledOut {
        /// The workload.
        workload: String,
        /// The arm.
        arm: String,
        /// Why.
        reason: String,
    },
    /// A declared look.
    Look {
        /// The workload.
        workload: String,
        /// Blocks so far.
        blocks: u32,
        /// Whether every claim is decided, so that the workload ends here.
        decided: bool,
    },
    /// The oracle checks an arm's tokens.
    Verifying {
        /// The workload.
        workload: String,
        /// The arm.
        arm: String,
        /// Distinct outputs to check.
        outputs: u32,
    },
    /// A text is being scored.
    Scoring {
        /// The entry that asks.
        entry: String,
        /// The arm.
        arm: String,
        /// What it is compared with.
        against: String,
    },
    /// A long decode begins.
    Soaking {
        /// The entry that asks.
        entry: String,
        /// The arm.
        arm: String,
        /// How long, in seconds.
        seconds: f64,
    },
    /// A decode is looked at, and not timed.
    Profiling {
        /// The workload.
        workload: String,
        /// The arm.
        arm: String,
    },
    /// A program is run.
    Program {
        /// The entry that asks.
        entry: String,
        /// Program and arguments.
        argv: Vec<String>,
    },
    /// Steps were given to a scheduler.
    Submitted {
        /// The job, by the scheduler's number; absent where its answer was lost.
        job: Option<String>,
        /// The steps, in words.
        steps: Vec<String>,
    },
    /// How the steps that a scheduler has stand. Told when it changes.
    Queued {
        /// How many wait.
        pending: u32,
        /// How many run.
        running: u32,
        /// Why those that wait do, by the scheduler's word.
        reasons: Vec<String>,
        /// Where those run that do.
        nodes: Vec<String>,
    },
    /// The scheduler does not answer. The run waits: an answer that is missing says nothing of the jobs.
    Unanswered {
        /// What it says instead.
        said: String,
    },
    /// A step came back whole.
    Collected {
        /// The step, in words.
        step: String,
        /// The node that it ran on.
        node: String,
        /// The folder of the attempt, below the run's.
        folder: String,
        /// SHA-256 of the attempt's manifest.
        manifest_sha256: String,
    },
    /// An attempt at a step left nothing whole.
    AttemptLost {
        /// The step, in words.
        step: String,
        /// What became of it.
        why: String,
        /// How often the step was lost so far.
        times: u32,
    },
    /// Every step is done.
    Finished,
    /// The user ended the run before its end.
    Interrupted,
}

/// Watches a run. Nothing that an observer does changes what is measured or recorded.
pub trait Observer {
    /// Something happens.
    fn event(&mut self, event: &Event);

    /// Evidence was recorded.
    fn record(&mut self, record: &Record) {
        let _ = record;
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn event(&mut self, _: &Event) {}
}
