//! Runs on a real Slurm of this machine: complete evidence or none, whatever happens to nodes, jobs and `qa` itself.

mod cluster;
mod trouble;

use crate::support::{expect_exit, expect_says, qa, report, trial_with};
use cluster::{Cluster, Pair};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Every kind of step that a cluster is given; one arm crashes once, and one refuses.
const SPEC: &str = r"
apiVersion: qa/v1
name: fleet
workloads:
  decode: { prompt_tokens: 8, generate_tokens: 16, ignore_eos: true }
arms:
  fast:
    backend: fake
    decode_rate: 150
    noise: { seed: 5, process_log_sd: 0.02, iteration_log_sd: 0.01 }
    faults: [{ kind: crash, exit: 3, at: run, after: 1, blocks: [1], attempts: [0] }]
    profile: { decode_tokens: 2, witness: { launches: 4 }, confirmation: { unconfirmed: { reason: No profiler. } } }
  slow: { backend: fake, decode_rate: 100, noise: { seed: 6, process_log_sd: 0.02, iteration_log_sd: 0.01 } }
  refused: { backend: fake, faults: [{ kind: blocked, at: prepare, message: It needs what is not here. }] }
sampling: { blocks: { looks: [3, 6] }, iterations: 3, warmup: 1 }
checkpoints:
  - { id: WITNESS, title: t, required: false, witness: { arm: fast, launches_per_token: { at_least: 1 } } }
acceptance:
  - { id: FASTER, title: t, require: { metric: decode_rate, of: fast, over: slow, at_least: 1.25 } }
  - { id: REFUSED, title: t, require: { metric: decode_rate, of: refused, over: slow, at_least: 1 } }
  - { id: TEXT, title: t, correct: { arm: fast, against: slow, tokens: 64, context: 32 } }
  - { id: LONG, title: t, soak: { of: slow, duration_s: 1, run_s: 1 } }
  - { id: PROGRAM, title: t, program: { argv: ['true'] } }
";

/// Two arms and nothing else.
const PLAIN: &str = r"
apiVersion: qa/v1
name: plain
workloads:
  decode: { prompt_tokens: 4, generate_tokens: 8, ignore_eos: true }
arms:
  fast: { backend: fake, decode_rate: 150, load_ms: LOAD, real_time: true, noise: { seed: 5, process_log_sd: 0.02 } }
  slow: { backend: fake, decode_rate: 100, load_ms: LOAD, real_time: true, noise: { seed: 6, process_log_sd: 0.02 } }
sampling: { blocks: 4, iterations: 2, warmup: 0 }
acceptance:
  - { id: FASTER, title: t, require: { metric: decode_rate, of: fast, over: slow, at_least: 1.25 } }
";

type Test = fn(Pair<'_>) -> Result<(), Failed>;

/// What must hold on a cluster, each on two nodes of its own.
const TESTS: [(&str, Test); 2] = [
    ("the same specification says the same as on one machine", same_as_local),
    ("a claim holds on each kind of card, or not at all", per_model),
];

/// The trial. Its tests wait for Slurm and not for a processor, so all of them run beside each other; `QA_SLURM_TEST` is a
/// part of the name of those that are to run.
pub fn trials() -> Vec<Trial> {
    // Where everything is to be tested, what is missing is a failure.
    let must = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    let needed = (cluster::installed() || must).then_some(());
    vec![trial_with("slurm::complete_or_absent", needed, "install slurmctld, slurmd, slurm-client, munge", |()| all())]
}

fn all() -> Result<(), Failed> {
    let chosen = std::env::var("QA_SLURM_TEST").unwrap_or_default();
    let tests = TESTS.into_iter().chain(trouble::TESTS).filter(|(name, _)| name.contains(&chosen));
    let tests: Vec<(&str, Test)> = tests.collect();
    let cluster = Cluster::start(tests.len())?;
    let failed: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = tests
            .into_iter()
            .enumerate()
            .map(|(number, (name, test))| {
                let pair = cluster.pair(number);
                scope.spawn(move || {
                    let begun = Instant::now();
                    let failed = test(pair).err();
                    println!("{:.1} s: {name}", begun.elapsed().as_secs_f64());
                    failed.map(|failed| format!("{name}: {}", failed.message().unwrap_or_default()))
                })
            })
            .collect();
        running.into_iter().filter_map(|test| test.join().unwrap_or(Some("a test panicked".into()))).collect()
    });
    drop(cluster);
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

/// A specification, a configuration, and `qa run` on a pair of nodes.
struct Job<'a> {
    pair: Pair<'a>,
    dir: tempfile::TempDir,
    config: PathBuf,
}

