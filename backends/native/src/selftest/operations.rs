//! Every operation of a block with every format, against f64; then the same tokens under the other strategies, bit by bit.

use super::cases::{Case, cases, strategies};
use super::exact::{self, Bounded};
use super::expected::Model;
use super::inputs;
use super::{Log, Plan};
use crate::decoder::{Decoder, Options, Taps};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::kernels::prepare;
use crate::switches::Switches;
use crate::weights::rope_table;
use half::f16;
use qa_model::config::names;
use qa_model::{Gguf, RopeStyle};
use std::sync::Arc;

/// Tokens of every kind of row, at positions that turn heads and leave gaps of zeros in the cache.
fn tokens() -> impl Iterator<Item = (u32, u32)> {
    (0..2 * inputs::KINDS.len() as u32).map(|token| (token, 3 * token))
}

pub(super) fn check(gpu: &Arc<Gpu>, plan: &Plan, log: &mut Log<'_>) -> Result<()> {
    log.group("operations");
    let cases = cases(plan)?;
    let needed = cases.iter().flat_map(|case| {
        let sets = [Switches::default()].into_iter().chain(strategies().into_iter().filter(|_| case.strategies));
        sets.map(|switches| (&case.attention, Options { switches, ..case.options })).collect::<Vec<_>>()
    });
    prepare(gpu, &needed.collect::<Vec<_>>())?;
    log.ratio("kernels compile", 0.0, format!("{} models", cases.len()));
    for case in &cases {
        attention_half(gpu, case, log)?;
        feed_forward_half(gpu, case, log)?;
        prompts(gpu, case, log)?;
    }
    Ok(())
}

/// Prompts of one token and of several, against the passes that decode them. Both round: prompts to f16, decoding to int8
/// unless the case says otherwise.
fn prompts(gpu: &Arc<Gpu>, case: &Case, log: &mut Log<'_>) -> Result<()> {
    // Of the logits' root mean square. On an H100 f16 was worth up to 0.0067 in any format, and decoding's int8 up to 0.044
    // in Q5_1, whose offsets it multiplies too; a wrong element of a tile or a format is worth far more than either.
    let allowed = if case.options.float_activations { 0.015 } else { 0.08 };
    let mut decoder = Decoder::load(gpu, &case.prompts, &case.options)?;
    let tokens: Vec<u32> = (0..23).map(|i| 11 * i % 256).collect();
    let mut decoded: Vec<Vec<f32>> = Vec::new();
    decoder.logits(&tokens, &mut |_, logits| {
        decoded.push(logits.to_vec());
        Ok::<_, Error>(())
    })?;
    let mut worst = 0.0;
    for length in [1, tokens.len()] {
        let found = decoder.prompt_logits(&tokens[..length])?;
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let pairs = || found.iter().zip(&decoded[length - 1]).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let apart = squares(&mut pairs().map(|(a, b)| a - b)) / squares(&mut pairs().map(|(_, b)| b));
        raise(&mut worst, apart.sqrt() / allowed);
    }
    log.ratio(format!("{}: prompts", case.name), worst, "");
    Ok(())
}

fn taps(decoder: &mut Decoder) -> Result<Vec<Taps>> {
    tokens().map(|(token, position)| decoder.tap(token, position)).collect()
}

