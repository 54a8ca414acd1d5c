//! The file: an SQLite database that any other tool reads too.

use super::import::Imported;
use super::{Judged, machine};
use crate::report::model::{ClaimResult, EntryResult, Estimand};
use crate::verdict;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Version of the tables, kept in the file: an older program refuses a newer file.
const VERSION: i64 = 2;

/// Numbers without a finite value are NULL. A run is known by its samples: added twice, it is there once.
const TABLES: &str = "
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    samples_sha256 TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    started_at TEXT NOT NULL,
    commit_id TEXT,
    machine TEXT NOT NULL,
    spec_sha256 TEXT NOT NULL,
    sentence TEXT NOT NULL,
    exit_code INTEGER NOT NULL,
    path TEXT NOT NULL,
    branch TEXT
) STRICT;
CREATE TABLE claim (
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    entry TEXT NOT NULL,
    check_name TEXT NOT NULL,
    verdict TEXT NOT NULL,
    evidence TEXT NOT NULL,
    metric TEXT,
    unit TEXT,
    workload TEXT,
    estimate REAL,
    lower REAL,
    upper REAL,
    margin_lower REAL,
    margin_upper REAL,
    PRIMARY KEY (run_id, entry, check_name)
) STRICT;
CREATE TABLE imported (
    file_sha256 TEXT NOT NULL,
    tool TEXT NOT NULL,
    name TEXT NOT NULL,
    unit TEXT NOT NULL,
    mean REAL NOT NULL,
    sd REAL,
    samples INTEGER NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (file_sha256, name)
) STRICT;
";

/// What version 1 lacks.
const FROM_1: &str = "ALTER TABLE run ADD COLUMN branch TEXT;";

/// Why the history cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The database refuses.
    #[error("cannot use {} as a history: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: rusqlite::Error,
    },
    /// It was written by a newer program.
    #[error("{} was written by a newer qa (its tables are of version {found}, this one knows {VERSION}): update qa", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// The folder of the file cannot be made.
    #[error("cannot make the folder of {}: {source}", path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A history.
pub struct History {
    connection: Connection,
    path: PathBuf,
}

/// A run, as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRow {
    /// The specification's name.
    pub name: String,
    /// When it began.
    pub started_at: String,
    /// The commit of the folder that it was run in.
    pub commit: Option<String>,
    /// The branch that it is noted as.
    pub branch: Option<String>,
    /// On what.
    pub machine: String,
    /// Its verdict in one sentence.
    pub sentence: String,
    /// Its exit code.
    pub exit_code: u8,
    /// Where it was when it was added.
    pub path: String,
}

/// A run that may be a baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it was when it was added.
    pub path: String,
    /// SHA-256 of its samples.
    pub samples_sha256: String,
    /// Its exit code.
    pub exit_code: u8,
}

/// A claim in one of the runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PointRow {
    /// When the run began.
    pub started_at: String,
    /// The commit of the folder that it was run in.
    pub commit: Option<String>,
    /// On what.
    pub machine: String,
    /// The check of the entry.
    pub check: String,
    /// The verdict's word.
    pub verdict: String,
    /// Where the number comes from.
    pub evidence: String,
    /// The unit of a value; nothing for a ratio.
    pub unit: Option<String>,
    /// The estimate.
    pub estimate: Option<f64>,
    /// Its lower bound.
    pub lower: Option<f64>,
    /// Its upper bound.
    pub upper: Option<f64>,
}

/// A result of another tool, as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImportedRow {
    /// Which tool.
    pub tool: String,
    /// The benchmark's name.
    pub name: String,
    /// Unit of the mean.
    pub unit: String,
    /// The mean.
    pub mean: f64,
    /// Standard deviation, where it is known.
    pub sd: Option<f64>,
    /// Samples behind it.
    pub samples: u32,
    /// The file.
    pub path: String,
    /// Always `imported`: it can pass no claim.
    pub evidence: &'static str,
}

