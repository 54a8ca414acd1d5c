//! Attention: one query of one head at a time where there are few, as matrix products where there are many.

use crate::linear::{FEW_ROWS, dot};
use crate::ops::{contiguous, contiguous_mut};
use candle_core::{CpuStorage, CustomOp3, InplaceOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Multiply-adds below which sharing out the work costs more than it saves.
const SHARE_ABOVE: usize = 1 << 17;

/// Queries whose scores are computed in one product: enough to pay for reading the keys, few enough for their scores of
/// some thousand positions to stay in a core's cache.
const QUERIES_AT_ONCE: usize = 128;

/// Grouped-query attention (Ainslie et al. 2023): `softmax(q k^T / sqrt(head_dim)) v` of queries
/// `[rows, heads, head_dim]` over keys and values `[kv_heads, capacity, head_dim]`, giving `[rows, heads * head_dim]`.
///
/// Each key head serves `heads / kv_heads` neighbouring query heads. The query of row `r` stands at position
/// `first + r` and sees the positions up to its own.
#[derive(Clone, Copy)]
pub(crate) struct Attention {
    /// Position of the first row.
    pub first: usize,
    /// With this off, every query sees all `first + rows` positions.
    pub causal: bool,
}

impl Attention {
    /// Attend by `query` to the positions of `keys` and `values` that each row sees.
    pub fn apply(&self, query: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
        if query.dim(0)? <= FEW_ROWS {
            query.apply_op3_no_bwd(keys, values, self)
        } else {
            self.by_products(query, keys, values)
        }
    }

    /// Positions that a row sees of the `first + rows` that there are.
    fn seen(&self, row: usize, rows: usize) -> usize {
        self.first + if self.causal { row + 1 } else { rows }
    }

    /// Some rows of one key head at a time: a query by itself would read all keys for so little work that memory, and not
    /// the processor, would set the pace.
    fn by_products(&self, query: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
        let (rows, heads, head_dim) = query.dims3()?;
        let kv_heads = keys.dim(0)?;
        let group = heads / kv_heads;
        let query = query.reshape((rows, kv_heads, group, head_dim))?.transpose(0, 1)?.contiguous()?;
        let at_once = (QUERIES_AT_ONCE / group).max(1);
        let starts: Vec<(usize, usize)> =
            (0..kv_heads).flat_map(|head| (0..rows).step_by(at_once).map(move |row| (head, row))).collect();
        let attend = |(head, start): (usize, usize)| {
            let count = at_once.min(rows - start);
            let query = query.get(head)?.narrow(0, start, count)?.reshape((count * group, head_dim))?;
            let seen = self.seen(start + count - 1, rows);
            let of_head = |t: &Tensor| t.get(head)?.narrow(0, 0, seen);
            let scores = query.matmul(&of_head(keys)?.t()?)?;
            let softmax =
                Softmax { scale: (head_dim as f64).sqrt().recip(), seen: |i| self.seen(start + i / group, rows) };
            scores.inplace_op1(&softmax)?;
            scores.matmul(&of_head(values)?)
        };
        let parts = starts.into_par_iter().map(attend).collect::<Result<Vec<_>>>()?;
        let attended = Tensor::cat(&parts, 0)?.reshape((kv_heads, rows, group, head_dim))?;
        attended.transpose(0, 1)?.contiguous()?.reshape((rows, heads * head_dim))
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        query: &CpuStorage,
        query_layout: &Layout,
        keys: &CpuStorage,
        keys_layout: &Layout,
        values: &CpuStorage,
        values_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, heads, head_dim) = query_layout.shape().dims3()?;
        let (kv_heads, capacity, _) = keys_layout.shape().dims3()?;
        let query = contiguous(query.as_slice()?, query_layout)?;
        let keys = contiguous(keys.as_slice()?, keys_layout)?;
        let values = contiguous(values.as_slice()?, values_layout)?;

        let group = heads / kv_heads;
        let mut out = vec![0.0; query.len()];
        let attend = |(i, (query, out)): (usize, (&[f32], &mut [f32]))| {
            let (row, head) = (i / heads, i % heads);
            let seen = self.seen(row, rows);
            let start = head / group * capacity * head_dim;
            let seen = start..start + seen * head_dim;
            attend(query, &keys[seen.clone()], &values[seen], out);
        };
        let shared = rows * heads * (self.first + rows) * head_dim >= SHARE_ABOVE && rayon::current_num_threads() > 1;
        if shared {
            query.par_chunks_exact(head_dim).zip(out.par_chunks_exact_mut(head_dim)).enumerate().for_each(attend);
        } else {
            query.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)).enumerate().for_each(attend);
        }
        Ok((CpuStorage::F32(out), (rows, heads * head_dim).into()))
    }
}

