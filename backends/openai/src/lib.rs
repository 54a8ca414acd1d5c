//! Servers with the API of OpenAI (vLLM, SGLang, llama-server and others) as a backend: timed where a client stands.
//!
//! A generation is streamed, and the samples are the times at which its parts arrive. HTTP, queueing and the server's own
//! work on text are in them, so a figure of this backend compares with another of this backend, not with one that was
//! taken inside a process.
//!
//! What can go wrong behind such a number is looked at each time: whether the prompt was evaluated or came from a cache,
//! how many tokens a part of the stream holds, whether as many came as were asked for, and whether the stream ended
//! properly. What a server does not tell is refused, never assumed.

mod api;
mod count;
mod dialect;
mod load;
mod options;
mod server;
mod stream;
mod worker;

pub use options::{Options, Place};
pub use worker::{Limits, OpenAi};

/// The worker, for [`qa_protocol::serve`]. It looks for the server when it is asked to prepare.
pub fn worker() -> impl qa_protocol::Worker {
    OpenAi::default()
}
