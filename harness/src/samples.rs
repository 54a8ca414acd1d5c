//! What a run leaves on disk, and nothing that interprets it.
//!
//! `samples.jsonl` is append-only: one [`Record`] a line, flushed before the next step begins. Everything to the right of
//! this module (statistics, verdicts, reports) is a pure function of these records, the resolved specification and the
//! environment.

mod baseline;
mod footprint;
mod gpu;
mod identity;
mod place;
mod rows;

pub use baseline::{Baseline, OfMetric};
pub use footprint::Footprint;
pub use gpu::{ClockLimit, GpuProcess, GpuReading, GpuWatch, Whose};
pub use identity::Identity;
pub use place::{Allocation, Place};
pub use rows::{Footprints, Part, Row, Rows, Work, fold};

use qa_protocol::{Failure, Hello, Prepared, Profile, Sample};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A line of `samples.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Counts from 0 without gaps, over resumptions too.
    pub seq: u64,
    /// When it was written, RFC 3339 in UTC.
    pub at: String,
    /// What happened.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// What a run observes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Evidence {
    /// A worker is ready to measure.
    Process {
        /// Which process.
        process: ProcessKey,
        /// Who it is.
        hello: Hello,
        /// What it loaded. `load_ns` is how long that took.
        prepared: Prepared,
        /// Share of the model's file that was in the page cache just before the process was started, or why that is not
        /// known. Absent where the workload does not say what it must be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resident: Option<Result<f64, String>>,
        /// The machine that it ran on; absent in simulations, and in records of before it was kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Place>,
    },
    /// One iteration.
    Sample {
        /// Which process.
        process: ProcessKey,
        /// What it measured.
        sample: Sample,
        /// Nanoseconds by the harness's own clock since the sample before, or since the request. Absent where the worker's
        /// clock is not the harness's, as in a simulation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waited_ns: Option<u64>,
    },
    /// Samples of a process that follow each other, and its footprints: one record in the memory of a reader, which
    /// [folds](fold) them. It is never written.
    #[serde(skip)]
    Rows {
        /// Which process.
        process: ProcessKey,
        /// What it measured.
        rows: Box<Rows>,
    },
    /// One iteration on a prompt that the worker had not seen, with fewer tokens, after the timed ones. It enters no
    /// statistic; see [`crate::plan::unseen_prompt`].
    Unseen {
        /// Which process.
        process: ProcessKey,
        /// The prompt, as token ids; empty in records of before it was kept.
        #[serde(default)]
        prompt: Vec<u32>,
        /// What it measured.
        sample: Sample,
    },
    /// A process that did not deliver what it owed.
    Lost {
        /// Which process.
        process: ProcessKey,
        /// Why.
        loss: Loss,
    },
    /// The card that a process computed on, while it ran its timed iterations.
    Gpu {
        /// Which process.
        process: ProcessKey,
        /// What was seen, or why nothing was.
        watch: Result<GpuWatch, String>,
    },
    /// The end of a block. Only samples of complete attempts count; a broken block runs again whole.
    Block {
        /// The workload.
        workload: String,
        /// Counts from 0.
        block: u32,
        /// Counts from 0.
        attempt: u32,
        /// Whether every arm that is not ruled out delivered.
        complete: bool,
    },
    /// A timed arm's tokens, checked by the oracle.
    Tokens {
        /// The workload.
        workload: String,
        /// The arm.
        arm: String,
        /// What the oracle says.
        check: TokenCheck,
    },
    /// Scores of a text, position by position, beside those of the oracle or another arm.
    Scores {
        /// The entry that asked, by id.
        entry: String,
        /// The arm.
        arm: String,
        /// What it was compared with.
        against: String,
        /// One a scored position.
        rows: Vec<PositionComparison>,
    },
    /// A decode that was looked at, after the samples and without timing it.
    Profile {
        /// Which process.
        process: ProcessKey,
        /// What was seen.
        profile: Profile,
    },
    /// What a long decode holds, before each of its requests but the first.
    Footprint {
        /// Which process.
        process: ProcessKey,
        /// The worker's process group; absent where it cannot be seen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<Footprint>,
        /// The harness itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        harness: Option<Footprint>,
    },
    /// What an arm was in an earlier run, taken over from the history before the workload's blocks.
    Baseline {
        /// The workload.
        workload: String,
        /// The branch.
        branch: String,
        /// The arm, as that run calls it.
        arm: String,
        /// What was found, or why nothing was.
        found: Result<Box<Baseline>, String>,
    },
    /// A program that was to exit as said.
    Program {
        /// The entry that asked, by id.
        entry: String,
        /// Exit status; absent when it was killed at its deadline or by a signal, or could not be started.
        exit: Option<i32>,
        /// What happened, when there is no exit status.
        problem: Option<String>,
        /// Last lines of its output.
        tail: Vec<String>,
        /// How long it ran, in seconds.
        seconds: f64,
    },
}

/// The records that a reader may use: all but those of blocks that were not closed, which a killed run leaves at its end.
/// They say nothing, since the block runs again whole.
///
/// An attempt that was closed as broken stays: its losses are evidence. Its samples are not; see [`Evidence::Block`].
pub fn complete(mut records: Vec<Record>) -> Vec<Record> {
    let closed: BTreeSet<(String, u32, u32)> = records
        .iter()
        .filter_map(|record| match &record.evidence {
            Evidence::Block { workload, block, attempt, .. } => Some((workload.clone(), *block, *attempt)),
            _ => None,
        })
        .collect();
    // Looked up once for each process in a row, and not for each of its samples.
    let mut last: Option<(ProcessKey, bool)> = None;
    records.retain(|record| match &record.evidence {
        Evidence::Process { process, .. }
        | Evidence::Sample { process, .. }
        | Evidence::Rows { process, .. }
        | Evidence::Unseen { process, .. }
        | Evidence::Gpu { process, .. }
        | Evidence::Lost { process, .. } => {
            if let Some((of, usable)) = &last
                && of == process
            {
                return *usable;
            }
            let usable = process.phase != Phase::Measure
                || closed.contains(&(process.workload.clone(), process.block, process.attempt));
            last = Some((process.clone(), usable));
            usable
        }
        _ => true,
    });
    records.shrink_to_fit();
    records
}

/// Which process of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessKey {
    /// What it was started for.
    pub phase: Phase,
    /// The workload, or the entry's id in a scoring or soak phase.
    pub workload: String,
    /// The block; counts from 0.
    pub block: u32,
    /// The attempt at that block; counts from 0.
    pub attempt: u32,
    /// Its place in the block's order; counts from 0.
    pub place: u32,
    /// The arm.
    pub arm: String,
    /// 0, or 1 for the second side of a control that compares an arm with itself.
    #[serde(default)]
    pub side: u8,
}

/// What a process is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Timed iterations in blocks.
    Measure,
    /// Scores of a text.
    Score,
    /// The oracle checks tokens.
    Verify,
    /// A long decode.
    Soak,
    /// A decode that is looked at, and not timed.
    Profile,
}

/// Why a process did not deliver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// What it was asked for.
    pub stage: Stage,
    /// What happened.
    pub cause: LossCause,
    /// One or two sentences for a stranger.
    pub message: String,
    /// Last lines of its standard error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stderr_tail: Vec<String>,
}

/// The request that a worker failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Starting the program.
    Spawn,
    /// `hello`.
    Hello,
    /// `prepare`.
    Prepare,
    /// `run`.
    Run,
    /// `score`.
    Score,
    /// `profile`.
    Profile,
    /// `bye`.
    Bye,
}

/// What happened to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossCause {
    /// It answered with a failure of its own, or its program is not on this machine.
    Refused(Failure),
    /// It missed a deadline, in seconds, and was killed with its group.
    Deadline(f64),
    /// It ended, with this description of its status.
    Exited(String),
    /// What it sent is not the protocol.
    Protocol,
    /// What it measured cannot be: a negative time, a missing token, a count that does not match.
    Implausible,
    /// It could not be started.
    NotStarted,
    /// The user interrupted the run; the worker was killed with its group.
    Interrupted,
}

/// The oracle's opinion of generated tokens, teacher-forced over prompt and output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenCheck {
    /// The oracle, or why there is none.
    pub oracle: Result<String, String>,
    /// How many distinct outputs the arm's timed iterations had; a greedy decoder has 1.
    pub distinct_outputs: u32,
    /// Tokens that were checked, over distinct outputs.
    pub checked: u32,
    /// Tokens that are not the oracle's first choice.
    pub disagreements: Vec<Disagreement>,
    /// Distinct outputs that were not checked, there being so many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unchecked_outputs: u32,
    /// Tokens that are not the oracle's first choice, after a prompt that the worker had not seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<Disagreement>,
    /// Whether the tokens come from the timed iterations.
    pub timed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A token that is not the oracle's first choice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disagreement {
    /// Index in the output.
    pub index: u32,
    /// What the arm chose.
    pub token: u32,
    /// What the oracle would choose.
    pub oracle_token: u32,
    /// How much likelier the oracle's choice is, in nats. Small at a near-tie.
    pub nats: f64,
}

/// Two beliefs about one position.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PositionComparison {
    /// Index of the predicted token.
    pub index: u32,
    /// Kullback-Leibler divergence of the arm from what it is compared with, in nats.
    pub kl: f64,
    /// Negative log-likelihood by what it is compared with, in nats.
    pub nll_against: f64,
    /// Negative log-likelihood by the arm, in nats.
    pub nll: f64,
    /// Whether both have the same first choice.
    pub top1_equal: bool,
    /// Log-probability of the first choice less that of the second, of what it is compared with, in nats.
    pub margin: f64,
}

/// `environment.json`: where a run happened and on what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// When the run began, RFC 3339 in UTC.
    pub started_at: String,
    /// `qa`'s version and, when built from a checkout, commit.
    pub qa: BTreeMap<String, String>,
    /// Host: name, system, kernel, processor, cores, memory.
    pub host: BTreeMap<String, String>,
    /// One map a GPU: name, uuid, driver, memory, clocks, power limit.
    pub gpus: Vec<BTreeMap<String, String>>,
    /// Model files by their name in the specification.
    pub models: BTreeMap<String, ModelFile>,
    /// Environment variables that change what backends do, as they were set.
    pub variables: BTreeMap<String, String>,
    /// SHA-256 of the resolved specification, `spec.yaml`.
    pub spec_sha256: String,
    /// The specification's file as the user named it.
    pub spec_path: PathBuf,
    /// The command line.
    pub command: Vec<String>,
    /// Cards that blocks take turns on, by identity, where the user chose some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<String>,
    /// The folder that it was typed in, which its relative paths are relative to.
    #[serde(default)]
    pub directory: PathBuf,
}

/// A model file of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Absolute path, or empty when the model is not here.
    pub path: PathBuf,
    /// Which file was hashed, while the run goes on.
    #[serde(skip)]
    pub identity: Option<Identity>,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: u64,
    /// `path`, `embedded` or `synthesized`; for a file that goes by a name, the name with the revision that it was of.
    pub source: String,
    /// Why it is not here, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Most frequent tensor type by bytes, such as `Q5_0`.
    #[serde(default)]
    pub format: String,
    /// Bytes read from the file's tensors for one decoded token; for the roofline gate.
    #[serde(default)]
    pub bytes_per_token: u64,
    /// Transformer layers, where the architecture is understood; what a bound such as `layers + 4` means.
    #[serde(default)]
    pub layers: Option<u32>,
}
