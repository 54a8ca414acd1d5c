//! Facts that make two arms incomparable: they differ where they must not, or do not differ at all.

use super::gates::{Run, invalid};
use super::observed::{Lane, Process};
use super::outcome::Outcome;
use super::{gpu, place, words};
use crate::spec::Backend;
use qa_protocol::Metric;
use serde_json::Value;

/// Most tokens of a prompt that llama.cpp computes at once by itself.
const OWN_UBATCH: u64 = 512;

/// The first fact that makes two lanes incomparable in a metric.
///
/// # Errors
/// The outcome of every claim that compares them.
pub fn comparable(run: Run<'_>, metric: Metric, of: Lane<'_>, over: Lane<'_>) -> Result<(), Outcome> {
    let (left, right) = (run.measured(of)?, run.measured(over)?);
    let (Some(a), Some(b)) = (left.first(), right.first()) else { return Ok(()) };
    if let (Some(file_a), Some(file_b)) = (run.model_of(of.arm), run.model_of(over.arm))
        && file_a.sha256 != file_b.sha256
    {
        return invalid(format!(
            "{} and {} ran different model files ({:.12} and {:.12}).",
            of.arm, over.arm, file_a.sha256, file_b.sha256
        ));
    }
    place::paired((of, left), (over, right))?;
    gpu::same_clock(of.arm, left, over.arm, right)?;
    // A load ends before the prompt; llama-bench is given none where nothing else is asked.
    let prompt = |p: &Process<'_>| p.timed.first().map(|s| s.work.prompt_tokens);
    if metric != Metric::LoadTime && prompt(a) != prompt(b) {
        return invalid(format!(
            "{} evaluated a prompt of {:?} tokens and {} one of {:?}: a comparison needs the same.",
            of.arm,
            prompt(a).unwrap_or_default(),
            over.arm,
            prompt(b).unwrap_or_default()
        ));
    }
    as_many_tokens((of, left), (over, right))?;
    if is_twin(run, (of, a), (over, b)) {
        return invalid(format!(
            "{} and {} are one engine ({} {}) with the same options on the same device, under two names: there is nothing to \
             compare. `control: aa` says that the same arm twice is meant.",
            of.arm, over.arm, a.hello.name, a.hello.version
        ));
    }
    let backend = |lane: Lane<'_>| run.arm(lane.arm).map(|arm| arm.backend);
    // Whoever compares llama.cpp with itself may mean what is odd.
    if backend(over) == Some(Backend::LlamaCpp) && backend(of) != Some(Backend::LlamaCpp) {
        handicapped(over.arm, metric, b)?;
    }
    Ok(())
}

/// From the first id to the last there is one pass fewer than there are ids, and a program that is told how often to decode
/// does it once more; see the protocol.
fn as_many_tokens(
    (of, left): (Lane<'_>, &[Process<'_>]),
    (over, right): (Lane<'_>, &[Process<'_>]),
) -> Result<(), Outcome> {
    let counts = |processes: &[Process<'_>]| {
        let all = || {
            processes
                .iter()
                .flat_map(|p| p.timed.iter())
                .filter(|s| s.decode_ns.is_some())
                .map(|s| s.work.decode_tokens)
        };
        all().min().zip(all().max())
    };
    let (Some((low, high)), Some((other_low, other_high))) = (counts(left), counts(right)) else { return Ok(()) };
    if high.max(other_high) - low.min(other_low) <= 1 {
        return Ok(());
    }
    let range = |low: u32, high: u32| if low == high { low.to_string() } else { format!("{low} to {high}") };
    invalid(format!(
        "{} decoded {} tokens an iteration and {} {}: a comparison needs as many. `ignore_eos: true` in the workload sees to it.",
        of.arm,
        range(low, high),
        over.arm,
        range(other_low, other_high)
    ))
}

/// Whether two arms are the same thing by all that their workers say of themselves.
fn is_twin(run: Run<'_>, (of, a): (Lane<'_>, &Process<'_>), (over, b): (Lane<'_>, &Process<'_>)) -> bool {
    let command = |lane: Lane<'_>| run.arm(lane.arm).map(|arm| arm.command.as_slice()).unwrap_or_default();
    // Two programs of somebody's own need not tell their builds apart.
    let two_programs = !command(of).is_empty() && !command(over).is_empty() && command(of) != command(over);
    let who = |p: &Process<'_>| (p.hello.name.clone(), p.hello.version.clone(), p.hello.build.clone());
    of.arm != over.arm
        && !two_programs
        && who(a) == who(b)
        && a.prepared.resolved == b.prepared.resolved
        && a.prepared.device == b.prepared.device
}

/// What makes llama.cpp slower than it is by itself.
fn handicapped(arm: &str, metric: Metric, process: &Process<'_>) -> Result<(), Outcome> {
    let resolved = &process.prepared.resolved;
    let variables = resolved.get("environment").and_then(Value::as_object);
    let slow = variables.into_iter().flatten().find(|(name, value)| slows(name, value.as_str().unwrap_or_default()));
    if let Some((name, value)) = slow {
        let set = match value.as_str() {
            Some("") => "set to nothing, which counts as set".to_owned(),
            value => format!("set to {}", value.unwrap_or_default()),
        };
        return invalid(format!("{arm} ran with {name} {set}: it makes llama.cpp slower than it is. Unset it."));
    }
    let layers = resolved.get("offloaded_layers").and_then(Value::as_str).and_then(|text| text.split_once('/'));
    if let Some((on_gpu, of)) = layers.filter(|(on_gpu, of)| on_gpu != of && *on_gpu != "0") {
        return invalid(format!(
            "{arm} computed {on_gpu} of {of} layers on the GPU and the others on the processor. Say `gpu_layers: all`."
        ));
    }
    let of_prompt = matches!(metric, Metric::PrefillRate | Metric::TimeToFirstToken);
    let prompt = process.timed.first().map_or(0, |sample| u64::from(sample.work.prompt_tokens));
    let ubatch = resolved.get("n_ubatch").and_then(Value::as_u64);
    match ubatch.filter(|ubatch| of_prompt && *ubatch < OWN_UBATCH.min(prompt)) {
        Some(ubatch) => invalid(format!(
            "{arm} was made to evaluate a prompt of {} in pieces of {ubatch}; by itself llama.cpp takes {OWN_UBATCH} at once. \
             Leave out `ubatch_size`.",
            words::count(prompt as usize, "token")
        )),
        None => Ok(()),
    }
}

/// Whether a variable slows llama.cpp down. Most are looked for, not looked at: set to nothing, they are set.
fn slows(name: &str, value: &str) -> bool {
    let of_ggml =
        name.starts_with("GGML_") && ["_DISABLE_", "_NO_", "_FORCE_", "_DEBUG"].iter().any(|w| name.contains(w));
    of_ggml || name == "GGML_CUDA_ENABLE_UNIFIED_MEMORY" || (name == "CUDA_LAUNCH_BLOCKING" && value != "0")
}
