//! What an earlier run says of time and noise.

use crate::run::read::RunData;
use crate::samples::{Evidence, Phase, ProcessKey};
use crate::stats::summary;
use crate::verdict::{Lane, Observed};
use qa_protocol::Metric;
use std::collections::BTreeMap;

/// Fewer pairs say next to nothing of how much pairs scatter.
const PAIRS_AT_LEAST: usize = 3;

/// An earlier run, as far as a forecast needs it.
#[derive(Debug)]
pub struct Earlier<'a> {
    observed: Observed<'a>,
    /// Mean seconds of a process, by workload and arm.
    seconds: BTreeMap<(String, String), f64>,
}

impl<'a> Earlier<'a> {
    /// Of a run's records.
    pub fn new(data: &'a RunData) -> Self {
        Self { observed: Observed::new(&data.spec, &data.records), seconds: seconds(data) }
    }

    /// How long a process of an arm took, in seconds.
    pub fn seconds(&self, workload: &str, arm: &str) -> Option<f64> {
        self.seconds.get(&(workload.to_owned(), arm.to_owned())).copied()
    }

    /// How the log of a metric scattered: between the pairs of two lanes, or between the processes of one. Nothing with
    /// fewer than three.
    pub fn log_sd(&self, metric: Metric, of: Lane<'_>, over: Option<Lane<'_>>) -> Option<f64> {
        let values = |lane: Lane<'_>| -> BTreeMap<u32, f64> {
            let processes = self.observed.processes(lane).iter();
            processes.filter_map(|p| Some((p.key.block, p.value(metric)?.ln()))).collect()
        };
        let mut logs = values(of);
        if let Some(over) = over {
            let others = values(over);
            logs = logs.into_iter().filter_map(|(block, y)| Some((block, y - others.get(&block)?))).collect();
        }
        let logs: Vec<f64> = logs.into_values().collect();
        if logs.len() < PAIRS_AT_LEAST {
            return None;
        }
        summary::sd(&logs).ok()
    }
}

/// A process lasts from the record before its own to its last one.
fn seconds(data: &RunData) -> BTreeMap<(String, String), f64> {
    let mut spans: BTreeMap<&ProcessKey, (jiff::Timestamp, jiff::Timestamp)> = BTreeMap::new();
    let mut previous: Option<jiff::Timestamp> = None;
    for record in &data.records {
        let Ok(at) = record.at.parse::<jiff::Timestamp>() else { continue };
        match &record.evidence {
            Evidence::Process { process, .. } if process.phase == Phase::Measure => {
                // What came before the first is the harness's own preparation.
                if let Some(begun) = previous {
                    spans.insert(process, (begun, at));
                }
            }
            Evidence::Sample { process, .. } | Evidence::Rows { process, .. } => {
                if let Some(span) = spans.get_mut(process) {
                    span.1 = at;
                }
            }
            _ => {}
        }
        previous = Some(at);
    }
    let mut sums: BTreeMap<(String, String), (f64, u32)> = BTreeMap::new();
    for (key, (begun, ended)) in spans {
        let sum = sums.entry((key.workload.clone(), key.arm.clone())).or_default();
        *sum = (sum.0 + ended.duration_since(begun).as_secs_f64(), sum.1 + 1);
    }
    sums.into_iter().map(|(lane, (sum, count))| (lane, sum / f64::from(count))).collect()
}
