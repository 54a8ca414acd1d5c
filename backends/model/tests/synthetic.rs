//! llama.cpp loads synthetic models, runs them, and computes what the forward pass of these tests computes.

mod support;

use std::process::Command;

use qa_model::synth::{self, Preset, Quantization, SynthOptions};
use qa_model::{Gguf, ModelConfig, Tokenizer};
use serde_json::{Value, json};
use support::forward::{Plant, argmax, forward, log_softmax};

fn synthesise(preset: Preset, quantization: Quantization) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    synth::write(&SynthOptions { preset, quantization, seed: 7, threads: None }, &path).unwrap();
    (directory, path)
}

/// llama-bench's rate of decoding, in tokens per second.
fn bench(program: &std::path::Path, model: &std::path::Path) -> f64 {
    let output = Command::new(program)
        .arg("--model")
        .arg(model)
        .args(["--n-prompt", "0", "--n-gen", "4", "--repetitions", "1", "--threads", "2", "--output", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    rows[0]["avg_ts"].as_f64().unwrap()
}

#[test]
fn llama_bench_runs_tiny_in_every_quantization() {
    let Some(program) = support::llama_cpp("llama-bench") else { return };
    for quantization in Quantization::ALL {
        let (_directory, model) = synthesise(Preset::Tiny, quantization);
        assert!(bench(&program, &model) > 0.0, "{quantization}");
    }
}

#[test]
#[ignore = "minutes of writing and loading, and 7 GB of disk; run with --ignored"]
fn llama_bench_runs_the_real_shapes() {
    let Some(program) = support::llama_cpp("llama-bench") else { return };
    for preset in Preset::ALL {
        let (_directory, model) = synthesise(preset, Quantization::Q4_K_M);
        let rate = bench(&program, &model);
        println!("{preset}: {rate:.2} tokens per second");
        assert!(rate > 0.0, "{preset}");
    }
}

/// With `F32` weights nothing is rounded but the cache of keys and values, so the two must agree closely.
#[test]
fn llama_server_gives_the_probabilities_of_the_forward_pass() {
    let Some(program) = support::llama_cpp("llama-server") else { return };
    let (_directory, model) = synthesise(Preset::Tiny, Quantization::F32);
    let gguf = Gguf::open(&model).unwrap();
    let config = ModelConfig::from_gguf(&gguf).unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    let server = support::Server::start(&program, &model);
    for text in ["def read_config(path):\n    return", "import os\nimport sys\n\nclass Node:\n    def __init__(self,"] {
        let ids = tokenizer.encode(text);
        let request = json!({ "content": text });
        let theirs: Vec<u32> = serde_json::from_value(server.post("/tokenize", &request)["tokens"].clone()).unwrap();
        assert_eq!(ids, theirs);

        let ours = forward(&gguf, &config, &ids, Plant::None);
        let ours = log_softmax(ours.logits.last().unwrap());
        let request = json!({ "prompt": ids, "n_predict": 1, "temperature": 0.0, "n_probs": 20 });
        let answer = server.post("/completion", &request);
        let top = answer["completion_probabilities"][0]["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 20);
        let best = ours.iter().map(|&logarithm| logarithm as f32).collect::<Vec<_>>();
        assert_eq!(top[0]["id"].as_u64(), Some(argmax(&best) as u64), "{text:?}");
        for candidate in top {
            let (id, theirs) = (candidate["id"].as_u64().unwrap(), candidate["logprob"].as_f64().unwrap());
            assert!(
                (ours[id as usize] - theirs).abs() < 0.02,
                "{text:?}: token {id}: {} and {theirs}",
                ours[id as usize]
            );
        }
    }
}
