//! The worker against a server that behaves as documented, and against one that does not.

mod stub;

use qa_model::Tokenizer;
use qa_ollama::{Limits, Ollama};
use qa_protocol::{
    DeviceKind, Failure, FailureKind, Metric, ModelRef, PrepareRequest, Prepared, RunRequest, Sample, Sampling, Worker,
};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use stub::{Answer, Call, Fault, Stub};

/// The embedded model's file.
fn model() -> ModelRef {
    let asset = qa_model::embedded::find("tiny-coder").unwrap();
    let path: PathBuf = qa_model::embedded::materialize("tiny-coder", Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    ModelRef { path, sha256: asset.sha256.to_owned() }
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_gguf(&qa_model::embedded::find("tiny-coder").unwrap().gguf()).unwrap()
}

fn nowhere(_: u64) -> u64 {
    0
}

fn everywhere(size: u64) -> u64 {
    size
}

fn half(size: u64) -> u64 {
    size / 2
}

fn none(_: &Call, _: &mut Answer) {}

fn limits() -> Limits {
    Limits { connect: Duration::from_millis(500), answer: Duration::from_secs(2), unload: Duration::from_millis(200) }
}

/// A worker that is prepared with these options on this server.
fn prepare(stub: &Stub, options: &Value) -> Result<(Ollama, Prepared), Failure> {
    let mut all = json!({"host": stub.url});
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let Value::Object(options) = all else { unreachable!("it is a map") };
    let mut worker = Ollama::with_limits(limits());
    let request = PrepareRequest { model: Some(model()), options, ..PrepareRequest::default() };
    let prepared = worker.prepare(&request)?;
    Ok((worker, prepared))
}

fn workload() -> RunRequest {
    RunRequest {
        prompt: tokenizer().encode("def read_config(path):\n    with open(path) as file:\n        return file.read()"),
        generate_tokens: 16,
        sampling: Sampling::Greedy,
        ignore_eos: true,
        warmup: 1,
        iterations: 2,
        metrics: vec![Metric::DecodeRate, Metric::PrefillRate],
        tokens: false,
        load: None,
    }
}

fn run(worker: &mut Ollama, request: &RunRequest) -> Result<Vec<Sample>, Failure> {
    let mut samples = Vec::new();
    worker.run(request, &mut |sample| {
        samples.push(sample);
        Ok(())
    })?;
    Ok(samples)
}

#[track_caller]
fn expect<T: std::fmt::Debug>(result: Result<T, Failure>, kind: FailureKind, what: &[&str]) {
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, kind, "{failure}");
    for what in what {
        assert!(failure.message.contains(what), "{what:?} is not in: {failure}");
    }
}

#[test]
fn a_run_reports_the_servers_own_counts_and_durations() {
    let stub = Stub::start(tokenizer(), everywhere, none);
    let (mut worker, prepared) = prepare(&stub, &json!({"device": "gpu", "threads": 2})).unwrap();
    assert_eq!(prepared.device.kind, DeviceKind::Gpu);
    assert_eq!(prepared.resolved["version"], "0.33.3");
    assert_eq!(prepared.resolved["size_vram"], prepared.resolved["size"]);
    assert!(prepared.load_ns > 0);

    let request = workload();
    let samples = run(&mut worker, &request).unwrap();
    assert_eq!(samples.iter().map(|s| (s.index, s.warmup)).collect::<Vec<_>>(), [(0, true), (1, false), (2, false)]);
    for sample in &samples {
        assert_eq!(sample.prompt_tokens as usize, request.prompt.len());
        assert_eq!(sample.prefill_ns, Some(f64::from(sample.prompt_tokens) * 1000.0));
        // The first of the sixteen comes out of the prompt.
        assert_eq!((sample.decode_tokens, sample.decode_ns), (15, Some(30_000.0)));
        assert!(sample.tokens.is_none());
    }

    let asked = stub.calls("POST /api/generate");
    let prompts: Vec<_> = asked.iter().filter_map(|body| body["prompt"].as_str()).collect();
    let mut beginnings: Vec<_> = prompts.iter().map(|prompt| &prompt[..8]).collect();
    beginnings.sort_unstable();
    beginnings.dedup();
    assert_eq!((prompts.len(), beginnings.len()), (3, 3), "no prompt may share a beginning: {prompts:?}");
    // The same options that decide how the model is loaded in every request, or it would be loaded again.
    assert!(asked.iter().all(|body| body["keep_alive"] == 0 || body["options"]["num_ctx"] == 4096), "{asked:?}");
    assert!(asked.iter().all(|body| body["keep_alive"] == 0 || body["options"]["num_thread"] == 2), "{asked:?}");
    let last = asked.last().unwrap();
    assert_eq!(
        (&last["think"], &last["options"]["temperature"], &last["options"]["stop"]),
        (&json!(false), &json!(0.0), &json!([]))
    );

    // The default is five minutes: a model would leave in the midst of a long measurement.
    assert!(asked.iter().all(|body| body["keep_alive"] == 0 || body["keep_alive"] == "30m"), "{asked:?}");

    assert!(stub.loaded().is_some());
    drop(worker);
    assert_eq!(stub.loaded(), None, "the memory is left to the next arm");
}

