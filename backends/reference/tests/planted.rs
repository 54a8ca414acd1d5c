//! Errors that real decoders have made, planted one at a time into the oracle: its own checks catch every one.
//!
//! Nothing in the decoder knows of them. A wrong constant is planted in the geometry, a wrong weight in the source of the
//! weights, a stale cache by the calls that leave one.
//!
//! An epsilon of 1e-5 in place of 1e-6 is not among them: it moves these models by 5e-6 nats, less than F16 activations
//! do, and no bar on outputs can tell the two apart.

mod support;

use candle_core::Tensor;
use qa_model::{Gguf, RopeStyle};
use qa_protocol::ScoreRow;
use qa_reference::compare::{Comparison, compare};
use qa_reference::{
    Decoder, Geometry, GgufSource, LayerWeights, Linear, Options, Result, WeightSource, Windows, score_row,
};
use std::sync::Arc;
use support::{TOP, heldout_tokens, score, synthetic, tiny_coder};

/// Tokens of a window.
const CONTEXT: usize = 192;

/// An error in a constant.
type InGeometry = fn(&mut Geometry);
/// An error in how a block's weights are used.
type InWeights = fn(LayerWeights, &Geometry) -> Result<LayerWeights>;

/// No error.
const NONE: (InGeometry, InWeights) = (|_| {}, |weights, _| Ok(weights));

/// The weights of a file, with an error in each block.
struct Planted {
    inner: GgufSource,
    error: InWeights,
}

impl WeightSource for Planted {
    fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.inner.embed(ids)
    }

    fn layer(&self, index: usize) -> Result<LayerWeights> {
        (self.error)(self.inner.layer(index)?, self.inner.geometry())
    }

    fn output_norm(&self) -> Result<Tensor> {
        self.inner.output_norm()
    }

    fn head(&self) -> Result<Linear> {
        self.inner.head()
    }

    fn layer_bytes(&self, index: usize) -> u64 {
        self.inner.layer_bytes(index)
    }

    fn head_bytes(&self) -> u64 {
        self.inner.head_bytes()
    }
}

fn decoder(gguf: &Arc<Gguf>, (in_geometry, error): (InGeometry, InWeights)) -> Decoder {
    let inner = GgufSource::new(Arc::clone(gguf)).unwrap();
    let mut geometry = inner.geometry().clone();
    in_geometry(&mut geometry);
    Decoder::new(geometry, Box::new(Planted { inner, error }), &Options::default()).unwrap()
}

fn without_bias(linear: Linear) -> Linear {
    assert!(linear.bias.is_some(), "there is a bias to drop");
    Linear { bias: None, ..linear }
}

/// Each key head serves the wrong queries: the heads in reverse order.
fn reversed_heads(linear: &Linear, geometry: &Geometry) -> Result<Linear> {
    let config = &geometry.config;
    let order: Vec<u32> = (0..config.kv_heads as u32)
        .rev()
        .flat_map(|head| (0..config.head_dim as u32).map(move |d| (head, d)))
        .map(|(head, d)| head * config.head_dim as u32 + d)
        .collect();
    let order = Tensor::new(order, linear.weight.device())?;
    let bias = linear.bias.as_ref().map(|bias| bias.index_select(&order, 0)).transpose()?;
    Ok(Linear { weight: linear.weight.index_select(&order, 0)?, bias })
}

const ERRORS: [(&str, (InGeometry, InWeights)); 8] = [
    ("rope base 10,000", (|geometry| geometry.config.rope.base = 10_000.0, NONE.1)),
    ("rope of pairs", (|geometry| geometry.config.rope.style = RopeStyle::Norm, NONE.1)),
    ("no causal mask", (|geometry| geometry.causal = false, NONE.1)),
    ("epsilon 1e-3", (|geometry| geometry.config.rms_epsilon = 1e-3, NONE.1)),
    ("no query bias", (NONE.0, |w, _| Ok(LayerWeights { query: without_bias(w.query), ..w }))),
    ("no key bias", (NONE.0, |w, _| Ok(LayerWeights { key: without_bias(w.key), ..w }))),
    ("no value bias", (NONE.0, |w, _| Ok(LayerWeights { value: without_bias(w.value), ..w }))),
    (
        "wrong key heads",
        (NONE.0, |w, geometry| {
            let (key, value) = (reversed_heads(&w.key, geometry)?, reversed_heads(&w.value, geometry)?);
            Ok(LayerWeights { key, value, ..w })
        }),
    ),
];

/// Score the second half of a window token by token, through the cache, after `prefix` has filled its first half.
fn through_the_cache(decoder: &mut Decoder, prefix: &[u32], window: &[u32]) -> Vec<ScoreRow> {
    decoder.reset().unwrap();
    let mut logits = decoder.forward(prefix).unwrap();
    let mut rows = Vec::new();
    for index in prefix.len()..window.len() {
        rows.push(score_row(&logits, window[index], index, TOP).unwrap());
        logits = decoder.forward(&window[index..=index]).unwrap();
    }
    rows
}

/// The looser of the two bars that outputs must meet, that for quantised weights: no error may pass even that.
fn caught(found: &Comparison) -> bool {
    found.mean_kl >= 5e-3 || found.flips_above(0.5) > 0 || found.ln_ppl_difference().abs() > 0.01
}

fn every_error_is_caught(gguf: &Arc<Gguf>) {
    let tokens = &heldout_tokens(gguf)[..2 * CONTEXT];
    let windows = Windows { context: CONTEXT, first: CONTEXT / 2 };
    let right = score(&mut decoder(gguf, NONE), tokens, windows);
    let mut missed = Vec::new();
    let mut judge = |name: &str, found: &Comparison| {
        println!("{name}: mean KL {:.2e}, {} flips above 0.5 nats", found.mean_kl, found.flips_above(0.5));
        if !caught(found) {
            missed.push(name.to_owned());
        }
    };
    for (name, error) in ERRORS {
        judge(name, &compare(&right, &score(&mut decoder(gguf, error), tokens, windows)).unwrap());
    }

    // The first half of the second window, with the cache of the first window's still in place.
    let (other, window) = tokens.split_at(CONTEXT);
    let half = CONTEXT / 2;
    let right = score(&mut decoder(gguf, NONE), window, Windows { context: CONTEXT, first: half });
    let mut decoder = decoder(gguf, NONE);
    judge("stale cache", &compare(&right, &through_the_cache(&mut decoder, &other[..half], window)).unwrap());
    assert_eq!(missed, [""; 0]);

    // With the right prefix, the same calls agree far within the tighter bar.
    let found = compare(&right, &through_the_cache(&mut decoder, &window[..half], window)).unwrap();
    assert!(found.mean_kl.abs() < 1e-7 && found.flips_above(1e-3) == 0, "{found:?}");
}

#[test]
fn in_a_trained_model() {
    every_error_is_caught(&tiny_coder());
}

#[test]
fn in_a_synthetic_model() {
    every_error_is_caught(&synthetic());
}
