//! Several requests at a time, on a server that behaves as documented, on one that does not, and on a real llama-server.

use crate::stub::{Script, Stub};
use crate::{llama_server, prepare_within};
use qa_openai::Limits;
use qa_protocol::{
    Arrivals, Failure, FailureKind, Load, Metric, RunRequest, Sample, Sampling, ServedRequest, TokenSource,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const MS: f64 = 1e6;

/// Requests of eight tokens each, in two iterations of which the first is warm-up.
fn request(arrivals: Arrivals, requests: u32, metrics: &[Metric]) -> RunRequest {
    let prompt: Vec<u32> = (10..26).collect();
    let turned = |turns: u32| {
        let mut tokens = prompt.clone();
        tokens.rotate_left(turns as usize % 16);
        tokens
    };
    let prompts = (0..2 * requests).map(|n| turned(if n.is_multiple_of(requests) { 0 } else { n })).collect();
    RunRequest {
        prompt: prompt.clone(),
        generate_tokens: 8,
        sampling: Sampling::Greedy,
        ignore_eos: true,
        warmup: 1,
        iterations: 1,
        metrics: metrics.to_vec(),
        tokens: true,
        load: Some(Load { arrivals, requests, prompts }),
    }
}

fn every(ms: f64, requests: u32) -> Arrivals {
    Arrivals::Open { at_ns: (0..requests).map(|n| f64::from(n) * ms * MS).collect() }
}

fn run(options: &Value, request: &RunRequest) -> Result<Vec<Sample>, Failure> {
    let limits =
        Limits { connect: Duration::from_secs(5), answer: Duration::from_secs(60), start: Duration::from_secs(60) };
    crate::run(&mut prepare_within(limits, options)?.0, request)
}

const ALL: [Metric; 5] = [
    Metric::Goodput,
    Metric::OutputRate,
    Metric::TimeToFirstTokenP50,
    Metric::TimeToFirstTokenP99,
    Metric::InterTokenLatencyP50,
];

#[test]
fn an_open_loop_sends_when_requests_are_due_and_counts_from_then() {
    // Each takes 8 x 5 ms, one at a time; they are due every 10 ms: the last waits for six before it.
    let stub = Stub::start(Script { slots: 1, pause: Duration::from_millis(5), ..Script::default() });
    let samples = run(&json!({ "url": stub.url }), &request(every(10.0, 6), 6, &ALL)).unwrap();
    assert_eq!(samples.iter().map(|s| (s.index, s.warmup)).collect::<Vec<_>>(), [(0, true), (1, false)]);
    for sample in &samples {
        let due: Vec<f64> = sample.requests.iter().map(|r| r.scheduled_ns / MS).collect();
        assert!(due.iter().zip(0..).all(|(due, n)| (due - f64::from(n) * 10.0).abs() < 0.01), "{due:?}");
        for served in &sample.requests {
            assert_eq!((served.tokens, served.token_ns.len(), served.error.as_deref()), (8, 7, None));
            assert!(served.sent_ns >= served.scheduled_ns && served.first_ns.unwrap() >= served.sent_ns + 5.0 * MS);
        }
        // Nobody waits for an answer before the next one is sent, and who waits has waited.
        let last = sample.requests[..5].iter().map(|served| served.ended_ns).fold(0.0, f64::max);
        assert!(sample.requests[5].sent_ns < last, "{:?}", sample.requests);
        let waits: Vec<f64> = sample.requests.iter().map(ServedRequest::first_token_ns).collect();
        let longest = waits.iter().copied().fold(0.0, f64::max);
        assert!(longest > 100.0 * MS, "five others of 40 ms less 50 ms of arrivals: {waits:?}");
        assert_eq!(
            sample.tokens.as_ref().map(Vec::len),
            Some(8),
            "of the first, whose prompt is the one that is checked"
        );
    }
    assert_eq!(stub.most_at_a_time(), 1);
    // Every request is another to the server, and to any cache of prompts.
    let bodies = stub.bodies();
    let salts: BTreeSet<&str> = bodies.iter().map(|body| body["cache_salt"].as_str().unwrap()).collect();
    let prompts: BTreeSet<String> = bodies.iter().map(|body| body["prompt"].to_string()).collect();
    assert_eq!((bodies.len(), salts.len(), prompts.len()), (12, 12, 11));
}

#[test]
fn a_closed_loop_has_as_many_requests_on_their_way_as_clients() {
    let stub = Stub::start(Script { pause: Duration::from_millis(3), ..Script::default() });
    let samples = run(&json!({ "url": stub.url }), &request(Arrivals::Closed { clients: 3 }, 9, &ALL)).unwrap();
    assert_eq!(stub.most_at_a_time(), 3);
    let served = &samples[1].requests;
    assert_eq!(served.len(), 9);
    // A client's next request is due when the one before has ended.
    let ends: Vec<f64> = served.iter().map(|r| r.ended_ns).collect();
    for later in &served[3..] {
        assert!(
            ends.iter().any(|end| *end <= later.scheduled_ns && later.scheduled_ns - end < 200.0 * MS),
            "{served:?}"
        );
    }
}

#[test]
fn a_request_that_fails_is_counted_and_the_others_go_on() {
    let stub = Stub::start(Script { refuses: &[8, 9], ..Script::default() });
    let samples = run(&json!({ "url": stub.url }), &request(every(3.0, 6), 6, &ALL)).unwrap();
    let failed: Vec<&str> = samples[1].requests.iter().filter_map(|r| r.error.as_deref()).collect();
    assert_eq!((samples[0].requests.len(), samples[1].requests.len(), failed.len()), (6, 6, 2));
    assert!(failed.iter().all(|error| error.contains("status 503") && error.contains("full")), "{failed:?}");
    let answered = samples[1].requests.iter().filter(|r| r.error.is_none());
    assert!(answered.clone().all(|r| r.first_ns.is_some() && r.tokens == 8));
    assert_eq!(answered.count(), 4);
    // Broken off in the middle of a stream is failed too, under whatever status it began.
    let error = "data: {\"error\": {\"message\": \"no memory left\"}}\n\n";
    let stub = Stub::start(Script { instead: Some((3, error)), ..Script::default() });
    let samples = run(&json!({ "url": stub.url }), &request(every(3.0, 2), 2, &ALL)).unwrap();
    assert!(samples[1].requests.iter().all(|r| r.error.as_deref().is_some_and(|e| e.contains("no memory left"))));
}

#[test]
fn what_is_not_the_work_that_was_asked_for_ends_the_run() {
    let refused = |script: Script, metrics: &[Metric], kind: FailureKind, phrase: &str| {
        let stub = Stub::start(script);
        let failure = run(&json!({ "url": stub.url }), &request(every(3.0, 2), 2, metrics)).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.message.contains(phrase), "{phrase:?} is not in: {failure}");
    };
    let script = Script::default;
    // A cached prompt is no work even where only tokens a second are asked for.
    refused(
        Script { cached: Some(9), ..script() },
        &ALL[1..2],
        FailureKind::Invalid,
        "took 9 of 16 prompt tokens from a cache",
    );
    refused(Script { parts: vec![1; 7], ..script() }, &ALL, FailureKind::Invalid, "generated 7");
    refused(Script { parts: vec![2, 3, 3], ..script() }, &ALL, FailureKind::Unsupported, "several tokens in a part");
    let silent = Script { owner: "sglang", ids: false, ..script() };
    let stub = Stub::start(silent);
    let untold = RunRequest { tokens: false, ..request(every(3.0, 2), 2, &ALL) };
    let failure = run(&json!({ "url": stub.url }), &untold).unwrap_err();
    assert!(failure.message.contains("does not say whether a prompt came from a cache"), "{failure}");
}

/// A real llama-server with one slot.
#[test]
fn a_real_llama_server_queues_what_it_has_no_slot_for() {
    let Some(options) = llama_server("1") else { return };
    let asked = request(every(0.0, 4), 4, &[Metric::Goodput, Metric::TimeToFirstTokenP99]);
    // Long enough that a client which reads a little late makes no difference.
    let samples = run(&options, &RunRequest { generate_tokens: 64, ..asked }).unwrap();
    let served = &samples[1].requests;
    assert!(served.iter().all(|r| r.error.is_none() && r.tokens == 64), "{served:?}");
    // All are due at once and answered one after the other: who is last begins when three quarters of the time are over, and
    // not, as beside the others, with them.
    let last = served.iter().max_by(|a, b| a.ended_ns.total_cmp(&b.ended_ns)).unwrap();
    assert!(last.first_ns.unwrap() > 0.4 * last.ended_ns, "{served:?}");
    assert_eq!(samples[1].token_source, Some(TokenSource::Beside));
}
