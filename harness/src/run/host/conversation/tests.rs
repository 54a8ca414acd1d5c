use super::*;
use crate::run::host::wire::{Ending, Exit};
use qa_protocol::Sampling;
use std::collections::VecDeque;

/// A wire that says what it was given.
struct Canned {
    events: VecDeque<Event>,
    exit: Option<Exit>,
    asked: Vec<RequestLine>,
    ended: bool,
    /// How long sending holds the harness up.
    hold_up: Duration,
}

impl Wire for Canned {
    fn send(&mut self, request: &RequestLine) {
        self.asked.push(request.clone());
        std::thread::sleep(self.hold_up);
    }
    fn receive(&mut self, _: Duration) -> Event {
        match self.events.pop_front() {
            Some(Event::Line(line, _)) => Event::Line(line, Instant::now()),
            event => event.unwrap_or(Event::Late(Vec::new())),
        }
    }
    fn end(&mut self, _: Duration) -> Ending {
        self.ended = true;
        Ending { exit: self.exit.clone(), stderr_tail: vec!["last words".to_owned()] }
    }
    fn shares_clock(&self) -> bool {
        true
    }
}

fn talk(events: impl IntoIterator<Item = Event>) -> Conversation<Canned> {
    let exit = Some(Exit { success: false, words: "exit status 3".to_owned() });
    let wire =
        Canned { events: events.into_iter().collect(), exit, asked: Vec::new(), ended: false, hold_up: Duration::ZERO };
    Conversation::new(wire, Deadlines { hello_s: 0.5, prepare_s: 0.5, iteration_s: 0.5, score_s: 0.5 })
}

fn line(text: &str) -> Event {
    Event::Line(text.as_bytes().to_vec(), Instant::now())
}

const HELLO: &str = r#"{"id":1,"type":"hello","protocol":1,"name":"x","version":"1","capabilities":{"metrics":[]}}"#;

/// The loss of a `hello` that is answered so, with the worker ended.
fn hello_loss(event: Event) -> Loss {
    let mut talk = talk([event]);
    let loss = talk.hello().expect_err("this is no hello");
    assert!(talk.wire.ended, "the worker must be gone after {loss:?}");
    assert_eq!(loss.stage, Stage::Hello);
    assert_eq!(loss.stderr_tail, ["last words"]);
    loss
}

