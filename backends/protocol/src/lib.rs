//! The wire protocol between the harness and its backends.
//!
//! A backend is a process that answers JSON lines: one request a line on its standard input, one or more
//! replies a line on its standard output, logs on standard error. `README.md` beside this crate documents
//! it for authors in other languages; this crate holds the types, and [`serve`] for workers in Rust.

mod load;
mod profile;
mod serve;
mod wire;

pub use load::{Arrivals, Load, ServedRequest};
pub use profile::{Confirmation, Lane, LaneKind, Profile, ProfileRequest, Span, Timeline};
pub use serve::{Emit, Worker, answer, requests, serve};
pub use wire::{
    Capabilities, Device, DeviceKind, Drafts, Failure, FailureKind, Hello, KernelFacts, Memory, Metric, ModelRef,
    PrepareRequest, Prepared, Replicate, Reply, ReplyLine, Request, RequestLine, RunRequest, Sample, Sampling,
    ScoreRequest, ScoreRow, TokenSource, Witness,
};

/// The version of the protocol that this crate speaks. A worker of another version is refused at `hello`.
pub const VERSION: u32 = 1;

/// The longest line that either side may send, in bytes. A longer one is a fault of its sender.
pub const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;
