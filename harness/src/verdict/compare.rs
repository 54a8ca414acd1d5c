//! Statistical claims: a ratio of two lanes, or one lane's value, against a margin.

use super::factor::{Factor, Shown};
use super::gates::Run;
use super::observed::{Lane, Process};
use super::outcome::Outcome;
use super::pairs::{pairs, places};
use super::{alike, baseline, gpu, warn, words};
use crate::metrics::{Direction, definition};
use crate::report::model::{
    ArmValues, Awaited, Comparison, Estimand, FactRow, PairPoint, RunningBound, SignFlip, Verdict,
};
use crate::samples;
use crate::spec::Baseline;
use crate::stats::bootstrap;
use crate::stats::looks::{self, Look};
use crate::stats::paired::{self, Bounds, Claim, Decision};
use crate::stats::sign_flip::{CrossCheck, sign_flip};
use crate::stats::{StatsError, effect, multiplicity, power, summary, ttest, unpaired};
use qa_protocol::Metric;

/// Power at which detectable effects and numbers of pairs are quoted.
const POWER: f64 = 0.8;
/// Resamples of the displayed bootstrap interval.
const RESAMPLES: usize = 1_999;

/// What is to be judged.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// What is measured.
    pub metric: Metric,
    /// The lane that the claim is about.
    pub of: Lane<'a>,
    /// The comparator; with one, the estimand is a ratio.
    pub over: Option<Lane<'a>>,
    /// The earlier run, in place of a comparator in this one.
    pub baseline: Option<&'a Baseline>,
    /// The bound, on the ratio or in the metric's unit.
    pub claim: Claim,
    /// One-sided confidence that the specification asks for.
    pub confidence: f64,
    /// How many claims share that confidence.
    pub family: usize,
    /// The kind of card that it is about; all of them when absent.
    pub on: Option<&'a str>,
    /// The specification's reason for the margin.
    pub reason: Option<String>,
}

impl Question<'_> {
    /// Ratio or value.
    pub fn estimand(&self) -> Estimand {
        if self.over.is_some() || self.baseline.is_some() { Estimand::Ratio } else { Estimand::Value }
    }

    /// The lower and the upper margin, where there is one.
    fn margins(&self) -> (Option<f64>, Option<f64>) {
        match self.claim {
            Claim::AtLeast { margin } => (Some(margin), None),
            Claim::AtMost { margin } => (None, Some(margin)),
            Claim::Within { low, high } => (Some(low), Some(high)),
        }
    }

    /// The place that the claim keeps in tables and plots while it has no numbers.
    pub fn awaited(&self) -> Awaited {
        let meaning = definition(self.metric);
        let (margin_lower, margin_upper) = self.margins();
        Awaited {
            metric: self.metric.name().into(),
            unit: meaning.unit.into(),
            direction: meaning.direction,
            estimand: self.estimand(),
            margin_lower,
            margin_upper,
        }
    }

    /// The claim in words.
    pub fn words(&self) -> String {
        let on = self.on.map_or_else(String::new, |model| format!(", on {model}"));
        format!("{}{on}", self.bound_words())
    }

    /// Whether a process belongs to what it is about.
    pub(super) fn takes(&self, process: &Process<'_>) -> bool {
        self.on.is_none_or(|model| process.prepared.device.name == model)
    }

    fn bound_words(&self) -> String {
        let unit = definition(self.metric).unit;
        let bound = words::claim(self.claim, self.estimand(), unit);
        let metric = words::metric(self.metric);
        match (self.over, self.baseline) {
            (Some(over), _) if over.arm == self.of.arm => {
                format!("{metric} of {} {bound} its own, in a second process (A/A control)", over.arm)
            }
            (Some(over), _) => format!("{metric} of {} {bound} that of {}", self.of.arm, over.arm),
            (None, Some(asked)) => format!("{metric} of {} {bound} that of {}", self.of.arm, baseline::name(asked)),
            (None, None) => format!("{metric} of {} {bound}", self.of.arm),
        }
    }
}

/// A statistical claim, judged: the numbers, where there are any, and what follows.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The verdict.
    pub outcome: Outcome,
    /// The numbers. Present for an invalid comparison too, where they are shown as not used.
    pub comparison: Option<Comparison>,
    /// What its pairs say at each of several places.
    pub places: Vec<FactRow>,
    /// Diagnostics, beside the verdict.
    pub warnings: Vec<String>,
}

