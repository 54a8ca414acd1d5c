//! Whole models on held-out text: logits of every depth against the CPU oracle's, sets of switches with one order of sums
//! against each other bit by bit, prompts against single passes, and the same text twice.

use super::{Log, Plan};
use crate::decoder::{Decoder, Options};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::kernels::prepare;
use crate::switches::Switches;
use qa_kernels::{Format, KvCache, Older};
use qa_model::{Gguf, ModelConfig, Tokenizer, embedded};
use qa_protocol::ScoreRow;
use qa_reference::compare::{Comparison, compare};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

/// Likeliest tokens that a comparison looks at.
const TOP: usize = 256;
/// Files above this are compared at some depths and with four sets of switches in place of sixteen.
const LARGE: u64 = 200 << 20;
/// Of large files the logits at the ends of texts of these lengths are compared with the oracle's, and of the longest text:
/// beyond where the division of attention into pieces changes.
const ENDS: [usize; 4] = [34, 130, 258, 1026];
/// Positions at each end.
const END: usize = 32;
/// Positions of which a perplexity is judged. An int8 vector moves a logit by 0.03 nats, and the same token's again and again: the
/// mean over a hundred positions of a large file's made-up weights leaves 1 % by that alone.
const ENOUGH: usize = 500;
/// Lengths of prompts: below, at and above a tile and a chunk.
const PROMPTS: [usize; 8] = [1, 2, 7, 8, 9, 33, 255, 300];
/// Tokens that are generated, and of the prompt before them.
const GENERATED: usize = 129;
const PROMPT: usize = 32;

/// What a file's logits may differ from the oracle's: mean divergence in nats, the margin in nats above which the likeliest
/// token is the oracle's, and the difference of the logarithms of the perplexities.
#[derive(Clone, Copy, PartialEq)]
struct Bar {
    kl: f64,
    margin: f64,
    ln_ppl: f64,
}

const FLOATS: Bar = Bar { kl: 1e-4, margin: 0.05, ln_ppl: 1e-2 };
const INT8: Bar = Bar { kl: 5e-3, margin: 0.5, ln_ppl: 1e-2 };

impl Bar {
    fn judge(mut self, log: &mut Log<'_>, subject: String, found: &Comparison) {
        // Of few positions the perplexity says nothing.
        if found.positions < ENOUGH {
            self.ln_ppl = f64::INFINITY;
        }
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
    let cases = if plan.models.is_empty() {
        vec![Case::of(embedded::TINY_CODER.gguf(), plan)?]
    } else {
        plan.models.iter().map(|path| Case::of(Gguf::open(path)?, plan)).collect::<Result<_>>()?
    };
    let needed: Vec<_> = cases.iter().flat_map(Case::needed).collect();
    prepare(gpu, &needed)?;
    log.ratio("kernels compile", 0.0, format!("{} models", cases.len()));
    cases.iter().try_for_each(|case| case.check(gpu, log))
}

/// A file, and how it is decoded.
struct Case {
    gguf: Arc<Gguf>,
    name: String,
    tokens: Vec<u32>,
    options: Options,
    sets: Vec<Switches>,
    bar: Bar,
    large: bool,
}

/// Sets of switches that between them launch every kernel of decoding.
fn few() -> Vec<Switches> {
    let megakernel = Switches { graph: true, megakernel: true, ..Switches::default() };
    vec![Switches::default(), megakernel, Switches { persistent: true, ..Switches::default() }, Switches::BEST]
}

impl Case {
    fn of(gguf: Gguf, plan: &Plan) -> Result<Self> {
        let config = ModelConfig::from_gguf(&gguf)?;
        let depth = plan.depth.min(config.context_length);
        let large = gguf.file_len() > LARGE;
        let matrices = gguf.tensors().iter().filter(|tensor| tensor.shape.len() > 1);
        let floats = matrices.filter_map(|tensor| Format::of(tensor.dtype)).all(Format::is_float);
        Ok(Self {
            name: gguf.path().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            tokens: text(&gguf, depth)?,
            options: Options { context: Some(depth.max(PROMPT + GENERATED)), ..Options::default() },
            sets: if large || plan.quick { few() } else { Switches::every().collect() },
            bar: if floats { FLOATS } else { INT8 },
            large,
            gguf: Arc::new(gguf),
        })
    }

