//! Checks how the native decoder evaluates prompts on this machine's card, and times it:
//! `prompt_check [--time] [--float] [--int8-cache] [--warp] [--no-oracle] [--only LENGTH] MODEL...`, where a model may also be
//! `synth:PRESET:QUANTIZATION`, made on the spot.
//!
//! Prompts are computed by other sums than decoding passes, with f16 factors in place of int8 ones, so bits differ. What is
//! asked instead: for many lengths the logits after a prompt are as close to the CPU oracle's as float formats must be, and
//! those of quantised formats, whose head still multiplies an int8 vector, five times closer than decoding must be; keys
//! and values are those of decoding passes within the rounding of int8 vectors; and pieces of a prompt, a cache full of
//! garbage and a second run change nothing.

mod common;

use common::{materialize, take_flag, tokens_of};
use qa_kernels::KvCache;
use qa_kernels::prompt::TensorCores;
use qa_model::{Gguf, ModelConfig};
use qa_native::{Decoder, Gpu, Options};
use qa_protocol::ScoreRow;
use qa_reference::compare::compare;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

/// Prompts that are compared with the oracle: around every border of tiles, warps and groups.
const LENGTHS: [usize; 23] =
    [1, 2, 3, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 95, 96, 97, 127, 128, 129, 191, 200, 255, 256];
/// Prompts that are timed.
const TIMED: [usize; 5] = [32, 64, 128, 512, 2048];
/// Likeliest tokens that a comparison looks at.
const TOP: usize = 256;

/// What must hold; see `main`'s documentation.
struct Bars {
    mean_kl: f64,
    flip_margin: f64,
    /// Largest relative difference of a layer's keys or values from those of decoding passes.
    cache: f64,
    /// Largest divergence of a long prompt's logits from those of decoding passes.
    decode_kl: f64,
}

struct What {
    time: bool,
    oracle: bool,
    options: Options,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| take_flag(&mut arguments, name);
    let what = What {
        time: flag("--time"),
        oracle: !flag("--no-oracle"),
        options: Options {
            float_activations: flag("--float"),
            kv_cache: if flag("--int8-cache") { KvCache::Q8_0 } else { KvCache::F16 },
            tensor_cores: flag("--warp").then_some(TensorCores::Warp),
            ..Options::default()
        },
    };
    let only = arguments.iter().position(|argument| argument == "--only").map(|at| {
        arguments.remove(at);
        arguments.remove(at)
    });
    let gpu = Gpu::open()?;
    println!("{} {} cuda {:?}, {:?}", gpu.name()?, gpu.architecture()?, gpu.cuda_version()?, what.options);
    let mut failures = 0;
    for model in &arguments {
        println!("== {model}");
        if let Some(length) = &only {
            evaluate(&gpu, model, length.parse()?, &what)?;
            continue;
        }
        failures += check(&gpu, model, &what)?;
    }
    if failures > 0 {
        return Err(format!("{failures} checks failed").into());
    }
    println!("all checks passed");
    Ok(())
}

/// One prompt, twice, for a profiler to look at.
fn evaluate(gpu: &Arc<Gpu>, model: &str, length: usize, what: &What) -> Result<(), Box<dyn Error>> {
    let gguf = Gguf::open(&materialize(model)?)?;
    let mut decoder = Decoder::load(gpu, &gguf, &what.options)?;
    let prompt: Vec<u32> = tokens_of(&gguf, length)?.into_iter().cycle().take(length).collect();
    for _ in 0..2 {
        decoder.generate(&prompt, 1, true, &mut |_| ())?;
    }
    Ok(())
}

