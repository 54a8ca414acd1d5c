//! What `qa stats` computes, and the layout of its JSON.

use super::Error;
use super::input::{Column, Dataset};
use crate::stats::StatsError;
use crate::stats::bootstrap::{Bootstrap, Options, Statistic, bootstrap};
use crate::stats::diagnostics::change::{ChangePoint, change_point};
use crate::stats::diagnostics::serial::lag1;
use crate::stats::effect::cohens_d;
use crate::stats::paired::{Bounds, Claim, Judgement, RatioJudgement, judge, judge_ratio, log_ratios, mean_bounds};
use crate::stats::power::{PairsNeeded, pairs_needed};
use crate::stats::rank::{MannWhitney, mann_whitney};
use crate::stats::sign_flip::{SignFlip, sign_flip};
use crate::stats::summary::{Summary, summarize};
use crate::stats::variance::{Components, components};
use serde::Serialize;

/// The power that "how many pairs would decide" asks for.
const POWER: f64 = 0.8;

/// The layout of the JSON, which changes with every change of a field's name or meaning.
const FORMAT: &str = "qa-stats/v1";

/// The output of `qa stats --json`: one object with `format`, `source`, `parameters` and `kind`, then that kind's fields.
/// A quantity that does not exist for these numbers is null, never absent and never NaN. Numbers carry the unit of the
/// file; logarithms are natural.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Analysis {
    /// "qa-stats/v1".
    pub(super) format: &'static str,
    /// The file, or "standard input".
    pub(super) source: String,
    /// What was asked.
    pub(super) parameters: Parameters,
    /// What was found.
    #[serde(flatten)]
    pub(super) result: Outcome,
}

/// The parameters of an analysis.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Parameters {
    /// Confidence of each one-sided bound, and of the two-sided bootstrap intervals.
    pub(super) confidence: f64,
    /// What the mean (for pairs, the ratio) is held against; null if nothing was given, which for pairs means 1.
    pub(super) margin: Option<f64>,
    /// The statistic of the bootstrap intervals.
    pub(super) statistic: Statistic,
    /// Seed of everything that resamples.
    pub(super) seed: u64,
    /// What starting and warming up a process costs, in iterations.
    pub(super) process_cost: f64,
}

/// The result, by the kind of data.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Outcome {
    /// `"kind": "sample"`.
    Sample(Box<Sample>),
    /// `"kind": "pairs"`.
    Pairs(Box<Pairs>),
    /// `"kind": "nested"`.
    Nested(Box<Nested>),
}

/// One sample, described.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Description {
    /// Name of the column, or number of the process.
    pub(super) name: String,
    /// n, mean, sd, quantiles and the like.
    pub(super) summary: Summary,
    /// Lag-1 autocorrelation; null without spread or for a single value.
    pub(super) lag1: Option<f64>,
}

/// One sample, analysed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Sample {
    /// The sample.
    pub(super) description: Description,
    /// t bounds of its mean; null for a single value.
    pub(super) bounds: Option<Bounds>,
    /// The claim that the mean is at least the margin; null without a margin or for a single value.
    pub(super) at_least: Option<Judgement>,
    /// Exact sign-flip test against the margin; null without a margin.
    pub(super) sign_flip: Option<SignFlip>,
    /// Bootstrap intervals; null for a single value.
    pub(super) bootstrap: Option<Bootstrap>,
}

/// Pairs (a, b), analysed through y = ln(a / b).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Pairs {
    /// The first column.
    pub(super) a: Description,
    /// The second column.
    pub(super) b: Description,
    /// y.
    pub(super) log_ratio: Description,
    /// The claim that a / b is at least the margin, with the t bounds of the ratio; null for a single pair.
    pub(super) at_least: Option<RatioJudgement>,
    /// How many pairs would decide that claim with power 0.8, were the observed mean and spread of y the true ones; null
    /// for a single pair.
    pub(super) would_decide: Option<PairsNeeded>,
    /// Exact sign-flip test of y against the logarithm of the margin.
    pub(super) sign_flip: SignFlip,
    /// Mean of y over its standard deviation; null without spread or for a single pair.
    pub(super) cohens_d: Option<f64>,
    /// Mann-Whitney test of a against b as if they were independent samples.
    pub(super) mann_whitney: MannWhitney,
    /// Bootstrap intervals of y; null for a single pair.
    pub(super) bootstrap: Option<Bootstrap>,
}

/// Iterations nested in processes, analysed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Nested {
    /// Name of the values.
    pub(super) name: String,
    /// Each process.
    pub(super) processes: Vec<Description>,
    /// The process means, one value a process.
    pub(super) process_means: Sample,
    /// Variance components between and within processes (Kalibera and Jones 2013); null where the data cannot split them.
    pub(super) components: Option<Components>,
    /// The number of iterations a process that makes the mean most precise in a given time, at the process cost of the
    /// parameters; null where T2 is not above zero and the data set no limit.
    pub(super) optimal_iterations: Option<u64>,
    /// The most likely change of level common to all processes; null without spread, below four iterations, or where
    /// processes differ in length.
    pub(super) change_point: Option<ChangePoint>,
}

