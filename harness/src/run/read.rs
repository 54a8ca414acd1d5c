//! A run's folder, read back.

use super::chain::Link;
use super::event::{Event, EventLine};
use super::journal::now;
use super::store::{self, ENVIRONMENT, Folder, SAMPLES, SPEC, Store as _, StoreError};
use crate::samples::{self, Environment, Record};
use crate::spec::{self, Spec, SpecErrors};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// Bytes read at a time.
const BUFFER: usize = 1 << 20;

/// Most bytes of a line. The longest honest ones hold the scores of a text, some hundred bytes a token.
const MOST_LINE: u64 = 256 << 20;

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
    /// A packed run lacks a file, or it is no text.
    #[error("{} is no run: {problem}", path.display())]
    Incomplete {
        /// What was given.
        path: PathBuf,
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

/// The chain of a run's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// How many records it links.
    pub records: usize,
    /// The link after the last.
    pub head: Link,
}

/// Read a run's folder, its samples [folded](samples::fold). Of a run that was killed, everything up to its last whole record.
///
/// # Errors
/// [`ReadError`] when a file is missing, malformed, or not the run's.
pub fn load(dir: &Path) -> Result<RunData, ReadError> {
    let (spec, environment) = texts(dir)?;
    parse(dir, &spec, &environment, open(dir)?, usize::MAX).map(|(data, _)| data)
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

/// Read a run's folder with every record as it was written: for who goes on with the run, or with a step of it.
///
/// # Errors
/// [`ReadError`] as for [`load`].
pub fn whole(dir: &Path) -> Result<(RunData, Chain), ReadError> {
    let (spec_yaml, environment_json) = texts(dir)?;
    let (spec, environment) = head(dir, &spec_yaml, &environment_json)?;
    let mut records = Vec::new();
    let found = lines(dir, &environment_json, open(dir)?, &mut |record, _, _| {
        records.push(record);
        Ok(())
    })?;
    Ok((RunData { spec, spec_yaml, environment, records: samples::complete(records) }, found.chain))
}

/// The specification and the environment.
///
/// # Errors
/// [`ReadError`] when one is missing or is no text.
pub fn texts(dir: &Path) -> Result<(String, String), ReadError> {
    let text = |name| {
        require(dir, name)?;
        let path = dir.join(name);
        Ok::<_, ReadError>(fs::read_to_string(&path).map_err(StoreError::io("read", &path))?)
    };
    Ok((text(SPEC)?, text(ENVIRONMENT)?))
}

/// A run's samples, to be read line by line: millions of them must not be in memory as they are.
///
/// # Errors
/// [`ReadError`] when they are missing or cannot be opened.
pub fn open(dir: &Path) -> Result<BufReader<File>, ReadError> {
    require(dir, SAMPLES)?;
    let path = dir.join(SAMPLES);
    Ok(BufReader::with_capacity(BUFFER, File::open(&path).map_err(StoreError::io("read", &path))?))
}

/// Understand a run, its samples [folded](samples::fold) while they are read; `dir` names it in errors. What is held of it is
/// at most about `most` bytes.
///
/// # Errors
/// [`ReadError`] when something is malformed, not the run's, or too much.
pub fn parse(
    dir: &Path,
    spec_yaml: &str,
    environment_json: &str,
    samples: impl BufRead,
    most: usize,
) -> Result<(RunData, Chain), ReadError> {
    let (spec, environment) = head(dir, spec_yaml, environment_json)?;
    let (mut records, mut held) = (Vec::new(), 0);
    let found = lines(dir, environment_json, samples, &mut |record, length, _| {
        held += samples::fold(&mut records, record).unwrap_or(length);
        if held > most { Err(format!("up to here it takes more than {most} bytes of memory")) } else { Ok(()) }
    })?;
    let records = samples::complete(records);
    Ok((RunData { spec, spec_yaml: spec_yaml.to_owned(), environment, records }, found.chain))
}

/// Take over the folder of a run that was killed: every record, and the folder to write on to.
///
/// # Errors
/// [`ReadError`] as for [`load`], or when another process has the folder.
pub fn resume(dir: &Path) -> Result<(RunData, Folder), ReadError> {
    require(dir, SAMPLES)?;
    let lock = store::lock(dir)?;
    let (spec_yaml, environment_json) = texts(dir)?;
    let (spec, environment) = head(dir, &spec_yaml, &environment_json)?;
    let (mut records, mut ends, mut end) = (Vec::new(), Vec::new(), 0);
    let found = lines(dir, &environment_json, open(dir)?, &mut |record, length, link| {
        end += length as u64;
        ends.push((end, link.clone()));
        records.push(record);
        Ok(())
    })?;
    let mut folder = Folder::reopen(dir, Link::first(environment_json.as_bytes()), ends, lock)?;
    if let Some(line) = found.torn {
        folder.note(&EventLine { at: now(), event: Event::Torn { line } })?;
    }
    Ok((RunData { spec, spec_yaml, environment, records }, folder))
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

/// What there is to say of `samples.jsonl` beside its records.
struct Lines {
    chain: Chain,
    torn: Option<String>,
}

/// Read and check every line. `take` is given each record, the length of its line in bytes, and the chain after it; what it
/// says against a record is an error of that line.
fn lines(
    dir: &Path,
    environment: &str,
    mut samples: impl BufRead,
    take: &mut dyn FnMut(Record, usize, &Link) -> Result<(), String>,
) -> Result<Lines, ReadError> {
    let path = dir.join(SAMPLES);
    let mut chain = Chain { records: 0, head: Link::first(environment.as_bytes()) };
    let mut line = Vec::new();
    loop {
        line.clear();
        let index = chain.records;
        let malformed = |problem: String| ReadError::Malformed { path: path.clone(), line: index + 1, problem };
        let read = samples.by_ref().take(MOST_LINE).read_until(b'\n', &mut line);
        if read.map_err(StoreError::io("read", &path))? == 0 {
            return Ok(Lines { chain, torn: None });
        }
        if line.len() as u64 == MOST_LINE {
            return Err(malformed(format!("it is longer than {MOST_LINE} bytes")));
        }
        if line.last() != Some(&b'\n') {
            // Only the last line can lack its end: it was being written when the harness died.
            return Ok(Lines { chain, torn: Some(String::from_utf8_lossy(&line).into_owned()) });
        }
        let record: Record = serde_json::from_slice(&line).map_err(|e| malformed(e.to_string()))?;
        if record.seq != index as u64 {
            return Err(malformed(format!(
                "record {} where {index} should be: lines are missing or doubled",
                record.seq
            )));
        }
        let head = chain.head.follow(&line).map_err(|problem| malformed(format!("record {index}: {problem}")))?;
        take(record, line.len(), &head).map_err(malformed)?;
        chain = Chain { records: index + 1, head };
    }
}

fn require(dir: &Path, file: &'static str) -> Result<(), ReadError> {
    if dir.join(file).exists() { Ok(()) } else { Err(ReadError::NoRun { dir: dir.to_owned(), file }) }
}
