//! Attention: one query of one head at a time where there are few, as matrix products where there are many.

use crate::linear::{FEW_ROWS, Factor, dot, product};
use crate::ops::contiguous;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape};
use gemm::Parallelism;
use rayon::prelude::*;

/// Multiply-adds below which sharing out the work costs more than it saves.
const SHARE_ABOVE: usize = 1 << 17;

/// Queries of a key head whose scores are one product: enough to pay for reading the keys, few enough for their scores of
/// some thousand positions to stay in a core's cache.
const QUERIES_AT_ONCE: usize = 32;

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
        let (_, capacity, _) = keys_layout.shape().dims3()?;
        let query = contiguous(query.as_slice()?, query_layout)?;
        let of_head = capacity * head_dim;
        let held = Held {
            rows,
            heads,
            head_dim,
            keys: contiguous(keys.as_slice()?, keys_layout)?.chunks_exact(of_head).collect(),
            values: contiguous(values.as_slice()?, values_layout)?.chunks_exact(of_head).collect(),
        };
        let mut out = vec![0.0; query.len()];
        if rows <= FEW_ROWS {
            self.one_by_one(&held, query, &mut out);
        } else {
            self.by_products(&held, query, &mut out);
        }
        Ok((CpuStorage::F32(out), (rows, heads * head_dim).into()))
    }
}

/// What queries attend to.
struct Held<'a> {
    rows: usize,
    heads: usize,
    head_dim: usize,
    /// Of each key head, `[capacity, head_dim]`.
    keys: Vec<&'a [f32]>,
    /// Likewise.
    values: Vec<&'a [f32]>,
}

impl Attention {
    /// Positions that a row sees of the `first + rows` that there are.
    fn seen(&self, row: usize, rows: usize) -> usize {
        self.first + if self.causal { row + 1 } else { rows }
    }

    fn one_by_one(&self, held: &Held<'_>, query: &[f32], out: &mut [f32]) {
        let Held { rows, heads, head_dim, .. } = *held;
        let group = heads / held.keys.len();
        let attend = |(i, (query, out)): (usize, (&[f32], &mut [f32]))| {
            let (row, head) = (i / heads, i % heads);
            let seen = self.seen(row, rows) * head_dim;
            attend(query, &held.keys[head / group][..seen], &held.values[head / group][..seen], out);
        };
        let shared = rows * heads * (self.first + rows) * head_dim >= SHARE_ABOVE && rayon::current_num_threads() > 1;
        if shared {
            query.par_chunks_exact(head_dim).zip(out.par_chunks_exact_mut(head_dim)).enumerate().for_each(attend);
        } else {
            query.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)).enumerate().for_each(attend);
        }
    }

    /// Some rows at a time: a query by itself would read all keys for so little work that memory, and not the processor,
    /// would set the pace.
    fn by_products(&self, held: &Held<'_>, query: &[f32], out: &mut [f32]) {
        let Held { rows, heads, head_dim, .. } = *held;
        let group = heads / held.keys.len();
        let at_once = (QUERIES_AT_ONCE / group).max(1);
        let (row, run) = (heads * head_dim, group * head_dim);
        // Both are a thread's own, and kept from rows to rows.
        let memory = || (Vec::new(), Vec::new());
        let attend = |(own, scores): &mut (Vec<f32>, Vec<f32>), (i, (query, out)): (usize, (&[f32], &mut [f32]))| {
            let start = i * at_once;
            let queries = query.len() / row * group;
            let seen = self.seen(start + query.len() / row - 1, rows);
            own.resize(queries * head_dim, 0.0);
            scores.resize(queries * seen, 0.0);
            for (head, (keys, values)) in held.keys.iter().zip(&held.values).enumerate() {
                let of_head = head * run..(head + 1) * run;
                for (own, query) in own.chunks_exact_mut(run).zip(query.chunks_exact(row)) {
                    own.copy_from_slice(&query[of_head.clone()]);
                }
                let keys = Factor::Transposed(&keys[..seen * head_dim]);
                product(own, keys, scores, [queries, seen, head_dim], Parallelism::None);
                for (i, weights) in scores.chunks_exact_mut(seen).enumerate() {
                    let (seen, unseen) = weights.split_at_mut(self.seen(start + i / group, rows));
                    softmax(seen, head_dim);
                    unseen.fill(0.0);
                }
                let values = Factor::Plain(&values[..seen * head_dim]);
                product(scores, values, own, [queries, head_dim, seen], Parallelism::None);
                for (own, out) in own.chunks_exact(run).zip(out.chunks_exact_mut(row)) {
                    out[of_head.clone()].copy_from_slice(own);
                }
            }
        };
        let work = query.par_chunks(at_once * row).zip(out.par_chunks_mut(at_once * row)).enumerate();
        work.for_each_init(memory, attend);
    }
}

/// One query `[head_dim]` over the keys and values `[seen, head_dim]` that it may see.
fn attend(query: &[f32], keys: &[f32], values: &[f32], out: &mut [f32]) {
    let mut weights: Vec<f32> = keys.chunks_exact(query.len()).map(|key| dot(query, key)).collect();
    softmax(&mut weights, query.len());
    for (weight, value) in weights.iter().zip(values.chunks_exact(out.len())) {
        for (out, value) in out.iter_mut().zip(value) {
            *out += weight * value;
        }
    }
}

/// `softmax(x / sqrt(head_dim))`, in place.
fn softmax(x: &mut [f32], head_dim: usize) {
    let scale = (head_dim as f64).sqrt().recip();
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
