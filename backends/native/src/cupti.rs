//! CUPTI, NVIDIA's profiling interface: which kernels ran on the card, and when.
//!
//! It is loaded when a profile is asked for, so nothing of it is in a process that is timed. The types are `cudarc`'s; its
//! loader knows libraries by fixed names only, so the library is found here as NVRTC is.

use cudarc::cupti::sys;
use cudarc::driver::sys::CUcontext;
use libloading::Library;
use std::alloc::{Layout, alloc, dealloc};
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::ptr::{addr_of, null_mut};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Where to look, before anywhere else.
const VARIABLE: &str = "QA_CUPTI";
/// What the library's name begins with.
const LIBRARY: &str = "libcupti.so";
/// Majors that are looked for by name, newest first.
const MAJORS: [u32; 2] = [13, 12];
/// Room for records that CUPTI fills before it hands them over.
const BUFFER_BYTES: usize = 4 << 20;
/// What CUPTI wants its buffers aligned to.
const BUFFER_ALIGN: usize = 8;

/// A kernel that ran. Times are nanoseconds of CUPTI's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    /// Entry point.
    pub entry: String,
    /// Number of the stream, as CUPTI counts them.
    pub stream: u32,
    /// Number of the call that submitted it: calls count upwards.
    pub call: u32,
    /// Number of its node, where a graph submitted it; 0 otherwise.
    pub node: u64,
    /// When it began.
    pub begin_ns: u64,
    /// When it ended.
    pub end_ns: u64,
}

/// CUPTI, writing down every kernel.
pub struct Cupti {
    library: Library,
    version: u32,
}

/// What was written down so far. CUPTI hands its records to functions without context, from a thread of its own.
static ACTIVITIES: Mutex<Vec<Activity>> = Mutex::new(Vec::new());

/// `CUptiResult`, as a number: a newer library may answer what these types do not know.
type Status = u32;
/// `CUPTI_SUCCESS`.
const SUCCESS: Status = 0;

type NextRecord = unsafe extern "C" fn(*mut u8, usize, *mut *mut u8) -> Status;
/// The function that walks over a buffer of records: the library knows how long they are.
static NEXT_RECORD: OnceLock<NextRecord> = OnceLock::new();

impl Cupti {
    /// Loads CUPTI and has it write down kernels from here on. Before a context is made, so that it misses none.
    ///
    /// # Errors
    /// Why there is none, or why it does not work here, as a sentence.
    pub fn start() -> Result<Self, String> {
        type Version = unsafe extern "C" fn(*mut u32) -> Status;
        type Register = unsafe extern "C" fn(
            unsafe extern "C" fn(*mut *mut u8, *mut usize, *mut usize),
            unsafe extern "C" fn(CUcontext, u32, *mut u8, usize, usize),
        ) -> Status;
        type Enable = unsafe extern "C" fn(sys::CUpti_ActivityKind) -> Status;
        let mut cupti = Self { library: find()?, version: 0 };
        let mut version = 0;
        // SAFETY: the signatures are those of cupti.h; the pointer is to a number of this frame, and the functions that are
        // registered live as long as the program.
        unsafe {
            cupti.call::<Version>("cuptiGetVersion", |get| get(&raw mut version))?;
            let next = cupti.library.get::<NextRecord>(b"cuptiActivityGetNextRecord");
            NEXT_RECORD.get_or_init(|| next.map_or(no_record, |next| *next));
            // Before anything is enabled: else records would go nowhere.
            let name = "cuptiActivityRegisterCallbacks";
            cupti.call::<Register>(name, |register| register(buffer_requested, buffer_completed))?;
            let kind = sys::CUpti_ActivityKind::CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL;
            cupti.call::<Enable>("cuptiActivityEnable", |enable| enable(kind))?;
        }
        cupti.version = version;
        Ok(cupti)
    }

    /// Its name and the version of its interface, as it says it.
    pub fn name(&self) -> String {
        format!("CUPTI (API version {})", self.version)
    }

    /// Everything that ran since it was last asked, in the order in which it was submitted. The device must be idle.
    ///
    /// # Errors
    /// What CUPTI says, as a sentence.
    pub fn take(&self) -> Result<Vec<Activity>, String> {
        type Flush = unsafe extern "C" fn(u32) -> Status;
        // SAFETY: the signature is that of cupti.h.
        unsafe {
            let forced = sys::CUpti_ActivityFlag::CUPTI_ACTIVITY_FLAG_FLUSH_FORCED as u32;
            self.call::<Flush>("cuptiActivityFlushAll", |flush| flush(forced))?;
        }
        let mut taken = std::mem::take(&mut *ACTIVITIES.lock().unwrap_or_else(PoisonError::into_inner));
        taken.sort_by_key(|activity| (activity.call, activity.node, activity.begin_ns));
        Ok(taken)
    }

    /// Calls a function of the library.
    ///
    /// # Safety
    /// `F` must be the type that cupti.h gives the function.
    unsafe fn call<F: Copy>(&self, name: &str, run: impl FnOnce(F) -> Status) -> Result<(), String> {
        // SAFETY: the caller's promise.
        let function = unsafe { self.library.get::<F>(name.as_bytes()) };
        let function = function.map_err(|_| format!("This CUPTI has no function {name}."))?;
        match run(*function) {
            SUCCESS => Ok(()),
            other => Err(format!("CUPTI does not work here: {name} answers with error {other}.")),
        }
    }
}

/// The API version of the CUPTI that a profile would load. Loads it, and starts nothing.
///
/// # Errors
/// Why there is none, or why it does not answer, as a sentence.
pub fn version() -> Result<u32, String> {
    type Version = unsafe extern "C" fn(*mut u32) -> Status;
    let cupti = Cupti { library: find()?, version: 0 };
    let mut version = 0;
    // SAFETY: the signature is that of cupti.h; the pointer is to a number of this frame.
    unsafe { cupti.call::<Version>("cuptiGetVersion", |get| get(&raw mut version)) }?;
    Ok(version)
}

