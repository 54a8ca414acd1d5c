//! Where claims stand while a run goes on: estimates and bounds so far, and no verdict, which is taken at a look only.

use super::compare::{self, Question};
use super::entry;
use super::gates::Run;
use super::observed::Observed;
use crate::report::model::Estimand;
use crate::samples::{Environment, Record};
use crate::spec::Spec;

/// A claim so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Glimpse {
    /// The entry, and the check where it is not `require`.
    pub label: String,
    /// Pairs, or processes, so far.
    pub samples: usize,
    /// The most that there will be.
    pub planned: usize,
    /// The estimate.
    pub estimate: f64,
    /// Lower and upper bound, at the confidence of the next look; from two samples on.
    pub bounds: Option<[f64; 2]>,
    /// Lower and upper margin, where there is one.
    pub margins: [Option<f64>; 2],
    /// Ratio or value.
    pub estimand: Estimand,
    /// Unit of a value.
    pub unit: &'static str,
}

/// Every claim about a workload that has samples, in the specification's order. Costs no more than a few means: nothing
/// runs beside it, but the next process waits for it.
pub fn so_far(spec: &Spec, environment: &Environment, records: &[Record], workload: &str) -> Vec<Glimpse> {
    let observed = Observed::new(records);
    let run = Run { spec, environment, observed: &observed, looking: true, schema_violation: None };
    let mut found = Vec::new();
    for (_, entry) in spec.entries() {
        let family = spec.family_size(entry);
        let require = entry.require.as_ref().and_then(|require| entry::question_of_require(run, require, family));
        let gain = entry.gain.as_ref().map(|gain| entry::question_of_gain(run, gain, family));
        let labels = [entry.id.clone(), format!("{} gain", entry.id)];
        for (question, label) in [require, gain].into_iter().zip(labels) {
            found.extend(question.filter(|q| q.of.workload == workload).and_then(|q| of(run, &q, label)));
        }
    }
    found
}

fn of(run: Run<'_>, question: &Question<'_>, label: String) -> Option<Glimpse> {
    let so_far = compare::so_far(run, question)?;
    let awaited = question.awaited();
    Some(Glimpse {
        label,
        samples: so_far.samples,
        planned: so_far.planned,
        estimate: so_far.estimate,
        bounds: so_far.bounds,
        margins: [awaited.margin_lower, awaited.margin_upper],
        estimand: awaited.estimand,
        unit: crate::metrics::definition(question.metric).unit,
    })
}
