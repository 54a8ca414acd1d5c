//! Servers with the API of OpenAI, started by a specification: a real llama-server, and what comes of one that is not there.

use crate::support::{alive, expect_exit, expect_says, llama_cpp, qa, report, trial, trial_with};
use libtest_mimic::{Failed, Trial};
use std::path::Path;

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial_with("served::a_real_server_is_started_and_judged", llama_cpp(), "set QA_LLAMA_CPP", |dir| judged(&dir)),
        trial("served::a_server_that_is_not_there_blocks", absent),
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

fn absent() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let mut command = qa();
    command.args(["run", "--trust", "specs/served.yaml", "--out"]).arg(dir.path().join("run"));
    let said = expect_exit(&command.env("QA_LLAMA_SERVER", "qa-no-such-server").output()?, 13)?;
    expect_says(&said, "cannot start `qa-no-such-server`")
}
