//! Runs over time: added, listed, compared, and results of other tools beside them.

use crate::support::{expect_exit, expect_says, qa, trial, unwrapped};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::path::Path;

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("history::keeps_runs_once_and_shows_an_entry_over_time", over_time),
        trial("history::a_regression_against_the_last_run_of_a_branch_is_caught", regression),
        trial("history::imports_other_tools_as_imported", imported),
        trial("compare::sets_two_runs_side_by_side_and_decides_nothing", compare),
    ]
}

/// A run of a specification of `specs/selftest`.
fn ran(dir: &Path, name: &str, spec: &str, code: i32) -> Result<(), Failed> {
    let spec = format!("specs/selftest/{spec}.yaml");
    expect_exit(&qa().args(["run", &spec, "--out"]).arg(dir.join(name)).output()?, code).map(drop)
}

fn json(text: &str) -> Result<Value, Failed> {
    serde_json::from_str(text).map_err(|e| format!("{e}: {text}").into())
}

fn over_time() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let history =
        |arguments: &[&str]| qa().arg("history").args(arguments).arg("--db").arg(dir.path().join("h.db")).output();
    expect_exit(&history(&["list"])?, 65)?;
    ran(dir.path(), "a", "verdict-pass", 0)?;
    ran(dir.path(), "b", "verdict-pass", 0)?;
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name).display().to_string());
    let pack = dir.path().join("a.qa.tar.gz").display().to_string();
    let packed = json(&expect_exit(&qa().args(["pack", &a, "-o", &pack, "--json"]).output()?, 0)?)?;
    if packed["file"] != pack.as_str() || packed["statement"]["subject"].as_array().is_none() {
        return Err(format!("{packed:#}").into());
    }
    expect_says(&expect_exit(&history(&["add", &a, &b])?, 0)?, "added: ")?;
    // Packed or not, it is the same run.
    expect_says(&expect_exit(&history(&["add", &pack])?, 0)?, "there already: ")?;
    let broken = expect_exit(&history(&["add", "/nowhere"])?, 65)?;
    if !broken.is_empty() {
        return Err(format!("what is no run was added: {broken}").into());
    }
    let listed = json(&expect_exit(&history(&["list", "--json"])?, 0)?)?;
    if listed["runs"].as_array().map_or(0, Vec::len) != 2 {
        return Err(format!("{listed:#}").into());
    }
    let entries = json(&expect_exit(
        &qa().args(["list", "entries", "specs/selftest/verdict-pass.yaml", "--json"]).output()?,
        0,
    )?)?;
    let entry = entries[0]["id"].as_str().unwrap_or_default();
    let said = expect_exit(&history(&["trend", entry])?, 0)?;
    for phrase in [entry, "PASS", "a change of level is looked for from six runs on"] {
        expect_says(&said, phrase)?;
    }
    let found = json(&expect_exit(&history(&["trend", entry, "--json"])?, 0)?)?;
    if found[0]["points"].as_array().map_or(0, Vec::len) != 2 {
        return Err(format!("{found:#}").into());
    }
    expect_exit(&history(&["trend", "NO-SUCH-ENTRY"])?, 4)?;
    Ok(())
}

/// A fast engine, its history, and what comes of claims about it.
fn regression() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(
        at("spec.yaml"),
        "
apiVersion: qa/v1
name: regression
workloads: { decode: { prompt_tokens: 4, generate_tokens: 8, ignore_eos: true } }
arms: { engine: { backend: fake, decode_rate: 100, noise: { seed: 5, process_log_sd: 0.005 } } }
sampling: { blocks: 4, iterations: 2, warmup: 1 }
acceptance:
  - { id: NO-SLOWER, title: t, require: { metric: decode_rate, of: engine, over: { baseline: main }, at_least: 0.95 } }
",
    )?;
    let run = |out: &str, sets: &[&str], code: i32| -> Result<String, Failed> {
        let mut command = qa();
        command.args(["run", &at("spec.yaml"), "--history", &at("h.db"), "--out", &at(out)]);
        command.args(sets.iter().flat_map(|set| ["--set", set]));
        Ok(unwrapped(&expect_exit(&command.output()?, code)?))
    };
    let add = |name: &str, branch: &str| -> Result<(), Failed> {
        let added = qa().args(["history", "add", &at(name), "--branch", branch, "--db", &at("h.db")]).output()?;
        expect_exit(&added, 0).map(drop)
    };
    let seed = "arms.engine.noise.seed=9";
    expect_says(&run("first", &[], 13)?, "qa history add RUN --branch main")?;
    add("first", "elsewhere")?;
    expect_says(&run("other", &[], 13)?, "no run of the specification regression on the branch main")?;
    add("first", "main")?;
    run("same", &[seed], 0)?;
    // A planted regression is caught, and does not become what the next run is held against.
    run("slower", &[seed, "arms.engine.decode_rate=90"], 10)?;
    add("slower", "main")?;
    run("slower-still", &["arms.engine.decode_rate=90"], 10)?;
    expect_says(
        &run("longer", &["workloads.decode.prompt_tokens=5"], 12)?,
        "is not what it was in the baseline's run",
    )?;
    let age = "acceptance.NO-SLOWER.require.over.max_age_h=0.000001";
    expect_says(&run("old", &[age], 12)?, "hours old, and `max_age_h` allows 0.000001")?;
    // The folder holds all that the verdict rests on, without the history and the run that it came from.
    std::fs::remove_file(at("h.db"))?;
    expect_exit(&qa().args(["verify", &at("same")]).output()?, 0)?;
    // A run that was edited since is none.
    add("first", "main")?;
    std::fs::write(at("first/samples.jsonl"), "")?;
    expect_says(&run("edited", &[], 13)?, "its samples are not those that were added to the history").map(drop)
}

fn imported() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let (db, file) = (dir.path().join("h.db"), dir.path().join("hyperfine.json"));
    std::fs::write(&file, r#"{"results":[{"command":"sleep 0.1","mean":0.1,"stddev":0.001,"times":[0.099,0.101]}]}"#)?;
    let history = |arguments: &[&str]| qa().arg("history").args(arguments).arg("--db").arg(&db).output();
    let path = file.display().to_string();
    expect_says(&expect_exit(&history(&["import", &path])?, 0)?, "imported: hyperfine sleep 0.1: 0.1000 s")?;
    let listed = json(&expect_exit(&history(&["list", "--json"])?, 0)?)?;
    if listed["imported"][0]["evidence"] != "imported" {
        return Err(format!("{listed:#}").into());
    }
    std::fs::write(&file, "{}")?;
    let output = history(&["import", &path])?;
    expect_exit(&output, 65)?;
    expect_says(&String::from_utf8_lossy(&output.stderr), "is no result of criterion")
}

fn compare() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    ran(dir.path(), "a", "verdict-pass", 0)?;
    ran(dir.path(), "b", "verdict-pass", 0)?;
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    let said = expect_exit(&qa().arg("compare").args([&a, &b]).output()?, 0)?;
    for phrase in ["Claims of both", "Medians of both", "Nothing is decided here"] {
        expect_says(&said, phrase)?;
    }
    let found = json(&expect_exit(&qa().arg("compare").args([&a, &b]).arg("--json").output()?, 0)?)?;
    if found["claims"][0]["change"].as_f64().is_none() {
        return Err(format!("{found:#}").into());
    }
    expect_exit(&qa().arg("compare").arg(&a).arg("/nowhere").output()?, 65)?;
    Ok(())
}
