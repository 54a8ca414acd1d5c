//! The protocol as the harness speaks it: one request at a time, every reply held against what was asked.

use super::plausible::{self, RunCheck};
use super::quote::{plain, quote};
use super::wire::{Event, Wire};
use crate::run::session::{OnSample, Session};
use crate::samples::{Loss, LossCause, Stage};
use crate::spec::Deadlines;
use qa_protocol::{
    DeviceKind, Failure, Hello, MAX_LINE_BYTES, PrepareRequest, Prepared, Profile, ProfileRequest, Reply, ReplyLine,
    Request, RequestLine, RunRequest, ScoreRequest, ScoreRow, TokenSource, VERSION,
};
use std::time::{Duration, Instant};

/// How long a worker that closed its standard output has to end, before it is killed and its exit status lost.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The longest that a worker may take to leave after `bye`. A shorter `deadlines.hello_s` holds here too.
const GRACE: Duration = Duration::from_secs(5);

/// A conversation over a wire. After a loss it is dead, and answers with that loss.
pub(in crate::run) struct Conversation<W> {
    wire: W,
    deadlines: Deadlines,
    last_id: u64,
    source: Option<TokenSource>,
    device: DeviceKind,
    dead: Option<Loss>,
}

/// A request that is being answered.
struct Asked {
    id: u64,
    stage: Stage,
    since: Instant,
}

/// What is due next.
struct Due {
    /// In words that follow "it was to send".
    what: String,
    within: Duration,
    /// Whether only the `done` is missing.
    last: bool,
}

impl<W: Wire> Conversation<W> {
    /// A conversation with a worker that was just started.
    pub(in crate::run) fn new(wire: W, deadlines: Deadlines) -> Self {
        Self { wire, deadlines, last_id: 0, source: None, device: DeviceKind::default(), dead: None }
    }

    fn ask(&mut self, stage: Stage, request: Request) -> Result<Asked, Loss> {
        if let Some(loss) = &self.dead {
            return Err(loss.clone());
        }
        self.last_id += 1;
        // Before it is sent: whoever is held up right after that must not find that the worker worked in no time.
        let since = Instant::now();
        self.wire.send(&RequestLine { id: self.last_id, request });
        Ok(Asked { id: self.last_id, stage, since })
    }

    /// End the worker, and say so.
    fn lose(&mut self, stage: Stage, cause: LossCause, message: &str) -> Loss {
        let stderr_tail = self.wire.end(Duration::ZERO).stderr_tail;
        // Whatever of the worker's own words is in it: no control characters, and not endless.
        let loss = Loss { stage, cause, message: plain(message), stderr_tail };
        self.dead = Some(loss.clone());
        loss
    }

    fn protocol(&mut self, stage: Stage, message: &str) -> Loss {
        self.lose(stage, LossCause::Protocol, message)
    }

    /// The next reply to `asked`, and how long after the request it came. A worker's own failure is a loss.
    fn reply(&mut self, asked: &Asked, due: &Due) -> Result<(Reply, Duration), Loss> {
        let stage = asked.stage;
        match self.wire.receive(due.within) {
            Event::Line(line, at) => {
                let reply = self.read(asked, due, &line)?;
                Ok((reply, at.saturating_duration_since(asked.since)))
            }
            Event::TooLong(start) => Err(self.protocol(
                stage,
                &format!(
                    "The worker was to send {}, and sent a line of more than {MAX_LINE_BYTES} bytes, which begins {}.",
                    due.what,
                    quote(&start)
                ),
            )),
            Event::Late(partial) => Err(self.late(stage, due, &partial)),
            Event::Closed(partial) => Err(self.closed(stage, due, &partial)),
            Event::Interrupted => {
                let message = format!("The run was interrupted while the worker was to send {}.", due.what);
                Err(self.lose(stage, LossCause::Interrupted, &message))
            }
        }
    }

    fn late(&mut self, stage: Stage, due: &Due, partial: &[u8]) -> Loss {
        let seconds = due.within.as_secs_f64();
        if !partial.is_empty() {
            let message = format!(
                "The worker was to send {}, and stopped in the middle of a line: only {} came within {seconds} s.",
                due.what,
                quote(partial)
            );
            return self.protocol(stage, &message);
        }
        if due.last {
            let message = format!("The worker sent everything but {} within {seconds} s.", due.what);
            return self.protocol(stage, &message);
        }
        let message = format!("The worker was to send {} within {seconds} s, did not, and was killed.", due.what);
        self.lose(stage, LossCause::Deadline(seconds), &message)
    }

