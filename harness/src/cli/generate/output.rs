//! Text as it comes, and the figures at the end.

use super::engine::{Ask, Engine, Outcome};
use serde_json::json;
use std::io::{self, Write as _};
use std::time::Duration;

/// Prints text at once, or keeps it for the end.
pub(super) struct Printer {
    json: bool,
    text: String,
    failed: Option<io::Error>,
}

/// Everything that is told at the end.
pub(super) struct Summary<'a> {
    pub engine: &'a Engine,
    pub ask: &'a Ask<'a>,
    pub seed: u64,
    pub outcome: &'a Outcome,
}

impl Printer {
    /// With `json`, text is kept.
    pub fn new(json: bool) -> Self {
        Self { json, text: String::new(), failed: None }
    }

    /// More text. What cannot be written is told by [`Printer::end`]: a generation cannot be broken off.
    pub fn text(&mut self, text: &str) {
        if self.json {
            self.text.push_str(text);
        } else if self.failed.is_none() && !text.is_empty() {
            let mut out = io::stdout();
            self.failed = out.write_all(text.as_bytes()).and_then(|()| out.flush()).err();
        }
    }

    /// The end of the text, and the figures: on standard error, or as JSON in place of the text.
    ///
    /// # Errors
    /// Where the text or the figures could not be written. That nobody reads any more is no error.
    pub fn end(self, summary: &Summary<'_>) -> io::Result<()> {
        let written = match self.failed {
            Some(e) => Err(e),
            None if self.json => writeln!(io::stdout(), "{:#}", summary.json(&self.text)),
            None => writeln!(io::stdout()).and_then(|()| writeln!(io::stderr(), "{}", summary.words())),
        };
        written.or_else(|e| if e.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(e) })
    }
}

impl Summary<'_> {
    fn ended(&self) -> &'static str {
        let last = self.outcome.tokens.last();
        if last.is_some_and(|id| self.ask.stop.contains(id)) { "end_of_text" } else { "length" }
    }

    /// Passes after the first id, which is what the decode's time is for.
    fn passes(&self) -> usize {
        self.outcome.tokens.len().saturating_sub(1)
    }

    fn words(&self) -> String {
        let (prompt, passes) = (self.ask.prompt.len(), self.passes());
        let Outcome { prefill, decode, tokens, drafts } = self.outcome;
        let rate = |count, time| rate(count, time).map_or_else(String::new, |rate| format!(", {rate:.1} tokens/s"));
        let end = if self.ended() == "end_of_text" { ", then the text ended" } else { "" };
        let drafts = drafts.map_or_else(String::new, |drafts| {
            format!("; drafts: {} accepted of {} in {} passes", drafts.accepted, drafts.drafted, drafts.passes)
        });
        format!(
            "prompt: {prompt} tokens in {:.1} ms{}; generated: {} tokens{end}, {passes} after the first in {:.1} ms{}{drafts}; on {}",
            prefill.as_secs_f64() * 1e3,
            rate(prompt, *prefill),
            tokens.len(),
            decode.as_secs_f64() * 1e3,
            rate(passes, *decode),
            self.engine.place(),
        )
    }

    fn json(&self, text: &str) -> serde_json::Value {
        let Outcome { prefill, decode, tokens, drafts } = self.outcome;
        json!({
            "backend": self.engine.name(),
            "place": self.engine.place(),
            "prompt_tokens": self.ask.prompt.len(),
            "text": text,
            "tokens": tokens,
            "ended": self.ended(),
            "seed": self.ask.sampler.map(|_| self.seed),
            "prefill_ns": prefill.as_nanos() as u64,
            "prefill_tokens_per_s": rate(self.ask.prompt.len(), *prefill),
            "decode_passes": drafts.map_or(self.passes() as u64, |drafts| drafts.passes),
            "drafts": drafts,
            "decode_ns": decode.as_nanos() as u64,
            "decode_tokens_per_s": rate(self.passes(), *decode),
        })
    }
}

/// Tokens a second, where any time passed.
fn rate(count: usize, time: Duration) -> Option<f64> {
    (count > 0 && !time.is_zero()).then(|| count as f64 / time.as_secs_f64())
}
