//! From a file to a decoder.

use super::drafted::Drafter;
use super::memory::check_memory;
use super::{CANDIDATES, DEFAULT_CONTEXT, Decoder, LOGIT_ROWS, Options};
use crate::error::{Error, Result};
use crate::gpu::{Arena, DeviceBuffer, Event, Function, Gpu, HostRing, Stream};
use crate::kernels::{self, Kernels};
use crate::layout::{Buffers, Candidate, Layer, word};
use crate::prompt::{self, Prompts};
use crate::switches::Switches;
use crate::trace::Trace;
use crate::verify::{Passes, pass_for};
use crate::weights::{self, Weights};
use qa_kernels::prompt::TensorCores;
use qa_kernels::{RING_THREADS, Shape, THREADS, Target};
use qa_model::{Gguf, ModelConfig, end_of_text};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

impl Decoder {
    /// Loads the model of a file.
    ///
    /// # Errors
    /// Where the card, the compiler or memory is missing, or the file holds what cannot be computed.
    pub fn load(gpu: &Arc<Gpu>, gguf: &Gguf, options: &Options) -> Result<Self> {
        gpu.bind()?;
        let config = ModelConfig::from_gguf(gguf)?;
        let multiprocessors = gpu.multiprocessors()?;
        let splits = weights::splits(&config, multiprocessors);
        let shape = weights::shape(gguf, &config, splits, options.float_activations, options.kv_cache)?;
        let context = options.context.unwrap_or(config.context_length.min(DEFAULT_CONTEXT));
        if context > config.context_length {
            let limit = config.context_length;
            return Err(Error::Unsupported(format!(
                "a context of {context} tokens was asked for; the model was made for {limit}: give a smaller `context`"
            )));
        }
        check_memory(gpu, gguf, &config, options.kv_cache, context)?;
        let target = Target::new(&gpu.architecture()?, options.architecture);
        let cores = tensor_cores(target.ways(), options.tensor_cores)?;
        let dependent_launch = options.dependent_launch && target.has_dependent_launch();
        let pass = options.drafting.map(|drafting| pass_for(&shape, drafting.tokens)).transpose()?;
        let kernels = Kernels::load(gpu, target, &shape, &kernels::needed_for(&shape, options, cores, pass))?;
        let weights = Weights::load(gguf, &config)?;
        let mut owned = Arena::default();
        let (query, kv) = (config.query_width(), config.kv_width());
        let floats = |count: usize| count * size_of::<f32>();
        // Four values and an epoch in 16 bytes, in copies: `COPIES` and `copy_stride` of `exchange.cuh`.
        let quads = |values: usize| 4 * (values / 4 + 8) * 16;
        let cache = config.layers * config.kv_heads * options.kv_cache.head_bytes(config.head_dim, context);
        let state = DeviceBuffer::zeros(word::COUNT * size_of::<u32>())?;
        let forced = DeviceBuffer::zeros(floats(context + 1))?;
        let candidates = DeviceBuffer::zeros(CANDIDATES * size_of::<Candidate>())?;
        let logits = DeviceBuffer::zeros(floats(LOGIT_ROWS * config.vocab))?;
        let produced = HostRing::new(context + 1)?;
        let trace = options.trace.then(|| DeviceBuffer::zeros(Trace::bytes(&config, multiprocessors))).transpose()?;
        let buffers = Buffers {
            residual: owned.zeros(floats(prompt::capacity(&config, context) * config.hidden))?,
            normed: owned.zeros(shape.vector_bytes(config.hidden, shape.hidden_set()))?,
            qkv: owned.zeros(floats(query + 2 * kv))?,
            keys: owned.zeros(cache)?,
            values: owned.zeros(cache)?,
            pieces: owned.zeros(floats(config.heads * splits as usize * (config.head_dim + 4)))?,
            attended: owned.zeros(shape.vector_bytes(query, shape.output))?,
            inner: owned.zeros(floats(config.intermediate))?,
            inner_vector: owned.zeros(shape.vector_bytes(config.intermediate, shape.down))?,
            logits: 0,
            candidates: candidates.address(),
            state: state.address(),
            forced: forced.address(),
            produced: produced.address(),
            rope: owned.of(&weights::rope_table(gguf, &config, context)?)?,
            embedding: weights.embedding,
            head: weights.head,
            output_norm: weights.output_norm,
            residual_quads: owned.zeros(quads(config.hidden))?,
            qkv_quads: owned.zeros(quads(query + 2 * kv))?,
            piece_quads: owned.zeros(quads(config.heads * splits as usize * (config.head_dim + 4)))?,
            inner_quads: owned.zeros(quads(config.intermediate))?,
            candidate_words: owned.zeros((2 * CANDIDATES + 1) * size_of::<u64>())?,
            trace: trace.as_ref().map_or(0, DeviceBuffer::address),
            context: context as u32,
            candidate_count: multiprocessors,
        };
        let prompts = Prompts::new(&config, context, &kernels, cores, multiprocessors)?;
        let drafter = options.drafting.zip(pass).map(|(drafting, pass)| {
            Ok::<_, Error>(Drafter::new(drafting, Passes::new(&shape, &kernels, pass, multiprocessors)?))
        });
        let graph = options.switches.graph;
        let switches = if drafter.is_some() { Switches { graph, ..Switches::default() } } else { options.switches };
        let mut decoder = Self {
            gpu: Arc::clone(gpu),
            layers: DeviceBuffer::of(&weights.layers)?,
            main: Stream::new()?,
            side: Stream::new()?,
            forked: Event::new()?,
            joined: Event::new()?,
            recorder: RefCell::default(),
            resident_blocks: 0,
            switches,
            dependent_launch,
            context,
            state,
            forced,
            logits,
            candidates,
            produced,
            trace,
            captured: HashMap::new(),
            drafter: drafter.transpose()?,
            sampler: None,
            owned,
            stop: end_of_text(gguf)?,
            config,
            shape,
            kernels,
            weights,
            buffers,
            prompts,
        };
        decoder.fit_resident_grid(multiprocessors)?;
        Ok(decoder)
    }

