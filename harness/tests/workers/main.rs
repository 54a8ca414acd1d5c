//! Workers as real processes: what they may do, what they must not, and that none of them survives.
//!
//! This program is its own worker and guard, as `qa` is: `ProcessLauncher` is given this executable. Its trials run one at a
//! time, and after each of them this process must have no child left.

mod children;
mod faults;
mod guarding;
mod life;
mod matrix;
mod plugins;
mod talk;

use libtest_mimic::{Arguments, Failed, Trial};
use std::ffi::OsString;

fn main() {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let word = |n: usize| arguments.get(n).and_then(|a| a.to_str());
    match (word(0), word(1)) {
        (Some("worker"), Some("fake")) => {
            if let Err(problem) = qa_fake::serve() {
                eprintln!("{problem}");
                std::process::exit(70);
            }
        }
        (Some("guard"), Some("--")) => qa::run::guard::guard(&arguments[2..]),
        (Some("harness"), _) => guarding::harness_that_will_be_killed(&arguments[1..]),
        _ => {
            let mut arguments = Arguments::from_args();
            arguments.test_threads = Some(1);
            let trials = [faults::trials(), matrix::trials(), life::trials(), guarding::trials(), plugins::trials()];
            libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
        }
    }
}

/// A trial after which no child may be left.
fn trial(name: impl Into<String>, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        match children::left_behind() {
            left if left.is_empty() => Ok(()),
            left => Err(Failed::from(format!("left behind: {left:?}"))),
        }
    })
}
