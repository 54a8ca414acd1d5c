//! A bounds-checked little-endian reader over untrusted bytes.

use super::error::Problem;

/// A problem and where it is, in bytes from the start of the file.
pub(super) type At<T> = Result<T, (u64, Problem)>;

/// Reads forward through a slice; every read says what it was for.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn position(&self) -> u64 {
        self.position as u64
    }

    pub(super) fn left(&self) -> u64 {
        (self.bytes.len() - self.position) as u64
    }

    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: u64, what: &'static str) -> At<&'a [u8]> {
        if length > self.left() {
            return Err((self.position(), Problem::Truncated { what, needed: length, left: self.left() }));
        }
        let start = self.position;
        self.position += length as usize;
        Ok(&self.bytes[start..self.position])
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> At<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64, what)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> At<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> At<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A count of things of at least `min_bytes` each; refused where they cannot fit into what is left, so that
    /// whoever allocates for it allocates no more than a small multiple of the file.
    pub(super) fn count(&mut self, min_bytes: u64, what: &'static str) -> At<usize> {
        let at = self.position();
        let count = self.u64(what)?;
        if count > self.left() / min_bytes {
            return Err((at, Problem::Count { what, count, left: self.left() }));
        }
        Ok(count as usize)
    }

    /// A length-prefixed UTF-8 string of at most `limit` bytes.
    pub(super) fn string(&mut self, limit: u64, what: &'static str) -> At<String> {
        let at = self.position();
        let length = self.u64(what)?;
        if length > limit {
            return Err((at, Problem::TooLong { what, length, limit }));
        }
        let bytes = self.take(length, what)?;
        let text = std::str::from_utf8(bytes).map_err(|_| (at, Problem::Utf8 { what }))?;
        Ok(text.to_owned())
    }
}
