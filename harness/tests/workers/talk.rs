//! Conversations as the runner has them.

use qa::run::process::ProcessLauncher;
use qa::run::session::{Launcher, Session};
use qa::samples::Loss;
use qa::spec::{Arm, Deadlines};
use qa_protocol::{Metric, PrepareRequest, Replicate, RunRequest, Sample, Sampling};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Deadlines that no honest worker misses on a busy machine.
pub(crate) const PATIENT: Deadlines = Deadlines { hello_s: 20.0, prepare_s: 20.0, iteration_s: 20.0, score_s: 20.0 };

/// A launcher of this very program, with plugins relative to `folder`.
pub(crate) fn launcher_in(folder: &Path) -> ProcessLauncher {
    interruptible(folder, &Arc::default())
}

/// The same, with an interruption.
pub(crate) fn interruptible(folder: &Path, interrupt: &Arc<AtomicBool>) -> ProcessLauncher {
    let this = std::env::current_exe().expect("a test has an executable");
    ProcessLauncher::new(this, folder.to_owned(), Arc::clone(interrupt))
}

/// A launcher of this very program.
pub(crate) fn launcher() -> ProcessLauncher {
    launcher_in(Path::new("."))
}

/// An arm as a specification writes it.
pub(crate) fn arm(yaml: &str) -> Arm {
    serde_yaml::from_str(yaml).expect("the test's own YAML")
}

/// A scripted arm.
pub(crate) fn fake(options: &str) -> Arm {
    arm(&format!("{{backend: fake, {options}}}"))
}

/// An arm that runs a shell script.
pub(crate) fn shell(script: &str) -> Arm {
    Arm { command: vec!["sh".into(), "-c".into(), script.into()], ..arm("{backend: plugin}") }
}

/// One warm-up and two timed iterations of four tokens after three.
pub(crate) fn run_request() -> RunRequest {
    RunRequest {
        prompt: vec![3, 1, 4],
        generate_tokens: 4,
        sampling: Sampling::Greedy,
        ignore_eos: true,
        warmup: 1,
        iterations: 2,
        metrics: vec![Metric::DecodeRate],
        tokens: true,
        load: None,
    }
}

/// A worker that is ready to run.
pub(crate) fn ready(launcher: &dyn Launcher, arm: &Arm, deadlines: &Deadlines) -> Result<Box<dyn Session>, Loss> {
    let mut session = launcher.launch(arm, deadlines, None)?;
    session.hello()?;
    let replicate = Some(Replicate { arm: "a".into(), workload: "w".into(), places: 1, ..Replicate::default() });
    session.prepare(&PrepareRequest { options: arm.options.clone(), replicate, ..PrepareRequest::default() })?;
    Ok(session)
}

/// From launch to goodbye.
pub(crate) fn converse(launcher: &dyn Launcher, arm: &Arm, deadlines: &Deadlines) -> Result<Vec<Sample>, Loss> {
    let mut session = ready(launcher, arm, deadlines)?;
    let mut samples = Vec::new();
    session.run(&run_request(), &mut |sample, _| samples.push(sample))?;
    session.finish()?;
    Ok(samples)
}
