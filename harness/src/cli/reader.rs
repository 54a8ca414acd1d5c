//! A reader that closes the pipe, as `head` does, has read enough.

use crate::exit;
use std::panic;

/// From here on what is printed to nobody ends the program quietly, with the code of one that SIGPIPE ended.
///
/// The signal itself stays ignored: a worker that died must be a result, and writing to it must not end `qa`. So what the
/// standard library's `println!` makes of the error, a panic, is what tells of it.
pub(super) fn may_leave() {
    let others = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<String>().is_some_and(|said| is_of_a_reader(said)) {
            std::process::exit(i32::from(exit::READER_GONE));
        }
        others(info);
    }));
}

fn is_of_a_reader(panic: &str) -> bool {
    panic.starts_with("failed printing to stdout") && panic.contains("(os error 32)")
}
