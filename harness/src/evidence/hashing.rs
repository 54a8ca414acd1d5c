//! Files that are hashed while they are read once, for another purpose.

use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

/// Hashes what is read through it.
pub(super) struct Hashing<R> {
    inner: R,
    digest: Sha256,
    bytes: u64,
}

/// A file's size and hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

impl<R: Read> Hashing<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, digest: Sha256::new(), bytes: 0 }
    }

    /// Read what is left, and say what it was.
    ///
    /// # Errors
    /// What the reader says.
    pub(super) fn finish(mut self) -> io::Result<Content> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(Content { bytes: self.bytes, sha256: qa_model::hash::hex(&self.digest.finalize()) })
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}
