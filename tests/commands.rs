//! The commands as a user types them.

use crate::support::{expect_exit, expect_says, llama_cpp, qa, relinked, report, root, slower, trial, trial_with};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::path::Path;

const NO_LLAMA_CPP: &str = "set QA_LLAMA_CPP to a folder with llama-bench";

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("quickstart::shows_every_verdict_without_anything_installed", quickstart),
        trial_with("quickstart::judges_llama_cpp_where_it_is", llama_cpp(), NO_LLAMA_CPP, |dir| {
            quickstart_beside(&dir)
        }),
        trial("phase2::awaits_hardware_without_a_gpu", phase2),
        trial("report::is_rebuilt_from_the_samples_alone", rebuilt),
        trial("check::accepts_every_specification_of_the_repository", check_all),
        trial("check::names_what_is_wrong_and_where", check_broken),
        trial("plan::lists_every_case", plan),
        trial("stats::prints_what_the_harness_would_compute", stats),
        trial("model::same_seed_same_bytes", synth),
        trial("selftest::shows_how_often_verdicts_are_wrong", selftest),
        trial("usage::a_wrong_command_line_exits_64", usage),
    ]
}

fn verdict_of<'a>(report: &'a Value, id: &str) -> Result<&'a str, Failed> {
    let entry = report["entries"].as_array().into_iter().flatten().find(|e| e["id"] == id);
    entry.and_then(|e| e["verdict"].as_str()).ok_or_else(|| format!("no entry {id}").into())
}

fn verdicts(report: &Value) -> Vec<&str> {
    report["entries"].as_array().into_iter().flatten().filter_map(|e| e["verdict"].as_str()).collect()
}

fn quickstart() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("run");
    let output = qa().args(["run", "specs/quickstart.yaml", "--out"]).arg(&out).output()?;
    expect_says(&expect_exit(&output, 10)?, "NOT MET")?;
    let report = report(&out)?;
    let found = verdicts(&report);
    for verdict in ["PASS", "FAIL", "INCONCLUSIVE", "BLOCKED"] {
        if !found.contains(&verdict) {
            return Err(format!("no {verdict} among {found:?}").into());
        }
    }
    Ok(())
}

fn quickstart_beside(llama_cpp: &Path) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("run");
    let mut command = qa();
    command.args(["run", "specs/quickstart.yaml", "--set", "sampling.blocks=3", "--out"]).arg(&out);
    let output = command.env("QA_LLAMA_CPP", llama_cpp).output()?;
    expect_exit(&output, 10)?;
    let found = report(&out)?;
    if verdicts(&found).contains(&"BLOCKED") {
        return Err(format!("a row is still BLOCKED: {:?}", verdicts(&found)).into());
    }
    Ok(())
}

fn phase2() -> Result<(), Failed> {
    if Path::new("/dev/nvidiactl").exists() {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("run");
    let output = qa().args(["run", "specs/phase2.yaml", "--out"]).arg(&out).output()?;
    expect_says(&expect_exit(&output, 13)?, "awaiting hardware")?;
    let report = report(&out)?;
    for id in ["PAR-036", "PAR-037", "PAR-038", "PAR-039", "POINT-41", "POINT-65"] {
        let verdict = verdict_of(&report, id)?;
        if verdict != "BLOCKED" {
            return Err(format!("{id} is {verdict} on a machine without a GPU").into());
        }
    }
    Ok(())
}

fn rebuilt() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("run");
    expect_exit(&qa().args(["run", "specs/selftest/verdict-pass.yaml", "--out"]).arg(&out).output()?, 0)?;
    let before = std::fs::read(out.join("report.json"))?;
    for file in ["report.json", "report.html", "report.md", "junit.xml"] {
        std::fs::remove_file(out.join(file))?;
    }
    expect_exit(&qa().arg("report").arg(&out).output()?, 0)?;
    if std::fs::read(out.join("report.json"))? != before {
        return Err("the rebuilt report differs".into());
    }
    // Nobody edits a sample unseen.
    let samples = std::fs::read_to_string(out.join("samples.jsonl"))?;
    let slowed: Vec<String> = samples.lines().map(slower).collect::<Result<_, _>>()?;
    std::fs::write(out.join("samples.jsonl"), slowed.join("\n") + "\n")?;
    let output = qa().arg("report").arg(&out).output()?;
    expect_exit(&output, 65)?;
    expect_says(&String::from_utf8_lossy(&output.stderr), "this line was changed after it was written")?;
    // What is on disk decides: half the speed in the samples is half the speed in the report.
    std::fs::write(out.join("samples.jsonl"), relinked(&out, &slowed)?)?;
    expect_exit(&qa().arg("report").arg(&out).output()?, 10)?;
    Ok(())
}

