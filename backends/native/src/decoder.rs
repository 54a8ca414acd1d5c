//! A model on the card with the state of one sequence.

use crate::error::{Error, Result};
use crate::gpu::{DeviceBuffer, Event, Gpu, Graph, HostRing, Stream};
use crate::kernels::Kernels;
use crate::layout::{Buffers, NO_TOKEN, Pass, Start, word};
use crate::switches::Switches;
use crate::weights::{self, Weights};
use crate::witness::Recorder;
use qa_kernels::{Shape, THREADS};
use qa_model::{Gguf, MetadataResultExt, ModelConfig};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Tokens of a prompt that are computed together.
const CHUNK: usize = 256;
/// Rows of logits that are kept while scoring.
pub(crate) const LOGIT_ROWS: usize = 32;
/// Room for candidates: blocks of the largest card.
const CANDIDATES: usize = 1024;
/// Memory that is left to the driver and others.
const HEADROOM: usize = 512 << 20;

/// How a decoder computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which optimisations are on.
    pub switches: Switches,
    /// Longest sequence; the model's own limit or 4,096, whichever is less, where absent.
    pub context: Option<usize>,
    /// Multiply floats with floats, whatever the weights are.
    pub float_activations: bool,
    /// Kernels may begin before the one before them has ended: programmatic dependent launch.
    pub dependent_launch: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { switches: Switches::default(), context: None, float_activations: false, dependent_launch: true }
    }
}

/// A captured token, or a captured launch of the resident grid.
struct Captured {
    graph: Graph,
    kernels: BTreeMap<String, u64>,
    streams: u32,
}

/// A loaded model.
pub struct Decoder {
    pub(crate) config: ModelConfig,
    pub(crate) shape: Shape,
    pub(crate) switches: Switches,
    pub(crate) dependent_launch: bool,
    pub(crate) kernels: Kernels,
    pub(crate) weights: Weights,
    pub(crate) buffers: Buffers,
    pub(crate) layers: DeviceBuffer,
    pub(crate) main: Stream,
    pub(crate) side: Stream,
    pub(crate) forked: Event,
    pub(crate) joined: Event,
    pub(crate) recorder: RefCell<Recorder>,
    pub(crate) resident_blocks: u32,
    pub(crate) resident_shared: usize,
    context: usize,
    state: DeviceBuffer,
    forced: DeviceBuffer,
    logits: DeviceBuffer,
    produced: HostRing,
    captured: [Option<Captured>; 2],
    owned: Vec<DeviceBuffer>,
    stop: Vec<u32>,
    /// Keeps the context alive for as long as anything lives in it; last, so that it goes last.
    _gpu: Arc<Gpu>,
}

/// Times of a generation, on the monotonic clock.
#[derive(Debug)]
pub struct Generation {
    /// Generated ids.
    pub tokens: Vec<u32>,
    /// When the prompt's ids were on the host.
    pub begun: Instant,
    /// When each id was visible on the host.
    pub seen: Vec<Instant>,
    /// Single-token passes that the device made after the first id.
    pub positions: u64,
    /// Barriers across the grid among them.
    pub grid_syncs: u64,
}

