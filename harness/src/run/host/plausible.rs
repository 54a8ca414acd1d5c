//! What no honest measurement can say. Such a sample is a loss, not a number.

mod load;

use qa_protocol::{Metric, Prepared, Profile, ProfileRequest, RunRequest, Sample, ScoreRequest, ScoreRow, TokenSource};
use std::time::Duration;

/// How much more time than the harness saw pass a worker may claim, as a share: clocks differ a little.
const CLOCK_SHARE: f64 = 1.1;

/// The same in nanoseconds, for what is over in no time.
const CLOCK_SLACK_NS: f64 = 1e6;

/// How much more than the whole decode its tokens may take together, as a share: rounding.
const TOKENS_SHARE: f64 = 1.05;

/// How far from 1 the probabilities of a position may add up: they may come from a file with 16-bit logarithms.
const MASS_SLACK: f64 = 0.02;

/// The answers to one `run`, as they come.
pub(super) struct RunCheck<'a> {
    request: &'a RunRequest,
    source: Option<TokenSource>,
    seen: u32,
    claimed_ns: f64,
    tokens: bool,
    host_memory: bool,
    device_memory: bool,
}

impl<'a> RunCheck<'a> {
    /// `source` is where the worker says that its tokens come from.
    pub(super) fn new(request: &'a RunRequest, source: Option<TokenSource>) -> Self {
        Self { request, source, seen: 0, claimed_ns: 0.0, tokens: false, host_memory: false, device_memory: false }
    }

    /// Check the next sample. `observed` is the time since the request by the harness's clock, where the worker shares it.
    /// All samples together must fit in there, so that it does not matter when each of them is sent.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(super) fn accept(&mut self, sample: &Sample, observed: Option<Duration>) -> Result<(), String> {
        let at = |problem: String| format!("Sample {} cannot be: {problem}.", self.seen);
        one_sample(sample, self.seen, self.request, self.source).map_err(at)?;
        self.claimed_ns += sample.prefill_ns.unwrap_or_default() + sample.decode_ns.unwrap_or_default();
        self.claimed_ns += load::span_ns(sample);
        if let Some(observed) = observed {
            let so_far = if self.seen == 0 { "it claims" } else { "the samples so far claim" };
            fits(self.claimed_ns, observed).map_err(|e| at(format!("{so_far} {e}")))?;
        }
        self.tokens |= sample.tokens.is_some();
        self.host_memory |= sample.memory.host_peak_bytes.is_some();
        self.device_memory |= sample.memory.device_peak_bytes.is_some();
        self.seen += 1;
        Ok(())
    }

    /// Check that the samples together have what need not be in each of them.
    ///
    /// # Errors
    /// What is missing, as a sentence.
    pub(super) fn complete(&self) -> Result<(), String> {
        let asked = |metric| self.request.metrics.contains(&metric);
        if asked(Metric::PeakHostMemory) && !self.host_memory {
            return Err("No sample has `memory.host_peak_bytes`, which `peak_host_memory` is taken from.".into());
        }
        if asked(Metric::PeakDeviceMemory) && !self.device_memory {
            return Err("No sample has `memory.device_peak_bytes`, which `peak_device_memory` is taken from.".into());
        }
        if self.request.tokens && self.source.is_some() && !self.tokens {
            return Err("No sample has `tokens`, which were asked for and which `hello` says that it can give.".into());
        }
        Ok(())
    }
}

/// One sample against its request; `number` is its place among the samples.
fn one_sample(sample: &Sample, number: u32, request: &RunRequest, source: Option<TokenSource>) -> Result<(), String> {
    let warmup = number < request.warmup;
    if sample.warmup != warmup {
        let (says, is) = if warmup { ("timed", "warm-up") } else { ("warm-up", "timed") };
        return Err(format!("it calls itself {says}, and it is {is}: `warmup` is {}", sample.warmup));
    }
    if let Some(load) = &request.load {
        load::check(sample, request, load)?;
        return tokens(sample, request, source);
    }
    time("prefill_ns", sample.prefill_ns)?;
    time("decode_ns", sample.decode_ns)?;
    needed(sample, &request.metrics)?;
    prompt(sample, request)?;
    passes(sample, request)?;
    token_times(sample)?;
    drafts(sample)?;
    tokens(sample, request, source)
}

