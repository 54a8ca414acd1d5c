//! Whether a model fits the card.

use super::{HEADROOM, LOGIT_ROWS};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::prompt;
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
    let residual = prompt::capacity(config, context) * config.hidden * size_of::<f32>();
    let work = prompt::bytes(config, context) + residual + LOGIT_ROWS * config.vocab * size_of::<f32>();
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
