//! Servers with the API of OpenAI, started by a specification: a real llama-server, and what comes of one that is not there.

use crate::support::{alive, expect_exit, expect_says, llama_cpp, qa, report, root, trial, trial_with, unwrapped};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial_with("served::a_real_server_is_started_and_judged", llama_cpp(), "set QA_LLAMA_CPP", |dir| judged(&dir)),
        trial("served::a_server_that_is_not_there_blocks", absent),
        trial_with("served::a_real_server_is_judged_under_load", llama_cpp(), "set QA_LLAMA_CPP", |dir| loaded(&dir)),
        trial("served::a_plugin_that_knows_no_load_is_refused", no_load),
    ]
}

fn judged(llama_cpp: &Path) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("run");
    let mut command = qa();
    command.args([
        "run",
        "--trust",
        "specs/served.yaml",
        "--set",
        "sampling.blocks=2",
        "--set",
        "sampling.iterations=1",
    ]);
    command.args(["--set", "acceptance.SLOTS.require.at_least=0.01", "--out"]).arg(&out);
    let mark = format!("QA_TEST_MARK={}", dir.path().display());
    command.env("QA_LLAMA_SERVER", llama_cpp.join("llama-server")).env("QA_TEST_MARK", dir.path());
    expect_exit(&command.output()?, 0)?;
    let report = report(&out)?;
    let comparison = &report["entries"][0]["claims"][0]["comparison"];
    let processes = comparison["of"]["processes"].as_u64();
    let output = comparison["of"]["output"].as_str().unwrap_or_default();
    if processes != Some(2) || !output.contains("beside") {
        return Err(format!("{processes:?} processes, output {output}").into());
    }
    let left = alive(&mark);
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}").into()) }
}

/// A server with one slot is asked for more than it can answer at a time: goodput, percentiles and raw requests are there.
fn loaded(llama_cpp: &Path) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("run");
    let mut command = qa();
    command.args(["run", "--trust", "specs/load.yaml", "--only", "GOODPUT", "--set", "sampling.blocks=2"]);
    command.args(["--set", "sampling.warmup=0", "--set", "workloads.arriving.load.requests=12"]);
    command.args([
        "--set",
        "workloads.arriving.load.late_ms=2000",
        "--set",
        "workloads.arriving.load.first_token_ms=60000",
    ]);
    command.args(["--set", "workloads.arriving.load.per_token_ms=60000"]);
    command.args(["--set", "acceptance.GOODPUT.require.at_least=0.01", "--out"]).arg(&out);
    command.env("QA_LLAMA_SERVER", llama_cpp.join("llama-server"));
    expect_exit(&command.output()?, 0)?;
    let report = report(&out)?;
    let comparison = &report["entries"][0]["claims"][0]["comparison"];
    let output = comparison["of"]["output"].as_str().unwrap_or_default();
    if comparison["unit"] != "req/s"
        || !output.contains("beside")
        || comparison["estimate"].as_f64().is_none_or(|estimate| estimate <= 0.01)
    {
        return Err(format!("{comparison:#}").into());
    }
    // What each request was asked at is what the seed says, for both arms alike.
    let mut schedules = BTreeSet::new();
    for line in std::fs::read_to_string(out.join("samples.jsonl"))?.lines() {
        let record: Value = serde_json::from_str(line)?;
        let Some(requests) = record["sample"]["requests"].as_array() else { continue };
        if requests.len() != 12 || requests.iter().any(|request| !request["error"].is_null()) {
            return Err(format!("{record:#}").into());
        }
        schedules.insert(requests.iter().map(|request| request["scheduled_ns"].to_string()).collect::<Vec<_>>());
    }
    let close = |a: &Vec<String>, b: &Vec<String>| {
        let number = |text: &String| text.parse::<f64>().unwrap_or(f64::NAN);
        a.iter().zip(b).all(|(a, b)| (number(a) - number(b)).abs() < 1e3)
    };
    let first = schedules.first().ok_or("no sample has requests")?;
    if schedules.iter().all(|other| close(first, other)) { Ok(()) } else { Err(format!("{schedules:?}").into()) }
}

/// The example in Python answers one request after the other, and says nothing of `load`.
fn no_load() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let spec = dir.path().join("spec.yaml");
    let toy = root().join("backends/examples/toy_decoder.py");
    std::fs::write(
        &spec,
        format!(
            "{{ apiVersion: qa/v1, name: n, workloads: {{ w: {{ prompt_tokens: 8, generate_tokens: 8, load: {{ clients: 2, \
             requests: 4 }} }} }}, arms: {{ toy: {{ backend: plugin, command: [python3, '{}'], output: unchecked }} }}, \
             sampling: {{ blocks: 2 }}, acceptance: [{{ id: T, title: t, require: {{ metric: time_to_first_token, of: toy, \
             at_most: 9 }} }}] }}",
            toy.display()
        ),
    )?;
    let output = qa().args(["run", "--trust"]).arg(&spec).arg("--out").arg(dir.path().join("run")).output()?;
    let said = expect_exit(&output, 70)?;
    expect_says(&unwrapped(&said), "asked one request after the other; the workload `w` sends several at a time")
}

fn absent() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let mut command = qa();
    command.args(["run", "--trust", "specs/served.yaml", "--out"]).arg(dir.path().join("run"));
    let said = expect_exit(&command.env("QA_LLAMA_SERVER", "qa-no-such-server").output()?, 13)?;
    expect_says(&said, "cannot start `qa-no-such-server`")
}
