//! What was measured, arm by arm.

use super::compare::arm_values;
use super::gates::Run;
use super::observed::{Lane, Process};
use crate::metrics::{definition, of_process};
use crate::report::model::{ArmRow, ArmSummary, SeriesPoint};
use crate::stats::summary;
use qa_protocol::Metric;

/// Most iterations of an arm that a report lists one by one; of more, every so many-th is.
const MOST_POINTS: usize = 10_000;

/// One summary an arm of the specification, measured or not.
pub fn summaries(run: Run<'_>) -> Vec<ArmSummary> {
    run.spec.arms.keys().map(|arm| summary_of(run, arm)).collect()
}

fn summary_of(run: Run<'_>, arm: &str) -> ArmSummary {
    let lanes: Vec<(Lane<'_>, &[Process<'_>])> =
        run.observed.lanes_of_arm(arm).filter(|(lane, _)| lane.side == 0).map(|(l, p)| (*l, p)).collect();
    let all: Vec<&Process<'_>> = lanes.iter().flat_map(|(_, processes)| processes.iter()).collect();
    let first = all.first();
    let loads: Vec<f64> = all.iter().filter_map(|p| p.value(Metric::LoadTime)).collect();
    let metric = Metric::ALL.into_iter().find(|m| all.iter().any(|p| p.value(*m).is_some()));
    let each = all.iter().map(|p| p.timed.len()).sum::<usize>().div_ceil(MOST_POINTS).max(1);
    ArmSummary {
        arm: arm.into(),
        backend: run.arm(arm).map(|a| backend_name(a.backend)).unwrap_or_default(),
        engine: first.map_or("not measured".into(), |p| format!("{} {}", p.hello.name, p.hello.version)),
        device: first.map_or("none".into(), |p| p.prepared.device.name.clone()),
        model: model_words(run, arm),
        resolved: first
            .map(|p| p.prepared.resolved.iter().map(|(k, v)| (k.clone(), plain(v))).collect())
            .unwrap_or_default(),
        build: first.map(|p| p.hello.build.clone()).unwrap_or_default(),
        rows: lanes.iter().flat_map(|(lane, _)| rows(run, *lane)).collect(),
        load_ms: summary::median(&loads).ok(),
        gpu: super::gpu::summary(&all),
        lost: run
            .observed
            .losses_of_arm(arm)
            .map(|(key, loss)| format!("block {}, attempt {}: {}", key.block + 1, key.attempt + 1, loss.message))
            .collect(),
        series: metric.map(|m| series(&all, m, each)).unwrap_or_default(),
        series_each: each as u32,
    }
}

fn backend_name(backend: crate::spec::Backend) -> String {
    serde_json::to_value(backend).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn model_words(run: Run<'_>, arm: &str) -> String {
    let Some(name) = run.arm(arm).and_then(|a| a.model.as_deref()) else { return "none".into() };
    match run.environment.models.get(name) {
        Some(file) if file.problem.is_none() => {
            format!("{name} ({}, {}, sha256 {:.12})", file.format, file.source, file.sha256)
        }
        _ => format!("{name} (not here)"),
    }
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn rows(run: Run<'_>, lane: Lane<'_>) -> Vec<ArmRow> {
    Metric::ALL
        .into_iter()
        .filter(|metric| *metric != Metric::LoadTime)
        .filter_map(|metric| {
            Some(ArmRow {
                workload: lane.workload.into(),
                metric: metric.name().into(),
                unit: definition(metric).unit.into(),
                values: arm_values(run, lane, metric).ok()?,
            })
        })
        .collect()
}

/// One of so many iterations, over all processes.
fn series(processes: &[&Process<'_>], metric: Metric, each: usize) -> Vec<SeriesPoint> {
    let iterations = processes.iter().flat_map(|p| (0..p.timed.len()).map(move |i| (p, i)));
    let point = |(p, i): (&&Process<'_>, usize)| {
        let value = of_process(metric, p.timed.part(i..i + 1), p.prepared.load_ns, p.load)?;
        Some(SeriesPoint { block: p.key.block, iteration: i as u32, value })
    };
    iterations.step_by(each).filter_map(point).collect()
}
