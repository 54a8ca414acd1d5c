//! A run's folder, read back.

use super::chain::Link;
use super::event::{Event, EventLine};
use super::journal::now;
use super::store::{self, ENVIRONMENT, Folder, SAMPLES, SPEC, Store as _, StoreError};
use crate::samples::{self, Environment, Record};
use crate::spec::{self, Spec, SpecErrors};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
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
    #[error(
        "{}; `qa list runs FOLDER` lists the runs of a folder",
        if dir.is_dir() { format!("{} holds no run: there is no {file} in it", dir.display()) }
        else { format!("there is no folder {}", dir.display()) }
    )]
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
    let (spec_text, environment_text) = texts(dir)?;
    let (spec, environment) = head(dir, &spec_text, &environment_text)?;
    require(dir, SAMPLES)?;
    let path = dir.join(SAMPLES);
    let file = File::open(&path).map_err(StoreError::io("read", &path))?;
    // Line by line: a file of millions must not be in memory twice.
    let found = lines(dir, &environment_text, BufReader::with_capacity(1 << 20, file), &mut |_, _| ())?;
    Ok(RunData { spec, spec_yaml: spec_text, environment, records: samples::complete(found.records) })
}

/// A run's specification and environment, without what it observed.
///
/// # Errors
/// [`ReadError`] when a file is missing, malformed, or not the run's.
pub fn beginning(dir: &Path) -> Result<RunData, ReadError> {
    let (spec_yaml, environment) = texts(dir)?;
    let (spec, environment) = head(dir, &spec_yaml, &environment)?;
    Ok(RunData { spec, spec_yaml, environment, records: Vec::new() })
}

/// The files of a run's folder.
///
/// # Errors
/// [`ReadError`] when one is missing or cannot be read.
pub fn files(dir: &Path) -> Result<Files, ReadError> {
    let (spec, environment) = texts(dir)?;
    Ok(Files { spec, environment, samples: file(dir, SAMPLES, |path| fs::read(path))? })
}

/// The specification and the environment.
fn texts(dir: &Path) -> Result<(String, String), ReadError> {
    let text = |name| file(dir, name, |path| fs::read_to_string(path));
    Ok((text(SPEC)?, text(ENVIRONMENT)?))
}

/// Understand a run's files; `dir` names them in errors.
///
/// # Errors
/// [`ReadError`] when a file is malformed, or not the run's.
pub fn parse(dir: &Path, files: &Files) -> Result<(RunData, Chain), ReadError> {
    parse_texts(dir, &files.spec, &files.environment, &files.samples)
}

/// Understand a run's files where they are: samples of millions of lines are not copied to be read.
///
/// # Errors
/// [`ReadError`] as for [`parse`].
pub fn parse_texts(
    dir: &Path,
    spec_yaml: &str,
    environment_json: &str,
    samples: &[u8],
) -> Result<(RunData, Chain), ReadError> {
    let (spec, environment) = head(dir, spec_yaml, environment_json)?;
    let found = lines(dir, environment_json, samples, &mut |_, _| ())?;
    let chain = Chain { records: found.records.len(), head: found.head };
    let records = samples::complete(found.records);
    Ok((RunData { spec, spec_yaml: spec_yaml.to_owned(), environment, records }, chain))
}

/// Take over the folder of a run that was killed: every record, and the folder to write on to.
///
/// # Errors
/// [`ReadError`] as for [`load`], or when another process has the folder.
pub fn resume(dir: &Path) -> Result<(RunData, Folder), ReadError> {
    require(dir, SAMPLES)?;
    let lock = store::lock(dir)?;
    let files = files(dir)?;
    let (spec, environment) = head(dir, &files.spec, &files.environment)?;
    let mut ends = Vec::new();
    let mut end = |bytes, link: &Link| ends.push((bytes, link.clone()));
    let found = lines(dir, &files.environment, files.samples.as_slice(), &mut end)?;
    let mut folder = Folder::reopen(dir, Link::first(files.environment.as_bytes()), ends, lock)?;
    if let Some(line) = found.torn {
        folder.note(&EventLine { at: now(), event: Event::Torn { line } })?;
    }
    Ok((RunData { spec, spec_yaml: files.spec, environment, records: found.records }, folder))
}

fn head(dir: &Path, spec: &str, environment: &str) -> Result<(Spec, Environment), ReadError> {
    let environment: Environment = serde_json::from_str(environment).map_err(|e| ReadError::Malformed {
        path: dir.join(ENVIRONMENT),
        line: e.line(),
        problem: e.to_string(),
    })?;
    let found = qa_model::hash::sha256_bytes(spec.as_bytes());
    if found != environment.spec_sha256 {
        return Err(ReadError::SpecChanged { path: dir.join(SPEC), found, recorded: environment.spec_sha256 });
    }
    Ok((spec::read_resolved(spec, &dir.join(SPEC))?, environment))
}

/// The content of `samples.jsonl`.
struct Lines {
    records: Vec<Record>,
    /// The chain after the last record.
    head: Link,
    torn: Option<String>,
}

/// Read and check every line. `ended` hears where each record ends, in bytes, and the chain after it.
fn lines(
    dir: &Path,
    environment: &str,
    mut samples: impl BufRead,
    ended: &mut dyn FnMut(u64, &Link),
) -> Result<Lines, ReadError> {
    let path = dir.join(SAMPLES);
    let mut found = Lines { records: Vec::new(), head: Link::first(environment.as_bytes()), torn: None };
    let (mut line, mut end) = (Vec::new(), 0);
    loop {
        line.clear();
        if samples.read_until(b'\n', &mut line).map_err(StoreError::io("read", &path))? == 0 {
            return Ok(found);
        }
        let index = found.records.len();
        let malformed = |problem: String| ReadError::Malformed { path: path.clone(), line: index + 1, problem };
        if line.last() != Some(&b'\n') {
            // Only the last line can lack its end: it was being written when the harness died.
            found.torn = Some(String::from_utf8_lossy(&line).into_owned());
            return Ok(found);
        }
        let record: Record = serde_json::from_slice(&line).map_err(|e| malformed(e.to_string()))?;
        if record.seq != index as u64 {
            return Err(malformed(format!(
                "record {} where {index} should be: lines are missing or doubled",
                record.seq
            )));
        }
        found.head = found.head.follow(&line).map_err(|problem| malformed(format!("record {index}: {problem}")))?;
        end += line.len() as u64;
        ended(end, &found.head);
        found.records.push(record);
    }
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
