//! What is submitted for a piece of a prompt.

use super::layout::{Expansion, Expansions, Narrow, Product, Role};
use super::plan::{Kind, Slice};
use crate::decoder::{Choice, Decoder};
use crate::error::Result;
use crate::gpu::LaunchConfig;
use crate::layout::{Layer, Pass, Tensor};
use crate::submit::arguments;
use qa_kernels::THREADS;
use qa_kernels::prompt::{
    NARROW_COLUMNS, NARROW_NAMES, NARROW_ROWS, NARROW_TOKENS, OPERAND_ROW, TILE_QUERIES, TILE_ROWS, TILE_TOKENS,
    attention_shared_bytes, operand_groups, product_name,
};

/// Threads of a block of each kernel, as the sources have them.
const EXPAND_THREADS: u32 = 256;
const NORM_THREADS: u32 = 256;
const TILE_THREADS: u32 = 128;
const ATTEND_THREADS: u32 = 128;
const NARROW_THREADS: u32 = 128;
/// Units of 8 rows and 4 groups that a block expands.
const UNITS: usize = 8;
/// `INNER_SCALE` of `prompt.cuh`.
const INNER_SCALE: f32 = 16.0;
/// Most tokens for which weights are expanded tile by tile.
const FEW_TOKENS: u32 = 128;
/// Blocks of products that a multiprocessor holds, of many tokens and of few.
const BLOCKS_EACH: u32 = 2;
const NARROW_EACH: u32 = 4;
/// Most parts of a sum, and fewest pairs of groups in a part of one of many tokens.
const MOST_SPLITS: u32 = 16;
const LEAST_STEPS: u32 = 2;

/// The tokens that are worked on: `count` of the pass from `first` on, a multiple of [`TILE_QUERIES`].
#[derive(Clone, Copy)]
struct Span {
    first: u32,
    count: u32,
}

impl Span {
    /// Where its tokens begin in an operand of the pass.
    fn of(self, operand: u64) -> u64 {
        operand + u64::from(self.first) * OPERAND_ROW as u64
    }
}

/// A product's sums that the next norm adds to the residual stream.
#[derive(Clone, Copy, Default)]
struct Pending {
    splits: u32,
    bias: u64,
}

impl Decoder {
    /// A piece of a prompt; with `last`, the first token after it too.
    pub(crate) fn submit_prompt(&self, pass: Pass, last: bool, choice: Choice) -> Result<()> {
        self.embed(&self.buffers, pass)?;
        let mut span = Span { first: 0, count: pass.count };
        let mut pending = Pending::default();
        let layers = self.weights.layers.len();
        for (index, layer) in self.weights.layers.iter().enumerate() {
            for piece in &self.prompts.plan.pieces {
                if !few(span) {
                    self.expand(layer, piece)?;
                }
                for slice in piece {
                    if slice.tiles.start == 0 {
                        match slice.kind {
                            Kind::Qkv => self.prompt_norm(span, layer.attention_norm, pending)?,
                            Kind::Output => {
                                self.prompt_rope(pass, layer, index as u32, pending.splits)?;
                                if index + 1 == layers {
                                    if !last {
                                        return Ok(());
                                    }
                                    // Of the last block only the last token's result is of use to anyone.
                                    span.first = (pass.count - 1) / TILE_QUERIES as u32 * TILE_QUERIES as u32;
                                    span.count = pass.count - span.first;
                                }
                                self.prompt_attention(pass, span, index as u32)?;
                            }
                            Kind::GateUp => self.prompt_norm(span, layer.feed_forward_norm, pending)?,
                            Kind::Down => {}
                        }
                    }
                    let splits = match few(span) {
                        false => self.prompt_product(slice, span)?,
                        true if slice.tiles.start == 0 => self.prompt_narrow(slice.kind, layer, span)?,
                        true => continue,
                    };
                    let bias = if slice.kind == Kind::Output { layer.output_bias } else { 0 };
                    pending = Pending { splits, bias };
                }
            }
        }
        self.prompt_norm(span, self.weights.output_norm, pending)?;
        self.choose(&self.buffers_for(choice), pass.count - 1, choice)
    }

