//! What can go wrong in the oracle.

/// Why a model could not be loaded or evaluated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not a GGUF file.
    #[error(transparent)]
    Gguf(#[from] qa_model::GgufError),
    /// The file does not describe a model that this decoder evaluates, or lacks some of it.
    #[error(transparent)]
    Config(#[from] qa_model::ConfigError),
    /// A tensor cannot be read.
    #[error("tensor `{name}`: {source}")]
    Dequantize {
        /// Its name.
        name: String,
        /// What is wrong with its data.
        source: qa_model::DequantizeError,
    },
    /// A source of weights lacks one.
    #[error("tensor `{0}` is missing")]
    Missing(String),
    /// A tensor operation failed: a bug, or memory ran out.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The pool of worker threads could not be started.
    #[error("cannot start {threads} threads: {source}; ask for fewer with the option `threads`")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the operating system said.
        source: rayon::ThreadPoolBuildError,
    },
    /// A token id is outside the vocabulary.
    #[error("token id {id} at index {index} is outside the vocabulary of {vocabulary} tokens")]
    Token {
        /// The offending id.
        id: u32,
        /// Its index in the tokens given.
        index: usize,
        /// Number of tokens in the vocabulary.
        vocabulary: usize,
    },
    /// Nothing to evaluate.
    #[error("no tokens were given: a pass needs at least one")]
    Empty,
    /// More positions than the model was made for.
    #[error(
        "{positions} positions were asked for, but the model's context is {context}: shorten the prompt or the generation"
    )]
    Context {
        /// Positions asked for.
        positions: usize,
        /// Context length of the model.
        context: usize,
    },
    /// The logits are not numbers.
    #[error(
        "the logits at position {position} hold no finite maximum: the model file is damaged or its weights overflow"
    )]
    NotFinite {
        /// Position within the tokens given.
        position: usize,
    },
    /// A request that makes no sense: what is wrong with it, and what would mend it.
    #[error("{0}")]
    Request(String),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
