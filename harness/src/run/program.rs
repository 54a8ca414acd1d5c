//! A program that must exit as said.

use super::event::Event;
use super::execute::{Halt, Runner};
use super::journal::Recorded;
use super::surroundings;
use crate::plan::ProgramStep;
use crate::samples::{Evidence, Record};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use wait_timeout::ChildExt as _;

/// Lines of output that are kept.
const TAIL_LINES: usize = 20;
/// Bytes of output that are kept, of which the lines are taken.
const TAIL_BYTES: usize = 8192;
/// How often the user's wish to end is looked at.
const GLANCE: Duration = Duration::from_millis(100);
/// How long output may still trickle in after the end. Whoever then holds the pipe is no part of the program.
const DRAIN: Duration = Duration::from_secs(1);

/// Run a program and record how it ended.
pub(super) fn run(runner: &mut Runner<'_, '_>, step: &ProgramStep) -> Result<(), Halt> {
    let name = || format!("the program of {}", step.entry);
    let recorded = |left: &[Record]| match &left[0].evidence {
        Evidence::Program { entry, .. } if *entry == step.entry => Recorded::Whole(1),
        _ => Recorded::Foreign(0),
    };
    if runner.journal.replay(&name, recorded)?.is_some() {
        return Ok(());
    }
    runner.check_interrupt()?;
    runner.journal.note(Event::Program { entry: step.entry.clone(), argv: step.check.argv.clone() })?;
    let deadline = Duration::try_from_secs_f64(step.check.timeout_s).unwrap_or(Duration::MAX);
    let begun = Instant::now();
    let end = spawn(&step.check.argv, runner.setup.directory, deadline, runner.setup.interrupted);
    runner.check_interrupt()?;
    let seconds = begun.elapsed().as_secs_f64();
    let (exit, problem, tail) = match end {
        Ok(end) => end.words(step.check.timeout_s),
        Err(error) => {
            let program = step.check.argv.first().map_or("", String::as_str);
            (None, Some(format!("`{program}` could not be started: {error}")), Vec::new())
        }
    };
    runner.journal.append(Evidence::Program { entry: step.entry.clone(), exit, problem, tail, seconds })?;
    Ok(runner.journal.sync()?)
}

/// How a program ended: its status, or nothing when it was killed at its deadline.
struct End {
    status: Option<ExitStatus>,
    tail: Vec<String>,
}

impl End {
    fn words(self, timeout_s: f64) -> (Option<i32>, Option<String>, Vec<String>) {
        let (exit, problem) = match self.status {
            None => (None, Some(format!("it was killed after {timeout_s} s, its `timeout_s`"))),
            Some(status) => match status.code() {
                Some(code) => (Some(code), None),
                None => (None, Some(format!("it ended by {status}"))),
            },
        };
        (exit, problem, self.tail)
    }
}

/// Run to the end or the deadline, in a process group that is gone afterwards. `qa` means this very program.
fn spawn(argv: &[String], directory: &Path, deadline: Duration, interrupted: &AtomicBool) -> io::Result<End> {
    let (program, arguments) = argv.split_first().ok_or_else(|| io::Error::other("`argv` is empty"))?;
    let program = if program == "qa" { std::env::current_exe()? } else { program.into() };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).process_group(0);
    surroundings::fix(&mut command);
    die_with_harness(&mut command);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let tail = Tail::default();
    let (drained, drain) = mpsc::channel();
    if let Some(out) = child.stdout.take() {
        tail.read(out, drained.clone());
    }
    if let Some(err) = child.stderr.take() {
        tail.read(err, drained.clone());
    }
    drop(drained);
    let status = wait(&mut child, deadline, interrupted)?;
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // What the program left running must not disturb what is measured next; usually there is nothing left.
        let _ = kill_process_group(pid, Signal::KILL);
    }
    if status.is_none() {
        child.wait()?;
    }
    // Ends when both readers are done, which drops their senders, or when they take too long.
    let _ = drain.recv_timeout(DRAIN);
    Ok(End { status, tail: tail.lines() })
}

/// Have the system kill the program when the harness is killed and cannot do so itself.
fn die_with_harness(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: between fork and exec only a system call is made, which neither allocates nor locks.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

fn wait(child: &mut Child, deadline: Duration, interrupted: &AtomicBool) -> io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        let left = deadline.saturating_sub(begun.elapsed());
        if left.is_zero() || interrupted.load(Ordering::Relaxed) {
            return Ok(None);
        }
        if let Some(status) = child.wait_timeout(left.min(GLANCE))? {
            return Ok(Some(status));
        }
    }
}

/// The last bytes of a program's output and errors, as they came.
#[derive(Clone, Default)]
struct Tail(Arc<Mutex<Vec<u8>>>);

impl Tail {
    /// `drained` is dropped when there is no more to read.
    fn read(&self, mut from: impl Read + Send + 'static, drained: mpsc::Sender<()>) {
        let Self(kept) = self.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut chunk) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&chunk[..count]);
                let excess = kept.len().saturating_sub(TAIL_BYTES);
                kept.drain(..excess);
            }
            drop(drained);
        });
    }

    fn lines(&self) -> Vec<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&kept);
        let lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, seconds: f64) -> End {
        let argv = ["sh", "-c", script].map(String::from);
        spawn(&argv, Path::new("/"), Duration::from_secs_f64(seconds), &AtomicBool::new(false)).unwrap()
    }

    #[test]
    fn the_exit_status_and_the_last_lines_are_kept() {
        // Two pipes have no common order unless time lies between.
        let (exit, problem, tail) = sh("seq 1 30; sleep 0.3; echo oops >&2; exit 3", 10.0).words(10.0);
        assert_eq!((exit, problem), (Some(3), None));
        assert_eq!(tail.len(), TAIL_LINES);
        assert!(tail.contains(&"oops".to_owned()) && tail.contains(&"30".to_owned()), "{tail:?}");
    }

    #[test]
    fn a_deadline_kills_the_whole_group() {
        let begun = Instant::now();
        let (exit, problem, _) = sh("sleep 30 & sleep 30", 0.2).words(0.2);
        assert_eq!(exit, None);
        assert_eq!(problem.unwrap(), "it was killed after 0.2 s, its `timeout_s`");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_grandchild_that_holds_the_pipe_holds_nothing_up() {
        let begun = Instant::now();
        let (exit, _, tail) = sh("sleep 30 & echo done", 20.0).words(20.0);
        assert_eq!((exit, tail), (Some(0), vec!["done".to_owned()]));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_signal_is_named_and_a_missing_program_is_an_error() {
        let (exit, problem, _) = sh("kill -9 $$", 10.0).words(10.0);
        assert_eq!(exit, None);
        assert!(problem.unwrap().contains("signal: 9"));
        let argv = ["/nonexistent/program".to_owned()];
        assert!(spawn(&argv, Path::new("/"), Duration::from_secs(1), &AtomicBool::new(false)).is_err());
    }
}
