//! A model's shape, and the kernels that it needs.

use crate::format::{Format, FormatSet};
use crate::kv_cache::KvCache;
use qa_model::{ModelConfig, RopeStyle};

/// Warps that share a row at most: `LARGEST_TEAM` of `tiles.cuh`.
const LARGEST_TEAM: usize = 8;

/// Everything that enters kernels as a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Extents, norm and rotation.
    pub config: ModelConfig,
    /// Most pieces that a sequence is attended in.
    pub splits: u32,
    /// Multiply floats with floats, whatever the weights are.
    pub float_activations: bool,
    /// How cached keys and values are kept.
    pub kv_cache: KvCache,
    /// Formats of `attn_q`, `attn_k` and `attn_v`.
    pub qkv: FormatSet,
    /// Formats of `attn_output`.
    pub output: FormatSet,
    /// Formats of `ffn_gate` and `ffn_up`.
    pub gate_up: FormatSet,
    /// Formats of `ffn_down`.
    pub down: FormatSet,
    /// Format of the head.
    pub head: FormatSet,
    /// Format of the embedding.
    pub embedding: FormatSet,
}

/// One compilation: an operation with its constants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// A name for people and counters, such as `project_Q5_0_896x1_for_a0`.
    pub name: String,
    /// The operation's file.
    pub file: &'static str,
    /// The entry point.
    pub entry: &'static str,
    /// Constants beside the shape's: name and value.
    pub constants: Vec<(&'static str, u32)>,
}

impl Kernel {
    /// An operation that the shape alone fixes.
    pub fn plain(file: &'static str, entry: &'static str) -> Self {
        Self { name: entry.to_owned(), file, entry, constants: Vec::new() }
    }
}

impl Shape {
    /// Formats that vectors of the hidden width serve.
    pub fn hidden_set(&self) -> FormatSet {
        self.qkv.union(self.gate_up).union(self.head)
    }

    /// Bytes of a vector of `columns` elements for weights of `set`: `Activations::BYTES` of `activations.cuh`.
    pub fn vector_bytes(&self, columns: usize, set: FormatSet) -> usize {
        let groups = columns / 32;
        let int8 = !self.float_activations && set.iter().any(|format| !format.is_float());
        let float = self.float_activations || set.iter().any(Format::is_float);
        let float_at = if int8 { (groups * 40).next_multiple_of(16) } else { 0 };
        float_at + if float { groups * 128 } else { 0 }
    }

    /// Dynamic shared memory that a block of a fused kernel cannot do without in a grid of `blocks`: `OWN_AT` of
    /// `phases.cuh`, rows of the block, and a ring for the longest row. `layer_bytes`: of a layer's addresses.
    pub fn fused_shared_bytes(&self, blocks: usize, layer_bytes: usize) -> usize {
        let config = &self.config;
        let (hidden, query, inner) = (config.hidden, config.query_width(), config.intermediate);
        let normed = self.vector_bytes(hidden, self.hidden_set()).next_multiple_of(16);
        let octets = self.inner_unit() == 8;
        let inner_bytes = if octets { 2 * inner } else { self.vector_bytes(inner, self.down) };
        let other = self.vector_bytes(query, self.output).max(inner_bytes);
        let fixed = size_of::<f32>() * hidden + normed + other.next_multiple_of(16) + config.layers * layer_bytes;
        let most = |rows: usize, unit: usize| unit * (rows / unit / blocks + 1);
        let most_rows = most((query + 2 * config.kv_width()).max(hidden), 4).max(most(inner, self.inner_unit()));
        let own = (2 + LARGEST_TEAM) * most_rows * size_of::<f32>();
        let row =
            |set: FormatSet, columns: usize| set.iter().map(|format| format.row_bytes(columns)).max().unwrap_or(0);
        let longest = row(self.hidden_set(), hidden).max(row(self.output, query)).max(row(self.down, inner));
        fixed + own + longest
    }

    /// Quads of rows that every phase of a fused kernel has: as many blocks can have a share of each.
    pub fn fused_shares(&self) -> usize {
        let config = &self.config;
        let quads = (config.query_width() + 2 * config.kv_width()).min(config.hidden) / 4;
        quads.min(config.intermediate / self.inner_unit())
    }

