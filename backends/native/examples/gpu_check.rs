//! Checks the native decoder on this machine's card, and times it: `gpu_check [--time] [--int8-cache] MODEL.gguf...`, where a model may
//! also be `synth:PRESET:QUANTIZATION`, made on the spot.
//!
//! For each model and each of the sixteen sets of switches: logits of the decoding passes against the CPU oracle, and
//! generated ids against the baseline's and against a second run. Prompts have a check of their own, `prompt_check`.

mod common;

use common::{materialize, take_flag, tokens_of};
use qa_kernels::KvCache;
use qa_model::Gguf;
use qa_native::{Decoder, Gpu, Options, Switches};
use qa_protocol::ScoreRow;
use qa_reference::compare::compare;
use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Tokens of text that logits are compared on, and the window that they are cut into.
const TEXT: usize = 1024;
const WINDOW: usize = 256;
/// Logits so close together, in nats, that another order of sums may choose either: int8 vectors amplify what it changes.
const NEAR_TIE: f32 = 0.5;
/// Likeliest tokens that a comparison looks at.
const TOP: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| take_flag(&mut arguments, name);
    let (time, float, quick, independent) = (flag("--time"), flag("--float"), flag("--quick"), flag("--independent"));
    let int8_cache = flag("--int8-cache");
    let gpu = Gpu::open()?;
    println!("{} {} {} cuda {:?}", gpu.name()?, gpu.uuid()?, gpu.architecture()?, gpu.cuda_version()?);
    let mut failures = 0;
    for model in &arguments {
        let path = materialize(model)?;
        let kv_cache = if int8_cache { KvCache::Q8_0 } else { KvCache::F16 };
        println!("== {model}, cache {kv_cache}{}", if float { ", float activations" } else { "" });
        failures += check(&gpu, &path, &Check { time, float, quick, independent, kv_cache })?;
    }
    if failures > 0 {
        return Err(format!("{failures} checks failed").into());
    }
    println!("all checks passed");
    Ok(())
}

#[allow(clippy::struct_excessive_bools)]
struct Check {
    time: bool,
    float: bool,
    quick: bool,
    independent: bool,
    kv_cache: KvCache,
}

fn check(gpu: &Arc<Gpu>, path: &Path, what: &Check) -> Result<u32, Box<dyn Error>> {
    let gguf = Arc::new(Gguf::open(path)?);
    let mut tokens = tokens_of(&gguf, TEXT)?;
    let large = gguf.file_len() > 200 << 20;
    if large {
        tokens.truncate(WINDOW / 4);
    }
    let window = WINDOW.min(tokens.len());
    let reference: Vec<ScoreRow> = {
        let start = Instant::now();
        let mut oracle = qa_reference::Decoder::load(Arc::clone(&gguf), &qa_reference::Options::default())?;
        let mut rows = Vec::new();
        let windows = qa_reference::Windows { context: window, first: 1 };
        oracle.score_windows(&tokens, windows, TOP, &mut |row| {
            rows.push(row);
            Ok::<_, qa_reference::Error>(())
        })?;
        println!("oracle: {} positions in {:.1} s", rows.len(), start.elapsed().as_secs_f64());
        rows
    };
    let prompt: Vec<u32> = tokens.iter().copied().take(32).collect();
    let mut failures = 0;
    let mut fail = |what: String| {
        println!("  FAILED {what}");
        failures += 1;
    };
    let mut first_ids: Option<Vec<u32>> = None;
    let mut first_bits: HashMap<(bool, bool), u64> = HashMap::new();
    let sets: Vec<Switches> = if what.quick {
        let of = |graph, persistent, megakernel| Switches { graph, persistent, megakernel, streams: false };
        vec![of(false, false, false), of(true, false, false), of(true, false, true), of(false, true, true)]
    } else {
        Switches::every().collect()
    };
    for switches in sets {
        let options = Options {
            switches,
            kv_cache: what.kv_cache,
            float_activations: what.float,
            dependent_launch: !what.independent,
            context: Some(gguf_context(&gguf).min(1024)),
            ..Options::default()
        };
        let start = Instant::now();
        let mut decoder = Decoder::load(gpu, &gguf, &options)?;
        let load = start.elapsed().as_secs_f64();
        let rows = scores(&mut decoder, &tokens, window)?;
        let found = compare(&reference, &rows.0)?;
        let generation = decoder.generate(&prompt, 129, true, &mut |_| ())?;
        let witness = decoder.recorder().take(generation.grid_syncs, generation.positions);
        let again = decoder.generate(&prompt, 129, true, &mut |_| ())?;
        println!(
            "{:<35} kl {:.2e} max {:.1e} flips>.05 {} >.5 {} dPPL {:+.3}% | load {load:.1} s launches {} replays {} syncs {} streams {} cached {}",
            switches.to_string(),
            found.mean_kl,
            found.max_kl,
            found.flips_above(0.05),
            found.flips_above(0.5),
            100.0 * found.ln_ppl_difference(),
            witness.launches.unwrap_or(0),
            witness.graph_replays.unwrap_or(0),
            generation.grid_syncs,
            witness.streams.unwrap_or(0),
            decoder.kernels().cached,
        );
        if found.mean_kl > 5e-3
            || found.flips_above(0.5) > 0
            || (reference.len() > 500 && found.ln_ppl_difference().abs() > 0.01)
        {
            fail(format!("{switches}: too far from the oracle"));
        }
        if generation.positions != 128 {
            fail(format!("{switches}: the device counted {} positions", generation.positions));
        }
        if generation.tokens != again.tokens {
            fail(format!("{switches}: two runs differ"));
        }
        let first = first_ids.get_or_insert_with(|| generation.tokens.clone());
        // Fused phases sum in another order: equal bits among themselves, and other ids than the baseline's only at a tie.
        if let Some((at, margin)) = margin_at_difference(&mut decoder, &prompt, first, &generation.tokens)? {
            println!("      ids differ from the baseline's at {at}, where the logits are {margin:.3} apart");
            if !switches.megakernel || margin > NEAR_TIE {
                fail(format!("{switches}: ids differ from the baseline's at {at}"));
            }
        }
        if *first_bits.entry(switches.order_of_sums()).or_insert(rows.1) != rows.1 {
            fail(format!("{switches}: logits differ in some bit from those of a set with the same order of sums"));
        }
        if what.time {
            timing(&mut decoder, &prompt)?;
        }
    }
    Ok(failures)
}