impl Decoder {
    /// Loads the model of a file.
    ///
    /// # Errors
    /// Where the card, the compiler or memory is missing, or the file holds what cannot be computed.
    pub fn load(gpu: &Arc<Gpu>, gguf: &Gguf, options: &Options) -> Result<Self> {
        gpu.bind()?;
        let config = ModelConfig::from_gguf(gguf)?;
        let multiprocessors = gpu.multiprocessors()?;
        let splits = (multiprocessors / config.heads as u32).clamp(1, 32);
        let shape = weights::shape(gguf, &config, splits, options.float_activations)?;
        let context = options.context.unwrap_or(config.context_length.min(4096));
        if context > config.context_length {
            let limit = config.context_length;
            return Err(Error::Unsupported(format!(
                "a context of {context} tokens was asked for; the model was made for {limit}: give a smaller `context`"
            )));
        }
        check_memory(gpu, gguf, &config, context)?;
        let kernels = Kernels::load(gpu, &shape, options.switches)?;
        let weights = Weights::load(gguf, &config)?;
        let mut owned = Vec::new();
        let mut take = |bytes: usize| -> Result<u64> {
            let buffer = DeviceBuffer::zeros(bytes)?;
            let address = buffer.address();
            owned.push(buffer);
            Ok(address)
        };
        let (query, kv) = (config.query_width(), config.kv_width());
        let floats = |count: usize| count * size_of::<f32>();
        let cache = 2 * config.layers * kv * context;
        let state = DeviceBuffer::zeros(word::COUNT * size_of::<u32>())?;
        let forced = DeviceBuffer::zeros(floats(context + 1))?;
        let logits = DeviceBuffer::zeros(floats(LOGIT_ROWS * config.vocab))?;
        let produced = HostRing::new(context + 1)?;
        let rope = DeviceBuffer::of(&weights::rope_table(gguf, &config, context)?)?;
        let buffers = Buffers {
            residual: take(floats(CHUNK * config.hidden))?,
            normed: take(CHUNK * shape.vector_bytes(config.hidden, shape.hidden_set()))?,
            qkv: take(floats(CHUNK * (query + 2 * kv)))?,
            keys: take(cache)?,
            values: take(cache)?,
            pieces: take(floats(config.heads * splits as usize * (config.head_dim + 4)))?,
            attended: take(CHUNK * shape.vector_bytes(query, shape.output))?,
            inner: take(floats(CHUNK * config.intermediate))?,
            inner_vector: take(CHUNK * shape.vector_bytes(config.intermediate, shape.down))?,
            logits: 0,
            candidates: take(CANDIDATES * 8)?,
            state: state.address(),
            forced: forced.address(),
            produced: produced.address(),
            rope: rope.address(),
            embedding: weights.embedding,
            head: weights.head,
            output_norm: weights.output_norm,
            context: context as u32,
            candidate_count: multiprocessors,
        };
        owned.push(rope);
        let mut decoder = Self {
            _gpu: Arc::clone(gpu),
            layers: DeviceBuffer::of(&weights.layers)?,
            main: Stream::new()?,
            side: Stream::new()?,
            forked: Event::new()?,
            joined: Event::new()?,
            recorder: RefCell::default(),
            resident_blocks: 0,
            resident_shared: 0,
            switches: options.switches,
            dependent_launch: options.dependent_launch && gpu.capability()?.0 >= 9,
            context,
            state,
            forced,
            logits,
            produced,
            captured: [None, None],
            owned,
            stop: end_of_text(gguf)?,
            config,
            shape,
            kernels,
            weights,
            buffers,
        };
        decoder.fit_resident_grid(multiprocessors)?;
        Ok(decoder)
    }

