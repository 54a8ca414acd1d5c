//! What people reach for every day: what is here, a first specification, what there is to run and what ran.

use crate::support::{expect_exit, expect_says, llama_cpp, qa, report, trial, trial_with};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::path::Path;

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("doctor::says_what_is_missing_and_what_mends_it", doctor),
        trial("init::writes_what_passes_and_overwrites_nothing", init),
        trial_with(
            "init::about_the_llama_cpp_that_is_here_ends_in_verdicts",
            llama_cpp(),
            "set QA_LLAMA_CPP to a folder with llama-bench",
            |programs| init_and_run(&programs),
        ),
        trial("list::runs_specifications_and_entries", list),
        trial("json::check_and_plan_speak_to_programs", json),
        trial("json::a_run_prints_its_report", run_as_json),
        trial("completions::are_what_a_shell_can_read", completions),
        trial("pipes::a_reader_that_has_read_enough_is_no_crash", reader),
    ]
}

fn parsed(text: &str) -> Result<Value, Failed> {
    serde_json::from_str(text).map_err(|e| format!("{e}: {text}").into())
}

fn doctor() -> Result<(), Failed> {
    let empty = tempfile::tempdir()?;
    let asked = |arguments: &[&str]| {
        qa().arg("doctor").args(arguments).env("QA_LLAMA_CPP", empty.path()).env("OLLAMA_HOST", "127.0.0.1:1").output()
    };
    let said = expect_exit(&asked(&[])?, 0)?;
    for phrase in
        ["missing   llama.cpp", "which QA_LLAMA_CPP names", "-> install llama.cpp", "missing   Ollama", "ollama serve"]
    {
        expect_says(&said, phrase)?;
    }
    let found = parsed(&expect_exit(&asked(&["--json"])?, 0)?)?;
    let topics = found["findings"].as_array().map_or(0, Vec::len);
    if topics < 9 {
        return Err(format!("only {topics} findings: {found:#}").into());
    }
    // What its arms need is missing here; a specification that needs nothing of it could run.
    let found = parsed(&expect_exit(&asked(&["specs/quickstart.yaml", "--json"])?, 13)?)?;
    if found["blocking"] != serde_json::json!(["llama-cpp"]) {
        return Err(format!("{:#}", found["blocking"]).into());
    }
    expect_exit(&asked(&["specs/selftest/verdict-pass.yaml"])?, 0)?;
    Ok(())
}

fn init() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    // Neither models nor engines of this machine.
    let qa = || {
        let mut command = qa();
        command.current_dir(dir.path()).env("HOME", dir.path()).env("OLLAMA_HOST", "127.0.0.1:1");
        command.env_remove("XDG_CACHE_HOME").env_remove("HF_HOME");
        command
    };
    let said = expect_exit(&qa().arg("init").output()?, 0)?;
    expect_says(&said, "qa run qa.yaml")?;
    expect_says(&expect_exit(&qa().args(["check", "qa.yaml"]).output()?, 0)?, "first: ")?;
    expect_exit(&qa().arg("init").output()?, 74)?;
    expect_exit(&qa().args(["init", "--force"]).output()?, 0)?;
    let printed = expect_exit(&qa().args(["init", "-o", "-"]).output()?, 0)?;
    if printed != std::fs::read_to_string(dir.path().join("qa.yaml"))? {
        return Err(format!("what is printed is not what is written:\n{printed}").into());
    }
    std::fs::write(dir.path().join("broken.gguf"), "no model")?;
    let output = qa().args(["init", "broken.gguf", "--force"]).output()?;
    expect_exit(&output, 65)?;
    expect_says(&String::from_utf8_lossy(&output.stderr), "broken.gguf is no model that can be read")
}

