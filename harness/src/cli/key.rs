//! `qa key`: keys that sign packed runs.

use super::fail;
use crate::evidence::sign::{key_id, make_keys, read_public};
use crate::exit;
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;

/// Make or name keys that sign packed runs.
#[derive(Clone, Debug, clap::Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum KeyCommand {
    /// Make a pair of ed25519 keys: NAME.key, which stays with you, and NAME.pub, which readers of your reports need.
    New {
        /// Where to; two endings are added.
        name: PathBuf,
        /// Print the names of both files and the id as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the id by which signatures name a public key.
    Id {
        /// The public key.
        file: PathBuf,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Make or print.
pub fn run(args: &KeyArgs) -> u8 {
    let said = match &args.command {
        KeyCommand::New { name, json: false } => make_keys(name).map(|(private, public)| {
            println!("{} signs: keep it to yourself, and do not commit it", private.display());
            println!("{} checks: publish it where your readers trust it", public.display());
        }),
        KeyCommand::New { name, json: true } => make_keys(name).and_then(|(private, public)| {
            let id = key_id(&read_public(&public)?);
            println!("{:#}", json!({ "private": private, "public": public, "id": id }));
            Ok(())
        }),
        KeyCommand::Id { file, json } => read_public(file).map(|key| {
            let id = key_id(&key);
            if *json { println!("{:#}", json!({ "id": id })) } else { println!("{id}") }
        }),
    };
    said.map_or_else(|e| fail(&e, exit::DATA), |()| exit::OK)
}
