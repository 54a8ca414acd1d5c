//! Faults of llama.cpp's programs, acted by shell scripts: each ends in the right kind of failure, with a message that
//! says what happened.
#![cfg(unix)]

mod support;

use qa_protocol::{Failure, FailureKind, Metric, PrepareRequest, ScoreRequest, TokenSource, Worker};
use serde_json::json;
use std::net::TcpListener;
use std::time::{Duration, Instant};
use support::{Fake, run, workload};

#[track_caller]
fn expect<T: std::fmt::Debug>(result: Result<T, Failure>, kind: FailureKind, what: &[&str]) {
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, kind, "{failure}");
    for what in what {
        assert!(failure.message.contains(what), "{what:?} is not in: {failure}");
    }
}

/// What a run of this `llama-bench` gives.
fn timed(fault: &str) -> Result<Vec<qa_protocol::Sample>, Failure> {
    let fake = Fake::bench(fault);
    run(&mut fake.worker(&json!({}))?.0, &workload(&[Metric::DecodeRate]))
}

#[test]
fn without_a_fault_the_times_are_those_that_were_printed() {
    let fake = Fake::bench("");
    let (mut worker, prepared) = fake.worker(&json!({})).unwrap();
    assert_eq!(prepared.resolved["build_commit"], "abc1234");
    assert_eq!(prepared.resolved["version"], "7 (abc1234)");
    let samples = run(&mut worker, &workload(&[Metric::DecodeRate, Metric::TimeToFirstToken])).unwrap();
    let seen: Vec<_> = samples.iter().map(|s| (s.index, s.warmup, s.prefill_ns, s.decode_ns)).collect();
    let (a, b, c) = (Some(1000.0), Some(1001.0), Some(1002.0));
    assert_eq!(seen, [(0, true, a, a), (1, false, b, b), (2, false, c, c)]);
    assert!(samples.iter().all(|s| (s.decode_tokens, s.prompt_tokens) == (6, 8) && s.tokens.is_none()));
}

