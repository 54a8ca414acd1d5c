//! Runs over time, in one file: what each said, and results of other tools beside them.
//!
//! The file is an index. A run's folder, or its pack, stays the evidence; what is here can be added again from it.

mod baseline;
mod import;
mod levels;
mod store;

pub use baseline::find;
pub use import::{ImportError, Imported, Tool, read_file};
pub use levels::{Level, levels};
pub use store::{History, HistoryError, ImportedRow, PointRow, RunRow};

use crate::evidence::pack::{Pack, PackError, open};
use crate::report::model::Report;
use crate::run::read::{self, Files, ReadError};
use crate::run::store::{ENVIRONMENT, SAMPLES, SPEC};
use crate::verdict;
use std::path::Path;

/// Why a path is no run.
#[derive(Debug, thiserror::Error)]
pub enum NoRun {
    /// It cannot be opened.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file of it is missing or no text.
    #[error("{path} is no run: {problem}")]
    Incomplete {
        /// What was given.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

/// A judged run, and the hash by which it is known again.
#[derive(Clone, Debug)]
pub struct Judged {
    /// As its samples give it now.
    pub report: Report,
    /// SHA-256 of its samples.
    pub samples_sha256: String,
}

/// A run, from its folder or its pack, judged from its samples.
///
/// # Errors
/// [`NoRun`] where it is none, or its samples were changed.
pub fn judged(path: &Path) -> Result<Judged, NoRun> {
    let files = files_of(&open(path)?, path)?;
    let (data, _) = read::parse(path, &files)?;
    Ok(Judged {
        report: verdict::judge(&data.spec, &data.spec_yaml, &data.environment, &data.records),
        samples_sha256: qa_model::hash::sha256_bytes(&files.samples),
    })
}

/// What a run is read from, out of its pack or folder.
fn files_of(pack: &Pack, path: &Path) -> Result<Files, NoRun> {
    let incomplete = |problem: String| NoRun::Incomplete { path: path.display().to_string(), problem };
    let bytes = |name: &str| pack.files.get(name).cloned().ok_or_else(|| incomplete(format!("{name} is missing")));
    let text = |name: &str| String::from_utf8(bytes(name)?).map_err(|_| incomplete(format!("{name} is not UTF-8")));
    Ok(Files { spec: text(SPEC)?, environment: text(ENVIRONMENT)?, samples: bytes(SAMPLES)? })
}

/// The machine that a report is about, in words. Levels of two machines are not compared.
pub fn machine(report: &Report) -> String {
    crate::environment::machine(&report.environment)
}
