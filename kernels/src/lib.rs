//! CUDA C++ kernels of a decoder, compiled at run time for the card and the model's shape.
//!
//! `cuda/` holds the sources: one operation a `.cu` file, device functions that operations share in `.cuh` headers. They
//! are part of the program. [`compile`] builds them with NVRTC, which needs no GPU and is found by [`Nvrtc::find`].

mod cache;
mod compile;
mod facts;
mod find;
mod format;
mod kv_cache;
mod nvrtc;
mod pack;
pub mod prompt;
mod shape;
mod sources;
mod target;
pub mod verify;

pub use cache::Cache;
pub use compile::{CompileError, Compiled, compile};
pub use facts::Facts;
pub use find::{libraries_named, library_folders};
pub use format::{Format, FormatSet};
pub use kv_cache::KvCache;
pub use nvrtc::{Nvrtc, NvrtcError};
pub use pack::{PackError, pack_rows};
pub use shape::{Kernel, Shape};
pub use sources::source_sha256;
pub use target::{Older, Target};

/// Threads of every block whose threads reduce together: `THREADS` of `prelude.cuh`.
pub const THREADS: u32 = 512;

/// Threads of a block that multiplies weights out of a ring: a warp more, which fills it. `RING_THREADS` of `ring.cuh`.
pub const RING_THREADS: u32 = THREADS + 32;

/// Architectures that kernels are compiled for: A100, RTX 30, RTX 40, H100, B200, RTX 50.
pub const ARCHITECTURES: [&str; 6] = ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"];
