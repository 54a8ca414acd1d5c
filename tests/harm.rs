//! Specifications and run folders that mean harm, judged by what they effect: a file that is there or is not.

use crate::support::{expect_exit, expect_says, llama_cpp, qa, trial, trial_with};
use libtest_mimic::{Failed, Trial};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("harm::a_plugin_of_the_specification_runs_only_with_trust", || own(PLUGIN)),
        trial("harm::a_program_of_the_specification_runs_only_with_trust", || own(PROGRAM)),
        trial("harm::a_llama_cpp_of_the_specification_runs_only_with_trust", || own(PROGRAMS)),
        trial("harm::a_run_folder_is_trusted_anew", resumed),
        trial("harm::nothing_is_looked_up_in_the_specifications_folder", beside),
        trial_with(
            "harm::llama_cpp_loads_no_library_beside_the_specification",
            llama_cpp(),
            "set QA_LLAMA_CPP",
            |dir| library(&dir),
        ),
        trial("harm::a_run_writes_nowhere_but_into_its_folder", links),
        trial("harm::names_are_no_paths", names),
        trial("harm::pipes_and_devices_are_not_waited_for", pipes),
    ]
}

/// A folder with a specification, and programs in it that leave a mark where they run.
struct Trap {
    dir: TempDir,
}

impl Trap {
    fn new(spec: &str) -> Result<Self, Failed> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("spec.yaml"), spec)?;
        let trap = Self { dir };
        trap.program("engine")?;
        Ok(trap)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A program that leaves the mark.
    fn program(&self, name: &str) -> Result<(), Failed> {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap_or(self.dir.path()))?;
        std::fs::write(&path, format!("#!/bin/sh\ntouch '{}'\nexit 1\n", self.at("mark").display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn ran(&self) -> bool {
        self.at("mark").exists()
    }

    fn run(&self, arguments: &[&str]) -> Result<Output, Failed> {
        Ok(qa().arg("run").arg(self.at("spec.yaml")).arg("--out").arg(self.at("out")).args(arguments).output()?)
    }
}

const HEAD: &str = "
apiVersion: qa/v1
name: harm
workloads: { decode: { prompt_tokens: 1, generate_tokens: 3, ignore_eos: true } }
sampling: { blocks: 2, iterations: 1, warmup: 0, retries: 0 }
";
const MODEL: &str = "models: { m: { embedded: tiny-coder } }";
const RATE: &str = "
acceptance:
  - { id: RATE, title: t, require: { metric: decode_rate, of: a, at_least: 1 } }
";
const PLUGIN: (&str, &str) = ("arms: { a: { backend: plugin, command: [./engine], output: unchecked } }", RATE);
const PROGRAM: (&str, &str) = (
    "arms: { a: { backend: fake } }",
    "
acceptance:
  - { id: RATE, title: t, require: { metric: decode_rate, of: a, at_least: 1 } }
  - { id: CHECK, title: t, program: { argv: [sh, -c, ./engine] } }
",
);
const PROGRAMS: (&str, &str) =
    ("models: { m: { embedded: tiny-coder } }\narms: { a: { backend: llama-cpp, model: m, programs: ./llama } }", RATE);

/// Refused before anything is run or written, in words that name it; and run where the user says so.
fn own((arms, entries): (&str, &str)) -> Result<(), Failed> {
    let trap = Trap::new(&format!("{HEAD}{arms}{entries}"))?;
    trap.program("llama/llama-bench")?;
    let refused = trap.run(&[])?;
    expect_exit(&refused, 77)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    for phrase in ["names programs of its own", if arms.contains("llama") { "llama" } else { "./engine" }, "--trust"] {
        expect_says(&said, phrase)?;
    }
    if trap.ran() || trap.at("out").exists() {
        return Err("it ran, or left something, and was not trusted".into());
    }
    let profiled = qa().arg("profile").arg(trap.at("spec.yaml")).arg("a").output()?;
    if arms.contains("fake") == (profiled.status.code() == Some(77)) || trap.ran() {
        return Err(format!("`qa profile` ended with {}", profiled.status).into());
    }
    trap.run(&["--trust"])?;
    if trap.ran() { Ok(()) } else { Err("it was trusted, and did not run".into()) }
}

/// The folder of a run may come from anybody too.
fn resumed() -> Result<(), Failed> {
    let trap = Trap::new(&format!("{HEAD}{}{}", PROGRAM.0, PROGRAM.1))?;
    trap.run(&["--trust"])?;
    std::fs::remove_file(trap.at("mark"))?;
    // Nothing of it is done yet.
    std::fs::write(trap.at("out/samples.jsonl"), "")?;
    let resume = |more: &[&str]| qa().args(["run", "--resume"]).arg(trap.at("out")).args(more).output();
    expect_says(&String::from_utf8_lossy(&resume(&[])?.stderr), "--trust")?;
    if trap.ran() {
        return Err("it ran, and was not trusted".into());
    }
    resume(&["--trust"])?;
    if trap.ran() { Ok(()) } else { Err("it was trusted, and did not run".into()) }
}

/// Programs of the names that `qa` looks for lie in the specification's folder, and the user's `PATH` has relative folders.
fn beside() -> Result<(), Failed> {
    let arms =
        "arms: { a: { backend: llama-cpp, model: m }, b: { backend: plugin, command: [engine], output: unchecked } }";
    let trap = Trap::new(&format!(
        "{HEAD}{MODEL}\n{arms}{RATE}  - {{ id: OTHER, title: t, require: {{ metric: decode_rate, of: b, at_least: 1 }} }}\n\
         \x20 - {{ id: CHECK, title: t, program: {{ argv: [engine] }} }}\n"
    ))?;
    for name in ["llama-bench", "bin/llama-bench", "nvidia-smi", "bin/nvidia-smi", "bin/engine"] {
        trap.program(name)?;
    }
    let mut command = qa();
    let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value).unwrap_or_default();
    let path = format!(".:bin::{}", path.to_string_lossy());
    let output = command
        .arg("run")
        .arg(trap.at("spec.yaml"))
        .args(["--trust", "--out"])
        .arg(trap.at("out"))
        .env("PATH", &path)
        .env("LD_LIBRARY_PATH", ":.")
        .output()?;
    if trap.ran() {
        return Err(format!("a program beside the specification ran: {output:?}").into());
    }
    // The place that the user names is the user's: relative to where the user is.
    let mut command = qa();
    command.current_dir(trap.dir.path()).env("QA_LLAMA_CPP", "bin").args(["run", "spec.yaml", "--only", "RATE"]);
    command.arg("--out").arg(trap.at("other")).output()?;
    if trap.ran() { Ok(()) } else { Err("the user's own llama.cpp did not run".into()) }
}