    fn closed(&mut self, stage: Stage, due: &Due, partial: &[u8]) -> Loss {
        let ending = self.wire.end(LAST_WORDS);
        let ended = ending.exit.map(|exit| exit.words);
        if !partial.is_empty() {
            let how = ended.map_or_else(String::new, |words| format!(" ({words})"));
            let message = format!(
                "The worker was to send {}, and ended{how} in the middle of a line: {}.",
                due.what,
                quote(partial)
            );
            return self.protocol(stage, &message);
        }
        if let Some(words) = ended {
            let message = format!("The worker was to send {}, and ended instead: {words}.", due.what);
            return self.lose(stage, LossCause::Exited(words), &message);
        }
        let message = format!("The worker was to send {}, and closed its standard output instead.", due.what);
        self.protocol(stage, &message)
    }

    fn read(&mut self, asked: &Asked, due: &Due, line: &[u8]) -> Result<Reply, Loss> {
        let stage = asked.stage;
        let received = quote(line);
        let reply: ReplyLine = match parse(line) {
            Ok(reply) => reply,
            Err(problem) => {
                let message = format!("The worker was to send {}, and sent {problem}: {received}.", due.what);
                return Err(self.protocol(stage, &message));
            }
        };
        if reply.id != asked.id {
            let problem = if reply.id < asked.id { "again" } else { "which was not made" };
            let message = format!(
                "The worker was to send {} (request {}), and answered request {} {problem}: {received}.",
                due.what, asked.id, reply.id
            );
            return Err(self.protocol(stage, &message));
        }
        if let Reply::Error(Failure { kind, message }) = reply.reply {
            let failure = Failure { kind, message: plain(&message) };
            let message = failure.message.clone();
            return Err(self.lose(stage, LossCause::Refused(failure), &message));
        }
        Ok(reply.reply)
    }

    fn unexpected(&mut self, stage: Stage, due: &Due, reply: &Reply) -> Loss {
        let line = serde_json::to_vec(reply).unwrap_or_default();
        self.protocol(stage, &format!("The worker was to send {}, and sent {}.", due.what, quote(&line)))
    }

    fn implausible(&mut self, stage: Stage, message: &str) -> Loss {
        self.lose(stage, LossCause::Implausible, message)
    }

    /// `passed`, where the worker's clock is the harness's.
    fn observed(&self, passed: Duration) -> Option<Duration> {
        (self.wire.shares_clock() && self.device != DeviceKind::Simulated).then_some(passed)
    }
}

impl<W: Wire> Session for Conversation<W> {
    fn group(&self) -> Option<u32> {
        self.wire.group()
    }

    fn hello(&mut self) -> Result<Hello, Loss> {
        let stage = Stage::Hello;
        let asked = self.ask(stage, Request::Hello { protocol: VERSION })?;
        let due = Due { what: "its `hello`".into(), within: seconds(self.deadlines.hello_s), last: false };
        let hello = match self.reply(&asked, &due)?.0 {
            Reply::Hello(hello) => hello,
            other => return Err(self.unexpected(stage, &due, &other)),
        };
        if hello.protocol != VERSION {
            let message = format!(
                "The worker ({} {}) speaks version {} of the protocol, and this qa version {VERSION}: use a worker that \
                 was built for it.",
                plain(&hello.name),
                plain(&hello.version),
                hello.protocol
            );
            return Err(self.protocol(stage, &message));
        }
        self.source = hello.capabilities.tokens;
        Ok(hello)
    }

    fn prepare(&mut self, request: &PrepareRequest) -> Result<Prepared, Loss> {
        let stage = Stage::Prepare;
        let asked = self.ask(stage, Request::Prepare(request.clone()))?;
        let due = Due { what: "`prepared`".into(), within: seconds(self.deadlines.prepare_s), last: false };
        let (prepared, passed) = match self.reply(&asked, &due)? {
            (Reply::Prepared(prepared), passed) => (prepared, passed),
            (other, _) => return Err(self.unexpected(stage, &due, &other)),
        };
        self.device = prepared.device.kind;
        plausible::prepared(&prepared, self.observed(passed)).map_err(|e| self.implausible(stage, &e))?;
        Ok(prepared)
    }

    fn run(&mut self, request: &RunRequest, on_sample: OnSample<'_>) -> Result<(), Loss> {
        let stage = Stage::Run;
        let asked = self.ask(stage, Request::Run(request.clone()))?;
        let total = request.warmup.saturating_add(request.iterations);
        let within = seconds(self.deadlines.iteration_s);
        let mut check = RunCheck::new(request, self.source);
        let mut before = Duration::ZERO;
        for number in 0..total {
            // A program that is run once for all iterations has nothing to show before its end.
            let share = if number == 0 && self.source == Some(TokenSource::Beside) { total } else { 1 };
            let due = Due {
                what: format!("sample {number} of {total}, counted from 0"),
                within: within.saturating_mul(share),
                last: false,
            };
            let (sample, passed) = match self.reply(&asked, &due)? {
                (Reply::Sample(sample), passed) if sample.index == number => (sample, passed),
                (Reply::Done, _) => {
                    let message = format!("The worker said `done` after {number} of {total} samples.");
                    return Err(self.protocol(stage, &message));
                }
                (other, _) => return Err(self.unexpected(stage, &due, &other)),
            };
            check.accept(&sample, self.observed(passed)).map_err(|e| self.implausible(stage, &e))?;
            on_sample(sample, self.observed(passed.saturating_sub(before)));
            before = passed;
        }
        let due = Due { what: format!("the `done` that ends its {total} samples"), within, last: true };
        match self.reply(&asked, &due)?.0 {
            Reply::Done => check.complete().map_err(|e| self.implausible(stage, &e)),
            other => Err(self.unexpected(stage, &due, &other)),
        }
    }

