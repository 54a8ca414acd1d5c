//! What can go wrong, and what it means for a verdict.

mod driver;

use cudarc::driver::DriverError;
use qa_kernels::{CompileError, NvrtcError, PackError};
use qa_model::{ConfigError, GgufError, MetadataError};
use qa_protocol::Failure;
use std::fmt;

/// Everything here returns this.
pub type Result<T> = std::result::Result<T, Error>;

/// A step in the life of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphStep {
    /// The stream would not begin to capture.
    Begin,
    /// What was captured makes no graph.
    End,
    /// The graph could not be made executable.
    Instantiate,
    /// A replay was refused.
    Launch,
}

impl fmt::Display for GraphStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begin => "begin of the capture",
            Self::End => "end of the capture",
            Self::Instantiate => "instantiation",
            Self::Launch => "launch",
        })
    }
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("awaiting hardware: {0}")]
    NoGpu(String),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Nvrtc(#[from] NvrtcError),
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("tensor `{name}`: {source}")]
    Pack { name: String, source: PackError },
    #[error("{0}")]
    Unsupported(String),
    #[error("{bytes} bytes of GPU memory cannot be had: {}", driver::words(*source))]
    Memory { bytes: usize, source: DriverError },
    #[error("kernel `{kernel}` cannot be launched: {}", driver::words(*source))]
    Launch { kernel: String, source: DriverError },
    #[error("CUDA graph, {step}: {}", driver::words(*source))]
    Graph { step: GraphStep, source: DriverError },
    #[error("the CUDA driver: {}", driver::words(*.0))]
    Driver(#[from] DriverError),
    #[error("a barrier across the grid was not reached by all blocks in time; what was computed is worthless")]
    Barrier,
    #[error("the logits after position {position} are not all numbers")]
    NotFinite { position: usize },
    #[error("{0}")]
    Internal(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            // Another try would find no more memory.
            Error::NoGpu(_)
            | Error::Nvrtc(_)
            | Error::Memory { .. }
            | Error::Gguf(GgufError::Io { .. })
            | Error::Compile(CompileError::Nvrtc(NvrtcError::Missing { .. } | NvrtcError::Variable { .. })) => {
                Self::blocked(message)
            }
            Error::Config(_) | Error::Pack { .. } | Error::Unsupported(_) => Self::unsupported(message),
            _ => Self::failed(message),
        }
    }
}
