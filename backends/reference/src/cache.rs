//! Keys and values of the positions evaluated so far.

use candle_core::{DType, Device, Result, Tensor};

/// Keys and values of one layer: `[kv_heads, capacity, head_dim]` each, of which the first `len` positions are valid.
#[derive(Debug)]
pub(crate) struct LayerCache {
    keys: Tensor,
    values: Tensor,
    len: usize,
}

impl LayerCache {
    pub fn new(kv_heads: usize, head_dim: usize, capacity: usize) -> Result<Self> {
        let zeros = || Tensor::zeros((kv_heads, capacity, head_dim), DType::F32, &Device::Cpu);
        Ok(Self { keys: zeros()?, values: zeros()?, len: 0 })
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Forget the positions from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Append `[kv_heads, rows, head_dim]` of each, doubling the capacity when it is spent, and return the tensors
    /// whose first [`Self::len`] positions are valid.
    pub fn append(&mut self, keys: &Tensor, values: &Tensor) -> Result<(&Tensor, &Tensor)> {
        let (kv_heads, rows, head_dim) = keys.dims3()?;
        let needed = self.len + rows;
        let capacity = self.keys.dim(1)?;
        if needed > capacity {
            let mut grown = Self::new(kv_heads, head_dim, needed.max(2 * capacity))?;
            if self.len > 0 {
                let held = |t: &Tensor| t.narrow(1, 0, self.len)?.contiguous();
                grown.append(&held(&self.keys)?, &held(&self.values)?)?;
            }
            *self = grown;
        }
        self.keys.slice_set(keys, 1, self.len)?;
        self.values.slice_set(values, 1, self.len)?;
        self.len = needed;
        Ok((&self.keys, &self.values))
    }
}
