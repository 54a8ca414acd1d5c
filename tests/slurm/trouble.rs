//! What happens to jobs, nodes, answers and `qa` itself.

use super::cluster::{Pair, until};
use super::{Job, PLAIN, Test, planned_and_judged};
use crate::support::{expect_exit, expect_says};
use libtest_mimic::Failed;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command};

/// The tests of this file.
pub const TESTS: [(&str, Test); 9] = [
    ("a node that dies loses no block", |pair| node_killed(pair, 0)),
    ("another node that dies loses none either", |pair| node_killed(pair, 1)),
    ("a killed run finds its jobs again", restarted),
    ("ctrl-c cancels the jobs", interrupted),
    ("a lost answer is found by name", answer_lost),
    ("what waits says why, and what was cancelled runs again", pending_then_cancelled),
    ("a time limit is no result", time_limit),
    ("a requeued job leaves one whole attempt", requeued),
    ("a refusal is told in the cluster's words", refused),
];

/// Whether to wait for what takes Slurm half a minute or more to find out by itself, and do it often.
fn long() -> bool {
    std::env::var_os("QA_SLURM_LONG").is_some()
}

/// A run that takes a while: each process loads for so many milliseconds.
fn slow(load_ms: u32) -> String {
    PLAIN.replace("LOAD", &load_ms.to_string())
}

/// A node dies in one run, or in each of five: two of these tests are ten. Each says what the same specification says here.
fn node_killed(pair: Pair<'_>, first: usize) -> Result<(), Failed> {
    let here = Job::new(pair, &slow(1), "")?;
    let mut local = here.qa();
    local.arg("run").arg(here.path("spec.yaml")).arg("--out").arg(here.out()).arg("--trust");
    expect_exit(&local.output()?, 0)?;
    let expected = planned_and_judged(&here.out())?;
    for run in 0..if long() { 5 } else { 1 } {
        let job = Job::new(pair, &slow(400), "")?;
        let mut child = job.run().spawn()?;
        let node = pair.nodes()[(first + run) % 2].clone();
        let mut said = until_said(&mut child, &node)?;
        pair.kill(&node)?;
        said += &rest(&mut child)?;
        let status = child.wait()?;
        pair.revive(&node)?;
        if status.code() != Some(0) {
            return Err(format!("run {run} ended with {status}:\n{said}").into());
        }
        job.complete(4)?;
        let found = planned_and_judged(&job.out())?;
        if found != expected {
            return Err(format!("here {expected:#}\nand in run {run}, in which a node died, {found:#}").into());
        }
        let lost = job.events("attempt_lost")?;
        let died = |event: &Value| event["why"].as_str().is_some_and(|why| why.contains("NODE_FAIL"));
        if lost.is_empty() || !lost.iter().all(died) {
            return Err(format!("run {run}, in which a node died: {lost:?}\n{said}").into());
        }
        println!("{node} killed in run {run}, {} attempts lost, every block whole", lost.len());
    }
    Ok(())
}

fn restarted(pair: Pair<'_>) -> Result<(), Failed> {
    let job = Job::new(pair, &slow(300), "")?;
    let mut child = job.run().spawn()?;
    until_said(&mut child, "running (")?;
    child.kill()?;
    child.wait()?;
    let before = job.ledger("intent")?.len();
    let resumed = job.resume().output()?;
    expect_exit(&resumed, 0)?;
    job.complete(4)?;
    // Blocks were found where they were; what follows them was not begun before.
    let blocks = |lines: &[Value]| {
        let units = lines.iter().flat_map(|line| line["units"].as_array().cloned().unwrap_or_default());
        units.filter(|unit| unit["step"] == "block").count()
    };
    let all = job.ledger("intent")?;
    if blocks(&all[..before]) != 4 || blocks(&all) != 4 {
        return Err(format!("blocks were submitted again: {all:?}").into());
    }
    Ok(())
}

