//! Streams, and events that order them.

use crate::error::Result;
use cudarc::driver::{result, sys};

/// A queue of work that does not wait for the default stream.
#[derive(Debug)]
pub struct Stream {
    handle: sys::CUstream,
}

impl Stream {
    /// A new queue.
    ///
    /// # Errors
    /// What the driver says.
    pub fn new() -> Result<Self> {
        Ok(Self { handle: result::stream::create(result::stream::StreamKind::NonBlocking)? })
    }

    pub(super) fn handle(&self) -> sys::CUstream {
        self.handle
    }

    /// Waits for all of its work.
    ///
    /// # Errors
    /// What the driver says, faults of kernels included.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream is valid.
        Ok(unsafe { result::stream::synchronize(self.handle) }?)
    }

    /// Whether all of its work is done.
    ///
    /// # Errors
    /// What the driver says, faults of kernels included.
    pub fn is_idle(&self) -> Result<bool> {
        // SAFETY: the stream is valid.
        match unsafe { sys::cuStreamQuery(self.handle) } {
            sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            other => other.result().map(|()| true).map_err(Into::into),
        }
    }

    /// What follows on this stream comes after `event`.
    ///
    /// # Errors
    /// What the driver says.
    pub fn wait(&self, event: &Event) -> Result<()> {
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: both are valid.
        Ok(unsafe { result::stream::wait_event(self.handle, event.handle, flags) }?)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once; the driver lets its work finish.
        let _ = unsafe { result::stream::destroy(self.handle) };
    }
}

/// A point in a stream.
#[derive(Debug)]
pub struct Event {
    handle: sys::CUevent,
}

impl Event {
    /// An event that orders, and takes no time.
    ///
    /// # Errors
    /// What the driver says.
    pub fn new() -> Result<Self> {
        Ok(Self { handle: result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)? })
    }

    /// An event that also takes the time.
    ///
    /// # Errors
    /// What the driver says.
    pub fn timed() -> Result<Self> {
        Ok(Self { handle: result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT)? })
    }

    /// Waits until it has come to pass; at once where no stream was marked with it.
    ///
    /// # Errors
    /// What the driver says, faults of kernels included.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the event is valid.
        Ok(unsafe { result::event::synchronize(self.handle) }?)
    }

    /// Marks the present end of a stream.
    ///
    /// # Errors
    /// What the driver says.
    pub fn record(&self, stream: &Stream) -> Result<()> {
        // SAFETY: both are valid.
        Ok(unsafe { result::event::record(self.handle, stream.handle()) }?)
    }

    /// Seconds from `self` to `later`, both timed; waits for `later`.
    ///
    /// # Errors
    /// What the driver says.
    pub fn seconds_to(&self, later: &Self) -> Result<f64> {
        // SAFETY: both events are valid and were recorded.
        unsafe {
            result::event::synchronize(later.handle)?;
            Ok(f64::from(result::event::elapsed(self.handle, later.handle)?) / 1e3)
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        let _ = unsafe { result::event::destroy(self.handle) };
    }
}
