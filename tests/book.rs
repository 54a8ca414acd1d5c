//! The book as mdBook makes it, and what its pages tell people to type.

use crate::support::{expect_exit, qa, root, trial, trial_with};
use libtest_mimic::{Failed, Trial};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Output};

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial_with(
            "book::nothing_in_it_leads_nowhere",
            std::env::var_os("QA_MDBOOK").map(PathBuf::from).filter(|program| program.exists()),
            "set QA_MDBOOK to mdBook's program",
            |mdbook| leads(&mdbook),
        ),
        trial("book::every_command_line_is_understood", understood),
        trial("book::the_page_about_history_does_what_it_says", history),
        trial("book::the_page_about_evidence_does_what_it_says", evidence),
    ]
}

/// Values of an attribute in HTML that mdBook wrote.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let mark = format!(" {name}=\"");
    html.split(mark.as_str()).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// The path without `.` and `..`, which need not exist.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

/// Every address of every page of the finished book is a file of the book, every anchor an element of its page.
fn leads(mdbook: &Path) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let built = Command::new(mdbook).arg("build").arg(root().join("docs")).arg("-d").arg(dir.path()).output()?;
    expect_exit(&built, 0)?;
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    if said.contains("WARN") || said.contains("ERROR") {
        return Err(said.into());
    }
    let mut pages: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut folders = vec![dir.path().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder)?.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "html") {
                pages.insert(path.clone(), fs::read_to_string(path)?);
            }
        }
    }
    let ids: BTreeMap<&PathBuf, BTreeSet<&str>> =
        pages.iter().map(|(path, html)| (path, attributes(html, "id").into_iter().collect())).collect();
    // What a server sends for a page that is not there has addresses from the server's root.
    let of_readers = pages.iter().filter(|(path, _)| !path.ends_with("404.html"));
    let (mut seen, mut broken) = (0, BTreeSet::new());
    for (page, html) in of_readers {
        for target in ["href", "src"].into_iter().flat_map(|name| attributes(html, name)) {
            if target.contains(':') {
                continue;
            }
            seen += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let there =
                if file.is_empty() { page.clone() } else { plain(&page.parent().unwrap_or(dir.path()).join(file)) };
            let right = there.starts_with(dir.path())
                && there.exists()
                && (anchor.is_empty() || ids.get(&there).is_some_and(|ids| ids.contains(anchor)));
            if !right {
                broken.insert(format!("{}: {target}", page.strip_prefix(dir.path()).unwrap_or(page).display()));
            }
        }
    }
    if seen < 500 {
        return Err(format!("only {seen} addresses were seen").into());
    }
    if broken.is_empty() { Ok(()) } else { Err(format!("these lead nowhere: {broken:#?}").into()) }
}

/// Lines of a page's `sh` blocks, without comments.
fn typed(page: &str) -> Result<Vec<String>, Failed> {
    let text = fs::read_to_string(root().join(page))?;
    let mut lines = Vec::new();
    for block in text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        lines.extend(block.lines().map(|line| line.split(" #").next().unwrap_or(line).trim().to_owned()));
    }
    Ok(lines)
}

/// Pages of the book, from the repository's root.
fn pages() -> Result<Vec<String>, Failed> {
    let summary = fs::read_to_string(root().join("docs/src/SUMMARY.md"))?;
    let targets = summary.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    Ok(targets.map(|target| format!("docs/src/{target}")).collect())
}

