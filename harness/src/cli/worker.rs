//! `qa worker NAME`: this very program as a backend's worker, so that nothing else needs installing.

use crate::exit;
use clap::ValueEnum;
use std::io;

/// A built-in backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Builtin {
    /// The CUDA decoder.
    Native,
    /// The CPU oracle.
    Reference,
    /// The user's llama.cpp.
    LlamaCpp,
    /// The user's Ollama.
    Ollama,
    /// A server with the API of `OpenAI`.
    #[value(name = "openai")]
    OpenAi,
    /// A scripted worker.
    Fake,
}

/// Serve the protocol on standard input and output until told `bye`.
pub fn run(backend: Builtin) -> u8 {
    let served: io::Result<()> = match backend {
        Builtin::Native => qa_protocol::serve(qa_native::worker()),
        Builtin::Reference => qa_protocol::serve(qa_reference::worker()),
        Builtin::LlamaCpp => qa_protocol::serve(qa_llama_cpp::worker()),
        Builtin::Ollama => qa_protocol::serve(qa_ollama::worker()),
        Builtin::OpenAi => qa_protocol::serve(qa_openai::worker()),
        Builtin::Fake => qa_fake::serve(),
    };
    match served {
        Ok(()) => exit::OK,
        Err(e) => {
            eprintln!("qa worker: {e}");
            exit::IO
        }
    }
}
