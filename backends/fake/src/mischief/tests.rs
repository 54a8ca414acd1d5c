use super::*;
use crate::actor::Actor;
use crate::fake::Clock;
use crate::script::Script;
use qa_protocol::{PrepareRequest, RequestLine, RunRequest, Sampling};
use serde_json::{Map, Value};

fn script(yaml: &str) -> Map<String, Value> {
    serde_yaml::from_str(yaml).expect("the test's own YAML")
}

/// What an actor does that is told hello, prepare (in `block`), run (1 + 2 iterations) and bye.
fn play(yaml: &str, block: u32, attempt: u32) -> Vec<Action> {
    let options = script(yaml);
    let mut actor = Actor::new(Script::from_options(&options).expect("the script is right"), Clock::Simulated);
    let replicate = Some(Replicate { block, attempt, ..Replicate::default() });
    let run = RunRequest {
        prompt: vec![1],
        generate_tokens: 3,
        sampling: Sampling::Greedy,
        ignore_eos: true,
        warmup: 1,
        iterations: 2,
        metrics: Vec::new(),
        tokens: true,
        load: None,
    };
    let requests = [
        Request::Hello { protocol: qa_protocol::VERSION },
        Request::Prepare(PrepareRequest { options, replicate, ..PrepareRequest::default() }),
        Request::Run(run),
        Request::Bye,
    ];
    let mut actions = Vec::new();
    for (id, request) in (1..).zip(requests) {
        let played = actor.play(&RequestLine { id, request }, &mut |action| {
            actions.push(action);
            Ok(())
        });
        assert!(played.is_ok());
    }
    actions
}

/// Actions in short: the type of a reply with its id (and a sample's index), or the action's own name.
fn short(actions: &[Action]) -> Vec<String> {
    let of = |action: &Action| match action {
        Action::Write(bytes) => match serde_json::from_slice::<ReplyLine>(bytes) {
            Ok(ReplyLine { id, reply: Reply::Sample(s) }) => format!("sample {} of {id}", s.index),
            Ok(ReplyLine { id, reply: Reply::Error(f) }) => format!("{:?} of {id}", f.kind),
            Ok(line) => {
                let kind = serde_json::to_value(&line).map(|v| v["type"].as_str().unwrap_or_default().to_owned());
                format!("{} of {}", kind.unwrap_or_default(), line.id)
            }
            Err(_) => format!("{} bytes", bytes.len()),
        },
        other => format!("{other:?}"),
    };
    actions.iter().map(of).collect()
}

const HONEST: [&str; 6] =
    ["hello of 1", "prepared of 2", "sample 0 of 3", "sample 1 of 3", "sample 2 of 3", "done of 3"];

/// The honest conversation with the replies from `from` to `to` replaced.
fn with(from: usize, to: usize, instead: &[&str]) -> Vec<String> {
    [&HONEST[..from], instead, &HONEST[to..]].concat().into_iter().map(str::to_owned).collect()
}

#[test]
fn without_faults_every_reply_goes_out_once() {
    assert_eq!(short(&play("{}", 0, 0)), HONEST);
}