/// The library that the variable names, of the system, of a toolkit, or of a Python environment.
fn find() -> Result<Library, String> {
    // SAFETY: loading CUPTI runs its initialisers, which do nothing that this program could break.
    let load = |path: &Path| unsafe { Library::new(path) };
    if let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) {
        let candidates = if path.is_dir() { qa_kernels::libraries_named(&path, LIBRARY) } else { vec![path.clone()] };
        let found = candidates.iter().find_map(|candidate| load(candidate).ok());
        return found.ok_or_else(|| {
            format!("{VARIABLE} is {}, which is neither CUPTI's library nor a folder that holds it.", path.display())
        });
    }
    let named = MAJORS.iter().map(|major| PathBuf::from(format!("{LIBRARY}.{major}")));
    let folders = qa_kernels::library_folders();
    let found = folders.iter().flat_map(|folder| qa_kernels::libraries_named(folder, LIBRARY));
    named.chain(found).find_map(|path| load(&path).ok()).ok_or_else(|| {
        format!(
            "CUPTI, NVIDIA's profiling interface, is not installed: `pip install nvidia-cuda-cupti` (or point {VARIABLE} at \
             {LIBRARY} or its folder)."
        )
    })
}

fn buffer_layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size, BUFFER_ALIGN).ok()
}

unsafe extern "C" fn buffer_requested(buffer: *mut *mut u8, size: *mut usize, records: *mut usize) {
    let memory = buffer_layout(BUFFER_BYTES).map_or(null_mut(), |layout| {
        // SAFETY: the layout is not empty.
        unsafe { alloc(layout) }
    });
    // SAFETY: CUPTI passes places for its three answers. Without memory it drops records, which the count then shows.
    unsafe {
        *buffer = memory;
        *size = if memory.is_null() { 0 } else { BUFFER_BYTES };
        *records = 0;
    }
}

unsafe extern "C" fn buffer_completed(_: CUcontext, _: u32, buffer: *mut u8, size: usize, valid: usize) {
    // SAFETY: CUPTI hands back a buffer of `buffer_requested` with so many valid bytes of whole records.
    let found = unsafe { records(buffer, valid) };
    ACTIVITIES.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    if let Some(layout) = buffer_layout(size).filter(|_| !buffer.is_null()) {
        // SAFETY: it was allocated by `buffer_requested` with this layout.
        unsafe { dealloc(buffer, layout) };
    }
}

unsafe extern "C" fn no_record(_: *mut u8, _: usize, _: *mut *mut u8) -> Status {
    SUCCESS + 1
}

/// Reads a buffer of records.
///
/// # Safety
/// `buffer` holds `valid` bytes of records.
unsafe fn records(buffer: *mut u8, valid: usize) -> Vec<Activity> {
    let mut found = Vec::new();
    let Some(next) = NEXT_RECORD.get().filter(|_| !buffer.is_null() && valid > 0) else { return found };
    let mut record: *mut u8 = null_mut();
    // SAFETY: the buffer is the caller's promise, and the pointer is to a place of this frame.
    while unsafe { next(buffer, valid, &raw mut record) } == SUCCESS {
        // SAFETY: every record begins with its kind.
        let kind = unsafe { record.cast::<u32>().read_unaligned() };
        if kind == sys::CUpti_ActivityKind::CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL as u32 {
            // SAFETY: a record of this kind.
            found.push(unsafe { kernel(record.cast()) });
        }
    }
    found
}

/// Reads a kernel's record field by field: later versions of the library only add fields behind those of this one.
///
/// # Safety
/// `record` is a record of a kernel.
unsafe fn kernel(record: *const sys::CUpti_ActivityKernel9) -> Activity {
    // SAFETY: the record is the caller's promise; its name is a string that the library keeps.
    unsafe {
        let name = addr_of!((*record).name).read_unaligned();
        let entry = if name.is_null() { String::new() } else { CStr::from_ptr(name).to_string_lossy().into_owned() };
        Activity {
            entry,
            stream: addr_of!((*record).streamId).read_unaligned(),
            call: addr_of!((*record).correlationId).read_unaligned(),
            node: addr_of!((*record).graphNodeId).read_unaligned(),
            begin_ns: addr_of!((*record).start).read_unaligned(),
            end_ns: addr_of!((*record).end).read_unaligned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_by_its_fields() {
        let mut record = std::mem::MaybeUninit::<sys::CUpti_ActivityKernel9>::zeroed();
        let name = c"decode_fused";
        // SAFETY: plain numbers and a pointer are written to fields of a record of zeros.
        let read = unsafe {
            let record = record.as_mut_ptr();
            (&raw mut (*record).name).write_unaligned(name.as_ptr());
            (&raw mut (*record).streamId).write_unaligned(13);
            (&raw mut (*record).correlationId).write_unaligned(77);
            (&raw mut (*record).graphNodeId).write_unaligned(1 << 40);
            (&raw mut (*record).start).write_unaligned(1000);
            (&raw mut (*record).end).write_unaligned(2500);
            kernel(record)
        };
        let entry = "decode_fused".to_owned();
        assert_eq!(read, Activity { entry, stream: 13, call: 77, node: 1 << 40, begin_ns: 1000, end_ns: 2500 });
    }

    #[test]
    fn without_the_library_the_reason_is_a_sentence() {
        if let Err(why) = Cupti::start() {
            assert!(why.contains("CUPTI") && why.ends_with('.'), "{why}");
        }
    }
}
