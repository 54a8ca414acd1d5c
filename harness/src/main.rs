//! The `qa` command. See [`qa::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    qa::cli::main()
}
