//! What a script's faults make of the replies of an honest worker.

use crate::fault::{Fault, FaultKind, Stage};
use crate::language::VOCABULARY;
use qa_protocol::{Failure, FailureKind, MAX_LINE_BYTES, Replicate, Reply, ReplyLine, Request, Sample};
use std::io;
use std::time::Duration;

/// What a scripted process does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write these bytes on standard output.
    Write(Vec<u8>),
    /// Write so many lines on standard error.
    Complain(u32),
    /// Wait.
    Delay(Duration),
    /// Leave a process behind that holds the pipes open.
    Grandchild,
    /// Do nothing more, for ever.
    Hang,
    /// End with this status.
    Exit(u8),
    /// End by SIGSEGV.
    Segfault,
}

/// Where a fault leaves its request.
enum After {
    /// The reply goes out as it now is.
    GoOn,
    /// Nothing more goes out.
    Silence,
}

/// The faults of one process, and how far it is.
pub(crate) struct Mischief {
    faults: Vec<Fault>,
    replicate: Replicate,
    stage: Stage,
    /// Replies to this request so far.
    replies: u32,
    /// A line that is to go out after the next.
    held: Option<Vec<u8>>,
    /// Whether nothing more of this request goes out.
    silent: bool,
    last_sample: Option<Sample>,
}

impl Mischief {
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self {
            faults,
            replicate: Replicate::default(),
            stage: Stage::Hello,
            replies: 0,
            held: None,
            silent: false,
            last_sample: None,
        }
    }

    /// From here on these faults, in this process of the run.
    pub(crate) fn learn(&mut self, faults: Vec<Fault>, replicate: Replicate) {
        self.faults = faults;
        self.replicate = replicate;
    }

    /// A request arrives.
    pub(crate) fn begin(&mut self, request: &Request) {
        self.stage = Stage::of(request);
        self.replies = 0;
        self.silent = false;
    }

    /// What becomes of the goodbye, which has no reply.
    pub(crate) fn leave(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        for fault in self.striking(false) {
            if matches!(strike_process(&fault, &mut actions), After::Silence) {
                break;
            }
        }
        actions
    }

    /// What becomes of a reply.
    pub(crate) fn pass(&mut self, id: u64, reply: Reply) -> io::Result<Vec<Action>> {
        if self.silent {
            return Ok(Vec::new());
        }
        let faults = self.striking(reply == Reply::Done);
        self.replies += 1;
        if let Reply::Sample(sample) = &reply {
            self.last_sample = Some(sample.clone());
        }
        let mut actions = Vec::new();
        let mut said = Said { id, reply, times: 1, nan: false };
        for fault in &faults {
            if matches!(self.strike(fault, &mut said, &mut actions)?, After::Silence) {
                self.silent = true;
                return Ok(actions);
            }
        }
        let line = said.encode()?;
        if faults.iter().any(|f| f.kind == FaultKind::OutOfOrder) {
            self.held = Some(line);
            return Ok(actions);
        }
        actions.extend((0..said.times).map(|_| Action::Write(line.clone())));
        actions.extend(self.held.take().map(Action::Write));
        Ok(actions)
    }

    fn striking(&self, done: bool) -> Vec<Fault> {
        let strikes = |f: &&Fault| f.strikes(self.stage, self.replies, done, &self.replicate);
        self.faults.iter().filter(strikes).cloned().collect()
    }

    fn strike(&self, fault: &Fault, said: &mut Said, actions: &mut Vec<Action>) -> io::Result<After> {
        use FaultKind as K;
        match fault.kind {
            K::HalfLine => {
                let line = said.encode()?;
                actions.push(Action::Write(line[..line.len() / 2].to_vec()));
                actions.push(fault.exit.map_or(Action::Hang, Action::Exit));
                return Ok(After::Silence);
            }
            K::OversizedLine => {
                actions.push(Action::Write(vec![b'x'; MAX_LINE_BYTES + 1]));
                actions.push(Action::Hang);
                return Ok(After::Silence);
            }
            K::MissingDone => return Ok(After::Silence),
            K::EarlyDone => {
                let done = Said { id: said.id, reply: Reply::Done, times: 1, nan: false };
                actions.push(Action::Write(done.encode()?));
                return Ok(After::Silence);
            }
            K::Blocked | K::Unsupported | K::Invalid | K::Failed => {
                let refusal = Said { id: said.id, reply: Reply::Error(refusal(fault)), times: 1, nan: false };
                actions.push(Action::Write(refusal.encode()?));
                return Ok(After::Silence);
            }
            K::ExtraSample => {
                if let Some(sample) = &self.last_sample {
                    let sample = Sample { index: sample.index + 1, ..sample.clone() };
                    let extra = Said { id: said.id, reply: Reply::Sample(sample), times: 1, nan: false };
                    actions.push(Action::Write(extra.encode()?));
                }
            }
            K::DuplicateReply => said.times = 2,
            K::WrongId => said.id += 1000,
            K::NanTime => said.nan = true,
            _ => {
                said.distort(fault.kind);
                return Ok(strike_process(fault, actions));
            }
        }
        Ok(After::GoOn)
    }
}

