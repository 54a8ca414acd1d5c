//! What a backend can never deliver is refused before anything runs; what it does not understand, likewise.

use super::super::node::Node;
use super::super::options;
use super::super::problem::list;
use super::super::types::{AmountBound, Arm, Backend, OutputPolicy};
use super::{Checker, at, uses};
use crate::spec::matrix::LISTED;
use qa_protocol::{Metric, Sampling};

/// Whether an arm of a backend can give a metric, ever.
pub fn delivers(backend: Backend, metric: Metric) -> bool {
    never_delivered(backend, metric).is_none()
}

/// Why a backend never gives a metric.
pub fn never_delivered(backend: Backend, metric: Metric) -> Option<&'static str> {
    match (backend, metric) {
        (Backend::Reference, Metric::PeakDeviceMemory) => Some("it computes on the CPU"),
        (Backend::LlamaCpp, Metric::InterTokenLatencyP99) => Some("`llama-bench` times whole generations"),
        (Backend::Ollama, Metric::InterTokenLatencyP99) => Some("Ollama times whole generations"),
        (Backend::Ollama, Metric::PeakHostMemory | Metric::PeakDeviceMemory) => {
            Some("Ollama's server is not a process of the harness")
        }
        (Backend::OpenAi, Metric::PeakHostMemory | Metric::PeakDeviceMemory) => Some("a client does not see it"),
        (Backend::OpenAi | Backend::Plugin, _) => None,
        (_, metric) if metric.needs_load() => Some("it answers one request after the other"),
        _ => None,
    }
}

/// Why a backend never counts a witness's counter.
fn never_counted(backend: Backend, counter: &str) -> Option<&'static str> {
    match (backend, counter) {
        (Backend::Reference, "draft_acceptance") => Some("it drafts nothing"),
        (Backend::Reference, counter) if counter != "positions_per_token" => {
            Some("it computes on the CPU, without launches")
        }
        (Backend::LlamaCpp | Backend::Ollama | Backend::OpenAi, _) => Some("it counts nothing"),
        _ => None,
    }
}

const TEXT_ONLY: &str = "Ollama returns text, neither token ids nor probabilities";

/// Why a backend never answers a check.
fn never_answered(backend: Backend, check: &str) -> Option<&'static str> {
    match (check, backend) {
        ("kernel" | "timeline" | "gpu", Backend::Reference) => Some("it computes on the CPU"),
        ("kernel" | "timeline", Backend::LlamaCpp | Backend::Ollama | Backend::OpenAi) => {
            Some("it does not show its kernels")
        }
        ("correct" | "reproducible", Backend::Ollama) => Some(TEXT_ONLY),
        ("correct", Backend::OpenAi) => Some("a server gives no probabilities of a given text"),
        _ => None,
    }
}

pub(super) fn check(checker: &mut Checker<'_>) {
    let spec = checker.spec;
    for (name, arm) in &spec.arms {
        of_arm(checker, name, arm);
    }
    for claim in uses::claims(spec) {
        ends_of_sequence(checker, &claim);
        one_clock(checker, &claim);
        greedy_drafts(checker, &claim);
        for (fields, name) in &claim.arms {
            let Some(arm) = spec.arms.get(*name) else { continue };
            let backend = backend_name(arm.backend);
            if let Some(metric) = claim.metric
                && let Some(why) = never_delivered(arm.backend, metric)
            {
                let path = if claim.metric_named { claim.field(&at!["metric"]) } else { claim.field(fields) };
                let known: Vec<&str> =
                    Metric::ALL.iter().filter(|m| delivers(arm.backend, **m)).map(|m| m.name()).collect();
                let help = format!("{backend} gives {}", list(known.iter().copied()));
                checker.error(&path, format!("`{name}` can never give `{metric}`: {why}"), "not from this arm", help);
            }
            if let Some(why) = never_answered(arm.backend, claim.check) {
                let help = "remove the check for this arm";
                let message = format!("`{name}` can never answer `{}`: {why}", claim.check);
                checker.error(&claim.field(fields), message, format!("an arm of {backend}"), help);
            }
        }
    }
    for (section, entries) in [(LISTED[0], &spec.checkpoints), (LISTED[1], &spec.acceptance)] {
        for (index, entry) in entries.iter().enumerate() {
            let Some(witness) = &entry.witness else { continue };
            let Some(arm) = spec.arms.get(&witness.arm) else { continue };
            let by_layers = [
                ("launches_per_token", witness.launches_per_token),
                ("graph_replays_per_token", witness.graph_replays_per_token),
                ("streams", witness.streams),
                ("grid_syncs_per_token", witness.grid_syncs_per_token),
                ("positions_per_token", witness.positions_per_token),
                ("draft_acceptance", witness.draft_acceptance),
            ];
            for (field, _) in
                by_layers.iter().filter(|(_, b)| arm.model.is_none() && b.is_some_and(AmountBound::needs_layers))
            {
                let message = format!("`{}` has no model, so `layers` means nothing", witness.arm);
                let help = "write a number, or name the arm's model";
                checker.error_at_name(&at![section, index, "witness", *field], message, "how many layers?", help);
            }
            for (check, field, _) in super::numbers::bounds(entry).into_iter().filter(|(check, ..)| *check == "witness")
            {
                let undrafted = field == "draft_acceptance" && arm.backend == Backend::Native && !drafts(arm);
                let why = if undrafted { Some("it drafts nothing") } else { never_counted(arm.backend, field) };
                if let Some(why) = why {
                    let message = format!("`{}` can never count `{field}`: {why}", witness.arm);
                    let help = "an arm that does not count fails the check; remove the bound";
                    checker.error_at_name(&at![section, index, check, field], message, "not from this arm", help);
                }
            }
        }
    }
}