    /// The weights of a piece, as operands.
    fn expand(&self, layer: &Layer, piece: &[Slice]) -> Result<()> {
        let (query, kv) = (self.config.query_width(), self.config.kv_width());
        let mut list = Expansions::default();
        let (mut jobs, mut units) = (0, 0);
        for slice in piece {
            let to = self.prompts.expanded + slice.at as u64;
            let rows = slice.tiles.start * slice.kind.tile()..slice.tiles.end * slice.kind.tile();
            let parts: &[(Tensor, Role, usize, usize)] = match slice.kind {
                Kind::Qkv => &[
                    (layer.query, Role::Qkv, 0, query),
                    (layer.key, Role::Qkv, query, kv),
                    (layer.value, Role::Qkv, query + kv, kv),
                ],
                Kind::Output => &[(layer.output, Role::Output, 0, self.config.hidden)],
                Kind::GateUp => &[
                    (layer.gate, Role::Gate, 0, self.config.intermediate),
                    (layer.up, Role::Up, 0, self.config.intermediate),
                ],
                Kind::Down => &[(layer.down, Role::Down, 0, self.config.hidden)],
            };
            for &(weight, role, begins, count) in parts {
                let (from, until) = (rows.start.max(begins), rows.end.min(begins + count));
                if from >= until {
                    continue;
                }
                list.jobs[jobs] = Expansion {
                    weight,
                    to,
                    role: role as u32,
                    first: (from - begins) as u32,
                    rows: (until - from) as u32,
                    place: (from - rows.start) as u32,
                    stride: (slice.tiles.len() * TILE_ROWS) as u32,
                    padding: 0,
                };
                jobs += 1;
                let groups = operand_groups(slice.kind.columns(&self.config));
                units = units.max((until - from) / 8 * groups.div_ceil(4));
            }
        }
        let expand = self.kernels.get("prompt_expand")?;
        let grid = (units.div_ceil(UNITS) as u32, jobs as u32);
        self.submit_main(expand, LaunchConfig { grid, ..LaunchConfig::new(1, EXPAND_THREADS) }, arguments![list])
    }

    fn prompt_norm(&self, span: Span, weight: u64, pending: Pending) -> Result<()> {
        let norm = self.kernels.get("prompt_norm")?;
        let row = (self.config.hidden * size_of::<f32>()) as u64;
        let residual = self.buffers.residual + u64::from(span.first) * row;
        let (sums, normed) = (self.prompts.sums, span.of(self.prompts.normed));
        let capacity = self.prompts.capacity as u32;
        self.submit_main(
            norm,
            LaunchConfig::new(span.count, NORM_THREADS),
            arguments![residual, sums, pending.splits, span.count, pending.bias, weight, normed, capacity],
        )
    }

    fn prompt_rope(&self, pass: Pass, layer: &Layer, index: u32, splits: u32) -> Result<()> {
        let rope = self.kernels.get("prompt_rope")?;
        let (sums, queries, capacity) = (self.prompts.sums, self.prompts.queries, self.prompts.capacity as u32);
        self.submit_main(
            rope,
            LaunchConfig::new(pass.count, THREADS),
            arguments![
                self.buffers,
                sums,
                splits,
                pass.count,
                pass.start,
                index,
                layer.query_bias,
                layer.key_bias,
                layer.value_bias,
                queries,
                capacity
            ],
        )
    }

    fn prompt_attention(&self, pass: Pass, span: Span, index: u32) -> Result<()> {
        let attention = self.kernels.get("prompt_attention")?;
        let head_dim = self.config.head_dim;
        let queries = self.prompts.queries + u64::from(span.first) * (head_dim * 2) as u64;
        let attended = span.of(self.prompts.attended);
        let (start, capacity) = (pass.start + span.first, self.prompts.capacity as u32);
        let launch = LaunchConfig {
            grid: (self.config.heads as u32, span.count.div_ceil(TILE_QUERIES as u32)),
            shared_bytes: attention_shared_bytes(head_dim) as u32,
            ..LaunchConfig::new(1, ATTEND_THREADS)
        };
        self.submit_main(
            attention,
            launch,
            arguments![self.buffers, queries, attended, span.count, start, index, capacity],
        )
    }

