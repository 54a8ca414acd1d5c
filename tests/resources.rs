//! What a machine may run short of, and many runs at once.

use crate::support::{expect_exit, expect_says, faster, qa, relinked, report, trial, trial_with};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Somebody who may write nowhere: the number of `nobody`.
const NOBODY: u32 = 65_534;
/// Runs at once.
const RUNS: usize = 100;
/// Runs at once that all want one folder.
const RIVALS: usize = 10;

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("resources::a_full_disk_loses_nothing_that_was_measured", full_disk),
        trial_with("resources::a_disk_without_a_byte_left", small_disk(), "needs a right to mount", |disk| {
            no_space(&disk)
        }),
        trial_with("resources::a_folder_that_cannot_be_written", nobody(), "needs another user", |()| read_only()),
        trial("resources::a_clock_that_was_set_back", clock_set_back),
        trial("resources::a_hundred_runs_at_once", hundred_runs),
        trial("resources::one_folder_is_one_runs", rivals),
        trial("resources::one_card_is_one_runs", one_card),
    ]
}

/// A folder with the specification, and the claims of an unbroken run of it.
struct Place {
    dir: TempDir,
    whole: Value,
}

impl Place {
    fn new() -> Result<Self, Failed> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("spec.yaml"), faster(4, 3))?;
        let place = Self { dir, whole: Value::Null };
        expect_exit(&qa().arg("run").arg(place.at("spec.yaml")).arg("--out").arg(place.at("whole")).output()?, 0)?;
        let whole = claims(&place.at("whole"))?;
        Ok(Self { whole, ..place })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A run that was cut short goes on, and comes to what an unbroken one comes to.
    fn goes_on(&self, out: &Path) -> Result<(), Failed> {
        expect_exit(&qa().args(["run", "--resume"]).arg(out).output()?, 0)?;
        let found = claims(out)?;
        if found == self.whole { Ok(()) } else { Err(format!("the claims differ: {found:#}").into()) }
    }
}

fn claims(out: &Path) -> Result<Value, Failed> {
    Ok(report(out)?["entries"][0]["claims"].clone())
}

