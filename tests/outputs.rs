//! What every command prints, and every error that a user can provoke on the command line, as reviewed text.
//!
//! What differs from run to run is replaced: folders, times, hashes. `INSTA_UPDATE=always cargo test -p qa --test end_to_end
//! outputs::` accepts what was read and found good.

use crate::support::{expect_exit, qa, root, trial};
use libtest_mimic::{Failed, Trial};
use std::fmt::Write as _;
use std::path::Path;
use tempfile::TempDir;

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("outputs::of_commands_that_read_a_specification", specifications),
        trial("outputs::of_commands_about_runs", runs),
        trial("outputs::of_other_commands", others),
        trial("outputs::errors_say_what_where_and_what_would_mend_it", errors),
    ]
}

const SPEC: &str = "apiVersion: qa/v1
name: small
title: Two scripted engines
workloads: { decode: { prompt_tokens: 4, generate_tokens: 8, ignore_eos: true } }
arms:
  fast: { backend: fake, decode_rate: 150, noise: { seed: 5, process_log_sd: 0.02 } }
  slow: { backend: fake, decode_rate: 100, noise: { seed: 6, process_log_sd: 0.02 } }
sampling: { blocks: 4, iterations: 3, warmup: 1 }
checkpoints:
  - { id: REPEATS, title: The same tokens every time, reproducible: { of: fast } }
acceptance:
  - { id: FASTER, title: At least a quarter faster, require: { metric: decode_rate, of: fast, over: slow, at_least: 1.25 } }
  - { id: TWICE, title: Twice as fast, required: false, require: { metric: decode_rate, of: fast, over: slow, at_least: 2 } }
";

/// A folder in which commands are typed, and what they printed.
struct Session {
    dir: TempDir,
    said: String,
}

impl Session {
    fn new() -> Result<Self, Failed> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("small.yaml"), SPEC)?;
        Ok(Self { dir, said: String::new() })
    }

    /// Type a command: its output, its errors and its exit code, with what differs from run to run replaced.
    fn types(&mut self, line: &str) -> Result<(), Failed> {
        let mut command = qa();
        command.current_dir(self.dir.path()).env("HOME", self.dir.path()).env("OLLAMA_HOST", "127.0.0.1:1");
        command.env_remove("XDG_CACHE_HOME").env_remove("QA_HISTORY").env_remove("HF_HOME");
        let output = command.args(line.split_whitespace()).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        let _ = writeln!(self.said, "$ qa {line}");
        for part in [text(&output.stdout), text(&output.stderr)] {
            self.said.push_str(&scrubbed(&part, self.dir.path()));
        }
        if !self.said.ends_with('\n') {
            self.said.push('\n');
        }
        let _ = writeln!(self.said, "[exit {code}]\n");
        Ok(())
    }

    fn is_as_reviewed(&self, name: &str) {
        let folder = root().join("tests/snapshots");
        insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => folder, omit_expression => true }, {
            insta::assert_snapshot!(name, &self.said);
        });
    }
}

/// Text without what differs from run to run: the folder, moments, hashes, seconds, and how the first two wrap.
fn scrubbed(text: &str, dir: &Path) -> String {
    let dir = dir.display().to_string();
    let mut out = String::new();
    for line in text.replace(&dir, "DIR").replace(env!("CARGO_BIN_EXE_qa"), "qa").split_inclusive('\n') {
        // How long is left depends on the machine, and so does whether there is time to say it.
        if line.contains("s left")
            || line.trim_end().ends_with("(fast, slow)")
            || line.trim_end().ends_with("(slow, fast)")
        {
            continue;
        }
        // How long it took to write a file.
        let line = line.split_once(" MB in ").map_or_else(|| line.to_owned(), |(size, _)| format!("{size} MB\n"));
        let words: Vec<String> = line.split(' ').map(word).collect();
        out.push_str(&words.join(" "));
    }
    out
}

fn word(word: &str) -> String {
    let core = word.trim_end_matches(['\n', '.', ',', ';', ')', '"']);
    let rest = &word[core.len()..];
    let moment = core.len() >= 10
        && core.starts_with("20")
        && core.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ':' | 'T' | 'Z' | '.'))
        && core.matches('-').count() == 2;
    let clock = core.contains(':') && core.chars().all(|c| c.is_ascii_digit() || c == ':');
    let hash = core.len() >= 12 && core.chars().all(|c| c.is_ascii_hexdigit());
    let shown = if moment {
        "DAY"
    } else if clock {
        "TIME"
    } else if hash {
        "HASH"
    } else {
        core
    };
    format!("{shown}{rest}")
}

