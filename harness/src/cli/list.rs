//! `qa list`: runs, specifications, and the entries of one.

use super::spec_args::SpecArgs;
use crate::exit;
use crate::report::color::ColorChoice;
use crate::report::model::Report;
use crate::run::store::{ENVIRONMENT, SAMPLES};
use crate::samples::Environment;
use crate::spec::{self, LoadOptions, Loaded, check};
use clap::Subcommand;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Where `qa run` puts runs; before the first there is no such folder.
const DEFAULT_RUNS: &str = "runs";

/// List runs, specifications, or the entries of a specification.
#[derive(Clone, Debug, clap::Args)]
pub struct ListArgs {
    #[command(subcommand)]
    what: What,

    /// Print as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Runs in a folder, the newest first, with what each said.
    Runs {
        /// The folder that holds runs.
        #[arg(default_value = DEFAULT_RUNS)]
        folder: PathBuf,
    },
    /// Specifications in a folder and in its `specs`, with whether they are right.
    Specs {
        /// The folder.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Entries of a specification: what `--only` takes.
    Entries {
        #[command(flatten)]
        spec: SpecArgs,
    },
}

/// List; 0 also when there is nothing.
pub fn run(args: &ListArgs) -> u8 {
    if let What::Runs { folder } | What::Specs { folder } = &args.what
        && folder.as_os_str() != DEFAULT_RUNS
        && !folder.is_dir()
    {
        eprintln!("qa: there is no folder {}", folder.display());
        return exit::DATA;
    }
    match &args.what {
        What::Runs { folder } => show(&runs(folder), args.json, &format!("no runs in {}", folder.display())),
        What::Specs { folder } => {
            show(&specs(folder), args.json, &format!("no specifications in {}", folder.display()));
        }
        What::Entries { spec } => match spec.load(ColorChoice::Auto) {
            Ok(loaded) => show(&entries(&loaded), args.json, "no entries"),
            Err(code) => return code,
        },
    }
    exit::OK
}

/// Something that is listed: a row of cells for people, fields for programs.
trait Row: Serialize {
    fn cells(&self) -> Vec<String>;
}

fn show<R: Row>(rows: &[R], json: bool, none: &str) {
    if json {
        println!("{:#}", serde_json::json!(rows));
        return;
    }
    if rows.is_empty() {
        println!("{none}");
    }
    print!("{}", aligned(&rows.iter().map(Row::cells).collect::<Vec<_>>()));
}

/// Columns as wide as their widest cell, but for the last.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    out
}

#[derive(Debug, Serialize)]
struct Run {
    path: PathBuf,
    started_at: String,
    name: Option<String>,
    /// Absent where the run has no report: it was ended before, and can be resumed.
    sentence: Option<String>,
    exit_code: Option<u8>,
    commit: Option<String>,
}

impl Row for Run {
    fn cells(&self) -> Vec<String> {
        let time: String = self.started_at.chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect();
        let words =
            self.sentence.clone().unwrap_or_else(|| format!("not finished; qa run --resume {}", self.path.display()));
        vec![time, self.path.display().to_string(), words]
    }
}

fn runs(folder: &Path) -> Vec<Run> {
    let Ok(found) = fs::read_dir(folder) else { return Vec::new() };
    let mut runs: Vec<Run> = found.flatten().filter_map(|entry| read_run(&entry.path())).collect();
    runs.sort_by(|a, b| b.started_at.cmp(&a.started_at).then_with(|| a.path.cmp(&b.path)));
    runs
}

/// What a folder says of itself, without computing anything again; nothing where it is no run's.
fn read_run(path: &Path) -> Option<Run> {
    if !path.join(SAMPLES).is_file() {
        return None;
    }
    let environment: Environment = serde_json::from_slice(&fs::read(path.join(ENVIRONMENT)).ok()?).ok()?;
    let report: Option<Report> =
        fs::read(path.join("report.json")).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Some(Run {
        path: path.to_owned(),
        commit: environment.qa.get("directory_commit").cloned(),
        started_at: environment.started_at,
        name: report.as_ref().map(|report| report.name.clone()),
        exit_code: report.as_ref().map(|report| report.headline.exit_code),
        sentence: report.map(|report| report.headline.sentence),
    })
}

#[derive(Debug, Serialize)]
struct Specification {
    path: PathBuf,
    title: Option<String>,
    entries: Option<usize>,
    /// How many errors keep it from being run.
    errors: usize,
}

