//! An entry of the specification becomes its rows.

use super::checks::{self, Checked};
use super::compare::{self, Question};
use super::gates::Run;
use super::observed::Lane;
use super::outcome::Outcome;
use super::{alike, divergence, facts, gpu, page_cache, place, profile, soak, warn, words};
use crate::metrics::{Direction, definition};
use crate::report::model::{ClaimResult, EvidenceType, FactRow, Verdict};
use crate::spec::{Control, Effect, Entry, Fact, Gain, Per, Require, Significance, Spec};
use crate::stats::paired::Claim;
use crate::stats::{effect, paired, ttest};
use std::collections::BTreeSet;

/// The workloads that an entry's statistics come from.
pub fn workloads<'a>(spec: &'a Spec, entry: &'a Entry) -> BTreeSet<&'a str> {
    let named = [
        entry.require.as_ref().map(|c| &c.workload),
        entry.gain.as_ref().map(|c| &c.workload),
        entry.ablation.as_ref().map(|c| &c.workload),
        entry.projection.as_ref().map(|c| &c.workload),
        entry.variation.as_ref().map(|c| &c.workload),
        entry.effect.as_ref().map(|c| &c.workload),
        entry.significance.as_ref().map(|c| &c.workload),
        entry.reproducible.as_ref().map(|c| &c.workload),
    ];
    named.into_iter().flatten().map(|name| spec.workload_name(name.as_deref())).collect()
}

/// Judge every check of an entry, in the order in which a reader wants them: what it is, that it ran, that it is right,
/// what it gains.
pub fn claims<'a>(run: Run<'a>, entry: &'a Entry) -> Vec<ClaimResult> {
    let mut rows = Vec::new();
    let workload = |named: &'a Option<String>| run.spec.workload_name(named.as_deref());
    let family = run.families.size(entry);
    let confidence = run.spec.sampling.confidence;

    if let Some(check) = &entry.kernel {
        rows.push(row(
            "kernel",
            format!("the kernels of {} are as declared", check.arm),
            checks::kernel(run, check, workload(&None)),
        ));
    }
    if let Some(check) = &entry.witness {
        rows.push(row(
            "witness",
            format!("{} ran as declared, by counting", check.arm),
            checks::witness(run, check, workload(&check.workload)),
        ));
    }
    if let Some(check) = &entry.correct {
        rows.push(row(
            "correct",
            format!("the output of {} agrees with {} on a text", check.arm, check.against),
            divergence::correct(run, &entry.id, check),
        ));
    }
    if let Some(check) = &entry.reproducible {
        rows.push(row(
            "reproducible",
            format!("{} gives the same tokens in every process", check.of),
            checks::reproducible(run, check, workload(&check.workload)),
        ));
    }
    if let Some(require) = &entry.require {
        rows.extend(bounds(run, require, family));
    }
    if let Some(gain) = &entry.gain {
        let mut result = statistical(run, "gain", &question_of_gain(run, gain, family));
        result.gates = gain.required;
        result.facts.insert(0, fact("claimed (projected)", format!("{}x", gain.claimed)));
        rows.push(result);
    }
    if let Some(ablation) = &entry.ablation {
        rows.extend(super::ablation::rows(run, ablation, workload(&ablation.workload)));
    }
    if let Some(projection) = &entry.projection {
        let question = Question {
            metric: projection.metric,
            of: Lane { workload: workload(&projection.workload), arm: &projection.of, side: 0 },
            over: None,
            baseline: None,
            claim: claimed_value(projection.metric, projection.value),
            confidence,
            family: 1,
            on: None,
            reason: Some(projection.source.clone()),
        };
        let mut result = statistical(run, "projection", &question);
        result.gates = projection.required;
        let unit = definition(projection.metric).unit;
        result.facts.insert(0, fact("projected", format!("{} {unit} ({})", projection.value, projection.source)));
        rows.push(result);
    }
    if let Some(check) = &entry.effect {
        let words = format!(
            "Cohen's d of {} of {} over {} at least {}",
            words::metric(check.metric),
            check.of,
            check.over,
            check.at_least
        );
        rows.push(row("effect", words, effect_size(run, check, workload(&check.workload), confidence)));
    }
    if let Some(check) = &entry.significance {
        let words = format!(
            "{} of {} better than that of {}, p below {}",
            words::metric(check.metric),
            check.of,
            check.over,
            check.p_below
        );
        rows.push(row("significance", words, significance(run, check, workload(&check.workload))));
    }
    if let Some(check) = &entry.variation {
        let words = format!(
            "coefficient of variation of {} of {} between processes at most {} %",
            words::metric(check.metric),
            check.of,
            words::number(100.0 * check.at_most)
        );
        rows.push(row("variation", words, checks::variation(run, check, workload(&check.workload), confidence)));
    }
    if let Some(check) = &entry.samples {
        let words = format!(
            "at least {} timed iterations over {} processes of {}",
            check.iterations_at_least,
            check.processes_at_least,
            check.arms.join(", ")
        );
        rows.push(row("samples", words, checks::samples(run, check, workload(&check.workload))));
    }
    if let Some(check) = &entry.gpu {
        let words = format!(
            "the GPU of {} was {}",
            check.arms.join(", "),
            match check.state {
                crate::spec::GpuState::ClocksStable => "at stable clocks",
                crate::spec::GpuState::NotThrottled => "not throttled",
                crate::spec::GpuState::Exclusive => "not shared",
            }
        );
        rows.push(row("gpu", words, gpu::claim(run, check, workload(&None))));
    }
    if let Some(check) = &entry.facts {
        let words = format!("{} ({})", fact_words(check.fact), check.arms.join(", "));
        rows.push(row("facts", words, facts::facts(run, check, workload(&None))));
    }
    if let Some(check) = &entry.timeline {
        let words = format!("a timeline of a token of {}", check.of);
        let (checked, timeline) = profile::timeline(run, check, workload(&check.workload));
        rows.push(ClaimResult { timeline, ..row("timeline", words, checked) });
    }
    if let Some(check) = &entry.soak {
        let words = format!("{} decodes for {} s without fault, leak or drift", check.of, check.duration_s);
        rows.push(row("soak", words, soak::soak(run, &entry.id, check)));
    }
    if let Some(check) = &entry.program {
        let words = format!("`{}` exits with {}", check.argv.join(" "), check.exit);
        rows.push(row("program", words, facts::program(run, &entry.id, check)));
    }
    rows
}

