//! Large copies to the device, by way of host memory that the device reads by itself.

use super::stream::{Event, Stream};
use crate::error::{Error, Result};
use cudarc::driver::{result, sys};

/// Two buffers in turn: one is filled while the other travels.
#[derive(Debug)]
pub struct Upload {
    stream: Stream,
    buffers: [Pinned; 2],
    /// Which of them is filled next.
    next: usize,
}

/// Host memory that stays where it is.
#[derive(Debug)]
struct Pinned {
    host: *mut u8,
    bytes: usize,
    /// When what it held last has left it.
    free: Event,
}

impl Pinned {
    fn new(bytes: usize) -> Result<Self> {
        let free = Event::new()?;
        // SAFETY: an allocation of host memory; the size is not zero.
        let host = unsafe { result::malloc_host(bytes, 0) }.map_err(|source| Error::Memory { bytes, source })?.cast();
        let buffer = Self { host, bytes, free };
        // SAFETY: the allocation has so many bytes.
        unsafe { buffer.host.write_bytes(0, bytes) };
        Ok(buffer)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, freed once.
        let _ = unsafe { result::free_host(self.host.cast()) };
    }
}

impl Upload {
    /// Buffers for copies of up to `bytes`; a longer copy grows them.
    ///
    /// # Errors
    /// [`Error::Memory`] where they cannot be had.
    pub fn new(bytes: usize) -> Result<Self> {
        Ok(Self { stream: Stream::new()?, buffers: [Pinned::new(bytes)?, Pinned::new(bytes)?], next: 0 })
    }

    /// Lets `fill` write `bytes` bytes, and copies them to a device address after all copies before. Returns when they are
    /// written; they may still travel then.
    ///
    /// # Errors
    /// What `fill` or the driver says.
    pub fn copy(&mut self, address: u64, bytes: usize, fill: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<()> {
        let buffer = &mut self.buffers[self.next];
        buffer.free.synchronize()?;
        if buffer.bytes < bytes {
            *buffer = Pinned::new(bytes)?;
        }
        // SAFETY: the allocation has so many bytes, and the last copy from them is done; any value is a valid byte.
        let host = unsafe { std::slice::from_raw_parts_mut(buffer.host, bytes) };
        fill(host)?;
        // SAFETY: the source lives until the event below was waited for; the device's side is the driver's to check.
        unsafe { sys::cuMemcpyHtoDAsync_v2(address, host.as_ptr().cast(), bytes, self.stream.handle()) }.result()?;
        buffer.free.record(&self.stream)?;
        self.next = 1 - self.next;
        Ok(())
    }

    /// Waits until everything has arrived.
    ///
    /// # Errors
    /// What the driver says.
    pub fn finish(&self) -> Result<()> {
        self.stream.synchronize()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Nothing may read the buffers once they are freed.
        let _ = self.stream.synchronize();
    }
}
