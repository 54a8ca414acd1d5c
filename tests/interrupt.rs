//! Ctrl-C and SIGTERM: workers end at once, and the run goes on where it was.

use crate::support::{alive, expect_says, qa, report, trial};
use libtest_mimic::{Failed, Trial};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A worker that hangs in its second block, until the block runs again.
const SPEC: &str = r"
apiVersion: qa/v1
name: interrupted
workloads:
  decode: { prompt_tokens: 1, generate_tokens: 3, ignore_eos: true }
arms:
  slow:
    backend: fake
    decode_rate: 100
    noise: { process_log_sd: 0.01 }
    faults: [{ kind: hang, blocks: [1], attempts: [0] }]
sampling: { blocks: 3, iterations: 2, warmup: 0, retries: 1, deadlines: { iteration_s: 2 } }
acceptance:
  - { id: RATE, title: At least one token a second, require: { metric: decode_rate, of: slow, at_least: 1 } }
";

/// The trials.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("interrupt::ctrl_c_ends_workers_and_the_run_goes_on", || interrupted("INT", 130)),
        trial("interrupt::any_signal_in_any_stage_leaves_nothing_behind", every_stage),
        trial("interrupt::sigterm_ends_workers_and_the_run_goes_on", || interrupted("TERM", 143)),
    ]
}

fn interrupted(signal: &str, code: i32) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let (spec, out) = (dir.path().join("interrupted.yaml"), dir.path().join("out"));
    std::fs::write(&spec, SPEC)?;
    let mark = dir.path().display().to_string();
    let mut run = qa()
        .args([Path::new("run"), &spec, Path::new("--out"), &out])
        .env("QA_TEST_MARK", &mark)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut said = until_block_two(&mut run)?;
    let begun = Instant::now();
    Command::new("kill").args([format!("-{signal}"), run.id().to_string()]).status()?;
    let status = run.wait()?;
    // The worker hangs, and its deadline is two seconds off: nothing was waited for.
    if begun.elapsed() > Duration::from_millis(1500) {
        return Err(format!("took {:?} to end", begun.elapsed()).into());
    }
    if let Some(stderr) = run.stderr.as_mut() {
        stderr.read_to_string(&mut said)?;
    }
    if status.code() != Some(code) {
        return Err(format!("ended with {status}, expected {code}: {said}").into());
    }
    expect_says(&said, &format!("interrupted; go on with: qa run --resume {}", out.display()))?;
    let left = alive(&format!("QA_TEST_MARK={mark}"));
    if !left.is_empty() {
        return Err(format!("left behind: {left:?}").into());
    }
    let resumed = qa().args([Path::new("run"), Path::new("--resume"), &out]).output()?;
    expect_says(&String::from_utf8_lossy(&resumed.stderr), "going on after")?;
    if resumed.status.code() != Some(0) {
        return Err(format!("the resumed run ended with {}", resumed.status).into());
    }
    let pairs = &report(&out)?["entries"][0]["claims"][0]["comparison"]["pairs"];
    if pairs.as_array().map(Vec::len) != Some(3) {
        return Err(format!("{pairs}").into());
    }
    Ok(())
}

/// What the run says until its second block begins, in which the worker hangs.
fn until_block_two(run: &mut Child) -> Result<String, Failed> {
    let stderr = run.stderr.take().ok_or("no standard error")?;
    let mut lines = BufReader::new(stderr);
    let mut said = String::new();
    while !said.contains("block 2 of") {
        if lines.read_line(&mut said)? == 0 {
            return Err(format!("ended early: {said}").into());
        }
    }
    // The line comes before the worker starts.
    std::thread::sleep(Duration::from_millis(300));
    run.stderr = Some(lines.into_inner());
    Ok(said)
}

/// A stage of a run: a specification that stays in it, and what `events.jsonl` says when it is there.
struct Stage {
    name: &'static str,
    faults: &'static str,
    entry: &'static str,
    there: &'static str,
}

const RATE: &str = "require: { metric: decode_rate, of: arm, at_least: 1 }";

