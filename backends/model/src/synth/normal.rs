//! Random numbers that depend on a key alone, so that any part of a model can be drawn by any thread.

use std::sync::LazyLock;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest, Sha256};

/// Bits of a draw that choose a quantile.
const QUANTILE_BITS: u32 = 12;
/// How many quantiles stand for the normal distribution.
const QUANTILES: usize = 1 << QUANTILE_BITS;
/// Quantiles that one 64-bit draw chooses.
const PER_DRAW: u32 = u64::BITS / QUANTILE_BITS;

/// The standard normal distribution as equally likely values, ascending, with mean 0 and variance 1.
static TABLE: LazyLock<Box<[f32; QUANTILES]>> = LazyLock::new(|| {
    // The upper half by adding up the density in small steps until each quantile's midpoint is passed; the lower half
    // is its mirror image.
    const STEP: f64 = 1e-4;
    let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let half = QUANTILES / 2;
    let mut upper = Vec::with_capacity(half);
    let (mut z, mut above) = (0.0_f64, 0.0_f64);
    for index in 0..half {
        let midpoint = (index as f64 + 0.5) / QUANTILES as f64;
        while above < midpoint {
            above += density(z + STEP / 2.0) * STEP;
            z += STEP;
        }
        upper.push(z);
    }
    let deviation = (upper.iter().map(|z| z * z).sum::<f64>() / half as f64).sqrt();
    let mut table = Box::new([0.0; QUANTILES]);
    for (index, z) in upper.iter().enumerate() {
        table[half + index] = (z / deviation) as f32;
        table[half - 1 - index] = -(z / deviation) as f32;
    }
    table
});

/// A stream of random numbers of one key.
pub(super) struct Stream(Xoshiro256PlusPlus);

impl Stream {
    /// The stream of a chunk of something with a name, under a seed.
    pub(super) fn new(seed: u64, name: &str, chunk: u64) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(seed.to_le_bytes());
        hasher.update(chunk.to_le_bytes());
        hasher.update(name.as_bytes());
        Self(Xoshiro256PlusPlus::from_seed(hasher.finalize().into()))
    }

    /// Fills `out` with normal numbers of mean 0.
    pub(super) fn normal(&mut self, deviation: f32, out: &mut [f32]) {
        let table = &**TABLE;
        for group in out.chunks_mut(PER_DRAW as usize) {
            let mut bits = self.0.next_u64();
            for value in group {
                *value = table[bits as usize % QUANTILES] * deviation;
                bits >>= QUANTILE_BITS;
            }
        }
    }

    /// A number in [0, 1).
    pub(super) fn uniform(&mut self) -> f32 {
        // The 24 highest bits fill a significand exactly.
        (self.0.next_u64() >> 40) as f32 / (1_u32 << 24) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_normal_distribution() {
        let table = &**TABLE;
        let moment = |power: i32| table.iter().map(|&z| f64::from(z).powi(power)).sum::<f64>() / QUANTILES as f64;
        assert!(moment(1).abs() < 1e-9);
        assert!((moment(2) - 1.0).abs() < 1e-6);
        assert!((moment(4) - 3.0).abs() < 0.03, "kurtosis {}", moment(4));
        assert!(table.is_sorted());
        // The quartile of the normal distribution.
        assert!((table[QUANTILES * 3 / 4] - 0.6745).abs() < 1e-3);
    }

    #[test]
    fn streams_depend_on_every_part_of_the_key_and_on_nothing_else() {
        let draw = |seed, name, chunk| {
            let mut out = [0.0; 7];
            Stream::new(seed, name, chunk).normal(1.0, &mut out);
            out.map(f32::to_bits)
        };
        let first = draw(1, "a", 0);
        assert_eq!(first, draw(1, "a", 0));
        for other in [draw(2, "a", 0), draw(1, "b", 0), draw(1, "a", 1)] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn draws_are_uncorrelated_within_and_between_streams() {
        let count = 1 << 16;
        let mut a = vec![0.0; count];
        let mut b = vec![0.0; count];
        Stream::new(7, "x", 0).normal(2.0, &mut a);
        Stream::new(7, "x", 1).normal(2.0, &mut b);
        let correlate =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>() / a.len() as f64 / 4.0;
        // Five standard errors of a correlation of independent numbers.
        let bound = 5.0 / (count as f64).sqrt();
        for lag in 1..8 {
            assert!(correlate(&a[lag..], &a[..count - lag]).abs() < bound, "lag {lag}");
        }
        assert!(correlate(&a, &b).abs() < bound);
        assert!((correlate(&a, &a) - 1.0).abs() < 2.0 * bound);
    }
}
