//! The operations that `candle-core` lacks, as row functions on slices and the `candle` operations around them.
//!
//! Sums run in `f64`: the oracle must not owe its last digits to the order of an addition.

use crate::geometry::Geometry;
use candle_core::{CpuStorage, CustomOp2, InplaceOp1, InplaceOp2, Layout, Result, Shape, bail};
use qa_model::{RopeScaling, RopeStyle};
use rayon::prelude::*;

/// Values below which handing work to another thread costs more than it saves.
const VALUES_AT_ONCE: usize = 1 << 14;

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
        out.par_chunks_exact_mut(w.len())
            .zip(x.par_chunks_exact(w.len()))
            .with_min_len(VALUES_AT_ONCE.div_ceil(w.len()))
            .for_each(|(out, row)| rms_norm(row, w, self.epsilon, out));
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

/// A function of two values, applied to two tensors of one shape. `candle` has such operations, but runs them on
/// threads of its own, as many as the process's environment says.
pub(crate) struct Zip<F>(pub F);

impl<F: Fn(f32, f32) -> f32 + Sync> CustomOp2 for Zip<F> {
    fn name(&self) -> &'static str {
        "zip"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if a_layout.shape() != b_layout.shape() {
            bail!("shapes {:?} and {:?} differ", a_layout.shape(), b_layout.shape())
        }
        let (a, b) = (contiguous(a.as_slice()?, a_layout)?, contiguous(b.as_slice()?, b_layout)?);
        let mut out = vec![0.0; a.len()];
        out.par_chunks_mut(VALUES_AT_ONCE)
            .zip(a.par_chunks(VALUES_AT_ONCE))
            .zip(b.par_chunks(VALUES_AT_ONCE))
            .for_each(|((out, a), b)| out.iter_mut().zip(a).zip(b).for_each(|((out, a), b)| *out = (self.0)(*a, *b)));
        Ok((CpuStorage::F32(out), a_layout.shape().clone()))
    }
}

/// The gated activation `silu(gate) * up`, where `silu(x) = x / (1 + e^-x)` (Shazeer 2020, section 2).
pub(crate) fn swiglu(gate: f32, up: f32) -> f32 {
    gate / (1.0 + (-gate).exp()) * up
}

/// Adds `[n]` to each row of `[.., n]`, in place.
pub(crate) struct AddToRows;

impl InplaceOp2 for AddToRows {
    fn name(&self) -> &'static str {
        "add-to-rows"
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, x_layout: &Layout, b: &CpuStorage, b_layout: &Layout) -> Result<()> {
        let b = contiguous(b.as_slice::<f32>()?, b_layout)?;
        for row in contiguous_mut(x, x_layout)?.chunks_exact_mut(b.len()) {
            row.iter_mut().zip(b).for_each(|(x, b)| *x += b);
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use qa_model::{ModelConfig, embedded};

    fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn close(found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn rms_norm_is_that_of_the_definition() {
        // Rows of mean square 4 and 9; an epsilon of 5 and 0 makes the root 3.
        for (x, epsilon) in [([2.0, -2.0, 2.0, 2.0], 5.0), ([3.0, 3.0, -3.0, 3.0], 0.0)] {
            let y = tensor(&x, &[1, 4]).apply_op2_no_bwd(&tensor(&[1.0, 2.0, 3.0, 0.5], &[4]), &RmsNorm { epsilon });
            let expected = [1.0, 2.0, 3.0, 0.5].iter().zip(x).map(|(w, x)| w * f64::from(x) / 3.0).collect::<Vec<_>>();
            close(&values(&y.unwrap()), &expected);
        }
    }

    #[test]
    fn each_row_is_normalised_by_itself_however_many_there_are() {
        let rows = 3 * VALUES_AT_ONCE / 8;
        let x: Vec<f32> = (0..rows).flat_map(|row| [1.0 + row as f32; 8]).collect();
        let y = tensor(&x, &[rows, 8]).apply_op2_no_bwd(&tensor(&[1.0; 8], &[8]), &RmsNorm { epsilon: 0.0 });
        close(&values(&y.unwrap()), &vec![1.0; rows * 8]);
    }

    #[test]
    fn elementwise_operations_reach_every_value() {
        let n = 2 * VALUES_AT_ONCE + 17;
        let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let sum = tensor(&a, &[n]).apply_op2_no_bwd(&tensor(&vec![0.5; n], &[n]), &Zip(|a, b| a + b)).unwrap();
        assert_eq!(values(&sum), a.iter().map(|a| a + 0.5).collect::<Vec<_>>());
        let short = tensor(&[1.0], &[1]);
        assert!(sum.apply_op2_no_bwd(&short, &Zip(|a, _| a)).is_err());

        let x = tensor(&[1.0, 2.0, 3.0, 4.0], &[2, 2]);
        x.inplace_op2(&tensor(&[10.0, 20.0], &[2]), &AddToRows).unwrap();
        assert_eq!(values(&x), [11.0, 22.0, 13.0, 24.0]);
        close(&[swiglu(2.0, 3.0), swiglu(-200.0, 3.0)], &[6.0 / (1.0 + (-2.0_f64).exp()), 0.0]);
    }

    /// Heads of eight of which six rotate, at position 5 with a stretch of 2 and a divisor of 4 on the second frequency.
    #[test]
    fn rope_turns_each_pair_by_its_angle() {
        let mut config = ModelConfig::from_gguf(&embedded::TINY_CODER.gguf()).unwrap();
        config.rope.dims = 6;
        config.rope.base = 1000.0;
        config.rope.scaling = RopeScaling::Linear { factor: 2.0 };
        let angles = [2.5, 2.5 / 10.0 / 4.0, 2.5 / 100.0];
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        for (style, pairs) in [(RopeStyle::Neox, [(0, 3), (1, 4), (2, 5)]), (RopeStyle::Norm, [(0, 1), (2, 3), (4, 5)])]
        {
            config.rope.style = style;
            let geometry = Geometry { config: config.clone(), rope_divisors: vec![1.0, 4.0, 1.0], causal: true };
            let mut expected = x;
            for ((a, b), angle) in pairs.into_iter().zip(angles) {
                let (sin, cos) = f64::sin_cos(angle);
                (expected[a], expected[b]) = (x[a] * cos - x[b] * sin, x[a] * sin + x[b] * cos);
            }
            // Two heads at position 4 and two at position 5: the last head is the one looked at.
            let heads = tensor(&x.map(|x| x as f32).repeat(4), &[2, 2, 8]);
            heads.inplace_op1(&RopeTable::new(&geometry, 4, 2)).unwrap();
            close(&values(&heads)[24..], &expected);
            assert_ne!(values(&heads)[..8], values(&heads)[16..24]);
            let wrong = tensor(&x.map(|x| x as f32).repeat(2), &[2, 1, 8]);
            assert!(wrong.inplace_op1(&RopeTable::new(&geometry, 0, 3)).is_err());
        }
    }
}
