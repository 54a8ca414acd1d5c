//! What carries lines to a worker and back.

use qa_protocol::RequestLine;
use std::time::{Duration, Instant};

/// A connection to one worker.
pub(in crate::run) trait Wire {
    /// Send a request. Never waits, and never fails: a worker that does not read it does not answer it either.
    fn send(&mut self, request: &RequestLine);

    /// Wait for the next thing that happens, for so long at most.
    fn receive(&mut self, within: Duration) -> Event;

    /// End the worker and everything that it started, and say what is left of it. It gets `patience` to end by itself.
    /// Once ended it stays so, and the same is answered again.
    fn end(&mut self, patience: Duration) -> Ending;

    /// The worker's process group, where it is a process.
    fn group(&self) -> Option<u32> {
        None
    }

    /// Whether the worker's clock is the harness's, so that the one can be held against the other.
    fn shares_clock(&self) -> bool;
}

/// What happens on a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::run) enum Event {
    /// A line, without its end, and when it was there whole.
    Line(Vec<u8>, Instant),
    /// A line that is longer than a line may be; its start.
    TooLong(Vec<u8>),
    /// Nothing more will come: standard output was closed, or the worker ended. What came of an unfinished line.
    Closed(Vec<u8>),
    /// Nothing came in time. What came of an unfinished line.
    Late(Vec<u8>),
    /// The user wants to stop.
    Interrupted,
}

/// What is left of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::run) struct Ending {
    /// How it ended; absent when it had to be killed.
    pub exit: Option<Exit>,
    /// Last lines of its standard error.
    pub stderr_tail: Vec<String>,
}

/// How a worker ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::run) struct Exit {
    /// Whether it succeeded, by its own account.
    pub success: bool,
    /// In words, such as `exit status 3` or `killed by SIGSEGV`.
    pub words: String,
}
