//! How workers start, end and are ended.

use crate::children::{left_behind, runs, soon};
use crate::talk::{PATIENT, arm, converse, fake, interruptible, launcher, launcher_in, ready, run_request, shell};
use crate::trial;
use libtest_mimic::Trial;
use qa::run::session::Launcher as _;
use qa::samples::{LossCause, Stage};
use qa::spec::Deadlines;
use qa_protocol::{Failure, FailureKind, ScoreRequest};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("life::an_interruption_is_seen_at_once", interruption),
        trial("life::a_dropped_worker_is_gone", dropped),
        trial("life::a_dead_session_stays_dead", dead),
        trial("life::a_request_that_nobody_reads_does_not_block", unread),
        trial("life::scores_come_in_order", scores),
        trial("life::a_missing_plugin_is_blocked_and_named", missing),
        trial("life::a_plugin_is_found_by_path_relative_to_the_folder", relative),
        trial("life::a_plugin_that_forks_and_dies_leaves_nothing", forks),
        trial("life::a_worker_that_closes_its_output_and_stays", closes),
        trial("life::the_native_decoder_awaits_hardware", native),
        trial("life::a_program_that_cannot_start_says_so", unstartable),
    ]
}

fn interruption() {
    let flag = Arc::new(AtomicBool::new(false));
    let launcher = interruptible(".".as_ref(), &flag);
    let arm = fake("faults: [{kind: hang, after: 1}]");
    let mut session = ready(&launcher, &arm, &PATIENT).expect("it hangs later");
    let begun = Instant::now();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        flag.store(true, Ordering::Relaxed);
    });
    let loss = session.run(&run_request(), &mut |_, _| {}).expect_err("it hangs");
    assert_eq!((loss.stage, loss.cause), (Stage::Run, LossCause::Interrupted));
    assert!(loss.message.contains("interrupted while the worker was to send sample 1 of 3"), "{}", loss.message);
    assert!(begun.elapsed() < Duration::from_secs(3), "took {:?}", begun.elapsed());
}

fn dropped() {
    let session = ready(&launcher(), &fake("faults: [{kind: grandchild, at: prepare}]"), &PATIENT);
    assert!(session.is_ok());
    assert_eq!(left_behind().len(), 1, "the guard");
    drop(session);
}

fn dead() {
    let mut session =
        ready(&launcher(), &fake("faults: [{kind: crash, exit: 3}]"), &PATIENT).expect("it crashes later");
    let first = session.run(&run_request(), &mut |_, _| {}).expect_err("it crashes");
    assert!(left_behind().is_empty(), "it is gone before anybody says goodbye");
    assert_eq!(session.run(&run_request(), &mut |_, _| {}), Err(first.clone()));
    assert_eq!(session.finish(), Err(first));
}

fn unread() {
    let deadlines = Deadlines { score_s: 0.5, ..PATIENT };
    let mut session = launcher().launch(&shell("sleep 100"), &deadlines, None).expect("a shell starts");
    // Megabytes, and a pipe holds 64 KiB.
    let request = ScoreRequest { tokens: vec![12345; 1_000_000], text: None, context: 1000, first: 1, top: 1 };
    let begun = Instant::now();
    let loss = session.score(&request, &mut |_| {}).expect_err("it sleeps");
    assert!(matches!(loss.cause, LossCause::Deadline(_)), "{loss:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
}

fn scores() {
    let mut session = ready(&launcher(), &fake(""), &PATIENT).expect("an honest worker");
    let request = ScoreRequest { tokens: (0..20).collect(), text: None, context: 8, first: 4, top: 5 };
    let mut indices = Vec::new();
    assert_eq!(session.score(&request, &mut |row| indices.push(row.index)), Ok(()));
    assert_eq!(indices, [4, 5, 6, 7, 12, 13, 14, 15]);
    assert_eq!(session.finish(), Ok(()));
}

fn missing() {
    for (command, says) in [
        ("no-such-engine", "The plugin `no-such-engine` is in no folder of PATH: install it"),
        ("./no-such-engine", "no-such-engine does not exist"),
        ("./Cargo.toml", "Cargo.toml is not an executable file: make it one (chmod +x)"),
    ] {
        let arm = arm(&format!("{{backend: plugin, command: [{command}]}}"));
        let folder = env!("CARGO_MANIFEST_DIR").as_ref();
        let Err(loss) = launcher_in(folder).launch(&arm, &PATIENT, None) else { panic!("{command} started") };
        assert_eq!(loss.stage, Stage::Spawn);
        let LossCause::Refused(Failure { kind: FailureKind::Blocked, message }) = loss.cause else {
            panic!("{command}: {loss:?}")
        };
        assert_eq!(message, loss.message);
        assert!(message.contains(says), "{message}");
    }
    let Err(loss) = launcher().launch(&arm("{backend: plugin}"), &PATIENT, None) else { panic!("nothing started") };
    assert_eq!(loss.cause, LossCause::NotStarted);
    assert!(loss.message.contains("needs a `command`"), "{}", loss.message);
}

fn relative() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("engine.sh");
    let hello = r#"{"id":1,"type":"hello","protocol":1,"name":"sh","version":"1","capabilities":{"metrics":[]}}"#;
    fs::write(&script, "#!/bin/sh\nread request\ncat reply.json\nread request\nexit 6\n").expect("writable");
    fs::write(folder.path().join("reply.json"), format!("{hello}\n")).expect("writable");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("ours");
    let loss = converse(&launcher_in(folder.path()), &arm("{backend: plugin, command: [./engine.sh]}"), &PATIENT);
    let loss = loss.expect_err("it leaves at `prepare`");
    assert_eq!((loss.stage, loss.cause), (Stage::Prepare, LossCause::Exited("exit status 6".to_owned())));
}

fn forks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arm = shell("sleep 100 & echo $! > pid; echo $$ >> pid; exit 0");
    let begun = Instant::now();
    let loss = converse(&launcher_in(folder.path()), &arm, &PATIENT).expect_err("it says nothing");
    assert_eq!((loss.stage, loss.cause), (Stage::Hello, LossCause::Exited("exit status 0".to_owned())));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "the pipe is held open for 100 s, and took {:?}",
        begun.elapsed()
    );
    let pids = fs::read_to_string(folder.path().join("pid")).expect("it wrote its ids");
    assert!(pids.lines().count() == 2 && soon(|| pids.lines().all(|pid| !runs(pid.parse().unwrap_or(0)))));
}

fn closes() {
    let loss = converse(&launcher(), &shell("exec 1>&-; exec sleep 100"), &PATIENT).expect_err("it cannot answer");
    assert_eq!(loss.cause, LossCause::Protocol);
    assert!(loss.message.contains("and closed its standard output instead"), "{}", loss.message);
}

fn native() {
    let Err(loss) = launcher().launch(&arm("{backend: native}"), &PATIENT, None) else { panic!("nothing started") };
    assert!(matches!(&loss.cause, LossCause::Refused(f) if f.kind == FailureKind::Blocked));
    assert!(loss.message.contains("awaiting hardware"), "{}", loss.message);
}

fn unstartable() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("engine");
    fs::write(&script, "#!/no/such/interpreter\n").expect("writable");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("ours");
    let loss = converse(&launcher_in(folder.path()), &arm("{backend: plugin, command: [./engine]}"), &PATIENT);
    let loss = loss.expect_err("it cannot start");
    assert_eq!(loss.cause, LossCause::Exited("exit status 127".to_owned()));
    assert!(loss.stderr_tail.iter().any(|line| line.contains("cannot start") && line.contains("engine")), "{loss:?}");
}
