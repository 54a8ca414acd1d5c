//! The guard: it ends as its worker ends, and nothing survives the harness.

use crate::children::{runs, soon};
use crate::talk::{PATIENT, fake, launcher_in, ready, run_request, shell};
use crate::trial;
use libtest_mimic::Trial;
use qa::run::session::Launcher as _;
use qa::spec::Arm;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("guard::mirrors_statuses_and_signals", mirrors),
        trial("guard::what_a_worker_leaves_is_gone_before_its_status_is_known", leaves_nothing),
        trial("guard::a_killed_harness_takes_a_deaf_plugin_and_its_grandchild_along", || killed("deaf")),
        trial("guard::a_killed_harness_takes_a_hanging_worker_along", || killed("hanging")),
        trial("guard::a_killed_harness_takes_a_stopped_worker_along", || killed("stopped")),
    ]
}

fn guard(script: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test has an executable"));
    command.args(["guard", "--", "sh", "-c", script]).stdin(Stdio::piped());
    command
}

fn mirrors() {
    let status = |script| {
        let mut child = guard(script).stderr(Stdio::null()).spawn().expect("this very program");
        // Kept open: to the guard a closed input is the end of the harness.
        let input = child.stdin.take();
        let status = child.wait().expect("our child");
        drop(input);
        status
    };
    assert_eq!(status("exit 0").code(), Some(0));
    assert_eq!(status("exit 7").code(), Some(7));
    assert_eq!(status("kill -SEGV $$").signal(), Some(11));
    assert_eq!(status("kill -TERM $$").signal(), Some(15));
    assert_eq!(status("kill -KILL $$").signal(), Some(9));
    let out = guard("read line; echo got $line").stdin(Stdio::from(input("hello\n"))).output().expect("this program");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "got hello\n");
}

fn leaves_nothing() {
    // As the harness starts it: at the head of a group.
    let mut child = guard("sleep 600 & echo $!; exit 3").process_group(0).stdout(Stdio::piped()).spawn().expect("ours");
    let input = child.stdin.take();
    let output = child.wait_with_output().expect("our child; its pipe ends with the grandchild that holds it");
    drop(input);
    assert_eq!(output.status.code(), Some(3));
    let pid = String::from_utf8_lossy(&output.stdout).trim().parse().expect("the grandchild's id");
    assert!(soon(|| !runs(pid)), "{pid} is still there");
    soon(|| rustix::process::wait(rustix::process::WaitOptions::NOHANG).is_err());
}

/// A file to read from: its end is not the end of a pipe's writer.
fn input(text: &str) -> fs::File {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("input");
    fs::write(&path, text).expect("writable");
    fs::File::open(path).expect("readable")
}

/// The arm that a harness is killed over, by name. Each writes the ids of its processes into `pids`.
fn victim(name: &str) -> Arm {
    match name {
        // Reads nothing, ignores every signal that can be ignored, and has a child that does so too.
        "deaf" => shell("trap '' HUP INT TERM PIPE; sleep 600 & echo $! > part; echo $$ >> part; mv part pids; wait"),
        "hanging" => fake("faults: [{kind: grandchild}, {kind: hang, after: 1}]"),
        _ => fake("faults: [{kind: hang, after: 1}]"),
    }
}

/// A harness that waits for a worker which never answers. Killed from outside.
pub(crate) fn harness_that_will_be_killed(arguments: &[OsString]) {
    let [name, folder] = arguments else { panic!("harness NAME FOLDER") };
    let (name, folder) = (name.to_str().unwrap_or_default(), Path::new(folder));
    let arm = victim(name);
    let launcher = launcher_in(folder);
    if name == "deaf" {
        let mut session = launcher.launch(&arm, &PATIENT, None).expect("a shell starts");
        let _ = session.hello();
        return;
    }
    let mut session = ready(&launcher, &arm, &PATIENT).expect("it hangs later");
    let _ = session.run(&run_request(), &mut |_, _| {
        let descendants = descendants_of(std::process::id());
        if name == "stopped" {
            // The last one is the worker; the guard before it stays awake.
            stop(descendants.last().copied());
        }
        let text: Vec<String> = descendants.iter().map(u32::to_string).collect();
        fs::write(folder.join("part"), text.join("\n")).expect("writable");
        fs::rename(folder.join("part"), folder.join("pids")).expect("writable");
    });
}

fn stop(pid: Option<u32>) {
    if let Some(pid) = pid.and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        kill_process(pid, Signal::STOP).expect("our grandchild");
    }
}

/// Every descendant, parents before children.
fn descendants_of(pid: u32) -> Vec<u32> {
    let task = PathBuf::from(format!("/proc/{pid}/task"));
    let threads = fs::read_dir(task).into_iter().flatten().filter_map(Result::ok);
    let children: Vec<u32> = threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect();
    children.into_iter().flat_map(|child| [vec![child], descendants_of(child)].concat()).collect()
}

fn killed(name: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = harness(name, folder.path());
    let file = folder.path().join("pids");
    assert!(soon(|| file.exists()), "the worker did not come up");
    let pids: Vec<u32> = fs::read_to_string(&file).expect("just seen").lines().filter_map(|l| l.parse().ok()).collect();
    assert!(pids.len() >= 2 && pids.iter().all(|pid| runs(*pid)), "{pids:?}");
    harness.kill().expect("our child");
    harness.wait().expect("our child");
    let gone = soon(|| pids.iter().all(|pid| !runs(*pid)));
    let left: Vec<&u32> = pids.iter().filter(|pid| runs(**pid)).collect();
    assert!(gone, "survived kill -9 of the harness: {left:?} of {pids:?}");
    // They were orphans, this process adopted them, and nobody else will bury them.
    soon(|| rustix::process::wait(rustix::process::WaitOptions::NOHANG).is_err());
}

fn harness(name: &str, folder: &Path) -> Child {
    let this = std::env::current_exe().expect("a test has an executable");
    Command::new(this).arg("harness").arg(name).arg(folder).stdin(Stdio::null()).spawn().expect("this very program")
}