fn interrupted(pair: Pair<'_>) -> Result<(), Failed> {
    let job = Job::new(pair, &slow(5000), "")?;
    let mut child = job.run().spawn()?;
    until_said(&mut child, "running (")?;
    Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    let said = rest(&mut child)?;
    let status = child.wait()?;
    if status.code() != Some(130) {
        return Err(format!("ended with {status}: {said}").into());
    }
    expect_says(&said, "interrupted; go on with: qa run --resume")?;
    let partition = format!("--partition=p{}", pair.number);
    until("no job is left", || Ok(pair.cluster.call("squeue", &["--noheader", &partition])?.trim().is_empty()))?;
    // Nothing of it is taken, and nothing is missed.
    std::fs::write(job.path("spec.yaml"), slow(1))?;
    if !job.ledger("cancelled")?.iter().all(|line| line["token"].is_string()) || job.ledger("cancelled")?.is_empty() {
        return Err("the ledger does not say that the jobs were cancelled".into());
    }
    Ok(())
}

fn answer_lost(pair: Pair<'_>) -> Result<(), Failed> {
    let job = Job::new(pair, &slow(1), "")?;
    // It submits, and says that it did not: once.
    let (folder, once) = (job.path("bin"), job.path("lost"));
    std::fs::create_dir(&folder)?;
    let real = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).find_map(|f| f.join("sbatch").canonicalize().ok()));
    let real = real.flatten().unwrap_or_else(|| "/usr/bin/sbatch".into());
    let wrapper = format!(
        "#!/bin/sh\nif [ -e {once} ]; then exec {real} \"$@\"; fi\ntouch {once}\n{real} \"$@\" >/dev/null\n\
         echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2\nexit 1\n",
        once = once.display(),
        real = real.display()
    );
    std::fs::write(folder.join("sbatch"), wrapper)?;
    std::fs::set_permissions(folder.join("sbatch"), std::fs::Permissions::from_mode(0o755))?;
    let mut command = job.run();
    let path =
        command.get_envs().find_map(|(name, value)| (name == "PATH").then(|| value.map(ToOwned::to_owned))).flatten();
    let path = path.unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path)))?;
    let output = command.env("PATH", path).output()?;
    expect_exit(&output, 0)?;
    expect_says(&String::from_utf8_lossy(&output.stderr), "Socket timed out")?;
    job.complete(4)?;
    let (intents, jobs) = (job.ledger("intent")?, job.ledger("job")?);
    if intents.len() != jobs.len() || !job.events("attempt_lost")?.is_empty() {
        return Err(format!("{} submissions, {} jobs known", intents.len(), jobs.len()).into());
    }
    Ok(())
}

fn pending_then_cancelled(pair: Pair<'_>) -> Result<(), Failed> {
    let job = Job::new(pair, &slow(300), "extra: [--hold]")?;
    let mut child = job.run().spawn()?;
    let mut said = until_said(&mut child, "pending (JobHeldUser)")?;
    let first = job.ledger("job")?[0]["job"].as_str().unwrap_or_default().to_owned();
    // Whoever cancels it: nothing of it counts, and the block runs again.
    pair.cluster.call("scancel", &[&format!("{first}_1")])?;
    pair.cluster.call("scontrol", &["release", &first])?;
    // What is submitted from here on waits too.
    let release = || -> Result<bool, Failed> {
        let held = pair.cluster.call("squeue", &["--noheader", "--states=PENDING", "--format=%F %r"])?;
        for line in held.lines().filter(|line| line.contains("JobHeldUser")) {
            let _ = pair.cluster.call("scontrol", &["release", line.split(' ').next().unwrap_or_default()]);
        }
        Ok(child.try_wait()?.is_some())
    };
    until("the run ends", release)?;
    said += &rest(&mut child)?;
    let status = child.wait()?;
    if status.code() != Some(0) {
        return Err(format!("ended with {status}: {said}").into());
    }
    job.complete(4)?;
    let lost = job.events("attempt_lost")?;
    let why = lost.first().and_then(|event| event["why"].as_str()).unwrap_or_default();
    // Of a task that was cancelled before it ran the controller may know nothing any more.
    if lost.len() == 1 && (why.contains("CANCELLED") || why.contains("does not list it")) {
        Ok(())
    } else {
        Err(format!("{lost:?}").into())
    }
}