    /// How many blocks are resident at once, for the kernels that need all of them.
    fn fit_resident_grid(&mut self, multiprocessors: u32) -> Result<()> {
        let name = match (self.switches.persistent, self.switches.megakernel) {
            (false, false) => return Ok(()),
            (false, true) => "block",
            (true, fused) => Shape::decode_name(fused, false),
        };
        // Every block of a fused kernel has rows in every phase: `exchange.cuh` counts on that.
        self.resident_blocks = if self.switches.megakernel {
            multiprocessors.min(self.shape.fused_shares() as u32).max(1)
        } else {
            multiprocessors
        };
        self.check_resident(name)
    }

    /// Dynamic shared memory of a resident grid's kernel: for a fused one all that there is, since the rest is its ring.
    pub(crate) fn resident_shared(&self, function: &Function) -> Result<usize> {
        if !self.switches.megakernel {
            return Ok(self.layers.bytes());
        }
        let offered = self.kernels.target().shared_of_block(self.gpu.shared_of_block()?);
        Ok((offered.saturating_sub(function.declared_shared()?)) / 16 * 16)
    }

    /// Lets a kernel have the shared memory of the resident grid, or says that the card cannot hold the grid.
    pub(super) fn check_resident(&self, name: &str) -> Result<()> {
        let function = self.kernels.get(name)?;
        let shared = self.resident_shared(function)?;
        let least = if self.switches.megakernel {
            self.shape.fused_shared_bytes(self.resident_blocks as usize, size_of::<Layer>())
        } else {
            shared
        };
        function.allow_shared(shared)?;
        if least > shared || function.resident_blocks(self.resident_threads(), shared)? == 0 {
            return Err(Error::Unsupported(format!(
                "kernel `{name}` needs more registers or shared memory than this card has for a block"
            )));
        }
        Ok(())
    }

    /// Threads of a block of the resident grid.
    pub(crate) fn resident_threads(&self) -> u32 {
        if self.switches.megakernel { RING_THREADS } else { THREADS }
    }
}

/// The tensor core instructions that were asked for, or the fastest of the card.
fn tensor_cores(architecture: &str, asked: Option<TensorCores>) -> Result<TensorCores> {
    let fastest = TensorCores::of(architecture);
    if asked == Some(TensorCores::WarpGroup) && fastest != TensorCores::WarpGroup {
        return Err(Error::Unsupported(format!(
            "tensor core instructions of warp groups were asked for, which only sm_90a has; the kernels are for {architecture}: leave `tensor_cores` out"
        )));
    }
    Ok(asked.unwrap_or(fastest))
}
