//! The server's greedy generation against the oracle, on the same file. Skipped, with a line that says so, where the real
//! llama.cpp or the models are not there.

mod support;

use qa_llama_cpp::LlamaCpp;
use qa_model::{Gguf, Tokenizer};
use qa_protocol::{RunRequest, Worker};
use qa_reference::{Decoder, Options};
use serde_json::json;
use std::sync::Arc;
use support::{prepare, real_models, run, workload};

/// Two float implementations of an f16 file differ by less than this in their logits, so only closer ties may flip.
const NEAR_TIE_NATS: f32 = 0.05;

/// By how much the oracle prefers its own likeliest token to another, after these ids.
fn preference(oracle: &mut Decoder, ids: &[u32], other: u32) -> f32 {
    oracle.reset().unwrap();
    let logits = oracle.forward(ids).unwrap();
    logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) - logits[other as usize]
}

#[test]
fn greedy_tokens_are_the_oracles_even_behind_an_end_of_sequence() {
    let Some(models) = real_models("greedy_tokens_are_the_oracles") else { return };
    let file = models.join("tiny-coder-f16.gguf");
    let gguf = Arc::new(Gguf::open(&file).unwrap());
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    let mut oracle = Decoder::load(gguf, &Options::default()).unwrap();
    let mut worker = LlamaCpp::default();
    worker.prepare(&prepare(&file, json!({"gpu_layers": 0}))).unwrap();

    for text in [
        "def read_config(path):\n    with open(",
        "import os\nimport sys\n\nclass Parser:\n",
        // The model ends this text at once, and goes on with another file.
        "if __name__ == \"__main__\":\n    main()\n",
    ] {
        let prompt = tokenizer.encode(text);
        let request = RunRequest { prompt: prompt.clone(), generate_tokens: 48, tokens: true, ..workload(&[]) };
        let served = run(&mut worker, &request).unwrap().last().unwrap().tokens.clone().unwrap();
        let expected = oracle.generate(&prompt, 48, &[]).unwrap().tokens;
        assert_eq!(served.len(), expected.len());
        if let Some(at) = served.iter().zip(&expected).position(|(a, b)| a != b) {
            let context = [&prompt[..], &expected[..at]].concat();
            let preference = preference(&mut oracle, &context, served[at]);
            assert!(
                preference < NEAR_TIE_NATS,
                "{text:?} differs at {at} by {preference} nats: {served:?} {expected:?}"
            );
        }
    }
}
