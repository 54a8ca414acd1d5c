//! `qa check`: a specification, without running it.

use super::spec_args::SpecArgs;
use crate::exit;
use crate::report::color::ColorChoice;
use crate::spec::{Spec, check};

/// Check a specification without running it: every error with its place, or a summary.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    spec: SpecArgs,

    /// Print the specification as it is run: everything included, replaced and expanded.
    #[arg(long)]
    resolved: bool,

    /// When to colour.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    color: ColorChoice,
}

/// Check, and print.
pub fn run(args: &CheckArgs) -> u8 {
    match args.spec.load(args.color) {
        Ok(loaded) if args.resolved => {
            print!("{}", loaded.resolved);
            exit::OK
        }
        Ok(loaded) => {
            println!("{}", summary(&loaded.spec));
            exit::OK
        }
        Err(code) => code,
    }
}

fn summary(spec: &Spec) -> String {
    let count = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    };
    let looks = spec.sampling.looks().iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "{}: {} in {} on {} with {} and {}, at {looks} blocks of {}",
        spec.name,
        count(check::claims(spec).len(), "claim"),
        count(spec.entries().count(), "entry").replace("entrys", "entries"),
        count(spec.arms.len(), "arm"),
        count(spec.models.len(), "model"),
        count(spec.workloads.len(), "workload"),
        count(spec.sampling.iterations as usize, "timed iteration"),
    )
}
