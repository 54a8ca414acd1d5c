//! How the decoder computes changes nothing of what it computes.

mod support;

use qa_model::Gguf;
use qa_reference::compare::compare;
use qa_reference::{Decoder, Error, Options, Windows};
use std::num::NonZeroUsize;
use std::sync::Arc;
use support::{heldout_tokens, score, tiny_coder};

const SERIAL: Options = Options { threads: NonZeroUsize::new(1), kv_cache: true, memory_limit: None };

fn load(gguf: &Arc<Gguf>, options: Options) -> Decoder {
    Decoder::load(Arc::clone(gguf), &options).unwrap()
}

fn variants(gguf: &Arc<Gguf>) -> [(&'static str, Decoder); 3] {
    [
        ("three threads", load(gguf, Options { threads: NonZeroUsize::new(3), ..SERIAL })),
        ("all streamed", load(gguf, Options { memory_limit: Some(0), ..SERIAL })),
        ("part streamed", load(gguf, Options { memory_limit: Some(10 << 20), ..SERIAL })),
    ]
}

#[test]
fn threads_and_streaming_give_the_same_bits() {
    let gguf = tiny_coder();
    let tokens = &heldout_tokens(&gguf)[..300];
    let mut serial = load(&gguf, SERIAL);
    let expected = serial.generate(&tokens[..40], 20, &[]).unwrap().tokens;
    let logits = serial.forward(&[7]).unwrap();
    let rows = score(&mut serial, tokens, Windows { context: 100, first: 50 });
    for (name, mut decoder) in variants(&gguf) {
        assert_eq!(decoder.generate(&tokens[..40], 20, &[]).unwrap().tokens, expected, "{name}");
        assert_eq!(decoder.forward(&[7]).unwrap(), logits, "{name}");
        assert_eq!(score(&mut decoder, tokens, Windows { context: 100, first: 50 }), rows, "{name}");
    }
}

#[test]
fn what_does_not_fit_is_streamed_and_counted() {
    let gguf = tiny_coder();
    let [_, (_, all), (_, part)] = variants(&gguf);
    assert_eq!(load(&gguf, SERIAL).streamed_layers(), 0);
    assert_eq!(all.streamed_layers(), 6);
    assert!((1..6).contains(&part.streamed_layers()), "{}", part.streamed_layers());
}

#[test]
fn without_a_cache_the_whole_prefix_is_computed_again() {
    let gguf = tiny_coder();
    let prompt = &heldout_tokens(&gguf)[..40];
    let cached = load(&gguf, SERIAL).generate(prompt, 12, &[]).unwrap();
    let recomputed = load(&gguf, Options { kv_cache: false, ..SERIAL }).generate(prompt, 12, &[]).unwrap();
    assert_eq!(cached.tokens, recomputed.tokens);
    assert_eq!(cached.decode_positions, 11);
    assert_eq!(recomputed.decode_positions, (41..=51).sum::<u64>());
}

/// Without one, a window is scored in one pass; with one, in several.
#[test]
fn scores_are_the_same_with_and_without_a_cache() {
    let gguf = tiny_coder();
    let tokens = &heldout_tokens(&gguf)[..600];
    let windows = Windows { context: 300, first: 100 };
    let cached = score(&mut load(&gguf, SERIAL), tokens, windows);
    let uncached = score(&mut load(&gguf, Options { kv_cache: false, ..SERIAL }), tokens, windows);
    assert_eq!(cached.len(), 400);
    let found = compare(&cached, &uncached).unwrap();
    assert!(found.mean_kl.abs() < 1e-8 && found.flips_above(1e-3) == 0, "{found:?}");
}

#[test]
fn generation_takes_the_likeliest_token_at_each_step() {
    let gguf = tiny_coder();
    let mut decoder = load(&gguf, SERIAL);
    let prompt = &heldout_tokens(&gguf)[..40];
    let generation = decoder.generate(prompt, 16, &[]).unwrap();
    let whole: Vec<u32> = prompt.iter().chain(&generation.tokens).copied().collect();
    let rows = decoder.score(&whole, 1).unwrap();
    let likeliest: Vec<u32> = rows[39..].iter().map(|row| row.top[0].0).collect();
    assert_eq!(generation.tokens, likeliest);
    assert_eq!(generation.steps.len(), 15);
    assert!(generation.steps.iter().chain([&generation.prefill]).all(|time| !time.is_zero()));
    assert_eq!(generation.decode(), generation.steps.iter().sum());
}

#[test]
fn a_stop_token_ends_a_generation() {
    let gguf = tiny_coder();
    let mut decoder = load(&gguf, SERIAL);
    let prompt = &heldout_tokens(&gguf)[..40];
    let tokens = decoder.generate(prompt, 16, &[]).unwrap().tokens;
    let stop = tokens[4];
    let end = tokens.iter().position(|&id| id == stop).unwrap();
    assert_eq!(decoder.generate(prompt, 16, &[stop]).unwrap().tokens, tokens[..=end]);
}

#[test]
fn a_sequence_goes_on_from_where_it_was_cut() {
    let gguf = tiny_coder();
    let mut decoder = load(&gguf, SERIAL);
    let tokens = &heldout_tokens(&gguf)[..30];
    decoder.forward(&tokens[..20]).unwrap();
    let expected = decoder.forward(&tokens[20..21]).unwrap();
    decoder.forward(&tokens[25..30]).unwrap();
    decoder.truncate(20);
    assert_eq!(decoder.forward(&tokens[20..21]).unwrap(), expected);
    // Far past the cache's first capacity, the positions before are still there.
    decoder.truncate(20);
    decoder.forward(&tokens.repeat(12)).unwrap();
    decoder.truncate(20);
    assert_eq!(decoder.forward(&tokens[20..21]).unwrap(), expected);
}

#[test]
fn an_observer_sees_each_block_of_a_pass() {
    let gguf = tiny_coder();
    let mut decoder = load(&gguf, SERIAL);
    let mut seen = Vec::new();
    decoder
        .forward_observed(&[1, 2, 3], &mut |tap| {
            seen.push((tap.layer, tap.residual.dims().to_vec(), tap.keys.dims().to_vec(), tap.values.dims().to_vec()));
            Ok(())
        })
        .unwrap();
    let expected: Vec<_> = (0..6).map(|layer| (layer, vec![3, 256], vec![2, 3, 64], vec![2, 3, 64])).collect();
    assert_eq!(seen, expected);

    // A pass that its observer ends leaves the sequence as it was.
    let after = |decoder: &mut Decoder| decoder.forward(&[9]).unwrap();
    let expected = after(&mut decoder);
    decoder.truncate(3);
    decoder.forward_observed(&[4, 5], &mut |_| Err(Error::Empty)).unwrap_err();
    assert_eq!(after(&mut decoder), expected);
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let gguf = tiny_coder();
    let mut decoder = load(&gguf, SERIAL);
    let vocabulary = 4096;
    assert!(matches!(decoder.forward(&[]), Err(Error::Empty)));
    let error = decoder.forward(&[5, vocabulary]).unwrap_err().to_string();
    assert_eq!(error, "token id 4096 at index 1 is outside the vocabulary of 4096 tokens");
    let error = decoder.generate(&[1; 2000], 50, &[]).unwrap_err().to_string();
    assert!(error.contains("2049 positions were asked for, but the model's context is 2048"), "{error}");
    assert!(decoder.generate(&[1], 0, &[]).is_err());
    let windows = |decoder: &mut Decoder, context, first| {
        let error = decoder.score_windows(&[1; 20], Windows { context, first }, 1, &mut |_| Ok::<_, Error>(()));
        error.unwrap_err().to_string()
    };
    assert!(windows(&mut decoder, 10, 0).contains("`first` must be at least 1"));
    assert!(windows(&mut decoder, 10, 10).contains("below `context`"));
    assert!(windows(&mut decoder, 21, 1).contains("20 tokens do not fill one window of 21"));
}

#[test]
fn an_incomplete_last_window_is_dropped_and_rows_name_their_tokens() {
    let gguf = tiny_coder();
    let tokens = &heldout_tokens(&gguf)[..25];
    let rows = score(&mut load(&gguf, SERIAL), tokens, Windows { context: 10, first: 7 });
    assert_eq!(rows.iter().map(|row| row.index).collect::<Vec<_>>(), [7, 8, 9, 17, 18, 19]);
    // Each window starts anew: alone, its rows are the same but for rounding.
    let alone = load(&gguf, SERIAL).score(&tokens[10..20], support::TOP).unwrap();
    for (row, alone) in rows[3..].iter().zip(&alone[6..]) {
        assert!((row.nll - alone.nll).abs() < 1e-5 && row.top[0].0 == alone.top[0].0, "{} {}", row.nll, alone.nll);
    }
}
