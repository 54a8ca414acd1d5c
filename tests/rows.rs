//! Runs of many samples: read, judged, packed and verified in memory that is bounded.

use crate::support::{expect_exit, expect_says, faster, qa, trial};
use libtest_mimic::{Failed, Trial};
use qa::run::chain::Link;
use serde_json::Value;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Samples of the file: enough that a reader which keeps records, or the file, takes more than it may.
const ROWS: usize = 30_000;
/// Memory of its own that a command may take, in KiB. It takes less than 12 MiB; with a record for each sample it would take 32,
/// and 45 with the file beside them.
const DATA_KIB: usize = 20 << 10;

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![trial("rows::many_samples_are_judged_packed_and_verified_in_little_memory", many)]
}

/// `QA_ROWS` samples in the folder `QA_ROWS_DIR`, which is left behind, are for measurements by hand.
fn many() -> Result<(), Failed> {
    let temporary = tempfile::tempdir()?;
    let rows = std::env::var("QA_ROWS").map_or(Ok(ROWS), |rows| rows.parse())?;
    let dir = std::env::var_os("QA_ROWS_DIR").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let (run, packed) = (dir.join("run"), temporary.path().join("run.qa.tar.gz"));
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("spec.yaml"), faster(5, 1))?;
    expect_exit(&qa().arg("run").arg(dir.join("spec.yaml")).arg("--out").arg(&run).output()?, 0)?;
    let records = multiply(&run, rows)?;
    if rows != ROWS {
        println!("{} holds {records} records", run.display());
        return Ok(());
    }
    let json = expect_exit(&bounded(&["report", "--format", "json"], &[&run])?, 0)?;
    let report: Value = serde_json::from_str(&json)?;
    let arm = &report["arms"][0];
    let (iterations, each) = (arm["rows"][0]["values"]["iterations"].as_u64(), arm["series_each"].as_u64());
    if (iterations, each) != (Some(rows as u64 / 2), Some(2)) {
        return Err(format!("{iterations:?} iterations of an arm, one of {each:?} listed").into());
    }
    expect_exit(&bounded(&["report"], &[&run])?, 0)?;
    expect_exit(&bounded(&["pack", "--out"], &[&packed, &run])?, 0)?;
    for path in [&packed, &run] {
        let said = expect_exit(&bounded(&["verify"], &[path])?, 0)?;
        expect_says(&said, &format!("{records} records, each linked to the one before"))?;
        expect_says(&said, "every number and verdict is what the samples give")?;
    }
    Ok(())
}

/// The command with a limit on the memory of its own.
fn bounded(words: &[&str], paths: &[&Path]) -> Result<Output, Failed> {
    let mut sh = Command::new("sh");
    sh.args(["-c", "ulimit -d \"$1\"; shift; exec \"$@\"", "sh", &DATA_KIB.to_string()]);
    Ok(sh.arg(env!("CARGO_BIN_EXE_qa")).args(words).args(paths).env("NO_COLOR", "1").output()?)
}

/// Put many samples in the place of each timed one of a run, `rows` in all. Returns how many records there are then.
fn multiply(run: &Path, rows: usize) -> Result<u64, Failed> {
    let path = run.join("samples.jsonl");
    let text = std::fs::read_to_string(&path)?;
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let is_timed = |record: &Value| record["kind"] == "sample" && record["sample"]["warmup"] == false;
    let each = rows / lines.iter().filter(|record| is_timed(record)).count();
    let mut link = Link::first(&std::fs::read(run.join("environment.json"))?);
    let mut file = BufWriter::new(File::create(&path)?);
    let mut seq = 0;
    for mut record in lines {
        record.as_object_mut().ok_or("a record is no object")?.remove("chain");
        let (timed, decode_ns) = (is_timed(&record), record["sample"]["decode_ns"].as_f64().unwrap_or_default());
        for copy in 0..if timed { each } else { 1 } {
            record["seq"] = seq.into();
            if timed {
                record["sample"]["index"] = (1 + copy).into();
                // Some noise, without which every diagnostic has the same to say.
                record["sample"]["decode_ns"] = (decode_ns * (1.0 + (copy * 7919 % 1009) as f64 * 1e-5)).into();
            }
            let (line, next) = link.seal(serde_json::to_vec(&record)?);
            file.write_all(&line)?;
            (link, seq) = (next, seq + 1);
        }
    }
    file.flush()?;
    Ok(seq)
}
