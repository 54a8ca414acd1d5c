//! The decoder: token ids in, hidden states and logits out.

use crate::cache::LayerCache;
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::gguf_source::GgufSource;
use crate::host;
use crate::layer::LayerTap;
use crate::linear::Linear;
use crate::ops::{RmsNorm, RopeTable};
use crate::weights::{WeightSource, Weights};
use candle_core::Tensor;
use qa_model::{Gguf, ModelConfig};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Positions for which a cache has room before it first grows.
const FIRST_CAPACITY: usize = 256;

/// Positions of a scored text that go through the KV cache in one pass.
const SCORED_AT_ONCE: usize = 512;

/// How a decoder computes. None of it changes what is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads; `None` takes one for each core that this process may use.
    pub threads: Option<NonZeroUsize>,
    /// Keep keys and values between passes. Without it, each pass computes the whole prefix again.
    pub kv_cache: bool,
    /// Bytes of dequantised weights to keep in memory; `None` takes half of the machine's. What is beyond it is loaded,
    /// used and dropped block by block in each pass.
    pub memory_limit: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { threads: None, kv_cache: true, memory_limit: None }
    }
}

/// Called after each block of a pass, in order.
pub type Observer<'a> = &'a mut (dyn FnMut(LayerTap<'_>) -> Result<()> + Send);

/// A loaded model with the state of one sequence.
pub struct Decoder {
    geometry: Geometry,
    weights: Weights,
    pool: Arc<rayon::ThreadPool>,
    kv_cache: bool,
    memory_limit: u64,
    caches: Vec<LayerCache>,
    prefix: Vec<u32>,
    positions: u64,
}

impl Decoder {
    /// Load the model of a GGUF file.
    ///
    /// # Errors
    /// When the file lacks what its architecture needs, or asks for what this decoder does not compute.
    pub fn load(gguf: Arc<Gguf>, options: &Options) -> Result<Self> {
        let source = GgufSource::new(gguf)?;
        Self::new(source.geometry().clone(), Box::new(source), options)
    }

    /// Build a decoder of any shape from any weights.
    ///
    /// # Errors
    /// When the threads cannot be started, or the source fails.
    pub fn new(geometry: Geometry, source: Box<dyn WeightSource>, options: &Options) -> Result<Self> {
        let threads = match options.threads {
            Some(threads) => threads.get(),
            None => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("reference-{i}"))
            .build()
            .map_err(|source| Error::Threads { threads, source })
            .map(Arc::new)?;
        let memory_limit =
            options.memory_limit.or_else(|| host::physical_bytes().map(|bytes| bytes / 2)).unwrap_or(u64::MAX);
        let weights = pool.install(|| Weights::load(source, geometry.config.layers, memory_limit))?;
        let mut decoder = Self {
            geometry,
            weights,
            pool,
            kv_cache: options.kv_cache,
            memory_limit,
            caches: Vec::new(),
            prefix: Vec::new(),
            positions: 0,
        };
        decoder.reset()?;
        Ok(decoder)
    }

    /// Shape and constants of the model.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Whether keys and values are kept between passes.
    pub fn kv_cache(&self) -> bool {
        self.kv_cache
    }

    /// Bytes of dequantised weights that may stay in memory.
    pub fn memory_limit(&self) -> u64 {
        self.memory_limit
    }

    /// Blocks whose weights are loaded anew in each pass.
    pub fn streamed_layers(&self) -> usize {
        self.weights.streamed_layers()
    }

    /// Positions whose hidden states were computed since the model was loaded: a count of the work done.
    pub fn positions_computed(&self) -> u64 {
        self.positions
    }

    /// Forget the sequence.
    ///
    /// # Errors
    /// When memory for an empty cache cannot be had.
    pub fn reset(&mut self) -> Result<()> {
        let ModelConfig { layers, kv_heads, head_dim, .. } = self.geometry.config;
        if self.caches.is_empty() {
            let new = || LayerCache::new(kv_heads, head_dim, FIRST_CAPACITY);
            self.caches = (0..layers).map(|_| new()).collect::<candle_core::Result<_>>()?;
        }
        self.truncate(0);
        Ok(())
    }

    /// Forget the positions of the sequence from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.prefix.truncate(len);
        for cache in &mut self.caches {
            cache.truncate(len);
        }
    }

    /// Append tokens to the sequence and return the logits of its last position, `[vocabulary]`.
    ///
    /// # Errors
    /// When there are no tokens, one is outside the vocabulary, or the model's context is exceeded.
    pub fn forward(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        self.forward_observed(tokens, &mut |_| Ok(()))
    }

    /// As [`Decoder::forward`], showing what each block computed for the rows of this pass.
    ///
    /// # Errors
    /// As [`Decoder::forward`], and what the observer returns. The sequence is then as it was before.
    pub fn forward_observed(&mut self, tokens: &[u32], observer: Observer<'_>) -> Result<Vec<f32>> {
        let before = self.prefix.len();
        self.check(tokens, before)?;
        self.prefix.extend_from_slice(tokens);
        let start = if self.kv_cache { before } else { 0 };
        let logits = self.on_pool(|decoder| decoder.pass(start, observer));
        if logits.is_err() {
            self.truncate(before);
        }
        logits
    }

    /// One pass over the positions of the sequence from `start` on, to the logits of the last.
    fn pass(&mut self, start: usize, observer: Observer<'_>) -> Result<Vec<f32>> {
        let rows = self.prefix.len() - start;
        let rope = RopeTable::new(&self.geometry, start, rows);
        let mut x = self.weights.embed(&self.prefix[start..])?;
        for (layer, cache) in self.caches.iter_mut().enumerate() {
            cache.truncate(start);
            let output = self.weights.layer(layer)?.forward(&x, &self.geometry, &rope, cache)?;
            observer(LayerTap { layer, residual: &output.residual, keys: &output.keys, values: &output.values })?;
            x = output.residual;
        }
        self.positions += rows as u64;
        let last = x.narrow(0, rows - 1, 1)?;
        Ok(self.head()?.logits(&last)?.flatten_all()?.to_vec1()?)
    }

    /// Hidden states `[tokens, hidden]` of independent sequences, each from an empty cache that is not kept.
    ///
    /// The sequences advance together, so that a streamed block is loaded once for all of them. With the KV cache on, each
    /// goes through it in several passes; without, in one.
    pub(crate) fn hidden_states(&mut self, sequences: &[&[u32]]) -> Result<Vec<Tensor>> {
        for tokens in sequences {
            self.check(tokens, 0)?;
        }
        let ModelConfig { layers, kv_heads, head_dim, .. } = self.geometry.config;
        let at_once = if self.kv_cache { SCORED_AT_ONCE } else { self.geometry.config.context_length };
        self.on_pool(|decoder| {
            let pass = |(i, tokens): (usize, &[u32])| {
                let rope = RopeTable::new(&decoder.geometry, i * at_once, tokens.len());
                Ok((decoder.weights.embed(tokens)?, rope))
            };
            let mut states = sequences
                .iter()
                .map(|tokens| tokens.chunks(at_once).enumerate().map(pass).collect::<Result<Vec<_>>>())
                .collect::<Result<Vec<_>>>()?;
            for layer in 0..layers {
                let weights = decoder.weights.layer(layer)?;
                for (passes, tokens) in states.iter_mut().zip(sequences) {
                    let mut cache = LayerCache::new(kv_heads, head_dim, tokens.len())?;
                    for (x, rope) in passes {
                        *x = weights.forward(x, &decoder.geometry, rope, &mut cache)?.residual;
                    }
                }
            }
            decoder.positions += sequences.iter().map(|tokens| tokens.len() as u64).sum::<u64>();
            let join = |passes: Vec<(Tensor, RopeTable)>| {
                Tensor::cat(&passes.into_iter().map(|(x, _)| x).collect::<Vec<_>>(), 0)
            };
            Ok(states.into_iter().map(join).collect::<candle_core::Result<_>>()?)
        })
    }

    /// The last normalisation and the map to logits, loaded if they do not stay in memory.
    pub(crate) fn head(&self) -> Result<Head> {
        Ok(Head {
            norm: RmsNorm { epsilon: f64::from(self.geometry.config.rms_epsilon) },
            norm_weight: self.weights.output_norm.clone(),
            linear: self.weights.head()?,
        })
    }

    /// Whether all weights are in memory.
    pub(crate) fn resident(&self) -> bool {
        self.weights.resident()
    }

    /// Run `work` on this decoder's own threads.
    pub(crate) fn on_pool<T: Send>(&mut self, work: impl FnOnce(&mut Self) -> Result<T> + Send) -> Result<T> {
        let pool = Arc::clone(&self.pool);
        pool.install(|| work(self))
    }

    fn check(&self, tokens: &[u32], before: usize) -> Result<()> {
        if tokens.is_empty() {
            return Err(Error::Empty);
        }
        let ModelConfig { vocab: vocabulary, context_length: context, .. } = self.geometry.config;
        if let Some((index, &id)) = tokens.iter().enumerate().find(|&(_, &id)| id as usize >= vocabulary) {
            return Err(Error::Token { id, index, vocabulary });
        }
        let positions = before + tokens.len();
        if positions > context {
            return Err(Error::Context { positions, context });
        }
        Ok(())
    }
}

/// The end of the model: from the residual stream to logits.
pub(crate) struct Head {
    norm: RmsNorm,
    norm_weight: Tensor,
    linear: Arc<Linear>,
}

impl Head {
    /// Number of tokens that get a logit.
    pub fn vocabulary(&self) -> Result<usize> {
        Ok(self.linear.weight.dim(0)?)
    }

    /// Logits `[rows, vocabulary]` of hidden states `[rows, hidden]`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let normed = hidden.contiguous()?.apply_op2_no_bwd(&self.norm_weight, &self.norm)?;
        Ok(self.linear.forward(&normed)?)
    }
}