/// A line as a shell runs it, in a folder, with `qa` on the path and nothing of this machine's.
fn shell(line: &str, folder: &Path) -> Result<Output, Failed> {
    let template = qa();
    let program = Path::new(env!("CARGO_BIN_EXE_qa")).parent().unwrap_or(Path::new("/"));
    let mut command = Command::new("bash");
    command.args(["-c", line]).current_dir(folder).env("HOME", folder);
    for (name, value) in template.get_envs() {
        match value {
            Some(value) if name == "PATH" => {
                let folders = std::iter::once(program.to_path_buf()).chain(std::env::split_paths(value));
                command.env(name, std::env::join_paths(folders)?)
            }
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env_remove("QA_HISTORY");
    Ok(command.output()?)
}

/// No command and no option is misspelt: asked for help after all of its arguments, each command gives it.
fn understood() -> Result<(), Failed> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let indented = readme.lines().filter_map(|line| line.strip_prefix("    "));
    let mut lines: Vec<String> =
        indented.map(|line| line.split(" #").next().unwrap_or(line).trim().to_owned()).collect();
    for page in pages()? {
        lines.extend(typed(&page)?);
    }
    let dir = tempfile::tempdir()?;
    let commands: BTreeSet<String> =
        lines.into_iter().filter(|line| line.starts_with("qa ") || line.contains(" qa ")).collect();
    let commands: Vec<String> = commands.into_iter().filter(|line| !line.contains(':')).collect();
    for line in &commands {
        let output = shell(&format!("{line} --help"), dir.path())?;
        expect_exit(&output, 0).map_err(|e| format!("{line}: {}", e.message().unwrap_or_default()))?;
    }
    if commands.len() > 20 { Ok(()) } else { Err(format!("only {commands:?}").into()) }
}

/// Type all of a page. Whatever a verdict may be, each command has to find what it was told of.
fn typed_out(page: &str, folder: &Path) -> Result<Vec<(String, Option<i32>)>, Failed> {
    for name in ["specs", "reports"] {
        std::os::unix::fs::symlink(root().join(name), folder.join(name))?;
    }
    let mut ended = Vec::new();
    for line in typed(page)? {
        let output = shell(&line, folder)?;
        if !matches!(output.status.code(), Some(0 | 10..=13)) {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{page}: {line}: {:?}\n{said}", output.status.code()).into());
        }
        ended.push((line, output.status.code()));
    }
    Ok(ended)
}

const SPEC: &str = "apiVersion: qa/v1
name: small
workloads: { decode: { prompt_tokens: 4, generate_tokens: 8, ignore_eos: true } }
arms: { engine: { backend: fake, decode_rate: 150 }, other: { backend: fake, decode_rate: 100 } }
sampling: { blocks: 2, iterations: 1 }
acceptance:
  - { id: POINT-41, title: t, require: { metric: decode_rate, of: engine, over: other, at_least: 0.01 } }
";

fn history() -> Result<(), Failed> {
    let page = "docs/src/how-to/history.md";
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("small.yaml"), SPEC)?;
    for line in [
        "qa run small.yaml --out runs/before",
        "qa run small.yaml --out runs/after",
        "qa pack runs/before -o last-release.qa.tar.gz",
        "mkdir -p target/criterion/parse/new",
    ] {
        expect_exit(&shell(line, dir.path())?, 0)?;
    }
    let text = fs::read_to_string(root().join(page))?;
    let nightly = text.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).ok_or("no example")?;
    let estimate = r#"{"point_estimate":1200.0,"standard_error":3.0,"confidence_interval":{"confidence_level":0.95,"lower_bound":1190.0,"upper_bound":1210.0}}"#;
    for (name, content) in [
        ("nightly.yaml", nightly.to_owned()),
        ("target/criterion/parse/new/estimates.json", format!(r#"{{"mean":{estimate},"std_dev":{estimate}}}"#)),
        ("hyperfine.json", r#"{"results":[{"command":"sleep 0.1","mean":0.1,"stddev":0.001,"times":[0.099,0.101]}]}"#.to_owned()),
        ("google-benchmark.json", r#"{"context":{},"benchmarks":[{"name":"BM_a","run_name":"BM_a","run_type":"iteration","iterations":10,"real_time":12.5,"cpu_time":12.4,"time_unit":"ns"}]}"#.to_owned()),
        ("llama-bench.jsonl", "{\"model_type\":\"qwen2 1B\",\"backends\":\"CPU\",\"n_prompt\":0,\"n_gen\":8,\"n_depth\":0,\"avg_ts\":100.0,\"stddev_ts\":1.0,\"samples_ts\":[99.0,101.0]}\n".to_owned()),
    ] {
        fs::write(dir.path().join(name), content)?;
    }
    let ended = typed_out(page, dir.path())?;
    let runs: Vec<Option<i32>> =
        ended.iter().filter(|(line, _)| line.starts_with("qa run")).map(|(_, code)| *code).collect();
    // Without a baseline BLOCKED, as the page says; then held against the run that was added.
    match runs.as_slice() {
        [Some(13), Some(0 | 10 | 11)] => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn evidence() -> Result<(), Failed> {
    let page = "docs/src/how-to/evidence.md";
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("small.yaml"), SPEC)?;
    expect_exit(&shell("qa run small.yaml --out runs/mine", dir.path())?, 0)?;
    let ended = typed_out(page, dir.path())?;
    if ended.iter().take(3).all(|(_, code)| *code == Some(0)) { Ok(()) } else { Err(format!("{ended:?}").into()) }
}
