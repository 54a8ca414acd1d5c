//! Matrix products, spread over the threads of the pool that calls them. `candle`'s own go by the process's environment, and ask
//! the system for its processors each time.

use crate::ops::{AddToRows, contiguous};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use gemm::Parallelism;
use rayon::prelude::*;

/// Rows up to which a product is a dot product for each output. A general product of a single row reaches a quarter of the
/// speed of memory, and decoding is nothing but such products.
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
        let y = x.apply_op2_no_bwd(&self.weight, &ByWeights)?;
        if let Some(bias) = &self.bias {
            y.inplace_op2(bias, &AddToRows)?;
        }
        Ok(y)
    }
}

/// The second factor of a product, row after row.
#[derive(Clone, Copy)]
pub(crate) enum Factor<'a> {
    /// `[k, n]`.
    Plain(&'a [f32]),
    /// `[n, k]`.
    Transposed(&'a [f32]),
}

/// Set `y: [m, n]` to `a b` of `a: [m, k]`.
///
/// # Panics
/// When a slice has not as many values as its shape says.
pub(crate) fn product(a: &[f32], b: Factor<'_>, y: &mut [f32], [m, n, k]: [usize; 3], threads: Parallelism) {
    let [a_row, y_row] = [k, n].map(usize::cast_signed);
    let (b, row, column) = match b {
        Factor::Plain(b) => (b, y_row, 1),
        Factor::Transposed(b) => (b, 1, a_row),
    };
    assert_eq!((a.len(), b.len(), y.len()), (m * k, k * n, m * n), "a product of [{m}, {k}] and [{k}, {n}]");
    // SAFETY: by the assertion each matrix has every element that its shape and strides address, and `y` is borrowed alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            1,
            y_row,
            false,
            a.as_ptr(),
            1,
            a_row,
            b.as_ptr(),
            column,
            row,
            0.0,
            1.0,
            false,
            false,
            false,
            threads,
        );
    }
}

/// `x w^T` of rows `x: [rows, in]` by weights `[out, in]`, both contiguous.
struct ByWeights;

impl CustomOp2 for ByWeights {
    fn name(&self) -> &'static str {
        "by-weights"
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
        if rows <= FEW_ROWS {
            few_rows(x, w, &mut y, [rows, outputs, inputs]);
        } else {
            let threads = match rayon::current_num_threads() {
                1 => Parallelism::None,
                threads => Parallelism::Rayon(threads),
            };
            product(x, Factor::Transposed(w), &mut y, [rows, outputs, inputs], threads);
        }
        Ok((CpuStorage::F32(y), (rows, outputs).into()))
    }
}

/// Multiply-adds that a thread should at least be given, and the runs into which outputs are then shared out.
fn share(rows: usize, outputs: usize, inputs: usize) -> usize {
    if rows * outputs * inputs < SHARE_ABOVE { outputs } else { outputs.div_ceil(rayon::current_num_threads()) }
}

/// A dot product for each output.
fn few_rows(x: &[f32], w: &[f32], y: &mut [f32], [rows, outputs, inputs]: [usize; 3]) {
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
