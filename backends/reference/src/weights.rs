//! Which weights stay in memory, and which are loaded, used and dropped.

use crate::error::Result;
use crate::layer::LayerWeights;
use crate::linear::Linear;
use candle_core::Tensor;
use rayon::prelude::*;
use std::sync::Arc;

/// Where a decoder's weights come from, as often as they are asked for.
pub trait WeightSource: Send + Sync {
    /// Rows of the embedding for some ids, `[ids, hidden]`. The ids are within the vocabulary.
    ///
    /// # Errors
    /// When the rows cannot be read.
    fn embed(&self, ids: &[u32]) -> Result<Tensor>;

    /// The weights of block `index`.
    ///
    /// # Errors
    /// When a tensor is missing or has the wrong shape.
    fn layer(&self, index: usize) -> Result<LayerWeights>;

    /// The weight of the last normalisation, `[hidden]`.
    ///
    /// # Errors
    /// As [`WeightSource::layer`].
    fn output_norm(&self) -> Result<Tensor>;

    /// The map from the residual stream to logits, `[vocabulary, hidden]`.
    ///
    /// # Errors
    /// As [`WeightSource::layer`].
    fn head(&self) -> Result<Linear>;

    /// Bytes that block `index` takes in memory.
    fn layer_bytes(&self, index: usize) -> u64;

    /// Bytes that the head takes in memory.
    fn head_bytes(&self) -> u64;
}

/// Weights within a budget of memory: what fits stays, the rest is loaded anew for each use.
pub(crate) struct Weights {
    source: Box<dyn WeightSource>,
    layers: Vec<Option<Arc<LayerWeights>>>,
    head: Option<Arc<Linear>>,
    pub output_norm: Tensor,
}

impl Weights {
    /// Load what may stay within `budget_bytes`. Runs on the pool of its caller.
    pub fn load(source: Box<dyn WeightSource>, layers: usize, budget_bytes: u64) -> Result<Self> {
        let mut units: Vec<u64> = (0..layers).map(|i| source.layer_bytes(i)).collect();
        units.push(source.head_bytes());
        let stays = residents(&units, budget_bytes);
        let resident = stays[..layers]
            .par_iter()
            .enumerate()
            .map(|(i, &stays)| stays.then(|| source.layer(i).map(Arc::new)).transpose())
            .collect::<Result<_>>()?;
        let head = stays[layers].then(|| source.head().map(Arc::new)).transpose()?;
        Ok(Self { layers: resident, head, output_norm: source.output_norm()?, source })
    }

    pub fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.source.embed(ids)
    }

    pub fn layer(&self, index: usize) -> Result<Arc<LayerWeights>> {
        match &self.layers[index] {
            Some(layer) => Ok(Arc::clone(layer)),
            None => self.source.layer(index).map(Arc::new),
        }
    }

    pub fn head(&self) -> Result<Arc<Linear>> {
        match &self.head {
            Some(head) => Ok(Arc::clone(head)),
            None => self.source.head().map(Arc::new),
        }
    }

    /// Blocks that are loaded anew for each use.
    pub fn streamed_layers(&self) -> usize {
        self.layers.iter().filter(|layer| layer.is_none()).count()
    }

    /// Whether nothing is loaded anew.
    pub fn resident(&self) -> bool {
        self.streamed_layers() == 0 && self.head.is_some()
    }
}

/// Which units of these sizes stay within a budget. Where not all do, room is kept for the largest in passing.
fn residents(units: &[u64], budget: u64) -> Vec<bool> {
    if units.iter().sum::<u64>() <= budget {
        return vec![true; units.len()];
    }
    let mut left = budget.saturating_sub(units.iter().copied().max().unwrap_or(0));
    units
        .iter()
        .map(|&bytes| {
            let stays = bytes <= left;
            if stays {
                left -= bytes;
            }
            stays
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_stays_when_it_fits_exactly() {
        assert_eq!(residents(&[3, 3, 4], 10), [true; 3]);
    }

    #[test]
    fn room_is_kept_for_the_largest_that_passes_through() {
        assert_eq!(residents(&[3, 3, 3, 4], 10), [true, true, false, false]);
        assert_eq!(residents(&[3, 3, 4], 0), [false; 3]);
    }
}
