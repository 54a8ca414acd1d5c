//! Whether a model fits the card.

use super::{CHUNK, HEADROOM, LOGIT_ROWS};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::weights;
use qa_kernels::KvCache;
use qa_model::{Gguf, ModelConfig};

/// Refuses a model that does not fit, before anything is allocated.
pub(super) fn check_memory(
    gpu: &Gpu,
    gguf: &Gguf,
    config: &ModelConfig,
    kv_cache: KvCache,
    context: usize,
) -> Result<()> {
    let weights = weights::packed_bytes(gguf) as usize;
    let cache = 2 * config.layers * config.kv_heads * kv_cache.head_bytes(config.head_dim, context);
    let work = CHUNK * 4 * (config.hidden * 4 + config.intermediate * 3) + LOGIT_ROWS * config.vocab * 4;
    let (free, total) = gpu.memory()?;
    let needed = weights + cache + work + HEADROOM;
    if needed > free {
        let mib = |bytes: usize| bytes >> 20;
        return Err(Error::Unsupported(format!(
            "{} does not fit: {} MiB of weights, {} MiB of KV cache for {context} tokens and {} MiB beside them need {} MiB, and {} of the card's {} MiB are free; use a smaller `context` or a smaller quantisation",
            gguf.path().display(),
            mib(weights),
            mib(cache),
            mib(work + HEADROOM),
            mib(needed),
            mib(free),
            mib(total)
        )));
    }
    Ok(())
}
