//! `qa pack`: a run in one file, for others to check.

use super::fail;
use crate::evidence::pack::{PackError, pack};
use crate::evidence::sign::read_private;
use crate::evidence::with_ending;
use crate::exit;
use std::path::PathBuf;

/// Put a run into one file: specification, samples, environment, events, report, and a statement about them. Whoever gets
/// it computes every number again with `qa verify`.
#[derive(Clone, Debug, clap::Args)]
pub struct PackArgs {
    /// The run's folder.
    dir: PathBuf,

    /// The file to write; `<DIR>.qa.tar.gz` when absent.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Sign the statement with this private key; see `qa key new`.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Print the file's name and the statement as JSON.
    #[arg(long)]
    json: bool,
}

/// Pack; the exit code says whether that worked, not how the run ended.
pub fn run(args: &PackArgs) -> u8 {
    let key = match args.key.as_deref().map(read_private).transpose() {
        Ok(key) => key,
        Err(e) => return fail(&e, exit::DATA),
    };
    // `.` and `runs/x/` have names too.
    let dir = args.dir.canonicalize().unwrap_or_else(|_| args.dir.clone());
    let to = args.out.clone().unwrap_or_else(|| with_ending(&dir, ".qa.tar.gz"));
    match pack(&args.dir, &to, key.as_ref()) {
        Ok(statement) if args.json => {
            println!("{:#}", serde_json::json!({ "file": to, "signed": key.is_some(), "statement": statement }));
            exit::OK
        }
        Ok(statement) => {
            let signed = if key.is_some() { "signed" } else { "not signed" };
            println!("{} ({signed})", to.display());
            println!("{}", statement.predicate.qa.sentence);
            exit::OK
        }
        Err(e @ (PackError::Io { .. } | PackError::Occupied { .. })) => fail(&e, exit::IO),
        Err(e) => fail(&e, exit::DATA),
    }
}