/// Whether an arm drafts tokens.
fn drafts(arm: &Arm) -> bool {
    arm.backend == Backend::Native && arm.options.get("draft_tokens").is_some_and(|tokens| !tokens.is_null())
}

/// Drafts are held against the likeliest token: where tokens are drawn at random there are none.
fn greedy_drafts(checker: &mut Checker<'_>, claim: &uses::Claim<'_>) {
    let spec = checker.spec;
    let Some(named) = claim.workload else { return };
    let name = spec.workload_name(named);
    if spec.workloads.get(name).is_none_or(|workload| workload.sampling == Sampling::Greedy) {
        return;
    }
    for (fields, arm) in &claim.arms {
        if spec.arms.get(*arm).is_some_and(drafts) {
            let message = format!("`{arm}` drafts tokens, and `{name}` draws them at random");
            let help = "leave `draft_tokens` out, or measure it in a workload with `sampling: greedy`";
            checker.error(&claim.field(fields), message, "drafts are held against the likeliest token", help);
        }
    }
}

/// `llama-bench` generates a fixed number of tokens; one that may stop early is another workload.
fn ends_of_sequence(checker: &mut Checker<'_>, claim: &uses::Claim<'_>) {
    let spec = checker.spec;
    let (Some(Metric::DecodeRate), Some(named)) = (claim.metric, claim.workload) else { return };
    let name = spec.workload_name(named);
    let stops = spec.workloads.get(name).is_some_and(|workload| !workload.ignore_eos);
    let bench = claim.arms.iter().find(|(_, arm)| spec.arms.get(*arm).is_some_and(|a| a.backend == Backend::LlamaCpp));
    if let (true, Some((_, arm))) = (stops, bench) {
        let path = at!["workloads", name, "ignore_eos"];
        let message = format!("`{name}` may end early, and `{arm}` never does");
        let help = "say `ignore_eos: true`, so that every arm generates as many tokens";
        checker.error_at_name(&path, message, "`llama-bench` generates a fixed number", help);
    }
}

/// What a client sees of a server holds HTTP and queueing; what an engine says of itself does not.
fn one_clock(checker: &mut Checker<'_>, claim: &uses::Claim<'_>) {
    let spec = checker.spec;
    let over_http = |name: &str| spec.arms.get(name).is_some_and(|arm| arm.backend == Backend::OpenAi);
    let (Some(metric), true) = (claim.metric, claim.ratio) else { return };
    let served = claim.arms.iter().find(|(_, arm)| over_http(arm));
    let inside = claim.arms.iter().find(|(_, arm)| !over_http(arm));
    if let (Some((fields, served)), Some((_, inside))) = (served, inside) {
        let message =
            format!("`{metric}` of `{served}` is taken by a client over HTTP, that of `{inside}` inside its process");
        let help = "serve both: an `openai` arm may start llama-server by its `command`";
        checker.error(&claim.field(fields), message, "another clock", help);
    }
}

fn of_arm(checker: &mut Checker<'_>, name: &str, arm: &Arm) {
    const OF_EVERY_ARM: [&str; 4] = ["backend", "model", "command", "output"];
    let path = at!["arms", name];
    let Some(node) = checker.tree.get("arms").and_then(|arms| arms.get(name)) else { return };
    let fields = node.fields().iter().filter(|field| !OF_EVERY_ARM.contains(&field.name.as_str())).cloned().collect();
    let own = Node { kind: super::super::node::Kind::Map(fields), span: node.span };
    let place = checker.tree.locate_name(&path);
    if arm.backend == Backend::Ollama && arm.output != Some(OutputPolicy::Unchecked) {
        let help =
            "say `output: unchecked`: its speed may then be compared, and the report says that nobody checked it";
        let message = format!("the output of `{name}` can never be checked: {TEXT_ONLY}");
        checker.error_at_name(&path, message, "no claim about it could pass", help);
    }
    checker.findings.errors.extend(options::check(arm.backend, &own, &path, place));
}

fn backend_name(backend: Backend) -> &'static str {
    match backend {
        Backend::Native => "`native`",
        Backend::Reference => "`reference`",
        Backend::LlamaCpp => "`llama-cpp`",
        Backend::Ollama => "`ollama`",
        Backend::OpenAi => "`openai`",
        Backend::Fake => "`fake`",
        Backend::Plugin => "a plugin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qa_protocol::Worker;

    fn listed(backend: Backend) -> Vec<Metric> {
        Metric::ALL.into_iter().filter(|metric| delivers(backend, *metric)).collect()
    }

    #[test]
    fn backends_offer_what_the_table_says() {
        let sorted = |mut metrics: Vec<Metric>| {
            metrics.sort_unstable();
            metrics
        };
        let reference = qa_reference::worker().hello().capabilities.metrics;
        assert_eq!(sorted(reference), listed(Backend::Reference));
        let ollama = qa_ollama::worker().hello().capabilities;
        assert_eq!(sorted(ollama.metrics), listed(Backend::Ollama));
        assert!(ollama.tokens.is_none() && !ollama.score, "then its output could be checked after all");
        assert_eq!(sorted(qa_openai::worker().hello().capabilities.metrics), listed(Backend::OpenAi));
        // What llama.cpp can offer depends on the machine: memory is read from the system and the driver.
        let llama_cpp = qa_llama_cpp::worker().hello().capabilities.metrics;
        assert!(llama_cpp.iter().all(|metric| delivers(Backend::LlamaCpp, *metric)), "{llama_cpp:?}");
        assert!(
            listed(Backend::LlamaCpp).len() == Metric::ALL.iter().filter(|metric| !metric.needs_load()).count() - 1
        );
    }
}
