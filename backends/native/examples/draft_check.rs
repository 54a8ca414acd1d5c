//! Checks generation with drafts on this machine's card, and times it: `draft_check [--time] [--alone] [--int8-cache]
//! [--drafts=3,7] MODEL.gguf...`, where a model may also be `synth:PRESET:QUANTIZATION`, made on the spot.
//!
//! For each model and each kind of draft: ids against those of plain greedy decoding by the kernels of one operation, over
//! several prompts and lengths, and logits of verifying passes against the bits of decoding passes. Then, with `--time`, the
//! rate of each beside the plain rate of the best set of switches, over the same tokens of the same text: as many as come
//! before the text goes in circles; with `--alone` the plain rate is not taken.

mod common;

use common::{materialize, take_flag, tokens_of};
use qa_kernels::KvCache;
use qa_model::{Gguf, ModelConfig};
use qa_native::drafts::{Drafting, Source, cycles_from};
use qa_native::{Decoder, Generation, Gpu, Options, Switches};
use std::error::Error;
use std::sync::Arc;

/// Longest sequence.
const CONTEXT: usize = 1024;
/// Where prompts begin in the text, and how long they are: one token, around a piece of attention, and beyond it.
const PROMPTS: [(usize, usize); 6] = [(0, 1), (0, 32), (100, 64), (300, 200), (40, 255), (0, 500)];
/// Tokens generated, and runs that are timed.
const GENERATED: usize = 129;
const RUNS: usize = 5;
/// Tokens of text whose logits are compared.
const TEXT: usize = 300;
/// Drafts of a pass that are tried.
const DRAFTS: [usize; 4] = [1, 3, 7, 15];
/// The share of right drafts that is stated.
const ACCEPTANCE: f64 = 0.8;

struct What {
    drafts: Vec<usize>,
    int8_cache: bool,
    time: bool,
    alone: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| take_flag(&mut arguments, name);
    let mut what = What {
        time: flag("--time"),
        int8_cache: flag("--int8-cache"),
        alone: flag("--alone"),
        drafts: DRAFTS.to_vec(),
    };
    if let Some(at) = arguments.iter().position(|argument| argument.starts_with("--drafts=")) {
        let list = arguments.remove(at);
        let numbers = list.trim_start_matches("--drafts=").split(',').map(str::parse);
        what.drafts = numbers.collect::<Result<_, _>>()?;
    }
    let gpu = Gpu::open()?;
    println!("{} {} {} cuda {:?}", gpu.name()?, gpu.uuid()?, gpu.architecture()?, gpu.cuda_version()?);
    let mut failures = 0;
    for model in &arguments {
        println!("== {model}");
        let gguf = Gguf::open(&materialize(model)?)?;
        let kv_cache = if what.int8_cache { KvCache::Q8_0 } else { KvCache::F16 };
        failures += check(&gpu, &gguf, kv_cache, &what)?;
    }
    if failures > 0 {
        return Err(format!("{failures} checks failed").into());
    }
    println!("all checks passed");
    Ok(())
}

fn options(gguf: &Gguf, switches: Switches, kv_cache: KvCache) -> Result<Options, Box<dyn Error>> {
    let context = Some(ModelConfig::from_gguf(gguf)?.context_length.min(CONTEXT));
    Ok(Options { switches, kv_cache, context, ..Options::default() })
}

/// Prompts that leave room for what is generated.
fn prompts(gguf: &Gguf) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
    let tokens = tokens_of(gguf, CONTEXT)?;
    let room = ModelConfig::from_gguf(gguf)?.context_length.min(CONTEXT) - GENERATED;
    let fits = PROMPTS.iter().filter(|(begin, length)| begin + length <= tokens.len() && *length <= room);
    Ok(fits.map(|&(begin, length)| tokens[begin..begin + length].to_vec()).collect())
}

fn sources() -> [Source; 2] {
    [Source::PromptLookup, Source::Continuation { acceptance: ACCEPTANCE, seed: 1 }]
}

/// What plain decoding gives.
struct Plain {
    prompts: Vec<Vec<u32>>,
    /// Generated ids, prompt by prompt, by the kernels of one operation.
    ids: Vec<Vec<u32>>,
    /// Of the logits of [`TEXT`] tokens.
    bits: u64,
    /// Tokens before any cycle, and microseconds of a token by the best set of switches, prompt by prompt.
    times: Vec<(usize, Option<f64>)>,
}

