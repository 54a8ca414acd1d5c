//! A run's folder, read back.

use super::chain::Link;
use super::event::{Event, EventLine};
use super::journal::now;
use super::store::{self, ENVIRONMENT, Folder, SAMPLES, SPEC, Store as _, StoreError};
use crate::samples::{self, Environment, Record};
use crate::spec::{self, Spec, SpecErrors};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A run as its folder has it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunData {
    /// The resolved specification.
    pub spec: Spec,
    /// The same, as it was written.
    pub spec_yaml: String,
    /// Where it ran.
    pub environment: Environment,
    /// What it observed; of blocks, closed attempts only.
    pub records: Vec<Record>,
}

/// Why a folder cannot be read as a run.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The folder is no run's.
    #[error("{} holds no run: there is no {file} in it", dir.display())]
    NoRun {
        /// The folder.
        dir: PathBuf,
        /// What is missing.
        file: &'static str,
    },
    /// A file cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file does not hold what it should.
    #[error("{}, line {line}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counting from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The specification cannot be read.
    #[error(transparent)]
    Spec(#[from] SpecErrors),
    /// The specification is not the one that was run.
    #[error(
        "{} was changed after the run: its SHA-256 is {found:.16}..., and the run's is {recorded:.16}.... \
         Restore the file, or start a new run",
        path.display()
    )]
    SpecChanged {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The hash in `environment.json`.
        recorded: String,
    },
}

/// The files that a run is read from, as they are on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `spec.yaml`.
    pub spec: String,
    /// `environment.json`.
    pub environment: String,
    /// `samples.jsonl`.
    pub samples: Vec<u8>,
}

/// The chain of a run's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// How many records it links.
    pub records: usize,
    /// The link after the last.
    pub head: Link,
}

/// Read a run's folder. Of a run that was killed, everything up to its last whole record.
///
/// # Errors
/// [`ReadError`] when a file is missing, malformed, or not the run's.
pub fn load(dir: &Path) -> Result<RunData, ReadError> {
    Ok(parse(dir, &files(dir)?)?.0)
}

/// The files of a run's folder.
///
/// # Errors
/// [`ReadError`] when one is missing or cannot be read.
pub fn files(dir: &Path) -> Result<Files, ReadError> {
    Ok(Files {
        spec: file(dir, SPEC, |path| fs::read_to_string(path))?,
        environment: file(dir, ENVIRONMENT, |path| fs::read_to_string(path))?,
        samples: file(dir, SAMPLES, |path| fs::read(path))?,
    })
}

/// Understand a run's files; `dir` names them in errors.
///
/// # Errors
/// [`ReadError`] when a file is malformed, or not the run's.
pub fn parse(dir: &Path, files: &Files) -> Result<(RunData, Chain), ReadError> {
    let (spec, environment) = head(dir, files)?;
    let found = lines(dir, files)?;
    let chain = Chain { records: found.records.len(), head: found.head().clone() };
    let records = samples::complete(&found.records).into_iter().cloned().collect();
    Ok((RunData { spec, spec_yaml: files.spec.clone(), environment, records }, chain))
}

/// Take over the folder of a run that was killed: every record, and the folder to write on to.
///
/// # Errors
/// [`ReadError`] as for [`load`], or when another process has the folder.
pub fn resume(dir: &Path) -> Result<(RunData, Folder), ReadError> {
    require(dir, SAMPLES)?;
    let lock = store::lock(dir)?;
    let files = files(dir)?;
    let (spec, environment) = head(dir, &files)?;
    let found = lines(dir, &files)?;
    let mut folder = Folder::reopen(dir, found.first, found.ends, lock)?;
    if let Some(line) = found.torn {
        folder.note(&EventLine { at: now(), event: Event::Torn { line } })?;
    }
    Ok((RunData { spec, spec_yaml: files.spec, environment, records: found.records }, folder))
}

fn head(dir: &Path, files: &Files) -> Result<(Spec, Environment), ReadError> {
    let environment: Environment = serde_json::from_str(&files.environment).map_err(|e| ReadError::Malformed {
        path: dir.join(ENVIRONMENT),
        line: e.line(),
        problem: e.to_string(),
    })?;
    let found = qa_model::hash::sha256_bytes(files.spec.as_bytes());
    if found != environment.spec_sha256 {
        return Err(ReadError::SpecChanged { path: dir.join(SPEC), found, recorded: environment.spec_sha256 });
    }
    Ok((spec::read_resolved(&files.spec, &dir.join(SPEC))?, environment))
}

/// The content of `samples.jsonl`.
struct Lines {
    records: Vec<Record>,
    first: Link,
    /// Where each record ends, in bytes, and the chain after it.
    ends: Vec<(u64, Link)>,
    torn: Option<String>,
}

impl Lines {
    fn head(&self) -> &Link {
        self.ends.last().map_or(&self.first, |(_, link)| link)
    }
}

fn lines(dir: &Path, files: &Files) -> Result<Lines, ReadError> {
    let path = dir.join(SAMPLES);
    let first = Link::first(files.environment.as_bytes());
    let mut found = Lines { records: Vec::new(), first, ends: Vec::new(), torn: None };
    let mut end = 0;
    for (index, line) in files.samples.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let malformed = |problem: String| ReadError::Malformed { path: path.clone(), line: index + 1, problem };
        if line.last() != Some(&b'\n') {
            // Only the last line can lack its end: it was being written when the harness died.
            found.torn = Some(String::from_utf8_lossy(line).into_owned());
            break;
        }
        let record: Record = serde_json::from_slice(line).map_err(|e| malformed(e.to_string()))?;
        if record.seq != index as u64 {
            return Err(malformed(format!(
                "record {} where {index} should be: lines are missing or doubled",
                record.seq
            )));
        }
        let link = found.head().follow(line).map_err(|problem| malformed(format!("record {index}: {problem}")))?;
        end += line.len() as u64;
        found.records.push(record);
        found.ends.push((end, link));
    }
    Ok(found)
}

/// One of the files that a run must have.
fn file<T>(dir: &Path, name: &'static str, read: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, ReadError> {
    require(dir, name)?;
    let path = dir.join(name);
    Ok(read(&path).map_err(StoreError::io("read", &path))?)
}

fn require(dir: &Path, file: &'static str) -> Result<(), ReadError> {
    if dir.join(file).exists() { Ok(()) } else { Err(ReadError::NoRun { dir: dir.to_owned(), file }) }
}