#[test]
fn only_what_is_asked_for_is_timed() {
    let fake = Fake::bench(r#"[ -n "$probe" ] || echo "$all" >> "$(dirname "$0")/calls""#);
    let (mut worker, _) = fake.worker(&json!({"threads": 2})).unwrap();
    let model = fake.model().display().to_string();
    let check = |worker: &mut _, metrics: &[Metric], expected: &[&str]| {
        let calls = fake.path().join("calls");
        let _ = std::fs::remove_file(&calls);
        run(worker, &workload(metrics)).unwrap();
        let calls = std::fs::read_to_string(calls).unwrap_or_default();
        let expected: Vec<_> =
            expected.iter().map(|tests| format!("-m {model} -o jsonl {tests} -r 3 -t 2 --progress")).collect();
        assert_eq!(calls.lines().map(str::trim).collect::<Vec<_>>(), expected);
    };
    let (decode, prefill) = ("-p 0 -n 6 -d 8", "-p 8 -n 0 -d 0");
    check(&mut worker, &[Metric::DecodeRate], &[decode]);
    check(&mut worker, &[Metric::PeakHostMemory], &[decode]);
    check(&mut worker, &[Metric::PrefillRate, Metric::TimeToFirstToken], &[prefill]);
    check(&mut worker, &[Metric::TimeToFirstToken, Metric::DecodeRate], &[prefill, decode]);
    check(&mut worker, &[Metric::LoadTime], &[]);
}

#[test]
fn results_that_are_none_are_failures() {
    let failed = |fault: &str, what: &[&str]| expect(timed(fault), FailureKind::Failed, what);
    let on_run = |fault: &str| format!("if [ -z \"$probe\" ]; then\n{fault}\nfi");
    failed("result='{\"build_commit\": \"abc1234\"}'", &["missing field `build_number`", "7 (abc1234)"]);
    failed(&on_run("result=$(echo \"$result\" | sed 's/samples_ns/sample_ns/')"), &["missing field `samples_ns`"]);
    failed(&on_run("result='Segmentation fault'"), &["no JSON object", "Segmentation fault"]);
    failed(&on_run("result=$(echo \"$result\" | cut -c1-80)"), &["no JSON object"]);
    failed(&on_run("exit 0"), &["printed no result"]);
    failed(&on_run("echo 'CUDA error: out of memory' >&2; exit 3"), &["exit status: 3", "out of memory"]);
    failed(&on_run("kill -SEGV $$"), &["llama-bench ended with signal: 11"]);
    failed(&on_run("result=$(echo \"$result\" | sed 's/\\[1000/[0/')"), &["repetition 0 took no time"]);
    failed(&on_run("result=$(echo \"$result\" | sed 's/\\[1000/[-1/')"), &["samples_ns[0]", "-1"]);
    failed(&on_run("result=$(echo \"$result\" | sed 's/\\[1000/[NaN/')"), &["no JSON object"]);
}

#[test]
fn fields_that_are_added_do_no_harm() {
    let samples = timed("result=$(echo \"$result\" | sed 's/^{/{\"n_flux\": [1, {}], /')").unwrap();
    assert_eq!(samples.len(), 3);
}

#[test]
fn a_program_that_hangs_is_killed_even_if_a_grandchild_holds_its_pipes() {
    let started = Instant::now();
    expect(
        timed("if [ -z \"$probe\" ]; then echo waiting >&2; sleep 30; fi"),
        FailureKind::Failed,
        &["llama-bench was still running after 2 s", "waiting"],
    );
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[test]
fn a_run_that_is_not_what_was_prepared_is_invalid() {
    let fault =
        "if [ -z \"$probe\" ]; then result=$(echo \"$result\" | sed 's/\"n_threads\": 2/\"n_threads\": 1/'); fi";
    expect(timed(fault), FailureKind::Invalid, &["n_threads 2 when it was prepared and 1 in the timed run"]);
    let fault = "if [ -z \"$probe\" ]; then result=$(echo \"$result\" | sed 's/\"n_gen\": 6/\"n_gen\": 5/'); fi";
    expect(timed(fault), FailureKind::Invalid, &["n_gen 6 and reports 5"]);
}

#[test]
fn a_report_that_is_not_of_what_ran_is_invalid() {
    // Each repetition is announced, and takes a tenth of a second; the report says otherwise, or as it was.
    let ran = |ns: u64| {
        let announce =
            "for i in 1 2 3; do echo \"llama-bench: benchmark 1/1: generation run $i/3\" >&2; sleep 0.1; done";
        let report = format!("result=$(echo \"$result\" | sed 's/\\[1000.*\\]/[{ns}, {ns}, {ns}]/')");
        timed(&format!("if [ -z \"$probe\" ]; then {announce}; {report}; fi"))
    };
    let what = ["reports 30.0 ms for a repetition that by its own progress took 1", "not of what it ran"];
    expect(ran(30_000_000), FailureKind::Invalid, &what);
    expect(ran(900_000_000), FailureKind::Invalid, &["reports 900.0 ms for a repetition"]);
    assert_eq!(ran(102_000_000).map(|samples| samples.len()), Ok(3));
}

#[test]
fn the_environment_is_that_of_the_program_itself() {
    // A script of somebody's that starts the program with a variable set to nothing.
    let script = "if [ -z \"$inner\" ]; then inner=1 GGML_CUDA_DISABLE_GRAPHS= exec \"$0\" $all; fi; sleep 0.1";
    let (_, prepared) = Fake::bench(script).worker(&json!({})).unwrap();
    assert_eq!(prepared.resolved["environment"]["GGML_CUDA_DISABLE_GRAPHS"], "");
    let changed = format!("if [ -z \"$probe\" ]; then {script}; fi; sleep 0.1");
    expect(timed(&changed), FailureKind::Invalid, &["when it was prepared", "GGML_CUDA_DISABLE_GRAPHS"]);
}

#[test]
fn a_lane_on_the_processor_that_should_be_on_the_gpu_is_invalid() {
    let fake = Fake::bench("");
    let what = ["`gpu_layers: all` asks for the GPU", "build 7, commit abc1234", "built for CPU only", "QA_LLAMA_CPP"];
    expect(fake.worker(&json!({"gpu_layers": "all"})).map(|_| ()), FailureKind::Invalid, &what);

    let card = "result=$(echo \"$result\" | sed 's/\"CPU\"/\"CUDA\"/; s/gpu_info\": \"/&NVIDIA H100/')";
    let log = |layers: u32| format!("echo 'load_tensors: offloaded {layers}/25 layers to GPU' >&2; {card}");
    let (_, prepared) = Fake::bench(&log(25)).worker(&json!({"gpu_layers": "all"})).unwrap();
    assert_eq!((prepared.device.name.as_str(), prepared.device.kind), ("NVIDIA H100", qa_protocol::DeviceKind::Gpu));
    assert_eq!(prepared.resolved["offloaded_layers"], "25/25");
    let half = Fake::bench(&log(12)).worker(&json!({"gpu_layers": "all"})).map(|_| ());
    expect(half, FailureKind::Invalid, &["only 12 of 25 layers"]);
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let fake = Fake::bench("");
    let (mut worker, _) = fake.worker(&json!({})).unwrap();
    let unsupported = FailureKind::Unsupported;
    expect(run(&mut worker, &workload(&[Metric::InterTokenLatencyP99])), unsupported, &["no time per token"]);
    let mut request = workload(&[Metric::DecodeRate]);
    request.ignore_eos = false;
    expect(run(&mut worker, &request), unsupported, &["`ignore_eos: true`"]);
    request.prompt.clear();
    expect(run(&mut worker, &request), unsupported, &["needs a prompt"]);

    expect(fake.worker(&json!({"threds": 1})).map(|_| ()), unsupported, &["threds"]);
    let nothing = qa_llama_cpp::worker().prepare(&PrepareRequest::default());
    expect(nothing, unsupported, &["needs a model"]);
    expect(run(&mut qa_llama_cpp::worker(), &workload(&[])), FailureKind::Failed, &["must `prepare`"]);
}

#[test]
fn a_missing_llama_cpp_and_missing_programs_block() {
    let fake = Fake::bench("");
    let empty = tempfile::tempdir().unwrap();
    let elsewhere = fake.worker(&json!({"programs": empty.path()})).map(|_| ());
    expect(elsewhere, FailureKind::Blocked, &["no llama-bench in", &empty.path().display().to_string()]);

    let (mut worker, _) = fake.worker(&json!({})).unwrap();
    let mut request = workload(&[]);
    request.tokens = true;
    expect(run(&mut worker, &request), FailureKind::Blocked, &["llama-server is needed"]);
    expect(score(&mut worker, 64, 4, 3), FailureKind::Blocked, &["llama-perplexity is needed"]);
}

/// Score as many tokens of a text.
fn score(worker: &mut impl Worker, tokens: u32, context: u32, first: u32) -> Result<(), Failure> {
    let request = ScoreRequest { tokens: (0..tokens).collect(), text: Some("text".into()), context, first, top: 8 };
    worker.score(&request, &mut |_| Ok(()))
}

#[test]
fn scores_that_llama_perplexity_cannot_give_are_refused() {
    let fake = Fake::bench("");
    let (mut worker, _) = fake.worker(&json!({})).unwrap();
    fake.add("llama-perplexity", "echo 'no chunks for you' >&2");
    expect(score(&mut worker, 64, 8, 1), FailureKind::Unsupported, &["first scored offset is 5, not 1"]);
    expect(score(&mut worker, 15, 8, 5), FailureKind::Unsupported, &["at least two windows", "16 tokens"]);
    expect(score(&mut worker, 64, 8, 5), FailureKind::Failed, &["cannot read the log-prob", "no chunks for you"]);
    fake.add("llama-perplexity", "exit 1");
    expect(score(&mut worker, 64, 8, 5), FailureKind::Failed, &["llama-perplexity ended with exit status: 1"]);
}

/// A `llama-perplexity` that writes a file of two windows of four tokens over a vocabulary of three.
fn perplexity_of(ids: [u8; 8]) -> String {
    let ids = ids.map(|id| format!("\\{id:03o}\\000\\000\\000")).concat();
    // Each row: scale 1e-4, minimum ln(1/4), codes 1, 6931, 1 and one unused.
    let row = "\\027\\267\\321\\070\\030\\162\\261\\277\\001\\000\\023\\033\\001\\000\\000\\000";
    format!(
        "while [ $# -gt 0 ]; do case $1 in --kl-divergence-base) out=$2;; esac; shift; done\n\
         printf '_logits_\\004\\000\\000\\000\\003\\000\\000\\000\\002\\000\\000\\000{ids}{row}{row}' > \"$out\""
    )
}

#[test]
fn scores_about_other_tokens_are_invalid() {
    let fake = Fake::bench("");
    let (mut worker, _) = fake.worker(&json!({})).unwrap();
    let request =
        ScoreRequest { tokens: vec![0, 1, 2, 0, 1, 2, 0, 1], text: Some("text".into()), context: 4, first: 3, top: 2 };
    let mut rows = Vec::new();
    fake.add("llama-perplexity", &perplexity_of([0, 1, 2, 0, 1, 2, 0, 1]));
    worker
        .score(&request, &mut |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    assert_eq!(rows.iter().map(|row| row.index).collect::<Vec<_>>(), [3, 7]);

    fake.add("llama-perplexity", &perplexity_of([0, 1, 2, 0, 1, 0, 0, 1]));
    let result = worker.score(&request, &mut |_| Ok(()));
    expect(result, FailureKind::Invalid, &["tokenizers disagree", "token 5 of the text is 2 to qa and 0 to llama.cpp"]);

    let no_text = ScoreRequest { text: None, ..request };
    expect(worker.score(&no_text, &mut |_| Ok(())), FailureKind::Unsupported, &["must bring the text"]);
}

/// What a run with tokens gives, with this `llama-server`.
fn generated(server: &str) -> Result<Vec<u32>, Failure> {
    let fake = Fake::bench("");
    fake.add("llama-server", server);
    let (mut worker, _) = fake.worker(&json!({}))?;
    let mut request = workload(&[]);
    request.tokens = true;
    let samples = run(&mut worker, &request)?;
    assert!(samples.iter().all(|sample| sample.token_source == Some(TokenSource::Beside)));
    let (last, before) = samples.split_last().unwrap();
    assert!(before.iter().all(|sample| sample.tokens.is_none()), "made after what was timed was sent");
    Ok(last.tokens.clone().unwrap())
}

/// A `llama-server` that is this test: a script that names the port of a listener, which answers each request for a
/// completion with the next of these, and leaves after the last.
fn served(answers: Vec<String>) -> Result<Vec<u32>, Failure> {
    use std::io::{BufRead, BufReader, Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut answers = answers.into_iter();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut first, mut length) = (String::new(), 0);
            stream.read_line(&mut first).unwrap();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = if first.starts_with("GET /health") {
                "{\"status\":\"ok\"}".to_owned()
            } else {
                let Some(answer) = answers.next() else { return };
                answer
            };
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", answer.len());
            stream.get_mut().write_all((head + &answer).as_bytes()).unwrap();
        }
    });
    generated(&format!("echo 'main: server is listening on http://127.0.0.1:{port} - starting' >&2; sleep 20"))
}

