//! An ablation becomes its rows: what was measured, the claims beside it, and the bounds that gate.
//!
//! The first row says what was measured and is REPORTED: it holds nothing against anything, so it can neither pass nor gate.
//! A claimed factor is a row that does not gate, a bound of `require` one that does. Each row rests on its own arms: a
//! wrong output of one combination leaves a claim about two others standing, and takes away every Shapley value.

mod bounded;
mod measured;

use super::compare::Question;
use super::entry::{claimed_gain, fact, row, statistical};
use super::gates::Run;
use super::outcome::{Outcome, weight};
use super::{warn, words};
use crate::metrics::{Direction, definition};
use crate::report::model::{self, ClaimResult, Factor, Verdict};
use crate::spec::{Ablation, Bound, JOINT};
use crate::stats::paired::Claim;
use measured::Measured;

/// Every row of an ablation.
pub fn rows<'a>(run: Run<'a>, ablation: &'a Ablation, workload: &'a str) -> Vec<ClaimResult> {
    let measured = match Measured::of(run, ablation, workload) {
        Ok(measured) => measured,
        Err(outcome) => {
            let mut result = row("ablation", title(ablation), (outcome, Vec::new()));
            result.gates = false;
            return vec![result];
        }
    };
    let mut rows = vec![summary(&measured)];
    for (set, name) in singles(ablation).chain([(ablation.sets() - 1, JOINT)]) {
        if let Some(factor) = ablation.claimed.get(name) {
            let claim = claimed_gain(ablation.metric, *factor);
            let question = question(&measured, set, claim, "the factor that was claimed");
            let mut result = statistical(run, &format!("claimed {name}"), &question);
            result.gates = false;
            result.facts.insert(0, fact("claimed (projected)", format!("{factor}x")));
            rows.push(result);
        }
    }
    let require = &ablation.require;
    for (set, name) in singles(ablation) {
        if let Some(bound) = require.alone.get(name) {
            rows.push(on_combination(run, &measured, &format!("alone {name}"), set, *bound));
        }
    }
    if let Some(bound) = require.joint {
        rows.push(on_combination(run, &measured, JOINT, ablation.sets() - 1, bound));
    }
    for (index, name) in ablation.switches.iter().enumerate() {
        if let Some(bound) = require.shapley.get(name) {
            rows.push(bounded::shapley(&measured, index, *bound));
        }
    }
    if let Some(bound) = require.joint_over_product {
        rows.push(bounded::joint_over_product(&measured, bound));
    }
    rows
}

/// Each switch alone, with the set that it makes.
fn singles(ablation: &Ablation) -> impl Iterator<Item = (usize, &str)> {
    ablation.switches.iter().enumerate().map(|(i, name)| (1 << i, name.as_str()))
}

fn title(ablation: &Ablation) -> String {
    format!(
        "{} of {} with every combination of {}",
        words::metric(ablation.metric),
        ablation.arm,
        ablation.switches.join(", ")
    )
}

fn question<'a>(measured: &Measured<'a>, set: usize, claim: Claim, reason: &str) -> Question<'a> {
    Question {
        metric: measured.ablation.metric,
        of: measured.lanes[set],
        over: Some(measured.lanes[0]),
        baseline: None,
        claim,
        confidence: measured.run.spec.sampling.confidence,
        // Every combination's interval is one of these, whether something is claimed of it or not.
        family: measured.lanes.len() - 1,
        on: None,
        reason: Some(reason.into()),
    }
}

fn on_combination(run: Run<'_>, measured: &Measured<'_>, check: &str, set: usize, bound: Bound) -> ClaimResult {
    let claim = match definition(measured.ablation.metric).direction {
        Direction::HigherIsBetter => claim_of(bound),
        // A factor above 1 is better; the ratio of a time is its inverse.
        Direction::LowerIsBetter => {
            claim_of(Bound { at_least: bound.at_most.map(f64::recip), at_most: bound.at_least.map(f64::recip) })
        }
    };
    statistical(run, check, &question(measured, set, claim, "a bound of the ablation"))
}

fn claim_of(bound: Bound) -> Claim {
    match (bound.at_least, bound.at_most) {
        (Some(low), Some(high)) => Claim::Within { low, high },
        (None, Some(margin)) => Claim::AtMost { margin },
        // Validation saw to it that there is one.
        (margin, None) => Claim::AtLeast { margin: margin.unwrap_or_default() },
    }
}

/// The row that says what was measured.
fn summary(measured: &Measured<'_>) -> ClaimResult {
    let run = measured.run;
    let result = measured.result();
    let outcome = outcome(measured, &result);
    let mut row = row("ablation", title(measured.ablation), (outcome, Vec::new()));
    row.gates = false;
    for lane in &measured.lanes {
        let processes = run.observed.processes(*lane);
        if processes.is_empty() {
            continue;
        }
        let seed = run.spec.sampling.seed;
        row.warnings.extend(warn::of_lane(lane.arm, processes, measured.ablation.metric, seed));
        let checked = run.output_words(*lane);
        if checked != "checked in the timed iterations" {
            row.warnings.push(format!("The output of {} was {checked}.", lane.arm));
        }
    }
    if result.combinations.iter().any(|c| c.factor.is_some()) {
        row.evidence = model::EvidenceType::Measured;
    }
    row.ablation = Some(Box::new(result));
    row
}

fn outcome(measured: &Measured<'_>, result: &model::Ablation) -> Outcome {
    // The first of the heaviest.
    let problems = measured.problems.iter().flatten();
    let worst = problems.fold(None::<&Outcome>, |worst, next| match worst {
        Some(worst) if weight(worst.verdict) >= weight(next.verdict) => Some(worst),
        _ => Some(next),
    });
    if let Some(worst) = worst {
        let count = measured.problems.iter().flatten().count();
        let reason = format!(
            "{count} of {} combinations cannot be used, so there is no Shapley value. {}",
            measured.lanes.len(),
            worst.reason
        );
        return Outcome { verdict: worst.verdict, reason, remedy: worst.remedy.clone() };
    }
    let (Some(joint), Some(ratio), Some(product)) = (result.joint, result.joint_over_product, result.product) else {
        let why = result.missing.clone().unwrap_or_else(|| "The run is unfinished.".into());
        return Outcome::new(Verdict::Inconclusive, why)
            .with_remedy("finish it with `qa run --resume`, or declare more blocks: bounds need at least two");
    };
    let factor =
        |f: Factor| format!("{}x [{}, {}]", words::number(f.estimate), words::number(f.lower), words::number(f.upper));
    let multiply = if result.switches.len() < 2 {
        String::new()
    } else {
        let said = match (ratio.lower > 1.0, ratio.upper < 1.0) {
            (_, true) => "the gains overlap: they do not multiply",
            (true, _) => "the gains reinforce each other: they do more than multiply",
            _ => "that the gains multiply is not excluded",
        };
        format!(
            " The product of the factors alone is {}x; the joint factor over it is {}: {said}.",
            words::number(product.estimate),
            factor(ratio)
        )
    };
    Outcome::new(Verdict::Reported, format!("All together: {}.{multiply}", factor(joint)))
}

#[cfg(test)]
mod tests;
