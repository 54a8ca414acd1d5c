//! `qa history`: runs over time, and results of other tools beside them.

use super::fail;
use crate::environment::absolute;
use crate::exit;
use crate::history::{History, HistoryError, Level, PointRow, judged, levels, read_file};
use clap::Subcommand;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Keep what runs said, in one file, and look at it over time.
#[derive(Clone, Debug, clap::Args)]
pub struct HistoryArgs {
    #[command(subcommand)]
    what: What,

    /// The history's file, an SQLite database.
    #[arg(long, global = true, value_name = "FILE", env = "QA_HISTORY", default_value = "runs/history.db")]
    db: PathBuf,

    /// Print as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Add runs: folders or packed files. One that is there already is passed over.
    Add {
        /// The runs.
        #[arg(required = true)]
        runs: Vec<PathBuf>,

        /// Note them as of this branch, for claims that say `over: { baseline: BRANCH }`; that of the folder that they were
        /// run in when absent.
        #[arg(long)]
        branch: Option<String>,
    },
    /// Add what other tools measured: `estimates.json` of criterion, `--export-json` of hyperfine,
    /// `--benchmark_format=json` of Google Benchmark, `-o json` of llama-bench. It stays imported: it can pass no claim.
    Import {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List runs, the newest first, and what was imported.
    List {
        /// Of this specification only, by its name.
        #[arg(long)]
        name: Option<String>,
    },
    /// Show an entry over time, and where its level changed. Machines are not compared with each other.
    Trend {
        /// The entry's id.
        entry: String,

        /// Of this specification only, by its name.
        #[arg(long)]
        name: Option<String>,
    },
}

/// Do it.
pub fn run(args: &HistoryArgs) -> u8 {
    let outcome = match &args.what {
        What::Add { runs, branch } => add(args, runs, branch.as_deref()),
        What::Import { files } => import(args, files),
        What::List { name } => list(args, name.as_deref()),
        What::Trend { entry, name } => trend(args, entry, name.as_deref()),
    };
    outcome.unwrap_or_else(|e| fail(&e, exit::DATA))
}

/// The history, which must be there to be read.
fn existing(db: &Path) -> Result<Option<History>, HistoryError> {
    if db.is_file() {
        return History::open(db).map(Some);
    }
    eprintln!("qa: there is no history at {}; `qa history add RUN` begins one", db.display());
    Ok(None)
}

fn add(args: &HistoryArgs, runs: &[PathBuf], branch: Option<&str>) -> Result<u8, HistoryError> {
    let mut history = History::open(&args.db)?;
    let mut code = exit::OK;
    for path in runs {
        match judged(path) {
            Ok(run) => {
                // It is looked up again from other folders.
                let word = if history.add(&run, &absolute(path), branch)? { "added" } else { "there already" };
                println!("{word}: {} ({})", path.display(), run.report.headline.sentence);
            }
            Err(e) => code = fail(&e, exit::DATA),
        }
    }
    Ok(code)
}

fn import(args: &HistoryArgs, files: &[PathBuf]) -> Result<u8, HistoryError> {
    let mut history = History::open(&args.db)?;
    let mut code = exit::OK;
    for path in files {
        let (results, hash) = match (read_file(path), qa_model::hash::sha256_file(path)) {
            (Ok(results), Ok(hash)) => (results, hash),
            (Err(e), _) => {
                code = fail(&e, exit::DATA);
                continue;
            }
            (_, Err(e)) => {
                code = fail(&e, exit::IO);
                continue;
            }
        };
        history.import(&results, &hash, path)?;
        for result in results {
            println!("imported: {} {}: {} {}", result.tool.name(), result.name, number(result.mean), result.unit);
        }
    }
    Ok(code)
}

fn number(value: f64) -> String {
    crate::report::number::value(value)
}

fn list(args: &HistoryArgs, name: Option<&str>) -> Result<u8, HistoryError> {
    let Some(history) = existing(&args.db)? else { return Ok(exit::DATA) };
    let (runs, imported) = (history.runs(name)?, history.imported()?);
    if args.json {
        println!("{:#}", json!({ "runs": runs, "imported": imported }));
        return Ok(exit::OK);
    }
    for run in runs {
        println!("{}  {:<8}  {}  {}", day(&run.started_at), short(run.commit.as_deref()), run.name, run.sentence);
    }
    for result in imported.iter().filter(|_| name.is_none()) {
        let sd = result.sd.map_or(String::new(), |sd| format!(", sd {}", number(sd)));
        println!("imported    {}  {}: {} {}{sd}", result.tool, result.name, number(result.mean), result.unit);
    }
    Ok(exit::OK)
}

/// `2026-11-22 13:47`.
fn day(rfc3339: &str) -> String {
    rfc3339.chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

fn short(commit: Option<&str>) -> String {
    commit.map_or_else(|| "-".to_owned(), |commit| commit.chars().take(8).collect())
}

/// Runs of one check on one machine.
struct Track<'a> {
    machine: &'a str,
    check: &'a str,
    points: Vec<&'a PointRow>,
    levels: Vec<Level>,
}

fn tracks(points: &[PointRow]) -> Vec<Track<'_>> {
    let mut by: BTreeMap<(&str, &str), Vec<&PointRow>> = BTreeMap::new();
    for point in points {
        by.entry((&point.machine, &point.check)).or_default().push(point);
    }
    by.into_iter()
        .map(|((machine, check), points)| {
            let estimates: Vec<f64> = points.iter().filter_map(|point| point.estimate).collect();
            Track { machine, check, levels: levels(&estimates), points }
        })
        .collect()
}

