//! The process between the harness and a worker, for the moment when the harness is no more.
//!
//! `qa guard -- PROGRAM ARGUMENTS` leads the worker's process group, hands its own standard streams on, and mirrors how the
//! worker ends. It reads nothing: it watches standard input for the end of whoever writes to it. When that end comes (the
//! harness was killed, by whatever signal) it kills the whole group, and with it a worker that hangs, that is stopped, or
//! that does not care for the end of its input, and everything that the worker started. When the worker ends first, the
//! guard kills what that left behind in the group.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getpgid, getpgrp, getpid, getppid, kill_process, kill_process_group, setpgid,
    setrlimit,
};
use rustix::stdio::dup2_stdout;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

/// The exit status when the program cannot be started, as a shell has it.
const NOT_STARTED: i32 = 127;

/// Run `command` (a program and its arguments) as its guard, and end as it ends.
pub fn guard(command: &[OsString]) -> ! {
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("qa guard: no program was named");
        std::process::exit(NOT_STARTED);
    };
    match Command::new(program).args(arguments).spawn() {
        Err(e) => {
            eprintln!("qa guard: cannot start {}: {e}", program.display());
            std::process::exit(NOT_STARTED);
        }
        Ok(mut child) => {
            // That the worker closes its standard output must be seen, so nobody else may hold it.
            let _ = File::options().write(true).open("/dev/null").map(dup2_stdout);
            // Somebody else's group is not for this process to kill: then only the end of the input reaches the worker.
            let group = Some(getpgrp()).filter(|group| *group == getpid());
            if let Some(group) = group {
                thread::spawn(move || kill_at_end_of_input(group));
            }
            match child.wait() {
                Ok(status) => {
                    if let Some(group) = group {
                        kill_the_rest(group);
                    }
                    mirror(status)
                }
                Err(e) => {
                    eprintln!("qa guard: cannot wait for {}: {e}", program.display());
                    std::process::exit(NOT_STARTED);
                }
            }
        }
    }
}

fn kill_at_end_of_input(group: Pid) {
    let stdin = io::stdin();
    loop {
        // Nothing is asked for: that the other end hung up is always told.
        let mut watched = [PollFd::new(&stdin, PollFlags::empty())];
        match poll(&mut watched, None) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => {
                // By its number: this process may have left it, and must kill no other.
                let _ = kill_process_group(group, Signal::KILL);
                return;
            }
        }
    }
}

/// Kill the group without this process, which is still to tell how the worker ended, by going over to the harness's group.
/// Where that cannot be, nobody is left to be told.
fn kill_the_rest(group: Pid) {
    let harness = getppid().and_then(|parent| getpgid(Some(parent)).ok());
    if let Some(harness) = harness {
        let _ = setpgid(None, Some(harness));
    }
    let _ = kill_process_group(group, Signal::KILL);
}

/// End as the worker did: with its exit status, or by its signal.
fn mirror(status: ExitStatus) -> ! {
    if let Some(code) = status.code() {
        std::process::exit(code);
    }
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let number = status.signal().unwrap_or_default();
    if let Some(signal) = Signal::from_named_raw(number) {
        // The runtime's handler of SIGSEGV and SIGBUS sees the first and restores the default action.
        for _ in 0..10 {
            let _ = kill_process(getpid(), signal);
            thread::sleep(Duration::from_millis(1));
        }
    }
    std::process::exit(128 + number)
}