/// One query `[head_dim]` over the keys and values `[seen, head_dim]` that it may see.
fn attend(query: &[f32], keys: &[f32], values: &[f32], out: &mut [f32]) {
    let scale = (query.len() as f64).sqrt().recip();
    let mut weights: Vec<f32> = keys.chunks_exact(query.len()).map(|key| dot(query, key)).collect();
    softmax(&mut weights, scale);
    for (weight, value) in weights.iter().zip(values.chunks_exact(out.len())) {
        for (out, value) in out.iter_mut().zip(value) {
            *out += weight * value;
        }
    }
}

/// `softmax(scale * x)`, in place.
fn softmax(x: &mut [f32], scale: f64) {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for x in &mut *x {
        *x = ((f64::from(*x - max) * scale) as f32).exp();
        sum += f64::from(*x);
    }
    for x in x {
        *x = (f64::from(*x) / sum) as f32;
    }
}

/// Turns each row of scores `[queries, positions]` into weights of the `seen` first; those of the others are zero.
struct Softmax<F> {
    scale: f64,
    seen: F,
}

impl<F: Fn(usize) -> usize> InplaceOp1 for Softmax<F> {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, scores: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (_, positions) = layout.shape().dims2()?;
        for (i, row) in contiguous_mut(scores, layout)?.chunks_exact_mut(positions).enumerate() {
            let (seen, unseen) = row.split_at_mut((self.seen)(i));
            softmax(seen, self.scale);
            unseen.fill(0.0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    fn tensor(shape: (usize, usize, usize), seed: f64) -> Tensor {
        let values: Vec<f32> =
            (0..shape.0 * shape.1 * shape.2).map(|i| ((i as f64 + seed) * 1.7).sin() as f32 * 3.0).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// The definition, in `f64`.
    fn by_definition(q: &Tensor, k: &Tensor, v: &Tensor, first: usize, causal: bool) -> Vec<f64> {
        let at = |t: &Tensor| t.to_vec3::<f32>().unwrap();
        let (q, k, v) = (at(q), at(k), at(v));
        let rows = q.len();
        let mut out = Vec::new();
        for (r, row) in q.iter().enumerate() {
            for (h, query) in row.iter().enumerate() {
                let seen = if causal { first + r + 1 } else { first + rows };
                let g = h * k.len() / row.len();
                let score = |key: &Vec<f32>| {
                    let products = query.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k));
                    (products.sum::<f64>() / (query.len() as f64).sqrt()).exp()
                };
                let sum: f64 = k[g][..seen].iter().map(score).sum();
                let seen = || k[g].iter().zip(&v[g]).take(seen);
                out.extend(
                    (0..query.len()).map(|d| seen().map(|(k, v)| score(k) / sum * f64::from(v[d])).sum::<f64>()),
                );
            }
        }
        out
    }

    #[test]
    fn attention_is_that_of_the_definition() {
        for (rows, heads, kv_heads, head_dim, first, capacity) in
            [(1, 4, 2, 8, 0, 3), (5, 6, 2, 10, 3, 9), (1, 3, 3, 4, 6, 7), (40, 4, 1, 16, 0, 64), (75, 8, 2, 6, 11, 86)]
        {
            let (q, k, v) = (
                tensor((rows, heads, head_dim), 0.3),
                tensor((kv_heads, capacity, head_dim), 5.1),
                tensor((kv_heads, capacity, head_dim), 9.7),
            );
            for causal in [true, false] {
                let found = Attention { first, causal }.apply(&q, &k, &v).unwrap();
                assert_eq!(found.dims(), [rows, heads * head_dim]);
                let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                for (found, expected) in found.iter().zip(by_definition(&q, &k, &v, first, causal)) {
                    assert!((f64::from(*found) - expected).abs() < 2e-6, "{found} {expected}");
                }
            }
        }
    }
}
