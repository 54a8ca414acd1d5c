//! What every command that reads a specification takes, and how it says what is wrong with one.

use crate::exit;
use crate::report::color::ColorChoice;
use crate::spec::{self, LoadOptions, Loaded};
use std::io;
use std::path::PathBuf;

/// A specification and changes to it.
#[derive(Clone, Debug, clap::Args)]
pub struct SpecArgs {
    /// The specification.
    pub spec: PathBuf,

    /// Change a value, such as `sampling.iterations=3` or `arms.native.model=mine`; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
}

impl SpecArgs {
    /// Read the specification, and print nothing.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(&self) -> Result<Loaded, spec::SpecErrors> {
        spec::load(&self.spec, &LoadOptions::of_process(self.sets.clone()))
    }

    /// Say that no entry is asked for, and how to see those that there are.
    pub fn nothing_like(&self, only: &[String]) {
        let spec = self.spec.display();
        eprintln!("qa: no entry of {spec} has an id like {}; `qa list entries {spec}` lists them", only.join(" or "));
    }

    /// Read the specification. Warnings, or everything that is wrong, go to standard error.
    ///
    /// # Errors
    /// The exit code, when the specification cannot be used.
    pub fn load(&self, color: ColorChoice) -> Result<Loaded, u8> {
        let show = |diagnostics: &[spec::SpecError]| {
            let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
            eprint!("{}", spec::render(diagnostics, width.clamp(40, 120), color.enabled(&io::stderr())));
        };
        match self.read() {
            Ok(loaded) => {
                show(&loaded.warnings);
                Ok(loaded)
            }
            Err(errors) => {
                show(&errors.errors);
                let count = errors.errors.len() + errors.omitted;
                let plural = if count == 1 { "error" } else { "errors" };
                let omitted =
                    if errors.omitted > 0 { format!(", {} of them not shown", errors.omitted) } else { String::new() };
                eprintln!("qa: {count} {plural} in {}{omitted}", self.spec.display());
                Err(exit::DATA)
            }
        }
    }
}
