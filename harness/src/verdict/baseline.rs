//! An arm of an earlier run as comparator: whether it is there, whether the two can be compared, and its values.

use super::compare::Question;
use super::gates::Run;
use super::observed::Lane;
use super::outcome::Outcome;
use super::words;
use crate::environment::machine;
use crate::plan::BaselineStep;
use crate::report::model::{ArmValues, Verdict};
use crate::report::phrase;
use crate::samples::{Baseline, Environment, OfMetric, Record};
use crate::spec::{self, Families, Spec};
use crate::stats::{StatsError, summary};
use qa_protocol::Metric;

/// What a question compares its arm with, where that is an earlier run.
///
/// # Errors
/// BLOCKED, where the history has none; ERROR, where nobody looked yet.
pub(super) fn of<'a>(run: Run<'a>, question: &Question<'_>) -> Result<Option<&'a Baseline>, Outcome> {
    let Some(asked) = question.baseline else { return Ok(None) };
    let lane = question.of;
    let arm = asked.arm.as_deref().unwrap_or(lane.arm);
    let step = BaselineStep { workload: lane.workload.into(), branch: asked.baseline.clone(), arm: arm.into() };
    match run.observed.baseline(&step) {
        Some(Ok(baseline)) => Ok(Some(baseline)),
        Some(Err(why)) => {
            let reason = format!("There is no baseline {} of {arm}: {why}.", asked.baseline);
            let remedy = format!("store one: `qa run` on {0}, then `qa history add RUN --branch {0}`", asked.baseline);
            Err(Outcome::new(Verdict::Blocked, reason).with_remedy(remedy))
        }
        None => Err(Outcome::new(Verdict::Error, "The history was not asked for the baseline: the run is unfinished.")
            .with_remedy("finish it with `qa run --resume`")),
    }
}

/// What an earlier run must share with this one to be compared with.
///
/// # Errors
/// INVALID, with the first thing that differs.
pub(super) fn comparable(run: Run<'_>, question: &Question<'_>, baseline: &Baseline) -> Result<(), Outcome> {
    let Some(asked) = question.baseline else { return Ok(()) };
    let invalid = |reason: String, remedy: &str| {
        let of = format!("the baseline {} ({})", asked.baseline, baseline.path);
        Err(Outcome::new(Verdict::Invalid, format!("{reason} It is {of}.")).with_remedy(remedy))
    };
    let again = "measure the baseline again as things are now, or make both builds arms of one run";
    let here = machine(run.environment);
    if baseline.machine != here {
        return invalid(format!("The baseline was measured on {}, and this run on {here}.", baseline.machine), again);
    }
    let arm = question.of.arm;
    if let Some(device) = run.measured(question.of)?.first().map(|process| &process.prepared.device)
        && (device.kind, &device.name) != (baseline.device.kind, &baseline.device.name)
    {
        return invalid(format!("{arm} ran on {}, the baseline on {}.", device.name, baseline.device.name), again);
    }
    let hash = |hash: Option<&str>| hash.map_or_else(|| "none".to_owned(), |hash| format!("{hash:.12}"));
    let model = run.model_of(arm).map(|model| model.sha256.as_str());
    if model != baseline.model_sha256.as_deref() {
        let (now, then) = (hash(model), hash(baseline.model_sha256.as_deref()));
        return invalid(format!("{arm} ran the model file {now}, the baseline {then}."), again);
    }
    let workload = run.spec.workloads.get(question.of.workload).and_then(|w| serde_json::to_value(w).ok());
    if workload.as_ref() != Some(&baseline.workload) {
        let reason = format!("The workload {} is not what it was in the baseline's run.", question.of.workload);
        return invalid(reason, again);
    }
    let moment = |text: &str| text.parse::<jiff::Timestamp>().ok();
    match moment(&run.environment.started_at).zip(moment(&baseline.started_at)) {
        None => invalid("When the baseline was measured cannot be told.".into(), again),
        Some((now, then)) => {
            let hours = now.duration_since(then).as_secs_f64() / 3600.0;
            if (0.0..=asked.max_age_h).contains(&hours) {
                return Ok(());
            }
            let words = format!("{} hours old, and `max_age_h` allows {}.", words::number(hours), asked.max_age_h);
            invalid(format!("The baseline is {words}"), again)
        }
    }
}

