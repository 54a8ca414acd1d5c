//! `qa check`: a specification, without running it.

use super::spec_args::SpecArgs;
use crate::exit;
use crate::report::color::ColorChoice;
use crate::spec::{Spec, SpecError, check};
use serde_json::{Value, json};

/// Check a specification without running it: every error with its place, or a summary.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    spec: SpecArgs,

    /// Print the specification as it is run: everything included, replaced and expanded.
    #[arg(long)]
    resolved: bool,

    /// Print the outcome as JSON: whether it is right, and every error and warning with file, line and column.
    #[arg(long, conflicts_with = "resolved")]
    json: bool,

    /// When to colour.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    color: ColorChoice,
}

/// Check, and print.
pub fn run(args: &CheckArgs) -> u8 {
    if args.json {
        return as_json(&args.spec);
    }
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

fn as_json(args: &SpecArgs) -> u8 {
    let (json, code) = match args.read() {
        Ok(loaded) => {
            let warnings = diagnostics(&loaded.warnings);
            (json!({ "right": true, "summary": summary(&loaded.spec), "warnings": warnings, "errors": [] }), exit::OK)
        }
        Err(errors) => {
            let shown = diagnostics(&errors.errors);
            (json!({ "right": false, "errors": shown, "omitted": errors.omitted }), exit::DATA)
        }
    };
    println!("{json:#}");
    code
}

fn diagnostics(found: &[SpecError]) -> Vec<Value> {
    let one = |e: &SpecError| json!({ "file": e.file, "line": e.line, "column": e.column, "message": e.message, "help": e.help });
    found.iter().map(one).collect()
}

fn summary(spec: &Spec) -> String {
    let count = |count: usize, one: &str| match (count, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {one}s"),
    };
    let looks = spec.sampling.looks().iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "{}: {} in {} on {} with {} and {}, at {looks} blocks of {}",
        spec.name,
        count(check::claims(spec).len(), "claim"),
        count(spec.entries().count(), "entry"),
        count(spec.arms.len(), "arm"),
        count(spec.models.len(), "model"),
        count(spec.workloads.len(), "workload"),
        count(spec.sampling.iterations as usize, "timed iteration"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::path::Path;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CheckArgs,
    }

    fn parsed(arguments: &[&str]) -> CheckArgs {
        let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/quickstart.yaml");
        let spec = spec.to_str().expect("a path in UTF-8");
        Line::try_parse_from(["check", spec].iter().chain(arguments)).unwrap_or_else(|e| panic!("{e}")).args
    }

    #[test]
    fn what_is_right_is_counted() {
        let args = parsed(&["--set", "sampling.blocks={looks: [6, 10]}", "--set", "sampling.iterations=1"]);
        let loaded = args.spec.load(ColorChoice::Never).expect("it is right");
        let expected = "quickstart: 9 claims in 7 entries on 3 arms with 1 model and 1 workload, at 6, 10 blocks of 1 timed \
                        iteration";
        assert_eq!(summary(&loaded.spec), expected);
        assert_eq!(run(&args), exit::OK);
    }

    #[test]
    fn what_is_wrong_is_an_error_of_data() {
        assert_eq!(run(&parsed(&["--set", "sampling.blocks=0"])), exit::DATA);
        assert_eq!(run(&parsed(&["--set", "nothing"])), exit::DATA);
        assert_eq!(run(&parsed(&["--resolved"])), exit::OK);
    }
}
