//! What people see of a run in progress, on standard error: a live line on a terminal, plain lines elsewhere. Neither
//! shows a verdict.

mod plain;
mod terminal;
mod tracker;
mod words;

pub use plain::Plain;
pub use terminal::Terminal;
pub use words::duration;

use super::event::Observer;
use crate::plan::Plan;
use std::io::{self, IsTerminal as _};

/// An observer that can show where claims stand, in lines that somebody else writes.
pub trait Watch: Observer {
    /// Show these lines from now on; `look` says that a declared look is what they stand at.
    fn rows(&mut self, rows: &[String], look: bool);
}

/// The observer that suits standard error.
pub fn observer(plan: &Plan) -> Box<dyn Watch> {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if io::stderr().is_terminal() && !dumb {
        Box::new(Terminal::new(plan))
    } else {
        Box::new(Plain::new(plan, io::stderr()))
    }
}
