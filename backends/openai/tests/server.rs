//! The worker against a server that behaves as documented, against one that does not, and against two real llama-servers.

#[path = "server/load.rs"]
mod load;
mod stub;

use qa_openai::{Limits, OpenAi};
use qa_protocol::{
    Failure, FailureKind, Metric, ModelRef, PrepareRequest, Prepared, RunRequest, Sample, Sampling, TokenSource, Worker,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use stub::{Script, Stub};

fn limits() -> Limits {
    Limits { connect: Duration::from_secs(1), answer: Duration::from_secs(120), start: Duration::from_secs(60) }
}

/// The embedded model's file.
fn model() -> ModelRef {
    let asset = qa_model::embedded::find("tiny-coder").unwrap();
    let path: PathBuf = qa_model::embedded::materialize("tiny-coder", Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    ModelRef { path, sha256: asset.sha256.to_owned() }
}

fn prepare(options: &Value) -> Result<(OpenAi, Prepared), Failure> {
    prepare_within(limits(), options)
}

fn prepare_within(limits: Limits, options: &Value) -> Result<(OpenAi, Prepared), Failure> {
    let mut worker = OpenAi::with_limits(limits);
    let options = options.as_object().unwrap().clone();
    let prepared = worker.prepare(&PrepareRequest { model: Some(model()), options, ..PrepareRequest::default() })?;
    Ok((worker, prepared))
}

fn workload(metrics: &[Metric], tokens: bool) -> RunRequest {
    RunRequest {
        prompt: vec![11, 22, 33, 44],
        generate_tokens: 8,
        sampling: Sampling::Greedy,
        ignore_eos: true,
        warmup: 1,
        iterations: 2,
        metrics: metrics.to_vec(),
        tokens,
        load: None,
    }
}

fn run(worker: &mut OpenAi, request: &RunRequest) -> Result<Vec<Sample>, Failure> {
    let mut samples = Vec::new();
    worker.run(request, &mut |sample| {
        samples.push(sample);
        Ok(())
    })?;
    Ok(samples)
}

/// What a stub with this script makes of a request.
fn answered(script: Script, request: &RunRequest) -> Result<Vec<Sample>, Failure> {
    let stub = Stub::start(script);
    run(&mut prepare(&json!({ "url": stub.url }))?.0, request)
}

const ALL: [Metric; 3] = [Metric::DecodeRate, Metric::TimeToFirstToken, Metric::InterTokenLatencyP99];

#[track_caller]
fn refused(script: Script, metrics: &[Metric], tokens: bool, kind: FailureKind, phrase: &str) {
    let failure = answered(script, &workload(metrics, tokens)).unwrap_err();
    assert_eq!(failure.kind, kind, "{failure}");
    assert!(failure.message.contains(phrase), "{phrase:?} is not in: {failure}");
}

#[test]
fn a_stream_is_timed_where_it_arrives() {
    let stub = Stub::start(Script::default());
    let (mut worker, prepared) = prepare(&json!({ "url": format!("{}/v1", stub.url) })).unwrap();
    assert_eq!((&prepared.resolved["server"], &prepared.resolved["version"]), (&json!("vLLM"), &json!("0.33.0")));
    let samples = run(&mut worker, &workload(&ALL, true)).unwrap();
    assert_eq!(samples.iter().map(|s| s.warmup).collect::<Vec<_>>(), [true, false, false]);
    for sample in &samples {
        assert_eq!((sample.decode_tokens, sample.prompt_tokens, sample.token_ns.len()), (7, 4, 7));
        assert_eq!(sample.tokens.as_deref(), Some(&[100, 101, 102, 103, 104, 105, 106, 107][..]));
        assert_eq!(sample.token_source, Some(TokenSource::Timed));
        // Eight pauses of two milliseconds, one before the first token. What a client reads late it reads no earlier.
        let (first, rest) = (sample.prefill_ns.unwrap(), sample.decode_ns.unwrap());
        assert!(first >= 2e6 && first + rest >= 16e6, "{sample:?}");
    }
    let bodies = stub.bodies();
    let salts: std::collections::BTreeSet<&str> =
        bodies.iter().map(|body| body["cache_salt"].as_str().unwrap()).collect();
    assert_eq!(salts.len(), 3, "a prompt was asked for twice with the same salt");
    assert!(bodies.iter().all(|body| body["min_tokens"] == 8 && body["ignore_eos"] == true));
}

#[test]
fn several_tokens_in_a_part_are_counted() {
    let script = Script { parts: vec![2, 3, 3], ..Script::default() };
    let samples = answered(script.clone(), &workload(&ALL[..2], true)).unwrap();
    assert!(samples.iter().all(|sample| sample.decode_tokens == 6 && sample.token_ns.is_empty()));
    refused(script, &ALL, true, FailureKind::Unsupported, "several tokens in a part");
    // Without ids nobody knows what a part holds.
    let untold = Script { parts: vec![2, 3, 3], ids: false, owner: "sglang", ..Script::default() };
    refused(untold, &ALL[..1], false, FailureKind::Invalid, "8 tokens came in 3 parts");
    let at_once = Script { parts: vec![8], ..Script::default() };
    refused(at_once, &ALL[..1], false, FailureKind::Invalid, "came at once");
}

#[test]
fn a_cached_prompt_is_no_first_token() {
    let cached = Script { cached: Some(3), ..Script::default() };
    refused(cached.clone(), &ALL, true, FailureKind::Invalid, "took 3 of 4 prompt tokens from a cache");
    // A decode rate does not rest on the prompt.
    assert_eq!(answered(cached, &workload(&ALL[..1], true)).unwrap().len(), 3);
    let silent = Script { owner: "sglang", ids: false, ..Script::default() };
    refused(silent, &ALL[1..2], false, FailureKind::Unsupported, "does not say whether a prompt came from a cache");
}

#[test]
fn what_llama_servers_stream_leaves_out_is_asked_for_beside_it() {
    let stub = Stub::start(Script { owner: "llamacpp", ..Script::default() });
    let (mut worker, prepared) = prepare(&json!({ "url": stub.url })).unwrap();
    assert_eq!(prepared.resolved["server"], "llama-server");
    let samples = run(&mut worker, &workload(&ALL[..2], true)).unwrap();
    for sample in &samples {
        // Every id, though the stream had six of eight; tokens are counted where they came, and not one by one.
        assert_eq!(sample.tokens.as_deref(), Some(&[100, 101, 102, 103, 104, 105, 106, 107][..]));
        assert_eq!(sample.token_source, Some(TokenSource::Beside));
        assert_eq!((sample.decode_tokens, sample.token_ns.len()), (6, 0), "the eighth is held back until the end");
        // The server's own rate is not believed: it would be a thousand million tokens a second.
        assert!(sample.prefill_ns.unwrap() + sample.decode_ns.unwrap() >= 14e6, "{sample:?}");
    }
    let streamed: Vec<bool> = stub.bodies().iter().map(|body| body["stream"] == true).collect();
    assert_eq!(streamed, [false, true, true, true]);
    assert!(stub.bodies().iter().all(|body| body["cache_prompt"] == false && body["ignore_eos"] == true));
    // `tokens_evaluated` includes what was cached; only the timings tell.
    let cached = Script { owner: "llamacpp", cached: Some(3), ..Script::default() };
    refused(cached, &ALL[..2], true, FailureKind::Invalid, "took 3 of 4 prompt tokens from a cache");
}

#[test]
fn what_is_short_or_broken_off_is_no_sample() {
    let script = |script: Script| script;
    refused(
        script(Script { parts: vec![1; 7], ..Script::default() }),
        &ALL[..1],
        true,
        FailureKind::Invalid,
        "generated 7",
    );
    refused(
        script(Script { more: 1, parts: vec![1; 7], ..Script::default() }),
        &ALL[..1],
        true,
        FailureKind::Invalid,
        "ids of 7",
    );
    let instead = |text| Script { instead: Some((3, text)), ..Script::default() };
    let error = "data: {\"error\": {\"message\": \"no memory left\", \"code\": 500}}\n\n";
    refused(instead(error), &ALL[..1], true, FailureKind::Failed, "no memory left");
    refused(instead(""), &ALL[..1], true, FailureKind::Failed, "closed its stream after 3 parts");
    refused(instead("data: {\"choi\n\n"), &ALL[..1], true, FailureKind::Failed, "no JSON");
}

#[test]
fn what_a_server_cannot_give_is_refused() {
    let other = Script { owner: "somebody", ids: false, ..Script::default() };
    refused(other.clone(), &ALL[..1], false, FailureKind::Unsupported, "ignore_eos");
    refused(
        Script { ids: false, owner: "sglang", ..Script::default() },
        &ALL[..1],
        true,
        FailureKind::Unsupported,
        "unchecked",
    );
    refused(Script::default(), &[Metric::LoadTime], false, FailureKind::Unsupported, "`command`");
    refused(Script::default(), &[Metric::PeakHostMemory], false, FailureKind::Unsupported, "peak_host_memory");
    let several = Script { models: &["a", "b"], ..Script::default() };
    refused(
        several.clone(),
        &ALL[..1],
        false,
        FailureKind::Unsupported,
        "several models: name one with `served_model`: a, b",
    );
    let stub = Stub::start(several);
    assert_eq!(prepare(&json!({ "url": stub.url, "served_model": "b" })).unwrap().1.resolved["model"], "b");
    let failure = prepare(&json!({ "url": stub.url, "served_model": "c" })).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Blocked);
    let failure = prepare(&json!({ "url": "http://127.0.0.1:1" })).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Blocked, "{failure}");
    let failure = prepare(&json!({ "command": ["sh", "-c", "echo no such card >&2; exit 3 # {port}"] })).unwrap_err();
    assert!(failure.message.contains("no such card"), "{failure}");
    let failure = prepare(&json!({ "command": ["qa-no-such-program", "{port}"] })).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Blocked, "{failure}");
}

