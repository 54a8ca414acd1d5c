//! CI systems: the files and lines that each promises to read, and this repository's action run as the runner runs it.

use crate::junit_schema;
use crate::support::{expect_exit, expect_says, qa, root, trial};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("ci::github_gets_annotations_a_summary_and_outputs", github),
        trial("ci::gitlab_gets_a_code_quality_report_and_jenkins_its_junit", gitlab_and_jenkins),
        trial("ci::the_action_gates_as_the_runner_runs_it", action),
        trial("ci::the_workflow_uses_what_the_action_has", workflow),
        trial("verify::stale_evidence_can_be_refused", current),
    ]
}

/// A run of a specification of `specs/selftest`, in the folder `run` of `dir`.
fn ran(dir: &Path, spec: &str, code: i32) -> Result<(), Failed> {
    let spec = format!("specs/selftest/{spec}.yaml");
    expect_exit(&qa().args(["run", &spec, "--out"]).arg(dir.join("run")).output()?, code).map(drop)
}

/// The line of a file that holds a text, counted from 1.
fn line_of(file: &str, text: &str) -> Result<usize, Failed> {
    let content = fs::read_to_string(root().join(file))?;
    let index = content.lines().position(|line| line.contains(text)).ok_or_else(|| format!("no {text} in {file}"))?;
    Ok(index + 1)
}

fn github() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    ran(dir.path(), "verdict-fail", 10)?;
    let [summary, outputs] = ["summary.md", "outputs"].map(|name| dir.path().join(name));
    fs::write(&summary, "earlier\n")?;
    let ci = |arguments: &[&str]| {
        let mut command = qa();
        command.arg("ci").arg(dir.path().join("run")).args(arguments).env("GITHUB_ACTIONS", "true");
        command.env("GITHUB_STEP_SUMMARY", &summary).env("GITHUB_OUTPUT", &outputs).output()
    };
    let said = expect_exit(&ci(&[])?, 10)?;
    let file = "specs/selftest/verdict-fail.yaml";
    let entries = expect_exit(&qa().args(["list", "entries", file, "--json"]).output()?, 0)?;
    let id = serde_json::from_str::<Value>(&entries)?[0]["id"].as_str().unwrap_or_default().to_owned();
    expect_says(
        &said,
        &format!("::error file={file},line={},title={id} FAIL%3A ", line_of(file, &format!("id: {id}"))?),
    )?;
    let summary = fs::read_to_string(&summary)?;
    expect_says(&summary, "earlier\n")?;
    expect_says(&summary, "Acceptance NOT MET")?;
    let written = fs::read_to_string(&outputs)?;
    for line in ["met=false", "exit-code=10", "sentence=Acceptance NOT MET"] {
        expect_says(&written, line)?;
    }
    expect_exit(&ci(&["--advisory"])?, 0)?;
    Ok(())
}

fn gitlab_and_jenkins() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let run = qa().args(["run", "specs/selftest/verdict-mixed.yaml", "--out"]).arg(dir.path().join("run")).output()?;
    if run.status.success() {
        return Err("every claim of verdict-mixed passed".into());
    }
    let run = dir.path().join("run");
    let output = qa().arg("ci").arg(&run).args(["--advisory"]).env("GITLAB_CI", "true").output()?;
    expect_exit(&output, 0)?;
    let found: Value = serde_json::from_slice(&fs::read(run.join("gl-code-quality-report.json"))?)?;
    let rows = found.as_array().ok_or("GitLab wants an array")?;
    if rows.is_empty() {
        return Err("nothing that did not pass is in GitLab's report".into());
    }
    for row in rows {
        let line = row["location"]["lines"]["begin"].as_u64().unwrap_or_default();
        let text = fs::read_to_string(root().join(row["location"]["path"].as_str().unwrap_or_default()))?;
        let id = row["check_name"].as_str().and_then(|name| name.strip_prefix("qa/")).unwrap_or_default();
        if !text.lines().nth(line as usize - 1).is_some_and(|line| line.contains(id)) {
            return Err(format!("{id} is not at line {line}").into());
        }
    }
    junit(&fs::read_to_string(run.join("junit.xml"))?)
}

fn junit(xml: &str) -> Result<(), Failed> {
    let document = roxmltree::Document::parse(xml)?;
    junit_schema::check(document.root_element());
    let count = |name: &str| document.descendants().filter(|node| node.has_tag_name(name)).count();
    if count("testcase") > 0 && count("failure") + count("error") > 0 { Ok(()) } else { Err("no test case".into()) }
}

/// A composite action's steps, run as GitHub's runner does: `bash --noprofile --norc -e -o pipefail`, expressions replaced
/// beforehand, and a file for each step's outputs.
fn action() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let met = run_action(&dir.path().join("pass"), "specs/selftest/verdict-pass.yaml", "false")?;
    if met.status != 0 || met.outputs.get("met").map(String::as_str) != Some("true") {
        return Err(format!("{met:?}").into());
    }
    let unmet = run_action(&dir.path().join("fail"), "specs/selftest/verdict-fail.yaml", "false")?;
    if unmet.status != 10 || unmet.outputs.get("exit-code").map(String::as_str) != Some("10") {
        return Err(format!("{unmet:?}").into());
    }
    expect_says(&unmet.said, "::error file=specs/selftest/verdict-fail.yaml,line=")?;
    let advised = run_action(&dir.path().join("advice"), "specs/selftest/verdict-fail.yaml", "true")?;
    if advised.status != 0 || advised.outputs.get("met").map(String::as_str) != Some("false") {
        return Err(format!("{advised:?}").into());
    }
    // A specification that is wrong ends the job before anything runs.
    let wrong = run_action(&dir.path().join("wrong"), "specs/no-such.yaml", "false")?;
    if wrong.status == 65 { Ok(()) } else { Err(format!("{wrong:?}").into()) }
}

