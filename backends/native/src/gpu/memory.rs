//! Device memory, and host memory that the device writes.

use crate::error::{Error, Result};
use cudarc::driver::{result, sys};
use std::ptr;

/// Bytes on the device.
#[derive(Debug)]
pub struct DeviceBuffer {
    address: u64,
    bytes: usize,
}

impl DeviceBuffer {
    /// Bytes that nothing has written yet. At least one is taken, so that the address is never null.
    ///
    /// # Errors
    /// [`Error::Memory`] where they cannot be had.
    pub fn new(bytes: usize) -> Result<Self> {
        // SAFETY: an allocation has no preconditions beyond a current context.
        let address = unsafe { result::malloc_sync(bytes.max(1)) }.map_err(|source| Error::Memory { bytes, source })?;
        Ok(Self { address, bytes })
    }

    /// Zeros.
    ///
    /// # Errors
    /// As [`DeviceBuffer::new`].
    pub fn zeros(bytes: usize) -> Result<Self> {
        let buffer = Self::new(bytes)?;
        buffer.fill(0)?;
        Ok(buffer)
    }

    /// A copy of host values.
    ///
    /// # Errors
    /// As [`DeviceBuffer::new`].
    pub fn of<T: Copy>(values: &[T]) -> Result<Self> {
        let buffer = Self::new(size_of_val(values))?;
        buffer.write(0, values)?;
        Ok(buffer)
    }

    /// Where it begins on the device.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets every byte, and waits for it.
    ///
    /// # Errors
    /// What the driver says.
    pub fn fill(&self, byte: u8) -> Result<()> {
        // SAFETY: the range is this allocation.
        unsafe { result::memset_d8_sync(self.address, byte, self.bytes) }?;
        Ok(result::ctx::synchronize()?)
    }

    /// Copies host values to `offset` bytes from the beginning, and waits for it.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Panics
    /// If they reach past the end: offsets are this program's own.
    pub fn write<T: Copy>(&self, offset: usize, values: &[T]) -> Result<()> {
        assert!(offset + size_of_val(values) <= self.bytes, "a write past the end of a device buffer");
        if values.is_empty() {
            return Ok(());
        }
        // SAFETY: the range lies inside this allocation.
        unsafe { result::memcpy_htod_sync(self.address + offset as u64, values) }?;
        // The copy returns once the values are staged; streams that do not wait for the default one must find them there.
        Ok(result::ctx::synchronize()?)
    }

    /// Copies `count` values from `offset` bytes on to the host, after everything submitted before.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Panics
    /// If they reach past the end.
    pub fn read<T: Copy + Default>(&self, offset: usize, count: usize) -> Result<Vec<T>> {
        assert!(offset + count * size_of::<T>() <= self.bytes, "a read past the end of a device buffer");
        result::ctx::synchronize()?;
        let mut values = vec![T::default(); count];
        if count > 0 {
            // SAFETY: the range lies inside this allocation, and the vector has room for it.
            unsafe { result::memcpy_dtoh_sync(&mut values, self.address + offset as u64) }?;
        }
        Ok(values)
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, freed once. After a fault the driver refuses, and the process is lost anyway.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

/// Buffers that kernels know by address only, kept as long as this is.
#[derive(Debug, Default)]
pub struct Arena(Vec<DeviceBuffer>);

impl Arena {
    /// The address of zeros.
    ///
    /// # Errors
    /// As [`DeviceBuffer::new`].
    pub fn zeros(&mut self, bytes: usize) -> Result<u64> {
        DeviceBuffer::zeros(bytes).map(|buffer| self.keep(buffer))
    }

    /// The address of a copy of host values.
    ///
    /// # Errors
    /// As [`DeviceBuffer::new`].
    pub fn of<T: Copy>(&mut self, values: &[T]) -> Result<u64> {
        DeviceBuffer::of(values).map(|buffer| self.keep(buffer))
    }

    /// The address of bytes that nothing has written yet.
    ///
    /// # Errors
    /// As [`DeviceBuffer::new`].
    pub fn unwritten(&mut self, bytes: usize) -> Result<u64> {
        DeviceBuffer::new(bytes).map(|buffer| self.keep(buffer))
    }

    fn keep(&mut self, buffer: DeviceBuffer) -> u64 {
        let address = buffer.address();
        self.0.push(buffer);
        address
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(DeviceBuffer::bytes).sum()
    }
}

/// Copies `count` values from a device address on to the host, after everything submitted before. For checks, which look
/// into buffers that kernels know by address only; the driver refuses what is no memory of the device.
///
/// # Errors
/// What the driver says.
pub fn read_at<T: Copy + Default>(address: u64, count: usize) -> Result<Vec<T>> {
    result::ctx::synchronize()?;
    let mut values = vec![T::default(); count];
    // SAFETY: the vector has room for what is copied; the device's side is the driver's to check.
    unsafe { result::memcpy_dtoh_sync(&mut values, address) }?;
    Ok(values)
}

/// Copies host values to a device address, and waits for it; see [`read_at`].
///
/// # Errors
/// What the driver says.
pub fn write_at<T: Copy>(address: u64, values: &[T]) -> Result<()> {
    // SAFETY: the values are initialised; the device's side is the driver's to check.
    unsafe { result::memcpy_htod_sync(address, values) }?;
    Ok(result::ctx::synchronize()?)
}

/// Words in host memory that the device writes while the host looks on.
#[derive(Debug)]
pub struct HostRing {
    host: *mut u32,
    address: u64,
    words: usize,
}

// SAFETY: the memory belongs to this value alone, and is only touched by volatile accesses.
unsafe impl Send for HostRing {}

impl HostRing {
    /// Zeroed words.
    ///
    /// # Errors
    /// [`Error::Memory`] where they cannot be had.
    pub fn new(words: usize) -> Result<Self> {
        let bytes = words * size_of::<u32>();
        // SAFETY: an allocation of host memory that the device may map; the size is not zero.
        let host = unsafe { result::malloc_host(bytes.max(4), sys::CU_MEMHOSTALLOC_DEVICEMAP) }
            .map_err(|source| Error::Memory { bytes, source })?
            .cast::<u32>();
        let mut address = 0;
        // SAFETY: the memory was just allocated as mapped.
        unsafe { sys::cuMemHostGetDevicePointer_v2(&raw mut address, host.cast(), 0) }.result()?;
        let ring = Self { host, address, words };
        ring.clear();
        Ok(ring)
    }

    /// Where the device sees it.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Number of words.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Zeros every word. Nothing may be under way on the device.
    pub fn clear(&self) {
        for i in 0..self.words {
            // SAFETY: inside the allocation.
            unsafe { ptr::write_volatile(self.host.add(i), 0) };
        }
    }

    /// Changes a word, for work that is submitted from here on.
    ///
    /// # Panics
    /// If there is none of that index.
    pub fn set(&self, index: usize, word: u32) {
        assert!(index < self.words, "a word past the end of a ring");
        // SAFETY: inside the allocation; the device may read it at any time, hence volatile.
        unsafe { ptr::write_volatile(self.host.add(index), word) };
    }

    /// A word as it is now.
    ///
    /// # Panics
    /// If there is none of that index.
    pub fn get(&self, index: usize) -> u32 {
        assert!(index < self.words, "a word past the end of a ring");
        // SAFETY: inside the allocation; the device may write it at any time, hence volatile.
        unsafe { ptr::read_volatile(self.host.add(index)) }
    }
}

impl Drop for HostRing {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, freed once.
        let _ = unsafe { result::free_host(self.host.cast()) };
    }
}
