//! Whole models on held-out text: logits of every depth against the CPU oracle's, every set of switches against the
//! baseline bit by bit, prompts against single passes, and the same text twice.

use super::{Log, Plan};
use crate::decoder::{Decoder, Options};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::kernels::prepare;
use crate::switches::Switches;
use qa_kernels::{Format, KvCache};
use qa_model::{Gguf, ModelConfig, Tokenizer, embedded};
use qa_protocol::ScoreRow;
use qa_reference::compare::{Comparison, compare};
use std::sync::Arc;

/// Likeliest tokens that a comparison looks at.
const TOP: usize = 256;
/// Files above this are compared with four sets of switches in place of sixteen: a pass takes as long as reading them.
const LARGE: u64 = 200 << 20;
/// Lengths of prompts: below, at and above a tile and a chunk.
const PROMPTS: [usize; 8] = [1, 2, 7, 8, 9, 33, 255, 300];
/// Tokens that are generated, and of the prompt before them.
const GENERATED: usize = 129;
const PROMPT: usize = 32;

/// What a file's logits may differ from the oracle's: mean divergence in nats, the margin in nats above which the likeliest
/// token is the oracle's, and the difference of the logarithms of the perplexities.
#[derive(Clone, Copy)]
struct Bar {
    kl: f64,
    margin: f64,
    ln_ppl: f64,
}

const FLOATS: Bar = Bar { kl: 1e-4, margin: 0.05, ln_ppl: 1e-2 };
const INT8: Bar = Bar { kl: 5e-3, margin: 0.5, ln_ppl: 1e-2 };

impl Bar {
    fn judge(self, log: &mut Log<'_>, subject: String, found: &Comparison) {
        let flips = found.flips_above(self.margin);
        let widest = found.flips.first().map_or(0.0, |flip| flip.margin);
        let worst = (found.mean_kl / self.kl).max(found.ln_ppl_difference().abs() / self.ln_ppl);
        log.ratio(
            subject,
            if flips > 0 { f64::INFINITY } else { worst },
            format!(
                "{} positions, mean KL {:.1e}, largest {:.1e}, ln PPL {:+.2e}, {} flips, the widest at {widest:.2} nats",
                found.positions,
                found.mean_kl,
                found.max_kl,
                found.ln_ppl_difference(),
                found.flips.len()
            ),
        );
    }
}

pub(super) fn check(gpu: &Arc<Gpu>, plan: &Plan, log: &mut Log<'_>) -> Result<()> {
    log.group("text");
    let embedded = embedded::TINY_CODER.gguf();
    model(gpu, plan, embedded, log)?;
    for path in &plan.models {
        model(gpu, plan, Gguf::open(path)?, log)?;
    }
    Ok(())
}

/// Sets of switches that between them launch every kernel of decoding.
fn few() -> Vec<Switches> {
    let megakernel = Switches { graph: true, megakernel: true, ..Switches::default() };
    vec![Switches::default(), megakernel, Switches { persistent: true, ..Switches::default() }, Switches::BEST]
}

fn model(gpu: &Arc<Gpu>, plan: &Plan, gguf: Gguf, log: &mut Log<'_>) -> Result<()> {
    let gguf = Arc::new(gguf);
    let name = gguf.path().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let config = ModelConfig::from_gguf(&gguf)?;
    let depth = plan.depth.min(config.context_length);
    let tokens = text(&gguf, depth)?;
    let large = gguf.file_len() > LARGE;
    let options = Options { context: Some(depth.max(PROMPT + GENERATED)), ..Options::default() };
    let sets = if large || plan.quick { few() } else { Switches::every().collect() };
    let matrices = gguf.tensors().iter().filter(|tensor| tensor.shape.len() > 1);
    let floats = matrices.filter_map(|tensor| Format::of(tensor.dtype)).all(Format::is_float);

    let int8_cache = Options { kv_cache: KvCache::Q8_0, ..options };
    let float_activations = Options { float_activations: true, ..options };
    let mut needed: Vec<_> = sets.iter().map(|&switches| (&*gguf, Options { switches, ..options })).collect();
    if !large {
        needed.extend(few().into_iter().map(|switches| (&*gguf, Options { switches, ..int8_cache })));
        needed.push((&*gguf, float_activations));
    }
    prepare(gpu, &needed)?;
    log.ratio(format!("{name}: kernels compile"), 0.0, "");

    let reference = oracle(&gguf, &tokens)?;
    log.ratio(format!("{name}: the oracle's logits"), 0.0, format!("{} positions", reference.len()));
    let bar = if floats { FLOATS } else { INT8 };
    let baseline = Scored::of(&mut Decoder::load(gpu, &gguf, &options)?, &tokens, true)?;
    bar.judge(log, format!("{name}: baseline"), &baseline.against(&reference)?);

    let mut first = None;
    for &switches in &sets {
        let mut decoder = Decoder::load(gpu, &gguf, &Options { switches, ..options })?;
        let found = Scored::of(&mut decoder, &tokens, false)?;
        log.holds(format!("{name}: {switches}, every depth"), found.digests == baseline.digests, || {
            baseline.difference(&found)
        });
        let mut ids =
            || decoder.generate(&tokens[..PROMPT], GENERATED, true, &mut |_| ()).map(|g| (g.tokens, g.positions));
        let (once, again) = (ids()?, ids()?);
        let expected = first.get_or_insert_with(|| once.0.clone());
        let right = once.0 == *expected && again == once && once.1 == GENERATED as u64 - 1;
        log.holds(format!("{name}: {switches}, ids of two runs"), right, || {
            let same = expected.iter().zip(&once.0).take_while(|(a, b)| a == b).count();
            let equal = if again == once { "equal" } else { "differing" };
            format!("{equal} runs of {} passes; ids leave the baseline's at {same}", once.1)
        });
    }
    prompts(gpu, &gguf, &name, &options, bar, &tokens, log)?;
    if large {
        return Ok(());
    }
    if !floats {
        let found = Scored::of(&mut Decoder::load(gpu, &gguf, &float_activations)?, &tokens, true)?;
        FLOATS.judge(log, format!("{name}: float activations"), &found.against(&reference)?);
    }
    let mut int8 = None;
    for switches in few() {
        let found = Scored::of(&mut Decoder::load(gpu, &gguf, &Options { switches, ..int8_cache })?, &tokens, true)?;
        if let Some(first) = &int8 {
            let first: &Scored = first;
            log.holds(format!("{name}: Q8_0 cache, {switches}, every depth"), found.digests == first.digests, || {
                first.difference(&found)
            });
        } else {
            INT8.judge(log, format!("{name}: Q8_0 cache"), &found.against(&reference)?);
            int8 = Some(found);
        }
    }
    Ok(())
}