    fn score(&mut self, request: &ScoreRequest, on_row: &mut dyn FnMut(ScoreRow)) -> Result<(), Loss> {
        let stage = Stage::Score;
        let asked = self.ask(stage, Request::Score(request.clone()))?;
        let total = plausible::score_rows(request);
        let deadline = Instant::now() + seconds(self.deadlines.score_s);
        for number in 0..total {
            let index = plausible::score_index(request, number);
            let due = Due {
                what: format!("the score of token {index} (row {number} of {total})"),
                within: deadline.saturating_duration_since(Instant::now()),
                last: false,
            };
            let row = match self.reply(&asked, &due)?.0 {
                Reply::Score(row) if row.index == index => row,
                Reply::Done => {
                    let message = format!("The worker said `done` after {number} of {total} scores.");
                    return Err(self.protocol(stage, &message));
                }
                other => return Err(self.unexpected(stage, &due, &other)),
            };
            plausible::score_row(&row, request).map_err(|e| self.implausible(stage, &e))?;
            on_row(row);
        }
        let within = deadline.saturating_duration_since(Instant::now());
        let due = Due { what: format!("the `done` that ends its {total} scores"), within, last: true };
        match self.reply(&asked, &due)?.0 {
            Reply::Done => Ok(()),
            other => Err(self.unexpected(stage, &due, &other)),
        }
    }

    fn profile(&mut self, request: &ProfileRequest) -> Result<Profile, Loss> {
        let stage = Stage::Profile;
        let asked = self.ask(stage, Request::Profile(request.clone()))?;
        // A profiler may take as long as a load.
        let due = Due { what: "its `profile`".into(), within: seconds(self.deadlines.prepare_s), last: false };
        let profile = match self.reply(&asked, &due)?.0 {
            Reply::Profile(profile) => profile,
            other => return Err(self.unexpected(stage, &due, &other)),
        };
        plausible::profile(&profile, request).map_err(|e| self.implausible(stage, &e))?;
        Ok(profile)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Loss> {
        let stage = Stage::Bye;
        self.ask(stage, Request::Bye)?;
        let grace = GRACE.min(seconds(self.deadlines.hello_s));
        let (cause, message) = match self.wire.receive(grace) {
            Event::Closed(partial) if partial.is_empty() => match self.wire.end(grace).exit {
                Some(exit) if exit.success => return Ok(()),
                Some(exit) => {
                    let message = format!("The worker was to leave with exit status 0 after `bye`: {}.", exit.words);
                    (LossCause::Exited(exit.words), message)
                }
                None => stayed(grace),
            },
            Event::Late(partial) if partial.is_empty() => stayed(grace),
            Event::Interrupted => {
                (LossCause::Interrupted, "The run was interrupted while the worker was to leave.".to_owned())
            }
            Event::Line(line, _) | Event::TooLong(line) | Event::Closed(line) | Event::Late(line) => {
                let message = format!("The worker was to leave without a word after `bye`, and sent {}.", quote(&line));
                (LossCause::Protocol, message)
            }
        };
        Err(self.lose(stage, cause, &message))
    }
}

fn stayed(grace: Duration) -> (LossCause, String) {
    let seconds = grace.as_secs_f64();
    let message = format!("The worker was to leave within {seconds} s of `bye`, did not, and was killed.");
    (LossCause::Deadline(seconds), message)
}

fn parse(line: &[u8]) -> Result<ReplyLine, String> {
    let Ok(text) = std::str::from_utf8(line) else {
        return Err("bytes that are not UTF-8".into());
    };
    serde_json::from_str(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => format!("what is no reply of the protocol ({e})"),
        _ if text.contains("NaN") || text.contains("Infinity") => {
            "a line that is not JSON: JSON has numbers only, no NaN and no Infinity".to_owned()
        }
        _ => "a line that is not JSON (logs belong on standard error)".to_owned(),
    })
}

fn seconds(s: f64) -> Duration {
    // A deadline of no sense was refused with the specification; a very long one is as good as none.
    Duration::try_from_secs_f64(s).unwrap_or(Duration::from_secs(u64::from(u32::MAX)))
}

#[cfg(test)]
mod tests;
