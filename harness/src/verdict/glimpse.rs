//! Where claims stand while a run goes on: estimates and bounds so far, and no verdict, which is taken at a look only.

use super::compare::{self, Question};
use super::entry;
use super::gates::Run;
use crate::report::model::Estimand;
use crate::spec::Entry;

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

/// What an entry asks that can be followed, each with its label.
pub(super) fn questions<'a>(run: Run<'a>, entry: &'a Entry) -> impl Iterator<Item = (String, Question<'a>)> {
    let family = run.families.size(entry);
    let require = entry.require.as_ref().and_then(|require| entry::question_of_require(run, require, family));
    let gain = entry.gain.as_ref().map(|gain| entry::question_of_gain(run, gain, family));
    let labels = [entry.id.clone(), format!("{} gain", entry.id)];
    labels.into_iter().zip([require, gain]).filter_map(|(label, question)| Some((label, question?)))
}

/// Where a claim stands; nothing before it has a sample.
pub(super) fn of(run: Run<'_>, question: &Question<'_>, label: String) -> Option<Glimpse> {
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