/// A gain in a metric where less is better is a ratio of at most 1 / gain.
pub(super) fn claimed_gain(metric: qa_protocol::Metric, gain: f64) -> Claim {
    match definition(metric).direction {
        Direction::HigherIsBetter => Claim::AtLeast { margin: gain },
        Direction::LowerIsBetter => Claim::AtMost { margin: 1.0 / gain },
    }
}

fn claimed_value(metric: qa_protocol::Metric, value: f64) -> Claim {
    match definition(metric).direction {
        Direction::HigherIsBetter => Claim::AtLeast { margin: value },
        Direction::LowerIsBetter => Claim::AtMost { margin: value },
    }
}

/// A row, or one for each kind of card. Each is tested at the whole error: the claim passes only where all of them do, so
/// that none of them can pass it falsely by itself.
fn bounds(run: Run<'_>, require: &Require, family: usize) -> Vec<ClaimResult> {
    let Some(question) = question_of_require(run, require, family) else {
        let outcome = Outcome::new(Verdict::Error, "The claim has no bound.");
        return vec![row("require", words::metric(require.metric).into(), (outcome, Vec::new()))];
    };
    // Where nothing was measured, that is what there is to say.
    let (Some(Per::GpuModel), Ok(processes)) = (require.per, run.measured(question.of)) else {
        return vec![statistical(run, "require", &question)];
    };
    let models = place::models(processes);
    if models.is_empty() {
        let outcome = Outcome::new(Verdict::Blocked, format!("{} ran on no card: awaiting hardware.", require.of))
            .with_remedy("run it where there is a GPU");
        return vec![row("require", format!("{}, on each kind of card", question.words()), (outcome, Vec::new()))];
    }
    let on = |model| statistical(run, "require", &Question { on: Some(model), ..question.clone() });
    models.into_iter().map(on).collect()
}

