//! The command line: one module a subcommand. What they share is here: parsing, and how errors become exit codes.

mod check;
mod ci;
mod compare;
mod doctor;
mod generate;
mod history;
mod init;
mod key;
mod list;
mod live;
mod manual;
mod model;
mod pack;
mod plan;
mod profile;
mod reader;
mod reference;
mod report;
mod run;
mod schema;
mod selftest;
mod spec_args;
mod stats;
mod step;
mod verify;
mod worker;

use crate::{exit, run as running};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Claims about inference engines, measured and judged.
#[derive(Debug, Parser)]
#[command(name = "qa", version, about, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes of `qa run` and `qa report`: 0 every required entry passed; 10 one failed; \
11 undecided; 12 not valid; 13 blocked by something that is not here; 4 nothing selected; 64 and up usage and \
infrastructure; 130 interrupted, to be resumed.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a specification, judge its claims, write the report.
    Run(run::RunArgs),
    /// List what a run would do, how long it would take and what it could detect.
    Plan(plan::PlanArgs),
    /// Show where the time of a token goes, kernel by kernel.
    Profile(profile::ProfileArgs),
    /// Write a first specification from a model file and the engines that are here.
    Init(init::InitArgs),
    /// Check a specification without running it.
    Check(check::CheckArgs),
    /// List runs, specifications, or the entries of a specification.
    List(list::ListArgs),
    /// Say what is here, what is missing, and the line that mends it.
    Doctor(doctor::DoctorArgs),
    /// Rebuild a run's report from its samples.
    Report(report::ReportArgs),
    /// Tell a CI system what a run says, and gate on it.
    Ci(ci::CiArgs),
    /// Set two runs side by side.
    Compare(compare::CompareArgs),
    /// Keep what runs said, and look at it over time.
    History(history::HistoryArgs),
    /// Put a run into one file, for others to check.
    Pack(pack::PackArgs),
    /// Compute everything that a packed run says again, and say what does not match.
    Verify(verify::VerifyArgs),
    /// Make or name keys that sign packed runs.
    Key(key::KeyArgs),
    /// Compute the harness's statistics on numbers from a file.
    Stats(stats::StatsArgs),
    /// Generate text with a model.
    Generate(generate::GenerateArgs),
    /// Make or inspect a model file.
    Model(model::ModelArgs),
    /// Say how often verdicts are wrong; or check on a card what the native backend computes.
    Selftest(selftest::SelftestArgs),
    /// Print a published JSON schema.
    Schema(schema::SchemaArgs),
    /// Print the completions of a shell.
    Completions(manual::CompletionsArgs),
    /// Print or write manual pages.
    Man(manual::ManArgs),
    /// Write the pages of the book that are made from the code.
    #[command(hide = true)]
    Reference(reference::ReferenceArgs),
    /// Run one step of a run, as a job of a cluster does.
    #[command(hide = true)]
    Step(step::StepArgs),
    /// Serve a built-in backend.
    #[command(hide = true)]
    Worker { backend: worker::Builtin },
    /// Run a program whose process group must not outlive the harness.
    #[command(hide = true)]
    Guard {
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

/// Parse the command line and do what it says.
pub fn main() -> ExitCode {
    reader::may_leave();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            let help = matches!(e.kind(), clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion);
            return ExitCode::from(if help { exit::OK } else { exit::USAGE });
        }
    };
    ExitCode::from(dispatch(cli.command))
}

fn dispatch(command: Command) -> u8 {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(&args),
        Command::List(args) => list::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Ci(args) => ci::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::History(args) => history::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Stats(args) => stats::run(&args).map_or_else(|e| fail(&e, exit::DATA), |()| exit::OK),
        Command::Generate(args) => generate::run(&args),
        Command::Model(args) => model::run(&args),
        Command::Selftest(args) => selftest::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
        Command::Reference(args) => reference::run(&args),
        Command::Step(args) => step::run(&args),
        Command::Worker { backend } => worker::run(backend),
        Command::Guard { command } => running::guard::guard(&command),
    }
}

/// A remark for whoever watches, beside the output.
fn remark(words: &str) {
    // Nobody may be there to read it.
    let _ = writeln!(io::stderr(), "qa: {words}");
}

/// Print an error with what caused it, and give its exit code.
fn fail(error: &dyn std::error::Error, code: u8) -> u8 {
    eprintln!("qa: {error}");
    // Many messages quote their cause already.
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !said.contains(&words) {
            eprintln!("  because: {words}");
        }
        said = words;
        source = cause.source();
    }
    code
}