fn attention_half(gpu: &Arc<Gpu>, case: &Case, log: &mut Log<'_>) -> Result<()> {
    let mut decoder = Decoder::load(gpu, &case.attention, &case.options)?;
    let taps = taps(&mut decoder)?;
    let model = Model::new(&case.attention, &case.options)?;
    let (config, name) = (&model.config, &case.name);
    let (query, kv) = (config.query_width(), config.kv_width());
    let embedded = model.embedded(tokens().map(|(token, _)| token))?;
    let normed: Vec<_> = embedded.iter().map(|x| model.norm(x, "attn_norm.weight")).collect::<Result<_>>()?;
    let table = rope_table(&case.attention, config, case.options.context.unwrap_or(1))?;
    let half = config.rope.dims / 2;
    let neox = config.rope.style == RopeStyle::Neox;
    let turn = |heads: &[Bounded], position: u32| -> Vec<Bounded> {
        let row = &table[position as usize * 2 * half..][..2 * half];
        let turns: Vec<(f64, f64)> = row.chunks(2).map(|t| (f64::from(t[0]), f64::from(t[1]))).collect();
        heads.chunks(config.head_dim).flat_map(|head| exact::rotated(head, &turns, neox)).collect()
    };

    let products = |part: &str| model.products(&names::block(0, part), &normed);
    let (queries, keys, values) = (products("attn_q")?, products("attn_k")?, products("attn_v")?);
    let scale = std::f64::consts::LOG2_E / (config.head_dim as f64).sqrt();
    let mut worst = [0.0_f64; 5];
    let cached = decoder.cached()?;
    let halves = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
    };
    let cached = [halves(&cached[0]), halves(&cached[1])];
    let head_length = cached[0].len() / config.kv_heads;
    let cached_row = |side: usize, head: usize, position: usize| {
        &cached[side][head * head_length + position * config.head_dim..][..config.head_dim]
    };
    let mut attended = Vec::new();
    for (index, (_, position)) in tokens().enumerate() {
        let found = &taps[index].qkv;
        let turned: Vec<Bounded> = turn(&queries[index], position)
            .into_iter()
            .map(|q| Bounded {
                value: q.value * scale,
                error: (q.error + 4.0 * exact::ROUNDOFF * q.value.abs()) * scale,
            })
            .collect();
        raise(&mut worst[0], exact::worst(&turned, &found[..query]));
        raise(&mut worst[1], exact::worst(&keys[index], &found[query..query + kv]));
        raise(&mut worst[2], exact::worst(&values[index], &found[query + kv..]));
        let exactly =
            |range: std::ops::Range<usize>| found[range].iter().map(|&x| Bounded::exact(x)).collect::<Vec<_>>();
        let kept = [turn(&exactly(query..query + kv), position), exactly(query + kv..query + 2 * kv)];
        for (side, kept) in kept.iter().enumerate() {
            let expected: Vec<Bounded> = kept.iter().map(|&x| rounded_to_half(x)).collect();
            for (head, expected) in expected.chunks(config.head_dim).enumerate() {
                raise(&mut worst[3], exact::worst(expected, cached_row(side, head, position as usize)));
            }
        }
        let group = config.heads / config.kv_heads;
        let heads = found[..query].chunks(config.head_dim).enumerate().flat_map(|(head, query)| {
            let rows = |side| (0..=position as usize).map(|p| cached_row(side, head / group, p)).collect::<Vec<_>>();
            exact::attention(query, &rows(0), &rows(1))
        });
        attended.push(heads.collect::<Vec<Bounded>>());
    }
    let outputs = model.products(&names::block(0, "attn_output"), &attended)?;
    for ((x, output), taps) in embedded.iter().zip(&outputs).zip(&taps) {
        raise(&mut worst[4], exact::worst(&added(x, output), &taps.residual));
    }
    for (what, worst) in
        ["norm, query, rotation", "key", "value", "rotation, cache", "attention, output"].iter().zip(worst)
    {
        log.ratio(format!("{name}: {what}"), worst, "");
    }
    if case.strategies {
        compare_strategies(gpu, case, &case.attention, &taps, "attention", log, &|_, _| Ok(false))?;
    }
    Ok(())
}

fn feed_forward_half(gpu: &Arc<Gpu>, case: &Case, log: &mut Log<'_>) -> Result<()> {
    let mut decoder = Decoder::load(gpu, &case.feed_forward, &case.options)?;
    let taps = taps(&mut decoder)?;
    let model = Model::new(&case.feed_forward, &case.options)?;
    let name = &case.name;
    let embedded = model.embedded(tokens().map(|(token, _)| token))?;
    let normed: Vec<_> = embedded.iter().map(|x| model.norm(x, "ffn_norm.weight")).collect::<Result<_>>()?;
    let gates = model.products(&names::block(0, "ffn_gate"), &normed)?;
    let ups = model.products(&names::block(0, "ffn_up"), &normed)?;
    let inners: Vec<Vec<Bounded>> = gates
        .iter()
        .zip(&ups)
        .map(|(gate, up)| gate.iter().zip(up).map(|(&gate, &up)| exact::gated(gate, up)).collect())
        .collect();
    let exactly = |x: &[f32]| x.iter().map(|&x| Bounded::exact(x)).collect::<Vec<_>>();
    let found: Vec<_> = taps.iter().map(|taps| exactly(&taps.inner)).collect();
    let downs = model.products(&names::block(0, "ffn_down"), &found)?;
    let last: Vec<_> = taps
        .iter()
        .map(|taps| Ok(exact::norm(&taps.residual, &model.vector(names::OUTPUT_NORM)?, model.config.rms_epsilon)))
        .collect::<Result<_>>()?;
    let logits = model.products(names::OUTPUT.trim_end_matches(".weight"), &last)?;
    let mut worst = [0.0_f64; 3];
    let mut chosen = true;
    for (index, taps) in taps.iter().enumerate() {
        raise(&mut worst[0], exact::worst(&inners[index], &taps.inner));
        raise(&mut worst[1], exact::worst(&added(&embedded[index], &downs[index]), &taps.residual));
        raise(&mut worst[2], exact::worst(&logits[index], &taps.logits));
        let (_, position) = tokens().nth(index).unwrap_or_default();
        chosen &= taps.token == likeliest(&taps.logits) && taps.moved == (position + 1, 1);
    }
    for (what, worst) in ["norm, gate, up, silu", "down", "norm, head"].iter().zip(worst) {
        log.ratio(format!("{name}: {what}"), worst, "");
    }
    log.holds(format!("{name}: choice of the token, advance"), chosen, || {
        "another id or place than the logits say".into()
    });
    if case.strategies {
        // Fused phases hand inner values over as int8 with a scale for eight, and hidden ones with 16 significant bits.
        let downs = model.products_in(&names::block(0, "ffn_down"), &inners, 8)?;
        let fused = |index: usize, taps: &Taps| -> Result<bool> {
            let expected = added(&embedded[index], &downs[index]);
            let last = exact::norm(&taps.residual, &model.vector(names::OUTPUT_NORM)?, model.config.rms_epsilon);
            let last = last.into_iter().map(|x| Bounded { error: x.error + x.value.abs() / 65536.0, ..x }).collect();
            let logits = model.products(names::OUTPUT.trim_end_matches(".weight"), &[last])?;
            Ok(exact::worst(&expected, &taps.residual) <= 1.0 && exact::worst(&logits[0], &taps.logits) <= 1.0)
        };
        compare_strategies(gpu, case, &case.feed_forward, &taps, "feed-forward", log, &fused)?;
    }
    Ok(())
}

