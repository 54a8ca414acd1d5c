//! The worker's side: read a request, answer it, leave when the harness does.

use crate::{
    Failure, Hello, MAX_LINE_BYTES, PrepareRequest, Prepared, Reply, ReplyLine, Request, RequestLine, RunRequest,
    Sample, ScoreRequest, ScoreRow, VERSION,
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
}

/// Serve requests from standard input until `bye`.
///
/// When standard input ends without a `bye` the harness is gone: the worker ends at once, in the middle of whatever it
/// does, and takes its process group with it if it leads one.
///
/// # Errors
/// When standard output cannot be written, or a request cannot be read.
pub fn serve(mut worker: impl Worker) -> io::Result<()> {
    let requests = read_requests();
    let mut out = io::stdout().lock();
    for line in requests {
        let RequestLine { id, request } =
            serde_json::from_str(&line?).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        if request == Request::Bye {
            return Ok(());
        }
        let reply = answer(&mut worker, &request, &mut |reply| send(&mut out, id, reply)).unwrap_or_else(Reply::Error);
        send(&mut out, id, reply)?;
    }
    Ok(())
}

fn answer(
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
        Request::Bye => unreachable!("`serve` leaves on `bye` before it asks for an answer"),
    }
}

fn send(out: &mut impl Write, id: u64, reply: Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(&ReplyLine { id, reply })?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// Reads on a thread of its own, so that the end of input is seen while a request is being answered.
fn read_requests() -> mpsc::IntoIter<io::Result<String>> {
    let (tx, rx) = mpsc::channel();
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = String::new();
            match input.by_ref().take(MAX_LINE_BYTES as u64).read_line(&mut line) {
                Ok(0) => end_with_group(),
                Ok(_) => {
                    let bye = serde_json::from_str::<RequestLine>(&line).is_ok_and(|l| l.request == Request::Bye);
                    if tx.send(Ok(line)).is_err() || bye {
                        return;
                    }
                }
                Err(e) => {
                    let _ = tx.send(Err(e));
                    return;
                }
            }
        }
    });
    rx.into_iter()
}

fn end_with_group() -> ! {
    use rustix::process::{Signal, getpgrp, getpid, kill_process_group};
    if getpgrp() == getpid() {
        let _ = kill_process_group(getpgrp(), Signal::KILL);
    }
    std::process::exit(0)
}
