//! A report in each of its forms, and all of them written into a run's directory.

use super::model::Report;
use super::{html, junit, markdown, trace};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Why a report could not be rendered or written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file of the report could not be written.
    #[error("cannot write {}: is the directory there and writable, and its disk not full?", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The result model does not serialize.
    #[error("cannot express the report as JSON")]
    Json(#[from] serde_json::Error),
    /// A template and what it is given do not fit.
    #[error("cannot render the report as HTML")]
    Html(#[from] tera::Error),
    /// The XML could not be put together.
    #[error("cannot express the report as JUnit XML")]
    Junit(#[from] quick_junit::SerializeError),
}

/// A form of a report that is a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A page, complete in itself.
    Html,
    /// The result model.
    Json,
    /// A summary for hosts of code.
    Markdown,
    /// For CI systems.
    Junit,
}

impl Form {
    /// Every form, in the order of writing.
    pub const ALL: [Self; 4] = [Self::Json, Self::Html, Self::Markdown, Self::Junit];

    /// The name of its file in a run's directory.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Html => "report.html",
            Self::Json => "report.json",
            Self::Markdown => "report.md",
            Self::Junit => "junit.xml",
        }
    }

    /// A report in this form.
    ///
    /// # Errors
    /// When the form's own library refuses, which no content of a report causes.
    pub fn render(self, report: &Report) -> Result<String, ReportError> {
        Ok(match self {
            Self::Html => html::render(report)?,
            Self::Json => {
                let mut json = serde_json::to_string_pretty(report)?;
                json.push('\n');
                json
            }
            Self::Markdown => markdown::render(report),
            Self::Junit => junit::render(report)?,
        })
    }
}

/// Write `report.json`, `report.html`, `report.md`, `junit.xml` and a trace of each timeline into `dir`, and return what was written. A file is
/// replaced whole or not at all.
///
/// # Errors
/// When a form cannot be rendered or a file cannot be written; files written before that stay.
pub fn write_all(report: &Report, dir: &Path) -> Result<Vec<PathBuf>, ReportError> {
    let mut written = Vec::with_capacity(Form::ALL.len());
    for form in Form::ALL {
        let content = form.render(report)?;
        let path = dir.join(form.file());
        replace(&path, content.as_bytes()).map_err(|source| ReportError::Write { path: path.clone(), source })?;
        written.push(path);
    }
    for (file, timeline) in trace::of_report(report) {
        let path = dir.join(file);
        let content = trace::events(timeline).to_string();
        replace(&path, content.as_bytes()).map_err(|source| ReportError::Write { path: path.clone(), source })?;
        written.push(path);
    }
    Ok(written)
}

/// Replace a file atomically: readers see the old content or the new, never a part.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut temporary_name = name.to_os_string();
    temporary_name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(temporary_name);
    let written = (|| {
        // Whoever left something of this name must not have chosen what is written to.
        let _ = fs::remove_file(&temporary);
        let mut file = File::create_new(&temporary)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("a directory");
        let mut names: Vec<String> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn every_form_is_written_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("report.md"), "an older report, which is longer or shorter").expect("writes");
        let report = fixture::report();
        let written = write_all(&report, dir.path()).expect("writes");
        assert_eq!(names(dir.path()), ["junit.xml", "report.html", "report.json", "report.md"]);
        assert_eq!(written.len(), 4);
        for form in Form::ALL {
            let found = fs::read_to_string(dir.path().join(form.file())).expect("reads");
            assert_eq!(found, form.render(&report).expect("renders"), "{form:?}");
        }
        let read: Report = serde_json::from_str(&fs::read_to_string(&written[0]).expect("reads")).expect("a report");
        assert_eq!(read, report);
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = write_all(&fixture::report(), &dir.path().join("absent")).expect_err("cannot write");
        assert!(error.to_string().contains("absent"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_no_temporary_one() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("report.json")).expect("makes a directory in the way");
        assert!(write_all(&fixture::report(), dir.path()).is_err());
        assert_eq!(names(dir.path()), ["report.json"]);
    }
}
