//! Ablations end to end: a resumed run, the page, and how often the intervals hold.

use crate::support::{expect_exit, expect_says, qa, report, trial};
use libtest_mimic::{Failed, Trial};
use qa::run::{in_memory, simulated::SimulatedLauncher};
use qa::samples::Environment;
use qa::spec::read_resolved;
use std::path::Path;

const SPEC: &str = "specs/selftest/ablation-overlaps.yaml";
const RUNS: u32 = 200;

/// The trials.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("ablation::a_run_that_was_cut_off_goes_on_to_the_same_report", resumed),
        trial("ablation::the_plan_lists_the_arms_that_come_from_it", planned),
        trial("ablation::all_shapley_values_of_a_run_hold_as_often_as_they_say", coverage),
    ]
}

fn resumed() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("run");
    expect_exit(&qa().args(["run", SPEC, "--out"]).arg(&out).output()?, 0)?;
    let whole = report(&out)?["entries"].clone();
    let shares = &whole[0]["claims"][0]["ablation"]["switches"];
    if shares.as_array().map(Vec::len) != Some(4) || !shares[0]["shapley"]["lower"].is_number() {
        return Err(format!("no Shapley values in {shares:#}").into());
    }
    for (file, phrase) in [("report.html", "Every combination"), ("report.md", "Shapley"), ("junit.xml", "Shapley")] {
        expect_says(&std::fs::read_to_string(out.join(file))?, phrase)?;
    }
    let samples = std::fs::read(out.join("samples.jsonl"))?;
    std::fs::write(out.join("samples.jsonl"), &samples[..samples.len() / 2])?;
    for file in ["report.json", "report.html", "report.md", "junit.xml"] {
        std::fs::remove_file(out.join(file))?;
    }
    expect_exit(&qa().args(["run", "--resume"]).arg(&out).output()?, 0)?;
    if report(&out)?["entries"] == whole { Ok(()) } else { Err("the resumed run reports something else".into()) }
}

fn planned() -> Result<(), Failed> {
    let stdout = expect_exit(&qa().args(["plan", SPEC]).output()?, 0)?;
    for phrase in [
        "6 blocks of 16 fresh processes",
        "plain+persistent+graph+streams+megakernel is asked for decode_rate",
        "decode_rate of each of 15 combinations over plain",
        "decode_rate by each of 4 switches (Shapley value)",
    ] {
        expect_says(&stdout, phrase)?;
    }
    Ok(())
}

/// Noise of processes and iterations, drift, and switches that overlap: from run to report on a simulated clock.
fn yaml(seed: u32) -> String {
    format!(
        "
apiVersion: qa/v1
name: coverage
workloads: {{ decode: {{ prompt_tokens: 4, generate_tokens: 8, ignore_eos: true }} }}
arms:
  plain:
    backend: fake
    noise: {{ seed: {seed}, process_log_sd: 0.015, iteration_log_sd: 0.006, autocorrelation: 0.7, drift_per_block: 0.004 }}
    effects:
      - {{ with: [a], factor: 1.3 }}
      - {{ with: [b], factor: 1.5 }}
      - {{ with: [a, b], factor: 0.7 }}
sampling: {{ blocks: 6, iterations: 4, warmup: 1, seed: {seed} }}
checkpoints:
  - {{ id: A, title: t, ablation: {{ metric: decode_rate, arm: plain, switches: [a, b, c] }} }}
"
    )
}

fn coverage() -> Result<(), Failed> {
    let truth = [1.3 * 0.7_f64.sqrt(), 1.5 * 0.7_f64.sqrt(), 1.0];
    let (mut values, mut combinations) = (0, 0);
    for seed in 0..RUNS {
        let spec = read_resolved(&yaml(seed), Path::new("coverage.yaml"))?;
        let records = in_memory(&spec, &SimulatedLauncher, &mut |_, _| false)?;
        let judged = qa::verdict::judge(&spec, "", &Environment::default(), &records);
        let found = judged.entries[0].claims[0].ablation.as_ref().ok_or("no ablation")?;
        let holds = |factor: Option<qa::report::model::Factor>, truth: f64| {
            factor.is_some_and(|f| (f.lower..=f.upper).contains(&truth))
        };
        values += u32::from(found.switches.iter().zip(truth).all(|(s, truth)| holds(s.shapley, truth)));
        let all = found.combinations.iter().filter(|c| c.on.contains(&true)).all(|c| {
            let alone = if c.on[0] { 1.3 } else { 1.0 } * if c.on[1] { 1.5 } else { 1.0 };
            holds(c.factor, if c.on[0] && c.on[1] { 0.7 * alone } else { alone })
        });
        combinations += u32::from(all);
    }
    // Together at 90 % (two one-sided bounds at 95 % each), less four standard errors.
    let least = (0.9 - 4.0 * (0.9 * 0.1 / f64::from(RUNS)).sqrt()) * f64::from(RUNS);
    if f64::from(values.min(combinations)) < least {
        return Err(format!("in {RUNS} runs all values held in {values}, all combinations in {combinations}").into());
    }
    Ok(())
}
