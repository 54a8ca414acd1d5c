//! Claims about an arm that are facts, not comparisons: witness, kernels, reproducibility, variation, sample sizes.

use super::gates::Run;
use super::observed::Lane;
use super::outcome::Outcome;
use super::profile::{self, Second};
use super::words;
use crate::report::model::{FactRow, Verdict};
use crate::samples::Work;
use crate::spec::{AmountBound, Bound, KernelCheck, OfArm, SampleSize, Variation, WitnessCheck};
use crate::stats::summary;
use qa_protocol::{Drafts, KernelFacts, Witness};
use std::collections::BTreeSet;

/// A fact check, judged: the outcome and what was found.
pub type Checked = (Outcome, Vec<FactRow>);

pub(super) fn fact(name: impl Into<String>, value: impl Into<String>) -> FactRow {
    FactRow { name: name.into(), value: value.into() }
}

pub(super) fn pass(reason: impl Into<String>) -> Outcome {
    Outcome::new(Verdict::Pass, reason)
}

pub(super) fn fail(reason: impl Into<String>) -> Outcome {
    Outcome::new(Verdict::Fail, reason)
}

fn within(value: f64, bound: Bound) -> bool {
    bound.at_least.is_none_or(|least| value >= least) && bound.at_most.is_none_or(|most| value <= most)
}

fn bound_words(bound: Bound) -> String {
    match (bound.at_least, bound.at_most) {
        (Some(least), Some(most)) => {
            let (least, most) = (least.to_string(), most.to_string());
            if least == most { format!("exactly {least}") } else { format!("between {least} and {most}") }
        }
        (Some(least), None) => format!("at least {least}"),
        (None, Some(most)) => format!("at most {most}"),
        (None, None) => "any".into(),
    }
}

/// Where a bound comes from, when it is the model's: ` (layers + 4, of 24 layers)`.
fn meant(bound: AmountBound, layers: Option<u32>) -> String {
    let Some(layers) = layers.filter(|_| bound.needs_layers()) else { return String::new() };
    let ends: Vec<String> = bound.at_least.into_iter().chain(bound.at_most).map(|amount| amount.to_string()).collect();
    format!(" ({}, of {layers} layers)", ends.join(" to "))
}

/// What ran, by counting.
pub fn witness(run: Run<'_>, check: &WitnessCheck, workload: &str) -> Checked {
    type Counter = fn(&Work) -> Option<f64>;
    let lane = Lane { workload, arm: &check.arm, side: 0 };
    let processes = match run.measured(lane) {
        Ok(processes) => processes,
        Err(outcome) => return (outcome, Vec::new()),
    };
    let layers = run.model_of(&check.arm).and_then(|model| model.layers);
    let counters: [(&str, Option<AmountBound>, Counter); 6] = [
        ("launches a token", check.launches_per_token, |s| per_token(s, s.witness.launches)),
        ("graph replays a token", check.graph_replays_per_token, |s| per_token(s, s.witness.graph_replays)),
        ("streams", check.streams, |s| s.witness.streams.map(|streams| streams as f64)),
        ("grid barriers a token", check.grid_syncs_per_token, |s| per_token(s, s.witness.grid_syncs)),
        ("positions computed a token", check.positions_per_token, |s| per_token(s, s.witness.positions)),
        ("draft acceptance", check.draft_acceptance, |s| acceptance(&s.witness)),
    ];
    let samples = || processes.iter().flat_map(|p| p.timed.iter()).map(|row| row.work);
    let (mut facts, mut wrong) = (Vec::new(), Vec::new());
    for (name, bound, counter) in counters {
        let Some(asked) = bound else { continue };
        if asked.needs_layers() && layers.is_none() {
            let reason = format!("How many layers the model of {} has is not known.", check.arm);
            return (Outcome::new(Verdict::Blocked, reason).with_remedy("write the bound as a number"), facts);
        }
        let bound = asked.of(layers.unwrap_or_default());
        let meant = meant(asked, layers);
        let values: Option<Vec<f64>> = samples().map(counter).collect();
        let Some(values) = values else {
            wrong.push(format!("{} did not count its {name}", check.arm));
            continue;
        };
        let (low, high) = extremes(&values);
        let (low_words, high_words) = (words::number(low), words::number(high));
        let found = if low_words == high_words { low_words } else { format!("{low_words} to {high_words}") };
        facts.push(fact(name, format!("{found}, required {}{meant}", bound_words(bound))));
        if !(within(low, bound) && within(high, bound)) {
            wrong.push(format!("{name}: {found}, not {}{meant}", bound_words(bound)));
        }
    }
    facts.extend(drafts(samples()));
    let second = profile::second(run, lane, samples());
    facts.push(second.row());
    if let Second::Contradicted(what) = &second {
        wrong.push(what.clone());
    }
    let outcome = if wrong.is_empty() {
        let counted = format!("Counted in all {}", words::count(samples().count(), "timed iteration"));
        pass(match second {
            Second::Confirmed(by) => format!("{counted}, and confirmed by {by} in an untimed process."),
            Second::Unconfirmed(why) | Second::Contradicted(why) => format!("{counted}; unconfirmed. {why}"),
        })
    } else {
        Outcome::new(Verdict::Invalid, format!("What ran is not what was declared: {}.", wrong.join("; ")))
    };
    (outcome, facts)
}

