//! Attention, one query of one head at a time.

use crate::linear::dot;
use crate::ops::contiguous;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape};
use rayon::prelude::*;

/// Multiply-adds below which sharing out the work costs more than it saves.
const SHARE_ABOVE: usize = 1 << 17;

/// Grouped-query attention (Ainslie et al. 2023): `softmax(q k^T / sqrt(head_dim)) v` of queries
/// `[rows, heads, head_dim]` over keys and values `[kv_heads, capacity, head_dim]`, giving `[rows, heads * head_dim]`.
///
/// Each key head serves `heads / kv_heads` neighbouring query heads. The query of row `r` stands at position
/// `first + r` and sees the positions up to its own.
pub(crate) struct Attention {
    /// Position of the first row.
    pub first: usize,
    /// With this off, every query sees all `first + rows` positions.
    pub causal: bool,
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
            let seen = self.first + if self.causal { row + 1 } else { rows };
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
    let max = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for weight in &mut weights {
        *weight = ((f64::from(*weight - max) * scale) as f32).exp();
        sum += f64::from(*weight);
    }
    for (weight, value) in weights.iter().zip(values.chunks_exact(out.len())) {
        let weight = (f64::from(*weight) / sum) as f32;
        for (out, value) in out.iter_mut().zip(value) {
            *out += weight * value;
        }
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
            [(1, 4, 2, 8, 0, 3), (5, 6, 2, 10, 3, 9), (1, 3, 3, 4, 6, 7), (40, 4, 1, 16, 0, 64)]
        {
            let (q, k, v) = (
                tensor((rows, heads, head_dim), 0.3),
                tensor((kv_heads, capacity, head_dim), 5.1),
                tensor((kv_heads, capacity, head_dim), 9.7),
            );
            for causal in [true, false] {
                let found = q.apply_op3_no_bwd(&k, &v, &Attention { first, causal }).unwrap();
                assert_eq!(found.dims(), [rows, heads * head_dim]);
                let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                for (found, expected) in found.iter().zip(by_definition(&q, &k, &v, first, causal)) {
                    assert!((f64::from(*found) - expected).abs() < 2e-6, "{found} {expected}");
                }
            }
        }
    }
}