#[test]
fn the_arms_own_file_is_served_and_uploaded_once() {
    let stub = Stub::start(tokenizer(), nowhere, none);
    let name = format!("qa-{}", &model().sha256[..12]);
    for _ in 0..2 {
        let (_, prepared) = prepare(&stub, &json!({})).unwrap();
        assert_eq!(prepared.resolved["model"], name);
        assert_eq!(prepared.device.kind, DeviceKind::Cpu);
    }
    assert_eq!(stub.calls(&format!("POST /api/blobs/sha256:{}", model().sha256)).len(), 1);
    assert_eq!(stub.calls("POST /api/create").len(), 1);
}

#[test]
fn a_model_in_memory_is_unloaded_first() {
    let stub = Stub::start(tokenizer(), nowhere, none);
    stub.pull("mine", &model().sha256);
    let (_worker, _) = prepare(&stub, &json!({"tag": "mine"})).unwrap();
    let (_again, _) = prepare(&stub, &json!({"tag": "mine"})).unwrap();
    let kinds: Vec<bool> = stub.calls("POST /api/generate").iter().map(|body| body["keep_alive"] == 0).collect();
    assert_eq!(kinds, [false, true, false], "load; unload and load");
}

#[test]
fn no_server_and_no_model_block() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut worker = Ollama::with_limits(limits());
    let options = json!({"host": format!("127.0.0.1:{port}")}).as_object().unwrap().clone();
    let request = PrepareRequest { model: Some(model()), options, ..PrepareRequest::default() };
    let url = format!("http://127.0.0.1:{port}");
    expect(
        worker.prepare(&request),
        FailureKind::Blocked,
        &["no Ollama answers at", &url, "ollama serve", "OLLAMA_HOST"],
    );

    let stub = Stub::start(tokenizer(), nowhere, none);
    let missing = prepare(&stub, &json!({"tag": "qwen2.5-coder:0.5b"})).map(|_| ());
    expect(missing, FailureKind::Blocked, &["no model qwen2.5-coder:0.5b", "ollama pull qwen2.5-coder:0.5b"]);
    let other = Stub::start(tokenizer(), nowhere, |call, answer| {
        if call.what == "GET /api/version" {
            answer.body = "<html>".into();
        }
    });
    expect(prepare(&other, &json!({})).map(|_| ()), FailureKind::Blocked, &["no Ollama answers", "another answer"]);
}

#[test]
fn a_model_of_another_file_is_invalid() {
    let stub = Stub::start(tokenizer(), nowhere, none);
    stub.pull("other", &"0".repeat(64));
    let what = ["made of another file", "000000", "leave out `tag`"];
    expect(prepare(&stub, &json!({"tag": "other"})).map(|_| ()), FailureKind::Invalid, &what);
}