/// What became of drafts in all samples together, where there were any.
fn drafts<'a>(samples: impl Iterator<Item = &'a Work> + Clone) -> Option<FactRow> {
    let all: Vec<Drafts> = samples.clone().filter_map(|sample| sample.witness.drafts).collect();
    let sum = |of: fn(&Drafts) -> u64| all.iter().map(of).sum::<u64>();
    let (passes, drafted) = (sum(|drafts| drafts.passes), sum(|drafts| drafts.drafted));
    let (accepted, rejected) = (sum(|drafts| drafts.accepted), sum(|drafts| drafts.rejected));
    let tokens: u64 = samples.map(|work| u64::from(work.decode_tokens)).sum();
    let value =
        format!("{drafted} drafted, {accepted} accepted, {rejected} rejected, in {passes} passes for {tokens} tokens");
    (passes > 0).then(|| fact("drafts", value))
}

fn per_token(work: &Work, counter: Option<u64>) -> Option<f64> {
    counter.map(|count| count as f64 / f64::from(work.decode_tokens.max(1)))
}

/// The share of drafts that held, of those that were looked at.
fn acceptance(witness: &Witness) -> Option<f64> {
    let drafts = witness.drafts?;
    let looked_at = drafts.accepted + drafts.rejected;
    (looked_at > 0).then(|| drafts.accepted as f64 / looked_at as f64)
}

fn extremes(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
}

/// Facts of compiled kernels.
pub fn kernel(run: Run<'_>, check: &KernelCheck, workload: &str) -> Checked {
    type Get = fn(&KernelFacts) -> u32;
    let lane = Lane { workload, arm: &check.arm, side: 0 };
    let processes = match run.measured(lane) {
        Ok(processes) => processes,
        Err(outcome) => return (outcome, Vec::new()),
    };
    let kernels: Vec<&KernelFacts> = processes
        .first()
        .map(|p| p.prepared.kernels.iter().filter(|k| check.entry.as_ref().is_none_or(|e| k.name == *e)).collect())
        .unwrap_or_default();
    if kernels.is_empty() {
        let what = check.entry.as_deref().map_or("any kernel".to_string(), |e| format!("a kernel called {e}"));
        return (fail(format!("{} did not report {what}.", check.arm)), Vec::new());
    }
    let bounds: [(&str, Option<Bound>, Get); 4] = [
        ("registers", check.registers, |k| k.registers),
        ("spilled bytes", check.spill_bytes, |k| k.spill_bytes),
        ("shared bytes", check.shared_bytes, |k| k.shared_bytes),
        ("barriers", check.barriers, |k| k.barriers),
    ];
    let (mut facts, mut wrong) = (Vec::new(), Vec::new());
    for kernel in &kernels {
        for (name, bound, get) in &bounds {
            let Some(bound) = bound else { continue };
            let value = get(kernel);
            facts.push(fact(format!("{}: {name}", kernel.name), format!("{value}, required {}", bound_words(*bound))));
            if !within(f64::from(value), *bound) {
                wrong.push(format!("{} has {value} {name}, not {}", kernel.name, bound_words(*bound)));
            }
        }
    }
    let outcome = if wrong.is_empty() {
        pass(format!("Read from the compiled code of {}.", words::count(kernels.len(), "kernel")))
    } else {
        fail(format!("{}.", wrong.join("; ")))
    };
    (outcome, facts)
}

