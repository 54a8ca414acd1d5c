//! Every message of a worker with every fault that a message can have: late, never, malformed, oversized, twice, out of
//! order, and of a worker that is dead. Each cell is a conversation with a process of its own; what it is taken for, and at
//! which request, is worked out from the row and the column.

use crate::talk::{PATIENT, fake, launcher, run_request};
use crate::trial;
use libtest_mimic::Trial;
use qa::run::session::Launcher as _;
use qa::samples::{Loss, LossCause, Stage};
use qa::spec::Deadlines;
use qa_protocol::{PrepareRequest, ProfileRequest, Replicate, Sampling, ScoreRequest};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// The deadline of what is late or never comes.
const SHORT_S: f64 = 0.5;
/// The deadline of what begins to come in time: a busy machine must not make it late.
const MIDDLING_S: f64 = 2.5;
/// How many conversations there are at once. Most of them wait.
const AT_ONCE: usize = 12;
/// The longest that any cell may take: a deadline, a start and an end.
const LONGEST: Duration = Duration::from_secs(15);

/// A message: the reply of a number to a request, or the end after `bye`.
#[derive(Clone, Copy)]
struct Message {
    name: &'static str,
    /// As a fault names the request.
    at: &'static str,
    after: u32,
    stage: Stage,
    /// What the worker is asked next.
    next: Stage,
    /// Number of the request.
    id: u32,
    is_done: bool,
}

/// Every message of a life with samples and scores, and of one with a profile.
const MESSAGES: [Message; 10] = {
    const fn message(name: &'static str, at: &'static str, after: u32, stages: [Stage; 2], id: u32) -> Message {
        Message { name, at, after, stage: stages[0], next: stages[1], id, is_done: false }
    }
    const fn done(message: Message) -> Message {
        Message { is_done: true, ..message }
    }
    use Stage::{Bye, Hello, Prepare, Profile, Run, Score};
    [
        message("hello", "hello", 0, [Hello, Prepare], 1),
        message("prepared", "prepare", 0, [Prepare, Run], 2),
        message("the first sample", "run", 0, [Run, Run], 3),
        message("a sample", "run", 1, [Run, Run], 3),
        done(message("the done of a run", "run", 3, [Run, Score], 3)),
        message("the first score", "score", 0, [Score, Score], 4),
        message("a score", "score", 1, [Score, Score], 4),
        done(message("the done of scores", "score", 4, [Score, Bye], 4)),
        message("a profile", "profile", 0, [Profile, Bye], 3),
        message("the end", "bye", 0, [Bye, Bye], 5),
    ]
};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Late,
    Never,
    NoJson,
    NoText,
    Half,
    Oversized,
    Twice,
    OfAnotherRequest,
    OutOfOrder,
    Dead,
    DeadWithAnHeir,
}

const FAULTS: [Fault; 11] = [
    Fault::Late,
    Fault::Never,
    Fault::NoJson,
    Fault::NoText,
    Fault::Half,
    Fault::Oversized,
    Fault::Twice,
    Fault::OfAnotherRequest,
    Fault::OutOfOrder,
    Fault::Dead,
    Fault::DeadWithAnHeir,
];

/// A cell: the script of a fault, the deadline of its request, and what becomes of the worker.
struct Cell {
    message: Message,
    fault: Fault,
    script: String,
    deadline_s: Option<f64>,
    stage: Stage,
    cause: LossCause,
}

impl Cell {
    /// `None` where a message cannot have a fault: there is no reply to `bye` that could be cut, doubled or numbered.
    fn new(message: Message, fault: Fault) -> Option<Self> {
        use Fault::{
            Dead, DeadWithAnHeir, Half, Late, Never, NoJson, NoText, OfAnotherRequest, OutOfOrder, Oversized, Twice,
        };
        let spoken = matches!(fault, NoText | Half | Oversized | Twice | OfAnotherRequest);
        if message.stage == Stage::Bye && spoken {
            return None;
        }
        let Message { at, after, id, .. } = message;
        let strike = |kind: &str| format!("{{kind: {kind}, at: {at}, after: {after}}}");
        let with = |kind: &str, more: &str| format!("{{kind: {kind}, at: {at}, after: {after}, {more}}}");
        let protocol = LossCause::Protocol;
        // A worker has as long to leave as it has to say hello, and its hello must not be late.
        let short = if message.stage == Stage::Bye { MIDDLING_S } else { SHORT_S };
        let several = matches!(message.stage, Stage::Run | Stage::Score) && !message.is_done;
        // Everything but the `done` came: that is a worker that does not know the protocol, and no slow one.
        let absent = if message.is_done { protocol.clone() } else { LossCause::Deadline(short) };
        let (script, deadline_s, stage, cause) = match fault {
            Late => (with("slow_reply", "ms: 5000"), Some(short), message.stage, absent),
            Never => (strike("hang"), Some(short), message.stage, absent),
            NoJson => (strike("garbage"), None, message.stage, protocol),
            NoText => (strike("invalid_utf8"), None, message.stage, protocol),
            Half => (strike("half_line"), Some(MIDDLING_S), message.stage, protocol),
            Oversized => (strike("oversized_line"), None, message.stage, protocol),
            Twice => (strike("duplicate_reply"), None, message.next, protocol),
            OfAnotherRequest => (strike("wrong_id"), None, message.stage, protocol),
            OutOfOrder if several => (strike("out_of_order"), None, message.stage, protocol),
            // A reply that is one, and is not due.
            OutOfOrder => {
                let other =
                    if message.is_done { "hello\",\"protocol\":1,\"name\":\"x\",\"version\":\"1" } else { "done" };
                let said = format!("message: '{{\"id\":{id},\"type\":\"{other}\"}}'");
                (with("garbage", &said), None, message.stage, protocol)
            }
            Dead => (with("crash", "exit: 3"), None, message.stage, LossCause::Exited("exit status 3".into())),
            DeadWithAnHeir => {
                (with("grandchild", "exit: 4"), None, message.stage, LossCause::Exited("exit status 4".into()))
            }
        };
        Some(Self { message, fault, script, deadline_s, stage, cause })
    }

