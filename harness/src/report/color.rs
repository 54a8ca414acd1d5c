//! Whether to colour what a terminal shows.

use clap::ValueEnum;
use std::env;
use std::io::IsTerminal;

/// The `--color` flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// As `NO_COLOR`, `CLICOLOR_FORCE` and the terminal say.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// Decide for a stream: first the flag, then a non-empty `NO_COLOR`, then `CLICOLOR_FORCE`, then whether it is a
    /// terminal.
    pub fn enabled(self, stream: &impl IsTerminal) -> bool {
        self.decide(|name| env::var_os(name).map(|v| v.to_string_lossy().into_owned()), stream.is_terminal())
    }

    fn decide(self, variable: impl Fn(&str) -> Option<String>, terminal: bool) -> bool {
        match self {
            Self::Always => return true,
            Self::Never => return false,
            Self::Auto => {}
        }
        if variable("NO_COLOR").is_some_and(|v| !v.is_empty()) {
            return false;
        }
        if variable("CLICOLOR_FORCE").is_some_and(|v| !v.is_empty() && v != "0") {
            return true;
        }
        terminal && variable("TERM").is_none_or(|v| v != "dumb")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_then_the_variables_then_the_terminal() {
        type Case<'a> = (ColorChoice, &'a [(&'a str, &'a str)], bool, bool);
        let cases: &[Case<'_>] = &[
            (ColorChoice::Auto, &[], true, true),
            (ColorChoice::Auto, &[], false, false),
            (ColorChoice::Auto, &[("TERM", "dumb")], true, false),
            (ColorChoice::Auto, &[("NO_COLOR", "1")], true, false),
            (ColorChoice::Auto, &[("NO_COLOR", "")], true, true),
            (ColorChoice::Auto, &[("CLICOLOR_FORCE", "1")], false, true),
            (ColorChoice::Auto, &[("CLICOLOR_FORCE", "0")], false, false),
            (ColorChoice::Auto, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], true, false),
            (ColorChoice::Always, &[("NO_COLOR", "1")], false, true),
            (ColorChoice::Never, &[("CLICOLOR_FORCE", "1")], true, false),
        ];
        for (choice, variables, terminal, expected) in cases {
            let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            assert_eq!(choice.decide(variable, *terminal), *expected, "{choice:?} {variables:?} {terminal}");
        }
    }
}
