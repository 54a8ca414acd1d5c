//! The operations that `candle-core` lacks, as row functions on slices and the `candle` operations around them.
//!
//! Sums run in `f64`: the oracle must not owe its last digits to the order of an addition.

use crate::geometry::Geometry;
use candle_core::{CpuStorage, CustomOp2, InplaceOp1, Layout, Result, Shape, bail};
use qa_model::{RopeScaling, RopeStyle};

/// Root-mean-square normalisation of rows `[.., n]` by a weight `[n]`: `x_i w_i / sqrt(mean(x^2) + epsilon)`
/// (Zhang and Sennrich 2019, equation 4).
pub(crate) struct RmsNorm {
    pub epsilon: f64,
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w) = (contiguous(x.as_slice::<f32>()?, x_layout)?, contiguous(w.as_slice::<f32>()?, w_layout)?);
        let mut out = vec![0.0; x.len()];
        for (row, out) in x.chunks_exact(w.len()).zip(out.chunks_exact_mut(w.len())) {
            rms_norm(row, w, self.epsilon, out);
        }
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

fn rms_norm(x: &[f32], weight: &[f32], epsilon: f64, out: &mut [f32]) {
    let squares: f64 = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    let scale = (squares / x.len() as f64 + epsilon).sqrt().recip();
    for ((out, &x), &w) in out.iter_mut().zip(x).zip(weight) {
        *out = (f64::from(x) * scale) as f32 * w;
    }
}

/// Cosines and sines of one pass: a row of `dims / 2` pairs for each position.
pub(crate) struct RopeTable {
    style: RopeStyle,
    pairs: Vec<(f32, f32)>,
    half: usize,
}

impl RopeTable {
    /// Angles `position / base^(2 i / dims)` (Su et al. 2021, section 3.2.2), each computed in `f64` from the
    /// position itself, for the positions `start..start + rows`.
    pub fn new(geometry: &Geometry, start: usize, rows: usize) -> Self {
        let rope = &geometry.config.rope;
        let half = rope.dims / 2;
        let stretch = match rope.scaling {
            RopeScaling::None => 1.0,
            RopeScaling::Linear { factor } => f64::from(factor),
        };
        let frequency = |i: usize| {
            let divisor = geometry.rope_divisors.get(i).map_or(1.0, |&divisor| f64::from(divisor));
            f64::from(rope.base).powf(-((2 * i) as f64) / rope.dims as f64) / (divisor * stretch)
        };
        let frequencies: Vec<f64> = (0..half).map(frequency).collect();
        let pairs = (start..start + rows)
            .flat_map(|position| frequencies.iter().map(move |frequency| position as f64 * frequency))
            .map(|angle| (angle.cos() as f32, angle.sin() as f32))
            .collect();
        Self { style: rope.style, pairs, half }
    }

    fn rotate(&self, head: &mut [f32], row: usize) {
        let half = self.half;
        for (i, &(cos, sin)) in self.pairs[row * half..(row + 1) * half].iter().enumerate() {
            let (a, b) = match self.style {
                RopeStyle::Neox => (i, i + half),
                RopeStyle::Norm => (2 * i, 2 * i + 1),
            };
            let (x, y) = (head[a], head[b]);
            head[a] = x * cos - y * sin;
            head[b] = x * sin + y * cos;
        }
    }
}

/// Rotary position embedding of `[rows, heads, head_dim]`, in place.
impl InplaceOp1 for RopeTable {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (rows, heads, head_dim) = layout.shape().dims3()?;
        if rows * self.half != self.pairs.len() || 2 * self.half > head_dim {
            bail!("rope table of {} pairs does not fit {:?}", self.pairs.len(), layout.shape())
        }
        let x = contiguous_mut(storage, layout)?;
        for (i, head) in x.chunks_exact_mut(head_dim).enumerate() {
            self.rotate(head, i / heads);
        }
        Ok(())
    }
}

pub(crate) fn contiguous<'a>(data: &'a [f32], layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => bail!("expected a contiguous tensor, found {layout:?}"),
    }
}

fn contiguous_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&mut data[start..end]),
        _ => bail!("expected a contiguous f32 tensor, found {layout:?}"),
    }
}
