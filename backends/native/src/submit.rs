//! What is submitted for a token under each set of switches.

use crate::decoder::{Choice, Decoder};
use crate::error::Result;
use crate::gpu::{Function, LaunchConfig, Stream};
use crate::layout::{Buffers, Layer, Pass, Tensor};
use qa_kernels::{FormatSet, Shape, THREADS};
use std::ffi::c_void;

/// Threads of a block of a matrix product: 8 rows at a time.
const PRODUCT_THREADS: u32 = 256;
/// Threads of a block that only moves data.
const COPY_THREADS: u32 = 256;

/// Indices of the streams, for counting.
const MAIN: usize = 0;
const SIDE: usize = 1;

macro_rules! arguments {
    ($($value:expr),* $(,)?) => { &mut [$((&raw const $value).cast_mut().cast::<std::ffi::c_void>()),*] };
}
pub(crate) use arguments;

/// A matrix times the vectors of a pass.
struct Product {
    weight: Tensor,
    bias: u64,
    vectors: u64,
    vectors_for: FormatSet,
    columns: usize,
    rows: usize,
    out: u64,
    out_stride: usize,
    add: bool,
}

impl Decoder {
    /// Submits one kernel and counts it.
    fn submit(
        &self,
        function: &Function,
        stream: usize,
        config: LaunchConfig,
        arguments: &mut [*mut c_void],
    ) -> Result<()> {
        let queue: &Stream = if stream == MAIN { &self.main } else { &self.side };
        // Dependent launches order kernels of one stream only.
        let dependent = self.dependent_launch && !self.forks() && !config.cooperative;
        // SAFETY: every call below passes values of the types in the kernel's source, and addresses of buffers that this
        // decoder owns and outlives.
        unsafe { function.launch(queue, &LaunchConfig { dependent, ..config }, arguments) }?;
        self.recorder.borrow_mut().launch(function.name(), stream, config.reads);
        Ok(())
    }

    /// Submits one kernel to the main stream.
    pub(crate) fn submit_main(
        &self,
        function: &Function,
        config: LaunchConfig,
        arguments: &mut [*mut c_void],
    ) -> Result<()> {
        self.submit(function, MAIN, config, arguments)
    }

    fn product(&self, stream: usize, product: &Product) -> Result<()> {
        let function = self.kernels.product(product.weight.format, product.columns, product.vectors_for, 1)?;
        let blocks = (product.rows as u32).div_ceil(PRODUCT_THREADS / 32);
        let reads = product.weight.bytes(product.rows, product.columns);
        let config = LaunchConfig { reads, ..LaunchConfig::new(blocks, PRODUCT_THREADS) };
        let (stride, rows, add) = (product.out_stride as u32, product.rows as u32, u32::from(product.add));
        let tokens = 1_u32;
        self.submit(
            function,
            stream,
            config,
            arguments![product.weight, product.bias, product.vectors, product.out, stride, rows, tokens, add],
        )
    }

    fn norm(&self, buffers: &Buffers, weight: u64, tokens: u32) -> Result<()> {
        let norm = self.kernels.get("norm_rows")?;
        self.submit(norm, MAIN, LaunchConfig::new(tokens, THREADS), arguments![*buffers, weight])
    }

    pub(crate) fn embed(&self, buffers: &Buffers, pass: Pass) -> Result<()> {
        let embed = self.kernels.get("embed_tokens")?;
        self.submit(embed, MAIN, LaunchConfig::new(pass.count, COPY_THREADS), arguments![*buffers, pass])
    }

