//! GGUF files: a hardened reader over a read-only map, and a writer of headers.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, little-endian. The reader
//! trusts nothing that the file says of itself: every count is held against the bytes that are left before anything is
//! allocated for it, and every offset against the end of the file.

mod cursor;
mod error;
mod metadata;
mod parse;
mod tensor_type;
mod value;
mod write;

pub use error::{GgufError, MetadataError, MetadataResultExt, Problem};
pub use tensor_type::TensorType;
pub use value::{Array, Value, ValueType};
pub use write::{TensorPlan, write_header};

use std::collections::HashMap;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};

use memmap2::Mmap;

/// Alignment of tensor data where `general.alignment` says nothing, in bytes.
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// One tensor as the header describes it; checked to lie inside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Extents, fastest-varying first: a matrix of `rows` x `columns` reads `[columns, rows]`.
    pub shape: Vec<u64>,
    /// How the elements are stored.
    pub dtype: TensorType,
    /// Where the data begins, in bytes from the start of the file.
    pub offset: u64,
    /// Length of the data in bytes.
    pub bytes: u64,
}

impl TensorInfo {
    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Elements in one row (the fastest-varying extent).
    pub fn row_len(&self) -> u64 {
        self.shape[0]
    }

    /// Number of rows: the product of all extents but the first.
    pub fn rows(&self) -> u64 {
        self.shape[1..].iter().product()
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> u64 {
        self.bytes / self.rows()
    }
}

/// Where the bytes of a file are.
#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Static(&'static [u8]),
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// An open GGUF file: header parsed and checked, data mapped read-only.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    map: Bytes,
    version: u32,
    alignment: u64,
    metadata: Vec<(String, Value)>,
    keys: HashMap<String, usize>,
    tensors: Vec<TensorInfo>,
    names: HashMap<String, usize>,
}

impl Gguf {
    /// Opens, maps and checks a file.
    ///
    /// # Errors
    /// [`GgufError::Io`] where it cannot be opened or mapped; [`GgufError::Malformed`], with the byte offset, where
    /// it is no well-formed GGUF file or uses an element type that this program cannot read.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let io = |source| GgufError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: the map is read-only. A file that somebody truncates or rewrites while it is mapped would break the
        // promise that the bytes stay put; that holds for every mapped file, and model files are written once (this
        // program itself replaces them by renaming, which leaves existing maps intact).
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Self::parse(path, Bytes::Mapped(map))
    }

    /// Reads a file that is part of the program; `name` takes the place of a path.
    ///
    /// # Errors
    /// [`GgufError::Malformed`], as [`Gguf::open`].
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Self, GgufError> {
        Self::parse(Path::new(name), Bytes::Static(bytes))
    }

    /// Reads a file that was made in memory; `name` takes the place of a path.
    ///
    /// # Errors
    /// [`GgufError::Malformed`], as [`Gguf::open`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, GgufError> {
        Self::parse(Path::new(name), Bytes::Owned(bytes))
    }

    fn parse(path: &Path, map: Bytes) -> Result<Self, GgufError> {
        let path = path.to_owned();
        let header = match parse::header(&map) {
            Ok(header) => header,
            Err((offset, problem)) => return Err(GgufError::Malformed { path, offset, problem }),
        };
        let keys = header.metadata.iter().enumerate().map(|(i, (key, _))| (key.clone(), i)).collect();
        let names = header.tensors.iter().enumerate().map(|(i, tensor)| (tensor.name.clone(), i)).collect();
        Ok(Self {
            path,
            map,
            version: header.version,
            alignment: header.alignment,
            metadata: header.metadata,
            keys,
            tensors: header.tensors,
            names,
        })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Alignment of tensor data in bytes.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Length of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.map.len() as u64
    }

    /// The value of a metadata key.
    pub fn metadata(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).map(|&index| &self.metadata[index].1)
    }

    /// All metadata in the order of the file.
    pub fn metadata_iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.metadata.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// All tensors in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.names.get(name).map(|&index| &self.tensors[index])
    }

    /// The raw data of a tensor of this file.
    ///
    /// # Panics
    /// If `tensor` was not obtained from this file and does not lie inside it.
    pub fn data(&self, tensor: &TensorInfo) -> &[u8] {
        &self.map[tensor.offset as usize..(tensor.offset + tensor.bytes) as usize]
    }

    /// The raw data of some rows of a tensor of this file.
    ///
    /// # Panics
    /// If the range reaches past the tensor's rows, or as [`Gguf::data`].
    pub fn row_data(&self, tensor: &TensorInfo, rows: Range<u64>) -> &[u8] {
        let row = tensor.row_bytes();
        &self.data(tensor)[(rows.start * row) as usize..(rows.end * row) as usize]
    }
}

#[cfg(test)]
mod tests;
