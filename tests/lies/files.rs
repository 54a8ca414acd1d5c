//! What is changed behind a run's back.

use crate::support::{expect_exit, expect_says, qa, relinked, trial, unwrapped};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("lies::a_claim_changed_after_sampling_is_refused", changed_claim),
        trial("lies::a_run_resumed_too_late_is_invalid", resumed_too_late),
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
    let text = std::fs::read_to_string(&spec)?;
    if !text.contains("at_least: 1.25") {
        return Err(format!("the margin is not there:\n{text}").into());
    }
    std::fs::write(&spec, text.replace("at_least: 1.25", "at_least: 1.05"))?;
    for arguments in [vec!["report"], vec!["run", "--resume"]] {
        let output = qa().args(arguments).arg(&out).output()?;
        expect_exit(&output, 65)?;
        expect_says(&String::from_utf8_lossy(&output.stderr), "spec.yaml was changed after the run")?;
    }
    std::fs::write(&spec, text)?;
    expect_exit(&qa().arg("report").arg(&out).output()?, 0).map(drop)
}

/// The first block is of last week, as in the folder of a run that was forgotten and resumed.
fn resumed_too_late() -> Result<(), Failed> {
    let (_dir, out) = passed()?;
    let samples = out.join("samples.jsonl");
    let lines = std::fs::read_to_string(&samples)?;
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
        std::fs::write(&samples, relinked(&out, &moved(hours)?)?)?;
        expect_says(&unwrapped(&expect_exit(&qa().arg("report").arg(&out).output()?, exit)?), says)?;
    }
    Ok(())
}