/// llama.cpp loads what is called like a backend of its own from the folder that it runs in.
fn library(llama_cpp: &Path) -> Result<(), Failed> {
    let trap =
        Trap::new(&format!("{HEAD}{MODEL}\narms: {{ a: {{ backend: llama-cpp, model: m, gpu_layers: 0 }} }}{RATE}"))?;
    let source = format!(
        "#include <stdio.h>\n__attribute__((constructor)) static void enter(void) {{ fclose(fopen(\"{}\", \"w\")); }}\n",
        trap.at("mark").display()
    );
    std::fs::write(trap.at("library.c"), source)?;
    for name in ["libggml-cpu-trap.so", "libggml-blas.so"] {
        let mut cc = Command::new("cc");
        if !cc.args(["-shared", "-fPIC", "-o"]).arg(trap.at(name)).arg(trap.at("library.c")).status()?.success() {
            return Err("cc cannot build a library".into());
        }
    }
    // That the trap works is seen where llama.cpp runs in the folder itself.
    let bench = llama_cpp.join("llama-bench");
    Command::new(&bench).current_dir(trap.dir.path()).args(["-m", "/nonexistent"]).output()?;
    if !trap.ran() {
        return Ok(()); // This build of llama.cpp loads no libraries.
    }
    std::fs::remove_file(trap.at("mark"))?;
    let mut command = qa();
    command.env("QA_LLAMA_CPP", llama_cpp).arg("run").arg(trap.at("spec.yaml")).arg("--out").arg(trap.at("out"));
    let output = command.output()?;
    if trap.ran() {
        return Err("llama.cpp loaded a library of the specification's folder".into());
    }
    // It did run: two processes are too few to be sure of a rate, and enough to have one.
    expect_says(&String::from_utf8_lossy(&output.stdout), "tok/s")
}