    /// How many blocks are resident at once, for the kernels that need all of them.
    fn fit_resident_grid(&mut self, multiprocessors: u32) -> Result<()> {
        let name = match (self.switches.persistent, self.switches.megakernel) {
            (false, false) => return Ok(()),
            (false, true) => "block",
            (true, false) => "decode_unfused",
            (true, true) => "decode_fused",
        };
        let layers = if self.switches.persistent { self.layers.bytes() } else { 0 };
        self.resident_shared = self.shape.shared_vector_bytes().next_multiple_of(16) + layers;
        let function = self.kernels.get(name)?;
        function.allow_shared(self.resident_shared)?;
        let each = function.resident_blocks(THREADS, self.resident_shared)?;
        if each == 0 {
            return Err(Error::Unsupported(format!(
                "kernel `{name}` needs more registers or shared memory than this card has for a block"
            )));
        }
        self.resident_blocks = multiprocessors;
        Ok(())
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What the compiler said of each kernel.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// Longest sequence that fits.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Bytes of device memory that this decoder allocated.
    pub fn device_bytes(&self) -> u64 {
        let buffers = [&self.layers, &self.state, &self.forced, &self.logits];
        let bytes: usize = self.owned.iter().chain(buffers).map(DeviceBuffer::bytes).sum();
        (bytes + self.weights.bytes) as u64
    }

    /// The counters of what was submitted.
    pub fn recorder(&mut self) -> &mut Recorder {
        self.recorder.get_mut()
    }

    fn start(&self, start: Start) -> Result<()> {
        self.state.write(0, &[start])
    }

    fn check_tokens(&self, tokens: &[u32], further: usize) -> Result<()> {
        let vocab = self.config.vocab;
        if tokens.is_empty() {
            return Err(Error::Unsupported("no tokens were given: a sequence begins with at least one".into()));
        }
        if let Some((index, id)) = tokens.iter().enumerate().find(|&(_, &id)| id as usize >= vocab) {
            return Err(Error::Unsupported(format!("token {index} is {id}; the vocabulary has {vocab}")));
        }
        let positions = tokens.len() + further;
        if positions > self.context {
            let context = self.context;
            return Err(Error::Unsupported(format!(
                "{positions} positions do not fit a context of {context}: set the option `context`"
            )));
        }
        Ok(())
    }

    /// Evaluates a prompt from an empty sequence and generates `count` tokens, or fewer where the text ends and
    /// `ignore_eos` is off. `seen` is told each id as it arrives.
    ///
    /// # Errors
    /// Where the request does not fit, or the device fails.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        count: usize,
        ignore_eos: bool,
        seen: &mut dyn FnMut(u32),
    ) -> Result<Generation> {
        if count == 0 {
            return Err(Error::Unsupported("nothing to generate: ask for at least one token".into()));
        }
        self.check_tokens(prompt, count - 1)?;
        let mut stop = [NO_TOKEN; 4];
        if !ignore_eos {
            stop.iter_mut().zip(&self.stop).for_each(|(to, from)| *to = *from);
        }
        self.produced.clear();
        let begun = Instant::now();
        self.forced.write(0, prompt)?;
        self.start(Start {
            position: prompt.len() as u32 - 1,
            token: NO_TOKEN,
            produced: 0,
            forced: prompt.len() as u32,
            keep_logits: 0,
            limit: count as u32,
            stopped: 0,
            stop,
        })?;
        self.prompt(prompt.len())?;
        let mut generation = Generation {
            tokens: Vec::with_capacity(count),
            begun,
            seen: Vec::with_capacity(count),
            positions: 0,
            grid_syncs: 0,
        };
        self.take_token(&mut generation, seen)?;
        // What the prompt took is not what decoding takes.
        self.recorder.get_mut().take(0, 0);
        let before: Vec<u32> = self.state.read(0, word::COUNT)?;
        let ends = |generation: &Generation| {
            generation.tokens.len() == count || generation.tokens.last().is_some_and(|token| stop.contains(token))
        };
        if self.switches.persistent {
            if !ends(&generation) {
                self.resident(false)?;
            }
            while !ends(&generation) {
                self.take_token(&mut generation, seen)?;
            }
        } else {
            // One token ahead of the host, so that the device need not wait for it.
            let mut submitted = 1;
            while !ends(&generation) {
                while submitted < count && submitted < generation.tokens.len() + 2 {
                    self.token(false)?;
                    submitted += 1;
                }
                self.take_token(&mut generation, seen)?;
            }
        }
        let after = self.finish()?;
        generation.positions = u64::from(after[word::PRODUCED] - before[word::PRODUCED]);
        generation.grid_syncs = u64::from(after[word::SYNCS].wrapping_sub(before[word::SYNCS]));
        Ok(generation)
    }

