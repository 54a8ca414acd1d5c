//! A worker process: its group, its pipes, its end.

use super::lines::{Cut, LineBuffer};
use super::tail::Tail;
use super::wire::{Ending, Event, Exit, Wire};
use qa_protocol::{MAX_LINE_BYTES, RequestLine};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitid, waitpgid};
use std::io::{self, Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait before looking whether the user wants to stop, or the worker died while others hold its pipes.
const SLICE: Duration = Duration::from_millis(50);

/// How long output may still come in once a worker ended while others hold its pipes.
const DRAIN: Duration = Duration::from_millis(200);

/// How long to wait for members of a killed group to be gone. Only a process that waits for a device can take longer, and
/// nothing can be done about that one.
const BURIAL: Duration = Duration::from_secs(2);

/// A worker process that leads a group of its own.
pub(in crate::run) struct ChildWire {
    child: Child,
    group: Option<Pid>,
    requests: mpsc::Sender<Vec<u8>>,
    cuts: mpsc::Receiver<(Cut, Instant)>,
    buffer: Arc<Mutex<LineBuffer>>,
    stderr: Tail,
    interrupt: Arc<AtomicBool>,
    ending: Option<Ending>,
}

impl ChildWire {
    /// Start `command` in a process group of its own, with pipes for its standard streams.
    ///
    /// # Errors
    /// When the system cannot start it.
    pub(in crate::run) fn start(mut command: Command, interrupt: Arc<AtomicBool>) -> io::Result<Self> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn()?;
        let group = Pid::from_raw(child.id().cast_signed());
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(io::Error::other("the pipes that were asked for are not there"));
        };
        let buffer = Arc::new(Mutex::new(LineBuffer::new(MAX_LINE_BYTES)));
        Ok(Self {
            child,
            group,
            requests: write_requests(stdin),
            cuts: read_replies(stdout, Arc::clone(&buffer)),
            buffer,
            stderr: Tail::of(stderr),
            interrupt,
            ending: None,
        })
    }

    /// Whether the worker itself ended. It is not reaped: its group keeps its number until it was killed.
    fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        self.group.is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
    }

    fn partial(&self) -> Vec<u8> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner).partial().to_vec()
    }

    fn wait_for_exit(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        loop {
            if self.has_exited() {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.interrupt.load(Ordering::Relaxed) {
                return false;
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(SLICE);
        }
    }

    /// Kill what is left of the group and reap what is ours.
    fn bury(&mut self) -> Option<ExitStatus> {
        if let Some(group) = self.group {
            // Before the leader is reaped: until then nobody else can have the group's number.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let status = self.child.wait().ok();
        if let Some(group) = self.group {
            bury_adopted(group);
        }
        status
    }
}

/// Reap members of the group whose parents died with it: see [`adopt_orphans`].
fn bury_adopted(group: Pid) {
    let deadline = Instant::now() + BURIAL;
    while Instant::now() < deadline {
        match waitpgid(group, WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => thread::sleep(Duration::from_millis(1)),
            Err(_) => return,
        }
    }
}

/// Become the parent of orphans among this process's descendants, so that the members of a killed group can be waited for.
/// Elsewhere than on Linux they are left to the system's first process.
pub(in crate::run) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    {
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }
}

impl Wire for ChildWire {
    fn send(&mut self, request: &RequestLine) {
        let Ok(mut line) = serde_json::to_vec(request) else { return };
        line.push(b'\n');
        // The thread is gone only when the pipe is broken, and then the reply says so.
        let _ = self.requests.send(line);
    }

    fn receive(&mut self, within: Duration) -> Event {
        let deadline = Instant::now() + within;
        let mut exited_at = None;
        loop {
            if self.interrupt.load(Ordering::Relaxed) {
                return Event::Interrupted;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.cuts.recv_timeout(left.min(SLICE)) {
                Ok((Cut::Line(line), at)) => return Event::Line(line, at),
                Ok((Cut::TooLong(start), _)) => return Event::TooLong(start),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Event::Closed(self.partial()),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if exited_at.is_none() && self.has_exited() {
                exited_at = Some(Instant::now());
            }
            if exited_at.is_some_and(|at: Instant| at.elapsed() > DRAIN) {
                return Event::Closed(self.partial());
            }
            if left.is_zero() {
                return Event::Late(self.partial());
            }
        }
    }

    fn end(&mut self, patience: Duration) -> Ending {
        if let Some(ending) = &self.ending {
            return ending.clone();
        }
        let by_itself = self.wait_for_exit(patience);
        let status = self.bury();
        let exit = status.filter(|_| by_itself).map(describe);
        let ending = Ending { exit, stderr_tail: self.stderr.lines() };
        self.ending = Some(ending.clone());
        ending
    }

    fn group(&self) -> Option<u32> {
        Some(self.child.id())
    }

    fn shares_clock(&self) -> bool {
        true
    }
}

impl Drop for ChildWire {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// A status in words.
pub(in crate::run) fn describe(status: ExitStatus) -> Exit {
    let words = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by {}", signal_name(signal)),
        (None, None) => status.to_string(),
    };
    Exit { success: status.success(), words }
}

fn signal_name(signal: i32) -> String {
    let named = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL, an illegal instruction"),
        (Signal::ABORT, "SIGABRT, its own abort"),
        (Signal::BUS, "SIGBUS, a bus error"),
        (Signal::FPE, "SIGFPE, an arithmetic error"),
        (Signal::KILL, "SIGKILL, as by the system when memory runs out"),
        (Signal::SEGV, "SIGSEGV, an invalid memory access"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::TERM, "SIGTERM"),
    ];
    let name = named.iter().find(|(known, _)| known.as_raw() == signal).map(|(_, name)| (*name).to_owned());
    name.unwrap_or_else(|| format!("signal {signal}"))
}

/// Write on a thread of its own: a worker that does not read must not keep the harness from seeing its deadline. The pipe
/// closes with the sender.
fn write_requests(mut stdin: ChildStdin) -> mpsc::Sender<Vec<u8>> {
    let (tx, rx) = mpsc::channel::<Vec<u8>>();
    thread::spawn(move || {
        for line in rx {
            if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
                return;
            }
        }
    });
    tx
}

/// Read on a thread of its own, one chunk ahead of who listens. The channel closes with the pipe.
fn read_replies(
    mut stdout: impl Read + Send + 'static,
    buffer: Arc<Mutex<LineBuffer>>,
) -> mpsc::Receiver<(Cut, Instant)> {
    let (tx, rx) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut chunk = vec![0; 1 << 16];
        loop {
            let read = match stdout.read(&mut chunk) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => return,
                Ok(n) => n,
            };
            let now = Instant::now();
            let cuts = buffer.lock().unwrap_or_else(PoisonError::into_inner).feed(&chunk[..read]);
            for cut in cuts {
                let overrun = matches!(cut, Cut::TooLong(_));
                if tx.send((cut, now)).is_err() || overrun {
                    return;
                }
            }
        }
    });
    rx
}
