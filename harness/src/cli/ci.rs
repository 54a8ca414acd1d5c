//! `qa ci`: a run's verdict where a CI system looks for it.

use super::fail;
use crate::ci::{self, Place};
use crate::exit;
use crate::report::model::{EntryResult, Report, Verdict};
use crate::report::{Form, phrase};
use crate::run::read;
use crate::spec::{self, LoadOptions, Loaded};
use crate::verdict;
use clap::ValueEnum;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Tell a CI system what a run says: annotations at the lines of the specification, a summary, outputs. The run is judged
/// again from its samples; the exit code is that of its verdicts, so that this can be the step that gates.
#[derive(Clone, Debug, clap::Args)]
pub struct CiArgs {
    /// The run's folder.
    dir: PathBuf,

    /// Which system; found by its variables when absent.
    #[arg(long, value_enum, value_name = "SYSTEM")]
    system: Option<System>,

    /// Exit with 0 when the acceptance is not met, and tell all the same.
    #[arg(long)]
    advisory: bool,

    /// Print what is told as JSON, in place of annotations and text.
    #[arg(long)]
    json: bool,
}

/// A CI system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum System {
    /// Workflow commands on standard output, and the files of `GITHUB_STEP_SUMMARY` and `GITHUB_OUTPUT`.
    Github,
    /// `gl-code-quality-report.json` beside the run's `junit.xml`.
    Gitlab,
    /// Nothing beside `junit.xml`, which Jenkins and most others read.
    Junit,
}

impl System {
    /// The system that this runs in, by the variable that each promises to set.
    fn detected(variable: impl Fn(&str) -> Option<String>) -> Self {
        if variable("GITHUB_ACTIONS").as_deref() == Some("true") {
            Self::Github
        } else if variable("GITLAB_CI").as_deref() == Some("true") {
            Self::Gitlab
        } else {
            Self::Junit
        }
    }
}

/// GitLab's name for the file.
const CODE_QUALITY: &str = "gl-code-quality-report.json";

/// Tell.
pub fn run(args: &CiArgs) -> u8 {
    let data = match read::load(&args.dir) {
        Ok(data) => data,
        Err(e) => return fail(&e, exit::DATA),
    };
    let report = verdict::judge(&data.spec, &data.spec_yaml, &data.environment, &data.records);
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let system = args.system.unwrap_or_else(|| System::detected(variable));
    let loaded = spec::load(&data.environment.spec_path, &LoadOptions::of_process(Vec::new())).ok();
    let place = |entry: &EntryResult| place(&report, loaded.as_ref(), entry);
    let told = match system {
        System::Github => github(&report, args, &place, variable),
        System::Gitlab => gitlab(&report, &args.dir, &place),
        System::Junit => Ok(()),
    };
    if let Err((path, e)) = told {
        eprintln!("qa: cannot write {}: {e}", path.display());
        return exit::IO;
    }
    if args.json {
        println!("{:#}", told_as_json(&report, &args.dir, &place));
    } else {
        println!("{}", report.headline.sentence);
        if let Some(because) = &report.headline.because {
            println!("  {because}");
        }
    }
    if args.advisory { exit::OK } else { report.headline.exit_code }
}

/// What could not be written, and why.
type Unwritten = (PathBuf, io::Error);

fn github(
    report: &Report,
    args: &CiArgs,
    place: &dyn Fn(&EntryResult) -> Option<Place>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), Unwritten> {
    if !args.json {
        print!("{}", ci::annotations(report, place));
    }
    let markdown = Form::Markdown.render(report).unwrap_or_default();
    for (name, text) in [
        ("GITHUB_STEP_SUMMARY", ci::step_summary(report, &markdown)),
        ("GITHUB_OUTPUT", ci::outputs(report, &args.dir.display().to_string())),
    ] {
        let Some(path) = variable(name).map(PathBuf::from) else { continue };
        append(&path, &text).map_err(|e| (path, e))?;
    }
    Ok(())
}

/// Other steps may have written there before.
fn append(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(path)?.write_all(text.as_bytes())
}

fn gitlab(report: &Report, dir: &Path, place: &dyn Fn(&EntryResult) -> Option<Place>) -> Result<(), Unwritten> {
    let path = dir.join(CODE_QUALITY);
    let text = format!("{:#}\n", ci::code_quality(report, place));
    std::fs::write(&path, text).map_err(|e| (path, e))
}

/// The verdict, and where each entry that did not pass is written.
fn told_as_json(report: &Report, dir: &Path, place: &dyn Fn(&EntryResult) -> Option<Place>) -> Value {
    let entry = |entry: &EntryResult| {
        let place = place(entry);
        json!({
            "id": entry.id,
            "verdict": phrase::word(entry.verdict),
            "required": entry.required,
            "file": place.as_ref().map(|place| &place.file),
            "line": place.as_ref().and_then(|place| place.line),
        })
    };
    let unmet: Vec<Value> = report.entries.iter().filter(|entry| entry.verdict != Verdict::Pass).map(entry).collect();
    let headline = &report.headline;
    json!({
        "met": headline.met,
        "exit_code": headline.exit_code,
        "sentence": headline.sentence,
        "because": headline.because,
        "folder": dir,
        "not_passed": unmet,
    })
}

/// Where an entry is written now; without a line where the specification cannot be read any more.
fn place(report: &Report, loaded: Option<&Loaded>, entry: &EntryResult) -> Option<Place> {
    let here = std::env::current_dir().unwrap_or_default();
    let relative = |file: &Path| file.strip_prefix(&here).unwrap_or(file).display().to_string();
    if let Some((file, line, _)) = loaded.and_then(|loaded| loaded.place_of(&entry.id)) {
        return Some(Place { file: relative(Path::new(&file)), line: Some(line) });
    }
    let path = &report.environment.spec_path;
    (!path.as_os_str().is_empty()).then(|| Place { file: relative(path), line: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_known_by_the_variable_that_it_promises() {
        let with = |set: &'static str| System::detected(move |name| (name == set).then(|| "true".to_owned()));
        assert_eq!(with("GITHUB_ACTIONS"), System::Github);
        assert_eq!(with("GITLAB_CI"), System::Gitlab);
        assert_eq!(with("JENKINS_URL"), System::Junit);
        assert_eq!(System::detected(|_| Some("false".into())), System::Junit);
    }
}