    #[allow(clippy::type_complexity)]
    /// Logits after each token of a sequence, by the very passes that decode: `[tokens, vocab]` row by row to `row`.
    ///
    /// # Errors
    /// As [`Decoder::generate`], and what `row` says.
    pub fn logits<E: From<Error>>(
        &mut self,
        tokens: &[u32],
        row: &mut dyn FnMut(usize, &[f32]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.check_tokens(tokens, 0)?;
        self.forced.write(0, tokens)?;
        let vocab = self.config.vocab;
        for first in (0..tokens.len()).step_by(LOGIT_ROWS) {
            let rows = LOGIT_ROWS.min(tokens.len() - first);
            self.produced.clear();
            self.start(Start {
                position: first as u32,
                token: tokens[first],
                produced: 0,
                forced: tokens.len() as u32,
                keep_logits: 1,
                limit: rows as u32,
                stopped: 0,
                stop: [NO_TOKEN; 4],
            })?;
            if self.switches.persistent {
                self.resident(true)?;
            } else {
                (0..rows).try_for_each(|_| self.token(true))?;
            }
            self.finish()?;
            let logits: Vec<f32> = self.logits.read(0, rows * vocab)?;
            for (offset, logits) in logits.chunks_exact(vocab).enumerate() {
                row(first + offset, logits)?;
            }
        }
        Ok(())
    }

    /// Logits of the last position of a prompt, by the passes that evaluate prompts.
    ///
    /// # Errors
    /// As [`Decoder::generate`].
    pub fn prompt_logits(&mut self, prompt: &[u32]) -> Result<Vec<f32>> {
        self.buffers.logits = self.logits.address();
        let generated = self.generate(prompt, 1, true, &mut |_| ());
        self.buffers.logits = 0;
        generated?;
        self.logits.read(0, self.config.vocab)
    }

    /// Evaluates the first `count` forced tokens, and chooses the one after them.
    fn prompt(&self, count: usize) -> Result<()> {
        for start in (0..count).step_by(CHUNK) {
            let tokens = CHUNK.min(count - start);
            let pass = Pass { count: tokens as u32, start: start as u32, prompt: 1 };
            self.submit_prompt(pass, start + tokens == count)?;
        }
        Ok(())
    }

    /// Buffers of a pass that keeps its logits, or that does not.
    fn buffers_for(&self, keep: bool) -> Buffers {
        Buffers { logits: if keep { self.logits.address() } else { 0 }, ..self.buffers }
    }

    /// One token of the host's walk, launched or replayed.
    fn token(&mut self, keep: bool) -> Result<()> {
        let buffers = self.buffers_for(keep);
        if !self.switches.graph {
            return self.submit_token(&buffers);
        }
        self.replay(keep, |decoder| decoder.submit_token(&buffers))
    }

    /// The resident grid, launched or replayed.
    fn resident(&mut self, keep: bool) -> Result<()> {
        let buffers = self.buffers_for(keep);
        if !self.switches.graph {
            return self.submit_resident(&buffers);
        }
        self.replay(keep, |decoder| decoder.submit_resident(&buffers))
    }

    fn replay(&mut self, keep: bool, submit: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let slot = usize::from(keep);
        if self.captured[slot].is_none() {
            self.recorder.get_mut().begin_capture();
            let graph = Graph::capture(&self.main, || submit(self));
            let kernels = self.recorder.get_mut().end_capture();
            let streams = if self.forks() { 0b11 } else { 0b1 };
            self.captured[slot] = Some(Captured { graph: graph?, kernels, streams });
        }
        if let Some(captured) = &self.captured[slot] {
            captured.graph.launch(&self.main)?;
            self.recorder.borrow_mut().replay(&captured.kernels, captured.streams);
        }
        Ok(())
    }

    /// Waits until the next id is visible.
    fn take_token(&self, generation: &mut Generation, seen: &mut dyn FnMut(u32)) -> Result<()> {
        let index = generation.tokens.len();
        let mut polls = 0_u32;
        let token = loop {
            let found = self.produced.get(index);
            if found != 0 {
                break found - 1;
            }
            polls = polls.wrapping_add(1);
            if polls.is_multiple_of(1 << 14) && self.main.is_idle()? && self.produced.get(index) == 0 {
                // NO_TOKEN + 1 is 0: where no logit is a number, nothing is ever delivered.
                self.finish()?;
                return Err(Error::NotFinite { position: index });
            }
            std::hint::spin_loop();
        };
        generation.seen.push(Instant::now());
        generation.tokens.push(token);
        seen(token);
        Ok(())
    }

    /// Waits for the device and answers the state's words.
    fn finish(&self) -> Result<Vec<u32>> {
        self.main.synchronize()?;
        let words: Vec<u32> = self.state.read(0, word::COUNT)?;
        if words[word::ABORT] != 0 {
            self.state.write(word::ABORT * size_of::<u32>(), &[0_u32])?;
            return Err(Error::Barrier);
        }
        Ok(words)
    }
}

/// Refuses a model that does not fit, before anything is allocated.
fn check_memory(gpu: &Gpu, gguf: &Gguf, config: &ModelConfig, context: usize) -> Result<()> {
    let weights = weights::packed_bytes(gguf) as usize;
    let cache = config.kv_elements_per_position() as usize * 2 * context;
    let work = CHUNK * 4 * (config.hidden * 4 + config.intermediate * 3) + LOGIT_ROWS * config.vocab * 4;
    let (free, total) = gpu.memory()?;
    let needed = weights + cache + work + HEADROOM;
    if needed > free {
        let mib = |bytes: usize| bytes >> 20;
        return Err(Error::Unsupported(format!(
            "{} does not fit: {} MiB of weights, {} MiB of KV cache for {context} tokens and {} MiB beside them need {} MiB, and {} of the card's {} MiB are free; use a smaller `context` or a smaller quantisation",
            gguf.path().display(),
            mib(weights),
            mib(cache),
            mib(work + HEADROOM),
            mib(needed),
            mib(free),
            mib(total)
        )));
    }
    Ok(())
}

/// The ids that end a text, as the file's metadata names them.
fn end_of_text(gguf: &Gguf) -> Result<Vec<u32>> {
    let keys = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];
    Ok(keys
        .into_iter()
        .filter_map(|key| gguf.u32(key).optional().transpose())
        .collect::<std::result::Result<_, _>>()?)
}