#[test]
fn what_is_no_reply_is_quoted_and_explained() {
    for (received, expected) in [
        ("Loading model...", "sent a line that is not JSON (logs belong on standard error): `Loading model...`"),
        (r#"{"id":1,"x":NaN}"#, "JSON has numbers only, no NaN and no Infinity: `{\"id\":1,\"x\":NaN}`"),
        ("{\"id\":1", "a line that is not JSON"),
        ("", "a line that is not JSON (logs belong on standard error): ``"),
        (r#"{"type":"done"}"#, "no reply of the protocol (missing field `id`"),
        (r#"{"id":1,"type":"howdy"}"#, "no reply of the protocol (unknown variant `howdy`"),
        (r#"{"id":1,"type":"hello","name":"x"}"#, "no reply of the protocol (missing field `protocol`"),
        (r#"{"id":7,"type":"done"}"#, "(request 1), and answered request 7 which was not made"),
        (r#"{"id":0,"type":"done"}"#, "answered request 0 again"),
        (r#"{"id":1,"type":"done"}"#, "The worker was to send its `hello`, and sent `{\"type\":\"done\"}`."),
        ("\u{1b}[2J\u{7}", "`\\u{1b}[2J\\u{7}`"),
    ] {
        let loss = hello_loss(line(received));
        assert_eq!(loss.cause, LossCause::Protocol, "{received}");
        assert!(loss.message.contains(expected), "{received}: {}", loss.message);
    }
    let loss = hello_loss(Event::Line(b"caf\xe9".to_vec(), Instant::now()));
    assert!(loss.message.contains("bytes that are not UTF-8: `caf\\xe9`"), "{}", loss.message);
}

#[test]
fn silence_ends_and_half_lines_are_told_apart() {
    let late = hello_loss(Event::Late(Vec::new()));
    assert_eq!(late.cause, LossCause::Deadline(0.5));
    assert_eq!(late.message, "The worker was to send its `hello` within 0.5 s, did not, and was killed.");
    let half = hello_loss(Event::Late(b"{\"id\":1".to_vec()));
    assert_eq!(half.cause, LossCause::Protocol);
    assert!(half.message.contains("in the middle of a line: only `{\"id\":1` came within 0.5 s"), "{}", half.message);
    let gone = hello_loss(Event::Closed(Vec::new()));
    assert_eq!(gone.cause, LossCause::Exited("exit status 3".to_owned()));
    assert_eq!(gone.message, "The worker was to send its `hello`, and ended instead: exit status 3.");
    let torn = hello_loss(Event::Closed(b"{\"id".to_vec()));
    assert_eq!(torn.cause, LossCause::Protocol);
    assert!(torn.message.contains("ended (exit status 3) in the middle of a line: `{\"id`"), "{}", torn.message);
    let long = hello_loss(Event::TooLong(b"xxx".to_vec()));
    assert!(long.message.contains("a line of more than 16777216 bytes, which begins `xxx`"), "{}", long.message);
    let stop = hello_loss(Event::Interrupted);
    assert_eq!(stop.cause, LossCause::Interrupted);
    assert!(stop.message.contains("was interrupted"), "{}", stop.message);
}

#[test]
fn another_version_is_refused_with_both_numbers() {
    let loss = hello_loss(line(&HELLO.replace("\"protocol\":1", "\"protocol\":2")));
    assert_eq!(loss.cause, LossCause::Protocol);
    assert!(loss.message.contains("(x 1) speaks version 2 of the protocol, and this qa version 1"), "{}", loss.message);
}

#[test]
fn a_workers_own_failure_keeps_its_kind_and_words() {
    let mut talk = talk([
        line(HELLO),
        line(r#"{"id":2,"type":"error","kind":"blocked","message":"no \u001b[31mGPU\u001b[0m here"}"#),
    ]);
    assert!(talk.hello().is_ok());
    let loss = talk.prepare(&PrepareRequest::default()).expect_err("it is blocked");
    assert_eq!(loss.cause, LossCause::Refused(Failure::blocked("no GPU here")));
    assert_eq!((loss.stage, loss.message.as_str()), (Stage::Prepare, "no GPU here"));
    // Dead is dead: nothing more is asked, and the same loss is answered.
    let again = talk.prepare(&PrepareRequest::default()).expect_err("it is dead");
    assert_eq!(again, loss);
    assert_eq!(talk.wire.asked.len(), 2);
}

#[test]
fn a_harness_that_is_held_up_while_it_asks_doubts_nobody() {
    let prepared = |load_ns: u64| {
        let device = r#""device":{"kind":"cpu","name":"x"}"#;
        let mut talk = talk([line(&format!(r#"{{"id":1,"type":"prepared","load_ns":{load_ns},{device}}}"#))]);
        talk.wire.hold_up = Duration::from_millis(50);
        talk.prepare(&PrepareRequest::default())
    };
    assert!(prepared(45_000_000).is_ok(), "the worker may have worked while the harness was held up");
    let loss = prepared(5_000_000_000).expect_err("five seconds of work in one tenth of that");
    assert_eq!(loss.cause, LossCause::Implausible);
}

#[test]
fn leaving_is_silent_and_successful_or_a_loss() {
    let leave = |events: Vec<Event>, exit: Option<Exit>| {
        let mut talk = talk(events);
        talk.wire.exit = exit;
        Box::new(talk).finish().err()
    };
    let exit = |success, words: &str| Some(Exit { success, words: words.to_owned() });
    assert_eq!(leave(vec![Event::Closed(Vec::new())], exit(true, "exit status 0")), None);
    for (events, exit, cause, words) in [
        (
            vec![Event::Closed(Vec::new())],
            exit(false, "exit status 9"),
            LossCause::Exited("exit status 9".into()),
            "status 9",
        ),
        (vec![Event::Closed(Vec::new())], None, LossCause::Deadline(0.5), "within 0.5 s of `bye`"),
        (vec![Event::Late(Vec::new())], None, LossCause::Deadline(0.5), "was killed"),
        (vec![line("oh")], None, LossCause::Protocol, "without a word after `bye`, and sent `oh`"),
        (vec![Event::Closed(b"oh".to_vec())], exit(true, ""), LossCause::Protocol, "and sent `oh`"),
        (vec![Event::Interrupted], None, LossCause::Interrupted, "interrupted"),
    ] {
        let loss = leave(events, exit).expect("this is no way to leave");
        assert_eq!((loss.stage, &loss.cause), (Stage::Bye, &cause));
        assert!(loss.message.contains(words), "{}", loss.message);
    }
}

#[test]
fn deadlines_of_any_size_are_borne() {
    assert_eq!(seconds(0.25), Duration::from_millis(250));
    assert!(seconds(f64::INFINITY) > Duration::from_secs(1_000_000));
    assert!(seconds(-1.0) > Duration::from_secs(1_000_000));
}

#[test]
fn a_program_that_runs_once_for_all_iterations_has_the_time_of_all_for_its_first() {
    for (tokens, expected) in [("\"beside\"", 2.0), ("\"timed\"", 0.5), ("null", 0.5)] {
        let hello = HELLO.replace("\"metrics\":[]", &format!("\"metrics\":[],\"tokens\":{tokens}"));
        let mut talk = talk([line(&hello), Event::Late(Vec::new())]);
        talk.hello().expect("a hello");
        let request = RunRequest {
            prompt: vec![1],
            generate_tokens: 2,
            sampling: Sampling::Greedy,
            ignore_eos: true,
            warmup: 1,
            iterations: 3,
            metrics: Vec::new(),
            tokens: true,
            load: None,
        };
        let loss = talk.run(&request, &mut |_, _| {}).expect_err("nothing came");
        assert_eq!(loss.cause, LossCause::Deadline(expected), "{tokens}");
    }
}
