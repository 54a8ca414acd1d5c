//! What can be wrong with a file, and with what its metadata says.

use std::path::PathBuf;

/// Why a file could not be opened as GGUF.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file could not be opened or mapped.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not well formed.
    #[error("{}: not a usable GGUF file: byte {offset}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        problem: Problem,
    },
}

/// What is wrong at one place of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Problem {
    #[error("the first bytes are \"{}\", not \"GGUF\"", found.escape_ascii())]
    Magic { found: [u8; 4] },
    #[error("the file is big-endian; only little-endian files are read")]
    BigEndian,
    #[error("version {found} of the format; versions 2 and 3 are read")]
    Version { found: u32 },
    #[error("the file ends here: {what} needs {needed} more bytes and {left} are left")]
    Truncated { what: &'static str, needed: u64, left: u64 },
    #[error("{count} {what} cannot fit into the {left} bytes that are left")]
    Count { what: &'static str, count: u64, left: u64 },
    #[error("{what} is {length} bytes long; at most {limit} are allowed")]
    TooLong { what: &'static str, length: u64, limit: u64 },
    #[error("{what} is not valid UTF-8")]
    Utf8 { what: &'static str },
    #[error("{what} is empty")]
    Empty { what: &'static str },
    #[error("metadata key {key:?} appears twice")]
    DuplicateKey { key: String },
    #[error("tensor {name:?} appears twice")]
    DuplicateTensor { name: String },
    #[error("metadata value has type {found}; types 0 to 12 exist")]
    ValueType { found: u32 },
    #[error("an array of arrays; they are not supported")]
    NestedArray,
    #[error("a boolean is stored as {found}; it must be 0 or 1")]
    Bool { found: u8 },
    #[error("`general.alignment` is {found}; it must be a u32 that is a power of two and a multiple of 8")]
    Alignment { found: String },
    #[error("tensor {name:?} has {found} dimensions; 1 to 4 are allowed")]
    Dimensions { name: String, found: u32 },
    #[error("tensor {name:?}: dimension {index} is zero")]
    ZeroDimension { name: String, index: usize },
    #[error("tensor {name:?}: shape {shape:?} overflows 64 bits")]
    ShapeOverflow { name: String, shape: Vec<u64> },
    #[error("tensor {name:?} has element type {number}{}; it cannot be read by this program", ggml_name.map(|n| format!(" ({n})")).unwrap_or_default())]
    TensorType { name: String, number: u32, ggml_name: Option<&'static str> },
    #[error("tensor {name:?}: rows of {row} elements are no whole number of {dtype} blocks of {block}")]
    RowBlocks { name: String, row: u64, dtype: &'static str, block: u64 },
    #[error("tensor {name:?}: offset {offset} is no multiple of the alignment {alignment}")]
    Misaligned { name: String, offset: u64, alignment: u64 },
    #[error("tensor {name:?}: its {bytes} bytes at {offset} of the data section end beyond the file of {file} bytes")]
    OutOfBounds { name: String, offset: u64, bytes: u64, file: u64 },
    #[error("tensors {first:?} and {second:?} overlap")]
    Overlap { first: String, second: String },
}

/// Why a metadata key did not give what was asked of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The key is not there.
    #[error("metadata key `{key}` is missing; expected {expected}")]
    Missing {
        /// The key.
        key: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The key holds something else.
    #[error("metadata key `{key}`: expected {expected}, found {found}")]
    Unexpected {
        /// The key.
        key: String,
        /// What it should hold.
        expected: String,
        /// What it holds.
        found: String,
    },
}

/// Turns "the key is missing" into `None` for keys that may be.
pub trait MetadataResultExt<T> {
    /// `Ok(None)` where the key is missing; other errors stay.
    ///
    /// # Errors
    /// Every [`MetadataError`] but `Missing`.
    fn optional(self) -> Result<Option<T>, MetadataError>;
}

impl<T> MetadataResultExt<T> for Result<T, MetadataError> {
    fn optional(self) -> Result<Option<T>, MetadataError> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(MetadataError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