/// Where generated ids first differ from expected ones, and how far apart the logits of both are there.
fn margin_at_difference(
    decoder: &mut Decoder,
    prompt: &[u32],
    expected: &[u32],
    found: &[u32],
) -> Result<Option<(usize, f32)>, Box<dyn Error>> {
    let Some(at) = expected.iter().zip(found).position(|(a, b)| a != b) else { return Ok(None) };
    let sequence: Vec<u32> = prompt.iter().chain(&found[..at]).copied().collect();
    let mut margin = f32::INFINITY;
    decoder.logits(&sequence, &mut |row, logits| -> Result<(), Box<dyn Error>> {
        if row + 1 == sequence.len() {
            margin = (logits[expected[at] as usize] - logits[found[at] as usize]).abs();
        }
        Ok(())
    })?;
    Ok(Some((at, margin)))
}

fn gguf_context(gguf: &Gguf) -> usize {
    qa_model::ModelConfig::from_gguf(gguf).map_or(512, |config| config.context_length)
}

/// Rows of scores, and a digest of all logits.
fn scores(decoder: &mut Decoder, tokens: &[u32], window: usize) -> Result<(Vec<ScoreRow>, u64), Box<dyn Error>> {
    let mut rows = Vec::new();
    let mut all = 0_u64;
    for (index, part) in tokens.chunks_exact(window).enumerate() {
        decoder.logits(part, &mut |row, logits| -> Result<(), Box<dyn Error>> {
            all = all.rotate_left(5) ^ digest(logits);
            if row + 1 < window {
                let place = index * window + row + 1;
                rows.push(qa_reference::score_row(logits, part[row + 1], place, TOP)?);
            }
            Ok(())
        })?;
    }
    Ok((rows, all))
}

fn digest(logits: &[f32]) -> u64 {
    logits
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, logit| (hash ^ u64::from(logit.to_bits())).wrapping_mul(0x100_0000_01b3))
}

fn timing(decoder: &mut Decoder, prompt: &[u32]) -> Result<(), Box<dyn Error>> {
    let mut rates = Vec::new();
    let mut prefill = Vec::new();
    for _ in 0..7 {
        let generation = decoder.generate(prompt, 129, true, &mut |_| ())?;
        let decode = generation.seen[128] - generation.seen[0];
        rates.push(128.0 / decode.as_secs_f64());
        prefill.push((generation.seen[0] - generation.begun).as_secs_f64() * 1e3);
    }
    rates.sort_by(f64::total_cmp);
    prefill.sort_by(f64::total_cmp);
    println!(
        "      {:.0} tok/s ({:.1} us a token; {:.0} to {:.0}), first token {:.2} ms",
        rates[3],
        1e6 / rates[3],
        rates[0],
        rates[6],
        prefill[3]
    );
    Ok(())
}
