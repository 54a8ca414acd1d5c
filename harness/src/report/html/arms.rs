//! What was measured of each arm.

use super::differences;
use crate::report::model::{ArmSummary, Report};
use crate::report::svg::series;
use crate::report::{number, phrase};
use serde::Serialize;
use std::collections::BTreeMap;

/// An arm's part of the page.
#[derive(Serialize)]
pub struct Arm {
    anchor: String,
    name: String,
    backend: String,
    engine: String,
    device: String,
    model: String,
    cold_start: Option<String>,
    rows: Vec<Values>,
    resolved: Vec<[String; 2]>,
    build: Vec<[String; 2]>,
    gpu: Vec<[String; 2]>,
    lost: Vec<String>,
    series: Option<series::Plot>,
    series_title: String,
    series_description: String,
    /// One row a block: its number, counted from 1, and its iterations' values.
    series_rows: Vec<(u32, Vec<String>)>,
}

#[derive(Serialize)]
struct Values {
    workload: String,
    metric: String,
    median: String,
    mean: String,
    sd: String,
    processes: u32,
    iterations: u32,
    output: String,
}

/// Every arm, in the report's order.
pub fn all(report: &Report) -> Vec<Arm> {
    report.arms.iter().enumerate().map(|(index, arm)| Arm::of(arm, index)).collect()
}

impl Arm {
    fn of(arm: &ArmSummary, index: usize) -> Self {
        let mut series_rows: Vec<(u32, Vec<String>)> = Vec::new();
        for point in &arm.series {
            match series_rows.last_mut() {
                Some((block, values)) if *block == point.block + 1 => values.push(number::value(point.value)),
                _ => series_rows.push((point.block + 1, vec![number::value(point.value)])),
            }
        }
        Self {
            anchor: format!("arm-{index}"),
            name: arm.arm.clone(),
            backend: arm.backend.clone(),
            engine: arm.engine.clone(),
            device: arm.device.clone(),
            model: arm.model.clone(),
            cold_start: arm.load_ms.map(|ms| phrase::with_unit(&number::value(ms), "ms")),
            rows: rows(arm),
            resolved: pairs(&arm.resolved),
            build: pairs(&arm.build),
            gpu: arm.gpu.iter().map(|fact| [fact.name.clone(), fact.value.clone()]).collect(),
            lost: arm.lost.clone(),
            series: series::plot(&arm.series, arm.series_each),
            series_title: series_title(arm),
            series_description: format!(
                "{} in {}, in the order of running{}.",
                phrase::count(arm.series.len(), "timed iteration"),
                phrase::count(series_rows.len(), "block"),
                if arm.series_each > 1 { format!(": one of every {}", arm.series_each) } else { String::new() }
            ),
            series_rows,
        }
    }
}

/// The metric of the series, which is the decode rate, or the first metric of an arm without one.
fn series_title(arm: &ArmSummary) -> String {
    let row = arm.rows.iter().find(|row| row.metric == "decode_rate").or(arm.rows.first());
    row.map_or_else(String::new, |row| format!("{}, {}", phrase::metric(&row.metric), row.unit))
}

fn rows(arm: &ArmSummary) -> Vec<Values> {
    let row = |row: &crate::report::model::ArmRow| {
        let print = |x: f64| phrase::with_unit(&number::value(x), &row.unit);
        Values {
            workload: row.workload.clone(),
            metric: phrase::metric(&row.metric),
            median: print(row.values.median),
            mean: print(row.values.mean),
            sd: phrase::with_unit(&number::short(row.values.sd), &row.unit),
            processes: row.values.processes,
            iterations: row.values.iterations,
            output: row.values.output.clone(),
        }
    };
    arm.rows.iter().map(row).collect()
}

fn pairs(map: &BTreeMap<String, String>) -> Vec<[String; 2]> {
    map.iter().map(|(name, value)| [name.clone(), differences::words(value)]).collect()
}
