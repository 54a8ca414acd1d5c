//! The user's own llama.cpp as a backend.
//!
//! Three of its programs answer three questions, each in a process of its own:
//!
//! | program | asked for | by |
//! | --- | --- | --- |
//! | `llama-bench` | times, build, devices, offload | [`mod@bench`] |
//! | `llama-server` on a loopback port | token ids, beside the timed run | [`server`] |
//! | `llama-perplexity` | log-probabilities of a text | [`perplexity`] |
//!
//! Nothing here is linked against llama.cpp: what it says is read field by field, by name. Fields that are not known are
//! ignored, a field that is needed and missing is an error that names it.

pub mod bench;
pub mod child;
pub mod device;
pub mod kl_base;
pub mod log;
pub mod nvidia;
pub mod oneshot;
pub mod options;
pub mod perplexity;
pub mod programs;
pub mod server;
mod worker;

pub use options::Options;
pub use programs::{Installation, find};
pub use worker::{Limits, LlamaCpp};

/// The worker, for [`qa_protocol::serve`]. It looks for llama.cpp when it is asked to prepare, not before.
pub fn worker() -> impl qa_protocol::Worker {
    LlamaCpp::default()
}