    fn name(&self) -> String {
        format!("{} x {:?}", self.message.name, self.fault)
    }

    fn deadlines(&self) -> Deadlines {
        let mut deadlines = PATIENT;
        if let Some(seconds) = self.deadline_s {
            *match self.message.stage {
                Stage::Hello | Stage::Bye => &mut deadlines.hello_s,
                Stage::Run => &mut deadlines.iteration_s,
                Stage::Score => &mut deadlines.score_s,
                _ => &mut deadlines.prepare_s,
            } = seconds;
        }
        deadlines
    }

    /// What is wrong with the outcome, if anything is.
    fn problem(&self) -> Option<String> {
        let begun = Instant::now();
        let outcome = self.life();
        let name = self.name();
        let Err(loss) = outcome else { return Some(format!("{name}: nobody noticed")) };
        if begun.elapsed() > LONGEST {
            return Some(format!("{name}: it took {:?}", begun.elapsed()));
        }
        if loss.stage != self.stage || !alike(&loss.cause, &self.cause) {
            return Some(format!("{name}: {:?} at {:?}: {}", loss.cause, loss.stage, loss.message));
        }
        let said = loss.message.len() < 1000 && !loss.message.contains(char::is_control);
        (!said).then(|| format!("{name}: {:?}", loss.message))
    }

    /// From the start to the goodbye, with every request in between.
    fn life(&self) -> Result<(), Loss> {
        let profile = "profile: {decode_tokens: 2, witness: {}, confirmation: {unconfirmed: {reason: No profiler.}}}";
        let arm = fake(&format!("{profile}, faults: [{}]", self.script));
        let mut worker = launcher().launch(&arm, &self.deadlines(), None)?;
        worker.hello()?;
        let replicate = Some(Replicate { arm: "a".into(), workload: "w".into(), places: 1, ..Replicate::default() });
        let prepare = PrepareRequest { options: arm.options.clone(), replicate, ..PrepareRequest::default() };
        worker.prepare(&prepare)?;
        if self.message.at == "profile" {
            let sampling = Sampling::Greedy;
            worker.profile(&ProfileRequest { prompt: vec![3], generate_tokens: 3, sampling, ignore_eos: true })?;
        } else {
            worker.run(&run_request(), &mut |_, _| {})?;
            let tokens = vec![1, 2, 3, 4, 5, 6];
            worker.score(&ScoreRequest { tokens, text: None, context: 3, first: 1, top: 4 }, &mut |_| {})?;
        }
        worker.finish()
    }
}

/// Whether two causes are the same. Of the deadline for all scores together, a moment is gone when the first is waited for.
fn alike(found: &LossCause, expected: &LossCause) -> bool {
    match (found, expected) {
        (LossCause::Deadline(found), LossCause::Deadline(expected)) => (expected - 0.4..=*expected).contains(found),
        _ => found == expected,
    }
}

/// One trial: its cells wait for their deadlines beside each other.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("matrix::every_message_with_every_fault", || {
        let cells: Vec<Cell> = MESSAGES
            .into_iter()
            .flat_map(|message| FAULTS.into_iter().filter_map(move |fault| Cell::new(message, fault)))
            .collect();
        assert_eq!(cells.len(), MESSAGES.len() * FAULTS.len() - 5);
        let (left, problems) = (Mutex::new(cells.iter()), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let Some(cell) = left.lock().expect("nobody panics").next() else { return };
                        if let Some(problem) = cell.problem() {
                            problems.lock().expect("nobody panics").push(problem);
                        }
                    }
                });
            }
        });
        let problems = problems.into_inner().expect("nobody panics");
        assert!(problems.is_empty(), "{} of {} cells:\n{}", problems.len(), cells.len(), problems.join("\n"));
    })]
}
