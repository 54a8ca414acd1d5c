//! The user's own Ollama as a backend, over its HTTP API.
//!
//! Ollama times itself: `/api/generate` ends with counts and durations, and those are the samples. Its
//! `prompt_eval_duration` runs from the first evaluated prompt token to the first generated one, its `eval_duration`
//! from there to the last, which is `eval_count - 1` passes. HTTP, queueing and tokenising are in neither, so a
//! figure of this backend compares with another of this backend, not with one that was taken inside a process.
//!
//! What can go wrong behind such a number is looked at each time: whether the prompt was really evaluated (it is made
//! unique, since Ollama's cache of prompts cannot be turned off), whether as many tokens came as were asked for, and
//! whether the model is where it should be.

mod api;
mod options;
mod prompt;
mod worker;

pub use options::{Options, Place};
pub use worker::{Limits, Ollama};

/// The worker, for [`qa_protocol::serve`]. It looks for Ollama when it is asked to prepare.
pub fn worker() -> impl qa_protocol::Worker {
    Ollama::default()
}

/// A server that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its address, such as `http://127.0.0.1:11434`.
    pub url: String,
    /// Its version.
    pub version: String,
}

/// The server that an arm without the option `host` uses, if it answers.
pub fn find() -> Option<Found> {
    let limits = Limits::default();
    let api = api::Api::new(&options::address(None), limits);
    let version = api.version().ok()?;
    Some(Found { url: api.url().to_owned(), version })
}
