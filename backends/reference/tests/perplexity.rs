//! Perplexity of the held-out text, as `llama-perplexity -c 512` prints it: the second half of each window counts.

mod support;

use qa_model::Gguf;
use qa_reference::{Decoder, Options, Windows};
use std::sync::Arc;
use support::{heldout_tokens, score, test_model, tiny_coder};

fn perplexity(gguf: Arc<Gguf>) -> f64 {
    let tokens = heldout_tokens(&gguf);
    let rows =
        score(&mut Decoder::load(gguf, &Options::default()).unwrap(), &tokens, Windows { context: 512, first: 257 });
    assert_eq!(rows.len(), 27 * 255);
    (rows.iter().map(|row| row.nll).sum::<f64>() / rows.len() as f64).exp()
}

fn check(gguf: Arc<Gguf>, llama_cpp: f64, tolerance: f64) {
    let found = perplexity(gguf);
    assert!((found / llama_cpp - 1.0).abs() < tolerance, "{found}, llama.cpp says {llama_cpp}");
}

/// llama.cpp's 8-bit activations cost it some of the perplexity.
#[test]
fn of_the_embedded_model() {
    check(tiny_coder(), 13.42, 5e-3);
}

#[test]
fn of_f16_weights() {
    if let Some(model) = test_model("tiny-coder-f16.gguf") {
        check(Arc::new(Gguf::open(&model).unwrap()), 13.1195, 5e-5);
    }
}
