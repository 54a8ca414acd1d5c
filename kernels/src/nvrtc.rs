//! NVIDIA's run-time compiler, found and called. It is loaded when it is needed: building this program needs nothing of
//! CUDA, and running it without a GPU neither.

use crate::sources::HEADERS;
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;

/// Where to look, before anywhere else.
pub(crate) const VARIABLE: &str = "QA_NVRTC";

/// `NVRTC_ERROR_INVALID_OPTION`.
const INVALID_OPTION: c_int = 5;

/// Why kernels cannot be compiled here.
#[derive(Debug, thiserror::Error)]
pub enum NvrtcError {
    /// Nothing was found.
    #[error(
        "NVRTC, NVIDIA's run-time compiler, is not installed: `pip install {package}` (or point {VARIABLE} at libnvrtc.so or its folder)"
    )]
    Missing {
        /// The package that has a version which the driver serves.
        package: String,
    },
    /// What was found makes code that the driver cannot load.
    #[error(
        "{} is NVRTC {major}, and the driver serves CUDA {newest} at most: `pip install {package}` (or point {VARIABLE} at an older libnvrtc.so), or install a newer driver",
        path.display()
    )]
    Newer {
        /// The library.
        path: PathBuf,
        /// Its major version.
        major: u32,
        /// The driver's.
        newest: u32,
        /// The package that has a version which the driver serves.
        package: String,
    },
    /// What the variable names is none.
    #[error("{VARIABLE} is {}, which is neither NVRTC's library nor a folder that holds it: {reason}", path.display())]
    Variable {
        /// Its value.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// A call failed.
    #[error("NVRTC: {call} failed with status {status}")]
    Call {
        /// The function.
        call: &'static str,
        /// `nvrtcResult`.
        status: c_int,
    },
    /// The compiler does not know an option.
    #[error("NVRTC {version} does not know an option: {log}")]
    Option {
        /// The compiler's version.
        version: String,
        /// What it said.
        log: String,
    },
    /// The sources do not compile.
    #[error("{file} does not compile with NVRTC {version}:\n{log}")]
    Source {
        /// The operation.
        file: String,
        /// The compiler's version.
        version: String,
        /// What it said.
        log: String,
    },
}

type Program = *mut c_void;

/// A loaded NVRTC.
pub struct Nvrtc {
    library: Library,
    version: (u32, u32),
    path: PathBuf,
}

/// What a compilation gives: machine code and the compiler's log.
pub(crate) struct Output {
    pub cubin: Vec<u8>,
    pub log: String,
}

impl Nvrtc {
    pub(crate) fn load(path: &Path) -> Result<Self, libloading::Error> {
        // SAFETY: loading NVRTC runs its initialisers, which do nothing that this program could break.
        let library = unsafe { Library::new(path) }?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the signature is that of nvrtc.h; both pointers are to integers of this frame.
        unsafe {
            let version: libloading::Symbol<unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int> =
                library.get(b"nvrtcVersion")?;
            version(&raw mut major, &raw mut minor);
        }
        Ok(Self { library, version: (major as u32, minor as u32), path: path.to_owned() })
    }

    /// Major and minor version.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// The library that was loaded.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Calls a function of the library.
    fn call<F: Copy>(&self, name: &'static str, run: impl FnOnce(F) -> c_int) -> Result<(), NvrtcError> {
        // SAFETY: `F` is the type that nvrtc.h gives the function; every caller below names both.
        let function = unsafe { self.library.get::<F>(name.as_bytes()) };
        let status = function.map_or(-1, |function| run(*function));
        if status == 0 { Ok(()) } else { Err(NvrtcError::Call { call: name, status }) }
    }

    /// Compiles one operation to machine code.
    pub(crate) fn compile(&self, file: &str, source: &str, options: &[String]) -> Result<Output, NvrtcError> {
        let text = |text: &str| CString::new(text).unwrap_or_default();
        let (source, name) = (text(source), text(file));
        let headers: Vec<(CString, CString)> = HEADERS.iter().map(|(name, body)| (text(name), text(body))).collect();
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_ptr()).collect();
        let bodies: Vec<_> = headers.iter().map(|(_, body)| body.as_ptr()).collect();
        let options: Vec<CString> = options.iter().map(|option| text(option)).collect();
        let options: Vec<_> = options.iter().map(|option| option.as_ptr()).collect();

        type Create = unsafe extern "C" fn(
            *mut Program,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        ) -> c_int;
        type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
        let mut program: Program = ptr::null_mut();
        // SAFETY: all strings and arrays outlive the call, and the counts are theirs.
        self.call::<Create>("nvrtcCreateProgram", |create| unsafe {
            create(
                &raw mut program,
                source.as_ptr(),
                name.as_ptr(),
                count(names.len()),
                bodies.as_ptr(),
                names.as_ptr(),
            )
        })?;
        let program = Guard { nvrtc: self, program };
        // SAFETY: the program was just created; the array of options outlives the call.
        let compiled = self.call::<Compile>("nvrtcCompileProgram", |compile| unsafe {
            compile(program.program, count(options.len()), options.as_ptr())
        });
        let log = program.bytes("nvrtcGetProgramLogSize", "nvrtcGetProgramLog")?;
        let log = CStr::from_bytes_until_nul(&log).map(|log| log.to_string_lossy().into_owned()).unwrap_or_default();
        if let Err(error) = compiled {
            let version = format!("{}.{}", self.version.0, self.version.1);
            if matches!(error, NvrtcError::Call { status: INVALID_OPTION, .. }) {
                return Err(NvrtcError::Option { version, log });
            }
            return Err(NvrtcError::Source { file: file.to_owned(), version, log });
        }
        Ok(Output { cubin: program.bytes("nvrtcGetCUBINSize", "nvrtcGetCUBIN")?, log })
    }
}

/// A length as C has it. Those here are of lists in this program.
fn count(length: usize) -> c_int {
    c_int::try_from(length).unwrap_or(c_int::MAX)
}

/// A program that is destroyed when it is no longer needed.
struct Guard<'a> {
    nvrtc: &'a Nvrtc,
    program: Program,
}

impl Guard<'_> {
    fn bytes(&self, size: &'static str, get: &'static str) -> Result<Vec<u8>, NvrtcError> {
        type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
        type Get = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
        let mut length = 0;
        // SAFETY: the program is alive, and the pointer is to a number of this frame.
        self.nvrtc.call::<Size>(size, |size| unsafe { size(self.program, &raw mut length) })?;
        let mut bytes = vec![0_u8; length];
        // SAFETY: the buffer has the length that NVRTC just asked for.
        self.nvrtc.call::<Get>(get, |get| unsafe { get(self.program, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
        // SAFETY: the program was created by this library and is not used again.
        let _ = self.nvrtc.call::<Destroy>("nvrtcDestroyProgram", |destroy| unsafe { destroy(&raw mut self.program) });
    }
}
