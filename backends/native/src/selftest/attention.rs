//! Attention at every length where its division into pieces changes, over caches of every kind of row, with several layouts
//! of heads and both rotations, against f64. What lies in the cache beyond the sequence is poisoned.

use super::exact::{self, Bounded};
use super::inputs::{self, KINDS, Kind, Random};
use super::model::{Content, Heads, Small, config};
use super::operations::{apart, raise};
use super::{Log, Plan};
use crate::decoder::{Decoder, Options, Taps};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::kernels::prepare;
use crate::switches::Switches;
use half::f16;
use qa_kernels::{Format, KvCache};
use qa_model::config::names;
use qa_model::{Architecture, Gguf};
use std::sync::Arc;

/// Sequence lengths, the new token included.
const LENGTHS: [usize; 19] = [1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1023, 1024, 1025, 4095, 4096];

/// Query heads, key heads and elements of a head: of Qwen2.5-Coder 0.5B, 1.5B and 7B, SmolLM2, the embedded model, Llama 3.2,
/// and the shortest and longest heads.
const LAYOUTS: [Heads; 8] =
    [(4, 2, 64), (14, 2, 64), (12, 2, 128), (28, 4, 128), (9, 3, 64), (32, 8, 64), (5, 5, 32), (2, 1, 256)];

const CONTEXT: usize = 4096;

/// Bits of halves that must not matter: no number, and infinity.
const POISONS: [u16; 2] = [0x7e01, 0xfc00];

struct Case {
    name: String,
    gguf: Gguf,
    options: Options,
    strategies: Vec<Switches>,
}

fn cases(plan: &Plan) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let layouts = if plan.quick { &LAYOUTS[..2] } else { &LAYOUTS };
    for (index, &heads) in layouts.iter().enumerate() {
        for architecture in [Architecture::Qwen2, Architecture::Llama] {
            for kv_cache in KvCache::ALL {
                let first = index < 2;
                // The other layouts with the model's own rotation and the usual cache: what is special about them is heads.
                if !first && (kv_cache != KvCache::F16 || (architecture == Architecture::Llama) != (index >= 4)) {
                    continue;
                }
                let hidden = heads.0 * heads.2;
                let small = Small {
                    config: config(architecture, (hidden, 64), heads),
                    format: Format::F32,
                    instead: Format::F32,
                    formats: Vec::new(),
                    contents: vec![
                        (names::TOKEN_EMBD, Content::Faint),
                        // Queries and keys of a size that leaves many positions a share.
                        ("attn_q.weight", Content::Plain),
                        ("attn_k.weight", Content::Plain),
                        ("attn_output.weight", Content::Identity),
                        ("ffn_down.weight", Content::Zero),
                    ],
                };
                let name =
                    format!("{} of {}, {} heads of {}, {kv_cache}", heads.0, architecture.name(), heads.1, heads.2);
                let fused = Switches { megakernel: true, ..Switches::default() };
                let unfused = Switches { persistent: true, ..Switches::default() };
                cases.push(Case {
                    gguf: small.gguf(&name)?,
                    name,
                    options: Options { kv_cache, context: Some(CONTEXT), ..Options::default() },
                    strategies: if first { vec![fused, unfused, Switches::BEST] } else { vec![Switches::BEST] },
                });
            }
        }
    }
    Ok(cases)
}

pub(super) fn check(gpu: &Arc<Gpu>, plan: &Plan, log: &mut Log<'_>) -> Result<()> {
    log.group("attention");
    let cases = cases(plan)?;
    let needed = cases.iter().flat_map(|case| {
        let sets = [Switches::default()].into_iter().chain(case.strategies.iter().copied());
        sets.map(|switches| (&case.gguf, Options { switches, ..case.options })).collect::<Vec<_>>()
    });
    prepare(gpu, &needed.collect::<Vec<_>>())?;
    log.ratio("kernels compile", 0.0, format!("{} models", cases.len()));
    for case in &cases {
        one(gpu, case, log)?;
    }
    Ok(())
}