impl Judged {
    fn without_numbers(outcome: Outcome) -> Self {
        Self { outcome, comparison: None, places: Vec::new(), warnings: Vec::new() }
    }
}

/// The scale on which bounds are computed: logarithms for a ratio.
#[derive(Clone, Copy)]
struct Scale(Estimand);

impl Scale {
    fn inward(self, value: f64) -> f64 {
        if self.0 == Estimand::Ratio { value.ln() } else { value }
    }

    fn outward(self, value: f64) -> f64 {
        if self.0 == Estimand::Ratio { value.exp() } else { value }
    }
}

/// Judge a question.
pub fn judge(run: Run<'_>, question: &Question<'_>) -> Judged {
    let gates = run
        .measured(question.of)
        .and_then(|_| question.over.map_or(Ok(()), |over| run.measured(over).map(|_| ())))
        .and_then(|()| baseline::of(run, question).map(|_| ()));
    if let Err(outcome) = gates {
        return Judged::without_numbers(outcome);
    }
    let validity = run.valid(question.of).and_then(|()| match question.over {
        Some(over) => run
            .valid(over)
            .and_then(|()| alike::comparable(run, question.metric, question.of, over))
            .and_then(|()| gpu::one_way(run, question.metric, question.of, over)),
        None => baseline::of(run, question)?.map_or(Ok(()), |found| baseline::comparable(run, question, found)),
    });
    let mut judged = statistics(run, question).unwrap_or_else(Judged::without_numbers);
    if let Err(outcome) = validity {
        judged.outcome = outcome;
    }
    judged
}

fn statistics(run: Run<'_>, question: &Question<'_>) -> Result<Judged, Outcome> {
    let (pairs, seen) = pairs(run, question)?;
    let scale = Scale(question.estimand());
    let y: Vec<f64> = pairs.iter().map(|p| scale.inward(p.value)).collect();
    let earlier = Earlier::of(run, question)?;
    // Of the blocks of a look, those that the question is about. Where a block runs does not depend on what it measures, so
    // a look is one whatever its share.
    let at = |look: &Look| seen[..look.blocks].iter().filter(|taken| **taken).count();
    let planned = planned_looks(run, question.confidence, question.family)?;
    let broken = |e: StatsError| Outcome::new(Verdict::Error, format!("The statistics of this claim fail: {e}."));

    // The verdict is taken at the first declared look at which the claim is decided, and stands.
    let reached: Vec<&Look> = planned.iter().filter(|look| look.blocks <= seen.len() && at(look) >= 2).collect();
    let Some(last) = reached.last() else {
        if let Some(model) = question.on.filter(|_| planned.first().is_some_and(|look| look.blocks <= seen.len())) {
            let blocks = words::count(y.len(), "block");
            let reason = format!("Only {blocks} ran on {model}, and bounds need at least two.");
            return Err(
                Outcome::new(Verdict::Inconclusive, reason).with_remedy("more blocks, or more nodes of that kind")
            );
        }
        return Err(Outcome::new(
            Verdict::Inconclusive,
            format!(
                "Only {} of the {} needed for the first look: the run is unfinished.",
                words::count(seen.len(), "complete block"),
                planned.first().map_or(0, |l| l.blocks)
            ),
        )
        .with_remedy("finish it with `qa run --resume`, or declare more blocks: bounds need at least two"));
    };
    let mut chosen = *last;
    let mut decision = Decision::Inconclusive;
    for look in &reached {
        let bounds = earlier.bounds(&y[..at(look)], look.confidence).map_err(broken)?;
        decision = paired::decide(&bounds, question.claim.map(|m| scale.inward(m)));
        if decision != Decision::Inconclusive {
            chosen = look;
            break;
        }
    }
    let used = &y[..at(chosen)];
    let comparison = comparison(run, question, &earlier, &pairs, used, chosen, &planned, decision).map_err(broken)?;
    let outcome = outcome(question, &comparison, decision, planned.last().is_some_and(|l| l.blocks > chosen.blocks));
    let shown = Shown {
        outward: &|value| scale.outward(value),
        bounds: &|values| earlier.bounds(values, chosen.confidence),
        estimand: question.estimand(),
        unit: definition(question.metric).unit,
    };
    let factor = Factor::of(used, &places(run, question)?, &shown, run.spec.sampling.seed);
    let of_baseline = earlier.0.iter().flat_map(|(_, found, _)| baseline::warnings(run, question.of, found));
    Ok(Judged {
        outcome,
        warnings: warn::of_pairs(used, &comparison, run.spec.sampling.seed)
            .into_iter()
            .chain(factor.warning)
            .chain(of_baseline)
            .collect(),
        places: factor.rows,
        comparison: Some(comparison),
    })
}