fn check(gpu: &Arc<Gpu>, model: &str, what: &What) -> Result<u32, Box<dyn Error>> {
    let gguf = Arc::new(Gguf::open(&materialize(model)?)?);
    let limit = ModelConfig::from_gguf(&gguf)?.context_length;
    let longest = if what.time { limit.min(TIMED[TIMED.len() - 1] + 1) } else { limit.min(600) };
    let text = tokens_of(&gguf, longest)?;
    let tokens: Vec<u32> = text.iter().copied().cycle().take(longest).collect();
    let int8 = !what.options.float_activations && !model.contains("f16") && !model.contains("f32");
    let exact_cache = what.options.kv_cache == KvCache::F16;
    let bars = Bars {
        mean_kl: if int8 || !exact_cache { 1e-3 } else { 1e-4 },
        flip_margin: if int8 || !exact_cache { 0.5 } else { 0.05 },
        cache: if int8 { 0.05 } else { 5e-3 } + if exact_cache { 0.0 } else { 0.02 },
        decode_kl: if int8 || !exact_cache { 2e-2 } else { 1e-3 },
    };
    let options = Options { context: Some(longest.max(2)), ..what.options };
    let start = Instant::now();
    let mut decoder = Decoder::load(gpu, &gguf, &options)?;
    println!(
        "loaded in {:.1} s, {} MiB on the device, {} kernels cached",
        start.elapsed().as_secs_f64(),
        decoder.device_bytes() >> 20,
        decoder.kernels().cached
    );
    for (name, facts) in decoder.kernels().facts.iter().filter(|(name, _)| name.starts_with("prompt")) {
        println!("  {name}: {} registers, {} bytes spilled", facts.registers, facts.spill_bytes);
    }
    let mut failures = 0;
    let mut fail = |what: String| {
        println!("  FAILED {what}");
        failures += 1;
    };
    let window = if gguf.file_len() > 200 << 20 { 65 } else { 257 }.min(longest);
    let lengths: Vec<usize> = LENGTHS.into_iter().filter(|&length| length < window).collect();
    if what.oracle {
        let reference = oracle(&gguf, &tokens[..window])?;
        let found = against(&mut decoder, &reference, &tokens, &lengths)?;
        println!(
            "oracle: {} prompts, mean KL {:.2e}, max {:.2e} at {}, flips above 0.05 {}, above 0.5 {}",
            found.positions,
            found.mean_kl,
            found.max_kl,
            found.max_kl_index,
            found.flips_above(0.05),
            found.flips_above(0.5)
        );
        if found.mean_kl > bars.mean_kl || found.flips_above(bars.flip_margin) > 0 {
            fail(format!("a mean KL of at most {:.0e} and no flips above {} nats", bars.mean_kl, bars.flip_margin));
        }
    }
    cache_and_pieces(&mut decoder, &tokens[..longest.min(600)], &bars, &mut fail)?;
    if what.time {
        for length in TIMED.into_iter().filter(|&length| length < longest) {
            timing(&mut decoder, &tokens[..length], &bars, &mut fail)?;
        }
    }
    Ok(failures)
}

/// Rows of the oracle for every token of a window but the first.
fn oracle(gguf: &Arc<Gguf>, window: &[u32]) -> Result<Vec<ScoreRow>, Box<dyn Error>> {
    let mut oracle = qa_reference::Decoder::load(Arc::clone(gguf), &qa_reference::Options::default())?;
    let mut rows = Vec::new();
    let windows = qa_reference::Windows { context: window.len(), first: 1 };
    oracle.score_windows(window, windows, TOP, &mut |row| {
        rows.push(row);
        Ok::<_, qa_reference::Error>(())
    })?;
    Ok(rows)
}

/// Prompts of several lengths against the oracle's rows.
fn against(
    decoder: &mut Decoder,
    reference: &[ScoreRow],
    tokens: &[u32],
    lengths: &[usize],
) -> Result<qa_reference::compare::Comparison, Box<dyn Error>> {
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    for &length in lengths {
        decoder.fill_cache(0xff)?;
        let logits = decoder.prompt_logits(&tokens[..length])?;
        found.push(qa_reference::score_row(&logits, tokens[length], length, TOP)?);
        expected.extend(reference.iter().find(|row| row.index as usize == length).cloned());
    }
    Ok(compare(&expected, &found)?)
}

