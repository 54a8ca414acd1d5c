//! Matrix products, spread over the threads of the pool that calls them.

use crate::ops::{AddToRows, contiguous};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Rows up to which a product is a dot product for each output. `candle`'s product of a single row reaches a quarter of
/// the speed of memory, and decoding is nothing but such products.
pub(crate) const FEW_ROWS: usize = 8;

/// Multiply-adds below which sharing out a product costs more than it saves.
const SHARE_ABOVE: usize = 1 << 17;

/// A linear map: `x W^T + b`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[out, in]`, contiguous, f32.
    pub weight: Tensor,
    /// `[out]`, f32.
    pub bias: Option<Tensor>,
}

impl Linear {
    /// Apply to `[rows, in]`, contiguous, giving `[rows, out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = if x.dim(0)? <= FEW_ROWS {
            x.apply_op2_no_bwd(&self.weight, &FewRows)?
        } else {
            shared_product(x, &self.weight)?
        };
        if let Some(bias) = &self.bias {
            y.inplace_op2(bias, &AddToRows)?;
        }
        Ok(y)
    }
}

/// Multiply-adds that a thread should at least be given, and the runs into which outputs are then shared out.
fn share(rows: usize, outputs: usize, inputs: usize) -> usize {
    if rows * outputs * inputs < SHARE_ABOVE { outputs } else { outputs.div_ceil(rayon::current_num_threads()) }
}

/// `x w^T` by `candle`, which takes its number of threads from the environment of the process: so the outputs are shared
/// out here, a run of them for each thread of the pool. Each output is one sum, whichever run it falls into.
fn shared_product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (rows, (outputs, inputs)) = (x.dim(0)?, weight.dims2()?);
    let run = share(rows, outputs, inputs);
    let parts = (0..outputs)
        .into_par_iter()
        .step_by(run)
        .map(|start| x.matmul(&weight.narrow(0, start, run.min(outputs - start))?.t()?))
        .collect::<Result<Vec<_>>>()?;
    Tensor::cat(&parts, 1)
}

/// `x w^T` of a few rows `x: [rows, in]` by weights `[out, in]`, both contiguous.
struct FewRows;

impl CustomOp2 for FewRows {
    fn name(&self) -> &'static str {
        "few-rows"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((rows, inputs), (outputs, _)) = (x_layout.shape().dims2()?, w_layout.shape().dims2()?);
        let (x, w) = (contiguous(x.as_slice()?, x_layout)?, contiguous(w.as_slice()?, w_layout)?);
        let mut y = vec![0.0; rows * outputs];
        let run = share(rows, outputs, inputs);
        for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs)) {
            let fill = |(y, w): (&mut [f32], &[f32])| {
                for (y, w) in y.iter_mut().zip(w.chunks_exact(inputs)) {
                    *y = dot(x, w);
                }
            };
            if run == outputs {
                fill((y, w));
            } else {
                y.par_chunks_mut(run).zip(w.par_chunks(run * inputs)).for_each(fill);
            }
        }
        Ok((CpuStorage::F32(y), (rows, outputs).into()))
    }
}

/// Partial sums of a dot product: enough to fill the processor's vectors and hide their latency.
const LANES: usize = 32;

/// The dot product of two slices of equal length: interleaved partial sums of `f32`, added up by halves.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a, b) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.0.iter().zip(b.0) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    let rest: f32 = a.1.iter().zip(b.1).map(|(a, b)| a * b).sum();
    sums[0] + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Values that have no pattern and no exact representation.
    fn values(n: usize, seed: f64) -> Vec<f32> {
        (0..n).map(|i| ((i as f64 + seed) * 0.731).sin() as f32).collect()
    }

    /// Every path, for shapes that divide by nothing, against sums in `f64`.
    #[test]
    fn products_are_those_of_the_definition() {
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for (rows, outputs, inputs) in
                [(1, 1, 1), (1, 701, 333), (8, 130, 129), (9, 131, 127), (33, 257, 64), (2, 5, 31)]
            {
                let (x, w, b) = (values(rows * inputs, 0.1), values(outputs * inputs, 7.7), values(outputs, 3.3));
                let tensor = |v: &[f32], shape: &[usize]| Tensor::from_slice(v, shape, &Device::Cpu).unwrap();
                let linear = Linear { weight: tensor(&w, &[outputs, inputs]), bias: Some(tensor(&b, &[outputs])) };
                let y = pool.install(|| linear.forward(&tensor(&x, &[rows, inputs]))).unwrap();
                assert_eq!(y.dims(), [rows, outputs]);
                for (i, y) in y.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().enumerate() {
                    let (r, o) = (i / outputs, i % outputs);
                    let products = (0..inputs).map(|k| f64::from(x[r * inputs + k]) * f64::from(w[o * inputs + k]));
                    let (sum, scale) = products.fold((0.0, 0.0), |(sum, scale), p| (sum + p, scale + p.abs()));
                    let error = (f64::from(y) - sum - f64::from(b[o])).abs();
                    assert!(
                        error <= 1e-6 * (scale + 1.0),
                        "{rows}x{outputs}x{inputs}, {threads} threads: {y}, off by {error}"
                    );
                }
            }
        }
    }
}