/// Where a question stands while its samples come in.
pub(super) struct SoFar {
    /// Pairs, or processes.
    pub samples: usize,
    /// The most that there will be.
    pub planned: usize,
    /// The estimate.
    pub estimate: f64,
    /// Bounds at the confidence of the next look; from two samples on.
    pub bounds: Option<[f64; 2]>,
}

/// The estimate and the bounds so far; nothing before there is a sample. No gate is asked: this is no verdict.
pub(super) fn so_far(run: Run<'_>, question: &Question<'_>) -> Option<SoFar> {
    let scale = Scale(question.estimand());
    let y: Vec<f64> = pairs(run, question).ok()?.0.iter().map(|pair| scale.inward(pair.value)).collect();
    let planned = planned_looks(run, question.confidence, question.family).ok()?;
    let last = planned.last()?;
    let next = planned.iter().find(|look| look.blocks >= y.len()).unwrap_or(last);
    let mean = summary::mean(&y).ok()?;
    let bounds = Earlier::of(run, question).ok()?.bounds(&y, next.confidence).ok();
    Some(SoFar {
        samples: y.len(),
        planned: last.blocks,
        estimate: scale.outward(mean),
        bounds: bounds.map(|bounds| [scale.outward(bounds.lower), scale.outward(bounds.upper)]),
    })
}

/// The looks of the specification with the confidence of each, after the family is paid for.
///
/// # Errors
/// ERROR, where they are out of range, which validation refuses earlier.
pub fn planned_looks(run: Run<'_>, confidence: f64, family: usize) -> Result<Vec<Look>, Outcome> {
    let blocks: Vec<usize> = run.spec.sampling.looks().iter().map(|b| *b as usize).collect();
    multiplicity::bonferroni_confidence(confidence, family.max(1))
        .and_then(|confidence| looks::schedule(&blocks, confidence, run.spec.sampling.spending.into()))
        .map_err(|e| Outcome::new(Verdict::Error, format!("The declared looks cannot be used: {e}.")))
}

/// What a question compares with that was not measured in this run, with its name and its scatter; often nothing.
struct Earlier<'a>(Option<(&'a str, &'a samples::Baseline, Vec<f64>)>);

impl<'a> Earlier<'a> {
    fn of(run: Run<'a>, question: &Question<'a>) -> Result<Self, Outcome> {
        let found = baseline::of(run, question)?.zip(question.baseline);
        let of = |(found, asked): (&'a samples::Baseline, &'a Baseline)| {
            Ok((asked.baseline.as_str(), found, baseline::scatter(found, question.metric)?))
        };
        Ok(Self(found.map(of).transpose()?))
    }

