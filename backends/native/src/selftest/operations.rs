//! Every operation of a block with every format, against f64; then the same tokens under the other strategies, bit by bit.

use super::exact::{self, Bounded};
use super::inputs;
use super::model::{Content, Heads, Small, Widths, config};
use super::{Log, Plan};
use crate::decoder::{Decoder, Options, Taps};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::kernels::prepare;
use crate::switches::Switches;
use crate::weights::rope_table;
use half::f16;
use qa_kernels::Format;
use qa_model::config::names;
use qa_model::{Architecture, Gguf, ModelConfig, RopeStyle, TensorInfo, dequantize};
use rayon::prelude::*;
use std::sync::Arc;

/// Rows of a product that are compared; of more, as many spread over all.
const ROWS: usize = 2048;

/// Widths of the residual stream and the feed-forward, and heads: of Qwen2.5-Coder 0.5B, 1.5B and 3B, SmolLM2, the embedded
/// model, and odd ones.
const SHAPES: [(Widths, Heads); 7] = [
    ((256, 768), (4, 2, 64)),
    ((896, 4864), (14, 2, 64)),
    ((1536, 8960), (12, 2, 128)),
    ((2048, 11008), (16, 2, 128)),
    ((576, 1536), (9, 3, 64)),
    ((96, 1248), (3, 1, 32)),
    ((160, 32), (5, 5, 32)),
];

/// A model to check, and how.
struct Case {
    name: String,
    attention: Gguf,
    feed_forward: Gguf,
    options: Options,
    /// Whether the other strategies are compared too: they take long to compile.
    strategies: bool,
}

/// The strategies that launch other kernels, or in another way, than the baseline.
fn strategies() -> [Switches; 5] {
    let [graph, streams, megakernel, persistent] = [
        Switches { graph: true, ..Switches::default() },
        Switches { graph: true, streams: true, ..Switches::default() },
        Switches { graph: true, megakernel: true, ..Switches::default() },
        Switches { persistent: true, ..Switches::default() },
    ];
    [graph, streams, megakernel, persistent, Switches::BEST]
}

fn cases(plan: &Plan) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let mut add =
        |name: String, architecture, extents, heads, format, formats: &[(&'static str, Format)], float, fused| {
            // Rows that are no whole blocks of a K format hold what llama.cpp puts there in its place.
            let instead = if format == Format::Q6_K { Format::Q8_0 } else { Format::Q5_0 };
            let small = |content: &[(&'static str, Content)]| Small {
                config: config(architecture, extents, heads),
                format,
                instead,
                formats: formats.to_vec(),
                contents: content.to_vec(),
            };
            // What the other half adds is left out, so that what a half adds is seen alone.
            let attention = small(&[("ffn_down.weight", Content::Zero)]);
            let feed_forward = small(&[("attn_output.weight", Content::Zero), (names::TOKEN_EMBD, Content::Vectors)]);
            cases.push(Case {
                attention: attention.gguf(&name)?,
                feed_forward: feed_forward.gguf(&name)?,
                options: Options { float_activations: float, context: Some(64), ..Options::default() },
                strategies: fused,
                name,
            });
            Ok::<_, Error>(())
        };
    let shapes = if plan.quick { &SHAPES[..1] } else { &SHAPES };
    for format in Format::ALL {
        for (index, &(extents, heads)) in shapes.iter().enumerate() {
            // Pairs of llama's rotation with one shape, halves with the others.
            let architecture = if extents.0 == 576 { Architecture::Llama } else { Architecture::Qwen2 };
            let name = format!("{format} {}x{}", extents.0, extents.1);
            add(name, architecture, extents, heads, format, &[], false, index == 0)?;
        }
        let name = format!("{format} 256x768, float activations");
        add(name, Architecture::Qwen2, (256, 768), (4, 2, 64), format, &[], true, false)?;
    }
    let mixed = [
        ("attn_k.weight", Format::Q8_0),
        ("attn_v.weight", Format::Q6_K),
        ("attn_output.weight", Format::Q5_1),
        ("ffn_up.weight", Format::Q5_K),
        ("ffn_down.weight", Format::F16),
        ("output.weight", Format::BF16),
    ];
    add("mixed formats".into(), Architecture::Qwen2, (256, 768), (4, 2, 64), Format::Q4_K, &mixed, false, true)?;
    Ok(cases)
}

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
    }
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
    let embedded = model.embedded()?;
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
        let expected: Vec<Bounded> = x.iter().zip(output).map(|(&x, &y)| exact::sum(Bounded::exact(x), y)).collect();
        raise(&mut worst[4], exact::worst(&expected, &taps.residual));
    }
    for (what, worst) in
        ["norm, query, rotation", "key", "value", "rotation, cache", "attention, output"].iter().zip(worst)
    {
        log.ratio(format!("{name}: {what}"), worst, "");
    }
    if case.strategies {
        compare_strategies(gpu, case, &case.attention, &taps, "attention", log)?;
    }
    Ok(())
}

