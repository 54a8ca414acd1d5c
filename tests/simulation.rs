//! Error rates of the pipeline at the margin, from run to report on a simulated clock, and through real processes.

use crate::support::{qa, report, trial};
use libtest_mimic::{Failed, Trial};
use qa::report::model::Verdict;
use qa::run::{in_memory, simulated::SimulatedLauncher};
use qa::samples::Environment;
use qa::spec::{Spec, read_resolved};
use std::path::Path;

const RUNS: u32 = 1_000;
const IN_PROCESSES: u32 = 20;
const NOMINAL: f64 = 0.05;

/// The trials.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("simulation::at_the_margin_a_thousand_runs_pass_falsely_at_most_as_often_as_they_may", fixed),
        trial("simulation::declared_looks_do_not_raise_the_false_pass_rate", looks),
        trial("simulation::runs_through_real_processes_agree_with_the_simulated_clock", processes),
    ]
}

/// A true ratio of exactly 1.25 held against a margin of 1.25, with the noise of a real machine.
fn yaml(seed: u32, blocks: &str) -> String {
    let noise = "process_log_sd: 0.015, iteration_log_sd: 0.006, autocorrelation: 0.7, drift_per_block: 0.004";
    format!(
        "apiVersion: qa/v1
name: margin
workloads: {{ decode: {{ prompt_tokens: 4, generate_tokens: 8, ignore_eos: true }} }}
arms:
  fast: {{ backend: fake, decode_rate: 125, noise: {{ seed: {seed}, {noise} }} }}
  slow: {{ backend: fake, decode_rate: 100, noise: {{ seed: {seed}, {noise} }} }}
sampling: {{ blocks: {blocks}, iterations: 10, warmup: 1, seed: {seed} }}
acceptance:
  - {{ id: P, title: At the margin, require: {{ metric: decode_rate, of: fast, over: slow, at_least: 1.25 }} }}
"
    )
}

fn simulate(spec: &Spec) -> Result<qa::report::model::Report, Failed> {
    let environment = Environment::default();
    let records = in_memory(spec, &SimulatedLauncher, &mut |workload, records| {
        qa::verdict::decided(spec, &environment, records, workload)
    })?;
    Ok(qa::verdict::judge(spec, "", &environment, &records))
}

/// The share of runs with a verdict, and that no run ends in anything but a statistical verdict.
fn false_passes(blocks: &str) -> Result<f64, Failed> {
    let mut passes = 0;
    for seed in 0..RUNS {
        let spec = read_resolved(&yaml(seed, blocks), Path::new("margin.yaml"))?;
        let entry = simulate(&spec)?.entries.remove(0);
        match entry.verdict {
            Verdict::Pass => passes += 1,
            Verdict::Fail | Verdict::Inconclusive => {}
            other => return Err(format!("seed {seed}: {other:?}: {}", entry.reason).into()),
        }
    }
    Ok(f64::from(passes) / f64::from(RUNS))
}

fn at_most_nominal(rate: f64) -> Result<(), Failed> {
    // Three standard errors of a proportion: one false alarm of this test in seven hundred.
    let limit = NOMINAL + 3.0 * (NOMINAL * (1.0 - NOMINAL) / f64::from(RUNS)).sqrt();
    println!("false passes: {:.1} %, allowed {:.1} %", 100.0 * rate, 100.0 * limit);
    if rate > limit {
        return Err(format!("{rate} of the runs passed falsely, allowed {limit}").into());
    }
    // A rule that never passes would be safe and useless.
    if rate == 0.0 { Err("no run passed: the rule cannot decide".into()) } else { Ok(()) }
}

fn fixed() -> Result<(), Failed> {
    at_most_nominal(false_passes("10")?)
}

fn looks() -> Result<(), Failed> {
    at_most_nominal(false_passes("{ looks: [6, 10, 16] }")?)
}

fn processes() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    for seed in 0..IN_PROCESSES {
        let path = dir.path().join(format!("{seed}.yaml"));
        std::fs::write(&path, yaml(seed, "4"))?;
        let out = dir.path().join(format!("run-{seed}"));
        let output = qa().arg("run").arg(&path).arg("--out").arg(&out).output()?;
        let simulated = simulate(&read_resolved(&yaml(seed, "4"), Path::new("margin.yaml"))?)?;
        let code = i32::from(simulated.headline.exit_code);
        crate::support::expect_exit(&output, code)?;
        let found = report(&out)?["entries"][0]["claims"][0]["comparison"].clone();
        let expected = serde_json::to_value(&simulated.entries[0].claims[0].comparison)?;
        if found != expected {
            return Err(format!("seed {seed}: {found:#}\n--- simulated\n{expected:#}").into());
        }
    }
    Ok(())
}
