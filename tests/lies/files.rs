//! What is changed behind a run's back.

use crate::support::{expect_exit, expect_says, qa, relinked, trial, unwrapped};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("lies::a_claim_changed_after_sampling_is_refused", changed_claim),
        trial("lies::a_run_resumed_too_late_is_invalid", resumed_too_late),
        trial("lies::a_model_swapped_in_the_midst_of_a_run_is_invalid", swapped_model),
        trial("lies::a_model_that_was_only_touched_passes", touched_model),
    ]
}

/// A finished run that passed.
fn passed() -> Result<(TempDir, PathBuf), Failed> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("run");
    expect_exit(&qa().args(["run", "specs/selftest/verdict-pass.yaml", "--out"]).arg(&out).output()?, 0)?;
    Ok((dir, out))
}

/// A margin that is lowered once the numbers are known.
fn changed_claim() -> Result<(), Failed> {
    let (_dir, out) = passed()?;
    let spec = out.join("spec.yaml");
    let text = fs::read_to_string(&spec)?;
    if !text.contains("at_least: 1.25") {
        return Err(format!("the margin is not there:\n{text}").into());
    }
    fs::write(&spec, text.replace("at_least: 1.25", "at_least: 1.05"))?;
    for arguments in [vec!["report"], vec!["run", "--resume"]] {
        let output = qa().args(arguments).arg(&out).output()?;
        expect_exit(&output, 65)?;
        expect_says(&String::from_utf8_lossy(&output.stderr), "spec.yaml was changed after the run")?;
    }
    fs::write(&spec, text)?;
    expect_exit(&qa().arg("report").arg(&out).output()?, 0).map(drop)
}

/// The first block is of last week, as in the folder of a run that was forgotten and resumed.
fn resumed_too_late() -> Result<(), Failed> {
    let (_dir, out) = passed()?;
    let samples = out.join("samples.jsonl");
    let lines = fs::read_to_string(&samples)?;
    let moved = |hours: i64| -> Result<Vec<String>, Failed> {
        let line = |line: &str| -> Result<String, Failed> {
            let mut record: Value = serde_json::from_str(line)?;
            if record["process"]["block"] == 0 {
                let at: jiff::Timestamp = record["at"].as_str().unwrap_or_default().parse()?;
                record["at"] = (at - jiff::SignedDuration::from_hours(hours)).to_string().into();
            }
            Ok(record.to_string())
        };
        lines.lines().map(line).collect()
    };
    for (hours, exit, says) in [(23, 0, "1 pass"), (7 * 24, 12, "was measured 168 hours before the last")] {
        fs::write(&samples, relinked(&out, &moved(hours)?)?)?;
        expect_says(&unwrapped(&expect_exit(&qa().arg("report").arg(&out).output()?, exit)?), says)?;
    }
    Ok(())
}

/// A run on a model file, to which something is done once the first iteration is recorded; and what it said.
fn meddled(meddle: impl FnOnce(&Path) -> Result<(), Failed>, code: i32) -> Result<String, Failed> {
    let dir = tempfile::tempdir()?;
    let (model, spec, out) = (dir.path().join("m.gguf"), dir.path().join("spec.yaml"), dir.path().join("run"));
    synthesize(&model, "1")?;
    fs::write(
        &spec,
        "
apiVersion: qa/v1
name: swapped
models: { m: { path: m.gguf } }
workloads: { decode: { prompt_tokens: 4, generate_tokens: 4, ignore_eos: true } }
arms: { engine: { backend: reference, model: m, threads: 1 } }
sampling: { blocks: 8, iterations: 2, warmup: 1 }
acceptance:
  - { id: REPEATS, title: t, reproducible: { of: engine } }
",
    )?;
    let running =
        qa().arg("run").arg(&spec).arg("--out").arg(&out).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let samples = out.join("samples.jsonl");
    let begun = Instant::now();
    while !fs::read_to_string(&samples).is_ok_and(|text| text.contains("\"kind\":\"sample\"")) {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err("no sample within a minute".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    meddle(&model)?;
    Ok(unwrapped(&expect_exit(&running.wait_with_output()?, code)?))
}

fn synthesize(model: &Path, seed: &str) -> Result<(), Failed> {
    let arguments = ["model", "synth", "--preset", "tiny", "--quant", "q4_k_m", "--seed", seed, "-o"];
    expect_exit(&qa().args(arguments).arg(model).output()?, 0).map(drop)
}

/// Another model of the same size under the same name.
fn swapped_model() -> Result<(), Failed> {
    let swap = |model: &Path| {
        let other = model.with_extension("other");
        synthesize(&other, "2")?;
        Ok(fs::rename(other, model)?)
    };
    expect_says(&meddled(swap, 12)?, "m.gguf was changed while the run went on: its SHA-256 was")?;
    // One that is gone is not what it was either.
    let taken = |model: &Path| Ok(fs::remove_file(model)?);
    expect_says(&meddled(taken, 12)?, "was changed while the run went on: it cannot be read any more")
}

/// A copy of the same bytes, or another time, is no other model.
fn touched_model() -> Result<(), Failed> {
    let touch = |model: &Path| {
        let copy = model.with_extension("copy");
        fs::copy(model, &copy)?;
        fs::rename(copy, model)?;
        Ok(File::options().write(true).open(model)?.set_modified(SystemTime::UNIX_EPOCH)?)
    };
    expect_says(&meddled(touch, 0)?, "Acceptance met")
}
