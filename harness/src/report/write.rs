//! Writes every form of a report into a run's directory.

use super::model::Report;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file of the report could not be written.
    #[error("cannot write {}: {source}. Is the directory there, writable, and its disk not full?", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The result model does not serialize.
    #[error("cannot express the report as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Write `report.json` into `dir`, and return what was written. A file is replaced whole or not at all.
///
/// # Errors
/// When a form cannot be rendered or a file cannot be written; files written before that stay.
pub fn write_all(report: &Report, dir: &Path) -> Result<Vec<PathBuf>, ReportError> {
    let mut json = serde_json::to_string_pretty(report)?;
    json.push('\n');
    let path = dir.join("report.json");
    replace(&path, json.as_bytes()).map_err(|source| ReportError::Write { path: path.clone(), source })?;
    Ok(vec![path])
}

/// Replace a file atomically: readers see the old content or the new, never a part.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut temporary_name = name.to_os_string();
    temporary_name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(temporary_name);
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // The first error is the one to tell; a temporary file that cannot be removed changes nothing.
        let _ = fs::remove_file(&temporary);
    }
    written
}
