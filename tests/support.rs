//! What every trial needs: the command, folders, and words for failures.

use libtest_mimic::{Failed, Trial};
use qa::run::chain::Link;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The repository's root.
pub fn root() -> PathBuf {
    let harness = Path::new(env!("CARGO_MANIFEST_DIR"));
    harness.parent().unwrap_or(harness).to_path_buf()
}

/// The command, run from the repository's root, without colour and without a llama.cpp that happens to be around.
pub fn qa() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qa"));
    command.current_dir(root()).env("NO_COLOR", "1").env_remove("QA_MODEL").env_remove("QA_LLAMA_CPP");
    command.env("PATH", path_without_llama_cpp());
    command
}

/// `PATH` without the folders that hold a llama.cpp.
fn path_without_llama_cpp() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).filter(|folder| !folder.join("llama-bench").exists());
    std::env::join_paths(folders).unwrap_or_default()
}

/// Where the tests' llama.cpp is, when there is one.
pub fn llama_cpp() -> Option<PathBuf> {
    std::env::var_os("QA_LLAMA_CPP").map(PathBuf::from).filter(|dir| dir.join("llama-bench").exists())
}

/// The command's standard output, checked for its exit code.
pub fn expect_exit(output: &Output, code: i32) -> Result<String, Failed> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(code) {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("exit {:?}, expected {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}", output.status).into())
}

/// Fails with `text` unless it contains `phrase`.
pub fn expect_says(text: &str, phrase: &str) -> Result<(), Failed> {
    if text.contains(phrase) { Ok(()) } else { Err(format!("does not say `{phrase}`:\n{text}").into()) }
}

/// Text as one line: a phrase may be wrapped anywhere.
pub fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A trial that runs.
pub fn trial(name: &str, test: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::test(name, test)
}

/// A trial that runs when what it needs is here, and is otherwise ignored with that in its name.
pub fn trial_with<T: Send + 'static>(
    name: &str,
    needed: Option<T>,
    missing: &str,
    test: impl FnOnce(T) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    match needed {
        Some(found) => Trial::test(name, move || test(found)),
        None => Trial::test(format!("{name} (ignored: {missing})"), || Ok(())).with_ignored_flag(true),
    }
}

/// A specification of two arms of the fake backend, and a claim that holds.
pub fn faster(blocks: u32, iterations: u32) -> String {
    format!(
        "apiVersion: qa/v1
name: faster
workloads: {{ decode: {{ prompt_tokens: 4, generate_tokens: 8, ignore_eos: true }} }}
arms:
  fast: {{ backend: fake, decode_rate: 150, noise: {{ seed: 5, process_log_sd: 0.02 }} }}
  slow: {{ backend: fake, decode_rate: 100, noise: {{ seed: 6, process_log_sd: 0.02 }} }}
sampling: {{ blocks: {blocks}, iterations: {iterations}, warmup: 1 }}
acceptance:
  - {{ id: FASTER, title: t, require: {{ metric: decode_rate, of: fast, over: slow, at_least: 1.25 }} }}
"
    )
}

/// The JSON report of a run's folder.
pub fn report(dir: &Path) -> Result<Value, Failed> {
    Ok(serde_json::from_slice(&std::fs::read(dir.join("report.json"))?)?)
}

/// Whether a process whose command line mentions `mark` is alive.
pub fn alive(mark: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter(|entry| {
            entry.file_name().to_str().is_some_and(|pid| pid != own && pid.bytes().all(|b| b.is_ascii_digit()))
        })
        .filter_map(|entry| {
            let environment = std::fs::read(entry.path().join("environ")).ok()?;
            let found = environment.windows(mark.len()).any(|window| window == mark.as_bytes());
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            found.then(|| String::from_utf8_lossy(&line).replace('\0', " "))
        })
        .collect()
}

/// A line of samples with every decode of the arm `fast` twice as long.
pub fn slower(line: &str) -> Result<String, Failed> {
    let mut record: Value = serde_json::from_str(line)?;
    if record["process"]["arm"] == "fast"
        && let Some(ns) = record["sample"]["decode_ns"].as_f64()
    {
        record["sample"]["decode_ns"] = (2.0 * ns).into();
    }
    Ok(record.to_string())
}

/// Lines of samples with the hash chain of the run in `dir` made anew, as somebody with bad intentions would.
pub fn relinked(dir: &Path, lines: &[String]) -> Result<Vec<u8>, Failed> {
    let mut link = Link::first(&std::fs::read(dir.join("environment.json"))?);
    let mut samples = Vec::new();
    for line in lines {
        let mut record: Value = serde_json::from_str(line)?;
        record.as_object_mut().ok_or("a record is no object")?.remove("chain");
        let (line, next) = link.seal(record.to_string().into_bytes());
        samples.extend(line);
        link = next;
    }
    Ok(samples)
}