impl History {
    /// Open a history, or begin one.
    ///
    /// # Errors
    /// [`HistoryError`] where the file is none, is newer, or cannot be made.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|source| HistoryError::Folder { path: path.to_owned(), source })?;
        }
        let error = |source| HistoryError::Database { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(error)?;
        connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 10000;").map_err(error)?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(error)?;
        match found {
            0 => {
                let begin = format!("BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;");
                connection.execute_batch(&begin).map_err(error)?;
            }
            1 => {
                let mend = format!("BEGIN IMMEDIATE; {FROM_1} PRAGMA user_version = {VERSION}; COMMIT;");
                connection.execute_batch(&mend).map_err(error)?;
            }
            VERSION => {}
            found => return Err(HistoryError::Newer { path: path.to_owned(), found }),
        }
        Ok(Self { connection, path: path.to_owned() })
    }

    fn error(&self) -> impl Fn(rusqlite::Error) -> HistoryError + use<> {
        let path = self.path.clone();
        move |source| HistoryError::Database { path: path.clone(), source }
    }

    /// Add a run with its claims, whole or not at all. `branch` is what it is noted as; that of the folder that it was run
    /// in when absent. `false` when it was there, and then a branch that is given replaces the one that was noted.
    ///
    /// # Errors
    /// [`HistoryError`] when the database refuses.
    pub fn add(&mut self, run: &Judged, path: &Path, branch: Option<&str>) -> Result<bool, HistoryError> {
        let error = self.error();
        let report = &run.report;
        let transaction = self.connection.transaction().map_err(&error)?;
        let added = transaction
            .execute(
                "INSERT OR IGNORE INTO run (samples_sha256, name, started_at, commit_id, machine, spec_sha256, sentence, exit_code, path, \
                 branch) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    run.samples_sha256,
                    report.name,
                    report.environment.started_at,
                    report.environment.qa.get("directory_commit"),
                    machine(report),
                    report.environment.spec_sha256,
                    report.headline.sentence,
                    report.headline.exit_code,
                    path.display().to_string(),
                    branch.or(report.environment.qa.get("directory_branch").map(String::as_str)),
                ],
            )
            .map_err(&error)?;
        if added == 0 {
            if let Some(branch) = branch {
                let note = "UPDATE run SET branch = ?1 WHERE samples_sha256 = ?2";
                transaction.execute(note, params![branch, run.samples_sha256]).map_err(&error)?;
                transaction.commit().map_err(&error)?;
            }
            return Ok(false);
        }
        let id = transaction.last_insert_rowid();
        for entry in &report.entries {
            for claim in &entry.claims {
                insert_claim(&transaction, id, entry, claim).map_err(&error)?;
            }
        }
        transaction.commit().map_err(&error)?;
        Ok(true)
    }

    /// Add what another tool measured; what came from the same file before is replaced.
    ///
    /// # Errors
    /// [`HistoryError`] when the database refuses.
    pub fn import(&mut self, results: &[Imported], file_sha256: &str, path: &Path) -> Result<(), HistoryError> {
        let error = self.error();
        let transaction = self.connection.transaction().map_err(&error)?;
        for result in results {
            transaction
                .execute(
                    "INSERT OR REPLACE INTO imported VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    params![
                        file_sha256,
                        result.tool.name(),
                        result.name,
                        result.unit,
                        result.mean,
                        result.sd.filter(|sd| sd.is_finite()),
                        result.samples,
                        path.display().to_string(),
                    ],
                )
                .map_err(&error)?;
        }
        transaction.commit().map_err(&error)
    }

    /// Runs, the newest first; of one specification where it is named.
    ///
    /// # Errors
    /// [`HistoryError`] when the database refuses.
    pub fn runs(&self, name: Option<&str>) -> Result<Vec<RunRow>, HistoryError> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT name, started_at, commit_id, machine, sentence, exit_code, path, branch FROM run \
                 WHERE ?1 IS NULL OR name = ?1 ORDER BY started_at DESC, id DESC",
            )?;
            let rows = statement.query_map([name], |row| {
                Ok(RunRow {
                    name: row.get(0)?,
                    started_at: row.get(1)?,
                    commit: row.get(2)?,
                    machine: row.get(3)?,
                    sentence: row.get(4)?,
                    exit_code: row.get(5)?,
                    path: row.get(6)?,
                    branch: row.get(7)?,
                })
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(self.error())
    }

    /// The runs of a specification that are noted as of a branch, the newest first.
    ///
    /// # Errors
    /// [`HistoryError`] when the database refuses.
    pub fn candidates(&self, name: &str, branch: &str) -> Result<Vec<Candidate>, HistoryError> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT path, samples_sha256, exit_code FROM run WHERE name = ?1 AND branch = ?2 ORDER BY started_at DESC, id DESC",
            )?;
            let rows = statement.query_map([name, branch], |row| {
                Ok(Candidate { path: row.get(0)?, samples_sha256: row.get(1)?, exit_code: row.get(2)? })
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(self.error())
    }

    /// An entry's claims in every run that has it, the oldest first.
    ///
    /// # Errors
    /// [`HistoryError`] when the database refuses.
    pub fn points(&self, entry: &str, name: Option<&str>) -> Result<Vec<PointRow>, HistoryError> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT started_at, commit_id, machine, check_name, verdict, evidence, unit, estimate, lower, upper \
                 FROM claim JOIN run ON run.id = run_id WHERE entry = ?1 AND (?2 IS NULL OR name = ?2) \
                 ORDER BY started_at, run.id, claim.rowid",
            )?;
            let rows = statement.query_map(params![entry, name], |row| {
                Ok(PointRow {
                    started_at: row.get(0)?,
                    commit: row.get(1)?,
                    machine: row.get(2)?,
                    check: row.get(3)?,
                    verdict: row.get(4)?,
                    evidence: row.get(5)?,
                    unit: row.get(6)?,
                    estimate: row.get(7)?,
                    lower: row.get(8)?,
                    upper: row.get(9)?,
                })
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(self.error())
    }

    /// What other tools measured, by tool and name.
    ///
    /// # Errors
    /// [`HistoryError`] when the database refuses.
    pub fn imported(&self) -> Result<Vec<ImportedRow>, HistoryError> {
        let read = || {
            let mut statement = self
                .connection
                .prepare("SELECT tool, name, unit, mean, sd, samples, path FROM imported ORDER BY tool, name, path")?;
            let rows = statement.query_map([], |row| {
                Ok(ImportedRow {
                    tool: row.get(0)?,
                    name: row.get(1)?,
                    unit: row.get(2)?,
                    mean: row.get(3)?,
                    sd: row.get(4)?,
                    samples: row.get(5)?,
                    path: row.get(6)?,
                    evidence: "imported",
                })
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(self.error())
    }

    /// Whether any run has an entry of this id.
    ///
    /// # Errors
    /// [`HistoryError`] when the database refuses.
    pub fn knows(&self, entry: &str) -> Result<bool, HistoryError> {
        let found =
            self.connection.query_row("SELECT 1 FROM claim WHERE entry = ?1 LIMIT 1", [entry], |_| Ok(())).optional();
        Ok(found.map_err(self.error())?.is_some())
    }
}

fn insert_claim(
    connection: &Connection,
    run: i64,
    entry: &EntryResult,
    claim: &ClaimResult,
) -> Result<usize, rusqlite::Error> {
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    let comparison = claim.comparison.as_ref();
    let unit = comparison.filter(|c| c.estimand == Estimand::Value).map(|c| c.unit.as_str());
    connection.execute(
        // An ablation has several rows of one check: the first, which stands for all, is kept.
        "INSERT OR IGNORE INTO claim VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            run,
            entry.id,
            claim.check,
            verdict::word(claim.verdict),
            crate::report::phrase::evidence(claim.evidence),
            comparison.map(|c| c.metric.as_str()),
            unit,
            comparison.map(|c| c.workload.as_str()),
            comparison.and_then(|c| finite(c.estimate)),
            comparison.and_then(|c| finite(c.lower)),
            comparison.and_then(|c| finite(c.upper)),
            comparison.and_then(|c| c.margin_lower),
            comparison.and_then(|c| c.margin_upper),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Tool;
    use crate::report::fixture;

    fn run(started_at: &str, samples: &str) -> Judged {
        let mut report = fixture::report();
        report.environment.started_at = started_at.into();
        report.environment.qa.insert("directory_commit".into(), format!("commit-{samples}"));
        Judged { report, samples_sha256: samples.into() }
    }

    #[test]
    fn a_run_is_there_once_with_its_claims_and_after_the_file_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/history.db");
        let mut history = History::open(&path).unwrap();
        assert!(history.add(&run("2026-02-01T00:00:00Z", "b"), Path::new("runs/b"), None).unwrap());
        assert!(history.add(&run("2026-01-01T00:00:00Z", "a"), Path::new("runs/a"), None).unwrap());
        assert!(!history.add(&run("2026-01-01T00:00:00Z", "a"), Path::new("elsewhere"), Some("main")).unwrap());
        drop(history);
        let history = History::open(&path).unwrap();
        let runs = history.runs(None).unwrap();
        assert_eq!(runs.iter().map(|run| run.path.as_str()).collect::<Vec<_>>(), ["runs/b", "runs/a"]);
        assert_eq!((runs[0].exit_code, runs[0].machine.as_str()), (70, "NVIDIA H100 80GB HBM3"));
        assert!(history.runs(Some("other")).unwrap().is_empty());
        assert_eq!(
            (runs[0].branch.as_deref(), runs[1].branch.as_deref()),
            (None, Some("main")),
            "noted when added again"
        );
        let name = runs[1].name.as_str();
        let on_main = history.candidates(name, "main").unwrap();
        assert_eq!(on_main.iter().map(|run| run.path.as_str()).collect::<Vec<_>>(), ["runs/a"]);
        assert!(history.candidates(name, "other").unwrap().is_empty());
        assert!(history.candidates("other", "main").unwrap().is_empty());
        let points = history.points("POINT-41", None).unwrap();
        assert_eq!(points.iter().filter_map(|p| p.commit.as_deref()).collect::<Vec<_>>(), ["commit-a", "commit-b"]);
        let point = &points[0];
        assert_eq!(
            (point.verdict.as_str(), point.unit.as_deref(), point.evidence.as_str()),
            ("PASS", None, "measured")
        );
        assert!(point.lower < point.estimate && point.estimate < point.upper, "{point:?}");
        let blocked = &history.points("POINT-42", None).unwrap()[0];
        assert_eq!((blocked.verdict.as_str(), blocked.estimate), ("BLOCKED", None));
        assert!(history.knows("POINT-41").unwrap() && !history.knows("POINT-4").unwrap());
    }

    #[test]
    fn imported_results_stay_imported_and_are_replaced_by_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::open(&dir.path().join("history.db")).unwrap();
        let result =
            |mean| Imported { tool: Tool::Hyperfine, name: "a".into(), unit: "s".into(), mean, sd: None, samples: 3 };
        history.import(&[result(1.0)], "file", Path::new("a.json")).unwrap();
        history.import(&[result(2.0)], "file", Path::new("a.json")).unwrap();
        let rows = history.imported().unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].mean, rows[0].evidence, rows[0].tool.as_str()), (2.0, "imported", "hyperfine"));
    }

    #[test]
    fn a_file_of_the_version_before_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("old.db");
        let before = TABLES.replace(",\n    branch TEXT", "");
        assert_ne!(before, TABLES);
        let old = Connection::open(&path).unwrap();
        old.execute_batch(&format!("{before} PRAGMA user_version = 1;")).unwrap();
        drop(old);
        let mut history = History::open(&path).unwrap();
        assert!(history.add(&run("2026-02-01T00:00:00Z", "b"), Path::new("runs/b"), Some("main")).unwrap());
        assert_eq!(history.runs(None).unwrap()[0].branch.as_deref(), Some("main"));
    }

    #[test]
    fn a_file_that_is_none_or_newer_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.db");
        std::fs::write(&path, "this is text, and no database of any kind; it is long enough to be read as a header")
            .unwrap();
        assert!(History::open(&path).is_err_and(|e| e.to_string().contains("text.db")));
        let path = dir.path().join("newer.db");
        drop(History::open(&path).unwrap());
        Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        assert!(History::open(&path).is_err_and(|e| e.to_string().contains("update qa")));
    }
}