fn init_and_run(programs: &Path) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let qa = || {
        let mut command = qa();
        command.current_dir(dir.path()).env("QA_LLAMA_CPP", programs).env("OLLAMA_HOST", "127.0.0.1:1");
        command.env("HOME", dir.path()).env_remove("XDG_CACHE_HOME").env_remove("HF_HOME");
        command
    };
    expect_exit(&qa().arg("init").output()?, 0)?;
    let output = qa()
        .args(["run", "qa.yaml", "--out", "run", "--set", "sampling.blocks=2", "--set", "sampling.iterations=1"])
        .args(["--set", "arms.llama.cpp.threads=1", "--set", "workloads.decode.generate_tokens=16"])
        // Quick on any machine; what still differs is enough for two arms.
        .args(["--set", "arms.one-thread.ubatch_size=64"])
        .output()?;
    // What is claimed may be wrong of a busy machine, and two blocks decide little; but everything was judged.
    if !matches!(output.status.code(), Some(0 | 10 | 11)) {
        return Err(format!("{:?}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    let report = report(&dir.path().join("run"))?;
    let verdict = |id: &str| {
        let entry = report["entries"].as_array().into_iter().flatten().find(|entry| entry["id"] == id);
        entry.and_then(|entry| entry["verdict"].as_str()).unwrap_or("absent").to_owned()
    };
    if verdict("OUTPUT") != "PASS" {
        return Err(format!("the oracle disagrees with llama.cpp: {}", verdict("OUTPUT")).into());
    }
    for id in ["RATE", "CONTROL"] {
        if !matches!(verdict(id).as_str(), "PASS" | "FAIL" | "INCONCLUSIVE") {
            return Err(format!("{id} is {}", verdict(id)).into());
        }
    }
    Ok(())
}

fn list() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("one");
    expect_exit(&qa().args(["run", "specs/selftest/verdict-fail.yaml", "--out"]).arg(&out).output()?, 10)?;
    expect_says(&expect_exit(&qa().args(["list", "runs"]).arg(dir.path()).output()?, 0)?, "Acceptance NOT MET")?;
    let found = parsed(&expect_exit(&qa().args(["list", "runs", "--json"]).arg(dir.path()).output()?, 0)?)?;
    if found[0]["exit_code"] != 10 || found[0]["path"] != out.to_string_lossy().as_ref() {
        return Err(format!("{found:#}").into());
    }
    // A run that has no report yet is said to be one.
    std::fs::remove_file(out.join("report.json"))?;
    let said = expect_exit(&qa().args(["list", "runs"]).arg(dir.path()).output()?, 0)?;
    expect_says(&said, "not finished; qa run --resume")?;
    expect_says(&expect_exit(&qa().args(["list", "specs"]).output()?, 0)?, "specs/quickstart.yaml")?;
    let said = expect_exit(&qa().args(["list", "entries", "specs/quickstart.yaml"]).output()?, 0)?;
    expect_says(&said, "CACHE-1000X")
}

fn json() -> Result<(), Failed> {
    let found = parsed(&expect_exit(&qa().args(["plan", "specs/quickstart.yaml", "--json"]).output()?, 0)?)?;
    if found["groups"][0]["looks"] != serde_json::json!([7]) || found["seconds"]["most"].as_f64() <= Some(0.0) {
        return Err(format!("{found:#}").into());
    }
    let found = parsed(&expect_exit(&qa().args(["check", "specs/quickstart.yaml", "--json"]).output()?, 0)?)?;
    if found["right"] != true {
        return Err(format!("{found:#}").into());
    }
    let wrong = ["check", "specs/quickstart.yaml", "--json", "--set", "sampling.nonsense=1"];
    let found = parsed(&expect_exit(&qa().args(wrong).output()?, 65)?)?;
    let message = found["errors"][0]["message"].as_str().unwrap_or_default();
    if found["right"] == false && message.contains("nonsense") { Ok(()) } else { Err(format!("{found:#}").into()) }
}

/// What a run prints is what it writes, and what is rebuilt of it.
fn run_as_json() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("run");
    let ran = qa().args(["run", "specs/selftest/verdict-fail.yaml", "--json", "--out"]).arg(&out).output()?;
    let printed = parsed(&expect_exit(&ran, 10)?)?;
    let rebuilt = parsed(&expect_exit(&qa().arg("report").arg(&out).arg("--json").output()?, 10)?)?;
    if printed == report(&out)? && printed == rebuilt { Ok(()) } else { Err("three reports of one run".into()) }
}

/// As far as the shells of this machine can say.
fn completions() -> Result<(), Failed> {
    let script = expect_exit(&qa().args(["completions", "bash"]).output()?, 0)?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("qa.bash");
    std::fs::write(&path, script)?;
    let status = std::process::Command::new("bash").arg("-n").arg(&path).status()?;
    if status.success() { Ok(()) } else { Err("bash cannot read its completions".into()) }
}

/// More than a pipe holds, to somebody who wants a line.
fn reader() -> Result<(), Failed> {
    let script = "\"$0\" schema | head -n 1; echo \"${PIPESTATUS[0]}\"";
    let output = std::process::Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_qa")]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match (expect_exit(&output, 0)?.as_str(), said.as_str()) {
        ("{\n141\n", "") => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}