#[test]
fn a_model_in_the_wrong_place_is_invalid() {
    let check = |vram: fn(u64) -> u64, options: Value, what: &[&str]| {
        let stub = Stub::start(tokenizer(), vram, none);
        expect(prepare(&stub, &options).map(|_| ()), FailureKind::Invalid, what);
        assert_eq!(stub.loaded(), None, "it is not left in memory");
    };
    check(nowhere, json!({"device": "gpu"}), &["`device: gpu`", "holds 0 of 5137025024 bytes"]);
    check(half, json!({"device": "gpu"}), &["2568512512 of 5137025024 bytes", "memory free"]);
    check(everywhere, json!({"device": "cpu"}), &["`device: cpu`"]);
}

/// What a run gives on a server with a fault.
fn faulty(fault: Fault) -> Result<Vec<Sample>, Failure> {
    let stub = Stub::start(tokenizer(), nowhere, fault);
    run(&mut prepare(&stub, &json!({}))?.0, &workload())
}

/// Whether a call is a generation, not a load.
fn generates(call: &Call) -> bool {
    call.what == "POST /api/generate" && call.body["prompt"].is_string()
}

macro_rules! on_generate {
    ($answer:ident => $change:expr) => {
        |call, $answer| {
            if generates(call) {
                $change
            }
        }
    };
}

#[test]
fn prompts_that_were_not_evaluated_whole_are_invalid() {
    let invalid = |fault: Fault, what: &[&str]| expect(faulty(fault), FailureKind::Invalid, what);
    invalid(on_generate!(a => a.set("prompt_eval_cached_count", json!(9))), &["took 9 of", "from its cache"]);
    // Versions before 0.33 leave out what was cached, and a zero altogether.
    invalid(on_generate!(a => a.drop("prompt_eval_count")), &["reports 0 prompt tokens", "cached"]);
    invalid(on_generate!(a => a.set("prompt_eval_count", json!(3))), &["reports 3 prompt tokens"]);
    invalid(on_generate!(a => a.set("prompt_eval_cached_count", json!(1))), &["took 1 of"]);
    // A version that does not know the field.
    assert!(faulty(on_generate!(a => a.drop("prompt_eval_cached_count"))).is_ok());
}

#[test]
fn a_wait_for_a_turn_is_told_by_the_whole_alone() {
    let waited: Fault = on_generate!(a => a.set("total_duration", json!(900_000_000)));
    expect(faulty(waited), FailureKind::Invalid, &["took 900 ms", "explains 1 ms", "waited for its turn"]);
    // A load that is part of it explains it; a version that does not tell the whole is believed.
    let loaded: Fault = on_generate!(a => {
        a.set("total_duration", json!(900_000_000));
        a.set("load_duration", json!(850_000_000));
    });
    assert!(faulty(loaded).is_ok());
    assert!(faulty(on_generate!(a => a.drop("total_duration"))).is_ok());
}

#[test]
fn a_load_is_timed_by_the_clients_own_clock() {
    // A model that is there already has a `load_duration` too; it says nothing of a cold start.
    let slow: Fault = |call, answer| {
        if call.what == "POST /api/generate" && call.body["prompt"].is_null() && call.body["keep_alive"] != 0 {
            answer.delay = Duration::from_millis(60);
            answer.set("load_duration", json!(5));
        }
    };
    let stub = Stub::start(tokenizer(), nowhere, slow);
    let (_worker, prepared) = prepare(&stub, &json!({})).unwrap();
    assert!(prepared.load_ns >= 60_000_000, "{}", prepared.load_ns);
}

#[test]
fn counts_that_were_not_asked_for_are_invalid() {
    let invalid = |fault: Fault, what: &[&str]| expect(faulty(fault), FailureKind::Invalid, what);
    let stop: Fault = on_generate!(a => { a.set("eval_count", json!(7)); a.set("done_reason", json!("stop")); });
    invalid(stop, &["generated 7 of 16 tokens", "`stop`", "cannot be told"]);
    invalid(on_generate!(a => a.set("eval_count", json!(17))), &["generated 17 of 16"]);
    invalid(on_generate!(a => a.drop("eval_count")), &["generated 0 of 16"]);

    // An end of sequence is no fault of a workload that stops there.
    let stub = Stub::start(tokenizer(), nowhere, stop);
    let mut request = workload();
    request.ignore_eos = false;
    let samples = run(&mut prepare(&stub, &json!({})).unwrap().0, &request).unwrap();
    assert!(samples.iter().all(|sample| sample.decode_tokens == 6));
}