fn trend(args: &HistoryArgs, entry: &str, name: Option<&str>) -> Result<u8, HistoryError> {
    let Some(history) = existing(&args.db)? else { return Ok(exit::DATA) };
    if !history.knows(entry)? {
        eprintln!("qa: no run of {} has an entry {entry}", args.db.display());
        return Ok(exit::NOTHING_SELECTED);
    }
    let points = history.points(entry, name)?;
    let tracks = tracks(&points);
    if args.json {
        println!("{:#}", Value::Array(tracks.iter().map(as_json).collect()));
    } else {
        print!("{}", tracks.iter().map(|track| as_text(entry, track)).collect::<Vec<_>>().join("\n"));
    }
    Ok(exit::OK)
}

fn as_json(track: &Track<'_>) -> Value {
    let measured: Vec<&&PointRow> = track.points.iter().filter(|point| point.estimate.is_some()).collect();
    let level = |level: &Level| {
        let first = measured.get(level.from);
        json!({
            "from": first.map(|point| &point.started_at), "commit": first.and_then(|point| point.commit.as_ref()),
            "runs": level.runs, "mean": level.mean, "p_value": level.p_value,
        })
    };
    json!({
        "machine": track.machine, "check": track.check, "points": track.points,
        "levels": track.levels.iter().map(level).collect::<Vec<_>>(),
    })
}

/// A line a run, and a sentence a change.
fn as_text(entry: &str, track: &Track<'_>) -> String {
    let mut out = format!("{entry} ({}) on {}\n", track.check, track.machine);
    let mut measured = 0;
    for point in &track.points {
        let unit = point.unit.as_ref().map_or_else(|| "x".to_owned(), |unit| format!(" {unit}"));
        let value = match (point.estimate, point.lower, point.upper) {
            (Some(estimate), Some(lower), Some(upper)) => {
                format!("{}{unit} [{}, {}]", number(estimate), number(lower), number(upper))
            }
            (Some(estimate), ..) => format!("{}{unit}", number(estimate)),
            (None, ..) => "no number".to_owned(),
        };
        if point.estimate.is_some() {
            let begins = track.levels.iter().find(|level| level.from == measured && level.p_value.is_some());
            if let Some(level) = begins {
                let _ = writeln!(
                    out,
                    "  -- from here on {}{unit} (mean of {} runs; {})",
                    number(level.mean),
                    level.runs,
                    crate::report::number::p_value(level.p_value.unwrap_or(f64::NAN))
                );
            }
            measured += 1;
        }
        let _ = writeln!(
            out,
            "  {}  {:<8}  {:<12}  {value}",
            day(&point.started_at),
            short(point.commit.as_deref()),
            point.verdict
        );
    }
    if measured < 6 {
        let _ = writeln!(out, "  a change of level is looked for from six runs on");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(day: usize, estimate: Option<f64>) -> PointRow {
        PointRow {
            started_at: format!("2026-01-{:02}T00:00:00Z", day + 1),
            commit: Some(format!("{day:040}")),
            machine: "card".into(),
            check: "require".into(),
            verdict: if estimate.is_some() { "PASS" } else { "BLOCKED" }.into(),
            evidence: "measured".into(),
            unit: None,
            estimate,
            lower: estimate.map(|e| e * 0.99),
            upper: estimate.map(|e| e * 1.01),
        }
    }

    #[test]
    fn a_change_is_named_where_it_begins_and_a_gap_moves_nothing() {
        let wobble = |day: usize| 1.0 + 0.002 * ((day * 7 % 5) as f64 - 2.0);
        let points: Vec<PointRow> =
            (0..20).map(|day| point(day, (day != 4).then(|| if day < 10 { 2.0 } else { 1.7 } * wobble(day)))).collect();
        let tracks = tracks(&points);
        assert_eq!(tracks.len(), 1);
        let said = as_text("POINT-41", &tracks[0]);
        let lines: Vec<&str> = said.lines().collect();
        let mark = lines.iter().position(|line| line.contains("from here on 1.7")).expect("a change");
        assert!(lines[mark + 1].contains("2026-01-11"), "{said}");
        assert!(lines.iter().any(|line| line.contains("BLOCKED       no number")), "{said}");
        assert_eq!(as_json(&tracks[0])["levels"][1]["from"], "2026-01-11T00:00:00Z");
    }

    #[test]
    fn machines_are_kept_apart() {
        let mut points: Vec<PointRow> = (0..4).map(|day| point(day, Some(2.0))).collect();
        points[1].machine = "other card".into();
        let tracks = tracks(&points);
        assert_eq!(tracks.iter().map(|track| track.points.len()).collect::<Vec<_>>(), [3, 1]);
        assert!(as_text("A", &tracks[0]).contains("looked for from six runs on"));
    }
}