impl<'a> Job<'a> {
    /// `configuration` are more lines of it.
    fn new(pair: Pair<'a>, spec: &str, configuration: &str) -> Result<Self, Failed> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("spec.yaml"), spec)?;
        let config = pair.configuration(dir.path(), configuration)?;
        Ok(Self { pair, dir, config })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn out(&self) -> PathBuf {
        self.path("out")
    }

    /// `qa`, which knows the cluster.
    fn qa(&self) -> Command {
        let mut command = qa();
        self.pair.cluster.tell(&mut command).env("QA_CONFIG", &self.config);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self) -> Command {
        let mut command = self.qa();
        command.arg("run").arg(self.path("spec.yaml")).arg("--out").arg(self.out());
        command.args(["--trust", "--executor", "slurm"]);
        command
    }

    fn resume(&self) -> Command {
        let mut command = self.qa();
        command.args(["run", "--trust", "--resume"]).arg(self.out());
        command
    }

    /// The jobs that were submitted, by the run's own ledger.
    fn ledger(&self, event: &str) -> Result<Vec<Value>, Failed> {
        lines(&self.out().join("slurm/jobs.jsonl"), event)
    }

    fn events(&self, event: &str) -> Result<Vec<Value>, Failed> {
        lines(&self.out().join("events.jsonl"), event)
    }

    /// The folders of attempts that have begun, by name.
    fn attempts(&self) -> Result<Vec<String>, Failed> {
        let mut found = Vec::new();
        for job in std::fs::read_dir(self.out().join("slurm"))?.flatten().filter(|entry| entry.path().is_dir()) {
            let inside =
                std::fs::read_dir(job.path())?.flatten().filter(|entry| entry.path().join("samples.jsonl").exists());
            found.extend(inside.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        }
        Ok(found)
    }

    /// The run is whole: every block is there once, its arms on one node, and the evidence is what it says.
    fn complete(&self, blocks: u64) -> Result<(), Failed> {
        let samples = std::fs::read_to_string(self.out().join("samples.jsonl"))?;
        let records: Vec<Value> = samples.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let whole = |block: u64| {
            records.iter().filter(|r| r["kind"] == "block" && r["block"] == block && r["complete"] == true).count()
        };
        if let Some(block) = (0..blocks).find(|block| whole(*block) != 1) {
            return Err(format!("block {block} is whole {} times", whole(block)).into());
        }
        for block in 0..blocks {
            let places: Vec<&Value> = records
                .iter()
                .filter(|r| {
                    r["kind"] == "process" && r["process"]["phase"] == "measure" && r["process"]["block"] == block
                })
                .map(|r| &r["place"]["allocation"])
                .collect();
            let attempts: Vec<&Value> = places.iter().map(|place| &place["job"]).collect();
            if places.is_empty() || places.iter().any(|place| place["node"].is_null()) {
                return Err(format!("block {block} does not say where it ran: {attempts:?}").into());
            }
        }
        let pack = self.path("packed.qa.tar.gz");
        let packed = self.qa().arg("pack").arg(self.out()).arg("--out").arg(&pack).output()?;
        expect_exit(&packed, 0)?;
        let verified = self.qa().arg("verify").arg(&pack).output()?;
        expect_exit(&verified, 0).map(drop)
    }
}

/// What no node and no time has a part in.
fn judged(dir: &Path) -> Result<Value, Failed> {
    let report = report(dir)?;
    Ok(serde_json::json!([report["headline"], without_times(&report["entries"])]))
}

/// Which arms ran in which order in every block, and what became of every claim: what is the same wherever a run is, when its
/// numbers are of a real clock.
fn planned_and_judged(dir: &Path) -> Result<Value, Failed> {
    let samples = std::fs::read_to_string(dir.join("samples.jsonl"))?;
    let mut order = Vec::new();
    for line in samples.lines() {
        let record: Value = serde_json::from_str(line)?;
        let key = &record["process"];
        if record["kind"] == "process" && key["phase"] == "measure" {
            order.push((key["block"].as_u64(), key["place"].as_u64(), key["arm"].as_str().map(str::to_owned)));
        }
    }
    order.sort();
    let report = report(dir)?;
    let entries = report["entries"].as_array().ok_or("no entries")?;
    let verdicts: Vec<Value> = entries.iter().map(|entry| serde_json::json!([entry["id"], entry["verdict"]])).collect();
    if order.is_empty() || verdicts.is_empty() {
        return Err("nothing was planned, or nothing judged".into());
    }
    Ok(serde_json::json!({ "order": order, "verdicts": verdicts }))
}

/// Lines of a file about one kind of event.
fn lines(path: &Path, event: &str) -> Result<Vec<Value>, Failed> {
    let text = std::fs::read_to_string(path)?;
    let all: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok(all.into_iter().filter(|line| line["event"] == event).collect())
}

/// Without what a clock of this machine said.
fn without_times(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let timeless = map.iter().filter(|(key, _)| !["rerun", "facts"].contains(&key.as_str()));
            Value::Object(timeless.map(|(key, value)| (key.clone(), without_times(value))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(without_times).collect()),
        other => other.clone(),
    }
}

/// Two nodes with two kinds of card, on one of which the gain is smaller.
fn per_model(pair: Pair<'_>) -> Result<(), Failed> {
    let nodes = pair.nodes();
    let machine = |node: usize, factor: f64| {
        let (value, card) = (&nodes[node], ["Large", "Small"][node]);
        format!(
            "{{ variable: SLURMD_NODENAME, value: {value}, factor: {factor}, device: {{ kind: simulated, name: {card}, uuid: GPU-{node}, driver: '1' }} }}"
        )
    };
    let spec = format!(
        "
apiVersion: qa/v1
name: kinds
workloads: {{ decode: {{ prompt_tokens: 4, generate_tokens: 8, ignore_eos: true }} }}
arms:
  fast: {{ backend: fake, decode_rate: 150, machines: [{}, {}], noise: {{ seed: 5, process_log_sd: 0.01 }} }}
  slow: {{ backend: fake, decode_rate: 100, machines: [{}, {}], noise: {{ seed: 6, process_log_sd: 0.01 }} }}
sampling: {{ blocks: 12, iterations: 1, warmup: 0 }}
acceptance:
  - {{ id: ALL, title: t, require: {{ metric: decode_rate, of: fast, over: slow, at_least: 1.2 }} }}
  - {{ id: EACH, title: t, require: {{ metric: decode_rate, of: fast, over: slow, at_least: 1.2, per: gpu_model }} }}
",
        machine(0, 2.0),
        machine(1, 0.75),
        machine(0, 2.0),
        machine(1, 1.0),
    );
    let job = Job::new(pair, &spec, "")?;
    // On the small card the gain is 1.125: it fails there, whatever the two are together.
    let ran = expect_exit(&job.run().output()?, 10)?;
    let report = report(&job.out())?;
    let entry = |id: &str| report["entries"].as_array()?.iter().find(|entry| entry["id"] == id);
    let facts = entry("ALL").and_then(|all| all["claims"][0]["facts"].as_array()).ok_or("ALL has no facts")?;
    let names: Vec<&str> = facts.iter().filter_map(|fact| fact["name"].as_str()).collect();
    if !matches!(names[..], [a, b, "between these places"] if a.starts_with("on GPU-0 of ") && b.starts_with("on GPU-1 of "))
    {
        return Err(format!("what each card says is not beside what all say: {facts:?}").into());
    }
    let claims = entry("EACH").and_then(|entry| entry["claims"].as_array()).ok_or("EACH has no claims")?;
    let said: Vec<(&str, &str)> = claims
        .iter()
        .map(|c| (c["words"].as_str().unwrap_or_default(), c["verdict"].as_str().unwrap_or_default()))
        .collect();
    let as_expected = matches!(said.as_slice(), [(large, "PASS"), (small, "FAIL")] if large.ends_with("on Large") && small.ends_with("on Small"));
    let pairs: usize = claims.iter().filter_map(|c| c["comparison"]["pairs"].as_array()).map(Vec::len).sum();
    if !as_expected || pairs != 12 {
        return Err(format!("{said:?}, {pairs} pairs\n{ran}").into());
    }
    expect_says(&ran, "The pairs differ between GPU-0 of")?;
    let places = report["places"].as_array().ok_or("no places")?;
    let blocks: usize = places.iter().filter_map(|place| place["blocks"].as_array()).map(Vec::len).sum();
    if places.len() == 2 && blocks == 12 { Ok(()) } else { Err(format!("{places:?}").into()) }
}

/// The fake's numbers are a function of arm, block and attempt, so a report is the same to the last digit.
fn same_as_local(pair: Pair<'_>) -> Result<(), Failed> {
    let job = Job::new(pair, SPEC, "")?;
    let local = job.path("local");
    let here = job.qa().args(["run", "--trust"]).arg(job.path("spec.yaml")).arg("--out").arg(&local).output()?;
    expect_exit(&here, 13)?;
    let there = job.run().output()?;
    let said = expect_exit(&there, 13)?;
    expect_says(&said, "It needs what is not here")?;
    let (expected, found) = (judged(&local)?, judged(&job.out())?);
    if expected != found {
        return Err(format!("here {expected:#}\nand there {found:#}").into());
    }
    job.complete(3)?;
    let again = job.qa().arg("report").arg(job.out()).output()?;
    let rebuilt = report(&job.out())?;
    expect_exit(&again, 13)?;
    if report(&job.out())? != rebuilt {
        return Err("the report is another one when it is made again".into());
    }
    Ok(())
}