    fn int8_cache(&self, switches: Switches) -> Options {
        Options { switches, kv_cache: KvCache::Q8_0, ..self.options }
    }

    fn float_activations(&self, switches: Switches) -> Options {
        Options { switches, float_activations: true, ..self.options }
    }

    /// What a card of the generation before bulk copies and clusters runs.
    fn older_ways(&self, switches: Switches) -> Options {
        Options { switches, architecture: Some(Older::Sm89), ..self.options }
    }

    /// Everything that is loaded.
    fn needed(&self) -> Vec<(&Gguf, Options)> {
        let mut options: Vec<_> = self.sets.iter().map(|&switches| Options { switches, ..self.options }).collect();
        options.extend(few().into_iter().map(|switches| self.older_ways(switches)));
        if !self.large {
            options.extend(few().into_iter().map(|switches| self.int8_cache(switches)));
            options.extend(few().into_iter().map(|switches| self.float_activations(switches)));
        }
        options.into_iter().map(|options| (&*self.gguf, options)).collect()
    }

    fn load(&self, gpu: &Arc<Gpu>, options: &Options) -> Result<Decoder> {
        Decoder::load(gpu, &self.gguf, options)
    }

    /// Which tokens' predictions are compared with the oracle's.
    fn compared(&self) -> Vec<Range<usize>> {
        let depth = self.tokens.len();
        let (ends, each) = if self.large { (&ENDS[..], END) } else { (&[][..], depth) };
        let ends = ends.iter().copied().filter(|&end| end + END <= depth).chain([depth]);
        ends.map(|end| end.saturating_sub(each).max(1)..end).collect()
    }

    fn oracle(&self) -> Result<Vec<ScoreRow>> {
        let said = |e: qa_reference::Error| Error::Internal(format!("the oracle: {e}"));
        let options = qa_reference::Options::default();
        let mut oracle = qa_reference::Decoder::load(Arc::clone(&self.gguf), &options).map_err(said)?;
        let mut rows = Vec::new();
        for range in self.compared() {
            let windows = qa_reference::Windows { context: range.end, first: range.start };
            let mut keep = |row| {
                rows.push(row);
                Ok(())
            };
            oracle.score_windows(&self.tokens[..range.end], windows, TOP, &mut keep).map_err(said)?;
        }
        Ok(rows)
    }

    fn scored(&self, gpu: &Arc<Gpu>, options: &Options) -> Result<Scored> {
        Scored::of(&mut self.load(gpu, options)?, &self.tokens, &self.compared())
    }

