//! `qa doctor`: what is here of all that `qa` can use, what is missing, and the line that mends it.

use super::fail;
use super::spec_args::SpecArgs;
use crate::doctor::{State, blocking, examine, render};
use crate::exit;
use crate::report::color::ColorChoice;
use std::env;
use std::path::PathBuf;

/// Say what is here of all that `qa` can use (driver, compiler, profiler, cards, engines, models), what is missing, and
/// the line that mends it. Takes nothing of a card.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {
    /// Say whether this specification could run here: exit code 13 when something that its arms need is missing.
    spec: Option<PathBuf>,

    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// Examine; 0 unless a specification was named and could not run.
pub fn run(args: &DoctorArgs) -> u8 {
    let load = |spec: &PathBuf| SpecArgs { spec: spec.clone(), sets: Vec::new() }.load(ColorChoice::Auto);
    let loaded = match args.spec.as_ref().map(load).transpose() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let folder = match env::current_dir() {
        Ok(folder) => folder,
        Err(e) => return fail(&e, exit::IO),
    };
    let findings = examine(&folder);
    let blocking = loaded.as_ref().map_or_else(Vec::new, |loaded| blocking(&findings, &loaded.spec));
    let missing = findings.iter().filter(|finding| finding.state == State::Missing).count();
    if args.json {
        let topics: Vec<_> = blocking.iter().map(|finding| finding.topic).collect();
        let json = serde_json::json!({ "qa": env!("CARGO_PKG_VERSION"), "findings": findings, "blocking": topics });
        println!("{json:#}");
    } else {
        let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0)).clamp(60, 120);
        print!("{}", render(&findings, width));
        println!();
        match (&loaded, blocking.as_slice()) {
            (Some(loaded), []) => println!("Nothing that the arms of {} need is missing.", loaded.spec.name),
            (Some(loaded), blocking) => {
                let names: Vec<&str> = blocking.iter().map(|finding| finding.topic.name()).collect();
                println!("Arms of {} cannot run here: {} missing.", loaded.spec.name, names.join(", "));
            }
            (None, _) if missing == 0 => println!("Everything that qa can use is here."),
            (None, _) => println!(
                "What is missing blocks only what needs it: `qa run specs/quickstart.yaml` needs none of it. \
                 `qa init` writes a specification for what is here."
            ),
        }
    }
    if blocking.is_empty() { exit::OK } else { exit::BLOCKED }
}
