//! How long it takes until a model can be decoded: compiling what all strategies need, where the cache does not have it, and
//! a start from the cache.

use super::{Log, Plan};
use crate::decoder::{Decoder, Options};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::kernels::prepare;
use crate::switches::Switches;
use qa_model::{Gguf, embedded};
use std::sync::Arc;
use std::time::Instant;

/// Seconds that compiling may take, and that a start from the cache may take beside the weights.
const COLD: f64 = 20.0;
const WARM: f64 = 1.0;

pub(super) fn check(gpu: &Arc<Gpu>, plan: &Plan, log: &mut Log<'_>) -> Result<()> {
    log.group("start");
    let embedded = embedded::TINY_CODER.gguf();
    let files = plan.models.iter().map(|path| Gguf::open(path)).collect::<std::result::Result<Vec<_>, _>>()?;
    for gguf in [&embedded].into_iter().chain(&files) {
        let name = gguf.path().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let needed: Vec<_> =
            Switches::every().map(|switches| (gguf, Options { switches, ..Options::default() })).collect();
        let start = Instant::now();
        let compiled = prepare(gpu, &needed)?;
        let seconds = start.elapsed().as_secs_f64();
        log.ratio(format!("{name}: every kernel"), seconds / COLD, format!("{compiled} compiled in {seconds:.1} s"));
    }
    for switches in [Switches::default(), Switches::BEST] {
        let start = Instant::now();
        drop(Decoder::load(gpu, &embedded, &Options { switches, ..Options::default() })?);
        let seconds = start.elapsed().as_secs_f64();
        log.ratio(format!("{switches}: start from the cache"), seconds / WARM, format!("{seconds:.2} s"));
    }
    Ok(())
}