    /// Submits the product of some tiles; answers in how many parts its sums are.
    fn prompt_product(&self, slice: &Slice, span: Span) -> Result<u32> {
        let (config, prompts, kind) = (&self.config, &self.prompts, slice.kind);
        let steps = (operand_groups(kind.columns(config)) / 2) as u32;
        let token_tiles = span.count.div_ceil(TILE_TOKENS);
        // Of the largest slice, so that all agree.
        let tiles = slice.most as u32 * token_tiles;
        let splits = self.splits(kind, span, BLOCKS_EACH, tiles, steps / LEAST_STEPS);
        let first = slice.tiles.start * kind.tile();
        let (vectors, out) = self.operands(kind, span);
        let product = Product {
            weights: prompts.expanded + slice.at as u64,
            vectors,
            out,
            first: first as u32,
            count: (kind.rows(config).min(slice.tiles.end * kind.tile()) - first) as u32,
            rows: kind.rows(config) as u32,
            stride: (slice.tiles.len() * TILE_ROWS) as u32,
            capacity: prompts.capacity as u32,
            tokens: span.count,
            steps,
            splits,
            scale: scale(kind),
            padding: 0,
        };
        let function = self.kernels.get(product_name(kind == Kind::GateUp))?;
        let launch = LaunchConfig {
            grid: (slice.tiles.len() as u32, token_tiles * splits),
            shared_bytes: prompts.cores.product_shared_bytes() as u32,
            ..LaunchConfig::new(1, TILE_THREADS)
        };
        self.submit_main(function, launch, arguments![product])?;
        Ok(splits)
    }

    /// Submits a whole product of few tokens; answers in how many parts its sums are.
    fn prompt_narrow(&self, kind: Kind, layer: &Layer, span: Span) -> Result<u32> {
        let config = &self.config;
        let (hidden, query, kv) = (config.hidden, config.query_width(), config.kv_width());
        let none = Tensor::default();
        let (weights, rows) = match kind {
            Kind::Qkv => ([layer.query, layer.key, layer.value], [query, kv, kv]),
            Kind::Output => ([layer.output, none, none], [hidden, 0, 0]),
            Kind::GateUp => ([layer.gate, layer.up, none], [config.intermediate, config.intermediate, 0]),
            Kind::Down => ([layer.down, none, none], [hidden, 0, 0]),
        };
        // Tiles of gate and up have rows of both.
        let tiles = rows.iter().map(|rows| rows.div_ceil(NARROW_ROWS)).sum::<usize>();
        let tiles = if kind == Kind::GateUp { rows[0].div_ceil(NARROW_ROWS / 2) } else { tiles } as u32;
        let token_tiles = span.count.div_ceil(NARROW_TOKENS);
        let steps = kind.columns(config).div_ceil(NARROW_COLUMNS) as u32;
        let splits = self.splits(kind, span, NARROW_EACH, tiles * token_tiles, steps);
        let (vectors, out) = self.operands(kind, span);
        let narrow = Narrow {
            weights,
            rows: rows.map(|rows| rows as u32),
            total: kind.rows(config) as u32,
            vectors,
            out,
            capacity: self.prompts.capacity as u32,
            tokens: span.count,
            splits,
            scale: scale(kind),
        };
        let function = self.kernels.get(NARROW_NAMES[kind as usize])?;
        let launch = LaunchConfig { grid: (tiles, token_tiles * splits), ..LaunchConfig::new(1, NARROW_THREADS) };
        self.submit_main(function, launch, arguments![narrow])?;
        Ok(splits)
    }

    /// In how many parts sums are computed, so that `tiles` tiles fill the card. The gated product needs whole sums.
    fn splits(&self, kind: Kind, span: Span, blocks_each: u32, tiles: u32, most: u32) -> u32 {
        if kind == Kind::GateUp {
            return 1;
        }
        let room = self.prompts.sums_rows as u32 / span.count;
        (blocks_each * self.prompts.multiprocessors / tiles).min(room).min(most).clamp(1, MOST_SPLITS)
    }

    /// Where a product finds its vectors, and puts its result.
    fn operands(&self, kind: Kind, span: Span) -> (u64, u64) {
        let prompts = &self.prompts;
        match kind {
            Kind::Qkv => (span.of(prompts.normed), prompts.sums),
            Kind::Output => (span.of(prompts.attended), prompts.sums),
            Kind::GateUp => (span.of(prompts.normed), span.of(prompts.inner)),
            Kind::Down => (span.of(prompts.inner), prompts.sums),
        }
    }
}

/// Whether so few tokens are left that expanding weights for all of them together does not pay.
fn few(span: Span) -> bool {
    span.count <= FEW_TOKENS
}

/// What sums are multiplied with.
fn scale(kind: Kind) -> f32 {
    if kind == Kind::Down { INNER_SCALE } else { 1.0 }
}
