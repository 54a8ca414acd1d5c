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
