//! Claims about the run itself: its hardware, its inputs, its length.

use super::checks::{Checked, fact, fail, pass};
use super::gates::Run;
use super::observed::{Lane, Process};
use super::outcome::Outcome;
use super::words;
use crate::report::model::Verdict;
use crate::spec::{Fact, FactCheck, Program};
use crate::stats::summary;
use qa_protocol::Metric;
use std::collections::BTreeSet;

/// Facts about the run.
pub fn facts(run: Run<'_>, check: &FactCheck, workload: &str) -> Checked {
    let mut lanes: Vec<(Lane<'_>, &[Process<'_>])> = Vec::new();
    for arm in &check.arms {
        let lane = Lane { workload, arm, side: 0 };
        match run.measured(lane) {
            Ok(processes) => lanes.push((lane, processes)),
            Err(outcome) => return (outcome, Vec::new()),
        }
    }
    let all = || lanes.iter().flat_map(|(_, processes)| processes.iter());
    let distinct = |f: &dyn Fn(&Process<'_>) -> String| all().map(f).collect::<BTreeSet<_>>();
    match check.fact {
        Fact::WarmupExcluded => {
            let wanted = run.spec.sampling.warmup;
            let outcome = if wanted == 0 {
                fail("The specification asks for no warm-up.")
            } else if all().all(|p| p.timed.warmups == wanted) {
                pass(format!(
                    "Every process ran {}, and none of it entered a statistic.",
                    words::count(wanted as usize, "warm-up iteration")
                ))
            } else {
                fail(format!("Not every process ran its {}.", words::count(wanted as usize, "warm-up iteration")))
            };
            (outcome, Vec::new())
        }
        Fact::ColdStartReported => {
            let rows = lanes
                .iter()
                .map(|(lane, processes)| {
                    let loads: Vec<f64> = processes.iter().filter_map(|p| p.value(Metric::LoadTime)).collect();
                    let text = summary::median(&loads)
                        .map_or("none".into(), |m| format!("{} ms, median of {}", words::number(m), loads.len()));
                    fact(lane.arm, text)
                })
                .collect();
            let outcome = if all().all(|p| p.prepared.load_ns > 0) {
                pass("The load time of every process is recorded, outside the timed iterations.")
            } else {
                fail("A process reported no load time.")
            };
            (outcome, rows)
        }
        Fact::VersionsRecorded => {
            let mut rows = Vec::new();
            for (lane, processes) in &lanes {
                let engines: BTreeSet<String> =
                    processes.iter().map(|p| format!("{} {}", p.hello.name, p.hello.version)).collect();
                let resolved: BTreeSet<String> =
                    processes.iter().map(|p| serde_json::to_string(&p.prepared.resolved).unwrap_or_default()).collect();
                rows.push(fact(lane.arm, engines.iter().cloned().collect::<Vec<_>>().join(", ")));
                if engines.len() > 1 || resolved.len() > 1 {
                    return (fail(format!("{} changed its version or options during the run.", lane.arm)), rows);
                }
                if processes.iter().any(|p| p.hello.version.is_empty()) {
                    return (fail(format!("{} does not say its version.", lane.arm)), rows);
                }
            }
            (pass("Name, version and resolved options of every arm are recorded, and did not change."), rows)
        }
        Fact::SameInputs => {
            let files: BTreeSet<&str> =
                check.arms.iter().filter_map(|arm| run.model_of(arm)).map(|m| m.sha256.as_str()).collect();
            let prompts = distinct(&|p| p.timed.first().map_or(String::new(), |s| s.work.prompt_tokens.to_string()));
            let rows = vec![
                fact("model files", files.iter().map(|h| format!("{h:.12}")).collect::<Vec<_>>().join(", ")),
                fact("prompt tokens", prompts.iter().cloned().collect::<Vec<_>>().join(", ")),
            ];
            let outcome = if files.len() <= 1 && prompts.len() == 1 {
                pass("One model file by hash, and the same number of prompt tokens in every arm.")
            } else {
                fail("The arms did not get the same inputs.")
            };
            (outcome, rows)
        }
        Fact::SameHardware => {
            let device = |p: &Process<'_>| {
                let d = &p.prepared.device;
                format!("{}{}", d.name, d.uuid.as_ref().map_or(String::new(), |u| format!(" ({u})")))
            };
            let devices = distinct(&device);
            let blocks: BTreeSet<(u32, String)> = all().map(|p| (p.key.block, device(p))).collect();
            let each_its_own = blocks.iter().map(|(block, _)| block).collect::<BTreeSet<_>>().len() == blocks.len();
            let given = all().all(|p| p.place.is_some_and(|place| place.allocation.is_some() || place.card.is_some()));
            let rows = devices.iter().map(|d| fact("device", d.as_str())).collect();
            let outcome = if devices.len() == 1 {
                pass("Every process of every arm ran on one device of one host.")
            } else if each_its_own && given {
                pass(format!("The arms of every block ran on one device; the blocks on {}.", devices.len()))
            } else {
                fail(format!("The arms ran on {} devices.", devices.len()))
            };
            (outcome, rows)
        }
        Fact::ResultsValid => {
            let outcome = match run.schema_violation {
                None => pass("The results are valid against the published JSON schema."),
                Some(violation) => fail(format!("The results violate the published JSON schema: {violation}.")),
            };
            (outcome, Vec::new())
        }
    }
}

/// A program that must exit as said.
pub fn program(run: Run<'_>, entry: &str, check: &Program) -> Checked {
    let Some(ran) = run.observed.program(entry) else {
        return (Outcome::new(Verdict::Error, "The program was not run: the run is unfinished."), Vec::new());
    };
    let mut rows = vec![
        fact("program", check.argv.join(" ")),
        fact("exit status", ran.exit.map_or("none".into(), |e| e.to_string())),
        fact("seconds", words::number(ran.seconds)),
    ];
    rows.extend(ran.tail.iter().map(|line| fact("output", line.as_str())));
    let outcome = match (ran.exit, ran.problem) {
        (Some(exit), _) if exit == check.exit => pass(format!("Exited with {exit}.")),
        (Some(exit), _) => fail(format!("Exited with {exit}, not {}.", check.exit)),
        (None, problem) => Outcome::new(
            Verdict::Error,
            format!("The program did not end by itself: {}.", problem.unwrap_or("no reason given")),
        ),
    };
    (outcome, rows)
}
