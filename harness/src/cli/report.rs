//! `qa report`: a run's report, rebuilt from its samples.

use super::fail;
use crate::report::color::ColorChoice;
use crate::report::model::Report;
use crate::report::terminal::{self, Screen};
use crate::report::{Form, html, write_all};
use crate::run::read;
use crate::{exit, verdict};
use clap::ValueEnum;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Judge a run again from its samples and rewrite its report; or print it in one form and write nothing.
#[derive(Clone, Debug, clap::Args)]
pub struct ReportArgs {
    /// The run's folder.
    dir: PathBuf,

    /// Print this form, and write no file.
    #[arg(long, value_enum, value_name = "FORM")]
    format: Option<Format>,

    /// Print the data of the report, as `--format json` does, and write no file.
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// When to colour.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    color: ColorChoice,
}

/// A form that can be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal.
    Terminal,
    /// One page, complete in itself.
    Html,
    /// The data of the report.
    Json,
    /// For a step summary or a comment.
    #[value(alias = "md")]
    Markdown,
    /// For CI systems.
    Junit,
    /// One picture, for a README: the verdict and the ratios that it rests on.
    Svg,
}

/// Rebuild, write or print; the exit code is the run's.
pub fn run(args: &ReportArgs) -> u8 {
    let data = match read::load(&args.dir) {
        Ok(data) => data,
        Err(e) => return fail(&e, exit::DATA),
    };
    let report = verdict::judge(&data.spec, &data.spec_yaml, &data.environment, &data.records);
    match args.format.or(args.json.then_some(Format::Json)) {
        None => write_and_show(&report, &args.dir, Shown::Text(args.color)),
        Some(format) => print(&report, format, args.color),
    }
}

/// What is printed of a report.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// What a reader wants to know, coloured or not.
    Text(ColorChoice),
    /// Its data.
    Json,
}

/// Write every form into a run's folder and show the report on standard output; the exit code is the run's, unless a file
/// cannot be written.
pub fn write_and_show(report: &Report, dir: &Path, shown: Shown) -> u8 {
    let written = write_all(report, dir);
    let html = dir.join(Form::Html.file());
    let text = match shown {
        Shown::Text(color) => Ok(terminal::render(report, screen(color), written.is_ok().then_some(html.as_path()))),
        Shown::Json => Form::Json.render(report),
    };
    let shown = match text {
        Ok(text) => show(&text),
        Err(e) => return fail(&e, exit::SOFTWARE),
    };
    match (written, shown) {
        (Err(e), _) => fail(&e, exit::IO),
        (Ok(_), Err(e)) => fail(&e, exit::IO),
        (Ok(_), Ok(())) => report.headline.exit_code,
    }
}

fn print(report: &Report, format: Format, color: ColorChoice) -> u8 {
    let form = match format {
        Format::Terminal | Format::Svg => None,
        Format::Html => Some(Form::Html),
        Format::Json => Some(Form::Json),
        Format::Markdown => Some(Form::Markdown),
        Format::Junit => Some(Form::Junit),
    };
    let text = match form.map(|form| form.render(report)) {
        None if format == Format::Svg => match html::picture::render(report) {
            Ok(text) => text,
            Err(e) => return fail(&e, exit::SOFTWARE),
        },
        None => terminal::render(report, screen(color), None),
        Some(Ok(text)) => text,
        Some(Err(e)) => return fail(&e, exit::SOFTWARE),
    };
    match show(&text) {
        Ok(()) => report.headline.exit_code,
        Err(e) => fail(&e, exit::IO),
    }
}

fn screen(color: ColorChoice) -> Screen {
    Screen::of_stdout(color.enabled(&io::stdout()))
}

/// Print; a reader who closes the pipe early, as `head` does, has seen enough.
fn show(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
