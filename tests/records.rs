//! The committed records: each holds, says whether it is stale, and is where the tables of results come from.
//!
//! `QA_BLESS=1 cargo test -p qa --test end_to_end records::` writes the tables anew, and lays the pages of records out as this program
//! does; their samples stay what they are.

use crate::support::{expect_exit, qa, root, trial};
use libtest_mimic::{Failed, Trial};
use qa::evidence::pack;
use qa::report::number;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const BEGIN: &str = "<!-- results: begin, written from the records -->\n";
const END: &str = "<!-- results: end -->";

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("records::each_holds_and_says_whether_it_is_stale", hold),
        trial("records::tables_are_theirs", tables),
        trial("records::the_picture_is_of_the_last_one", picture),
    ]
}

/// Packed runs under `reports/`, by name.
fn records() -> Result<Vec<(String, PathBuf)>, Failed> {
    let mut records = Vec::new();
    for folder in std::fs::read_dir(root().join("reports"))? {
        let folder = folder?.path();
        if !folder.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(&folder)? {
            let path = file?.path();
            let Some(name) = path.to_string_lossy().strip_suffix(".qa.tar.gz").map(PathBuf::from) else { continue };
            records.push((name.strip_prefix(root().join("reports"))?.to_string_lossy().into_owned(), path));
        }
    }
    records.sort();
    if records.is_empty() { Err("there is no record".into()) } else { Ok(records) }
}

fn hold() -> Result<(), Failed> {
    let index = std::fs::read_to_string(root().join("reports/README.md"))?;
    for (record, path) in records()? {
        let verified = || -> Result<Value, Failed> {
            Ok(serde_json::from_slice(&qa().args(["verify", "--json"]).arg(&path).output()?.stdout)?)
        };
        let mut said = verified()?;
        let ok = |said: &Value, wanted: &str| {
            let mut checks = said["checks"].as_array().into_iter().flatten();
            checks.any(|check| check["name"] == wanted && check["outcome"] == "ok")
        };
        if !ok(&said, "report") && std::env::var_os("QA_BLESS").is_some() {
            laid_out_anew(&path)?;
            said = verified()?;
        }
        let check = |wanted: &str| said["checks"].as_array().into_iter().flatten().find(|c| c["name"] == wanted);
        for wanted in ["files", "samples", "report"] {
            if !ok(&said, wanted) {
                return Err(format!("{record}: {wanted}: {said:#}").into());
            }
        }
        if check("statement").is_none_or(|check| check["found"].to_string().contains("/qa/verdicts")) {
            return Err(format!("{record}: another verdict than when it was packed: {said:#}").into());
        }
        let stale = check("kernels").is_some_and(|check| check["found"].to_string().contains("stale"));
        let state = if stale { "| stale |" } else { "| current |" };
        let row = index.lines().find(|line| line.starts_with(&format!("| [{record}]")));
        if row.is_none_or(|row| !row.ends_with(state)) {
            let wanted = format!("reports/README.md must have a row for {record} that ends in `{state}`: {row:?}");
            return Err(wanted.into());
        }
    }
    Ok(())
}

/// Judge and render a record again, and pack it as it was.
fn laid_out_anew(path: &Path) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let (run, packed) = (dir.path().join("run"), dir.path().join("packed"));
    std::fs::create_dir(&run)?;
    let unpacked = Command::new("tar").arg("xzf").arg(path).arg("-C").arg(&run).output()?;
    expect_exit(&unpacked, 0)?;
    // Its exit code is the record's verdict.
    qa().arg("report").arg(&run).output()?;
    expect_exit(&qa().arg("pack").arg(&run).arg("-o").arg(&packed).output()?, 0)?;
    std::fs::copy(packed, path)?;
    Ok(())
}

fn tables() -> Result<(), Failed> {
    let mut all = String::new();
    let mut beside_others = String::new();
    for (record, path) in records()? {
        let report = report(&path)?;
        let rows = rows(&report);
        let sentence = report["headline"]["sentence"].as_str().unwrap_or_default();
        let head = format!("\n**{record}**: {sentence}\n\n{TABLE}");
        all += &head;
        all.extend(rows.iter().map(|row| row.text.as_str()));
        if rows.iter().any(|row| row.beside_another_engine) {
            beside_others += &head;
            beside_others.extend(rows.iter().filter(|row| row.beside_another_engine).map(|row| row.text.as_str()));
        }
    }
    held_to(&root().join("reports/README.md"), &(all + "\n"))?;
    held_to(&root().join("README.md"), &(beside_others + "\n"))
}