    /// Neighbouring inner values that travel together: `INNER_UNIT` of `phases.cuh`.
    fn inner_unit(&self) -> usize {
        if self.float_activations || self.down.iter().any(Format::is_float) { 4 } else { 8 }
    }

    /// The constants as compiler options.
    pub(crate) fn options(&self) -> Vec<String> {
        let config = &self.config;
        let numbers = [
            ("HIDDEN", config.hidden as u32),
            ("INTER", config.intermediate as u32),
            ("HEADS", config.heads as u32),
            ("KV_HEADS", config.kv_heads as u32),
            ("HEAD_DIM", config.head_dim as u32),
            ("VOCAB", config.vocab as u32),
            ("LAYERS", config.layers as u32),
            ("ROPE_DIMS", config.rope.dims as u32),
            ("ROPE_NEOX", u32::from(config.rope.style == RopeStyle::Neox)),
            ("SPLITS", self.splits),
            ("FLOAT_ACTIVATIONS", u32::from(self.float_activations)),
            ("KV_CACHE", self.kv_cache as u32),
            ("QKV", self.qkv.bits()),
            ("OUT", self.output.bits()),
            ("GATE_UP", self.gate_up.bits()),
            ("DOWN", self.down.bits()),
            ("HEAD", self.head.bits()),
            ("EMBED", self.embedding.bits()),
        ];
        let mut options: Vec<String> = numbers.iter().map(|(name, value)| format!("-DQA_{name}={value}")).collect();
        options.push(format!("-DQA_EPSILON={:e}f", config.rms_epsilon));
        options
    }

    /// The name of one of [`Shape::project`]'s kernels: projections of one width for vectors of different kinds differ.
    pub fn project_name(format: Format, columns: usize, vectors: FormatSet, tokens: u32) -> String {
        format!("project_{format}_{columns}x{tokens}_for_{:x}", vectors.bits())
    }

    /// Matrix products of `set`, one a format: rows of `columns`, vectors that serve `vectors`, `tokens` vectors a tile.
    pub fn project(columns: usize, vectors: FormatSet, set: FormatSet, tokens: u32) -> Vec<Kernel> {
        let kernel = |format| Kernel {
            name: Self::project_name(format, columns, vectors, tokens),
            file: "project.cu",
            entry: "project",
            constants: vec![
                ("COLUMNS", columns as u32),
                ("VECTOR_SET", vectors.bits()),
                ("FORMATS", FormatSet::only(format).bits()),
                ("TOKENS", tokens),
            ],
        };
        set.iter().map(kernel).collect()
    }

    /// The gated half of the feed-forward for `tokens` vectors a tile.
    pub fn gate_up(&self, tokens: u32) -> Kernel {
        Kernel {
            name: format!("gate_up_x{tokens}"),
            file: "gate_up.cu",
            entry: "gate_up",
            constants: vec![("FORMATS", self.gate_up.bits()), ("TOKENS", tokens)],
        }
    }

    /// The name of [`Shape::decode`]'s kernel.
    pub fn decode_name(fused: bool, sampled: bool) -> &'static str {
        match (fused, sampled) {
            (false, false) => "decode_unfused",
            (false, true) => "decode_unfused_sampled",
            (true, false) => "decode_fused",
            (true, true) => "decode_fused_sampled",
        }
    }

    /// The whole decode in one launch. With `sampled`, tokens are drawn at random; with `trace`, blocks record when their
    /// phases run.
    pub fn decode(fused: bool, sampled: bool, trace: bool) -> Kernel {
        let constants = [("SAMPLED", sampled), ("TRACE", trace)];
        Kernel {
            name: Self::decode_name(fused, sampled).to_owned(),
            file: if fused { "decode.cu" } else { "decode_unfused.cu" },
            entry: "decode",
            constants: constants.map(|(name, on)| (name, u32::from(on))).to_vec(),
        }
    }

    /// The name of [`Shape::advance`]'s kernel.
    pub fn advance_name(sampled: bool) -> &'static str {
        if sampled { "advance_sampled" } else { "advance" }
    }

    /// The choice of the next token; with `sampled`, at random.
    pub fn advance(sampled: bool) -> Kernel {
        Kernel {
            name: Self::advance_name(sampled).to_owned(),
            file: "advance.cu",
            entry: "advance",
            constants: vec![("SAMPLED", u32::from(sampled))],
        }
    }
}
