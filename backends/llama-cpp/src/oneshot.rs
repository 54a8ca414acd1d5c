//! Programs that run, print and end.

use crate::child::Running;
use crate::log::Transcript;
use qa_protocol::Failure;
use std::process::Command;
use std::time::Duration;

/// What a program left when it ended well.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error, line by line with times.
    pub stderr: Transcript,
    /// Its peak resident memory in bytes, where known.
    pub host_peak_bytes: Option<u64>,
    /// The environment that it ran in, where the system tells: not always the one that it was given, if it is a script.
    pub environment: Vec<(String, String)>,
}

/// Run a program to its end.
///
/// # Errors
/// `failed` when it cannot be started, ends with another status than 0 or outlasts the limit, with its last lines.
pub fn run(command: Command, limit: Duration) -> Result<Finished, Failure> {
    let mut running = Running::spawn(command)?;
    let status = running.wait(limit)?;
    let (name, stderr) = (running.name().to_owned(), running.stderr());
    let Some(status) = status else {
        let limit = limit.as_secs_f64();
        return Err(Failure::failed(format!("{name} was still running after {limit} s; {}", stderr.tail())));
    };
    if !status.success() {
        return Err(Failure::failed(format!("{name} ended with {status}; {}", stderr.tail())));
    }
    Ok(Finished {
        stdout: running.stdout(),
        stderr,
        host_peak_bytes: running.host_peak_bytes(),
        environment: running.environment(),
    })
}
