//! Every command with its arguments, from the command line's own definition.

use super::cell;
use crate::cli::Cli;
use clap::{Arg, Command, CommandFactory as _};
use std::fmt::Write as _;

pub(super) fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let mut out =
        String::from("# Commands\n\nMade from the command line's own definition; `qa COMMAND --help` says the same.\n");
    for below in shown(&command) {
        section(below, &format!("qa {}", below.get_name()), 2, &mut out);
    }
    out
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn section(command: &Command, name: &str, level: usize, out: &mut String) {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let _ = write!(out, "\n{} {name}\n\n{}\n", "#".repeat(level), cell(&about));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).trim();
    let _ = write!(out, "\n```text\n{usage}\n```\n");
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version"))
        .collect();
    if !arguments.is_empty() {
        out.push_str("\n| argument | |\n| --- | --- |\n");
        for argument in arguments {
            let _ = writeln!(out, "| `{}` | {} |", spelled(argument), cell(&explained(argument)));
        }
    }
    for below in shown(command) {
        section(below, &format!("{name} {}", below.get_name()), level + 1, out);
    }
}

fn spelled(argument: &Arg) -> String {
    let value = argument
        .get_value_names()
        .filter(|_| argument.get_action().takes_values())
        .map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        .unwrap_or_default();
    match (argument.get_short(), argument.get_long()) {
        (None, None) => value,
        (short, long) => {
            let names = [short.map(|c| format!("-{c}")), long.map(|l| format!("--{l}"))];
            format!("{} {value}", names.into_iter().flatten().collect::<Vec<_>>().join(", ")).trim().to_owned()
        }
    }
}

fn explained(argument: &Arg) -> String {
    let mut words = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    // The command line drops the last full stop.
    if !words.ends_with(['.', ':']) {
        words.push('.');
    }
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if argument.get_action().takes_values() && !values.is_empty() {
        let _ = write!(words, " One of {}.", values.join(", "));
    }
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        let _ = write!(words, " {} unless said.", defaults.join(" "));
    }
    words
}
