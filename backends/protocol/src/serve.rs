//! The worker's side: read a request, answer it, leave when the harness does.

use crate::{
    Failure, Hello, MAX_LINE_BYTES, PrepareRequest, Prepared, Profile, ProfileRequest, Reply, ReplyLine, Request,
    RequestLine, RunRequest, Sample, ScoreRequest, ScoreRow, VERSION,
};
use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc;

/// Sends one row of an answer. Fails when the harness is gone, and then the worker should stop.
pub type Emit<'a, T> = &'a mut dyn FnMut(T) -> Result<(), Failure>;

/// A backend, as [`serve`] drives it.
pub trait Worker {
    /// Who this is. Must not fail for lack of hardware: that is for [`Worker::prepare`].
    fn hello(&mut self) -> Hello;

    /// Load the model and resolve the options.
    ///
    /// # Errors
    /// `blocked` when something is missing on this machine, `unsupported` for an option it does not know.
    fn prepare(&mut self, request: &PrepareRequest) -> Result<Prepared, Failure>;

    /// Run `warmup + iterations` iterations and emit each as soon as it is done.
    ///
    /// # Errors
    /// Whatever kept it from doing so; samples that were emitted before stand.
    fn run(&mut self, request: &RunRequest, emit: Emit<'_, Sample>) -> Result<(), Failure>;

    /// Score tokens, one row a position, in order.
    ///
    /// # Errors
    /// `unsupported` unless the backend can.
    fn score(&mut self, request: &ScoreRequest, emit: Emit<'_, ScoreRow>) -> Result<(), Failure> {
        let _ = (request, emit);
        Err(Failure::unsupported("this backend does not score tokens"))
    }

    /// Look at a decode without timing it.
    ///
    /// # Errors
    /// `unsupported` unless the backend can.
    fn profile(&mut self, request: &ProfileRequest) -> Result<Profile, Failure> {
        let _ = request;
        Err(Failure::unsupported("this backend does not profile"))
    }
}

/// Serve requests from standard input until `bye`.
///
/// When standard input ends without a `bye` the harness is gone: the worker ends at once, in the middle of whatever it
/// does, and takes its process group with it if it leads one.
///
/// # Errors
/// When standard output cannot be written, or a request cannot be read.
pub fn serve(mut worker: impl Worker) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in requests() {
        let RequestLine { id, request } = line?;
        if request == Request::Bye {
            return Ok(());
        }
        answer(&mut worker, &request, &mut |reply| send(&mut out, id, reply))?;
    }
    Ok(())
}

/// Answer one request other than `bye`, handing each reply to `send`. For those who bring their own pipe; see [`serve`].
///
/// # Errors
/// When `send` fails on the last reply; when it fails on an earlier one the worker is told, and may end as it likes.
pub fn answer(
    worker: &mut impl Worker,
    request: &Request,
    send: &mut dyn FnMut(Reply) -> io::Result<()>,
) -> io::Result<()> {
    let last = last_reply(worker, request, send).unwrap_or_else(Reply::Error);
    send(last)
}

fn last_reply(
    worker: &mut impl Worker,
    request: &Request,
    send: &mut dyn FnMut(Reply) -> io::Result<()>,
) -> Result<Reply, Failure> {
    let mut row = |reply| send(reply).map_err(|e| Failure::failed(format!("the harness does not listen: {e}")));
    match request {
        Request::Hello { protocol } if *protocol != VERSION => Err(Failure::unsupported(format!(
            "this worker speaks protocol {VERSION}, the harness speaks {protocol}: use a worker built for that version"
        ))),
        Request::Hello { .. } => Ok(Reply::Hello(worker.hello())),
        Request::Prepare(request) => worker.prepare(request).map(Reply::Prepared),
        Request::Run(request) => {
            worker.run(request, &mut |sample| row(Reply::Sample(sample)))?;
            Ok(Reply::Done)
        }
        Request::Score(request) => {
            worker.score(request, &mut |score| row(Reply::Score(score)))?;
            Ok(Reply::Done)
        }
        Request::Profile(request) => worker.profile(request).map(Reply::Profile),
        Request::Bye => Err(Failure::unsupported("`bye` has no reply: the worker leaves")),
    }
}

fn send(out: &mut impl Write, id: u64, reply: Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(&ReplyLine { id, reply })?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// The requests on standard input, up to and with `bye`.
///
/// They are read on a thread of their own, so that the end of input is seen while a request is being answered: then the
/// process ends with its group, as [`serve`] says.
pub fn requests() -> impl Iterator<Item = io::Result<RequestLine>> {
    let (tx, rx) = mpsc::channel();
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let line = read_request(&mut input);
            let last = !matches!(&line, Ok(RequestLine { request, .. }) if *request != Request::Bye);
            if tx.send(line).is_err() || last {
                return;
            }
        }
    });
    rx.into_iter()
}

