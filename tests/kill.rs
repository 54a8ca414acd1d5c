//! `kill -9` at twenty moments, then `--resume`: the report must equal that of an unbroken run.

use crate::support::{alive, qa, report, trial};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

const KILLS: u32 = 20;

/// A run of real processes that takes a second or two, so that a kill can hit any stage of it.
const SPEC: &str = r"
apiVersion: qa/v1
name: killed
workloads:
  decode: { prompt_tokens: 8, generate_tokens: 16, ignore_eos: true }
arms:
  fast: { backend: fake, decode_rate: 150, noise: { seed: 5, process_log_sd: 0.02, iteration_log_sd: 0.01 } }
  slow: { backend: fake, decode_rate: 100, noise: { seed: 6, process_log_sd: 0.02, iteration_log_sd: 0.01 } }
sampling: { blocks: 8, iterations: 3, warmup: 1 }
acceptance:
  - id: FASTER
    title: Faster
    require: { metric: decode_rate, of: fast, over: slow, at_least: 1.25 }
";

/// The trial.
pub fn trials() -> Vec<Trial> {
    vec![trial("kill::twenty_kills_and_resumes_leave_the_report_of_an_unbroken_run", twenty_kills)]
}

fn twenty_kills() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let spec = dir.path().join("killed.yaml");
    std::fs::write(&spec, SPEC)?;
    let whole = dir.path().join("whole");
    let started = Instant::now();
    let status = qa().arg("run").arg(&spec).arg("--out").arg(&whole).output()?.status;
    let duration = started.elapsed();
    if status.code() != Some(0) {
        return Err(format!("the unbroken run ended with {status}").into());
    }
    let expected = judged(&whole)?;
    let mut hit = 0;
    for i in 0..KILLS {
        let out = dir.path().join(format!("killed-{i}"));
        let mark = format!("{}/mark-{i}", dir.path().display());
        let mut child = qa()
            .arg("run")
            .arg(&spec)
            .arg("--out")
            .arg(&out)
            .env("QA_TEST_MARK", &mark)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()?;
        std::thread::sleep(duration.mul_f64((f64::from(i) + 0.5) / f64::from(KILLS)));
        let ended_before = child.try_wait()?.is_some();
        child.kill()?;
        child.wait()?;
        none_left(&mark)?;
        if !out.join("samples.jsonl").exists() {
            continue; // Killed before there was anything to resume.
        }
        let mut command = qa();
        command.arg("run").arg("--resume").arg(&out);
        let output = command.output()?;
        if output.status.code() != Some(0) {
            return Err(format!("resume {i}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into());
        }
        let found = judged(&out)?;
        if found != expected {
            return Err(format!("kill {i}: the report differs\n{found:#}\n--- expected\n{expected:#}").into());
        }
        hit += u32::from(!ended_before);
    }
    if hit < KILLS / 2 {
        return Err(format!("only {hit} of {KILLS} kills hit a running run").into());
    }
    Ok(())
}

/// What a report says of the claims, without when and where it was made.
fn judged(dir: &Path) -> Result<Value, Failed> {
    let report = report(dir)?;
    let mut kept = serde_json::Map::new();
    for field in ["headline", "entries", "arms", "warnings", "risks", "remaining"] {
        kept.insert(field.into(), report[field].clone());
    }
    Ok(Value::Object(kept))
}

fn none_left(mark: &str) -> Result<(), Failed> {
    let mark = format!("QA_TEST_MARK={mark}");
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = alive(&mark);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("left behind: {left:?}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
