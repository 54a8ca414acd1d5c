//! The README's examples are messages of the protocol, and every field in them is one that the types know.

use qa_protocol::{MAX_LINE_BYTES, Metric, Reply, ReplyLine, Request, RequestLine, VERSION};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;

const README: &str = include_str!("../README.md");

/// The lines of all code blocks with this language.
fn examples(language: &str) -> Vec<&'static str> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in README.lines() {
        match line.strip_prefix("```") {
            Some(fence) => inside = !inside && fence == language,
            None if inside => lines.push(line),
            None => {}
        }
    }
    lines
}

/// Parse an example, and hold every field of it against what the types make of it.
fn parse<T: DeserializeOwned + Serialize>(line: &str) -> T {
    let message: T = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let written = serde_json::from_str(line).expect("it is JSON, as was just seen");
    let understood = serde_json::to_value(&message).expect("it was read from JSON");
    known("", &written, &understood);
    message
}

fn known(at: &str, written: &Value, understood: &Value) {
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => {
            for (key, value) in written {
                let at = format!("{at}.{key}");
                // What is empty may be left out when it is written down again.
                let empty = value.as_object().is_some_and(serde_json::Map::is_empty) || *value == Value::Bool(false);
                match understood.get(key) {
                    Some(other) => known(&at, value, other),
                    None => assert!(empty, "the types do not know the README's `{at}`"),
                }
            }
        }
        (Value::Array(written), Value::Array(understood)) => {
            assert_eq!(written.len(), understood.len(), "{at}");
            for (value, other) in written.iter().zip(understood) {
                known(at, value, other);
            }
        }
        (Value::Number(written), Value::Number(understood)) => {
            let (a, b) = (written.as_f64().unwrap_or(f64::NAN), understood.as_f64().unwrap_or(f64::NAN));
            assert!((a - b).abs() <= 1e-6 * a.abs(), "{at}: {a} became {b}");
        }
        _ => assert_eq!(written, understood, "{at}"),
    }
}

/// The `type`s among some messages.
fn types(messages: &[impl Serialize]) -> BTreeSet<String> {
    let of = |m| serde_json::to_value(m).ok()?.get("type")?.as_str().map(str::to_owned);
    messages.iter().filter_map(of).collect()
}

#[test]
fn every_example_is_a_message_and_every_message_has_one() {
    let requests: Vec<RequestLine> = examples("json request").into_iter().map(parse).collect();
    let replies: Vec<ReplyLine> = examples("json reply").into_iter().map(parse).collect();
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(types(&requests), names(&["hello", "prepare", "run", "score", "profile", "bye"]));
    assert_eq!(types(&replies), names(&["hello", "prepared", "sample", "score", "profile", "done", "error"]));
    for reply in &replies {
        assert!(requests.iter().any(|request| request.id == reply.id), "{reply:?} answers no request");
    }
}

#[test]
fn the_examples_keep_the_rules_that_the_page_states() {
    for line in examples("json request") {
        let RequestLine { id, request } = parse(line);
        let replies = examples("json reply").into_iter().map(parse::<ReplyLine>).filter(|r| r.id == id);
        match request {
            Request::Hello { protocol } => assert_eq!(protocol, VERSION),
            Request::Run(run) if run.tokens => {
                let samples: Vec<_> =
                    replies.filter_map(|r| if let Reply::Sample(s) = r.reply { Some(s) } else { None }).collect();
                assert_eq!(samples.len() as u32, run.warmup + run.iterations);
                for (index, sample) in (0..).zip(&samples) {
                    assert_eq!((sample.index, sample.warmup), (index, index < run.warmup));
                    assert_eq!(sample.decode_tokens, run.generate_tokens - 1);
                    assert_eq!(sample.token_ns.len() as u32, sample.decode_tokens);
                    assert_eq!(sample.prompt_tokens as usize, run.prompt.len());
                    assert_eq!(sample.tokens.as_ref().map(Vec::len), Some(run.generate_tokens as usize));
                    let sum: f64 = sample.token_ns.iter().sum();
                    assert!((sum - sample.decode_ns.unwrap_or_default()).abs() < 1.0);
                }
            }
            Request::Score(score) => {
                let rows: Vec<_> =
                    replies.filter_map(|r| if let Reply::Score(s) = r.reply { Some(s) } else { None }).collect();
                let windows = score.tokens.len() as u32 / score.context;
                let due = (0..windows).flat_map(|w| (score.first..score.context).map(move |o| w * score.context + o));
                assert!(rows.iter().map(|r| r.index).eq(due));
                for row in rows {
                    let mass = row.top.iter().map(|(_, l)| f64::from(*l).exp()).sum::<f64>() + row.tail;
                    assert!((mass - 1.0).abs() < 1e-3, "{row:?} adds up to {mass}");
                }
            }
            _ => {}
        }
    }
}

#[test]
fn every_metric_and_limit_is_stated() {
    for metric in Metric::ALL {
        assert!(README.contains(&format!("| `{metric}` |")), "{metric} is not in the table");
    }
    assert!(README.contains(&format!("protocol, version {VERSION}\n")));
    let grouped = format!("{},{},{}", MAX_LINE_BYTES / 1_000_000, MAX_LINE_BYTES / 1000 % 1000, MAX_LINE_BYTES % 1000);
    assert!(README.contains(&grouped), "{grouped} is not there");
}