/// The next request. Does not return when the input ends: the harness is gone then, and so is this process.
fn read_request(input: &mut impl BufRead) -> io::Result<RequestLine> {
    let mut line = Vec::new();
    input.take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
    if line.len() > MAX_LINE_BYTES {
        let problem = format!("a request is longer than {MAX_LINE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    if line.last() != Some(&b'\n') {
        end_with_group();
    }
    serde_json::from_slice(&line).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

fn end_with_group() -> ! {
    use rustix::process::{Signal, getpgrp, getpid, kill_process_group};
    if getpgrp() == getpid() {
        let _ = kill_process_group(getpgrp(), Signal::KILL);
    }
    std::process::exit(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FailureKind;

    /// Emits two samples, and then breaks if it is told to.
    struct Two {
        breaks: bool,
    }

    impl Worker for Two {
        fn hello(&mut self) -> Hello {
            Hello { protocol: VERSION, name: "two".into(), ..Hello::default() }
        }
        fn prepare(&mut self, _: &PrepareRequest) -> Result<Prepared, Failure> {
            Err(Failure::blocked("nothing to load"))
        }
        fn run(&mut self, _: &RunRequest, emit: Emit<'_, Sample>) -> Result<(), Failure> {
            emit(Sample::default())?;
            emit(Sample { index: 1, ..Sample::default() })?;
            if self.breaks { Err(Failure::failed("broke")) } else { Ok(()) }
        }
    }

    fn replies(breaks: bool, request: &str) -> Vec<Reply> {
        let request = serde_json::from_str(request).expect("the test's own JSON");
        let mut replies = Vec::new();
        let sent = answer(&mut Two { breaks }, &request, &mut |reply| {
            replies.push(reply);
            Ok(())
        });
        assert!(sent.is_ok());
        replies
    }

    const RUN: &str =
        r#"{"type":"run","prompt":[1],"generate_tokens":2,"warmup":0,"iterations":2,"metrics":[],"tokens":false}"#;

    #[test]
    fn a_run_ends_with_done_or_with_its_failure() {
        assert!(matches!(&replies(false, RUN)[..], [Reply::Sample(_), Reply::Sample(_), Reply::Done]));
        assert!(
            matches!(&replies(true, RUN)[..], [Reply::Sample(_), Reply::Sample(_), Reply::Error(f)] if f.message == "broke")
        );
    }

    #[test]
    fn another_version_and_what_a_worker_cannot_do_are_failures() {
        let kind = |request| match &replies(false, request)[..] {
            [Reply::Error(failure)] => Some((failure.kind, failure.message.clone())),
            _ => None,
        };
        let (hello, message) = kind(r#"{"type":"hello","protocol":99}"#).expect("it speaks another version");
        assert_eq!(hello, FailureKind::Unsupported);
        assert!(message.contains("speaks protocol 1, the harness speaks 99"), "{message}");
        let score = r#"{"type":"score","tokens":[1,2],"context":2,"first":1,"top":1}"#;
        assert_eq!(kind(score).map(|k| k.0), Some(FailureKind::Unsupported));
        assert_eq!(kind(r#"{"type":"prepare"}"#).map(|k| k.0), Some(FailureKind::Blocked));
        assert!(
            matches!(&replies(false, r#"{"type":"hello","protocol":1}"#)[..], [Reply::Hello(h)] if h.name == "two")
        );
    }

    #[test]
    fn a_harness_that_does_not_listen_stops_the_run() {
        let mut heard = 0;
        let request = serde_json::from_str(RUN).expect("the test's own JSON");
        let sent = answer(&mut Two { breaks: false }, &request, &mut |_| {
            heard += 1;
            Err(io::Error::from(io::ErrorKind::BrokenPipe))
        });
        assert!(sent.is_err());
        assert_eq!(heard, 2, "one sample, and the failure");
    }

    #[test]
    fn a_request_is_one_line_of_bounded_length() {
        let mut two = io::Cursor::new("{\"id\":4,\"type\":\"bye\"}\n{\"id\":5,\"type\":\"bye\"}\n");
        assert_eq!(read_request(&mut two).map(|r| r.id).ok(), Some(4));
        assert_eq!(read_request(&mut two).map(|r| r.id).ok(), Some(5));
        let endless = io::Cursor::new(vec![b' '; MAX_LINE_BYTES + 10]);
        let problem = read_request(&mut io::BufReader::new(endless)).expect_err("longer than a line may be");
        assert!(problem.to_string().contains("longer than 16777216 bytes"), "{problem}");
        assert!(read_request(&mut io::Cursor::new("what?\n")).is_err());
    }
}
