//! A run's folder, read back.

use super::event::{Event, EventLine};
use super::journal::now;
use super::store::{self, ENVIRONMENT, Folder, SAMPLES, SPEC, Store as _, StoreError};
use crate::samples::{self, Environment, Record};
use crate::spec::{self, Spec, SpecErrors};
use std::fs;
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

/// Read a run's folder. Of a run that was killed, everything up to its last whole record.
///
/// # Errors
/// [`ReadError`] when a file is missing, malformed, or not the run's.
pub fn load(dir: &Path) -> Result<RunData, ReadError> {
    let (spec, spec_yaml, environment) = head(dir)?;
    let found = lines(dir)?;
    let records = samples::complete(&found.records).into_iter().cloned().collect();
    Ok(RunData { spec, spec_yaml, environment, records })
}

/// Take over the folder of a run that was killed: every record, and the folder to write on to.
///
/// # Errors
/// [`ReadError`] as for [`load`], or when another process has the folder.
pub fn resume(dir: &Path) -> Result<(RunData, Folder), ReadError> {
    require(dir, SAMPLES)?;
    let lock = store::lock(dir)?;
    let (spec, spec_yaml, environment) = head(dir)?;
    let found = lines(dir)?;
    let mut folder = Folder::reopen(dir, found.ends, lock)?;
    if let Some(line) = found.torn {
        folder.note(&EventLine { at: now(), event: Event::Torn { line } })?;
    }
    Ok((RunData { spec, spec_yaml, environment, records: found.records }, folder))
}

fn head(dir: &Path) -> Result<(Spec, String, Environment), ReadError> {
    let (spec_path, environment_path) = (dir.join(SPEC), dir.join(ENVIRONMENT));
    let spec_yaml = text(dir, SPEC)?;
    let environment: Environment = serde_json::from_str(&text(dir, ENVIRONMENT)?)
        .map_err(|e| ReadError::Malformed { path: environment_path, line: e.line(), problem: e.to_string() })?;
    let found = qa_model::hash::sha256_bytes(spec_yaml.as_bytes());
    if found != environment.spec_sha256 {
        return Err(ReadError::SpecChanged { path: spec_path, found, recorded: environment.spec_sha256 });
    }
    let spec = spec::read_resolved(&spec_yaml, &spec_path)?;
    Ok((spec, spec_yaml, environment))
}

/// The content of `samples.jsonl`.
struct Lines {
    records: Vec<Record>,
    ends: Vec<u64>,
    torn: Option<String>,
}

fn lines(dir: &Path) -> Result<Lines, ReadError> {
    require(dir, SAMPLES)?;
    let path = dir.join(SAMPLES);
    let bytes = fs::read(&path).map_err(StoreError::io("read", &path))?;
    let mut found = Lines { records: Vec::new(), ends: Vec::new(), torn: None };
    let mut end = 0;
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
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
        end += line.len() as u64;
        found.records.push(record);
        found.ends.push(end);
    }
    Ok(found)
}

fn text(dir: &Path, file: &'static str) -> Result<String, ReadError> {
    require(dir, file)?;
    let path = dir.join(file);
    Ok(fs::read_to_string(&path).map_err(StoreError::io("read", &path))?)
}

fn require(dir: &Path, file: &'static str) -> Result<(), ReadError> {
    if dir.join(file).exists() { Ok(()) } else { Err(ReadError::NoRun { dir: dir.to_owned(), file }) }
}
