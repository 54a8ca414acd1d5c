//! Synthetic weights are sane, and no planted error hides in them.

mod support;

use qa_model::synth::{self, Preset, Quantization, SynthOptions};
use qa_model::{Gguf, ModelConfig, Tokenizer};
use support::forward::{Output, Plant, argmax, forward, log_softmax};

const PLANTS: [Plant; 11] = [
    Plant::RopeBase(10_000.0),
    Plant::RopePairs,
    Plant::QueryPosition,
    Plant::NoMask,
    Plant::MaskOffByOne,
    Plant::NoQueryKeyBias,
    Plant::NoValueBias,
    Plant::InterleavedKvHeads,
    Plant::StaleCache,
    Plant::Unscaled,
    Plant::LostResidual,
];

struct Model {
    _directory: tempfile::TempDir,
    gguf: Gguf,
    config: ModelConfig,
    ids: Vec<u32>,
}

fn model(preset: Preset, quantization: Quantization, length: usize) -> Model {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    synth::write(&SynthOptions { preset, quantization, seed: 42, threads: None }, &path).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    let config = ModelConfig::from_gguf(&gguf).unwrap();
    let mut ids = Tokenizer::from_gguf(&gguf).unwrap().encode(&support::heldout()[..4000]);
    assert!(ids.len() >= length);
    ids.truncate(length);
    Model { _directory: directory, gguf, config, ids }
}

fn deviation(values: &[f32]) -> f64 {
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
    (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// Mean divergence in nats, and the share of positions whose best token is the same.
fn compare(right: &Output, wrong: &Output) -> (f64, f64) {
    let mut divergence = 0.0;
    let mut same = 0;
    for (right, wrong) in right.logits.iter().zip(&wrong.logits) {
        let (p, q) = (log_softmax(right), log_softmax(wrong));
        divergence += p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
        same += usize::from(argmax(right) == argmax(wrong));
    }
    let count = right.logits.len() as f64;
    (divergence / count, same as f64 / count)
}

fn check(model: &Model) {
    let pass = |plant| forward(&model.gguf, &model.config, &model.ids, plant);
    let right = pass(Plant::None);
    let spread: Vec<f64> = right.logits.iter().map(|logits| deviation(logits)).collect();
    let mean_spread = spread.iter().sum::<f64>() / spread.len() as f64;
    println!(
        "logit deviation {mean_spread:.2}, attention concentration {:.3} (flat: {:.3}), shares {:.2?}",
        right.concentration,
        1.3 / model.ids.len() as f64,
        right.shares
    );
    assert!(spread.iter().all(|s| (2.0..3.0).contains(s)), "{spread:?}");
    assert!(right.concentration > 0.2, "attention is peaked: {}", right.concentration);
    for share in right.shares {
        assert!((0.3..0.8).contains(&share), "sublayers count alike: {:?}", right.shares);
    }
    let mut best: Vec<usize> = right.logits.iter().map(|logits| argmax(logits)).collect();
    let repeats = best.iter().zip(&model.ids).filter(|(best, id)| **best == **id as usize).count();
    assert!(repeats * 20 < best.len(), "{repeats} of {} positions answer their own token", best.len());
    best.sort_unstable();
    best.dedup();
    assert!(best.len() * 3 > model.ids.len(), "answers vary: {} of {}", best.len(), model.ids.len());
    for plant in PLANTS {
        let (divergence, same) = compare(&right, &pass(plant));
        println!("{plant:?}: KL {divergence:.3}, same top {:.1} %", 100.0 * same);
        assert!(divergence > 0.05, "{plant:?} hides: mean KL {divergence}");
        assert!(same < 0.85, "{plant:?} hides: {same} of positions keep their best token");
    }
}

#[test]
fn the_tiny_preset_shows_every_planted_error() {
    check(&model(Preset::Tiny, Quantization::Q4_K_M, 128));
}

#[test]
#[ignore = "minutes of arithmetic; run with --ignored"]
fn the_0_5b_preset_shows_every_planted_error() {
    check(&model(Preset::QwenCoder05B, Quantization::Q4_K_M, 48));
}