fn one(gpu: &Arc<Gpu>, case: &Case, log: &mut Log<'_>) -> Result<()> {
    let mut baseline = Decoder::load(gpu, &case.gguf, &case.options)?;
    let mut others: Vec<(Switches, Decoder)> = case
        .strategies
        .iter()
        .map(|&switches| Ok((switches, Decoder::load(gpu, &case.gguf, &Options { switches, ..case.options })?)))
        .collect::<Result<_>>()?;
    let layout = Layout::of(&baseline, case.options.kv_cache);
    let clean = [layout.filled("keys"), layout.filled("values")];
    let mut worst = 0.0;
    let mut worst_length = 0;
    let (mut poisoned, mut differing) = (Vec::new(), vec![Vec::new(); others.len()]);
    for (index, &length) in LENGTHS.iter().enumerate() {
        let token = index as u32;
        let mut first: Option<Taps> = None;
        for poison in POISONS {
            let cache = clean.clone().map(|bytes| layout.poisoned(bytes, length - 1, poison));
            baseline.set_cached(&cache)?;
            let taps = baseline.tap(token, length as u32 - 1)?;
            if first.as_ref().is_some_and(|first| *first != taps) {
                poisoned.push(length);
            }
            if first.is_none() {
                let ratio = against_f64(case, &baseline, &layout, &taps, token, length)?;
                raise(&mut worst, ratio);
                if worst.to_bits() == ratio.to_bits() {
                    worst_length = length;
                }
            }
            for ((_, decoder), differing) in others.iter_mut().zip(&mut differing) {
                decoder.set_cached(&cache)?;
                let found = decoder.tap(token, length as u32 - 1)?;
                // What fused phases exchange has 16 significant bits, so an element of an int8 cache may round the other way
                // too, by a 127th of the largest of its group; with large queries a step of a key moves its score. On an
                // H100 one of the lengths differed by 0.24; another position's head differs by 1 and more.
                let allowed = match (decoder.switches.order_of_sums(), case.options.kv_cache) {
                    (order, _) if order == Switches::default().order_of_sums() => 0.0,
                    (_, KvCache::F16) => 0.02,
                    (_, KvCache::Q8_0) => 0.5,
                };
                let share = apart(&taps.residual, &found.residual).max(apart(&taps.logits, &found.logits));
                let same = found.residual == taps.residual && found.logits == taps.logits;
                if !same && (allowed == 0.0 || share > allowed) {
                    differing.push((length, share));
                }
            }
            first = Some(taps);
        }
    }
    let note = if worst > 1.0 || worst.is_nan() { format!("at length {worst_length}") } else { String::new() };
    log.ratio(&case.name, worst, note);
    log.holds(format!("{}: the cache beyond the sequence", case.name), poisoned.is_empty(), || {
        format!("changes the result at lengths {poisoned:?}")
    });
    for ((switches, _), differing) in others.iter().zip(differing) {
        log.holds(format!("{}: under {switches}", case.name), differing.is_empty(), || {
            format!("differs from the baseline at lengths, by shares of the largest: {differing:?}")
        });
    }
    Ok(())
}

/// The attended values, which the identity in place of the output projection adds to the embedding, against f64.
fn against_f64(case: &Case, decoder: &Decoder, layout: &Layout, taps: &Taps, token: u32, length: usize) -> Result<f64> {
    let config = decoder.config();
    let cached = decoder.cached()?;
    let table = case.gguf.tensor(names::TOKEN_EMBD).map(|tensor| {
        let bytes = case.gguf.row_data(tensor, u64::from(token)..u64::from(token) + 1);
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<f32>>()
    });
    let embedded = table.unwrap_or_default();
    let group = config.heads / config.kv_heads;
    let rows: Vec<Vec<Vec<f32>>> = cached
        .iter()
        .flat_map(|bytes| {
            (0..config.kv_heads).map(|head| (0..length).map(|row| layout.row(bytes, head, row)).collect::<Vec<_>>())
        })
        .collect();
    let mut worst = 0.0;
    for head in 0..config.heads {
        let slices =
            |side: usize| rows[side * config.kv_heads + head / group].iter().map(Vec::as_slice).collect::<Vec<_>>();
        let range = head * config.head_dim..(head + 1) * config.head_dim;
        let attended = exact::attention(&taps.qkv[range.clone()], &slices(0), &slices(1));
        let expected: Vec<Bounded> =
            embedded[range.clone()].iter().zip(attended).map(|(&x, a)| exact::sum(Bounded::exact(x), a)).collect();
        raise(&mut worst, exact::worst(&expected, &taps.residual[range]));
    }
    Ok(worst)
}

