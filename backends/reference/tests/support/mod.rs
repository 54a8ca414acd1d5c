//! Models, texts and a real llama.cpp for the tests that want them, and words for when they are missing.

#![allow(dead_code, reason = "each test file uses its own part")]

use qa_model::synth::{self, Preset, Quantization, SynthOptions};
use qa_model::{Gguf, Tokenizer, embedded};
use qa_protocol::{Metric, ModelRef, PrepareRequest, RunRequest, Sampling, ScoreRow};
use qa_reference::{Decoder, Error, Windows};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The likeliest tokens that a row names.
pub const TOP: usize = 256;

/// The model that ships with the program.
pub fn tiny_coder() -> Arc<Gguf> {
    Arc::new(Gguf::open(&tiny_coder_path()).unwrap())
}

/// Where that model lies.
pub fn tiny_coder_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/assets/tiny-coder-q4_k_m.gguf")
}

/// A small model with random weights. The file is gone once it is mapped.
pub fn synthetic() -> Arc<Gguf> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    let options = SynthOptions { preset: Preset::Tiny, quantization: Quantization::F16, seed: 7, threads: None };
    synth::write(&options, &path).unwrap();
    Arc::new(Gguf::open(&path).unwrap())
}

/// Python that `tiny-coder` was not trained on.
pub fn heldout() -> &'static str {
    std::str::from_utf8(embedded::HELDOUT_PYTHON.bytes).unwrap()
}

/// That text as a model's tokens.
pub fn heldout_tokens(gguf: &Gguf) -> Vec<u32> {
    Tokenizer::from_gguf(gguf).unwrap().encode(heldout())
}

/// All rows of some windows.
pub fn score(decoder: &mut Decoder, tokens: &[u32], windows: Windows) -> Vec<ScoreRow> {
    let mut rows = Vec::new();
    let mut keep = |row| {
        rows.push(row);
        Ok::<_, Error>(())
    };
    decoder.score_windows(tokens, windows, TOP, &mut keep).unwrap();
    rows
}

/// A program of the llama.cpp build in `QA_LLAMA_CPP`; otherwise says that the test is skipped.
pub fn llama_cpp(program: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("QA_LLAMA_CPP") else {
        eprintln!("skipped: set QA_LLAMA_CPP to a folder with {program} to run this test");
        return None;
    };
    let path = Path::new(&folder).join(program);
    assert!(path.is_file(), "QA_LLAMA_CPP is set, but {} does not exist", path.display());
    Some(path)
}

/// A model of `QA_TEST_MODELS`, or of the user's cache; otherwise says that the test is skipped.
pub fn test_model(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .map(|cache| cache.join("qa/test-models"));
    let folders = [std::env::var_os("QA_TEST_MODELS").map(PathBuf::from), cache];
    let found = folders.into_iter().flatten().map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: {name} is neither in the folder QA_TEST_MODELS nor in the cache qa/test-models");
    }
    found
}

/// A request to load the model that ships with the program.
pub fn prepare(options: serde_json::Value) -> PrepareRequest {
    let serde_json::Value::Object(options) = options else { panic!("options are an object") };
    let model = ModelRef { path: tiny_coder_path(), sha256: embedded::TINY_CODER.sha256.to_owned() };
    PrepareRequest { model: Some(model), options, ..PrepareRequest::default() }
}

/// A request to decode after a prompt of `prompt` tokens, in one warm-up and two timed iterations.
pub fn decode_request(prompt: u32, generate_tokens: u32) -> RunRequest {
    RunRequest {
        prompt: (100..100 + prompt).collect(),
        generate_tokens,
        sampling: Sampling::Greedy,
        ignore_eos: true,
        warmup: 1,
        iterations: 2,
        metrics: vec![Metric::DecodeRate],
        tokens: true,
        load: None,
    }
}