fn feed_forward_half(gpu: &Arc<Gpu>, case: &Case, log: &mut Log<'_>) -> Result<()> {
    let mut decoder = Decoder::load(gpu, &case.feed_forward, &case.options)?;
    let taps = taps(&mut decoder)?;
    let model = Model::new(&case.feed_forward, &case.options)?;
    let name = &case.name;
    let embedded = model.embedded()?;
    let normed: Vec<_> = embedded.iter().map(|x| model.norm(x, "ffn_norm.weight")).collect::<Result<_>>()?;
    let gates = model.products(&names::block(0, "ffn_gate"), &normed)?;
    let ups = model.products(&names::block(0, "ffn_up"), &normed)?;
    let exactly = |x: &[f32]| x.iter().map(|&x| Bounded::exact(x)).collect::<Vec<_>>();
    let inners: Vec<_> = taps.iter().map(|taps| exactly(&taps.inner)).collect();
    let downs = model.products(&names::block(0, "ffn_down"), &inners)?;
    let last: Vec<_> = taps
        .iter()
        .map(|taps| Ok(exact::norm(&taps.residual, &model.vector(names::OUTPUT_NORM)?, model.config.rms_epsilon)))
        .collect::<Result<_>>()?;
    let logits = model.products(names::OUTPUT.trim_end_matches(".weight"), &last)?;
    let mut worst = [0.0_f64; 3];
    let mut chosen = true;
    for (index, taps) in taps.iter().enumerate() {
        let inner: Vec<Bounded> =
            gates[index].iter().zip(&ups[index]).map(|(&gate, &up)| exact::gated(gate, up)).collect();
        raise(&mut worst[0], exact::worst(&inner, &taps.inner));
        let expected = embedded[index].iter().zip(&downs[index]);
        let expected: Vec<Bounded> = expected.map(|(&x, &y)| exact::sum(Bounded::exact(x), y)).collect();
        raise(&mut worst[1], exact::worst(&expected, &taps.residual));
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
        compare_strategies(gpu, case, &case.feed_forward, &taps, "feed-forward", log)?;
    }
    Ok(())
}

/// The other strategies give the baseline's bits.
fn compare_strategies(
    gpu: &Arc<Gpu>,
    case: &Case,
    gguf: &Gguf,
    baseline: &[Taps],
    half: &str,
    log: &mut Log<'_>,
) -> Result<()> {
    for switches in strategies() {
        let mut decoder = Decoder::load(gpu, gguf, &Options { switches, ..case.options })?;
        let found = taps(&mut decoder)?;
        let same = |(a, b): (&Taps, &Taps)| {
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            bits(&a.residual) == bits(&b.residual)
                && bits(&a.logits) == bits(&b.logits)
                && (a.token, a.moved) == (b.token, b.moved)
        };
        let differing = baseline.iter().zip(&found).filter(|&pair| !same(pair)).count();
        log.holds(format!("{}: {half} under {switches}", case.name), differing == 0, || {
            format!("{differing} of {} tokens differ from the baseline's in some bit", baseline.len())
        });
    }
    Ok(())
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

/// The small model's side of a comparison.
struct Model<'a> {
    gguf: &'a Gguf,
    config: ModelConfig,
    float_activations: bool,
}

impl<'a> Model<'a> {
    fn new(gguf: &'a Gguf, options: &Options) -> Result<Self> {
        Ok(Self { gguf, config: ModelConfig::from_gguf(gguf)?, float_activations: options.float_activations })
    }

    fn tensor(&self, name: &str) -> Result<&TensorInfo> {
        self.gguf.tensor(name).ok_or_else(|| Error::Internal(format!("a small model without `{name}`")))
    }

    fn floats(tensor: &TensorInfo, bytes: &[u8]) -> Result<Vec<f32>> {
        dequantize(tensor.dtype, bytes).map_err(|e| Error::Internal(format!("tensor `{}`: {e}", tensor.name)))
    }

    /// A norm's weights or a bias; zeros where there is none.
    fn vector(&self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.tensor(name)?;
        Self::floats(tensor, self.gguf.data(tensor))
    }

    /// The embedding of each token that is checked.
    fn embedded(&self) -> Result<Vec<Vec<f32>>> {
        let tensor = self.tensor(names::TOKEN_EMBD)?;
        let row = |(token, _): (u32, u32)| {
            Self::floats(tensor, self.gguf.row_data(tensor, u64::from(token)..u64::from(token) + 1))
        };
        tokens().map(row).collect()
    }

    fn norm(&self, x: &[f32], part: &str) -> Result<Vec<Bounded>> {
        Ok(exact::norm(x, &self.vector(&names::block(0, part))?, self.config.rms_epsilon))
    }

    /// A matrix times vectors, plus its bias where it has one. Rows that are not compared are free.
    fn products(&self, name: &str, vectors: &[Vec<Bounded>]) -> Result<Vec<Vec<Bounded>>> {
        let tensor = self.tensor(&format!("{name}.weight"))?;
        let format =
            Format::of(tensor.dtype).ok_or_else(|| Error::Internal(format!("tensor `{name}` is {}", tensor.dtype)))?;
        let bias = match self.gguf.tensor(&format!("{name}.bias")) {
            Some(_) => self.vector(&format!("{name}.bias"))?,
            None => vec![0.0; tensor.rows() as usize],
        };
        let int8 = !self.float_activations && !format.is_float();
        let operands: Vec<_> = vectors.iter().map(|x| exact::operand(x, int8)).collect();
        let rows = tensor.rows() as usize;
        // An odd step meets every kind of row.
        let step = if rows <= ROWS { 1 } else { rows.div_ceil(ROWS) | 1 };
        let columns: Vec<Vec<Bounded>> = (0..rows)
            .into_par_iter()
            .map(|row| {
                if !row.is_multiple_of(step) {
                    return Ok(vec![Bounded { value: 0.0, error: f64::INFINITY }; operands.len()]);
                }
                let bytes = self.gguf.row_data(tensor, row as u64..row as u64 + 1);
                let (weights, parts) = (Self::floats(tensor, bytes)?, inputs::parts(format, bytes));
                Ok(operands.iter().map(|x| exact::dot(&weights, &parts, x, bias[row])).collect())
            })
            .collect::<Result<_>>()?;
        Ok((0..operands.len()).map(|token| columns.iter().map(|column| column[token]).collect()).collect())
    }
}
