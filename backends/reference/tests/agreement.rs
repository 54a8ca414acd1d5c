//! The oracle is proved: against the log-probabilities that llama.cpp computes of the same file and text.
//!
//! llama.cpp multiplies F16 weights by F16 activations, and quantised weights by 8-bit ones, so it is itself off by an
//! amount that depends on the format. The bands below are that amount; a divergence outside of a band, smaller ones
//! included, means that one of the two computes something else than it did. The file of log-probabilities holds 16 bits
//! of each and nothing beyond 16 nats below the likeliest token, which alone costs some 5e-6.

mod support;

use qa_llama_cpp::kl_base::KlBase;
use qa_model::Gguf;
use qa_reference::compare::{Comparison, compare};
use qa_reference::{Decoder, Options, Windows};
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use support::{TOP, heldout, heldout_tokens, llama_cpp, score, test_model};

/// Compare the first `windows` windows of 512 tokens of the held-out text.
fn agreement(program: &Path, model: &Path, windows: usize) -> Comparison {
    let folder = tempfile::tempdir().unwrap();
    let (text, logits) = (folder.path().join("text"), folder.path().join("logits"));
    std::fs::write(&text, heldout()).unwrap();
    let output = Command::new(program)
        .arg("--model")
        .arg(model)
        .arg("--file")
        .arg(&text)
        .arg("--kl-divergence-base")
        .arg(&logits)
        .args(["--ctx-size", "512", "--threads", "2", "--chunks", &windows.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let gguf = Arc::new(Gguf::open(model).unwrap());
    let base = KlBase::open(&logits).unwrap();
    let tokens = heldout_tokens(&gguf);
    assert_eq!(base.tokens(), &tokens[..windows * 512], "both tokenise alike");
    let mut decoder = Decoder::load(gguf, &Options::default()).unwrap();
    let reference = score(&mut decoder, base.tokens(), Windows { context: base.context(), first: base.first() });
    let candidate: Vec<_> = base.rows(TOP).collect::<Result<_, _>>().unwrap();
    compare(&reference, &candidate).unwrap()
}

fn check(name: &str, windows: usize, mean_kl: Range<f64>, margin: f64) {
    let (Some(program), Some(model)) = (llama_cpp("llama-perplexity"), test_model(name)) else { return };
    let found = agreement(&program, &model, windows);
    println!(
        "{name}: {} positions, mean KL {:.2e}, max {:.2e}, {} flips, {} of them above 0.05 nats, the widest at {:?}, ln PPL {:+.4}",
        found.positions,
        found.mean_kl,
        found.max_kl,
        found.flips.len(),
        found.flips_above(0.05),
        found.flips.first().map(|flip| flip.margin),
        found.ln_ppl_difference()
    );
    assert_eq!(found.positions, windows * 255);
    assert!(mean_kl.contains(&found.mean_kl), "mean KL {:e}", found.mean_kl);
    assert_eq!(found.flips_above(margin), 0, "{:?}", found.flips.first());
    assert!(found.ln_ppl_difference().abs() <= 0.01, "{}", found.ln_ppl_difference());
}

#[test]
fn f16_agrees_to_the_precision_of_the_file() {
    check("tiny-coder-f16.gguf", 4, 0.0..1e-5, 0.05);
}

#[test]
fn q8_0_differs_by_what_8_bit_activations_cost() {
    check("tiny-coder-q8_0.gguf", 4, 4e-4..8e-4, 0.5);
}

#[test]
fn q4_k_m_differs_by_what_8_bit_activations_cost() {
    check("tiny-coder-q4_k_m.gguf", 4, 1.2e-3..2.2e-3, 0.5);
}

#[test]
fn a_llama_in_q4_1_differs_by_what_8_bit_activations_cost() {
    check("SmolLM2-135M-Instruct.Q4_1.gguf", 1, 2e-3..3.6e-3, 0.5);
}