/// What a bound asks; nothing where there is none, which validation refuses.
pub(super) fn question_of_require<'a>(run: Run<'a>, require: &'a Require, family: usize) -> Option<Question<'a>> {
    let workload = run.spec.workload_name(require.workload.as_deref());
    let claim = match (require.at_least, require.at_most, require.within) {
        (Some(margin), _, _) => Claim::AtLeast { margin },
        (_, Some(margin), _) => Claim::AtMost { margin },
        (_, _, Some([low, high])) => Claim::Within { low, high },
        (None, None, None) => return None,
    };
    let side = u8::from(require.control == Some(Control::Aa));
    Some(Question {
        metric: require.metric,
        of: Lane { workload, arm: &require.of, side: 0 },
        over: require.over_arm().map(|arm| Lane { workload, arm, side }),
        baseline: require.baseline(),
        claim,
        confidence: require.confidence.unwrap_or(run.spec.sampling.confidence),
        family,
        on: None,
        reason: require.reason.clone(),
    })
}

/// What a claimed gain asks.
pub(super) fn question_of_gain<'a>(run: Run<'a>, gain: &'a Gain, family: usize) -> Question<'a> {
    let workload = run.spec.workload_name(gain.workload.as_deref());
    Question {
        metric: gain.metric,
        of: Lane { workload, arm: &gain.of, side: 0 },
        over: Some(Lane { workload, arm: &gain.over, side: 0 }),
        baseline: None,
        claim: claimed_gain(gain.metric, gain.claimed),
        confidence: run.spec.sampling.confidence,
        family,
        on: None,
        reason: Some("the gain that was claimed".into()),
    }
}

pub(super) fn statistical(run: Run<'_>, check: &str, question: &Question<'_>) -> ClaimResult {
    let judged = compare::judge(run, question);
    let evidence = if judged.comparison.is_some() { EvidenceType::Measured } else { EvidenceType::None };
    let mut result = row(check, question.words(), (judged.outcome, judged.places));
    result.warnings = judged.warnings;
    for lane in [Some(question.of), question.over].into_iter().flatten() {
        if judged.comparison.is_some() {
            result.facts.extend(page_cache::row(run, lane));
            let seed = run.spec.sampling.seed;
            result.warnings.extend(warn::of_lane(lane.arm, run.observed.processes(lane), question.metric, seed));
            result.warnings.extend(gpu::unwatched(lane.arm, run.observed.processes(lane)));
            result.warnings.extend(warn::of_plan(run.spec, question.metric));
            let checked = run.output_words(lane);
            if checked != "checked in the timed iterations" {
                result.warnings.push(format!("The output of {} was {checked}.", lane.arm));
            }
        }
    }
    if judged.comparison.is_none() {
        result.awaited = Some(question.awaited());
    }
    if question.metric == qa_protocol::Metric::PeakDeviceMemory && judged.comparison.is_some() {
        let memory = run.observed.processes(question.of).first().map(|process| process.memory);
        result.facts.extend(memory.map(|memory| fact("how it was measured", memory.words().into())));
    }
    result.evidence = evidence;
    result.comparison = judged.comparison;
    result
}

pub(super) fn row(check: &str, words: String, (outcome, facts): Checked) -> ClaimResult {
    let judged = !matches!(outcome.verdict, Verdict::Blocked | Verdict::Error);
    ClaimResult {
        check: check.into(),
        words,
        gates: true,
        verdict: outcome.verdict,
        reason: outcome.reason,
        remedy: outcome.remedy,
        evidence: if judged { EvidenceType::Measured } else { EvidenceType::None },
        comparison: None,
        awaited: None,
        ablation: None,
        facts,
        timeline: None,
        warnings: Vec::new(),
    }
}

pub(super) fn fact(name: &str, value: String) -> FactRow {
    FactRow { name: name.into(), value }
}

fn fact_words(fact: Fact) -> &'static str {
    match fact {
        Fact::WarmupExcluded => "warm-up ran and was excluded",
        Fact::ColdStartReported => "cold start is reported apart",
        Fact::VersionsRecorded => "versions and options are recorded and did not change",
        Fact::SameInputs => "same model file and prompt length",
        Fact::SameHardware => "same hardware",
        Fact::ResultsValid => "results are valid against the published schema",
    }
}