fn time(field: &str, ns: Option<f64>) -> Result<(), String> {
    match ns {
        Some(ns) if !(ns.is_finite() && ns > 0.0) => Err(format!("`{field}` is {ns}, and a time is above 0")),
        _ => Ok(()),
    }
}

fn needed(sample: &Sample, metrics: &[Metric]) -> Result<(), String> {
    for metric in metrics {
        let (field, there) = match metric {
            Metric::DecodeRate => ("decode_ns", sample.decode_ns.is_some()),
            Metric::PrefillRate | Metric::TimeToFirstToken => ("prefill_ns", sample.prefill_ns.is_some()),
            Metric::InterTokenLatencyP99 => ("token_ns", !sample.token_ns.is_empty()),
            // Memory may come with any one sample, and load time comes with `prepared`.
            Metric::PeakHostMemory | Metric::PeakDeviceMemory | Metric::LoadTime => continue,
            _ => ("requests", !sample.requests.is_empty()),
        };
        if !there {
            return Err(format!("it has no `{field}`, or null, which `{metric}` is taken from"));
        }
    }
    Ok(())
}

fn prompt(sample: &Sample, request: &RunRequest) -> Result<(), String> {
    let timed = sample.prefill_ns.is_some() || sample.decode_ns.is_some();
    let (says, asked) = (sample.prompt_tokens, request.prompt.len());
    if timed && says as usize != asked {
        return Err(format!("it says that the prompt had {says} tokens, and {asked} were asked for"));
    }
    Ok(())
}

fn passes(sample: &Sample, request: &RunRequest) -> Result<(), String> {
    let (says, asked) = (sample.decode_tokens, request.generate_tokens);
    if sample.decode_ns.is_none() {
        return Ok(());
    }
    // From the first id to the last there is one pass fewer than there are ids; a program that is told how often to decode
    // does it as often as there are ids.
    let fewest = if request.ignore_eos { asked.saturating_sub(1) } else { 1 };
    if says == 0 || says < fewest || says > asked {
        let end = if request.ignore_eos { "" } else { " at most" };
        return Err(format!("it says that it decoded {says} tokens, and {asked} were asked for{end}"));
    }
    Ok(())
}

fn token_times(sample: &Sample) -> Result<(), String> {
    if sample.token_ns.is_empty() {
        return Ok(());
    }
    sample.token_ns.iter().try_for_each(|ns| time("token_ns", Some(*ns)))?;
    let (found, passes) = (sample.token_ns.len(), sample.decode_tokens);
    if found != passes as usize {
        return Err(format!("`token_ns` has {found} times for {passes} decoded tokens"));
    }
    let parts: f64 = sample.token_ns.iter().sum();
    match sample.decode_ns {
        Some(whole) if parts > whole * TOKENS_SHARE => {
            Err(format!("its tokens took {} together, and its whole decode {}", ms(parts), ms(whole)))
        }
        _ => Ok(()),
    }
}

/// Every pass gives the drafts that it accepts and one token more, but the last, which may end with a draft.
fn drafts(sample: &Sample) -> Result<(), String> {
    let Some(drafts) = sample.witness.drafts else { return Ok(()) };
    let (tokens, given) = (u64::from(sample.decode_tokens), drafts.passes.saturating_add(drafts.accepted));
    if tokens != given && tokens.saturating_add(1) != given {
        let (passes, accepted) = (drafts.passes, drafts.accepted);
        return Err(format!("it decoded {tokens} tokens by {passes} passes and {accepted} accepted drafts"));
    }
    if drafts.accepted.saturating_add(drafts.rejected) > drafts.drafted || drafts.rejected > drafts.passes {
        return Err(format!(
            "of {} drafts {} were accepted and {} rejected, in {} passes",
            drafts.drafted, drafts.accepted, drafts.rejected, drafts.passes
        ));
    }
    if drafts.cycles_from.is_some_and(|tokens| tokens > sample.decode_tokens + 1) {
        return Err("its text goes in circles after its end".into());
    }
    Ok(())
}

