//! `qa schema`: the published JSON schemas.

use crate::{exit, report, spec};
use clap::ValueEnum;

/// Print a published JSON schema (draft-07).
#[derive(Clone, Debug, clap::Args)]
pub struct SchemaArgs {
    /// Of which kind of file.
    #[arg(value_enum, default_value_t)]
    of: Kind,
}

/// What a schema describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Specifications, as they are written.
    #[default]
    Spec,
    /// A run's report.json.
    Report,
}

/// Print.
pub fn run(args: &SchemaArgs) -> u8 {
    let schema = match args.of {
        Kind::Spec => spec::schema::json_schema(),
        Kind::Report => report::schema::json_schema(),
    };
    println!("{schema:#}");
    exit::OK
}