/// No file may grow beyond a length, wherever in the run that length is reached: writing fails, as on a full disk.
fn full_disk() -> Result<(), Failed> {
    let place = Place::new()?;
    let length = std::fs::metadata(place.at("whole/samples.jsonl"))?.len();
    let mut stopped = 0;
    for share in [1, 3, 5, 7, 9] {
        let (limit, out) = (length * share / 10 / 512, place.at(&format!("full-{share}")));
        let mut sh = Command::new("sh");
        // The signal of the limit is ignored, so that the write fails.
        sh.args(["-c", "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"", "sh", &limit.to_string()]);
        sh.arg(env!("CARGO_BIN_EXE_qa")).arg("run").arg(place.at("spec.yaml")).arg("--out").arg(&out);
        let output = sh.env("NO_COLOR", "1").output()?;
        expect_exit(&output, 74)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !out.join("samples.jsonl").exists() {
            continue;
        }
        expect_says(&said, "cannot write")?;
        expect_says(&said, "File too large")?;
        place.goes_on(&out)?;
        stopped += 1;
    }
    if stopped >= 4 { Ok(()) } else { Err(format!("only {stopped} runs were stopped while they measured").into()) }
}

/// A disk of a few pages, where one can be had.
struct Disk(TempDir);

fn small_disk() -> Option<Disk> {
    let dir = tempfile::tempdir().ok()?;
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"]).arg(dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
    mount.status().ok()?.success().then(|| Disk(dir))
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn no_space(disk: &Disk) -> Result<(), Failed> {
    let place = Place::new()?;
    let out = disk.0.path().join("out");
    let output = qa().arg("run").arg(place.at("spec.yaml")).arg("--out").arg(&out).output()?;
    expect_exit(&output, 74)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    expect_says(&said, "No space left on device")?;
    expect_says(&said, "go on with: qa run --resume")?;
    // Moved to where there is room, it goes on.
    let roomy = place.at("roomy");
    if !Command::new("cp").arg("-r").arg(&out).arg(&roomy).status()?.success() {
        return Err("cp failed".into());
    }
    place.goes_on(&roomy)
}

/// Whether the command can be run as somebody else.
fn nobody() -> Option<()> {
    let mut command = qa();
    command.current_dir("/").uid(NOBODY).arg("--version");
    command.output().is_ok_and(|output| output.status.success()).then_some(())
}

fn read_only() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let spec = dir.path().join("spec.yaml");
    std::fs::write(&spec, faster(4, 3))?;
    // All may look, and only its owner may write.
    Command::new("chmod").args(["-R", "a+rX"]).arg(dir.path()).status()?;
    let run = |arguments: &[&Path]| qa().current_dir(dir.path()).uid(NOBODY).args(arguments).output();
    let refused = run(&[Path::new("run"), &spec])?;
    expect_exit(&refused, 74)?;
    expect_says(&String::from_utf8_lossy(&refused.stderr), "cannot make runs/faster-")?;
    expect_says(&String::from_utf8_lossy(&refused.stderr), "Permission denied")?;
    let out = dir.path().join("out");
    expect_exit(&qa().arg("run").arg(&spec).arg("--out").arg(&out).output()?, 0)?;
    Command::new("chmod").args(["-R", "a+rX"]).arg(&out).status()?;
    // A report can be read where none can be written.
    expect_exit(&run(&[Path::new("report"), &out, Path::new("--format"), Path::new("json")])?, 0)?;
    let refused = run(&[Path::new("report"), &out])?;
    expect_exit(&refused, 74)?;
    expect_says(&String::from_utf8_lossy(&refused.stderr), "report.json")?;
    let refused = run(&[Path::new("run"), Path::new("--resume"), &out])?;
    expect_says(&String::from_utf8_lossy(&refused.stderr), "Permission denied")
}

/// Half a run was made on a clock that was a lifetime ahead.
fn clock_set_back() -> Result<(), Failed> {
    let place = Place::new()?;
    let out = place.at("ahead");
    std::fs::create_dir(&out)?;
    let whole = place.at("whole");
    let ahead = |text: &str| text.replace("\"20", "\"21");
    let environment: Value = serde_json::from_slice(&std::fs::read(whole.join("environment.json"))?)?;
    let started = environment["started_at"].as_str().ok_or("no time of the start")?;
    let text =
        std::fs::read_to_string(whole.join("environment.json"))?.replace(started, &started.replacen("20", "21", 1));
    std::fs::write(out.join("environment.json"), text)?;
    std::fs::copy(whole.join("spec.yaml"), out.join("spec.yaml"))?;
    let samples = std::fs::read_to_string(whole.join("samples.jsonl"))?;
    let half = samples.lines().count() / 2;
    let lines: Vec<String> =
        samples.lines().take(half).map(|line| line.replacen("\"at\":\"20", "\"at\":\"21", 1)).collect();
    std::fs::write(out.join("samples.jsonl"), relinked(&out, &lines)?)?;
    std::fs::write(out.join("events.jsonl"), ahead(&std::fs::read_to_string(whole.join("events.jsonl"))?))?;
    place.goes_on(&out)?;
    expect_exit(&qa().arg("verify").arg(&out).output()?, 0).map(drop)
}

fn start(spec: &Path, out: &Path) -> Result<Child, Failed> {
    Ok(qa().arg("run").arg(spec).arg("--out").arg(out).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?)
}

fn hundred_runs() -> Result<(), Failed> {
    let place = Place::new()?;
    let outs: Vec<PathBuf> = (0..RUNS).map(|n| place.at(&format!("run-{n}"))).collect();
    let running: Vec<Child> = outs.iter().map(|out| start(&place.at("spec.yaml"), out)).collect::<Result<_, _>>()?;
    for (child, out) in running.into_iter().zip(&outs) {
        expect_exit(&child.wait_with_output()?, 0)?;
        if claims(out)? != place.whole {
            return Err(format!("{} came to something else", out.display()).into());
        }
    }
    Ok(())
}

fn rivals() -> Result<(), Failed> {
    let place = Place::new()?;
    let out = place.at("wanted");
    let running = (0..RIVALS).map(|_| start(&place.at("spec.yaml"), &out)).collect::<Result<Vec<_>, _>>()?;
    let mut won = 0;
    for child in running {
        let output = child.wait_with_output()?;
        if output.status.code() == Some(0) {
            won += 1;
            continue;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        expect_exit(&output, 74)?;
        if !said.contains("another qa is writing") && !said.contains("holds the samples of a run") {
            return Err(said.into());
        }
    }
    if won == 1 && claims(&out)? == place.whole { Ok(()) } else { Err(format!("{won} of {RIVALS} runs won").into()) }
}

/// While one run computes on a card, another does not begin, and says who has it.
fn one_card() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let spec = |name: &str, entry: &str| -> Result<PathBuf, Failed> {
        let path = dir.path().join(name);
        let text = format!(
            "
apiVersion: qa/v1
name: card
workloads: {{ decode: {{ prompt_tokens: 1, generate_tokens: 4, ignore_eos: true }} }}
arms: {{ arm: {{ backend: fake, real_time: true, device: {{ kind: gpu, name: Card, uuid: GPU-of-two-runs }} }} }}
sampling: {{ blocks: 2, iterations: 5, warmup: 0 }}
acceptance:
  - {{ id: CARD, title: t, {entry} }}
"
        );
        std::fs::write(&path, text)?;
        Ok(path)
    };
    let long = spec("long.yaml", "soak: { of: arm, duration_s: 60, run_s: 60 }")?;
    let short = spec("short.yaml", "require: { metric: decode_rate, of: arm, at_least: 1 }")?;
    let cache = dir.path().join("cache");
    let run = |spec: &Path, out: &str| {
        let mut command = qa();
        command.env("XDG_CACHE_HOME", &cache).arg("run").arg(spec).arg("--out").arg(dir.path().join(out));
        command
    };
    let mut first = run(&long, "first").stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let samples = dir.path().join("first/samples.jsonl");
    while !std::fs::read_to_string(&samples).is_ok_and(|text| text.contains("sample")) {
        if first.try_wait()?.is_some() {
            return Err("the first run ended early".into());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let second = run(&short, "second").output();
    first.kill()?;
    first.wait()?;
    let said = expect_exit(&second?, 13)?.split_whitespace().collect::<Vec<_>>().join(" ");
    expect_says(&said, &format!("Another run of qa (process {}, since", first.id()))?;
    expect_says(&said, "holds the card GPU-of-two-runs")?;
    // However the first ended, the card is free.
    expect_exit(&run(&short, "third").output()?, 0).map(drop)
}