/// The logs of a baseline's values, less their mean.
///
/// # Errors
/// BLOCKED, where it has too few to have a scatter.
pub(super) fn scatter(baseline: &Baseline, metric: Metric) -> Result<Vec<f64>, Outcome> {
    let logs: Vec<f64> = baseline.of(metric).iter().map(|value| value.ln()).collect();
    if logs.len() < 2 {
        let reason = format!(
            "The baseline has {} of its {}, and a bound needs two.",
            words::processes(logs.len()),
            words::metric(metric)
        );
        return Err(Outcome::new(Verdict::Blocked, reason).with_remedy("store a run of more blocks"));
    }
    let center = logs.iter().sum::<f64>() / logs.len() as f64;
    Ok(logs.into_iter().map(|log| log - center).collect())
}

/// The geometric mean of its values.
pub(super) fn center(baseline: &Baseline, metric: Metric) -> f64 {
    let values = baseline.of(metric);
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

/// Its side of the comparison.
///
/// # Errors
/// Where it has no values.
pub(super) fn values(name: &str, baseline: &Baseline, metric: Metric) -> Result<ArmValues, StatsError> {
    let values = baseline.of(metric);
    Ok(ArmValues {
        arm: format!("baseline {name}"),
        median: summary::median(values)?,
        mean: summary::mean(values)?,
        sd: if values.len() > 1 { summary::sd(values)? } else { 0.0 },
        processes: values.len() as u32,
        iterations: baseline.iterations,
        output: baseline.output.clone(),
    })
}

/// What a reader must know of a comparison with an earlier run.
pub(super) fn warnings(run: Run<'_>, lane: Lane<'_>, baseline: &Baseline) -> Vec<String> {
    let mut said = vec![format!(
        "The baseline was measured in another run ({}, {}): what the machine did otherwise then counts as a change of {}.",
        baseline.path,
        phrase::moment(&baseline.started_at),
        lane.arm
    )];
    let resolved = run.observed.processes(lane).first().map(|process| &process.prepared.resolved);
    let names = baseline.resolved.keys().chain(resolved.into_iter().flat_map(|resolved| resolved.keys()));
    let mut differ: Vec<&str> = names
        .filter(|name| resolved.and_then(|resolved| resolved.get(*name)) != baseline.resolved.get(*name))
        .map(String::as_str)
        .collect();
    differ.sort_unstable();
    differ.dedup();
    if !differ.is_empty() {
        said.push(format!("{} took effect otherwise than in the baseline: {}.", lane.arm, differ.join(", ")));
    }
    said
}

/// An arm of a run that is over, as a later one may compare itself with it; its values are what a report of that run says.
///
/// # Errors
/// Why it cannot be a baseline, for the end of a sentence.
pub fn taken(
    spec: &Spec,
    environment: &Environment,
    records: &[Record],
    lane: Lane<'_>,
    whence: (&str, &str),
) -> Result<Baseline, String> {
    let (observed, families) = (super::Observed::new(spec, records), Families::of(spec));
    let (observed, families) = (&observed, &families);
    let run = Run { spec, environment, observed, families, looking: false, schema_violation: None };
    let workload = spec.workloads.get(lane.workload).ok_or_else(|| format!("it has no workload {}", lane.workload))?;
    let arm = spec.arms.get(lane.arm).ok_or_else(|| format!("it has no arm {}", lane.arm))?;
    let of_outcome = |outcome: Outcome| outcome.reason.trim_end_matches('.').to_owned();
    run.valid(lane).map_err(of_outcome)?;
    let processes = run.measured(lane).map_err(of_outcome)?;
    let first = processes.first().ok_or("it did not measure the arm")?;
    let values = Metric::ALL.into_iter().filter_map(|metric| {
        let of_processes: Vec<f64> = processes.iter().filter_map(|process| process.value(metric)).collect();
        (of_processes.len() == processes.len()).then_some(OfMetric { metric, of_processes })
    });
    Ok(Baseline {
        path: whence.0.into(),
        samples_sha256: whence.1.into(),
        started_at: environment.started_at.clone(),
        commit: environment.qa.get("directory_commit").cloned(),
        machine: machine(environment),
        engine: format!("{} {}", first.hello.name, first.hello.version),
        device: first.prepared.device.clone(),
        model_sha256: arm.model.as_ref().and_then(|name| Some(environment.models.get(name)?.sha256.clone())),
        workload: serde_json::to_value(workload).map_err(|e| e.to_string())?,
        resolved: first.prepared.resolved.clone().into_iter().collect(),
        output: run.output_words(lane),
        iterations: processes.iter().map(|process| process.timed.len() as u32).sum(),
        values: values.collect(),
    })
}

/// A baseline's name in words.
pub(super) fn name(asked: &spec::Baseline) -> String {
    format!("the baseline {}", asked.baseline)
}