/// The README's picture is what `qa report` draws of the last run of `specs/phase2.yaml`.
fn picture() -> Result<(), Failed> {
    let of_phase2 = records()?.into_iter().rfind(|(name, _)| name.ends_with("/phase2"));
    let (record, path) = of_phase2.ok_or("there is no record of phase2")?;
    let dir = tempfile::tempdir()?;
    tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(&path)?)).unpack(dir.path())?;
    let drawn = qa().arg("report").arg(dir.path()).args(["--format", "svg"]).output()?.stdout;
    if drawn.is_empty() {
        return Err(format!("{record} has no picture").into());
    }
    let picture = root().join("docs/src/images/phase2.svg");
    if std::env::var_os("QA_BLESS").is_some() {
        std::fs::write(&picture, &drawn)?;
    }
    let shown = std::fs::read(&picture).unwrap_or_default();
    if shown == drawn {
        Ok(())
    } else {
        Err(format!("{} is not of {record}: QA_BLESS=1 draws it anew", picture.display()).into())
    }
}

const TABLE: &str = "\
| claim | measured | beside | ratio | asked | verdict |\n\
| --- | --- | --- | --- | --- | --- |\n";

/// The packed report.
fn report(path: &Path) -> Result<Value, Failed> {
    let pack = pack::open(path)?;
    let content = pack.files.get("report.json").ok_or_else(|| format!("{} has no report.json", path.display()))?;
    Ok(serde_json::from_slice(content)?)
}

struct Row {
    text: String,
    beside_another_engine: bool,
}

/// A row of every measured comparison of two arms, and of every projection.
fn rows(report: &Value) -> Vec<Row> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let backend =
        |arm: &Value| list(&report["arms"]).into_iter().find(|a| a["arm"] == *arm).map(|a| a["backend"].clone());
    let mut rows = Vec::new();
    for entry in list(&report["entries"]) {
        for claim in list(&entry["claims"]) {
            let comparison = &claim["comparison"];
            let Some([estimate, lower, upper]) = numbers(comparison, ["estimate", "lower", "upper"]) else { continue };
            let (of, over) = (&comparison["of"], &comparison["over"]);
            if claim["verdict"].is_null() || (over.is_null() && claim["check"] != "projection") {
                continue;
            }
            let unit = comparison["unit"].as_str().unwrap_or_default();
            let side = |side: &Value| {
                let median = side["median"].as_f64().map_or(number::ABSENT.to_owned(), number::value);
                format!("{} {median} {unit}", side["arm"].as_str().unwrap_or_default())
            };
            let suffix = if over.is_null() { "" } else { "x" };
            let margins: Vec<f64> =
                ["margin_lower", "margin_upper"].iter().filter_map(|m| comparison[m].as_f64()).collect();
            let decimals = number::common_decimals(estimate, [lower, upper], &margins, 3);
            let print = |x| number::fixed(x, decimals);
            let asked = match (comparison["margin_lower"].as_f64(), comparison["margin_upper"].as_f64()) {
                (Some(low), Some(high)) => format!("{} to {}{suffix}", number::exact(low), number::exact(high)),
                (Some(low), None) => format!("at least {}{suffix}", number::exact(low)),
                (None, Some(high)) => format!("at most {}{suffix}", number::exact(high)),
                (None, None) => String::new(),
            };
            let gates = if claim["gates"] == true { "" } else { " (gates nothing)" };
            let text = format!(
                "| {id}: {title} | {of} | {over} | {estimate}{suffix} [{lower}, {upper}] | {asked} | {verdict}{gates} |\n",
                id = entry["id"].as_str().unwrap_or_default(),
                title = entry["title"].as_str().unwrap_or_default(),
                of = side(of),
                over = if over.is_null() { String::new() } else { side(over) },
                estimate = print(estimate),
                lower = print(lower),
                upper = print(upper),
                verdict = claim["verdict"].as_str().unwrap_or_default(),
            );
            let beside_another_engine = !over.is_null() && backend(&of["arm"]) != backend(&over["arm"]);
            rows.push(Row { text, beside_another_engine });
        }
    }
    rows
}

fn numbers<const N: usize>(of: &Value, names: [&str; N]) -> Option<[f64; N]> {
    let found: Option<Vec<f64>> = names.iter().map(|name| of[name].as_f64()).collect();
    found?.try_into().ok()
}

/// Holds what a file says between the marks to `expected`, or writes it there.
fn held_to(file: &Path, expected: &str) -> Result<(), Failed> {
    let text = std::fs::read_to_string(file)?;
    let name = file.strip_prefix(root())?.display();
    let Some((before, rest)) = text.split_once(BEGIN) else { return Err(format!("{name} has no `{BEGIN}`").into()) };
    let Some((found, after)) = rest.split_once(END) else { return Err(format!("{name} has no `{END}`").into()) };
    if found == expected {
        return Ok(());
    }
    if std::env::var_os("QA_BLESS").is_some() {
        return Ok(std::fs::write(file, [before, BEGIN, expected, END, after].concat())?);
    }
    Err(format!(
        "the table of {name} is not that of the records: QA_BLESS=1 writes it\nfound:\n{found}\nexpected:\n{expected}"
    )
    .into())
}
