//! The card: what this backend uses of the CUDA driver, each resource freed by its owner.
//!
//! One context, used from one thread at a time. Nothing here waits by itself: order is the stream's, and who reads results
//! synchronises first.

mod graph;
mod memory;
mod module;
mod stream;
mod upload;

pub use graph::Graph;
pub use memory::{Arena, DeviceBuffer, HostRing};
pub(crate) use memory::{read_at, write_at};
pub use module::{Function, LaunchConfig, Module};
pub use stream::{Event, Stream};
pub use upload::Upload;

use crate::error::{Error, Result};
use cudarc::driver::{result, sys};
use std::sync::Arc;

/// Names under which the driver's library is looked for.
const DRIVER_LIBRARIES: [&str; 2] = ["libcuda.so", "libcuda.so.1"];

/// Whether there is a driver at all. Cheap, and takes nothing of the card.
///
/// # Errors
/// [`Error::NoGpu`] where there is none.
pub fn driver() -> Result<()> {
    // The bindings panic where the library is missing, so it is asked for here first.
    // SAFETY: loading the driver's library runs its initialisers only.
    let present = DRIVER_LIBRARIES.iter().any(|name| unsafe { libloading::Library::new(*name) }.is_ok());
    if present { Ok(()) } else { Err(Error::NoGpu("no NVIDIA driver (libcuda.so.1) is installed".into())) }
}

/// A card with its primary context, current on the thread that opened it.
#[derive(Debug)]
pub struct Gpu {
    device: sys::CUdevice,
    context: sys::CUcontext,
}

// SAFETY: the driver's handles may be used from any thread on which the context is current; `bind` makes it so.
unsafe impl Send for Gpu {}
// SAFETY: as above; the driver locks its own state.
unsafe impl Sync for Gpu {}

impl Gpu {
    /// The first card.
    ///
    /// # Errors
    /// [`Error::NoGpu`] where there is no driver or no card.
    pub fn open() -> Result<Arc<Self>> {
        driver()?;
        result::init().map_err(|e| Error::NoGpu(format!("the NVIDIA driver finds no usable card: {e}")))?;
        let count = result::device::get_count()?;
        if count == 0 {
            return Err(Error::NoGpu("the NVIDIA driver sees no card".into()));
        }
        let device = result::device::get(0)?;
        // SAFETY: the device was just returned by the driver.
        let context = unsafe { result::primary_ctx::retain(device) }?;
        let gpu = Self { device, context };
        gpu.bind()?;
        Ok(Arc::new(gpu))
    }

    /// Makes the context current on this thread.
    ///
    /// # Errors
    /// What the driver says.
    pub fn bind(&self) -> Result<()> {
        // SAFETY: the context is retained for as long as `self` lives.
        Ok(unsafe { result::ctx::set_current(self.context) }?)
    }

    /// A property of the card.
    ///
    /// # Errors
    /// What the driver says.
    pub fn attribute(&self, attribute: sys::CUdevice_attribute) -> Result<u32> {
        // SAFETY: the device is valid.
        Ok(unsafe { result::device::get_attribute(self.device, attribute) }?.max(0) as u32)
    }

    /// Number of multiprocessors.
    ///
    /// # Errors
    /// What the driver says.
    pub fn multiprocessors(&self) -> Result<u32> {
        self.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
    }

    /// Shared memory that a block may have at most, in bytes.
    ///
    /// # Errors
    /// What the driver says.
    pub fn shared_of_block(&self) -> Result<usize> {
        self.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
            .map(|bytes| bytes as usize)
    }

    /// The architecture to compile for, such as `sm_90a`.
    ///
    /// # Errors
    /// What the driver says.
    pub fn architecture(&self) -> Result<String> {
        let major = self.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = self.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        // From Hopper on, the suffix allows what only this very architecture has.
        Ok(format!("sm_{major}{minor}{}", if major >= 9 { "a" } else { "" }))
    }

    /// The name on the box.
    ///
    /// # Errors
    /// What the driver says.
    pub fn name(&self) -> Result<String> {
        Ok(result::device::get_name(self.device)?)
    }

    /// Identity of the card, as `nvidia-smi` writes it.
    ///
    /// # Errors
    /// What the driver says.
    pub fn uuid(&self) -> Result<String> {
        let bytes = result::device::get_uuid(self.device)?.bytes.map(|byte| byte as u8);
        let hex = |range: std::ops::Range<usize>| {
            bytes[range].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
        };
        Ok(format!("GPU-{}-{}-{}-{}-{}", hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16)))
    }

    /// Newest CUDA version that the driver serves: major and minor.
    ///
    /// # Errors
    /// What the driver says.
    pub fn cuda_version(&self) -> Result<(u32, u32)> {
        let mut version = 0;
        // SAFETY: the pointer is to a number of this frame.
        unsafe { sys::cuDriverGetVersion(&raw mut version) }.result()?;
        Ok((version as u32 / 1000, version as u32 % 1000 / 10))
    }

    /// Version of the driver, where the system tells it.
    pub fn driver_version() -> Option<String> {
        let text = std::fs::read_to_string("/sys/module/nvidia/version")
            .or_else(|_| std::fs::read_to_string("/proc/driver/nvidia/version"))
            .ok()?;
        let is_version = |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
        text.split_whitespace().find(is_version).map(str::to_owned)
    }

    /// Free and total memory in bytes.
    ///
    /// # Errors
    /// What the driver says.
    pub fn memory(&self) -> Result<(usize, usize)> {
        Ok(result::mem_get_info()?)
    }

    /// Waits for everything that was submitted.
    ///
    /// # Errors
    /// What the driver says, faults of kernels included.
    pub fn synchronize(&self) -> Result<()> {
        Ok(result::ctx::synchronize()?)
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: retained once in `open`. What the driver says at the end helps nobody.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}
