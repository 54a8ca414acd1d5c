//! `qa completions` and `qa man`: what shells and `man` read, from the command line's own definition.

use super::{Cli, fail};
use crate::exit;
use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Print the completions of a shell, such as `qa completions bash > ~/.local/share/bash-completion/completions/qa`.
#[derive(Clone, Debug, clap::Args)]
pub struct CompletionsArgs {
    /// For which shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page, such as `qa man | man -l -`; or write the pages of all commands.
#[derive(Clone, Debug, clap::Args)]
pub struct ManArgs {
    /// Write `qa.1` and a page a command into this folder, such as `~/.local/share/man/man1`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Print completions.
pub fn completions(args: &CompletionsArgs) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "qa", &mut script);
    print(&script)
}

/// Print or write manual pages.
pub fn man(args: &ManArgs) -> u8 {
    match &args.out {
        Some(folder) => match write_pages(folder) {
            Ok(count) => {
                println!("{count} pages in {}", folder.display());
                exit::OK
            }
            Err(e) => {
                eprintln!("qa: cannot write manual pages to {}: {e}", folder.display());
                exit::IO
            }
        },
        None => match page(Cli::command()) {
            Ok(page) => print(&page),
            Err(e) => fail(&e, exit::IO),
        },
    }
}

/// A reader that closes the pipe has read enough.
fn print(bytes: &[u8]) -> u8 {
    match io::stdout().write_all(bytes) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => fail(&e, exit::IO),
        _ => exit::OK,
    }
}

fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}

/// A page for `qa` and for every command that it shows, with commands below them: `qa-model-synth.1`.
fn write_pages(folder: &Path) -> io::Result<usize> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), folder)?;
    Ok(fs::read_dir(folder)?.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "1")).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn every_shell_completes_every_command() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "qa", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }

    #[test]
    fn every_command_has_a_page_and_hidden_ones_have_none() {
        let dir = tempfile::tempdir().unwrap();
        let count = write_pages(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), count);
        let page = fs::read_to_string(dir.path().join("qa-model-synth.1")).unwrap();
        assert!(page.contains(".SH OPTIONS") && page.contains("preset"), "{page}");
        let page = fs::read_to_string(dir.path().join("qa.1")).unwrap();
        assert!(page.contains("Exit codes") && page.contains("doctor"), "{page}");
        assert!(!dir.path().join("qa-worker.1").exists());
    }
}