fn tokens(sample: &Sample, request: &RunRequest, source: Option<TokenSource>) -> Result<(), String> {
    let source = sample.token_source.or(source);
    let Some(tokens) = &sample.tokens else {
        return match source {
            Some(TokenSource::Timed) if request.tokens => {
                Err("it has no `tokens`, which were asked for and which `hello` says that it can give".into())
            }
            _ => Ok(()),
        };
    };
    let (found, asked) = (tokens.len(), request.generate_tokens);
    let too_few = if request.ignore_eos { found < asked as usize } else { found == 0 };
    if too_few || found > asked as usize {
        let end = if request.ignore_eos { "" } else { " at most" };
        return Err(format!("it has {found} generated tokens, and {asked} were asked for{end}"));
    }
    let passes = sample.decode_tokens as usize;
    if source == Some(TokenSource::Timed) && sample.decode_ns.is_some() && passes + 1 != found {
        return Err(format!("it has {found} generated tokens, and counts {passes} passes from the first to the last"));
    }
    Ok(())
}

/// A load, by the worker's clock, against the time that the harness waited for it.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(super) fn prepared(prepared: &Prepared, observed: Option<Duration>) -> Result<(), String> {
    observed
        .map_or(Ok(()), |observed| fits(prepared.load_ns as f64, observed))
        .map_err(|e| format!("Its load time cannot be: it claims {e}."))
}

/// A profile.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(super) fn profile(profile: &Profile, request: &ProfileRequest) -> Result<(), String> {
    let (says, asked) = (profile.decode_tokens, request.generate_tokens.saturating_sub(1));
    if says > asked || (request.ignore_eos && says != asked) {
        return Err(format!(
            "Its profile cannot be: it decoded {says} tokens after the first, and {asked} were asked for."
        ));
    }
    let Some(timeline) = &profile.timeline else { return Ok(()) };
    for span in &timeline.spans {
        let times = [span.begin_ns, span.end_ns, span.wait_ns.unwrap_or(0.0)];
        if times.iter().any(|ns| !(ns.is_finite() && *ns >= 0.0)) || span.end_ns < span.begin_ns {
            return Err(format!(
                "Its timeline cannot be: {} runs from {} to {} ns.",
                span.name, span.begin_ns, span.end_ns
            ));
        }
        if span.lane as usize >= timeline.lanes.len() {
            return Err(format!(
                "Its timeline cannot be: {} runs on lane {}, which there is not.",
                span.name, span.lane
            ));
        }
    }
    Ok(())
}

/// What a worker says it measured against the time that the harness saw pass.
fn fits(claimed_ns: f64, observed: Duration) -> Result<(), String> {
    let observed_ns = observed.as_secs_f64() * 1e9;
    if claimed_ns <= observed_ns * CLOCK_SHARE + CLOCK_SLACK_NS {
        return Ok(());
    }
    Err(format!("{} of work, and only {} went by since it was asked", ms(claimed_ns), ms(observed_ns)))
}

fn ms(ns: f64) -> String {
    format!("{:.3} ms", ns / 1e6)
}

/// How many positions a score request asks for.
pub(super) fn score_rows(request: &ScoreRequest) -> u32 {
    let windows = (request.tokens.len() as u32).checked_div(request.context).unwrap_or_default();
    windows * request.context.saturating_sub(request.first)
}

/// Index of the token that row `number` is about.
pub(super) fn score_index(request: &ScoreRequest, number: u32) -> u32 {
    let scored = request.context.saturating_sub(request.first).max(1);
    number / scored * request.context + request.first + number % scored
}

/// One scored position.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(super) fn score_row(row: &ScoreRow, request: &ScoreRequest) -> Result<(), String> {
    let at = |problem: String| Err(format!("The score of token {} cannot be: {problem}.", row.index));
    if !(row.nll.is_finite() && row.nll >= -1e-6) {
        return at(format!("`nll` is {}, and no probability exceeds 1", row.nll));
    }
    if row.top.is_empty() || row.top.len() > request.top as usize {
        return at(format!("`top` has {} tokens, and {} were asked for", row.top.len(), request.top));
    }
    if let Some((id, l)) = row.top.iter().find(|(_, l)| !(l.is_finite() && *l <= 1e-4)) {
        return at(format!("the log-probability of token {id} is {l}"));
    }
    if row.top.windows(2).any(|pair| pair[0].1 < pair[1].1) {
        return at("`top` does not begin with the likeliest".into());
    }
    let mass = row.top.iter().map(|(_, l)| f64::from(*l).exp()).sum::<f64>() + row.tail;
    if !(row.tail >= -MASS_SLACK && (mass - 1.0).abs() <= MASS_SLACK) {
        return at(format!("`top` and `tail` ({}) add up to a probability of {mass:.4}", row.tail));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