#[test]
fn broken_answers_are_failures() {
    let failed = |fault: Fault, what: &[&str]| expect(faulty(fault), FailureKind::Failed, what);
    failed(on_generate!(a => a.body.truncate(60)), &["cannot be read", "EOF", "/api/generate"]);
    failed(on_generate!(a => a.set("done", json!(false))), &["`done` is false"]);
    failed(on_generate!(a => a.drop("done")), &["missing field `done`"]);
    failed(on_generate!(a => a.drop("eval_duration")), &["no `eval_duration`"]);
    failed(on_generate!(a => a.drop("prompt_eval_duration")), &["no `prompt_eval_duration`"]);
    failed(on_generate!(a => a.set("eval_duration", json!(-1))), &["invalid value: integer `-1`"]);
    let refuse: Fault =
        on_generate!(a => { a.status = 500; a.body = r#"{"error":"llama runner process has terminated"}"#.into(); });
    failed(refuse, &["status 500", "llama runner process has terminated"]);
    let no_models: Fault = |call, answer| {
        if call.what == "GET /api/ps" {
            answer.drop("models");
        }
    };
    failed(no_models, &["missing field `models`"]);
    let no_success: Fault = |call, answer| {
        if call.what == "POST /api/create" {
            answer.set("status", json!("pulling"));
        }
    };
    failed(no_success, &["did not make a model", "pulling"]);
}

#[test]
fn added_fields_do_no_harm() {
    assert!(
        faulty(|call, answer| if !call.what.starts_with("POST /api/blobs") && !call.what.starts_with("HEAD") {
            answer.set("new", json!([{}]));
        })
        .is_ok()
    );
}

#[test]
fn a_slow_server_is_not_waited_for_for_ever() {
    let started = Instant::now();
    expect(
        faulty(on_generate!(a => a.delay = Duration::from_secs(30))),
        FailureKind::Failed,
        &["did not answer", "timeout"],
    );
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_model_that_does_not_leave_memory_is_a_failure() {
    let stays: Fault = |call, answer| {
        if call.what == "GET /api/ps" {
            let name = format!("qa-{}:latest", &model().sha256[..12]);
            answer.set("models", json!([{"name": name, "digest": "2ae6", "size": 1}]));
        }
    };
    expect(faulty(stays), FailureKind::Failed, &["still holds", "somebody else"]);
}

#[test]
fn a_model_that_was_loaded_again_in_the_middle_is_invalid() {
    let stub = Stub::start(tokenizer(), nowhere, |call, answer| {
        // After a generation the listing is another one.
        static GENERATED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        use std::sync::atomic::Ordering;
        if generates(call) {
            GENERATED.store(true, Ordering::SeqCst);
        }
        if call.what == "GET /api/ps" && GENERATED.load(Ordering::SeqCst) {
            answer.body = answer.body.replace("\"context_length\":4096", "\"context_length\":8192");
        }
    });
    let result = run(&mut prepare(&stub, &json!({})).unwrap().0, &workload());
    expect(result, FailureKind::Invalid, &["loaded the model again", "4096", "8192"]);
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let stub = Stub::start(tokenizer(), nowhere, none);
    let (mut worker, _) = prepare(&stub, &json!({"context": 64})).unwrap();
    let mut check = |change: fn(&mut RunRequest), what: &str| {
        let mut request = workload();
        change(&mut request);
        expect(run(&mut worker, &request), FailureKind::Unsupported, &[what]);
    };
    check(|r| r.generate_tokens = 100, "set the option `context`");
    check(|r| r.generate_tokens = 1, "at least 2 tokens");
    check(|r| r.prompt.clear(), "needs a prompt");
    check(|r| r.tokens = true, "not token ids");
    check(|r| r.metrics = vec![Metric::PeakHostMemory], "does not report peak_host_memory");

    let nothing = Ollama::with_limits(limits()).prepare(&PrepareRequest::default());
    expect(nothing, FailureKind::Unsupported, &["needs a model"]);
    expect(run(&mut Ollama::with_limits(limits()), &workload()), FailureKind::Failed, &["must `prepare`"]);
}
