//! `qa verify`: everything that a packed run says, computed again.

use super::fail;
use crate::evidence::pack::open;
use crate::evidence::sign::read_public;
use crate::evidence::verify::{CheckOutcome, Verified, verify};
use crate::exit;
use std::path::PathBuf;

/// Compute every number and verdict of a packed run, or of a run's folder, again from its samples, and say what does not
/// match. Needs no network, no GPU and no model.
#[derive(Clone, Debug, clap::Args)]
pub struct VerifyArgs {
    /// The packed run, or a run's folder.
    path: PathBuf,

    /// Demand a signature by the owner of this public key.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Demand that what was measured ran the kernels that this program has.
    #[arg(long)]
    current: bool,

    /// Print the checks as JSON.
    #[arg(long)]
    json: bool,
}

/// Check; 0 when everything matches, 12 when something does not. The run's own verdict has no part in it.
pub fn run(args: &VerifyArgs) -> u8 {
    let key = match args.key.as_deref().map(read_public).transpose() {
        Ok(key) => key,
        Err(e) => return fail(&e, exit::DATA),
    };
    let pack = match open(&args.path) {
        Ok(pack) => pack,
        Err(e) => return fail(&e, exit::DATA),
    };
    let verified = verify(&pack, key.as_ref());
    let stale = args.current && !verified.current();
    let sentence = verified.report.as_ref().map(|report| report.headline.sentence.as_str());
    if args.json {
        let json = serde_json::json!({
            "holds": verified.holds() && !stale, "headline": sentence, "qa": env!("CARGO_PKG_VERSION"), "checks": verified.checks,
        });
        println!("{json:#}");
    } else {
        print(&verified, sentence);
    }
    if stale {
        eprintln!("qa: --current: {} is not about the kernels of this program; measure again", args.path.display());
    }
    if verified.holds() && !stale { exit::OK } else { exit::INVALID }
}

fn print(verified: &Verified, sentence: Option<&str>) {
    for check in &verified.checks {
        let word = match check.outcome {
            CheckOutcome::Ok => "ok",
            CheckOutcome::Mismatch => "MISMATCH",
            CheckOutcome::Unchecked => "unchecked",
        };
        for (index, found) in check.found.iter().enumerate() {
            let (word, name) = if index == 0 { (word, check.name) } else { ("", "") };
            println!("{word:<10} {name:<10} {found}");
        }
    }
    if let Some(sentence) = sentence {
        println!("\nThe samples say: {sentence}");
    }
    if !verified.holds() {
        println!(
            "This is not what was measured, or it was judged by another version of qa than {}.",
            env!("CARGO_PKG_VERSION")
        );
    }
}