/// How cached rows lie: heads one after the other, each all rows, and in `Q8_0` all scales after them.
struct Layout {
    kind: KvCache,
    heads: usize,
    head_dim: usize,
    head_bytes: usize,
}

impl Layout {
    fn of(decoder: &Decoder, kind: KvCache) -> Self {
        let config = decoder.config();
        let head_bytes = kind.head_bytes(config.head_dim, CONTEXT);
        Self { kind, heads: config.kv_heads, head_dim: config.head_dim, head_bytes }
    }

    /// Where the elements of a row are within its head, and where its scales are.
    fn places(&self, row: usize) -> (usize, usize) {
        match self.kind {
            KvCache::F16 => (2 * row * self.head_dim, 0),
            KvCache::Q8_0 => (row * self.head_dim, CONTEXT * self.head_dim + row * (self.head_dim / 32) * 2),
        }
    }

    /// Rows of every kind.
    fn filled(&self, name: &str) -> Vec<u8> {
        let mut random = Random::new(7, name);
        let mut bytes = vec![0; self.heads * self.head_bytes];
        for head in bytes.chunks_exact_mut(self.head_bytes) {
            for row in 0..CONTEXT {
                // Kinds change at random, so that no piece and no lane has one kind alone.
                let kind = KINDS[random.next() as usize % KINDS.len()];
                let values = inputs::vector(kind, self.head_dim, &mut random);
                // The largest are still halves, and a loud key leaves others a share.
                let factor = if kind == Kind::Largest { 1e-3 } else { 1.0 };
                let (at, scales) = self.places(row);
                match self.kind {
                    KvCache::F16 => {
                        for (d, value) in values.iter().enumerate() {
                            let half = f16::from_f32(value * factor);
                            head[at + 2 * d..][..2].copy_from_slice(&half.to_le_bytes());
                        }
                    }
                    KvCache::Q8_0 => {
                        for (d, value) in values.iter().enumerate() {
                            head[at + d] = (value * 127.0) as i8 as u8;
                        }
                        for group in 0..self.head_dim / 32 {
                            let scale = f16::from_f32(random.signed().abs() * factor / 16.0);
                            head[scales + 2 * group..][..2].copy_from_slice(&scale.to_le_bytes());
                        }
                    }
                }
            }
        }
        bytes
    }

    /// The same with rows from `from` on poisoned.
    fn poisoned(&self, mut bytes: Vec<u8>, from: usize, poison: u16) -> Vec<u8> {
        for head in bytes.chunks_exact_mut(self.head_bytes) {
            let (elements, scales) = self.places(from);
            let halves = match self.kind {
                KvCache::F16 => elements,
                KvCache::Q8_0 => scales,
            };
            head[halves..].chunks_exact_mut(2).for_each(|half| half.copy_from_slice(&poison.to_le_bytes()));
        }
        bytes
    }

    /// A row as numbers.
    fn row(&self, bytes: &[u8], head: usize, row: usize) -> Vec<f32> {
        let head = &bytes[head * self.head_bytes..][..self.head_bytes];
        let (at, scales) = self.places(row);
        let half = |at: usize| f16::from_le_bytes([head[at], head[at + 1]]).to_f32();
        (0..self.head_dim)
            .map(|d| match self.kind {
                KvCache::F16 => half(at + 2 * d),
                KvCache::Q8_0 => half(scales + d / 32 * 2) * f32::from(head[at + d].cast_signed()),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_and_poison_begins_where_it_is_told() {
        for kind in KvCache::ALL {
            let (heads, head_dim) = (2, 64);
            let layout = Layout { kind, heads, head_dim, head_bytes: kind.head_bytes(head_dim, CONTEXT) };
            let bytes = layout.filled("keys");
            let poisoned = layout.poisoned(bytes.clone(), 100, POISONS[0]);
            assert_eq!(layout.row(&poisoned, 1, 99), layout.row(&bytes, 1, 99));
            assert!(layout.row(&poisoned, 1, 100).iter().any(|x| x.is_nan()), "{kind}");
            let rows: Vec<Vec<f32>> = (0..100).map(|row| layout.row(&bytes, 0, row)).collect();
            assert!(rows.iter().flatten().all(|x| x.is_finite() && x.abs() <= 128.0), "{kind}");
            assert!(rows.iter().flatten().any(|x| x.abs() > 1.0), "{kind}");
        }
    }
}
