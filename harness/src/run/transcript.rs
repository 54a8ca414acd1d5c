//! A worker of whom only the standard output is left: everything that it will ever say, there from the beginning.
//!
//! It is read through the very lines and the conversation that a process is held to, so that any bytes at all can be
//! held against them without a process.

use super::host::conversation::Conversation;
use super::host::lines::{Cut, LineBuffer};
use super::host::wire::{Ending, Event, Exit, Wire};
use super::session::Session;
use crate::spec::Deadlines;
use qa_protocol::{MAX_LINE_BYTES, RequestLine};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A session with a worker that says `stdout` and ends with status 0, whatever it is asked.
pub fn session(stdout: &[u8]) -> impl Session {
    let mut buffer = LineBuffer::new(MAX_LINE_BYTES);
    let mut cuts = VecDeque::new();
    // In pieces, as a pipe hands it on.
    for chunk in stdout.chunks(1 << 16) {
        cuts.extend(buffer.feed(chunk));
    }
    Conversation::new(Transcript { cuts, buffer }, Deadlines::default())
}

struct Transcript {
    cuts: VecDeque<Cut>,
    buffer: LineBuffer,
}

impl Wire for Transcript {
    fn send(&mut self, _: &RequestLine) {}

    fn receive(&mut self, _: Duration) -> Event {
        match self.cuts.pop_front() {
            Some(Cut::Line(line)) => Event::Line(line, Instant::now()),
            Some(Cut::TooLong(start)) => Event::TooLong(start),
            None => Event::Closed(self.buffer.partial().to_vec()),
        }
    }

    fn end(&mut self, _: Duration) -> Ending {
        let exit = Some(Exit { success: true, words: "exit status 0".to_owned() });
        Ending { exit, stderr_tail: Vec::new() }
    }

    fn shares_clock(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::LossCause;

    #[test]
    fn what_it_says_is_believed_as_far_as_it_fits() {
        let hello = r#"{"id":1,"type":"hello","protocol":1,"name":"x","version":"1","capabilities":{"metrics":[]}}"#;
        assert_eq!(session(format!("{hello}\n").as_bytes()).hello().map(|hello| hello.name), Ok("x".to_owned()));
        assert_eq!(session(hello.as_bytes()).hello().unwrap_err().cause, LossCause::Protocol, "a line without an end");
        assert_eq!(session(b"").hello().unwrap_err().cause, LossCause::Exited("exit status 0".to_owned()));
    }
}
