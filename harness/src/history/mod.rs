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

use crate::evidence::pack::{PackError, open};
use crate::report::model::Report;
use crate::run::read::{ReadError, RunData};
use crate::run::store::SAMPLES;
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
    let (data, samples_sha256) = run_of(path)?;
    Ok(Judged { report: verdict::judge(&data.spec, &data.spec_yaml, &data.environment, &data.records), samples_sha256 })
}

/// A run, from its folder or its pack, and the hash of its samples.
fn run_of(path: &Path) -> Result<(RunData, String), NoRun> {
    let mut pack = open(path)?;
    let (data, _) = pack.run?;
    Ok((data, pack.digests.remove(SAMPLES).unwrap_or_default()))
}

/// The machine that a report is about, in words. Levels of two machines are not compared.
pub fn machine(report: &Report) -> String {
    crate::environment::machine(&report.environment)
}
