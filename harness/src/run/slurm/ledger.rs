//! What was submitted, on disk before it is: a `qa` that was killed in between finds its jobs again.

use super::super::journal::now;
use super::super::store::{StoreError, append_line};
use crate::run::unit::Unit;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

/// The file, below the folder of a run's jobs.
const FILE: &str = "jobs.jsonl";

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    /// A job of this name is about to be submitted, one task a unit.
    Intent { at: String, token: String, units: Vec<Unit> },
    /// It was, under this number.
    Job { token: String, job: String },
    /// A task left nothing whole, and nothing of it is taken any more.
    Gone { token: String, task: u32, why: String },
    /// The job is of no use any more.
    Cancelled { token: String },
}

/// A job, one task a unit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Submission {
    /// The job's name, which nobody else's has.
    pub(super) token: String,
    /// Task by task.
    pub(super) units: Vec<Unit>,
    /// Its number; absent where the scheduler's answer was lost.
    pub(super) job: Option<String>,
    /// Tasks that were given up.
    pub(super) gone: BTreeSet<u32>,
    /// Whether all of it was.
    pub(super) cancelled: bool,
}

/// The ledger of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    pub(super) submissions: Vec<Submission>,
}

impl Ledger {
    /// Read what is there, and go on with it. A line that was being written when its writer died is no line.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be used.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let io = |action| StoreError::io(action, &path);
        fs::create_dir_all(dir).map_err(io("make"))?;
        let text = if path.exists() { fs::read_to_string(&path).map_err(io("read"))? } else { String::new() };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(io("open"))?;
        file.set_len(whole as u64).map_err(io("cut"))?;
        let mut ledger = Self { path: path.clone(), file, submissions: Vec::new() };
        for line in text[..whole].lines() {
            let line =
                serde_json::from_str(line).map_err(|source| StoreError::Json { what: "a line of the jobs", source })?;
            ledger.apply(line);
        }
        Ok(ledger)
    }

    fn apply(&mut self, line: Line) {
        let find = |all: &mut Vec<Submission>, token: &str| all.iter().position(|s| s.token == token);
        match line {
            Line::Intent { token, units, .. } => {
                let gone = BTreeSet::new();
                self.submissions.push(Submission { token, units, job: None, gone, cancelled: false });
            }
            Line::Job { token, job } => {
                if let Some(at) = find(&mut self.submissions, &token) {
                    self.submissions[at].job = Some(job);
                }
            }
            Line::Gone { token, task, .. } => {
                if let Some(at) = find(&mut self.submissions, &token) {
                    self.submissions[at].gone.insert(task);
                }
            }
            Line::Cancelled { token } => {
                if let Some(at) = find(&mut self.submissions, &token) {
                    self.submissions[at].cancelled = true;
                }
            }
        }
    }

    fn add(&mut self, line: Line) -> Result<(), StoreError> {
        append_line(&mut self.file, &self.path, &line)?;
        self.file.sync_data().map_err(StoreError::io("sync", &self.path))?;
        self.apply(line);
        Ok(())
    }

    /// Say that a job is about to be submitted. Answers its index.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub(super) fn intend(&mut self, token: String, units: Vec<Unit>) -> Result<usize, StoreError> {
        self.add(Line::Intent { at: now(), token, units })?;
        Ok(self.submissions.len() - 1)
    }

    /// Say under which number it was.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub(super) fn submitted(&mut self, at: usize, job: String) -> Result<(), StoreError> {
        let token = self.submissions[at].token.clone();
        self.add(Line::Job { token, job })
    }

    /// Say that a task is given up.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub(super) fn gone(&mut self, at: usize, task: u32, why: String) -> Result<(), StoreError> {
        let token = self.submissions[at].token.clone();
        self.add(Line::Gone { token, task, why })
    }

    /// Say that a whole job is.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub(super) fn cancelled(&mut self, at: usize) -> Result<(), StoreError> {
        let token = self.submissions[at].token.clone();
        self.add(Line::Cancelled { token })
    }

    /// The job and task that has a unit, the last one that was not given up.
    pub(super) fn live(&self, unit: &Unit) -> Option<(usize, u32)> {
        self.submissions.iter().enumerate().rev().filter(|(_, submission)| !submission.cancelled).find_map(|(at, s)| {
            let task = s.units.iter().position(|other| other.is(unit))? as u32;
            (!s.gone.contains(&task)).then_some((at, task))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(block: u32) -> Unit {
        Unit::Block { workload: "w".into(), block, attempt: 0, last: false, out: std::collections::BTreeMap::new() }
    }

    #[test]
    fn who_was_killed_finds_its_jobs_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(dir.path()).unwrap();
        let first = ledger.intend("qa-a".into(), vec![block(0), block(1)]).unwrap();
        ledger.submitted(first, "17".into()).unwrap();
        ledger.gone(first, 1, "NODE_FAIL".into()).unwrap();
        let second = ledger.intend("qa-b".into(), vec![block(1)]).unwrap();
        drop(ledger);
        // Killed in the middle of a line.
        let path = dir.path().join(FILE);
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"event\":\"jo");
        fs::write(&path, text).unwrap();
        let mut ledger = Ledger::open(dir.path()).unwrap();
        assert_eq!(ledger.live(&block(0)), Some((first, 0)));
        assert_eq!(ledger.live(&block(1)), Some((second, 0)), "the later job has it, the number of which is not known");
        assert_eq!(ledger.submissions[second].job, None);
        assert_eq!(ledger.live(&block(2)), None);
        ledger.cancelled(first).unwrap();
        assert_eq!(Ledger::open(dir.path()).unwrap().live(&block(0)), None);
    }

    #[test]
    fn a_line_that_is_no_line_is_an_error_and_not_a_job_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{\"event\":\"other\"}\n").unwrap();
        assert!(Ledger::open(dir.path()).is_err());
    }
}