/// Links in a run's folder lead to a file that is none of the run's.
fn links() -> Result<(), Failed> {
    let trap = Trap::new(&format!("{HEAD}arms: {{ a: {{ backend: fake }} }}{RATE}"))?;
    expect_exit(&trap.run(&[])?, 0)?;
    let precious = trap.at("precious");
    for (name, resumes) in
        [("samples.jsonl", true), ("events.jsonl", true), ("report.json", false), ("report.html", false)]
    {
        let inside = trap.at("out").join(name);
        let content = std::fs::read(&inside)?;
        // As good as the true one, so that only the link is wrong with it.
        std::fs::write(&precious, &content)?;
        std::fs::remove_file(&inside)?;
        symlink(&precious, &inside)?;
        let arguments: &[&str] = if resumes { &["run", "--resume"] } else { &["report"] };
        let output = qa().args(arguments).arg(trap.at("out")).output()?;
        if std::fs::read(&precious)? != content {
            return Err(format!("{name} was written through a link").into());
        }
        if resumes {
            expect_says(&String::from_utf8_lossy(&output.stderr), "it is a symbolic link")?;
        } else {
            expect_exit(&output, 0)?;
        }
        let _ = std::fs::remove_file(&inside);
        std::fs::write(&inside, &content)?;
    }
    // A new run does not take a folder over that was prepared for it.
    std::fs::create_dir(trap.at("new"))?;
    std::fs::write(&precious, "precious")?;
    symlink(&precious, trap.at("new/spec.yaml"))?;
    let output = qa().arg("run").arg(trap.at("spec.yaml")).arg("--out").arg(trap.at("new")).output()?;
    expect_exit(&output, 74)?;
    if std::fs::read(&precious)? == b"precious" { Ok(()) } else { Err("spec.yaml was written through a link".into()) }
}

/// What becomes part of a file's name.
fn names() -> Result<(), Failed> {
    let good = format!("{HEAD}arms: {{ a: {{ backend: fake }} }}{RATE}");
    for (name, with) in [("harm\n", "../escaped\n"), (" a:", " ../escaped:"), ("RATE", "../escaped")] {
        let trap = Trap::new(&good.replacen(name, with, 1))?;
        let here = trap.at("here/deeper");
        std::fs::create_dir_all(&here)?;
        let output = qa().current_dir(&here).arg("run").arg(trap.at("spec.yaml")).output()?;
        expect_exit(&output, 65)?;
        expect_says(&String::from_utf8_lossy(&output.stderr), "../escaped")?;
        let left: Vec<_> = std::fs::read_dir(trap.at("here"))?.flatten().map(|entry| entry.file_name()).collect();
        if left != ["deeper"] || std::fs::read_dir(&here)?.next().is_some() {
            return Err(format!("left behind: {left:?}").into());
        }
    }
    Ok(())
}

/// Files that are none: to open one would wait for ever, and to read another would never end.
fn pipes() -> Result<(), Failed> {
    let fake = "arms: { a: { backend: fake } }";
    let model = "models: { m: { embedded: tiny-coder } }\narms: { a: { backend: reference, model: m } }";
    for (spec, says) in [
        (format!("include: [PLACE]{HEAD}{fake}{RATE}"), "it is not a plain file"),
        (format!("{HEAD}{model}{RATE}").replace("embedded: tiny-coder", "path: PLACE"), "is not a plain file"),
        (
            format!("{HEAD}{model}{RATE}").replace("{ prompt_tokens: 1,", "{ text: PLACE, prompt_tokens: 1,"),
            "it is not a plain file",
        ),
    ] {
        let trap = Trap::new("")?;
        let pipe = trap.at("pipe");
        if !Command::new("mkfifo").arg(&pipe).status()?.success() {
            return Err("mkfifo failed".into());
        }
        for place in [pipe.display().to_string(), "/dev/zero".to_owned()] {
            std::fs::write(trap.at("spec.yaml"), spec.replace("PLACE", &place))?;
            let begun = Instant::now();
            let mut child = Command::new("timeout");
            child.arg("20").arg(env!("CARGO_BIN_EXE_qa")).arg("run").arg(trap.at("spec.yaml"));
            let output = child.arg("--out").arg(trap.at(&format!("out-{}", place.len()))).output()?;
            if begun.elapsed() > Duration::from_secs(15) {
                return Err(format!("{place} was waited for: {spec}").into());
            }
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
            expect_says(&said, says)?;
        }
    }
    Ok(())
}