/// Faults that strike the process rather than what it says.
fn strike_process(fault: &Fault, actions: &mut Vec<Action>) -> After {
    match fault.kind {
        FaultKind::Hang => actions.push(Action::Hang),
        FaultKind::Crash => actions.push(fault.exit.map_or(Action::Segfault, Action::Exit)),
        FaultKind::Garbage => {
            let text = fault.message.as_deref().unwrap_or("loading model: 100 %");
            actions.push(Action::Write(format!("{text}\n").into_bytes()));
        }
        FaultKind::InvalidUtf8 => actions.push(Action::Write(b"caf\xe9 \xff\xfe\n".to_vec())),
        FaultKind::SlowReply => actions.push(Action::Delay(Duration::from_millis(fault.ms.unwrap_or_default()))),
        FaultKind::Stderr => actions.push(Action::Complain(fault.lines.unwrap_or_default())),
        FaultKind::Grandchild => {
            actions.push(Action::Grandchild);
            actions.extend(fault.exit.map(Action::Exit));
        }
        _ => {}
    }
    match actions.last() {
        Some(Action::Hang | Action::Segfault | Action::Exit(_)) => After::Silence,
        _ => After::GoOn,
    }
}

fn refusal(fault: &Fault) -> Failure {
    let (kind, message) = match fault.kind {
        FaultKind::Blocked => (FailureKind::Blocked, "the engine is not installed on this machine"),
        FaultKind::Unsupported => (FailureKind::Unsupported, "this engine has no such option"),
        FaultKind::Invalid => (FailureKind::Invalid, "the engine ran on the CPU, and was asked to run on the GPU"),
        _ => (FailureKind::Failed, "the engine broke"),
    };
    Failure { kind, message: fault.message.clone().unwrap_or_else(|| message.to_owned()) }
}

/// A reply on its way out.
struct Said {
    id: u64,
    reply: Reply,
    /// How often it is said.
    times: usize,
    /// Whether its decode time is written as `NaN`, which is no JSON.
    nan: bool,
}

impl Said {
    fn encode(&self) -> io::Result<Vec<u8>> {
        let mut line = ReplyLine { id: self.id, reply: self.reply.clone() };
        if let (true, Reply::Sample(sample)) = (self.nan, &mut line.reply) {
            sample.decode_ns = None;
        }
        let mut text = serde_json::to_string(&line)?;
        if self.nan && text.pop().is_some() {
            text.push_str(r#","decode_ns":NaN}"#);
        }
        text.push('\n');
        Ok(text.into_bytes())
    }

    /// Tell another story, where the fault's kind has one.
    fn distort(&mut self, kind: FaultKind) {
        if let (Reply::Hello(hello), FaultKind::WrongVersion) = (&mut self.reply, kind) {
            hello.protocol += 1;
        }
        let Reply::Sample(sample) = &mut self.reply else { return };
        match kind {
            FaultKind::NegativeTime => sample.decode_ns = sample.decode_ns.map(|ns| -ns),
            FaultKind::ZeroTime => sample.decode_ns = Some(0.0),
            FaultKind::MissingTime => sample.decode_ns = None,
            FaultKind::WrongCount => sample.decode_tokens += 7,
            FaultKind::WrongPrompt => sample.prompt_tokens += 7,
            FaultKind::WrongFlag => sample.warmup = !sample.warmup,
            FaultKind::ShortOutput => {
                if let Some(tokens) = &mut sample.tokens {
                    tokens.pop();
                }
            }
            FaultKind::WrongOutput => {
                if let Some(last) = sample.tokens.as_mut().and_then(|tokens| tokens.last_mut()) {
                    *last = (*last + 1) % VOCABULARY;
                }
            }
            FaultKind::SlowTokens => {
                let each = 2.0 * sample.decode_ns.unwrap_or_default() / f64::from(sample.decode_tokens.max(1));
                sample.token_ns = vec![each; sample.decode_tokens as usize];
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