    fn check(&self, gpu: &Arc<Gpu>, log: &mut Log<'_>) -> Result<()> {
        let Self { name, tokens, options, .. } = self;
        let reference = self.oracle()?;
        log.ratio(format!("{name}: the oracle's logits"), 0.0, format!("{} positions", reference.len()));
        let baseline = self.scored(gpu, options)?;
        self.bar.judge(log, format!("{name}: baseline"), &baseline.against(&reference)?);
        // What sets with one order of sums must give: logits and ids.
        let mut expected = HashMap::from([(Switches::default().order_of_sums(), baseline)]);
        let mut first = HashMap::new();
        for &switches in &self.sets {
            let mut decoder = self.load(gpu, &Options { switches, ..*options })?;
            self.depths(&mut decoder, &mut expected, &reference, log)?;
            let mut ids =
                || decoder.generate(&tokens[..PROMPT], GENERATED, true, &mut |_| ()).map(|g| (g.tokens, g.positions));
            let (once, again) = (ids()?, ids()?);
            let ids = first.entry(switches.order_of_sums()).or_insert_with(|| once.0.clone());
            let right = once.0 == *ids && again == once && once.1 == GENERATED as u64 - 1;
            log.holds(format!("{name}: {switches}, ids of two runs"), right, || {
                let same = ids.iter().zip(&once.0).take_while(|(a, b)| a == b).count();
                let equal = if again == once { "equal" } else { "differing" };
                format!("{equal} runs of {} passes; ids leave the baseline's at {same}", once.1)
            });
        }
        for switches in few() {
            let found = self.scored(gpu, &self.older_ways(switches))?;
            self.bar.judge(
                log,
                format!("{name}: {switches} as {} has it", Older::Sm89.name()),
                &found.against(&reference)?,
            );
        }
        self.prompts(gpu, log)?;
        if self.large {
            return Ok(());
        }
        if self.bar == INT8 {
            for switches in few() {
                let found = self.scored(gpu, &self.float_activations(switches))?;
                FLOATS.judge(log, format!("{name}: float activations, {switches}"), &found.against(&reference)?);
            }
        }
        let mut expected = HashMap::new();
        for switches in few() {
            let mut decoder = self.load(gpu, &self.int8_cache(switches))?;
            self.depths(&mut decoder, &mut expected, &reference, log)?;
        }
        Ok(())
    }

    /// Logits at every depth: those of the first set with this order of sums, or, of that, close to the oracle's.
    fn depths(
        &self,
        decoder: &mut Decoder,
        expected: &mut HashMap<(bool, bool), Scored>,
        reference: &[ScoreRow],
        log: &mut Log<'_>,
    ) -> Result<()> {
        let (switches, cache) = (decoder.switches, decoder.shape.kv_cache.name());
        let subject = format!("{}: {cache} cache, {switches}, every depth", self.name);
        let found = Scored::of(decoder, &self.tokens, &self.compared())?;
        match expected.entry(switches.order_of_sums()) {
            Entry::Occupied(first) => {
                let same = found.digests == first.get().digests;
                log.holds(subject, same, || first.get().difference(&found));
            }
            Entry::Vacant(first) => {
                let bar = if decoder.shape.kv_cache == KvCache::F16 { self.bar } else { INT8 };
                bar.judge(log, subject, &found.against(reference)?);
                first.insert(found);
            }
        }
        Ok(())
    }

    /// Logits after prompts of several lengths, against those of the passes that decode.
    fn prompts(&self, gpu: &Arc<Gpu>, log: &mut Log<'_>) -> Result<()> {
        let tokens = &self.tokens;
        let mut decoder = self.load(gpu, &self.options)?;
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
        let subject = format!("{}: prompts, {equal} of {} with the very bits", self.name, lengths.len());
        self.bar.judge(log, subject, &found);
        Ok(())
    }
}

/// Held-out text as ids, over again where it is shorter than asked.
fn text(gguf: &Gguf, length: usize) -> Result<Vec<u32>> {
    let text = String::from_utf8_lossy(embedded::HELDOUT_PYTHON.bytes);
    let tokenizer = Tokenizer::from_gguf(gguf).map_err(|e| Error::Unsupported(e.to_string()))?;
    Ok(tokenizer.encode(&text).into_iter().cycle().take(length).collect())
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
    /// Logits at every depth as digests, and those of `compared` as scores too.
    fn of(decoder: &mut Decoder, tokens: &[u32], compared: &[Range<usize>]) -> Result<Self> {
        let mut scores = Self { rows: Vec::new(), digests: Vec::new() };
        decoder.logits(tokens, &mut |row, logits| {
            scores.digests.push(digest(logits));
            if compared.iter().any(|range| range.contains(&(row + 1))) {
                scores.rows.push(scored(logits, tokens[row + 1], row + 1)?);
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