fn specifications() -> Result<(), Failed> {
    let mut session = Session::new()?;
    for line in [
        "check small.yaml",
        "check small.yaml --set sampling.iteration=3",
        "check small.yaml --json --set sampling.blocks=many",
        "plan small.yaml",
        "plan small.yaml --only FASTER",
        "list specs",
        "list entries small.yaml",
        "run small.yaml --only FASTER --out one",
        "run small.yaml --out two --set acceptance.TWICE.required=true",
    ] {
        session.types(line)?;
    }
    session.is_as_reviewed("specifications");
    Ok(())
}

fn runs() -> Result<(), Failed> {
    let mut session = Session::new()?;
    let dir = session.dir.path().to_owned();
    std::fs::write(
        dir.join("other.json"),
        r#"{"results":[{"command":"sleep 0.1","mean":0.1,"stddev":0.001,"times":[0.099,0.101]}]}"#,
    )?;
    // Outside of any repository, and not told of when or on what.
    for name in ["a", "b"] {
        let run = qa().current_dir(&dir).args(["run", "small.yaml", "--out", name]).output()?;
        expect_exit(&run, 0)?;
    }
    for line in [
        "report a --format terminal",
        "report a --format markdown",
        "compare a b",
        "pack a",
        "pack a",
        "verify a.qa.tar.gz",
        "verify a",
        "ci a",
        "history add a b --branch main",
        "history add a.qa.tar.gz",
        "history import other.json",
        "history list",
        "key new lab",
        "key new lab",
    ] {
        session.types(line)?;
    }
    session.is_as_reviewed("runs");
    Ok(())
}

fn others() -> Result<(), Failed> {
    let mut session = Session::new()?;
    std::fs::write(session.dir.path().join("qa.yaml"), SPEC)?;
    std::fs::write(
        session.dir.path().join("pairs.csv"),
        "new,old\n131,100\n129,101\n132,99\n130,100\n128,98\n133,102\n",
    )?;
    for line in [
        "",
        "init",
        "list runs",
        "history list",
        "stats pairs.csv --margin 1.25",
        "model synth --preset tiny --quant q8_0 --seed 7 -o m.gguf",
        "model inspect m.gguf",
    ] {
        session.types(line)?;
    }
    session.is_as_reviewed("others");
    Ok(())
}

fn errors() -> Result<(), Failed> {
    let mut session = Session::new()?;
    let dir = session.dir.path().to_owned();
    std::fs::write(dir.join("text"), "some text\n")?;
    std::fs::create_dir(dir.join("empty"))?;
    for line in [
        "run",
        "reprot a",
        "run small.yaml --out a --resume a",
        "run nowhere.yaml",
        "run empty",
        "run text",
        "run small.yaml --only NOTHING*",
        "run small.yaml --set sampling",
        "run small.yaml --set sampling.blocks=0",
        "run --resume nowhere",
        "run --resume empty",
        "plan small.yaml --noise 0",
        "plan small.yaml --from nowhere",
        "profile small.yaml nobody",
        "report nowhere",
        "report empty",
        "ci nowhere",
        "compare nowhere empty",
        "verify nowhere",
        "verify text",
        "verify empty",
        "verify text --key nowhere",
        "pack nowhere",
        "key new nowhere/lab",
        "key id nowhere",
        "key id text",
        "list runs nowhere",
        "list specs nowhere",
        "list entries nowhere.yaml",
        "history trend FASTER",
        "history add nowhere",
        "history import nowhere",
        "history import text",
        "history list --db text",
        "init nowhere.gguf",
        "init text",
        "stats nowhere",
        "stats text",
        "model inspect nowhere.gguf",
        "model inspect text",
        "model synth --preset huge -o x",
        "model synth --preset tiny --quant q9 -o x",
        "generate -m nowhere.gguf -p hi",
        "schema nothing",
        "completions nothing",
    ] {
        session.types(line)?;
    }
    session.is_as_reviewed("errors");
    Ok(())
}