const STAGES: [Stage; 7] = [
    Stage { name: "hello", faults: "{ kind: hang, at: hello }", entry: RATE, there: "process_started" },
    Stage { name: "prepare", faults: "{ kind: hang, at: prepare }", entry: RATE, there: "process_started" },
    Stage { name: "run", faults: "{ kind: hang, after: 1 }", entry: RATE, there: "process_started" },
    Stage { name: "bye", faults: "{ kind: hang, at: bye }", entry: RATE, there: "process_started" },
    Stage {
        name: "score",
        faults: "{ kind: hang, at: score, after: 3 }",
        entry: "correct: { arm: arm, against: other }",
        there: "process_started",
    },
    Stage {
        name: "soak",
        faults: "{ kind: hang, after: 2 }",
        entry: "soak: { of: arm, duration_s: 60, run_s: 60 }",
        there: "soaking",
    },
    Stage { name: "program", faults: "", entry: "program: { argv: [sleep, '60'] }", there: "\"program\"" },
];

/// Signals by name, and the exit code of a run that one of them ends; SIGKILL leaves none.
const SIGNALS: [(&str, Option<i32>); 3] = [("INT", Some(130)), ("TERM", Some(143)), ("KILL", None)];

/// Every stage with every signal, all beside each other: a run is gone at once, with everything that it started.
fn every_stage() -> Result<(), Failed> {
    let problems: Vec<String> = std::thread::scope(|scope| {
        let cells = STAGES.iter().flat_map(|stage| SIGNALS.iter().map(move |signal| (stage, signal)));
        let running: Vec<_> = cells
            .map(|(stage, (signal, code))| {
                scope.spawn(move || {
                    let failed = ended_in(stage, signal, *code).err()?;
                    Some(format!("{signal} in {}: {}", stage.name, failed.message().unwrap_or_default()))
                })
            })
            .collect();
        running.into_iter().filter_map(|cell| cell.join().unwrap_or(Some("it panicked".into()))).collect()
    });
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n").into()) }
}

fn ended_in(stage: &Stage, signal: &str, code: Option<i32>) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let (spec, out) = (dir.path().join("spec.yaml"), dir.path().join("out"));
    let text = format!(
        "
apiVersion: qa/v1
name: stage
workloads: {{ decode: {{ prompt_tokens: 1, generate_tokens: 4, ignore_eos: true }} }}
arms:
  arm: {{ backend: fake, decode_rate: 100, faults: [{}] }}
  other: {{ backend: fake, decode_rate: 100 }}
sampling: {{ blocks: 2, iterations: 3, warmup: 0, deadlines: {{ hello_s: 60, prepare_s: 60, iteration_s: 60, score_s: 60 }} }}
acceptance:
  - {{ id: OTHER, title: t, require: {{ metric: load_time, of: other, at_most: 1000 }} }}
  - {{ id: ARM, title: t, require: {{ metric: load_time, of: arm, at_most: 1000 }} }}
  - {{ id: STAGE, title: t, {} }}
",
        stage.faults, stage.entry
    );
    std::fs::write(&spec, text)?;
    let mark = dir.path().display().to_string();
    let mut run = qa()
        .args([Path::new("run"), &spec, Path::new("--trust"), Path::new("--only"), Path::new("STAGE")])
        .arg("--out")
        .arg(&out)
        .env("QA_TEST_MARK", &mark)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !std::fs::read_to_string(out.join("events.jsonl")).is_ok_and(|events| events.contains(stage.there)) {
        if Instant::now() > deadline || run.try_wait()?.is_some() {
            return Err("it never came there".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // From the start of a worker to where it hangs.
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    Command::new("kill").args([format!("-{signal}"), run.id().to_string()]).status()?;
    let status = run.wait()?;
    if begun.elapsed() > Duration::from_secs(5) || status.code() != code {
        return Err(format!("it ended with {status} after {:?}", begun.elapsed()).into());
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = alive(&format!("QA_TEST_MARK={mark}"));
        if left.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            return Err(format!("left behind: {left:?}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // What was written is whole: a report can be made of it.
    let report = qa().arg("report").arg(&out).output()?;
    match report.status.code() {
        Some(0 | 10..=13 | 70) => Ok(()),
        other => Err(format!("`qa report` ended with {other:?}: {}", String::from_utf8_lossy(&report.stderr)).into()),
    }
}
