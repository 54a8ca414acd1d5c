//! Checks the device's random choice of tokens on this machine's card: `draw_check [MODEL.gguf...]`, the model inside
//! the program where none is named.
//!
//! The kernel alone, on logits made to be awkward, against the CPU's function; then whole generations with each of the sixteen
//! sets of switches and either kind of cache: every token must be the one that the CPU draws from the logits which the same
//! device computes for the same text, and a second run must repeat it.

use qa_kernels::KvCache;
use qa_model::{Gguf, Tokenizer, embedded};
use qa_native::{Decoder, Gpu, Options, Switches};
use qa_protocol::Sampling;
use qa_reference::sampling::{Sampler, philox};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const PROMPT: usize = 32;
const GENERATED: usize = 48;

fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Gpu::open()?;
    let mut failures = 0;
    let mut models: Vec<Gguf> =
        std::env::args().skip(1).map(|model| Gguf::open(Path::new(&model))).collect::<Result<_, _>>()?;
    if models.is_empty() {
        models.push(embedded::TINY_CODER.gguf());
    }
    for gguf in models {
        println!("== {}", gguf.path().display());
        failures += kernel(&gpu, &gguf)?;
        for kv_cache in KvCache::ALL {
            for switches in Switches::every() {
                failures += generations(&gpu, &gguf, kv_cache, switches)?;
            }
        }
    }
    if failures > 0 {
        return Err(format!("{failures} checks failed").into());
    }
    println!("all checks passed");
    Ok(())
}

fn samplers() -> Result<Vec<Sampler>, Box<dyn Error>> {
    let settings = [(1.0, 0, 1.0), (0.8, 40, 0.95), (1.5, 0, 0.9), (0.1, 0, 0.5), (30.0, 1000, 0.7), (1.0, 1, 1.0)];
    settings
        .into_iter()
        .map(|(temperature, top_k, top_p)| {
            let sampling = Sampling::Random { temperature, top_k, top_p, seed: 0x1234_5678_9abc_def0 };
            Ok(Sampler::of(sampling)?.ok_or("greedy")?)
        })
        .collect()
}

fn options(switches: Switches, kv_cache: KvCache) -> Options {
    Options { switches, kv_cache, context: Some(256), ..Options::default() }
}

fn kernel(gpu: &Arc<Gpu>, gguf: &Gguf) -> Result<u32, Box<dyn Error>> {
    let mut decoder = Decoder::load(gpu, gguf, &options(Switches::default(), KvCache::F16))?;
    let vocab = decoder.config().vocab;
    let (mut failures, mut draws, mut time) = (0, 0_u32, 0.0);
    for sampler in samplers()? {
        decoder.set_sampler(Some(sampler))?;
        for (name, logits) in awkward(vocab) {
            for position in [1, 2, 3, 1000, 70_000] {
                let start = Instant::now();
                let found = decoder.draw(&logits, position)?;
                time += start.elapsed().as_secs_f64();
                draws += 1;
                let expected = sampler.draw(&logits, position);
                if found != expected {
                    println!("  FAILED {name}, {sampler:?}, position {position}: {found:?} for {expected:?}");
                    failures += 1;
                }
            }
        }
    }
    println!("{draws} draws from given logits, {:.0} us each with the copies", 1e6 * time / f64::from(draws));
    Ok(failures)
}

/// Logits with ties, crowds, gaps and values that are no numbers.
fn awkward(vocab: usize) -> Vec<(&'static str, Vec<f32>)> {
    let uniform = |i: usize| philox([i as u32, 1, 2, 3], [4, 5])[0] as f32 / u32::MAX as f32;
    let normal = |i: usize| (0..12).map(|k| uniform(12 * i + k)).sum::<f32>() - 6.0;
    let of = |f: &dyn Fn(usize) -> f32| (0..vocab).map(f).collect::<Vec<f32>>();
    vec![
        ("normal", of(&|i| 3.0 * normal(i))),
        ("flat", of(&|_| 1.25)),
        ("zeros of either sign", of(&|i| if i % 3 == 0 { -0.0 } else { 0.0 })),
        ("neighbours", of(&|i| f32::from_bits(1.0_f32.to_bits() + (uniform(i) * 50.0) as u32))),
        ("steps", of(&|i| (uniform(i) * 8.0).floor())),
        ("crowd below one", of(&|i| if i == vocab - 1 { 9.0 } else { 1.0 + 1e-5 * uniform(i) })),
        ("one finite", of(&|i| if i == vocab / 2 { -3.0 } else { f32::NEG_INFINITY })),
        ("huge", of(&|i| 1e30 * normal(i))),
        ("tiny", of(&|i| 1e-40 * normal(i))),
        ("negative", of(&|i| -1000.0 - 5.0 * uniform(i))),
        ("none a number", of(&|i| if i == 7 { f32::NAN } else { 1.0 })),
        ("infinite", of(&|i| if i == 7 { f32::INFINITY } else { 1.0 })),
        ("none finite", of(&|_| f32::NEG_INFINITY)),
    ]
}

fn generations(gpu: &Arc<Gpu>, gguf: &Gguf, kv_cache: KvCache, switches: Switches) -> Result<u32, Box<dyn Error>> {
    let mut decoder = Decoder::load(gpu, gguf, &options(switches, kv_cache))?;
    let mut prompt = Tokenizer::from_gguf(gguf)?.encode(&String::from_utf8_lossy(embedded::HELDOUT_PYTHON.bytes));
    prompt.truncate(PROMPT);
    let mut failures = 0;
    let mut rates = Vec::new();
    for sampler in samplers()? {
        decoder.set_sampler(Some(sampler))?;
        let generation = decoder.generate(&prompt, GENERATED, true, &mut |_| ())?;
        let again = decoder.generate(&prompt, GENERATED, true, &mut |_| ())?;
        let decode = again.seen[GENERATED - 1] - again.seen[0];
        rates.push((GENERATED - 1) as f64 / decode.as_secs_f64());
        if generation.tokens != again.tokens {
            println!("  FAILED {switches}, cache {kv_cache}, {sampler:?}: two runs differ");
            failures += 1;
        }
        let mut expected = Vec::new();
        let following = &generation.tokens[..GENERATED - 1];
        decoder.logits_after(&prompt, following, &mut |row, logits| -> Result<(), Box<dyn Error>> {
            expected.push(sampler.draw(logits, (PROMPT + row) as u32).ok_or("nothing to draw")?);
            Ok(())
        })?;
        if generation.tokens != expected {
            let at = expected.iter().zip(&generation.tokens).take_while(|(a, b)| a == b).count();
            println!("  FAILED {switches}, cache {kv_cache}, {sampler:?}: not what the CPU draws, from token {at} on");
            failures += 1;
        }
    }
    let witness = decoder.recorder().take(0, 0);
    let drawing: Vec<&String> = witness.kernels.keys().filter(|name| name.ends_with("_sampled")).collect();
    println!("{:<35} cache {kv_cache:<5} {:.0} tok/s drawn by {drawing:?}", switches.to_string(), rates[0]);
    Ok(failures)
}