fn completion(tokens: &[u32], evaluated: usize, stop: &str) -> String {
    json!({"tokens": tokens, "tokens_evaluated": evaluated, "stop_type": stop, "truncated": false, "new": 1})
        .to_string()
}

#[test]
fn ids_are_taken_from_the_server_and_taken_up_again_behind_an_end_of_sequence() {
    assert_eq!(served(vec![completion(&[1, 2, 3, 4, 5, 6], 8, "limit")]), Ok(vec![1, 2, 3, 4, 5, 6]));
    let twice = vec![completion(&[1, 2], 8, "eos"), completion(&[3, 4, 5, 6], 10, "limit")];
    assert_eq!(served(twice), Ok(vec![1, 2, 3, 4, 5, 6]));
}

#[test]
fn answers_that_cannot_be_right_are_refused() {
    let check = |answer: String, kind, what: &str| expect(served(vec![answer]), kind, &[what]);
    check(completion(&[1, 2, 3], 8, "limit"), FailureKind::Invalid, "asked for 6 tokens, generated 3");
    check(completion(&[1; 7], 8, "limit"), FailureKind::Invalid, "generated 7");
    check(completion(&[], 8, "eos"), FailureKind::Invalid, "generated 0");
    check(completion(&[1; 6], 5, "limit"), FailureKind::Invalid, "evaluated 5 of 8 prompt tokens");
    check("{\"content\": \"x\"}".into(), FailureKind::Failed, "missing field `tokens`");
    check("{\"tokens\": [1,".into(), FailureKind::Failed, "cannot be read");
}

#[test]
fn a_server_that_dies_hangs_or_never_gets_healthy_is_a_failure() {
    let failed = |server: &str, what: &[&str]| expect(generated(server), FailureKind::Failed, what);
    failed("echo 'failed to load model' >&2; exit 1", &["ended with exit status: 1 while it loaded", "failed to load"]);
    failed("echo loading >&2; sleep 20", &["not ready after 1 s", "loading"]);

    // Its port answers nobody: nothing listens there any more.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    failed(&format!("echo 'listening on http://127.0.0.1:{port}' >&2; sleep 20"), &["not ready after 1 s"]);
    // It is healthy, and then closes the connection.
    expect(served(vec![]), FailureKind::Failed, &["llama-server did not answer"]);
}

#[test]
fn a_server_of_another_build_checks_nothing() {
    let fake = Fake::bench("result=$(echo \"$result\" | sed s/abc1234/def5678/)");
    fake.add("llama-server", "exit 1");
    let (mut worker, _) = fake.worker(&json!({})).unwrap();
    let mut request = workload(&[]);
    request.tokens = true;
    expect(run(&mut worker, &request), FailureKind::Invalid, &["llama-server in", "7 (abc1234)", "commit def5678"]);
}
