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
        trial("outputs::of_commands_about_a_machine_and_a_model", engines),
        trial("outputs::of_commands_that_shells_and_editors_read", machinery),
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
        self.types_and_shows(line, str::to_owned)
    }

    /// Type a command of which a part is shown, since the rest belongs to this machine or would fill pages.
    fn types_and_shows(&mut self, line: &str, part_of: impl Fn(&str) -> String) -> Result<(), Failed> {
        let mut command = qa();
        // No card, so that what is said does not depend on this machine's.
        command.env("CUDA_VISIBLE_DEVICES", "");
        command.current_dir(self.dir.path()).env("HOME", self.dir.path()).env("OLLAMA_HOST", "127.0.0.1:1");
        command.env_remove("XDG_CACHE_HOME").env_remove("QA_HISTORY").env_remove("HF_HOME");
        let output = command.args(line.split_whitespace()).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        let _ = writeln!(self.said, "$ qa {line}");
        for part in [text(&output.stdout), text(&output.stderr)] {
            self.said.push_str(&part_of(&scrubbed(&part, self.dir.path())));
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
    let quoted = word.strip_prefix('"').unwrap_or(word);
    let core = quoted.trim_end_matches(['\n', '.', ',', ';', ')', '"']);
    let (before, rest) = (&word[..word.len() - quoted.len()], &quoted[core.len()..]);
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
    format!("{before}{shown}{rest}")
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
        "ci a --json",
        "history add a b --branch main",
        "history add a.qa.tar.gz",
        "history import other.json",
        "history list",
        "key new lab",
        "key new lab",
        "key new other --json",
        "key id lab.pub",
        "key id lab.pub --json",
    ] {
        session.types(line)?;
    }
    // On which processor the runs were is this machine's.
    let heading = |line: &str| line.split(" on ").next().unwrap_or_default().to_owned();
    session.types_and_shows("history trend FASTER", |text| {
        text.lines().map(|line| if line.starts_with(' ') { line.to_owned() } else { heading(line) } + "\n").collect()
    })?;
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
        "init -o first.yaml",
        "init -o second.yaml --json",
        "list runs",
        "history list",
        "stats pairs.csv --margin 1.25",
        "model synth --preset tiny --quant q8_0 --seed 7 -o m.gguf",
        "model inspect m.gguf",
        "model synth --preset tiny --quant f16 -o n.gguf --json",
    ] {
        session.types(line)?;
    }
    session.is_as_reviewed("others");
    Ok(())
}

/// What a timeline, a prompt, a machine and a card's check say.
fn engines() -> Result<(), Failed> {
    let mut session = Session::new()?;
    std::fs::write(session.dir.path().join("profiled.yaml"), crate::profile::SPEC)?;
    session.types("profile profiled.yaml seen")?;
    session.types("profile profiled.yaml unseen")?;
    session.types_and_shows("generate --backend reference -p import -n 6", without_numbers)?;
    session.types_and_shows("generate --backend native -p import -n 6", without_reason)?;
    session.types_and_shows("selftest gpu --quick", without_reason)?;
    session.types_and_shows("doctor", of_engines)?;
    session.types_and_shows("doctor small.yaml", last_line)?;
    session.types_and_shows("doctor profiled.yaml --json", |text| first_lines(text, 2))?;
    session.types("selftest --runs 5 --from result.json")?;
    std::fs::copy(root().join("reports/selftest.json"), session.dir.path().join("result.json"))?;
    session.types_and_shows("selftest --from result.json --html page.html", |text| first_lines(text, 12))?;
    session.is_as_reviewed("engines");
    Ok(())
}

/// The beginnings of what is read by programs; other tests hold all of it.
fn machinery() -> Result<(), Failed> {
    let mut session = Session::new()?;
    for line in ["schema", "schema report", "completions bash", "completions zsh", "completions fish", "man"] {
        session.types_and_shows(line, |text| first_lines(text, 12))?;
    }
    for line in ["man --out pages", "ci --help", "--version"] {
        session.types(line)?;
    }
    session.is_as_reviewed("machinery");
    Ok(())
}

/// How fast a text came, and on how many threads, differs.
fn without_numbers(text: &str) -> String {
    let shown = |word: &str| if word.parse::<f64>().is_ok() { "#".to_owned() } else { word.to_owned() };
    text.split_inclusive([' ', '\n'])
        .map(|word| {
            let core = word.trim_end();
            shown(core) + &word[core.len()..]
        })
        .collect()
}

/// Why a card cannot be used differs; that none can does not.
fn without_reason(text: &str) -> String {
    text.split(": ").take(2).collect::<Vec<_>>().join(": ")
}

/// What is said of engines that no machine of these tests has.
fn of_engines(text: &str) -> String {
    let mut wanted = false;
    let lines = text.split_inclusive('\n').filter(|line| {
        wanted = if line.starts_with(' ') { wanted } else { line.contains("llama.cpp") || line.contains("Ollama") };
        wanted
    });
    lines.collect()
}

fn last_line(text: &str) -> String {
    text.lines().last().map(|line| format!("{line}\n")).unwrap_or_default()
}

fn first_lines(text: &str, count: usize) -> String {
    let mut shown: String = text.split_inclusive('\n').take(count).collect();
    if text.lines().count() > count {
        shown.push_str("...\n");
    }
    shown
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