/// Same seed, same tokens, over every process.
pub fn reproducible(run: Run<'_>, check: &OfArm, workload: &str) -> Checked {
    let lane = Lane { workload, arm: &check.of, side: 0 };
    let processes = match run.measured(lane) {
        Ok(processes) => processes,
        Err(outcome) => return (outcome, Vec::new()),
    };
    let outputs: Vec<&[u32]> = processes.iter().flat_map(|p| p.timed.iter()).filter_map(|s| s.tokens).collect();
    let distinct = outputs.iter().collect::<BTreeSet<_>>().len();
    let facts = vec![
        fact("outputs", outputs.len().to_string()),
        fact("distinct outputs", distinct.to_string()),
        fact("processes", processes.len().to_string()),
    ];
    let outcome = match (outputs.len(), distinct) {
        (0, _) => Outcome::new(Verdict::Blocked, format!("{} returns no tokens to compare.", check.of)),
        (1, _) => Outcome::new(Verdict::Inconclusive, "A single output cannot show that it repeats.")
            .with_remedy("more iterations or blocks"),
        (n, 1) => pass(format!("All {n} outputs are the same, over {}.", words::processes(processes.len()))),
        (n, d) => fail(format!("{n} outputs of the same prompt and seed are {d} different texts.")),
    };
    (outcome, facts)
}

/// Coefficient of variation between processes, by its upper bound.
pub fn variation(run: Run<'_>, check: &Variation, workload: &str, confidence: f64) -> Checked {
    let lane = Lane { workload, arm: &check.of, side: 0 };
    let values: Vec<f64> = match run.valid(lane).and_then(|()| run.measured(lane)) {
        Ok(processes) => processes.iter().filter_map(|p| p.value(check.metric)).collect(),
        Err(outcome) => return (outcome, Vec::new()),
    };
    let percent = |v: f64| format!("{} %", words::number(100.0 * v));
    // The bound that holds with the opposite probability is the one-sided lower bound.
    let (bound, below) =
        match (summary::cv_upper_bound(&values, confidence), summary::cv_upper_bound(&values, 1.0 - confidence)) {
            (Ok(bound), Ok(below)) => (bound, below),
            (Err(e), _) | (_, Err(e)) => {
                return (Outcome::new(Verdict::Inconclusive, format!("No bound: {e}.")), Vec::new());
            }
        };
    let shown = |bound: Option<f64>| bound.map_or_else(|| "none".to_string(), percent);
    let (lower, upper) = (shown(below.upper), shown(bound.upper));
    let facts = vec![
        fact("coefficient of variation between processes", percent(bound.cv)),
        fact(format!("one-sided {} % bounds", words::number(100.0 * confidence)), format!("{lower} to {upper}")),
        fact("processes", values.len().to_string()),
    ];
    let (cv, limit) = (percent(bound.cv), percent(check.at_most));
    let outcome = if bound.upper.is_some_and(|u| u <= check.at_most) {
        pass(format!("{cv}; the upper bound {upper} is not above {limit}."))
    } else if below.upper.is_some_and(|l| l > check.at_most) {
        fail(format!("{cv}; the lower bound {lower} is above {limit}."))
    } else {
        Outcome::new(
            Verdict::Inconclusive,
            format!("{cv}; the interval from {lower} to {upper} straddles {limit}. Undecided, not equal."),
        )
        .with_remedy("more blocks")
    };
    (outcome, facts)
}

/// How much was measured.
pub fn samples(run: Run<'_>, check: &SampleSize, workload: &str) -> Checked {
    let (mut facts, mut short) = (Vec::new(), Vec::new());
    for arm in &check.arms {
        let processes = match run.measured(Lane { workload, arm, side: 0 }) {
            Ok(processes) => processes,
            Err(outcome) => return (outcome, facts),
        };
        let iterations: usize = processes.iter().map(|p| p.timed.len()).sum();
        let found =
            format!("{} over {}", words::count(iterations, "timed iteration"), words::processes(processes.len()));
        if iterations < check.iterations_at_least as usize || processes.len() < check.processes_at_least as usize {
            short.push(format!("{arm} has {found}"));
        }
        facts.push(fact(arm.as_str(), found));
    }
    let required = format!("{} iterations over {} processes", check.iterations_at_least, check.processes_at_least);
    let outcome = if short.is_empty() {
        pass(format!("Every arm has at least {required}."))
    } else {
        fail(format!("{}; required: {required}.", short.join("; ")))
    };
    (outcome, facts)
}