#[test]
fn each_fault_does_what_it_says_where_it_says() {
    let rows: [(&str, Vec<String>); 19] = [
        ("{kind: hang, at: prepare}", with(1, 2, &["Hang"])),
        ("{kind: hang, after: 1}", with(3, 6, &["Hang"])),
        ("{kind: hang, at: bye}", with(6, 6, &["Hang"])),
        ("{kind: crash, after: 2, exit: 3}", with(4, 6, &["Exit(3)"])),
        ("{kind: crash, at: hello}", with(0, 1, &["Segfault"])),
        ("{kind: garbage, message: hm}", with(2, 2, &["3 bytes"])),
        ("{kind: invalid_utf8, at: hello}", with(0, 0, &["8 bytes"])),
        ("{kind: oversized_line, at: prepare}", with(1, 2, &["16777217 bytes", "Hang"])),
        ("{kind: grandchild, exit: 2}", with(2, 6, &["Grandchild", "Exit(2)"])),
        ("{kind: duplicate_reply, at: prepare}", with(1, 2, &["prepared of 2", "prepared of 2"])),
        ("{kind: wrong_id, after: 1}", with(3, 4, &["sample 1 of 1003"])),
        ("{kind: out_of_order, after: 1}", with(3, 5, &["sample 2 of 3", "sample 1 of 3"])),
        ("{kind: missing_done}", with(5, 6, &[])),
        ("{kind: early_done, after: 1}", with(3, 6, &["done of 3"])),
        ("{kind: extra_sample}", with(5, 5, &["sample 3 of 3"])),
        ("{kind: slow_reply, at: hello, ms: 7}", with(0, 0, &["Delay(7ms)"])),
        ("{kind: stderr, at: hello, lines: 4}", with(0, 0, &["Complain(4)"])),
        ("{kind: blocked}", with(1, 2, &["Blocked of 2"])),
        ("{kind: failed, at: run, after: 1}", with(3, 6, &["Failed of 3"])),
    ];
    for (fault, expected) in rows {
        // A process that hangs or ends is not asked again by anybody; here it is, and that part is not looked at.
        let played = short(&play(&format!("{{faults: [{fault}]}}"), 0, 0));
        let ends = |s: &String| s == "Hang" || s == "Segfault" || s.starts_with("Exit");
        let seen = played.iter().position(ends).map_or(played.len(), |end| end + 1);
        let due = expected.iter().position(ends).map_or(expected.len(), |end| end + 1);
        assert_eq!(played[..seen], expected[..due], "{fault}");
    }
}

#[test]
fn half_a_line_is_half_of_the_honest_one() {
    let honest = play("{}", 0, 0);
    let torn = play("{faults: [{kind: half_line, at: hello, exit: 4}]}", 0, 0);
    let (Action::Write(whole), Action::Write(half)) = (&honest[0], &torn[0]) else { panic!("{torn:?}") };
    assert_eq!(half[..], whole[..whole.len() / 2]);
    assert_eq!(torn[1], Action::Exit(4));
}

#[test]
fn samples_are_spoiled_one_by_one() {
    let spoiled = |kind: &str| {
        let actions = play(&format!("{{decode_rate: 1000, faults: [{{kind: {kind}, after: 1}}]}}"), 0, 0);
        let Action::Write(line) = &actions[3] else { panic!("{actions:?}") };
        String::from_utf8_lossy(line).into_owned()
    };
    for (kind, expected) in [
        ("nan_time", r#""decode_ns":NaN}"#),
        ("negative_time", r#""decode_ns":-2000000.0"#),
        ("zero_time", r#""decode_ns":0.0"#),
        ("wrong_count", r#""decode_tokens":9"#),
        ("wrong_prompt", r#""prompt_tokens":8"#),
        ("wrong_flag", r#""warmup":true"#),
        ("slow_tokens", r#""token_ns":[2000000.0,2000000.0]"#),
    ] {
        assert!(spoiled(kind).contains(expected), "{kind}: {}", spoiled(kind));
    }
    assert!(!spoiled("missing_time").contains("decode_ns"));
    let tokens = serde_json::from_str::<Value>(&spoiled("short_output")).map(|v| v["tokens"].as_array().map(Vec::len));
    assert_eq!(tokens.ok().flatten(), Some(2));
}

#[test]
fn a_fault_can_be_held_to_blocks_and_attempts() {
    let yaml = "{faults: [{kind: missing_done, blocks: [1, 3], attempts: [0]}]}";
    let strikes = |block, attempt| play(yaml, block, attempt).len() == HONEST.len() - 1;
    assert!(strikes(1, 0) && strikes(3, 0));
    assert!(!strikes(0, 0) && !strikes(1, 1));
}
