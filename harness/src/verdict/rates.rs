//! Every arm's rate against what bounds it: the bandwidth of its device, and the length of its context.

use super::gates::Run;
use super::observed::Lane;
use crate::metrics::definition;
use crate::report::model::{ArmRow, ArmSummary, Ceiling, Roofline, RooflinePoint, Sweep, SweepArm, SweepPoint};
use crate::spec::Workload;
use qa_protocol::{DeviceKind, Metric};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The roofline, from the arms' summaries; nothing where no device's bandwidth was measured.
pub fn roofline(run: Run<'_>, arms: &[ArmSummary]) -> Option<Roofline> {
    let bandwidths = bandwidths(run);
    if bandwidths.is_empty() {
        return None;
    }
    let mut decodes: HashMap<&str, usize> = HashMap::new();
    for row in arms.iter().flat_map(|arm| &arm.rows).filter(|row| row.metric == Metric::DecodeRate.name()) {
        *decodes.entry(&row.workload).or_default() += 1;
    }
    // The first of those with most arms.
    let workload =
        run.spec.workloads.keys().rev().max_by_key(|name| decodes.get(name.as_str()).copied().unwrap_or(0))?;
    let points: Vec<RooflinePoint> = arms
        .iter()
        .filter_map(|arm| {
            let rate = median(arm, workload, Metric::DecodeRate)?;
            let bytes_per_token = run.model_of(&arm.arm).map_or(0, |model| model.bytes_per_token);
            let bytes_per_s = rate * bytes_per_token as f64;
            let device = device(run, workload, &arm.arm);
            let ceiling = device.and_then(|device| bandwidths.get(&device)).map(|ceiling| ceiling.bytes_per_s as f64);
            let share = ceiling.map(|ceiling| bytes_per_s / ceiling);
            let point = RooflinePoint { arm: arm.arm.clone(), bytes_per_token, rate, bytes_per_s, share };
            (bytes_per_token > 0).then_some(point)
        })
        .collect();
    let ceilings = bandwidths.into_values().collect();
    (!points.is_empty()).then(|| Roofline { workload: workload.clone(), ceilings, points })
}

/// What tells devices apart, where an engine says.
type Device = String;

/// Read bandwidths by device, the median over the processes that measured it.
fn bandwidths(run: Run<'_>) -> BTreeMap<Device, Ceiling> {
    let mut found: BTreeMap<Device, (String, Vec<u64>)> = BTreeMap::new();
    for process in run.observed.lanes().flat_map(|(_, processes)| processes) {
        let device = &process.prepared.device;
        if let (Some(uuid), Some(bytes_per_s)) = (&device.uuid, device.read_bytes_per_s) {
            found.entry(uuid.clone()).or_insert_with(|| (device.name.clone(), Vec::new())).1.push(bytes_per_s);
        }
    }
    let middle = |mut all: Vec<u64>| {
        all.sort_unstable();
        all[all.len() / 2]
    };
    found.into_iter().map(|(uuid, (device, all))| (uuid, Ceiling { device, bytes_per_s: middle(all) })).collect()
}

/// The card that an arm ran on in a workload.
fn device(run: Run<'_>, workload: &str, arm: &str) -> Option<Device> {
    let process = run.observed.processes(Lane { workload, arm, side: 0 }).first()?;
    let device = &process.prepared.device;
    device.uuid.clone().filter(|_| device.kind == DeviceKind::Gpu)
}

fn median(arm: &ArmSummary, workload: &str, metric: Metric) -> Option<f64> {
    let row = arm.rows.iter().find(|row| row.workload == workload && row.metric == metric.name())?;
    Some(row.values.median)
}

/// Metrics over the length of the prompt, where arms were measured at two lengths or more.
pub fn sweeps(run: Run<'_>, arms: &[ArmSummary]) -> Vec<Sweep> {
    let mut groups: Vec<(&Workload, Vec<(&String, u32)>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (name, workload) in &run.spec.workloads {
        // What tells workloads apart but for the length of the prompt.
        let rest = format!("{:?}", Workload { prompt_tokens: 0, ..workload.clone() });
        let place = *places.entry(rest).or_insert(groups.len());
        if place == groups.len() {
            groups.push((workload, Vec::new()));
        }
        groups[place].1.push((name, workload.prompt_tokens));
    }
    let rows: Vec<Rows<'_>> = arms.iter().map(Rows::of).collect();
    let mut sweeps = Vec::new();
    for (workload, mut members) in groups {
        let lengths: BTreeSet<u32> = members.iter().map(|(_, length)| *length).collect();
        if lengths.len() < 2 {
            continue;
        }
        members.sort_by_key(|(_, length)| *length);
        let metrics: &[Metric] = if workload.generate_tokens > 1 {
            &[Metric::DecodeRate, Metric::TimeToFirstToken, Metric::PeakDeviceMemory]
        } else {
            &[Metric::PrefillRate, Metric::TimeToFirstToken, Metric::PeakDeviceMemory]
        };
        for metric in metrics {
            let arms: Vec<SweepArm> = rows.iter().filter_map(|arm| over_length(arm, &members, *metric)).collect();
            if !arms.is_empty() {
                sweeps.push(Sweep {
                    metric: metric.name().into(),
                    unit: definition(*metric).unit.into(),
                    direction: definition(*metric).direction,
                    generate_tokens: workload.generate_tokens,
                    arms,
                });
            }
        }
    }
    sweeps
}

/// An arm's rows by workload and metric.
struct Rows<'a>(&'a str, HashMap<(&'a str, &'a str), &'a ArmRow>);

impl<'a> Rows<'a> {
    fn of(arm: &'a ArmSummary) -> Self {
        Self(&arm.arm, arm.rows.iter().map(|row| ((row.workload.as_str(), row.metric.as_str()), row)).collect())
    }
}

fn over_length(arm: &Rows<'_>, members: &[(&String, u32)], metric: Metric) -> Option<SweepArm> {
    let point = |(workload, prompt_tokens): &(&String, u32)| {
        let row = arm.1.get(&(workload.as_str(), metric.name()))?;
        Some(SweepPoint {
            prompt_tokens: *prompt_tokens,
            workload: (*workload).clone(),
            median: row.values.median,
            sd: row.values.sd,
            processes: row.values.processes,
        })
    };
    let points: Vec<SweepPoint> = members.iter().filter_map(point).collect();
    (points.len() > 1).then(|| SweepArm { arm: arm.0.to_owned(), points })
}
