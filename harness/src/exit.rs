//! Every exit code of `qa`, in one place. Never a count, and never 1, 2 or 101 for a verdict.

use crate::report::model::Verdict;

/// Every required entry passed or only reports, or the command did what it was asked.
pub const OK: u8 = 0;
/// Nothing was selected.
pub const NOTHING_SELECTED: u8 = 4;
/// A required entry failed.
pub const FAIL: u8 = 10;
/// A required entry is undecided, and none failed.
pub const INCONCLUSIVE: u8 = 11;
/// A required entry's measurement is not valid.
pub const INVALID: u8 = 12;
/// A required entry could not be measured here, and the others passed.
pub const BLOCKED: u8 = 13;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// A file that was given is wrong: a specification, a model, samples.
pub const DATA: u8 = 65;
/// The harness or a worker broke.
pub const SOFTWARE: u8 = 70;
/// A file or folder could not be written.
pub const IO: u8 = 74;
/// A cluster did not do its part; the run can be resumed.
pub const AWAY: u8 = 75;
/// The specification names programs of its own, and the user did not say that they may be run.
pub const NOT_TRUSTED: u8 = 77;
/// Interrupted from the terminal; the run can be resumed.
pub const INTERRUPTED: u8 = 130;
/// Whoever read what was printed closed the pipe: what a shell says of a program that SIGPIPE ended.
pub const READER_GONE: u8 = 141;
/// Told to end; the run can be resumed.
pub const TERMINATED: u8 = 143;

/// Every code with what it means, in order.
pub const ALL: [(u8, &str); 15] = [
    (OK, "every required entry passed or only reports, or the command did what it was asked"),
    (NOTHING_SELECTED, "nothing was selected"),
    (FAIL, "a required entry failed"),
    (INCONCLUSIVE, "a required entry is undecided, and none failed"),
    (INVALID, "a required entry's measurement is not valid, or evidence does not match what it says"),
    (BLOCKED, "a required entry could not be measured here, and the others passed"),
    (USAGE, "the command line is wrong"),
    (DATA, "a file that was given is wrong: a specification, a model, samples"),
    (SOFTWARE, "the harness or a worker broke"),
    (IO, "a file or folder could not be read or written"),
    (AWAY, "a cluster refused or lost what was to run on it; `qa run --resume DIR` goes on"),
    (NOT_TRUSTED, "the specification names programs of its own, and `--trust` was not given"),
    (INTERRUPTED, "interrupted from the terminal; `qa run --resume DIR` goes on"),
    (READER_GONE, "whoever read the output closed the pipe, as `head` does"),
    (TERMINATED, "told to end; `qa run --resume DIR` goes on"),
];

/// The exit code of a run, from the verdicts of its required entries: the first that holds of error, invalid, fail,
/// inconclusive, blocked.
pub fn of_verdicts(required: impl IntoIterator<Item = Verdict>) -> u8 {
    match required.into_iter().max_by_key(|v| crate::verdict::weight(*v)) {
        None | Some(Verdict::Pass | Verdict::Reported) => OK,
        Some(Verdict::Error) => SOFTWARE,
        Some(Verdict::Invalid) => INVALID,
        Some(Verdict::Fail) => FAIL,
        Some(Verdict::Inconclusive) => INCONCLUSIVE,
        Some(Verdict::Blocked) => BLOCKED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_required_verdict_decides() {
        use Verdict::{Blocked, Error, Fail, Inconclusive, Invalid, Pass};
        let rows: &[(&[Verdict], u8)] = &[
            (&[], 0),
            (&[Pass, Pass], 0),
            (&[Pass, Verdict::Reported], 0),
            (&[Verdict::Reported, Blocked], 13),
            (&[Pass, Blocked], 13),
            (&[Blocked, Inconclusive], 11),
            (&[Inconclusive, Fail, Blocked], 10),
            (&[Fail, Invalid], 12),
            (&[Invalid, Error, Fail], 70),
        ];
        for (verdicts, code) in rows {
            assert_eq!(of_verdicts(verdicts.iter().copied()), *code, "{verdicts:?}");
        }
    }
}