/// Logits after prompts of several lengths, against those of the passes that decode.
fn prompts(
    gpu: &Arc<Gpu>,
    gguf: &Gguf,
    name: &str,
    options: &Options,
    bar: Bar,
    tokens: &[u32],
    log: &mut Log<'_>,
) -> Result<()> {
    let mut decoder = Decoder::load(gpu, gguf, options)?;
    let lengths: Vec<usize> = PROMPTS.into_iter().filter(|&length| length < tokens.len()).collect();
    let longest = lengths.last().copied().unwrap_or(1);
    let (mut single, mut together, mut equal) = (Vec::new(), Vec::new(), 0);
    let mut rows: Vec<Vec<f32>> = Vec::new();
    decoder.logits(&tokens[..longest], &mut |_, logits| {
        rows.push(logits.to_vec());
        Ok::<_, Error>(())
    })?;
    for &length in &lengths {
        let logits = decoder.prompt_logits(&tokens[..length])?;
        let decoded = &rows[length - 1];
        equal += usize::from(digest(&logits) == digest(decoded));
        let row = |logits: &[f32]| scored(logits, tokens[length], length);
        single.push(row(decoded)?);
        together.push(row(&logits)?);
    }
    let found = compare(&single, &together).map_err(|e| Error::Internal(e.to_string()))?;
    bar.judge(log, format!("{name}: prompts, {equal} of {} with the very bits", lengths.len()), &found);
    Ok(())
}

/// Held-out text as ids, over again where it is shorter than asked.
fn text(gguf: &Gguf, length: usize) -> Result<Vec<u32>> {
    let text = String::from_utf8_lossy(embedded::HELDOUT_PYTHON.bytes);
    let tokenizer = Tokenizer::from_gguf(gguf).map_err(|e| Error::Unsupported(e.to_string()))?;
    Ok(tokenizer.encode(&text).into_iter().cycle().take(length).collect())
}

fn oracle(gguf: &Arc<Gguf>, tokens: &[u32]) -> Result<Vec<ScoreRow>> {
    let said = |e: qa_reference::Error| Error::Internal(format!("the oracle: {e}"));
    let mut oracle = qa_reference::Decoder::load(Arc::clone(gguf), &qa_reference::Options::default()).map_err(said)?;
    oracle.score(tokens, TOP).map_err(said)
}

fn scored(logits: &[f32], next: u32, place: usize) -> Result<ScoreRow> {
    qa_reference::score_row(logits, next, place, TOP).map_err(|e| Error::Internal(e.to_string()))
}

/// What a decoder thinks of a text.
struct Scored {
    rows: Vec<ScoreRow>,
    digests: Vec<u64>,
}

impl Scored {
    /// Logits at every depth as digests, and with `rows` as scores too.
    fn of(decoder: &mut Decoder, tokens: &[u32], rows: bool) -> Result<Self> {
        let mut scores = Self { rows: Vec::new(), digests: Vec::new() };
        decoder.logits(tokens, &mut |row, logits| {
            scores.digests.push(digest(logits));
            if let Some(&next) = tokens.get(row + 1).filter(|_| rows) {
                scores.rows.push(scored(logits, next, row + 1)?);
            }
            Ok::<_, Error>(())
        })?;
        Ok(scores)
    }

    fn against(&self, reference: &[ScoreRow]) -> Result<Comparison> {
        compare(reference, &self.rows).map_err(|e| Error::Internal(e.to_string()))
    }

    fn difference(&self, other: &Self) -> String {
        let differing = self.digests.iter().zip(&other.digests).filter(|(a, b)| a != b).count();
        let first = self.digests.iter().zip(&other.digests).take_while(|(a, b)| a == b).count();
        format!("{differing} of {} depths differ from the baseline's, the first is {first}", self.digests.len())
    }
}

/// A number that changes with any bit of any logit (FNV-1a over words).
fn digest(logits: &[f32]) -> u64 {
    logits
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, logit| (hash ^ u64::from(logit.to_bits())).wrapping_mul(0x100_0000_01b3))
}
