//! What kernels are given: the twins of `model.cuh`.

use qa_kernels::Format;

/// A tensor in device memory; zeros where there is none.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Tensor {
    /// Address of the packed rows.
    pub data: u64,
    /// [`Format`] as a number.
    pub format: u32,
    /// Unused.
    pub padding: u32,
}

impl Tensor {
    /// A tensor of a format at an address.
    pub fn new(data: u64, format: Format) -> Self {
        Self { data, format: format as u32, padding: 0 }
    }

    /// Bytes of so many rows of so many columns; 0 where there is no tensor.
    pub fn bytes(&self, rows: usize, columns: usize) -> u64 {
        let format = Format::ALL.into_iter().find(|&format| format as u32 == self.format && self.data != 0);
        format.map_or(0, |format| (rows * format.row_bytes(columns)) as u64)
    }
}

/// A transformer block's weights. Missing biases are 0.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Layer {
    pub query: Tensor,
    pub key: Tensor,
    pub value: Tensor,
    pub output: Tensor,
    pub gate: Tensor,
    pub up: Tensor,
    pub down: Tensor,
    pub attention_norm: u64,
    pub feed_forward_norm: u64,
    pub query_bias: u64,
    pub key_bias: u64,
    pub value_bias: u64,
    pub output_bias: u64,
}

/// Buffers by address; `model.cuh` has their shapes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Buffers {
    pub residual: u64,
    pub normed: u64,
    pub qkv: u64,
    pub keys: u64,
    pub values: u64,
    pub pieces: u64,
    pub attended: u64,
    pub inner: u64,
    pub inner_vector: u64,
    pub logits: u64,
    pub candidates: u64,
    pub state: u64,
    pub forced: u64,
    pub produced: u64,
    pub rope: u64,
    pub embedding: Tensor,
    pub head: Tensor,
    pub output_norm: u64,
    pub residual_quads: u64,
    pub qkv_quads: u64,
    pub piece_quads: u64,
    pub inner_quads: u64,
    pub candidate_words: u64,
    pub trace: u64,
    pub context: u32,
    pub candidate_count: u32,
}

/// No token.
pub const NO_TOKEN: u32 = u32::MAX;

/// The part of the sequence's state that the host sets before a run.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Start {
    /// Position of the token that is read next.
    pub position: u32,
    /// That token.
    pub token: u32,
    /// Tokens delivered so far.
    pub produced: u32,
    /// Tokens that are given, whatever was the likeliest.
    pub forced: u32,
    /// 1: each pass keeps its logits in a row of their own.
    pub keep_logits: u32,
    /// The resident grid stops when so many tokens are delivered.
    pub limit: u32,
    /// 1 once a token of `stop` was delivered.
    pub stopped: u32,
    /// Ids that end a text.
    pub stop: [u32; 4],
}

/// The likeliest token among some rows of the head.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Candidate {
    pub logit: f32,
    pub id: u32,
}

/// How tokens are drawn.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Sampling {
    /// Mass to keep in units of 2^-64; 0 keeps all.
    pub top_p: u64,
    /// Same seed, same tokens.
    pub seed: u64,
    /// log2(e) / temperature.
    pub octaves_per_logit: f32,
    /// Tokens to keep; 0 keeps all.
    pub top_k: u32,
}

/// Index of words of the state that the device keeps for itself.
pub mod word {
    /// Position of the token that is read next.
    pub const POSITION: usize = 0;
    /// Tokens delivered.
    pub const PRODUCED: usize = 2;
    /// Exchanges between blocks of the grid, or arrivals at its barrier, before a launch.
    pub const EPOCH: usize = 11;
    /// Barriers or exchanges across the grid so far.
    pub const SYNCS: usize = 12;
    /// 1: a barrier was not reached.
    pub const ABORT: usize = 13;
    /// How tokens are drawn: a [`super::Sampling`].
    pub const SAMPLING: usize = 14;
    /// What block 0 counts wrongly.
    pub const SKEW: usize = 21;
    /// Arrivals at the grid barrier.
    pub const ARRIVALS: usize = 32;
    /// All words.
    pub const COUNT: usize = 64;
}

/// The tokens of a pass.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Pass {
    /// How many.
    pub count: u32,
    /// Position of the first, in a prompt.
    pub start: u32,
    /// 1: a piece of a prompt; 0: one token at the state's position.
    pub prompt: u32,
}

// `model.cuh` asserts the same.
const _: () = assert!(size_of::<Layer>() == 160 && size_of::<Buffers>() == 216 && size_of::<Start>() == 44);
const _: () = assert!(size_of::<Sampling>() == 24);