impl Row for Specification {
    fn cells(&self) -> Vec<String> {
        let entries = match (self.entries, self.errors) {
            (Some(1), _) => "1 entry".to_owned(),
            (Some(count), _) => format!("{count} entries"),
            (None, 1) => "1 error".to_owned(),
            (None, count) => format!("{count} errors"),
        };
        let words = self.title.clone().unwrap_or_else(|| format!("not right; qa check {}", self.path.display()));
        vec![self.path.display().to_string(), entries, words]
    }
}

fn specs(folder: &Path) -> Vec<Specification> {
    let folders = if folder == Path::new(".") {
        vec![PathBuf::new(), PathBuf::from("specs")]
    } else {
        vec![folder.to_owned(), folder.join("specs")]
    };
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let Ok(found) = fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { &folder }) else {
            continue;
        };
        files.extend(found.flatten().map(|entry| folder.join(entry.file_name())).filter(|path| is_specification(path)));
    }
    files.sort();
    files.into_iter().map(read_specification).collect()
}

/// Whether a file says that it is one: its first lines name the language.
fn is_specification(path: &Path) -> bool {
    let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    yaml && fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.starts_with("apiVersion: qa/")))
}

fn read_specification(path: PathBuf) -> Specification {
    match spec::load(&path, &LoadOptions::of_process(Vec::new())) {
        Ok(loaded) => Specification {
            title: Some(loaded.spec.title.clone().unwrap_or_else(|| loaded.spec.name.clone())),
            entries: Some(loaded.spec.entries().count()),
            errors: 0,
            path,
        },
        Err(errors) => Specification { title: None, entries: None, errors: errors.errors.len() + errors.omitted, path },
    }
}

#[derive(Debug, Serialize)]
struct Listed {
    id: String,
    title: String,
    required: bool,
    checks: Vec<&'static str>,
    arms: Vec<String>,
    file: Option<String>,
    line: Option<usize>,
}

impl Row for Listed {
    fn cells(&self) -> Vec<String> {
        let checks = self.checks.join(", ") + if self.required { "" } else { " (not required)" };
        vec![self.id.clone(), checks, self.title.clone()]
    }
}

fn entries(loaded: &Loaded) -> Vec<Listed> {
    let claims = check::claims(&loaded.spec);
    let one = |entry: &spec::Entry| {
        let mine = || claims.iter().filter(|claim| claim.entry.id == entry.id);
        let mut arms: Vec<String> = mine().flat_map(|claim| &claim.arms).map(|(_, arm)| (*arm).to_owned()).collect();
        arms.sort();
        arms.dedup();
        let place = loaded.place_of(&entry.id);
        Listed {
            id: entry.id.clone(),
            title: entry.title.clone(),
            required: entry.required.unwrap_or(true),
            checks: mine().map(|claim| claim.check).collect(),
            arms,
            line: place.as_ref().map(|(_, line, _)| *line),
            file: place.map(|(file, ..)| file),
        }
    };
    loaded.spec.entries().map(|(_, entry)| one(entry)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let cells = |row: &[&str]| row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        assert_eq!(aligned(&[cells(&["a", "bbb", "c"]), cells(&["aaa", "b", ""])]), "a    bbb  c\naaa  b\n");
        assert_eq!(aligned(&[]), "");
    }

    #[test]
    fn specifications_are_known_by_their_words_and_wrong_ones_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("specs")).unwrap();
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        put("other.yaml", "name: not one of these\n");
        put("wrong.yaml", "apiVersion: qa/v1\nname: wrong\nnonsense: 1\n");
        put(
            "specs/right.yaml",
            "apiVersion: qa/v1\nname: right\nacceptance:\n  - { id: A, title: t, program: { argv: [cargo, test] } }\n",
        );
        let found = specs(dir.path());
        let rows: Vec<Vec<String>> = found.iter().map(|spec| spec.cells()[1..].to_vec()).collect();
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert_eq!(rows[0], ["1 entry", "right"]);
        assert!(rows[1][0].contains("error") && rows[1][1].contains("qa check"), "{rows:?}");
    }

    #[test]
    fn entries_come_with_their_checks_and_place() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/quickstart.yaml");
        let loaded = spec::load(&path, &LoadOptions { sets: Vec::new(), env: &|_| None }).unwrap();
        let listed = entries(&loaded);
        let cache = listed.iter().find(|entry| entry.id == "KV-CACHE").unwrap();
        assert_eq!(cache.checks, ["gain", "correct", "witness"]);
        assert_eq!(cache.arms, ["cached", "uncached"]);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().nth(cache.line.unwrap() - 1).unwrap().contains("KV-CACHE"));
    }

    #[test]
    fn a_folder_without_runs_lists_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("empty")).unwrap();
        assert!(runs(dir.path()).is_empty() && runs(&dir.path().join("nowhere")).is_empty());
    }
}