impl Analysis {
    /// Analyses a data set.
    pub(super) fn of(source: &str, dataset: &Dataset, parameters: Parameters) -> Result<Self, Error> {
        let (what, result) = match dataset {
            Dataset::Sample(column) => {
                (column.name.clone(), sample(column, parameters).map(|result| Outcome::Sample(Box::new(result))))
            }
            Dataset::Pairs(a, b) => (
                format!("{} against {}", a.name, b.name),
                pairs(a, b, parameters).map(|result| Outcome::Pairs(Box::new(result))),
            ),
            Dataset::Nested(name, processes) => {
                (name.clone(), nested(name, processes, parameters).map(|result| Outcome::Nested(Box::new(result))))
            }
        };
        match result {
            Ok(result) => Ok(Self { format: FORMAT, source: source.to_owned(), parameters, result }),
            Err(error) => Err(Error::Stats { file: source.to_owned(), what, source: error }),
        }
    }
}

impl Parameters {
    fn bootstrap(self) -> Options {
        Options { statistic: self.statistic, confidence: self.confidence, seed: self.seed, ..Options::default() }
    }
}

fn describe(name: &str, values: &[f64]) -> Result<Description, StatsError> {
    let lag1 = if values.len() > 1 { lag1(values)? } else { None };
    Ok(Description { name: name.to_owned(), summary: summarize(values)?, lag1 })
}

fn sample(column: &Column, parameters: Parameters) -> Result<Sample, StatsError> {
    let values = &column.values;
    let several = values.len() > 1;
    let claim = parameters.margin.map(|margin| Claim::AtLeast { margin });
    Ok(Sample {
        description: describe(&column.name, values)?,
        bounds: several.then(|| mean_bounds(values, parameters.confidence)).transpose()?,
        at_least: claim.filter(|_| several).map(|claim| judge(values, claim, parameters.confidence)).transpose()?,
        sign_flip: parameters.margin.map(|margin| sign_flip(values, margin, parameters.seed)).transpose()?,
        bootstrap: several.then(|| bootstrap(values, parameters.bootstrap())).transpose()?,
    })
}

fn pairs(a: &Column, b: &Column, parameters: Parameters) -> Result<Pairs, StatsError> {
    let y = log_ratios(&a.values, &b.values)?;
    let margin = parameters.margin.unwrap_or(1.0);
    let several = y.len() > 1;
    let at_least = several.then(|| judge_ratio(&y, Claim::AtLeast { margin }, parameters.confidence)).transpose()?;
    if margin <= 0.0 {
        return Err(StatsError::Parameter { name: "the margin", value: margin, range: "above zero" });
    }
    let needed = at_least.map(|judgement| {
        let log = judgement.bounds.log;
        pairs_needed(log.mean, log.sd, margin.ln(), parameters.confidence, POWER)
    });
    Ok(Pairs {
        a: describe(&a.name, &a.values)?,
        b: describe(&b.name, &b.values)?,
        log_ratio: describe(&format!("ln({} / {})", a.name, b.name), &y)?,
        at_least,
        would_decide: needed.transpose()?,
        sign_flip: sign_flip(&y, margin.ln(), parameters.seed)?,
        cohens_d: if several { cohens_d(&y)? } else { None },
        mann_whitney: mann_whitney(&a.values, &b.values)?,
        bootstrap: several.then(|| bootstrap(&y, parameters.bootstrap())).transpose()?,
    })
}

fn nested(name: &str, processes: &[Column], parameters: Parameters) -> Result<Nested, StatsError> {
    let descriptions =
        processes.iter().map(|process| describe(&process.name, &process.values)).collect::<Result<Vec<_>, _>>()?;
    let means = descriptions.iter().map(|description| description.summary.mean).collect();
    let values: Vec<&[f64]> = processes.iter().map(|process| process.values.as_slice()).collect();
    let components = absent_if_too_small(components(&values, parameters.confidence))?;
    Ok(Nested {
        name: name.to_owned(),
        processes: descriptions,
        process_means: sample(&Column { name: format!("{name}, one mean a process"), values: means }, parameters)?,
        optimal_iterations: match &components {
            Some(components) => components.optimal_iterations(parameters.process_cost, 1.0)?,
            None => None,
        },
        components,
        change_point: absent_if_too_small(change_point(&values, parameters.seed))?.flatten(),
    })
}

/// Turns "too few values" and "processes of different length" into an absent result, which the output shows as null.
fn absent_if_too_small<T>(result: Result<T, StatsError>) -> Result<Option<T>, StatsError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StatsError::TooFew { .. } | StatsError::Unpaired { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
