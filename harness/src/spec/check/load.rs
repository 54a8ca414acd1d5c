//! Several requests at a time: numbers in their ranges, and claims that mean something of them.

use super::super::types::{Backend, Load, Workload};
use super::{Checker, at, uses};
use qa_protocol::Metric;

/// The most requests of an iteration: each has a thread of the client.
const MOST_REQUESTS: u32 = 4096;
/// The most clients.
const MOST_CLIENTS: u32 = 512;

/// Checks that hold of a decode, or of one request after the other.
const OF_ONE: [&str; 5] = ["witness", "timeline", "soak", "kernel", "ablation"];

pub(super) fn check(checker: &mut Checker<'_>) {
    let spec = checker.spec;
    for (name, workload) in &spec.workloads {
        if let Some(load) = &workload.load {
            numbers(checker, name, workload, load);
        }
    }
    for claim in uses::claims(spec) {
        let Some(named) = claim.workload else { continue };
        let name = spec.workload_name(named);
        let Some(workload) = spec.workloads.get(name) else { continue };
        match &workload.load {
            Some(load) => of_load(checker, &claim, name, load),
            None => of_one(checker, &claim, name),
        }
    }
}

fn numbers(checker: &mut Checker<'_>, name: &str, workload: &Workload, load: &Load) {
    let at = |field: &str| at!["workloads", name, "load", field];
    if load.arrivals_per_s.is_some() == load.clients.is_some() {
        let found = if load.clients.is_some() { "both" } else { "neither" };
        let message = format!("the load of `{name}` has {found} of `arrivals_per_s` and `clients`");
        let help = "requests arrive at random, `arrivals_per_s: 4`, or are sent by `clients: 8`";
        checker.error_at_name(&at!["workloads", name, "load"], message, "expected exactly one", help);
    }
    if let Some(rate) = load.arrivals_per_s {
        let good = rate > 0.0 && rate <= 1e6;
        checker.range(&at("arrivals_per_s"), good, rate, "a number above 0", "mean arrivals a second");
    }
    let count = |found: u32, most: u32| (1..=most).contains(&found);
    if let Some(clients) = load.clients {
        let expected = format!("1 to {MOST_CLIENTS}");
        checker.range(&at("clients"), count(clients, MOST_CLIENTS), clients, &expected, "clients at a time");
    }
    let expected = format!("1 to {MOST_REQUESTS}");
    let help = "requests of one iteration; more iterations or blocks make more of them";
    checker.range(&at("requests"), count(load.requests, MOST_REQUESTS), load.requests, &expected, help);
    let bounds =
        [("first_token_ms", load.first_token_ms), ("per_token_ms", load.per_token_ms), ("late_ms", Some(load.late_ms))];
    for (field, bound) in bounds {
        if let Some(ms) = bound {
            checker.range(
                &at(field),
                ms > 0.0 && ms.is_finite(),
                ms,
                "milliseconds above 0",
                "write it in milliseconds",
            );
        }
    }
    if load.requests > 1 && workload.prompt_tokens < 4 {
        let message = format!("the prompt of `{name}` has {} tokens", workload.prompt_tokens);
        let help = "each request has the prompt's tokens in another order, so that no cache knows it";
        checker.error(&at!["workloads", name, "prompt_tokens"], message, "too short for a load", help);
    }
}

/// A claim about a workload with a load.
fn of_load(checker: &mut Checker<'_>, claim: &uses::Claim<'_>, name: &str, load: &Load) {
    let spec = checker.spec;
    if OF_ONE.contains(&claim.check) {
        let message =
            format!("`{}` is about one request after the other, and `{name}` sends several at a time", claim.check);
        checker.error_at_name(&claim.path, message, "not of this workload", "name a workload without `load`");
        return;
    }
    if let Some(metric) = claim.metric.filter(|metric| claim.metric_named && !metric.fits_load()) {
        let message = format!("`{metric}` means nothing of several requests at a time, as `{name}` sends them");
        let help = "of a load there are goodput, output_rate, time_to_first_token and inter_token_latency with their percentiles";
        checker.error(&claim.field(&at!["metric"]), message, "not of this workload", help);
    }
    if claim.metric == Some(Metric::Goodput) && load.first_token_ms.is_none() && load.per_token_ms.is_none() {
        let message = format!("`goodput` counts what is answered within bounds, and the load of `{name}` has none");
        let help = "give the load `first_token_ms`, `per_token_ms` or both; `output_rate` needs neither";
        checker.error(&claim.field(&at!["metric"]), message, "within which bounds?", help);
    }
    for (fields, arm) in &claim.arms {
        let Some(backend) = spec.arms.get(*arm).map(|arm| arm.backend) else { continue };
        // A metric of its own says so already.
        if claim.metric.is_some_and(|metric| claim.metric_named && super::never_delivered(backend, metric).is_some()) {
            continue;
        }
        let why = match backend {
            Backend::OpenAi | Backend::Plugin => continue,
            Backend::Ollama => "the durations that Ollama tells of itself leave out the wait for a turn",
            _ => "its backend answers one request after the other",
        };
        let message = format!("`{arm}` cannot be asked for several requests at a time, as in `{name}`: {why}");
        let help = "serve it, and measure it with `backend: openai`";
        checker.error(&claim.field(fields), message, "not in this workload", help);
    }
}

/// A claim about a workload without one.
fn of_one(checker: &mut Checker<'_>, claim: &uses::Claim<'_>, name: &str) {
    let Some(metric) = claim.metric.filter(|metric| metric.needs_load()) else { return };
    let message = format!("`{metric}` is of several requests at a time, and `{name}` sends one after the other");
    let help = "give the workload a `load`: `{ arrivals_per_s: 4, requests: 60, first_token_ms: 200 }`";
    checker.error(&claim.field(&at!["metric"]), message, "not of this workload", help);
}
