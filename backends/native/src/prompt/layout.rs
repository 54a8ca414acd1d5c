//! What kernels for prompts are given: the twins of structs in `prompt_expand.cu`, `prompt_product.cu` and
//! `prompt_narrow.cu`.

use crate::layout::Tensor;

/// Which matrix an expansion is of; the numbers are those of `enum Role`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
#[repr(u32)]
pub enum Role {
    Qkv,
    Output,
    Gate,
    Up,
    Down,
}

/// Rows of a matrix that become rows of an operand.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Expansion {
    /// The matrix.
    pub weight: Tensor,
    /// Address of the operand.
    pub to: u64,
    /// [`Role`] as a number.
    pub role: u32,
    /// Row of the matrix.
    pub first: u32,
    /// How many from there; both are multiples of 32.
    pub rows: u32,
    /// Row of the operand that `first` comes to, except in gate and up.
    pub place: u32,
    /// Rows of the operand.
    pub stride: u32,
    /// Unused.
    pub padding: u32,
}

/// Most expansions of a launch.
pub const MOST_JOBS: usize = 8;

/// The expansions of a launch; those without rows do nothing.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Expansions {
    /// Each a row of blocks.
    pub jobs: [Expansion; MOST_JOBS],
}

/// A product's launch.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Product {
    /// Operand of `stride` rows.
    pub weights: u64,
    /// Operand of `capacity` rows.
    pub vectors: u64,
    /// Sums, or an operand of `capacity` rows.
    pub out: u64,
    /// Row of the result that the first row of weights makes.
    pub first: u32,
    /// Rows of the result that these weights make.
    pub count: u32,
    /// Rows of the whole result.
    pub rows: u32,
    /// Rows of the operand of weights.
    pub stride: u32,
    /// Rows of the operands of vectors.
    pub capacity: u32,
    /// Tokens.
    pub tokens: u32,
    /// Pairs of groups in a row.
    pub steps: u32,
    /// Parts that a sum is computed in.
    pub splits: u32,
    /// What sums are multiplied with.
    pub scale: f32,
    /// Unused.
    pub padding: u32,
}

/// The launch of a product of few tokens.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Narrow {
    /// One matrix; queries', keys' and values'; or gate and up.
    pub weights: [Tensor; 3],
    /// Rows of each; 0 where there is none.
    pub rows: [u32; 3],
    /// Rows of the whole result.
    pub total: u32,
    /// Operand of `capacity` rows.
    pub vectors: u64,
    /// Sums, or an operand of `capacity` rows.
    pub out: u64,
    /// Rows of the operands of vectors.
    pub capacity: u32,
    /// Tokens.
    pub tokens: u32,
    /// Parts that a sum is computed in.
    pub splits: u32,
    /// What sums are multiplied with.
    pub scale: f32,
}

// The sources assert the same.
const _: () = assert!(size_of::<Expansion>() == 48 && size_of::<Product>() == 64 && size_of::<Narrow>() == 96);