impl Plain {
    fn new(gpu: &Arc<Gpu>, gguf: &Gguf, kv_cache: KvCache, what: &What) -> Result<Self, Box<dyn Error>> {
        let mut decoder = Decoder::load(gpu, gguf, &options(gguf, Switches::BEST_WITH_DRAFTS, kv_cache)?)?;
        let prompts = prompts(gguf)?;
        let ids: Vec<Vec<u32>> = prompts
            .iter()
            .map(|prompt| Ok(decoder.generate(prompt, GENERATED, true, &mut |_| ())?.tokens))
            .collect::<Result<_, qa_native::Error>>()?;
        let bits = bits(&mut decoder, &tokens_of(gguf, TEXT)?)?;
        let mut plain = Self { prompts, ids, bits, times: Vec::new() };
        let wanted = what.time && !what.alone;
        let best = wanted
            .then(|| Ok::<_, Box<dyn Error>>(Decoder::load(gpu, gguf, &options(gguf, Switches::BEST, kv_cache)?)?));
        let mut best = best.transpose()?;
        for (prompt, ids) in plain.prompts.iter().zip(&plain.ids) {
            let count = cycles_from(ids).unwrap_or(GENERATED).max(2);
            let us = best.as_mut().map(|best| median(best, prompt, count)).transpose()?.map(|(_, us)| us);
            plain.times.push((count, us));
            if let Some(us) = us {
                let (length, rate) = (prompt.len(), 1e6 / us);
                println!(
                    "plain, best: prompt of {length}, {count} tokens before any cycle: {us:.1} us, {rate:.0} tok/s"
                );
            }
        }
        Ok(plain)
    }
}

fn check(gpu: &Arc<Gpu>, gguf: &Gguf, kv_cache: KvCache, what: &What) -> Result<u32, Box<dyn Error>> {
    let plain = Plain::new(gpu, gguf, kv_cache, what)?;
    let mut failures = 0;
    for &tokens in &what.drafts {
        let drafting = Some(Drafting { tokens, source: Source::PromptLookup });
        let options = Options { drafting, ..options(gguf, Switches::BEST_WITH_DRAFTS, kv_cache)? };
        let mut decoder = Decoder::load(gpu, gguf, &options)?;
        let same = bits(&mut decoder, &tokens_of(gguf, TEXT)?)? == plain.bits;
        println!("cache {kv_cache}, {tokens} drafts: bits of logits {}", if same { "equal" } else { "DIFFER" });
        failures += u32::from(!same);
        for source in sources() {
            decoder.draft_from(source);
            let mut wrong = 0;
            for (prompt, ids) in plain.prompts.iter().zip(&plain.ids) {
                let found = decoder.generate(prompt, GENERATED, true, &mut |_| ())?;
                if let Some(at) = found.tokens.iter().zip(ids).position(|(a, b)| a != b) {
                    println!("  FAILED {source:?}: prompt of {}: id {at} differs", prompt.len());
                    wrong += 1;
                }
            }
            println!(
                "  {source:?}: ids of {} prompts {}",
                plain.prompts.len(),
                if wrong == 0 { "equal" } else { "DIFFER" }
            );
            failures += wrong;
            if what.time {
                timing(&mut decoder, &plain)?;
            }
        }
    }
    Ok(failures)
}

fn timing(decoder: &mut Decoder, plain: &Plain) -> Result<(), Box<dyn Error>> {
    let (mut before, mut with) = (0.0, 0.0);
    for (prompt, &(count, plain_us)) in plain.prompts.iter().zip(&plain.times) {
        let (generation, us) = median(decoder, prompt, count)?;
        let drafts = generation.drafts.unwrap_or_default();
        before += plain_us.unwrap_or_default() * count as f64;
        with += us * count as f64;
        let gain = plain_us.map_or_else(String::new, |plain| format!(", {:.2}x", plain / us));
        println!(
            "    prompt of {}, {count} tokens: {:.0} tok/s{gain}; {} passes of {:.1} us, {} drafted, {} accepted, {} rejected",
            prompt.len(),
            1e6 / us,
            drafts.passes,
            us * (count - 1) as f64 / drafts.passes as f64,
            drafts.drafted,
            drafts.accepted,
            drafts.rejected,
        );
    }
    if before > 0.0 {
        println!("    all prompts: {:.2}x", before / with);
    }
    Ok(())
}

/// A digest of the logits after each token of a text.
fn bits(decoder: &mut Decoder, text: &[u32]) -> Result<u64, Box<dyn Error>> {
    let mut all = 0_u64;
    decoder.logits(text, &mut |_, logits| -> Result<(), Box<dyn Error>> {
        all = logits
            .iter()
            .fold(all, |hash, logit| (hash.rotate_left(5) ^ u64::from(logit.to_bits())).wrapping_mul(0x100_0000_01b3));
        Ok(())
    })?;
    Ok(all)
}

/// A generation, and the median microseconds of a token after the first.
fn median(decoder: &mut Decoder, prompt: &[u32], count: usize) -> Result<(Generation, f64), Box<dyn Error>> {
    let mut run = || decoder.generate(prompt, count, true, &mut |_| ());
    let first = run()?;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let generation = run()?;
        if generation.tokens != first.tokens {
            return Err("two runs differ".into());
        }
        times.push((generation.seen[count - 1] - generation.seen[0]).as_secs_f64() * 1e6 / (count - 1) as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok((first, times[RUNS / 2]))
}