/// Options that start a real llama-server of one slot on so many threads. Says so where there is none.
fn llama_server(threads: &str) -> Option<Value> {
    let Some(folder) = std::env::var_os("QA_LLAMA_CPP").map(PathBuf::from) else {
        println!("skipped: QA_LLAMA_CPP names no folder of llama.cpp's programs");
        return None;
    };
    let program = folder.join("llama-server").display().to_string();
    let command =
        [&program, "-m", "{model}", "--host", "127.0.0.1", "--port", "{port}", "-np", "1", "-c", "256", "-t", threads];
    Some(json!({ "command": command, "device": "cpu" }))
}

/// Options that start the server inside the wheel `xllamacpp`: another build, under a process of Python. Says so where there
/// is no wheel or no Python.
fn wheel() -> Option<Value> {
    if std::env::var_os("QA_XLLAMACPP").is_none() {
        println!("skipped: QA_XLLAMACPP names no folder of an unpacked wheel of xllamacpp");
        return None;
    }
    if let Err(e) = std::process::Command::new("python3").arg("--version").output() {
        println!("skipped: the wheel xllamacpp needs python3: {e}");
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/xllamacpp_server.py");
    Some(json!({ "command": ["python3", script, "{model}", "{port}"], "device": "cpu" }))
}

#[test]
fn a_real_llama_server_is_started_and_timed() {
    if let Some(options) = llama_server("2") {
        started_and_timed(&options);
    }
}

#[test]
fn the_server_of_a_wheel_is_started_and_timed() {
    if let Some(options) = wheel() {
        started_and_timed(&options);
    }
}

/// A real server, started by the arm.
fn started_and_timed(options: &Value) {
    let (mut worker, prepared) = prepare(options).unwrap();
    assert_eq!(prepared.resolved["server"], "llama-server");
    assert_eq!(prepared.resolved["model_path"], model().path.display().to_string());
    let request = workload(&[Metric::DecodeRate, Metric::LoadTime], true);
    let samples = run(&mut worker, &request).unwrap();
    let ids = samples[0].tokens.clone().unwrap();
    assert_eq!(ids.len(), 8);
    for sample in &samples {
        assert!(
            sample.decode_tokens >= 1 && sample.decode_tokens <= 7 && sample.decode_ns.unwrap() > 0.0,
            "{sample:?}"
        );
        assert_eq!((sample.tokens.as_ref(), sample.token_source), (Some(&ids), Some(TokenSource::Beside)));
    }
}
