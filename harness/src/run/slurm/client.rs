//! The programs of Slurm, called as a user calls them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use wait_timeout::ChildExt as _;

/// How long a program of Slurm may take: it waits itself for a controller that is busy.
const PATIENCE: Duration = Duration::from_secs(90);
/// What stands between the fields of a line; a reason, which may hold anything, comes last.
const FORMAT: &str = "--format=%j|%F|%K|%T|%N|%r";

/// One task as the scheduler has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The job's number.
    pub(super) job: String,
    /// Its state, in the scheduler's word.
    pub(super) state: String,
    /// Its node; nothing while it waits.
    pub(super) node: String,
    /// Why it waits, or ended.
    pub(super) reason: String,
}

impl Seen {
    /// Whether it has ended, however. A state that is not known is none that has.
    pub(super) fn over(&self) -> bool {
        const ENDS: [&str; 10] = [
            "BOOT_FAIL",
            "CANCELLED",
            "COMPLETED",
            "DEADLINE",
            "FAILED",
            "NODE_FAIL",
            "OUT_OF_MEMORY",
            "PREEMPTED",
            "REVOKED",
            "TIMEOUT",
        ];
        ENDS.contains(&self.state.as_str())
    }

    /// Whether it has not begun.
    pub(super) fn waits(&self) -> bool {
        ["PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"].contains(&self.state.as_str())
    }
}

/// Tasks by the name of their job and their number in it.
pub(super) type Queue = BTreeMap<(String, u32), Seen>;

/// What a submission came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The job's number.
    Job(String),
    /// It was refused, and would be again.
    Refused(String),
    /// Nobody knows: there may be a job.
    Unknown(String),
}

/// Submit a job.
pub(super) fn sbatch(arguments: &[OsString]) -> Answer {
    match call("sbatch", arguments) {
        Ok(said) => match job_number(&said) {
            Some(job) => Answer::Job(job),
            None => Answer::Unknown(format!("it answers {said:?}, which is no job's number")),
        },
        Err(said) if may_have_been_heard(&said) => Answer::Unknown(said),
        Err(said) => Answer::Refused(said),
    }
}

/// `17`, or `17;cluster`.
fn job_number(said: &str) -> Option<String> {
    let number = said.trim().split(';').next()?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then(|| number.to_owned())
}

/// Whether a failure leaves it open what the controller did, or whether it would do better later.
fn may_have_been_heard(said: &str) -> bool {
    const PASSING: [&str; 8] = [
        "timed out",
        "unable to contact",
        "connection refused",
        "communication",
        "temporarily",
        "did not end",
        "zero bytes",
        "try again",
    ];
    let said = said.to_lowercase();
    // A refusal has its own words; a program that says nothing was cut short.
    said.is_empty() || PASSING.iter().any(|word| said.contains(word))
}

/// Every task of the jobs of these names, ended ones too as long as the controller remembers them. One call, however many.
///
/// # Errors
/// What the scheduler says instead. It says nothing of the jobs.
pub(super) fn squeue(names: &[&str]) -> Result<Queue, String> {
    let name = format!("--name={}", names.join(","));
    let said = call("squeue", &["--noheader", "--array", "--states=all", &name, FORMAT].map(OsString::from))?;
    Ok(said.lines().filter_map(line).collect())
}

fn line(text: &str) -> Option<((String, u32), Seen)> {
    let mut fields = text.splitn(6, '|').map(str::trim);
    let mut next = || fields.next().map(str::to_owned);
    let (name, job, task) = (next()?, next()?, next()?);
    let seen = Seen { job, state: next()?, node: next()?, reason: next()? };
    Some(((name, task.parse().ok()?), seen))
}

/// Cancel the jobs of these names, and whatever runs of them.
///
/// # Errors
/// What the scheduler says.
pub(super) fn cancel_named(names: &[&str]) -> Result<(), String> {
    names.iter().try_for_each(|name| call("scancel", &[format!("--name={name}").into()]).map(drop))
}

/// Cancel one task.
///
/// # Errors
/// What the scheduler says.
pub(super) fn cancel_task(job: &str, task: u32) -> Result<(), String> {
    call("scancel", &[format!("{job}_{task}").into()]).map(drop)
}

/// What a program writes, or why it failed, in its own words.
fn call(program: &str, arguments: &[OsString]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{program} cannot be started: {e}"))?;
    let reader = |stream: Option<Box<dyn std::io::Read + Send>>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // As much as came before the end is told.
            let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).trim().to_owned()
        })
    };
    let out = reader(child.stdout.take().map(|s| Box::new(s) as _));
    let err = reader(child.stderr.take().map(|s| Box::new(s) as _));
    let status = child.wait_timeout(PATIENCE).map_err(|e| format!("{program} cannot be waited for: {e}"))?;
    let Some(status) = status else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("{program} did not end within {} s", PATIENCE.as_secs()));
    };
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    if status.success() { Ok(out) } else { Err(err.lines().map(str::trim).collect::<Vec<_>>().join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_queue_is_read_by_field() {
        let ((name, task), seen) = line("qa-1f|17|3|RUNNING|n2|None").unwrap();
        assert_eq!((name.as_str(), task, seen.job.as_str(), seen.node.as_str()), ("qa-1f", 3, "17", "n2"));
        assert!(!seen.over() && !seen.waits());
        let (_, seen) = line("qa-1f|17|4|PENDING||ReqNodeNotAvail, UnavailableNodes:n1|2").unwrap();
        assert!(seen.waits() && seen.reason == "ReqNodeNotAvail, UnavailableNodes:n1|2", "{seen:?}");
        for ended in ["COMPLETED", "NODE_FAIL", "CANCELLED", "TIMEOUT"] {
            assert!(Seen { state: ended.into(), ..seen.clone() }.over(), "{ended}");
        }
        assert!(!Seen { state: "NEW_WORD".into(), ..seen }.over(), "what is not known has not ended");
        assert_eq!(line("slurm_load_jobs error"), None);
        assert_eq!(line("name|17|N/A|PENDING||None"), None, "a job without tasks is not one of ours");
    }

    #[test]
    fn an_answer_is_a_number_a_refusal_or_nothing_that_is_known() {
        assert_eq!(job_number("17\n").as_deref(), Some("17"));
        assert_eq!(job_number("17;cluster").as_deref(), Some("17"));
        assert_eq!(job_number(""), None);
        assert_eq!(job_number("Submitted batch job 17"), None);
        for said in [
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
            "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
            "",
        ] {
            assert!(may_have_been_heard(said), "{said}");
        }
        for said in [
            "sbatch: error: invalid partition specified: nope; Batch job submission failed: Invalid partition name specified",
            "sbatch cannot be started: No such file or directory (os error 2)",
        ] {
            assert!(!may_have_been_heard(said), "{said}");
        }
    }

    #[test]
    fn a_program_that_is_not_here_or_fails_says_so() {
        assert!(call("qa-no-such-program", &[]).unwrap_err().contains("cannot be started"));
        assert_eq!(call("sh", &["-c".into(), "echo out; echo why >&2; exit 3".into()]), Err("why".into()));
        assert_eq!(call("sh", &["-c".into(), "echo out".into()]), Ok("out".into()));
    }
}
