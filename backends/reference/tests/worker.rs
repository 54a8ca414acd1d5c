//! The worker, through the trait that the harness's protocol drives.

mod support;

use qa_protocol::{
    DeviceKind, Failure, FailureKind, Metric, PrepareRequest, Sample, Sampling, ScoreRequest, TokenSource, Worker,
};
use serde_json::json;
use support::{decode_request, prepare};

fn prepared(options: serde_json::Value) -> impl Worker {
    let mut worker = qa_reference::worker();
    worker.prepare(&prepare(options)).unwrap();
    worker
}

fn run(worker: &mut impl Worker, request: &qa_protocol::RunRequest) -> Result<Vec<Sample>, Failure> {
    let mut samples = Vec::new();
    worker.run(request, &mut |sample| {
        samples.push(sample);
        Ok(())
    })?;
    Ok(samples)
}

#[track_caller]
fn expect<T>(result: Result<T, Failure>, kind: FailureKind, said: &str) {
    let failure = result.err().expect("a failure");
    assert_eq!(failure.kind, kind, "{failure}");
    assert!(failure.message.contains(said), "{failure}");
}

#[test]
fn says_who_it_is_and_what_took_effect() {
    let mut worker = qa_reference::worker();
    let hello = worker.hello();
    assert_eq!((hello.protocol, hello.name.as_str()), (qa_protocol::VERSION, "reference"));
    assert!(hello.capabilities.score && hello.capabilities.tokens == Some(TokenSource::Timed));
    let prepared = worker.prepare(&prepare(json!({ "threads": 2, "kv_cache": false }))).unwrap();
    assert_eq!((&prepared.resolved["threads"], &prepared.resolved["kv_cache"]), (&json!(2), &json!(false)));
    assert!(prepared.resolved["memory_limit_bytes"].as_u64() > Some(0));
    assert!(prepared.load_ns > 1_000_000 && prepared.memory.host_peak_bytes > Some(20 << 20));
    assert_eq!(prepared.device.kind, DeviceKind::Cpu);
    assert!(!prepared.device.name.is_empty());
}

#[test]
fn a_seed_gives_the_same_text_again_and_another_seed_another() {
    let mut worker = prepared(json!({}));
    let mut tokens = |seed| {
        let sampling = Sampling::Random { temperature: 1.0, top_k: 40, top_p: 0.95, seed };
        let request = qa_protocol::RunRequest { sampling, warmup: 0, iterations: 2, ..decode_request(32, 12) };
        let samples = run(&mut worker, &request).unwrap();
        assert_eq!(samples[0].tokens, samples[1].tokens);
        samples[0].tokens.clone().unwrap()
    };
    let first = tokens(5);
    assert_eq!(tokens(5), first);
    assert_ne!(tokens(6), first);
}

#[test]
fn samples_are_whole_and_repeat_their_tokens() {
    let samples = run(&mut prepared(json!({})), &decode_request(32, 9)).unwrap();
    assert_eq!(samples.iter().map(|s| (s.index, s.warmup)).collect::<Vec<_>>(), [(0, true), (1, false), (2, false)]);
    for sample in &samples {
        assert_eq!((sample.prompt_tokens, sample.decode_tokens, sample.token_ns.len()), (32, 8, 8));
        assert_eq!(sample.tokens, samples[0].tokens);
        assert_eq!(sample.tokens.as_ref().map(Vec::len), Some(9));
        assert_eq!(sample.token_source, Some(TokenSource::Timed));
        assert_eq!(sample.witness.positions, Some(8));
        let (sum, decode) = (sample.token_ns.iter().sum::<f64>(), sample.decode_ns.unwrap());
        assert!((sum - decode).abs() < 1.0 && sample.prefill_ns > Some(0.0) && decode > 0.0);
    }
}

#[test]
fn the_witness_tells_a_cache_from_none() {
    let samples = run(&mut prepared(json!({ "kv_cache": false })), &decode_request(32, 9)).unwrap();
    assert_eq!(samples[2].witness.positions, Some((33..=40).sum()));
}

#[test]
fn tokens_are_sent_when_asked_for_and_one_token_has_no_decode() {
    let mut request = decode_request(4, 1);
    request.tokens = false;
    let samples = run(&mut prepared(json!({})), &request).unwrap();
    assert_eq!((&samples[0].tokens, samples[0].token_source), (&None, None));
    assert_eq!((samples[0].decode_ns, samples[0].decode_tokens), (None, 0));
}

#[test]
fn scores_name_their_tokens() {
    let request = ScoreRequest { tokens: (0..20).collect(), text: None, context: 8, first: 5, top: 3 };
    let mut rows = Vec::new();
    prepared(json!({}))
        .score(&request, &mut |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    assert_eq!(rows.iter().map(|row| row.index).collect::<Vec<_>>(), [5, 6, 7, 13, 14, 15]);
    assert!(rows.iter().all(|row| row.top.len() == 3 && row.nll > 0.0 && row.tail > 0.0));
}

#[test]
fn what_cannot_be_done_is_refused_in_kind() {
    use FailureKind::{Blocked, Failed, Unsupported};
    let mut fresh = qa_reference::worker();
    expect(run(&mut fresh, &decode_request(4, 4)), Failed, "`prepare` comes first");
    expect(fresh.prepare(&PrepareRequest::default()), Unsupported, "needs a model");
    expect(fresh.prepare(&prepare(json!({ "kv_cahce": true }))), Unsupported, "the nearest is `kv_cache`");
    let mut missing = prepare(json!({}));
    missing.model.as_mut().unwrap().path = "/nowhere/model.gguf".into();
    expect(fresh.prepare(&missing), Blocked, "/nowhere/model.gguf");
    missing.model.as_mut().unwrap().path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into();
    expect(fresh.prepare(&missing), Failed, "not \"GGUF\"");

    let mut worker = prepared(json!({}));
    let mut request = decode_request(4, 4);
    request.metrics.push(Metric::PeakDeviceMemory);
    expect(run(&mut worker, &request), Unsupported, "no `peak_device_memory`");
    let mut request = decode_request(4, 4);
    request.sampling = Sampling::Random { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 1 };
    expect(run(&mut worker, &request), Unsupported, "a temperature of 0");
    expect(run(&mut worker, &decode_request(4, 4000)), Unsupported, "context is 2048");
    let score = ScoreRequest { tokens: vec![1; 5], text: None, context: 8, first: 5, top: 3 };
    expect(worker.score(&score, &mut |_| Ok(())), Unsupported, "do not fill one window");
}
