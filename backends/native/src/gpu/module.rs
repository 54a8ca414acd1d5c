//! Machine code on the device, and launches of it.

use super::stream::Stream;
use crate::error::{Error, Result};
use cudarc::driver::{result, sys};
use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::Arc;

/// Loaded machine code.
#[derive(Debug)]
pub struct Module {
    handle: sys::CUmodule,
}

// SAFETY: handles of the driver may be used from any thread on which the context is current; the driver locks its state.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Module {
    /// Loads a cubin.
    ///
    /// # Errors
    /// What the driver says: a cubin of another architecture, or of a newer major version.
    pub fn load(cubin: &[u8]) -> Result<Arc<Self>> {
        // SAFETY: the image is a whole ELF file made by NVRTC.
        let handle = unsafe { result::module::load_data(cubin.as_ptr().cast()) }?;
        Ok(Arc::new(Self { handle }))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: loaded once; its functions hold a share of `self`.
        let _ = unsafe { result::module::unload(self.handle) };
    }
}

/// A kernel.
#[derive(Clone, Debug)]
pub struct Function {
    handle: sys::CUfunction,
    name: Arc<str>,
    _module: Arc<Module>,
}

/// How a kernel is launched.
#[derive(Clone, Copy, Debug)]
pub struct LaunchConfig {
    /// Blocks in x and y.
    pub grid: (u32, u32),
    /// Threads a block.
    pub threads: u32,
    /// Dynamic shared memory in bytes.
    pub shared_bytes: u32,
    /// All blocks must be resident together.
    pub cooperative: bool,
    /// May begin before the previous kernel of the stream has ended (sm_90 and later).
    pub dependent: bool,
    /// Bytes of weights that it reads: for who accounts for them.
    pub reads: u64,
}

impl LaunchConfig {
    /// So many blocks of so many threads.
    pub fn new(blocks: u32, threads: u32) -> Self {
        Self { grid: (blocks, 1), threads, shared_bytes: 0, cooperative: false, dependent: false, reads: 0 }
    }
}

impl Function {
    /// The entry point of a module; `name` is for people and counters.
    ///
    /// # Errors
    /// What the driver says.
    pub fn new(module: &Arc<Module>, entry: &str, name: &str) -> Result<Self> {
        let symbol = CString::new(entry).map_err(|_| Error::Internal(format!("`{entry}` is no entry point")))?;
        // SAFETY: the module is loaded, and this function keeps it so.
        let handle = unsafe { result::module::get_function(module.handle, symbol) }?;
        Ok(Self { handle, name: name.into(), _module: Arc::clone(module) })
    }

    /// The name for people and counters.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Shared memory that the kernel declares, in bytes a block.
    ///
    /// # Errors
    /// What the driver says.
    pub fn declared_shared(&self) -> Result<usize> {
        let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES;
        // SAFETY: the function is valid.
        Ok(unsafe { result::function::get_function_attribute(self.handle, attribute) }?.max(0) as usize)
    }

    /// Allows so much dynamic shared memory.
    ///
    /// # Errors
    /// What the driver says, where the card has less.
    pub fn allow_shared(&self, bytes: usize) -> Result<()> {
        let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function is valid.
        Ok(unsafe {
            result::function::set_function_attribute(self.handle, attribute, i32::try_from(bytes).unwrap_or(i32::MAX))
        }?)
    }

    /// Blocks of this size that a multiprocessor holds at once.
    ///
    /// # Errors
    /// What the driver says.
    pub fn resident_blocks(&self, threads: u32, shared_bytes: usize) -> Result<u32> {
        // SAFETY: the function is valid.
        let blocks = unsafe {
            result::occupancy::max_active_block_per_multiprocessor(self.handle, threads.cast_signed(), shared_bytes)
        }?;
        Ok(blocks.max(0) as u32)
    }

    /// Submits a launch to a stream.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Safety
    /// `arguments` must point to values of the types that the kernel takes, and what they address must stay valid until the
    /// launch has ended.
    pub unsafe fn launch(&self, stream: &Stream, config: &LaunchConfig, arguments: &mut [*mut c_void]) -> Result<()> {
        use sys::CUlaunchAttributeID_enum as Id;
        let flag = |id| sys::CUlaunchAttribute {
            id,
            pad: [0; 4],
            value: if id == Id::CU_LAUNCH_ATTRIBUTE_COOPERATIVE {
                sys::CUlaunchAttributeValue { cooperative: 1 }
            } else {
                sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 }
            },
        };
        let mut attributes = [
            config.cooperative.then(|| flag(Id::CU_LAUNCH_ATTRIBUTE_COOPERATIVE)),
            config.dependent.then(|| flag(Id::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>();
        let launch = sys::CUlaunchConfig {
            gridDimX: config.grid.0,
            gridDimY: config.grid.1,
            gridDimZ: 1,
            blockDimX: config.threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: config.shared_bytes,
            hStream: stream.handle(),
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as u32,
        };
        // SAFETY: the arguments are the caller's promise; the rest lives on this frame, and the driver copies it.
        unsafe { sys::cuLaunchKernelEx(&raw const launch, self.handle, arguments.as_mut_ptr(), ptr::null_mut()) }
            .result()
            .map_err(|source| Error::Launch { kernel: self.name.to_string(), source })
    }
}
