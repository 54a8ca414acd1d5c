//! The CUDA decoder: GGUF models on NVIDIA cards, with four optimisations as switches.
//!
//! Kernels are `qa-kernels`'; this crate finds the card, loads weights, submits what [`switches::Switches`] ask for, and
//! speaks the protocol. Building it needs nothing of CUDA; without a card it says "awaiting hardware".

mod bandwidth;
mod cupti;
pub mod decoder;
pub mod drafts;
pub mod error;
pub mod gpu;
pub mod kernels;
mod layout;
pub mod options;
mod profile;
mod prompt;
pub mod selftest;
mod submit;
pub mod switches;
pub mod trace;
mod verify;
pub mod weights;
mod witness;
mod worker;

pub use cupti::version as cupti_version;
pub use decoder::{DEFAULT_CONTEXT, Decoder, Generation, Options};
pub use error::{Error, Result};
pub use gpu::Gpu;
pub use switches::Switches;
pub use trace::{PhaseSpan, Trace};
pub use worker::worker;
