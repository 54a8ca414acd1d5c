//! The cache of keys and values as the host sees it: for checks.

use super::Decoder;
use crate::error::{Error, Result};
use qa_kernels::KvCache;
use qa_model::{TensorType, dequantize};

impl Decoder {
    /// The keys and the values of a layer's first `count` positions, expanded: `[kv_heads, count, head_dim]` each.
    ///
    /// # Errors
    /// Where there are not so many layers or positions, or the device fails.
    pub fn keys_and_values(&self, layer: usize, count: usize) -> Result<[Vec<f32>; 2]> {
        if layer >= self.config.layers || count > self.context {
            let (layers, context) = (self.config.layers, self.context);
            return Err(Error::Unsupported(format!(
                "layer {layer}, {count} positions: there are {layers} layers and {context} positions"
            )));
        }
        let [keys, values] = self.cached()?;
        Ok([self.expand_cached(&keys, layer, count)?, self.expand_cached(&values, layer, count)?])
    }

    /// Overwrites the whole cache, so that a check sees whether anything is read that no pass has written.
    ///
    /// # Errors
    /// What the driver says.
    pub fn fill_cache(&self, byte: u8) -> Result<()> {
        self.set_cached(&[vec![byte; self.cache_bytes()], vec![byte; self.cache_bytes()]])
    }

    fn expand_cached(&self, cache: &[u8], layer: usize, count: usize) -> Result<Vec<f32>> {
        let (head_dim, kind, heads) = (self.config.head_dim, self.shape.kv_cache, self.config.kv_heads);
        let floats = |bytes: &[u8]| {
            dequantize(TensorType::F16, bytes).map_err(|e| Error::Internal(format!("cached numbers in f16: {e}")))
        };
        let mut expanded = Vec::with_capacity(heads * count * head_dim);
        for head in cache.chunks_exact(kind.head_bytes(head_dim, self.context)).skip(layer * heads).take(heads) {
            match kind {
                KvCache::F16 => expanded.extend(floats(&head[..count * head_dim * 2])?),
                KvCache::Q8_0 => {
                    let scales = floats(&head[self.context * head_dim..][..count * head_dim / 32 * 2])?;
                    for (codes, scale) in head[..count * head_dim].chunks_exact(32).zip(scales) {
                        expanded.extend(codes.iter().map(|code| scale * f32::from(code.cast_signed())));
                    }
                }
            }
        }
        Ok(expanded)
    }
}