    /// Bounds on the mean of pairs; of what has no pairs, on the difference of two means.
    fn bounds(&self, y: &[f64], confidence: f64) -> Result<Bounds, StatsError> {
        match &self.0 {
            None => paired::mean_bounds(y, confidence),
            Some((_, _, scatter)) => unpaired::difference_bounds(y, scatter, confidence),
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "all that a comparison is made of")]
fn comparison(
    run: Run<'_>,
    question: &Question<'_>,
    earlier: &Earlier<'_>,
    pairs: &[PairPoint],
    used: &[f64],
    look: &Look,
    planned: &[Look],
    decision: Decision,
) -> Result<Comparison, StatsError> {
    let scale = Scale(question.estimand());
    let meaning = definition(question.metric);
    let bounds = earlier.bounds(used, look.confidence)?;
    let claim = question.claim.map(|m| scale.inward(m));
    let (margin_lower, margin_upper) = question.margins();
    let mut points = pairs.to_vec();
    for point in points.iter_mut().skip(used.len()) {
        point.excluded = Some("measured after the look that decided".into());
    }
    let better = match meaning.direction {
        Direction::HigherIsBetter => ttest::Alternative::Greater,
        Direction::LowerIsBetter => ttest::Alternative::Less,
    };
    let sign = if meaning.direction == Direction::HigherIsBetter { 1.0 } else { -1.0 };
    // What rests on pairs is not there without them.
    let (ratio, paired) = (question.over.is_some(), earlier.0.is_none());
    let (nearest, detectable) = (nearest_margin(claim, bounds.mean), detectable(&bounds, scale)?);
    Ok(Comparison {
        metric: question.metric.name().into(),
        unit: meaning.unit.into(),
        direction: meaning.direction,
        estimand: question.estimand(),
        workload: question.of.workload.into(),
        of: values_of(run, question.of, question.metric, &|p| question.takes(p))?,
        over: match &earlier.0 {
            Some((name, found, _)) => Some(baseline::values(name, found, question.metric)?),
            None => {
                question.over.map(|over| values_of(run, over, question.metric, &|p| question.takes(p))).transpose()?
            }
        },
        baseline: earlier.0.as_ref().map(|(_, found, _)| found.path.clone()),
        margin_lower,
        margin_upper,
        margin_reason: question.reason.clone(),
        estimate: scale.outward(bounds.mean),
        lower: scale.outward(bounds.lower),
        upper: scale.outward(bounds.upper),
        confidence: look.confidence,
        nominal_confidence: question.confidence,
        running: running(earlier, used, look.confidence, scale)?,
        planned: planned.last().map_or(0, |l| l.blocks as u32),
        looks: planned.iter().map(|l| l.blocks as u32).collect(),
        sign_flip: if paired { cross_check(used, claim, look, decision, run.spec.sampling.seed)? } else { None },
        p_better: if ratio { Some(ttest::one_sample(used, 0.0, better)?.p_value) } else { None },
        effect_size: if ratio { effect::cohens_d(used)?.map(|d| d * sign) } else { None },
        bootstrap: bootstrap_interval(used, look.confidence, run.spec.sampling.seed)
            .filter(|_| paired)
            .map(|i| [scale.outward(i.lower), scale.outward(i.upper)]),
        detectable: detectable.filter(|_| paired),
        pairs_to_decide: if decision == Decision::Inconclusive && paired {
            power::pairs_needed(bounds.mean, bounds.sd, nearest, look.confidence, POWER)?
                .pairs
                .map(|n| u32::try_from(n).unwrap_or(u32::MAX))
        } else {
            None
        },
        pairs: points,
    })
}

/// For display: an interval that assumes no distribution. Few pairs with little spread have none.
fn bootstrap_interval(used: &[f64], confidence: f64, seed: u64) -> Option<bootstrap::Interval> {
    let options = bootstrap::Options {
        statistic: bootstrap::Statistic::Mean,
        confidence: 2.0 * confidence - 1.0,
        resamples: RESAMPLES,
        seed,
    };
    bootstrap::bootstrap(used, options).ok()?.bootstrap_t
}

/// The margin that an undecided mean is being held against.
fn nearest_margin(claim: Claim, mean: f64) -> f64 {
    match claim {
        Claim::AtLeast { margin } | Claim::AtMost { margin } => margin,
        Claim::Within { low, high } => {
            if (mean - low).abs() < (mean - high).abs() {
                low
            } else {
                high
            }
        }
    }
}

fn detectable(bounds: &Bounds, scale: Scale) -> Result<Option<f64>, StatsError> {
    if bounds.sd <= 0.0 {
        return Ok(None);
    }
    let effect = power::detectable_effect(bounds.sd, bounds.n, bounds.confidence, POWER)?.effect;
    Ok(Some(scale.outward(effect)))
}

fn running(
    earlier: &Earlier<'_>,
    used: &[f64],
    confidence: f64,
    scale: Scale,
) -> Result<Vec<RunningBound>, StatsError> {
    (2..=used.len())
        .map(|k| {
            let b = earlier.bounds(&used[..k], confidence)?;
            Ok(RunningBound {
                pairs: k as u32,
                estimate: scale.outward(b.mean),
                lower: scale.outward(b.lower),
                upper: scale.outward(b.upper),
            })
        })
        .collect()
}

fn cross_check(
    used: &[f64],
    claim: Claim,
    look: &Look,
    decision: Decision,
    seed: u64,
) -> Result<Option<SignFlip>, StatsError> {
    let level = 1.0 - look.confidence;
    let reached = decision == Decision::Pass;
    let at = |margin: f64| sign_flip(used, margin, seed);
    let (test, p) = match claim {
        Claim::AtLeast { margin } => {
            let test = at(margin)?;
            let p = test.p_greater;
            (test, p)
        }
        Claim::AtMost { margin } => {
            let test = at(margin)?;
            let p = test.p_less;
            (test, p)
        }
        Claim::Within { low, high } => {
            let (below, above) = (at(low)?, at(high)?);
            let p = below.p_greater.max(above.p_less);
            (if below.smallest_p > above.smallest_p { below } else { above }, p)
        }
    };
    let agrees = test.cross_check(p, level, reached)? != CrossCheck::Disagrees;
    Ok(Some(SignFlip { p, smallest: test.smallest_p, agrees }))
}

/// One lane's values of one metric over its processes.
///
/// # Errors
/// Never for lanes whose processes all have a value; statistics of an empty sample otherwise.
pub fn arm_values(run: Run<'_>, lane: Lane<'_>, metric: Metric) -> Result<ArmValues, StatsError> {
    values_of(run, lane, metric, &|_| true)
}

fn values_of(
    run: Run<'_>,
    lane: Lane<'_>,
    metric: Metric,
    takes: &dyn Fn(&Process<'_>) -> bool,
) -> Result<ArmValues, StatsError> {
    let processes: Vec<&Process<'_>> = run.observed.processes(lane).iter().filter(|p| takes(p)).collect();
    let values: Vec<f64> = processes.iter().filter_map(|p| p.value(metric)).collect();
    Ok(ArmValues {
        arm: lane.arm.into(),
        median: summary::median(&values)?,
        mean: summary::mean(&values)?,
        sd: if values.len() > 1 { summary::sd(&values)? } else { 0.0 },
        processes: processes.len() as u32,
        iterations: processes.iter().map(|p| p.timed.len() as u32).sum(),
        output: run.output_words(lane),
    })
}

fn outcome(question: &Question<'_>, c: &Comparison, decision: Decision, more_planned: bool) -> Outcome {
    let unit = c.unit.as_str();
    let q = |value: f64| words::quantity(value, c.estimand, unit);
    let m = |value: Option<f64>| value.map_or_else(String::new, |v| words::margin(v, c.estimand, unit));
    let measured = match c.estimand {
        Estimand::Ratio => words::ratio_of(c.estimate, question.metric),
        Estimand::Value => q(c.estimate),
    };
    match (decision, question.claim) {
        (Decision::Pass, Claim::AtLeast { .. }) => Outcome::new(
            Verdict::Pass,
            format!("{measured}; the lower bound {} is not below {}.", q(c.lower), m(c.margin_lower)),
        ),
        (Decision::Pass, Claim::AtMost { .. }) => Outcome::new(
            Verdict::Pass,
            format!("{measured}; the upper bound {} is not above {}.", q(c.upper), m(c.margin_upper)),
        ),
        (Decision::Pass, Claim::Within { .. }) => Outcome::new(
            Verdict::Pass,
            format!(
                "{measured}; the bounds {} and {} lie between {} and {}.",
                q(c.lower),
                q(c.upper),
                m(c.margin_lower),
                m(c.margin_upper)
            ),
        ),
        (Decision::Fail, _) => {
            let (bound, side, margin) = if c.margin_lower.is_some_and(|margin| c.upper < margin) {
                (c.upper, "the upper bound", format!("below {}", m(c.margin_lower)))
            } else {
                (c.lower, "the lower bound", format!("above {}", m(c.margin_upper)))
            };
            Outcome::new(Verdict::Fail, format!("{measured}; {side} {} is {margin}.", q(bound)))
        }
        (Decision::Inconclusive, _) => {
            let margins: Vec<String> =
                [c.margin_lower, c.margin_upper].into_iter().flatten().map(|v| m(Some(v))).collect();
            let undecided = Outcome::new(
                Verdict::Inconclusive,
                format!(
                    "{measured}; the interval from {} to {} straddles {}. Undecided, not equal.",
                    q(c.lower),
                    q(c.upper),
                    margins.join(" and ")
                ),
            );
            undecided.with_remedy(match c.pairs_to_decide {
                Some(n) => {
                    format!("about {} would decide, if the noise stays as it is", words::count(n as usize, "block"))
                }
                None if more_planned => "more blocks".into(),
                None if question.baseline.is_some() => {
                    "more blocks here and in the baseline's run, or both builds as arms of one run".into()
                }
                None => "no number of blocks: the estimate lies on the margin".into(),
            })
        }
    }
}