/// The residual stream after what is added to it.
fn added(x: &[f32], y: &[Bounded]) -> Vec<Bounded> {
    x.iter().zip(y).map(|(&x, &y)| exact::sum(Bounded::exact(x), y)).collect()
}

/// The other strategies give the baseline's bits. Where they sum in another order, values are close to the baseline's, or else
/// those of `fused`, which says so of a token.
fn compare_strategies(
    gpu: &Arc<Gpu>,
    case: &Case,
    gguf: &Gguf,
    baseline: &[Taps],
    half: &str,
    log: &mut Log<'_>,
    fused: &dyn Fn(usize, &Taps) -> Result<bool>,
) -> Result<()> {
    for switches in strategies() {
        let mut decoder = Decoder::load(gpu, gguf, &Options { switches, ..case.options })?;
        let found = taps(&mut decoder)?;
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let mut differing = 0;
        for (index, (a, b)) in baseline.iter().zip(&found).enumerate() {
            let values = if switches.order_of_sums() == Switches::default().order_of_sums() {
                bits(&a.residual) == bits(&b.residual) && bits(&a.logits) == bits(&b.logits) && a.token == b.token
            } else {
                let close = close(&a.residual, &b.residual) && close(&a.logits, &b.logits);
                (close || fused(index, b)?) && b.token == likeliest(&b.logits)
            };
            differing += usize::from(!(values && a.moved == b.moved));
        }
        log.holds(format!("{}: {half} under {switches}", case.name), differing == 0, || {
            format!("{differing} of {} tokens differ from the baseline's", baseline.len())
        });
    }
    Ok(())
}

/// Whether values are those expected but for another order of sums, which int8 vectors amplify: an element of them may round
/// the other way. Fused phases scale after they sum, so what is next to no number loses digits.
pub(super) fn close(expected: &[f32], found: &[f32]) -> bool {
    apart(expected, found) <= 0.02
}

/// How far values are from those expected at most, as a share of the largest of these.
pub(super) fn apart(expected: &[f32], found: &[f32]) -> f64 {
    let most = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let pairs = expected.iter().zip(found).filter(|(a, b)| a.to_bits() != b.to_bits());
    let share = |(a, b): (&f32, &f32)| {
        let difference = (a - b).abs() - 1e3 * f32::MIN_POSITIVE;
        if difference <= 0.0 { 0.0 } else { f64::from(difference) / f64::from(most) }
    };
    // What is no number is as far as can be.
    pairs.map(share).fold(0.0, |worst: f64, share| if share.is_nan() { f64::INFINITY } else { worst.max(share) })
}

/// The likeliest token, the lowest of equals.
pub(super) fn likeliest(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (id, &logit) in (0..).zip(logits) {
        if logit > best.map_or(f32::NEG_INFINITY, |(_, most)| most) {
            best = Some((id, logit));
        }
    }
    best.map(|(id, _)| id)
}

/// Keeps the larger, and what is no number.
pub(super) fn raise(worst: &mut f64, ratio: f64) {
    *worst = if worst.is_nan() || ratio <= *worst { *worst } else { ratio };
}

/// What a half keeps of a number: 11 bits, or steps of 2^-24.
fn rounded_to_half(x: Bounded) -> Bounded {
    let step = x.value.abs() / 2048.0;
    Bounded { error: x.error + step.max(1.0 / f64::from(1 << 25)) * 1.001, ..x }
}