/// The fewest runs that it takes: what the rates are is the business of the simulations, here they only have to be there.
fn selftest() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let (html, json) = (dir.path().join("page.html"), dir.path().join("found.json"));
    let output = qa().args(["selftest", "--runs", "5", "--html"]).arg(&html).arg("--json").arg(&json).output()?;
    let found: Value = serde_json::from_slice(&std::fs::read(json)?)?;
    let rows = |table: &str| found[table].as_array().map_or(0, Vec::len);
    for (table, least) in [("rules", 10), ("adverse", 9), ("coverage", 30), ("power", 12), ("wrong", 14)] {
        if rows(table) < least {
            return Err(format!("{table} has {} rows", rows(table)).into());
        }
    }
    if found["processes"]["equal"] != 20 {
        return Err(format!("real processes differ from the simulation: {}", found["processes"]).into());
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    expect_says(&said, "20 of 20 runs through real processes")?;
    expect_says(&std::fs::read_to_string(html)?, "What other gates would have said")?;
    // With so few runs a rule may happen never to pass; whatever the exit code is, it is one of the two.
    if matches!(output.status.code(), Some(0 | 10)) { Ok(()) } else { Err(format!("{:?}", output.status).into()) }
}

fn check_all() -> Result<(), Failed> {
    let mut seen = 0;
    for folder in ["specs", "specs/work", "specs/selftest"] {
        for entry in std::fs::read_dir(root().join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "yaml") {
                expect_exit(&qa().arg("check").arg(&path).output()?, 0)?;
                seen += 1;
            }
        }
    }
    if seen < 25 { Err(format!("only {seen} specifications").into()) } else { Ok(()) }
}

fn check_broken() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("broken.yaml");
    let text = std::fs::read_to_string(root().join("specs/quickstart.yaml"))?;
    std::fs::write(&path, text.replace("at_least: 1000", "at_lest: 1000"))?;
    let output = qa().arg("check").arg(&path).output()?;
    expect_exit(&output, 65)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    for phrase in ["broken.yaml:", "at_lest", "at_least"] {
        expect_says(&stderr, phrase)?;
    }
    Ok(())
}

fn plan() -> Result<(), Failed> {
    let stdout = expect_exit(&qa().args(["plan", "specs/quickstart.yaml"]).output()?, 0)?;
    for phrase in ["block   7", "seen in 80 of 100 runs"] {
        expect_says(&stdout, phrase)?;
    }
    Ok(())
}

fn stats() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("pairs.csv");
    std::fs::write(&path, "native,llama.cpp\n131,100\n129,101\n132,99\n130,100\n128,98\n133,102\n")?;
    let output = qa().arg("stats").arg(&path).args(["--margin", "1.25", "--json"]).output()?;
    let found: Value = serde_json::from_str(&expect_exit(&output, 0)?)?;
    if found.to_string().contains("sign_flip") { Ok(()) } else { Err(format!("no sign-flip test in {found:#}").into()) }
}

fn synth() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let write = |name: &str, seed: &str| -> Result<Vec<u8>, Failed> {
        let path = dir.path().join(name);
        let arguments = ["model", "synth", "--preset", "tiny", "--quant", "q4_k_m", "--seed", seed, "-o"];
        expect_exit(&qa().args(arguments).arg(&path).output()?, 0)?;
        Ok(std::fs::read(path)?)
    };
    let (a, b, c) = (write("a.gguf", "7")?, write("b.gguf", "7")?, write("c.gguf", "8")?);
    if a != b || a == c {
        return Err("the seed does not decide the bytes".into());
    }
    let output = qa().args(["model", "inspect", "--json"]).arg(dir.path().join("a.gguf")).output()?;
    let found: Value = serde_json::from_str(&expect_exit(&output, 0)?)?;
    if found["architecture"] == "qwen2" { Ok(()) } else { Err(format!("{found:#}").into()) }
}

fn usage() -> Result<(), Failed> {
    expect_exit(&qa().args(["run"]).output()?, 64)?;
    expect_exit(&qa().args(["no-such-command"]).output()?, 64)?;
    expect_exit(&qa().args(["run", "specs/selftest/verdict-pass.yaml", "--only", "NO-SUCH-ENTRY"]).output()?, 4)?;
    expect_exit(&qa().args(["--help"]).output()?, 0)?;
    Ok(())
}
