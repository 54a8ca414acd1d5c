//! The user's llama.cpp on a real model. Ignored, with a line that says so, where `QA_LLAMA_CPP` or `QA_TEST_MODELS` is
//! not set.

mod support;

use qa_llama_cpp::{LlamaCpp, Options};
use qa_model::{Gguf, Tokenizer};
use qa_protocol::{
    Capabilities, DeviceKind, FailureKind, Metric, RunRequest, Sampling, ScoreRequest, ScoreRow, TokenSource, Worker,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use support::{prepare, real_models, run, workload};

const TINY: &str = "tiny-coder-q8_0.gguf";

fn prepared(models: &Path, options: Value) -> (LlamaCpp, qa_protocol::Prepared) {
    let mut worker = LlamaCpp::default();
    let prepared = worker.prepare(&prepare(&models.join(TINY), options)).unwrap();
    (worker, prepared)
}

fn tokenizer(models: &Path) -> Tokenizer {
    Tokenizer::from_gguf(&Gguf::open(&models.join(TINY)).unwrap()).unwrap()
}

#[test]
fn says_who_it_is() {
    let Some(_) = real_models("says_who_it_is") else { return };
    let hello = LlamaCpp::default().hello();
    assert_eq!((hello.protocol, hello.name.as_str()), (qa_protocol::VERSION, "llama.cpp"));
    assert_ne!(hello.version, "unknown");
    assert!(hello.build["compiler"].starts_with(|c: char| c.is_alphabetic()), "{:?}", hello.build);
    let Capabilities { metrics, tokens, score, .. } = hello.capabilities;
    assert!(metrics.contains(&Metric::DecodeRate) && !metrics.contains(&Metric::InterTokenLatencyP99));
    assert_eq!((tokens, score), (Some(TokenSource::Beside), true));
    let found = qa_llama_cpp::find().unwrap();
    assert_eq!(found.version().unwrap().version, hello.version);
}

#[test]
fn options_take_effect_and_are_recorded() {
    let Some(models) = real_models("options_take_effect_and_are_recorded") else { return };
    let (_, plain) = prepared(&models, json!({"gpu_layers": 0}));
    assert_eq!(plain.device.kind, DeviceKind::Cpu);
    assert!(!plain.device.name.is_empty());
    for name in ["build_commit", "build_number", "backends", "n_threads", "type_k", "n_batch", "version", "programs"] {
        assert!(!plain.resolved[name].is_null(), "{name}");
    }
    assert!(plain.load_ns > 1_000_000, "{}", plain.load_ns);
    assert!(plain.memory.host_peak_bytes.unwrap() > 6_000_000, "{:?}", plain.memory);

    let options = json!({
        "gpu_layers": 0, "flash_attention": true, "threads": 1, "batch_size": 64, "ubatch_size": 32,
        "cache_type_k": "q8_0", "cache_type_v": "q8_0",
    });
    let (_, set) = prepared(&models, options);
    let fields =
        ["n_gpu_layers", "flash_attn", "n_threads", "n_batch", "n_ubatch", "type_k", "type_v", "flash_attention"];
    let seen: Vec<_> = fields.iter().map(|name| set.resolved[*name].clone()).collect();
    let expected = [json!(0), json!(1), json!(1), json!(64), json!(32), json!("q8_0"), json!("q8_0"), json!(true)];
    assert_eq!(seen, expected);
    assert_eq!(Options::names().len(), fields.len());
}

#[test]
fn rates_are_measured() {
    let Some(models) = real_models("rates_are_measured") else { return };
    let (mut worker, _) = prepared(&models, json!({"threads": 1}));
    let metrics = [Metric::DecodeRate, Metric::PrefillRate, Metric::TimeToFirstToken, Metric::PeakHostMemory];
    let samples = run(&mut worker, &workload(&metrics)).unwrap();
    assert_eq!(samples.iter().map(|s| (s.index, s.warmup)).collect::<Vec<_>>(), [(0, true), (1, false), (2, false)]);
    for sample in &samples {
        assert_eq!((sample.decode_tokens, sample.prompt_tokens), (6, 8));
        // Between a microsecond and ten seconds a token.
        let (decode, prefill) = (sample.decode_ns.unwrap(), sample.prefill_ns.unwrap());
        assert!((6e3..6e10).contains(&decode) && (8e3..8e10).contains(&prefill), "{sample:?}");
        // The weights are 6 MB; nothing here takes a gigabyte.
        assert!((6_000_000..1_000_000_000).contains(&sample.memory.host_peak_bytes.unwrap()), "{sample:?}");
        assert_eq!((&sample.tokens, sample.token_source), (&None, None));
    }
    // Four times the tokens after four times the prompt take longer.
    let mut longer = workload(&metrics);
    (longer.generate_tokens, longer.prompt) = (24, (300..332).collect());
    let total = |samples: &[qa_protocol::Sample]| samples.iter().map(|s| s.decode_ns.unwrap()).fold(f64::MAX, f64::min);
    assert!(total(&run(&mut worker, &longer).unwrap()) > total(&samples));
}

fn generate(worker: &mut LlamaCpp, request: &RunRequest) -> Vec<u32> {
    let samples = run(worker, &RunRequest { tokens: true, ..request.clone() }).unwrap();
    assert!(samples.iter().all(|s| s.token_source == Some(TokenSource::Beside)));
    samples.last().unwrap().tokens.clone().unwrap()
}

#[test]
fn greedy_tokens_are_the_same_every_time_and_are_code() {
    let Some(models) = real_models("greedy_tokens_are_the_same_every_time_and_are_code") else { return };
    let tokenizer = tokenizer(&models);
    let (mut worker, _) = prepared(&models, json!({}));
    let mut request = workload(&[]);
    request.prompt = tokenizer.encode("def read_config(path):\n    with open(");
    request.generate_tokens = 32;
    let first = generate(&mut worker, &request);
    assert_eq!(first.len(), 32);
    assert_eq!(generate(&mut worker, &request), first);
    assert!(tokenizer.decode(&first).contains(')'), "{:?}", tokenizer.decode(&first));

    // Greedy is the likeliest token: a seed has no say. A draw at a high temperature does.
    let random = |seed| Sampling::Random { temperature: 5.0, top_k: 0, top_p: 1.0, seed };
    let draws = [1, 1, 2].map(|seed| generate(&mut worker, &RunRequest { sampling: random(seed), ..request.clone() }));
    assert_eq!(draws[0], draws[1]);
    assert!(draws[0] != draws[2] && draws[0] != first);
    let coldest = Sampling::Random { temperature: 1.0, top_k: 1, top_p: 1.0, seed: 9 };
    assert_eq!(generate(&mut worker, &RunRequest { sampling: coldest, ..request }), first);
}

#[test]
fn an_end_of_sequence_ends_a_workload_only_if_it_should() {
    let Some(models) = real_models("an_end_of_sequence_ends_a_workload_only_if_it_should") else { return };
    let tokenizer = tokenizer(&models);
    let (mut worker, _) = prepared(&models, json!({}));
    let mut request = workload(&[]);
    request.prompt = tokenizer.encode("if __name__ == \"__main__\":\n    main()\n");
    (request.generate_tokens, request.ignore_eos) = (24, false);
    let ended = generate(&mut worker, &request);
    assert!(ended.len() < 24 && ended.last().copied() == tokenizer.eos(), "{ended:?}");
    request.ignore_eos = true;
    let whole = generate(&mut worker, &request);
    assert!(whole.len() == 24 && whole.starts_with(&ended), "{ended:?} {whole:?}");
}

/// The rows of the held-out text's first windows.
fn scores(models: &Path, change: impl Fn(&mut ScoreRequest)) -> Result<Vec<ScoreRow>, qa_protocol::Failure> {
    let text = std::fs::read_to_string(models.join("heldout-python.txt")).unwrap();
    let text: String = text.chars().take(4000).collect();
    let tokens = tokenizer(models).encode(&text);
    let mut request = ScoreRequest { tokens, text: Some(text), context: 128, first: 65, top: 256 };
    change(&mut request);
    let (mut worker, _) = prepared(models, json!({}));
    let mut rows = Vec::new();
    worker.score(&request, &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

#[test]
fn a_text_is_scored() {
    let Some(models) = real_models("a_text_is_scored") else { return };
    let rows = scores(&models, |_| ()).unwrap();
    let windows = rows.len() / 63;
    assert!(windows >= 4 && rows.len() % 63 == 0, "{}", rows.len());
    assert_eq!((rows[0].index, rows[62].index, rows[63].index), (65, 127, 128 + 65));
    // This model's perplexity of this kind of text is 13 at four times the context.
    let perplexity = (rows.iter().map(|row| row.nll).sum::<f64>() / rows.len() as f64).exp();
    assert!((5.0..60.0).contains(&perplexity), "{perplexity}");
    for row in &rows {
        let mass: f64 = row.top.iter().map(|&(_, log)| f64::from(log).exp()).sum();
        assert!(row.top.len() == 256 && (mass + row.tail - 1.0).abs() < 1e-3, "{}", mass + row.tail);
    }
}

#[test]
fn a_text_that_ends_in_line_breaks_and_fills_its_windows_is_scored_whole() {
    let Some(models) = real_models("a_text_that_ends_in_line_breaks_and_fills_its_windows") else { return };
    // Nothing but the last line break's token completes the second window; a backslash stays one.
    let tokenizer = tokenizer(&models);
    let body = (1..1000).map(|n| format!("x = \"\\n\"\n{}", "y = 1\n".repeat(n))).find(|text| {
        let tokens = tokenizer.encode(text).len();
        tokens >= 64 && tokens.is_multiple_of(8)
    });
    let text = body.unwrap();
    let tokens = tokenizer.encode(&text);
    let context = (tokens.len() / 2) as u32;
    let rows = scores(&models, |request| {
        *request =
            ScoreRequest { tokens: tokens.clone(), text: Some(text.clone()), context, first: context / 2 + 1, top: 4 };
    });
    let rows = rows.unwrap();
    assert_eq!(rows.last().unwrap().index as usize, tokens.len() - 1);
}

#[test]
fn a_text_of_other_tokens_is_not_scored() {
    let Some(models) = real_models("a_text_of_other_tokens_is_not_scored") else { return };
    let failure = scores(&models, |request| request.tokens[7] += 1).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(failure.message.contains("token 7 of the text"), "{failure}");
}

#[test]
fn a_model_that_is_none_is_a_failure_with_llama_cpps_words() {
    let Some(_) = real_models("a_model_that_is_none_is_a_failure") else { return };
    let model = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(model.path(), "not a model").unwrap();
    let failure = LlamaCpp::default().prepare(&prepare(model.path(), json!({}))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Failed);
    assert!(failure.message.contains("failed to load model"), "{failure}");
}

#[test]
fn the_processors_build_is_no_gpu() {
    let Some(models) = real_models("the_processors_build_is_no_gpu") else { return };
    if prepared(&models, json!({})).1.resolved["backends"] != "CPU" {
        println!("skipped: the_processors_build_is_no_gpu needs a build for the processor only");
        return;
    }
    let model: PathBuf = models.join(TINY);
    let failure = LlamaCpp::default().prepare(&prepare(&model, json!({"gpu_layers": "all"}))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(failure.message.contains("built for CPU only"), "{failure}");
}

/// By what the kernel lists, and not by what was asked for.
#[test]
fn the_server_listens_on_the_loopback_alone() {
    let Some(models) = real_models("the_server_listens_on_the_loopback_alone") else { return };
    // A name of its own, by which the process is found.
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("listening.gguf");
    std::fs::copy(models.join(TINY), &model).unwrap();
    let installation = qa_llama_cpp::find().unwrap();
    let options = Options { gpu_layers: qa_llama_cpp::options::GpuLayers::Count(0), ..Options::default() };
    let limits = qa_llama_cpp::Limits::default().server;
    let server = qa_llama_cpp::server::Server::start(&installation, &model, &options, 64, limits).unwrap();
    let pid = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).find(|process| {
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(model.to_str().unwrap())
    });
    let sockets: Vec<String> = std::fs::read_dir(pid.expect("the server runs").join("fd"))
        .unwrap()
        .filter_map(|fd| {
            std::fs::read_link(fd.ok()?.path())
                .ok()?
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')
                .map(str::to_owned)
        })
        .collect();
    let mut listening = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // Local address, state (0A: listening), and the socket's number.
            if fields[3] == "0A" && sockets.iter().any(|socket| socket == fields[9]) {
                listening.push(fields[1].split(':').next().unwrap_or_default().to_owned());
            }
        }
    }
    assert_eq!(listening, ["0100007F"], "127.0.0.1 in the kernel's order of bytes");
    drop(server);
}
