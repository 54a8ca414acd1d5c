//! Whether a model fits the card: arithmetic, before anything is allocated.

use super::{HEADROOM, LOGIT_ROWS};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::prompt;
use crate::weights;
use qa_kernels::KvCache;
use qa_model::{Gguf, ModelConfig};

/// Refuses a model that does not fit what is free on the card.
pub(super) fn check_memory(
    gpu: &Gpu,
    gguf: &Gguf,
    config: &ModelConfig,
    kv_cache: KvCache,
    context: usize,
) -> Result<()> {
    let (free, total) = gpu.memory()?;
    let weights = weights::packed_bytes(gguf) as usize;
    fit(&Demand { weights, config, kv_cache }, context, Room { free, total })
        .map_err(|why| Error::Unsupported(format!("{} does not fit: {why}", gguf.path().display())))
}

/// What a decoder of any context would hold.
struct Demand<'a> {
    /// Bytes of packed matrices.
    weights: usize,
    config: &'a ModelConfig,
    kv_cache: KvCache,
}

/// Bytes of the card's memory.
#[derive(Clone, Copy)]
struct Room {
    free: usize,
    total: usize,
}

impl Demand<'_> {
    /// Bytes of keys and values for `context` tokens.
    fn cache(&self, context: usize) -> usize {
        let head = self.kv_cache.head_bytes(self.config.head_dim, context);
        2 * self.config.layers * self.config.kv_heads * head
    }

    /// Bytes of everything else that a decoder allocates, and of what is left to others.
    fn beside(&self, context: usize) -> usize {
        let config = self.config;
        let floats = prompt::capacity(config, context) * config.hidden
            + LOGIT_ROWS * config.vocab
            + context * config.rope.dims
            + context;
        prompt::bytes(config, context) + floats * size_of::<f32>() + HEADROOM
    }

    fn all(&self, context: usize) -> usize {
        self.weights + self.cache(context) + self.beside(context)
    }
}

/// Says with numbers why a context does not fit, and which would.
fn fit(demand: &Demand<'_>, context: usize, room: Room) -> std::result::Result<(), String> {
    let needed = demand.all(context);
    if needed <= room.free {
        return Ok(());
    }
    let mib = |bytes: usize| bytes >> 20;
    let numbers = format!(
        "{} MiB of weights, {} MiB of {} cache for {context} tokens and {} MiB beside them need {} MiB, and {} of the card's {} MiB are free",
        mib(demand.weights),
        mib(demand.cache(context)),
        demand.kv_cache,
        mib(demand.beside(context)),
        mib(needed),
        mib(room.free),
        mib(room.total)
    );
    let mends = match longest(demand, context, room.free) {
        0 => "use a smaller quantisation, or a larger card".to_owned(),
        longest if demand.kv_cache == KvCache::F16 => {
            format!("set `context` to at most {longest}, or `kv_cache_type: q8_0`, or use a smaller quantisation")
        }
        longest => format!("set `context` to at most {longest}, or use a smaller quantisation"),
    };
    Err(format!("{numbers}: {mends}"))
}

/// The longest context below one that does not fit; 0 where none fits.
fn longest(demand: &Demand<'_>, context: usize, free: usize) -> usize {
    let (mut fits, mut beyond) = (0, context);
    while fits + 1 < beyond {
        let middle = fits.midpoint(beyond);
        if demand.all(middle) <= free { fits = middle } else { beyond = middle }
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use qa_model::synth::{Preset, Quantization, data_bytes};

    const GIB: usize = 1 << 30;

    fn refusal(demand: &Demand<'_>, context: usize, free: usize) -> String {
        fit(demand, context, Room { free, total: 80 * GIB }).unwrap_err()
    }

    #[test]
    fn the_cache_takes_what_its_type_says() {
        let config = Preset::QwenCoder05B.config();
        let demand = |kv_cache| Demand { weights: 0, config: &config, kv_cache };
        // 24 layers, 2 key heads of 64, keys and values.
        assert_eq!(demand(KvCache::F16).cache(1000), 1000 * 12_288);
        assert_eq!(demand(KvCache::Q8_0).cache(1000), 1000 * 24 * 2 * 2 * 68);
    }

    #[test]
    fn what_fits_is_let_in_to_the_byte() {
        let config = Preset::QwenCoder7B.config();
        let demand = Demand { weights: 4 * GIB, config: &config, kv_cache: KvCache::F16 };
        let needed = demand.all(8192);
        assert!(needed > 4 * GIB + demand.cache(8192) + HEADROOM);
        assert_eq!(fit(&demand, 8192, Room { free: needed, total: needed }), Ok(()));
        assert!(fit(&demand, 8192, Room { free: needed - 1, total: needed }).is_err());
    }

    #[test]
    fn a_refusal_has_the_numbers_and_what_would_fit() {
        let config = Preset::QwenCoder7B.config();
        let weights = data_bytes(Preset::QwenCoder7B, Quantization::Q4_K_M) as usize;
        let demand = Demand { weights, config: &config, kv_cache: KvCache::F16 };
        let free = demand.all(10_000);
        let said = refusal(&demand, 32_768, free);
        // 28 layers, 4 key heads of 128, keys and values, two bytes: 57,344 bytes a token.
        assert!(said.contains("1792 MiB of f16 cache for 32768 tokens"), "{said}");
        assert!(said.contains(&format!("{} MiB of weights", weights >> 20)), "{said}");
        assert!(said.contains(&format!("{} of the card's 81920 MiB are free", free >> 20)), "{said}");
        assert!(
            said.ends_with("set `context` to at most 10000, or `kv_cache_type: q8_0`, or use a smaller quantisation"),
            "{said}"
        );
        let small = Demand { kv_cache: KvCache::Q8_0, ..demand };
        assert!(small.all(10_000) < free, "an int8 cache is smaller");
        assert!(!refusal(&small, 32_768, small.all(100)).contains("q8_0`"));
    }

    #[test]
    fn a_file_too_large_for_the_card_needs_another_file_or_card() {
        let config = Preset::QwenCoder7B.config();
        let demand = Demand { weights: 14 * GIB, config: &config, kv_cache: KvCache::F16 };
        let said = refusal(&demand, 4096, 8 * GIB);
        assert!(said.contains("14336 MiB of weights"), "{said}");
        assert!(said.ends_with("use a smaller quantisation, or a larger card"), "{said}");
    }
}
