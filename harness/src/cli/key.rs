//! `qa key`: keys that sign packed runs.

use super::fail;
use crate::evidence::sign::{key_id, make_keys, read_public};
use crate::exit;
use clap::Subcommand;
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
    },
    /// Print the id by which signatures name a public key.
    Id {
        /// The public key.
        file: PathBuf,
    },
}

/// Make or print.
pub fn run(args: &KeyArgs) -> u8 {
    let said = match &args.command {
        KeyCommand::New { name } => make_keys(name).map(|(private, public)| {
            println!("{} signs: keep it to yourself, and do not commit it", private.display());
            println!("{} checks: publish it where your readers trust it", public.display());
        }),
        KeyCommand::Id { file } => read_public(file).map(|key| println!("{}", key_id(&key))),
    };
    said.map_or_else(|e| fail(&e, exit::DATA), |()| exit::OK)
}
