//! Every specification under `specs/selftest/` is a trial: it says in its first lines what must come of it.
//!
//! `# expect: exit 12, says "wrong tokens"` names the exit code and a phrase of the terminal's text.

use crate::support::{expect_exit, expect_says, qa, report, root, trial, trial_with, unwrapped};
use libtest_mimic::{Failed, Trial};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a specification expects of itself.
struct Expectation {
    exit: i32,
    phrases: Vec<String>,
}

/// One trial a specification, and one that sees to it that there are any.
pub fn trials() -> Vec<Trial> {
    let mut specs: Vec<PathBuf> = std::fs::read_dir(root().join("specs/selftest"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    specs.sort();
    let count = specs.len();
    let mut trials = vec![trial("selftest::every_verdict_and_fault_has_a_specification", move || {
        if count >= 16 { Ok(()) } else { Err(format!("only {count} specifications under specs/selftest").into()) }
    })];
    // The example of a backend in another language says of itself what must come of it, too.
    let python = Command::new("python3").arg("--version").output().ok().filter(|output| output.status.success());
    let example = root().join("backends/examples/toy-decoder.yaml");
    trials.push(trial_with("examples::toy_decoder", python, "install python3", move |_| run(&example)));
    let example = root().join("backends/examples/transformers.yaml");
    let needs = "name a Python with torch, transformers, gguf and accelerate in QA_PYTHON";
    trials.push(trial_with("examples::transformers", with_transformers(), needs, move |()| run(&example)));
    for path in specs {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        trials.push(trial(&format!("selftest::{name}"), move || run(&path)));
    }
    trials
}

/// A Python that has what the example with transformers imports; it is asked without importing any of it.
fn with_transformers() -> Option<()> {
    let python = std::env::var_os("QA_PYTHON").unwrap_or_else(|| "python3".into());
    let look = "import sys, importlib.util as u; \
                sys.exit(not all(map(u.find_spec, ('torch', 'transformers', 'gguf', 'accelerate'))))";
    let looked = Command::new(python).args(["-c", look]).output().ok()?;
    looked.status.success().then_some(())
}

fn run(path: &Path) -> Result<(), Failed> {
    let expected = expectation(&std::fs::read_to_string(path)?)?;
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("run");
    let mark = format!("QA_TEST_MARK={}", dir.path().display());
    // The repository's own specifications may run what they name.
    let output =
        qa().arg("run").arg(path).arg("--trust").arg("--out").arg(&out).env("QA_TEST_MARK", dir.path()).output()?;
    let stdout = expect_exit(&output, expected.exit)?;
    for phrase in &expected.phrases {
        expect_says(&unwrapped(&stdout), phrase)?;
    }
    let headline = report(&out)?;
    let code = headline["headline"]["exit_code"].as_i64();
    if code != Some(i64::from(expected.exit)) {
        return Err(format!("the report says exit {code:?}").into());
    }
    for file in ["report.html", "report.md", "junit.xml", "samples.jsonl", "events.jsonl", "environment.json"] {
        if !out.join(file).is_file() {
            return Err(format!("{file} is missing").into());
        }
    }
    let left = crate::support::alive(&mark);
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}").into()) }
}

fn expectation(text: &str) -> Result<Expectation, Failed> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("# expect: exit "))
        .ok_or("no line `# expect: exit N, says \"...\"`")?;
    let (exit, rest) = line.split_once(',').unwrap_or((line, ""));
    let phrases: Vec<String> = rest.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    if phrases.is_empty() {
        return Err("an expectation without a phrase".into());
    }
    Ok(Expectation { exit: exit.trim().parse()?, phrases })
}