/// The log ratios of two lanes in the better direction, over the blocks that both completed.
fn better_log_ratios(
    run: Run<'_>,
    metric: qa_protocol::Metric,
    of: Lane<'_>,
    over: Lane<'_>,
) -> Result<Vec<f64>, Outcome> {
    run.valid(of)?;
    run.valid(over)?;
    alike::comparable(run, metric, of, over)?;
    let sign = if definition(metric).direction == Direction::HigherIsBetter { 1.0 } else { -1.0 };
    let others = run.measured(over)?;
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for process in run.measured(of)? {
        let partner = others.iter().find(|p| p.key.block == process.key.block);
        if let (Some(x), Some(y)) = (process.value(metric), partner.and_then(|p| p.value(metric))) {
            a.push(x);
            b.push(y);
        }
    }
    let y = paired::log_ratios(&a, &b).map_err(|e| Outcome::new(Verdict::Error, format!("{e}.")))?;
    if y.len() < 2 {
        return Err(Outcome::new(Verdict::Inconclusive, "Fewer than two complete pairs.").with_remedy("more blocks"));
    }
    Ok(y.into_iter().map(|y| sign * y).collect())
}

fn effect_size(run: Run<'_>, check: &Effect, workload: &str, confidence: f64) -> Checked {
    let lane = |arm| Lane { workload, arm, side: 0 };
    let y = match better_log_ratios(run, check.metric, lane(&check.of), lane(&check.over)) {
        Ok(y) => y,
        Err(outcome) => return (outcome, Vec::new()),
    };
    let (Ok(Some(d)), Ok(Some((lower, upper)))) = (effect::cohens_d(&y), effect::cohens_d_bounds(&y, confidence))
    else {
        return (Outcome::new(Verdict::Inconclusive, "The pairs have no spread, so no effect size."), Vec::new());
    };
    let n = words::number;
    let facts = vec![
        fact("Cohen's d of the paired log ratios", n(d)),
        fact("one-sided bounds", format!("{} to {}", n(lower), n(upper))),
        fact("pairs", y.len().to_string()),
    ];
    let outcome = if lower >= check.at_least {
        Outcome::new(
            Verdict::Pass,
            format!("d is {}; its lower bound {} is not below {}.", n(d), n(lower), check.at_least),
        )
    } else if upper < check.at_least {
        Outcome::new(Verdict::Fail, format!("d is {}; its upper bound {} is below {}.", n(d), n(upper), check.at_least))
    } else {
        Outcome::new(
            Verdict::Inconclusive,
            format!("d is {}; the interval from {} to {} straddles {}.", n(d), n(lower), n(upper), check.at_least),
        )
        .with_remedy("more blocks")
    };
    (outcome, facts)
}

fn significance(run: Run<'_>, check: &Significance, workload: &str) -> Checked {
    let lane = |arm| Lane { workload, arm, side: 0 };
    let y = match better_log_ratios(run, check.metric, lane(&check.of), lane(&check.over)) {
        Ok(y) => y,
        Err(outcome) => return (outcome, Vec::new()),
    };
    let p = |alternative| ttest::one_sample(&y, 0.0, alternative).map(|t| t.p_value);
    let (Ok(better), Ok(worse)) = (p(ttest::Alternative::Greater), p(ttest::Alternative::Less)) else {
        return (Outcome::new(Verdict::Error, "The t test of the pairs fails."), Vec::new());
    };
    let text = format!("{better:.2e}");
    let facts = vec![fact("one-sided p against a ratio of 1", text.clone()), fact("pairs", y.len().to_string())];
    let outcome = if better < check.p_below {
        Outcome::new(Verdict::Pass, format!("p is {text}, below {}.", check.p_below))
    } else if worse < check.p_below {
        Outcome::new(Verdict::Fail, format!("p is {text}: {} is significantly worse.", check.of))
    } else {
        Outcome::new(Verdict::Inconclusive, format!("p is {text}, not below {}. Undecided, not equal.", check.p_below))
            .with_remedy("more blocks")
    };
    (outcome, facts)
}
