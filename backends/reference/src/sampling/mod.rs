//! Choosing tokens at random: temperature, then top-k, then top-p, then a draw, in integers after the exponential.
//!
//! Each step is fixed to the bit, so that every machine and every order of summing gives the same token for the same logits
//! and seed; `sampling.cuh` does the same on a GPU. Tokens are ordered by logit, the lowest id first among equals. With m the
//! highest logit, a token at x = (m - logit) log2(e) / temperature octaves below it has the mass floor(2^-x 2^28) (f32,
//! Horner's scheme of fused products, then a shift), and none from 28 octaves on. Masses add up exactly.
//!
//! - top-k keeps the first `top_k` tokens.
//! - top-p keeps the shortest beginning of those whose mass is at least `top_p` of theirs.
//! - the draw is the token at which the sum of masses first exceeds floor(u M / 2^64), M being the mass that is kept and u the
//!   first 64 bits of [`philox`] for the token's position under the seed.

mod philox;

pub use philox::philox;

use qa_protocol::{Failure, Sampling};

/// Octaves below the highest logit from which on a token has no mass, and bits of the largest mass.
const OCTAVES: u32 = 28;

/// 2^-f - 1 over f for f in [0, 1), interpolated at Chebyshev's nodes: 1.5e-7 of 2^-f at most.
const EXP2: [f32; 6] =
    [-std::f32::consts::LN_2, 0.240_226_09, -0.055_499_23, 0.009_597_035, -0.001_291_636_8, 0.000_114_919_95];

/// A valid way to choose at random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    octaves_per_logit: f32,
    top_k: u32,
    top_p: f32,
    seed: u64,
}

impl Sampler {
    /// What a request asks for; `None` is the likeliest token.
    ///
    /// # Errors
    /// `unsupported`, naming a parameter that makes no sense.
    pub fn of(sampling: Sampling) -> Result<Option<Self>, Failure> {
        let Sampling::Random { temperature, top_k, top_p, seed } = sampling else { return Ok(None) };
        let octaves_per_logit = std::f32::consts::LOG2_E / temperature;
        if !(temperature.is_finite() && octaves_per_logit.is_normal() && octaves_per_logit > 0.0) {
            return Err(Failure::unsupported(format!(
                "a temperature of {temperature} cannot be sampled with: give one above 0, such as 0.8, or choose greedily"
            )));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(Failure::unsupported(format!(
                "`top_p` is {top_p}: it must be above 0 and at most 1, which keeps everything"
            )));
        }
        Ok(Some(Self { octaves_per_logit, top_k, top_p, seed }))
    }

    /// What logits are multiplied with: log2(e) / temperature.
    pub fn octaves_per_logit(&self) -> f32 {
        self.octaves_per_logit
    }

    /// How many tokens are kept; 0 keeps all.
    pub fn top_k(&self) -> u32 {
        self.top_k
    }

    /// The mass to keep in units of 2^-64; 0 keeps all.
    pub fn top_p_fixed(&self) -> u64 {
        // Exact: a number below 1 has at most 24 significant bits, and an f64 holds them at any scale.
        if self.top_p < 1.0 { (f64::from(self.top_p) * 2.0_f64.powi(64)) as u64 } else { 0 }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The token at index `position` of a sequence, from the logits after the token before it. `None` where one is no number,
    /// or none is finite.
    pub fn draw(&self, logits: &[f32], position: u32) -> Option<u32> {
        if logits.iter().any(|logit| logit.is_nan()) {
            return None;
        }
        let most = logits.iter().copied().max_by(f32::total_cmp)?;
        let mut order: Vec<(u32, u64)> = (0_u32..)
            .zip(logits)
            .map(|(id, &logit)| (id, mass((most - logit) * self.octaves_per_logit)))
            .filter(|&(_, mass)| mass > 0)
            .collect();
        order.sort_by(|(a, _), (b, _)| {
            let (a_logit, b_logit) = (logits[*a as usize], logits[*b as usize]);
            b_logit.partial_cmp(&a_logit).unwrap_or(std::cmp::Ordering::Equal).then(a.cmp(b))
        });
        if self.top_k > 0 {
            order.truncate(self.top_k as usize);
        }
        let mut kept: u64 = order.iter().map(|(_, mass)| mass).sum();
        let top_p = self.top_p_fixed();
        if top_p > 0 {
            let least = (u128::from(kept) * u128::from(top_p)).div_ceil(1 << 64) as u64;
            kept = sums(&order).map(|(_, sum)| sum).find(|&sum| sum >= least)?;
        }
        let [low, high, ..] = philox([position, 0, 0, 0], [self.seed as u32, (self.seed >> 32) as u32]);
        let random = u64::from(high) << 32 | u64::from(low);
        let target = ((u128::from(random) * u128::from(kept)) >> 64) as u64;
        sums(&order).find(|&(_, sum)| sum > target).map(|(id, _)| id)
    }
}

/// Each token with the mass of all up to it.
fn sums(order: &[(u32, u64)]) -> impl Iterator<Item = (u32, u64)> {
    order.iter().scan(0, |sum, &(id, mass)| {
        *sum += mass;
        Some((id, *sum))
    })
}

/// floor(2^-x 2^28) for x octaves below the highest logit; 0 from 28 octaves on, and where x is no number.
fn mass(octaves: f32) -> u64 {
    if octaves < OCTAVES as f32 {
        let whole = octaves as u32;
        let rest = octaves - whole as f32;
        let [first @ .., last] = EXP2;
        let polynomial = first.iter().rev().fold(last, |sum, &coefficient| sum.mul_add(rest, coefficient));
        let value = polynomial.mul_add(rest, 1.0);
        u64::from((value * (1_u32 << OCTAVES) as f32) as u32 >> whole)
    } else {
        0
    }
}

#[cfg(test)]
mod tests;