    /// The operations of one block for one token.
    fn operations(&self, buffers: &Buffers, layer: &Layer, index: usize, pass: Pass) -> Result<()> {
        let config = &self.config;
        let (query, kv) = (config.query_width(), config.kv_width());
        let overlap = self.forks();
        let layer_index = index as u32;

        self.norm(buffers, layer.attention_norm, 1)?;
        let projection = |weight, bias, rows, at: usize| Product {
            weight,
            bias,
            vectors: buffers.normed,
            vectors_for: self.shape.hidden_set(),
            columns: config.hidden,
            rows,
            out: buffers.qkv + (at * size_of::<f32>()) as u64,
            out_stride: query + 2 * kv,
            add: false,
        };
        let beside = if overlap { SIDE } else { MAIN };
        if overlap {
            self.fork()?;
        }
        self.product(MAIN, &projection(layer.query, layer.query_bias, query, 0))?;
        self.product(beside, &projection(layer.key, layer.key_bias, kv, query))?;
        self.product(beside, &projection(layer.value, layer.value_bias, kv, query + kv))?;
        if overlap {
            self.join()?;
        }
        let rope = self.kernels.get("rope")?;
        self.submit(rope, MAIN, LaunchConfig::new(1, THREADS), arguments![*buffers, pass, layer_index])?;
        let heads = config.heads as u32;
        let attention = self.kernels.get("attention")?;
        let launch = LaunchConfig { grid: (heads, self.shape.splits), ..LaunchConfig::new(heads, THREADS) };
        self.submit(attention, MAIN, launch, arguments![*buffers, pass, layer_index])?;
        let merge = self.kernels.get("merge")?;
        self.submit(merge, MAIN, LaunchConfig::new(1, THREADS), arguments![*buffers, pass])?;
        let residual = |weight, bias, vectors, vectors_for, columns| Product {
            weight,
            bias,
            vectors,
            vectors_for,
            columns,
            rows: config.hidden,
            out: buffers.residual,
            out_stride: config.hidden,
            add: true,
        };
        let output = residual(layer.output, layer.output_bias, buffers.attended, self.shape.output, query);
        self.product(MAIN, &output)?;

        self.norm(buffers, layer.feed_forward_norm, 1)?;
        let blocks = (config.intermediate as u32).div_ceil(PRODUCT_THREADS / 32);
        let gate_up = self.kernels.get("gate_up_x1")?;
        let tokens = 1_u32;
        let reads = self.phase_bytes("gate_up", Some(layer_index));
        let launch = LaunchConfig { reads, ..LaunchConfig::new(blocks, PRODUCT_THREADS) };
        self.submit(gate_up, MAIN, launch, arguments![*buffers, layer.gate, layer.up, tokens])?;
        let vectorize = self.kernels.get("vectorize")?;
        self.submit(vectorize, MAIN, LaunchConfig::new(1, COPY_THREADS), arguments![*buffers])?;
        let down = residual(layer.down, 0, buffers.inner_vector, self.shape.down, config.intermediate);
        self.product(MAIN, &down)
    }

    /// From the residual stream of row `row` to the next token.
    pub(crate) fn choose(&self, buffers: &Buffers, row: u32, choice: Choice) -> Result<()> {
        let last = buffers.residual + u64::from(row) * (self.config.hidden * size_of::<f32>()) as u64;
        self.norm(&Buffers { residual: last, ..*buffers }, self.weights.output_norm, 1)?;
        let first = 0_u32;
        let head = self.kernels.get("head")?;
        let reads = self.phase_bytes("head", None);
        let launch = LaunchConfig { reads, ..LaunchConfig::new(buffers.candidate_count, THREADS) };
        self.submit(head, MAIN, launch, arguments![*buffers, first])?;
        self.advance(buffers, choice)
    }

    /// From the logits to the next token.
    fn advance(&self, buffers: &Buffers, choice: Choice) -> Result<()> {
        let advance = self.kernels.get(Shape::advance_name(choice.draws()))?;
        self.submit(advance, MAIN, LaunchConfig::new(1, THREADS), arguments![*buffers])
    }

    /// A draw from the logits and candidates that are there.
    pub(crate) fn submit_draw(&self) -> Result<()> {
        self.advance(&self.buffers_for(Choice::Drawn), Choice::Drawn)
    }

    /// One token, by launches of the host.
    pub(crate) fn submit_token(&self, choice: Choice) -> Result<()> {
        let buffers = &self.buffers_for(choice);
        let pass = Pass { count: 1, start: 0, prompt: 0 };
        self.embed(buffers, pass)?;
        for (index, layer) in self.weights.layers.iter().enumerate() {
            if !self.switches.megakernel {
                self.operations(buffers, layer, index, pass)?;
                continue;
            }
            let block = self.kernels.get("block")?;
            let layer_index = index as u32;
            let launch = LaunchConfig { reads: self.layer_bytes(layer_index), ..self.resident_launch(block)? };
            self.submit(block, MAIN, launch, arguments![*buffers, *layer, layer_index])?;
        }
        self.choose(buffers, 0, choice)
    }

    /// Tokens up to the state's limit, by a resident grid.
    pub(crate) fn submit_resident(&self, choice: Choice) -> Result<()> {
        let buffers = &self.buffers_for(choice);
        let decode = self.kernels.get(Shape::decode_name(self.switches.megakernel, choice.draws()))?;
        let layers = self.layers.address();
        self.submit(decode, MAIN, self.resident_launch(decode)?, arguments![*buffers, layers])
    }

    /// A launch of which every block is resident.
    fn resident_launch(&self, function: &Function) -> Result<LaunchConfig> {
        Ok(LaunchConfig {
            shared_bytes: self.resident_shared(function)? as u32,
            cooperative: true,
            ..LaunchConfig::new(self.resident_blocks, self.resident_threads())
        })
    }

    /// Whether decoding uses both streams.
    pub(crate) fn forks(&self) -> bool {
        self.switches.streams && !self.switches.persistent && !self.switches.megakernel
    }

    /// The side stream goes on from where the main one is.
    fn fork(&self) -> Result<()> {
        self.forked.record(&self.main)?;
        self.side.wait(&self.forked)
    }

    /// The main stream waits for the side one.
    fn join(&self) -> Result<()> {
        self.joined.record(&self.side)?;
        self.main.wait(&self.joined)
    }
}