fn time_limit(pair: Pair<'_>) -> Result<(), Failed> {
    // The warning comes a minute before the limit: of one minute at once, which is within half a minute. The signal is the same.
    let limit = if long() { 1 } else { 5 };
    let job = Job::new(pair, &slow(20_000), &format!("time_min: {limit}, attempts: 1"))?;
    let mut child = job.run().spawn()?;
    let mut said = until_said(&mut child, "running (")?;
    if !long() {
        let first = job.ledger("job")?[0]["job"].as_str().unwrap_or_default().to_owned();
        // Until it listens the signal simply ends it.
        until("the first block has begun", || Ok(job.attempts()?.iter().any(|name| name.starts_with("0-"))))?;
        // It may signal, ask again whether it should, and complain that the job is ending.
        let _ = pair.cluster.call("scancel", &["--batch", "--signal=TERM", &format!("{first}_0")]);
    }
    said += &rest(&mut child)?;
    let status = child.wait()?;
    if status.code() != Some(75) {
        return Err(format!("ended with {status}: {said}").into());
    }
    expect_says(&said, "was told to end before it was whole")?;
    expect_says(&said, "what was measured is kept; go on with: qa run --resume")?;
    let samples = std::fs::read_to_string(job.out().join("samples.jsonl"))?;
    if samples.is_empty() { Ok(()) } else { Err(format!("part of an attempt was taken: {samples}").into()) }
}

fn requeued(pair: Pair<'_>) -> Result<(), Failed> {
    // Against what `qa` asks for, as a cluster's own rules may be.
    let job = Job::new(pair, &slow(1000), "extra: [--requeue]")?;
    let mut child = job.run().spawn()?;
    until_said(&mut child, "running (")?;
    let first = job.ledger("job")?[0]["job"].as_str().unwrap_or_default().to_owned();
    until("the first block has begun", || Ok(job.attempts()?.iter().any(|name| name.starts_with("0-"))))?;
    pair.cluster.call("scontrol", &["requeue", &format!("{first}_0")])?;
    // A requeued job waits for two minutes unless it is told not to.
    let begin = || -> Result<bool, Failed> {
        let _ = pair.cluster.call("scontrol", &["update", &format!("JobId={first}_0"), "StartTime=now"]);
        Ok(child.try_wait()?.is_some())
    };
    until("the run ends", begin)?;
    let said = rest(&mut child)?;
    let status = child.wait()?;
    if status.code() != Some(0) {
        return Err(format!("ended with {status}: {said}").into());
    }
    job.complete(4)?;
    let samples = std::fs::read_to_string(job.out().join("samples.jsonl"))?;
    if samples.contains("\"restart\":1") { Ok(()) } else { Err("no attempt says that it was started anew".into()) }
}

fn refused(pair: Pair<'_>) -> Result<(), Failed> {
    let job = Job::new(pair, &slow(1), "constraint: nothing-has-this")?;
    let output = job.run().output()?;
    expect_exit(&output, 75)?;
    expect_says(&String::from_utf8_lossy(&output.stderr), "sbatch refuses: ")?;
    expect_says(&String::from_utf8_lossy(&output.stderr), "Invalid feature specification")
}

/// What a run says until it says `phrase`.
fn until_said(run: &mut Child, phrase: &str) -> Result<String, Failed> {
    let mut lines = BufReader::new(run.stderr.take().ok_or("no standard error")?);
    let mut said = String::new();
    while !said.contains(phrase) {
        if lines.read_line(&mut said)? == 0 {
            return Err(format!("ended early: {said}").into());
        }
    }
    run.stderr = Some(lines.into_inner());
    Ok(said)
}

/// What it says from there on, to its end.
fn rest(run: &mut Child) -> Result<String, Failed> {
    let mut said = String::new();
    if let Some(stderr) = run.stderr.as_mut() {
        stderr.read_to_string(&mut said)?;
    }
    Ok(said)
}
