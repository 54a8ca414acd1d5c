//! What kernels that verify drafts are given: the twins of structs in `verify.cuh`.

use qa_kernels::verify::MOST_TOKENS;

/// The tokens of a pass, as the device keeps them.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Drafts {
    /// Position of the first.
    pub position: u32,
    /// How many.
    pub count: u32,
    /// The certain one, then drafts.
    pub tokens: [u32; MOST_TOKENS],
}

/// Buffers by address.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Verify {
    /// Host memory: how many drafts, then the drafts.
    pub given: u64,
    /// [`Drafts`].
    pub drafts: u64,
    /// Queries, turned and scaled.
    pub queries: u64,
    /// Keys and values on their way to an int8 cache.
    pub kept: u64,
    /// Pieces of attention.
    pub pieces: u64,
    /// Vectors for the output projection.
    pub attended: u64,
    /// Vectors for the down projection.
    pub inner: u64,
    /// The likeliest tokens among rows of the head.
    pub candidates: u64,
}

// The sources assert the same.
const _: () = assert!(size_of::<Drafts>() == 72 && size_of::<Verify>() == 64);