/// How an action ended.
#[derive(Debug)]
struct Ended {
    status: i32,
    said: String,
    outputs: BTreeMap<String, String>,
}

fn run_action(dir: &Path, spec: &str, advisory: &str) -> Result<Ended, Failed> {
    fs::create_dir_all(dir)?;
    let action: serde_yaml::Value = serde_yaml::from_str(&fs::read_to_string(root().join("action.yml"))?)?;
    let text = |value: &serde_yaml::Value| value.as_str().unwrap_or_default().to_owned();
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for (name, input) in action["inputs"].as_mapping().into_iter().flatten() {
        known.insert(format!("inputs.{}", text(name)), text(&input["default"]));
    }
    let out = dir.join("run").display().to_string();
    for (name, value) in [("spec", spec), ("advisory", advisory), ("qa", env!("CARGO_BIN_EXE_qa")), ("out", &out)] {
        known.insert(format!("inputs.{name}"), value.into());
    }
    known.insert("github.action_path".into(), root().display().to_string());
    let mut said = String::new();
    let mut status = 0;
    for (index, step) in action["runs"]["steps"].as_sequence().into_iter().flatten().enumerate() {
        let script = dir.join(format!("{index}.sh"));
        let run = text(&step["run"]);
        if run.contains("${{") {
            return Err(format!("an expression stands in the text of a script:\n{run}").into());
        }
        fs::write(&script, run)?;
        let (output, summary) = (dir.join(format!("{index}.output")), dir.join("summary"));
        let mut command = qa_shell();
        command.args(["--noprofile", "--norc", "-e", "-o", "pipefail"]).arg(&script).env("GITHUB_ACTIONS", "true");
        command.env("GITHUB_OUTPUT", &output).env("GITHUB_STEP_SUMMARY", &summary);
        for (name, value) in step["env"].as_mapping().into_iter().flatten() {
            command.env(text(name), replaced(&text(value), &known)?);
        }
        let ended = command.output()?;
        said += &String::from_utf8_lossy(&ended.stdout);
        for line in fs::read_to_string(&output).unwrap_or_default().lines() {
            let (name, value) = line.split_once('=').ok_or_else(|| format!("no output: {line}"))?;
            known.insert(format!("steps.{}.outputs.{name}", text(&step["id"])), value.into());
        }
        status = ended.status.code().unwrap_or(-1);
        if status != 0 {
            break;
        }
    }
    let mut outputs = BTreeMap::new();
    for (name, output) in action["outputs"].as_mapping().into_iter().flatten() {
        if let Ok(value) = replaced(&text(&output["value"]), &known) {
            outputs.insert(text(name), value);
        }
    }
    Ok(Ended { status, said, outputs })
}

/// The runner's shell in the workspace, with the variables of [`qa`].
fn qa_shell() -> Command {
    let qa = qa();
    let mut shell = Command::new("bash");
    shell.current_dir(root());
    for (name, value) in qa.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// A text with its `${{ ... }}` replaced; an error for one that nothing defines.
fn replaced(text: &str, known: &BTreeMap<String, String>) -> Result<String, Failed> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (name, after) = after.split_once("}}").ok_or("an expression does not end")?;
        let value = known.get(name.trim()).ok_or_else(|| format!("nothing is called {}", name.trim()))?;
        out += before;
        out += value;
        rest = after;
    }
    Ok(out + rest)
}

/// Inputs that the reusable workflow gives are inputs that the action has.
fn workflow() -> Result<(), Failed> {
    let read = |path: &str| -> Result<serde_yaml::Value, Failed> {
        Ok(serde_yaml::from_str(&fs::read_to_string(root().join(path))?)?)
    };
    let (action, workflow) = (read("action.yml")?, read(".github/workflows/gate.yml")?);
    let steps = workflow["jobs"]["judge"]["steps"].as_sequence().ok_or("no steps")?;
    let ours = steps.iter().find(|step| step["uses"].as_str() == Some("./.qa")).ok_or("the action is not used")?;
    for (name, _) in ours["with"].as_mapping().into_iter().flatten() {
        if action["inputs"].get(name).is_none() {
            return Err(format!("the action has no input {name:?}").into());
        }
    }
    Ok(())
}

fn current() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    ran(dir.path(), "verdict-pass", 0)?;
    // Nothing native was measured, so nothing can be stale.
    expect_exit(&qa().arg("verify").arg(dir.path().join("run")).arg("--current").output()?, 0)?;
    let record = root().join("reports/2026-11-23-h100/phase2.qa.tar.gz");
    let found: Value = serde_json::from_slice(&qa().args(["verify", "--json"]).arg(&record).output()?.stdout)?;
    let stale =
        found["checks"].as_array().into_iter().flatten().any(|check| check["found"].to_string().contains("stale"));
    let asked = qa().arg("verify").arg(&record).arg("--current").output()?;
    let said = String::from_utf8_lossy(&asked.stderr).contains("is not about the kernels of this program");
    if said == stale { Ok(()) } else { Err(format!("stale: {stale}, said: {said}").into()) }
}
