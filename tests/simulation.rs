//! Error rates of the pipeline at the margin, from run to report on a simulated clock, and through real processes.

use crate::support::{qa, report, trial};
use libtest_mimic::{Failed, Trial};
use qa::report::model::Verdict;
use qa::selftest::simulate::{DRIFTING, Scene, faster};

const RUNS: u32 = 1_000;
/// Of the plan with looks, whose runs take longer; `qa selftest --full` has 4,000.
const RUNS_WITH_LOOKS: u32 = 500;
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
fn at_margin(blocks: &str) -> Scene {
    Scene { blocks: blocks.into(), ..Scene::new([125.0, 100.0], DRIFTING, faster("at_least: 1.25")) }
}

/// The share of runs with a verdict, and that no run ends in anything but a statistical verdict.
fn false_passes(blocks: &str, runs: u32) -> Result<f64, Failed> {
    let scene = at_margin(blocks);
    let mut passes = 0;
    for seed in 0..runs {
        let entry = scene.run(seed)?.1.entries.remove(0);
        match entry.verdict {
            Verdict::Pass => passes += 1,
            Verdict::Fail | Verdict::Inconclusive => {}
            other => return Err(format!("seed {seed}: {other:?}: {}", entry.reason).into()),
        }
    }
    Ok(f64::from(passes) / f64::from(runs))
}

fn at_most_nominal(rate: f64, runs: u32) -> Result<(), Failed> {
    // Three standard errors of a proportion: one false alarm of this test in seven hundred.
    let limit = NOMINAL + 3.0 * (NOMINAL * (1.0 - NOMINAL) / f64::from(runs)).sqrt();
    println!("false passes: {:.1} %, allowed {:.1} %", 100.0 * rate, 100.0 * limit);
    if rate > limit {
        return Err(format!("{rate} of the runs passed falsely, allowed {limit}").into());
    }
    // A rule that never passes would be safe and useless.
    if rate == 0.0 { Err("no run passed: the rule cannot decide".into()) } else { Ok(()) }
}

fn fixed() -> Result<(), Failed> {
    at_most_nominal(false_passes("10", RUNS)?, RUNS)
}

fn looks() -> Result<(), Failed> {
    at_most_nominal(false_passes("{ looks: [6, 10, 16] }", RUNS_WITH_LOOKS)?, RUNS_WITH_LOOKS)
}

fn processes() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let scene = at_margin("4");
    for seed in 0..IN_PROCESSES {
        let path = dir.path().join(format!("{seed}.yaml"));
        std::fs::write(&path, scene.yaml(seed))?;
        let out = dir.path().join(format!("run-{seed}"));
        let output = qa().arg("run").arg(&path).arg("--out").arg(&out).output()?;
        let (_, simulated) = scene.run(seed)?;
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
