//! Kernels to machine code, from the cache or by NVRTC on several threads.

use crate::cache::Cache;
use crate::facts::Facts;
use crate::nvrtc::{Nvrtc, NvrtcError};
use crate::shape::{Kernel, Shape};
use crate::sources::{HEADERS, operation};
use crate::target::Target;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Why a kernel could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler could not be used, or refused.
    #[error(transparent)]
    Nvrtc(#[from] NvrtcError),
    /// The compiler's log says nothing of the kernel's resources.
    #[error("the log of kernel `{kernel}` has no resource usage: {log}")]
    Log {
        /// The kernel.
        kernel: String,
        /// The log.
        log: String,
    },
}

/// A kernel as machine code.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What was compiled.
    pub kernel: Kernel,
    /// An ELF image for one architecture.
    pub cubin: Vec<u8>,
    /// What it uses.
    pub facts: Facts,
    /// Whether it came from the cache.
    pub cached: bool,
}

/// Compiles kernels, in their order.
///
/// # Errors
/// The first [`CompileError`] in their order.
pub fn compile(
    nvrtc: &Nvrtc,
    cache: &Cache,
    shape: &Shape,
    kernels: &[Kernel],
    target: &Target,
) -> Result<Vec<Compiled>, CompileError> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(kernels.len().max(1));
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Result<Compiled, CompileError>>>> = Mutex::new(kernels.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, kernel)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    kernels.get(index).map(|kernel| (index, kernel))
                } {
                    let compiled = one(nvrtc, cache, shape, kernel, target);
                    if let Ok(mut done) = done.lock() {
                        done[index] = Some(compiled);
                    }
                }
            });
        }
    });
    done.into_inner().unwrap_or_default().into_iter().flatten().collect()
}

fn one(
    nvrtc: &Nvrtc,
    cache: &Cache,
    shape: &Shape,
    kernel: &Kernel,
    target: &Target,
) -> Result<Compiled, CompileError> {
    let source = operation(kernel.file);
    let fixed = ["--std=c++17", "--fmad=false", "--ptxas-options=-v", "--device-as-default-execution-space"];
    let mut options = target.options();
    options.extend(fixed.map(str::to_owned));
    options.extend(shape.options());
    options.extend(kernel.constants.iter().map(|(name, value)| format!("-DQA_{name}={value}")));
    let version = format!("{}.{}", nvrtc.version().0, nvrtc.version().1);
    let mut parts: Vec<&str> = vec![&version, source];
    parts.extend(HEADERS.iter().map(|(_, body)| *body));
    parts.extend(options.iter().map(String::as_str));
    let key = Cache::key(&parts);
    let facts = |log: &str| {
        Facts::from_log(log).ok_or_else(|| CompileError::Log { kernel: kernel.name.clone(), log: log.to_owned() })
    };
    if let Some((cubin, log)) = cache.get(&key) {
        return Ok(Compiled { kernel: kernel.clone(), cubin, facts: facts(&log)?, cached: true });
    }
    // A newer NVRTC has a cache of its own, and what comes from there has no log. An older one does not know the option.
    options.push("--no-cache".to_owned());
    let output = match nvrtc.compile(kernel.file, source, &options) {
        Err(NvrtcError::Option { .. }) => {
            options.pop();
            nvrtc.compile(kernel.file, source, &options)
        }
        output => output,
    }?;
    let facts = facts(&output.log)?;
    cache.put(&key, &output.cubin, &output.log);
    Ok(Compiled { kernel: kernel.clone(), cubin: output.cubin, facts, cached: false })
}