/// Keys and values against those of decoding passes; passes of other lengths, and a second run, against the first.
fn cache_and_pieces(
    decoder: &mut Decoder,
    tokens: &[u32],
    bars: &Bars,
    fail: &mut dyn FnMut(String),
) -> Result<(), Box<dyn Error>> {
    let count = tokens.len() - 1;
    let prompt = &tokens[..count];
    let decoded = last_logits(decoder, prompt)?;
    let layers = decoder.config().layers;
    let caches = |decoder: &Decoder| -> Result<Vec<[Vec<f32>; 2]>, qa_native::Error> {
        (0..layers).map(|layer| decoder.keys_and_values(layer, count)).collect()
    };
    let expected = caches(decoder)?;
    decoder.fill_cache(0xff)?;
    let whole = decoder.prompt_logits(prompt);
    let distances: Vec<[f64; 2]> =
        expected.iter().zip(caches(decoder)?).map(|(a, b)| [distance(&a[0], &b[0]), distance(&a[1], &b[1])]).collect();
    // What is no number is the worst of all.
    let worst = distances.iter().flatten().fold(0.0, |worst, &d| if d <= worst { worst } else { d });
    println!(
        "prompt of {count}: cache differs from decoding's by {worst:.2e}, by layer {:.4?}",
        &distances[..layers.min(3)]
    );
    let whole = whole?;
    let kl = divergence(&decoded, &whole);
    println!("  logits' KL to decoding's {kl:.2e}");
    if !within(worst, bars.cache) || !within(kl, bars.decode_kl) {
        fail(format!("a cache within {} and a KL within {}", bars.cache, bars.decode_kl));
    }
    if decoder.prompt_logits(prompt)? != whole {
        fail("a second run differs".into());
    }
    for most in [count, 64, 100, 7] {
        decoder.limit_prompt_passes(most);
        decoder.fill_cache(0xff)?;
        let logits = decoder.prompt_logits(prompt)?;
        let kl = divergence(&whole, &logits);
        println!("  in passes of {most}: KL {kl:.2e}");
        if !within(kl, bars.mean_kl) {
            fail(format!("passes of {most} tokens differ"));
        }
    }
    decoder.limit_prompt_passes(usize::MAX);
    Ok(())
}

/// Logits after the last of some tokens, by decoding passes.
fn last_logits(decoder: &mut Decoder, tokens: &[u32]) -> Result<Vec<f32>, Box<dyn Error>> {
    let mut last = Vec::new();
    decoder.logits(tokens, &mut |row, logits| -> Result<(), Box<dyn Error>> {
        if row + 1 == tokens.len() {
            last = logits.to_vec();
        }
        Ok(())
    })?;
    Ok(last)
}

/// Whether a figure is a number and no larger than a bar.
fn within(figure: f64, bar: f64) -> bool {
    figure <= bar
}

/// Norm of the difference over the norm of `a`.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    difference / norm(&mut a.iter().map(|&a| f64::from(a)))
}

/// Kullback-Leibler divergence of softmax(b) from softmax(a), in nats.
fn divergence(a: &[f32], b: &[f32]) -> f64 {
    let log_softmax = |logits: &[f32]| -> Vec<f64> {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|&x| f64::from(x - max).exp()).sum();
        logits.iter().map(|&x| f64::from(x - max) - sum.ln()).collect()
    };
    log_softmax(a).iter().zip(log_softmax(b)).map(|(a, b)| a.exp() * (a - b)).sum()
}

/// Time to the first token, of output that was just compared with decoding passes'.
fn timing(
    decoder: &mut Decoder,
    prompt: &[u32],
    bars: &Bars,
    fail: &mut dyn FnMut(String),
) -> Result<(), Box<dyn Error>> {
    let decoded = last_logits(decoder, prompt)?;
    let kl = divergence(&decoded, &decoder.prompt_logits(prompt)?);
    if !within(kl, bars.decode_kl) {
        fail(format!("the prompt of {} differs from decoding passes by {kl:.2e}", prompt.len()));
    }
    let mut times = Vec::new();
    for _ in 0..15 {
        let generation = decoder.generate(prompt, 1, true, &mut |_| ())?;
        times.push((generation.seen[0] - generation.begun).as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    println!(
        "  {} tokens: {:.3} ms to the first token ({:.3} to {:.3}), {:.0} tok/s; KL to decoding {kl:.2e}",
        prompt.len(),
        times[7] * 1e3,
        times[0] * 1e3,
        times[14] * 1e3,
        prompt.len() as f64 / times[7]
    );
    Ok(())
}
