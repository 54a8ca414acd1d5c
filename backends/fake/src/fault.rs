//! Faults that a script plants, and when they strike.

use qa_protocol::{Replicate, Request};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A planted fault. It strikes one reply: the one numbered `after` (counted from 0) of stage `at`; `missing_done` and
/// `extra_sample` strike the `done`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Which request it strikes: `prepare` for a refusal, `run` for anything else, unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Stage>,
    /// How many replies to that request are sent before it strikes.
    #[serde(default)]
    pub after: u32,
    /// Only in these blocks; in all when absent. Not known yet at `hello`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Vec<u32>>,
    /// Only in these attempts at a block; in all when absent. Not known yet at `hello`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<u32>>,
    /// What a refusal says, or the text of `garbage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Exit status: of `crash` (which otherwise is SIGSEGV), or with which it leaves after `half_line` or `grandchild`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
    /// Length of `slow_reply`, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// How many lines `stderr` writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u32>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Answers nothing from there on.
    Hang,
    /// Ends, with `exit` or by SIGSEGV.
    Crash,
    /// Writes `message` on standard output before the reply.
    Garbage,
    /// Writes bytes that are not UTF-8 before the reply.
    InvalidUtf8,
    /// Writes half of the reply, then hangs, or ends with `exit`.
    HalfLine,
    /// Writes more bytes than a line may have.
    OversizedLine,
    /// Leaves a process behind that holds its pipes open, and goes on, or ends with `exit`.
    Grandchild,
    /// Says everything twice.
    DuplicateReply,
    /// Answers a request that was not made.
    WrongId,
    /// Swaps this reply with the next.
    OutOfOrder,
    /// Speaks another version of the protocol. Strikes `hello`.
    WrongVersion,
    /// Never says `done`.
    MissingDone,
    /// Says `done` before it has sent every sample.
    EarlyDone,
    /// Sends one sample too many.
    ExtraSample,
    /// Takes `ms` longer.
    SlowReply,
    /// Writes `lines` lines on standard error.
    Stderr,
    /// Refuses: something is missing on this machine.
    Blocked,
    /// Refuses: the request makes no sense to it.
    Unsupported,
    /// Refuses: what ran is not what was asked for.
    Invalid,
    /// Refuses: it broke.
    Failed,
    /// Reports a time that is not a number.
    NanTime,
    /// Reports a negative time.
    NegativeTime,
    /// Reports that it took no time.
    ZeroTime,
    /// Reports no decode time.
    MissingTime,
    /// Reports more decoded tokens than were asked for.
    WrongCount,
    /// Reports another prompt length.
    WrongPrompt,
    /// Returns one token too few.
    ShortOutput,
    /// Returns another last token: right until then, and in every other iteration.
    WrongOutput,
    /// Calls a timed iteration warm-up, or the other way round.
    WrongFlag,
    /// Reports tokens that together take longer than the decode.
    SlowTokens,
}

/// A request, as faults name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// `hello`
    Hello,
    /// `prepare`
    Prepare,
    /// `run`
    Run,
    /// `score`
    Score,
    /// `profile`
    Profile,
    /// `bye`
    Bye,
}

impl Stage {
    /// The stage that a request opens.
    pub(crate) fn of(request: &Request) -> Self {
        match request {
            Request::Hello { .. } => Self::Hello,
            Request::Prepare(_) => Self::Prepare,
            Request::Run(_) => Self::Run,
            Request::Score(_) => Self::Score,
            Request::Profile(_) => Self::Profile,
            Request::Bye => Self::Bye,
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl FaultKind {
    fn strikes_done(self) -> bool {
        matches!(self, Self::MissingDone | Self::ExtraSample)
    }
}

impl Fault {
    /// Which request it strikes.
    pub(crate) fn stage(&self) -> Stage {
        use FaultKind::{Blocked, Failed, Invalid, Unsupported, WrongVersion};
        self.at.unwrap_or(match self.kind {
            Blocked | Unsupported | Invalid | Failed => Stage::Prepare,
            WrongVersion => Stage::Hello,
            _ => Stage::Run,
        })
    }

    /// Whether it strikes reply number `number` of `stage` in this process; `done`: whether that says `done`.
    pub(crate) fn strikes(&self, stage: Stage, number: u32, done: bool, replicate: &Replicate) -> bool {
        let among = |list: &Option<Vec<u32>>, value| list.as_ref().is_none_or(|list| list.contains(&value));
        let now = if self.kind.strikes_done() { done } else { self.after == number };
        self.stage() == stage && now && among(&self.blocks, replicate.block) && among(&self.attempts, replicate.attempt)
    }

    /// Whether its parameters are those that its kind uses.
    pub(crate) fn check(&self) -> Result<(), String> {
        use FaultKind as K;
        let kind = self.kind;
        let refuses = matches!(kind, K::Blocked | K::Unsupported | K::Invalid | K::Failed);
        let parameters = [
            ("message", self.message.is_some(), refuses || kind == K::Garbage),
            ("exit", self.exit.is_some(), matches!(kind, K::Crash | K::HalfLine | K::Grandchild)),
            ("ms", self.ms.is_some(), kind == K::SlowReply),
            ("lines", self.lines.is_some(), kind == K::Stderr),
        ];
        if let Some((name, ..)) = parameters.iter().find(|(_, given, used)| *given && !used) {
            return Err(format!("a fault of kind `{kind}` does not use `{name}`"));
        }
        let needs =
            [("ms", kind == K::SlowReply && self.ms.is_none()), ("lines", kind == K::Stderr && self.lines.is_none())];
        if let Some((name, _)) = needs.iter().find(|(_, missing)| *missing) {
            return Err(format!("a fault of kind `{kind}` needs `{name}`"));
        }
        if kind.strikes_done() && self.after != 0 {
            return Err(format!("a fault of kind `{kind}` strikes the `done`, and does not use `after`"));
        }
        let stage = self.stage();
        if stage == Stage::Hello && (self.blocks.is_some() || self.attempts.is_some()) {
            return Err(format!(
                "a fault at `hello` (`{kind}`) cannot be held to blocks or attempts: it does not know its own yet"
            ));
        }
        let silent = matches!(kind, K::Hang | K::Crash | K::Garbage | K::Grandchild | K::SlowReply | K::Stderr);
        if stage == Stage::Bye && !silent {
            return Err(format!("`bye` has no reply, which `{kind}` would spoil"));
        }
        let of_run = matches!(
            kind,
            K::NanTime
                | K::NegativeTime
                | K::ZeroTime
                | K::MissingTime
                | K::WrongCount
                | K::WrongPrompt
                | K::ShortOutput
                | K::WrongOutput
                | K::WrongFlag
                | K::SlowTokens
                | K::ExtraSample
        );
        if of_run && stage != Stage::Run {
            return Err(format!("a fault of kind `{kind}` strikes samples: `at` can only be `run`"));
        }
        if matches!(kind, K::MissingDone | K::EarlyDone) && !matches!(stage, Stage::Run | Stage::Score) {
            return Err(format!("a fault of kind `{kind}` needs a request that ends with `done`: `run` or `score`"));
        }
        if kind == K::WrongVersion && stage != Stage::Hello {
            return Err("a fault of kind `wrong_version` strikes `hello`".to_owned());
        }
        Ok(())
    }
}
