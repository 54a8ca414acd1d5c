//! How measurements scatter: a pure function of the script's seed and the process's place in the run.

use crate::script::{Hidden, Noise, Script, Untimed};
use qa_protocol::Replicate;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};
use std::f64::consts::TAU;

/// A stream of draws.
pub(crate) struct Draws(Xoshiro256PlusPlus);

impl Draws {
    /// The stream for `purpose` of a process. Its place in the block and the number of places do not enter: a process
    /// draws alike wherever it runs.
    pub(crate) fn new(noise: &Noise, replicate: &Replicate, purpose: &str) -> Self {
        let Replicate { arm, workload, block, attempt, side, .. } = replicate;
        let stream = noise.stream.as_ref().unwrap_or(arm);
        let mut hash = Sha256::new();
        for part in [purpose, stream, workload] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(noise.seed.to_le_bytes());
        hash.update([block.to_le_bytes(), attempt.to_le_bytes(), u32::from(*side).to_le_bytes()].concat());
        Self(Xoshiro256PlusPlus::from_seed(hash.finalize().into()))
    }

    /// Sixty-four random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform on the open interval (0, 1).
    fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) * (-53f64).exp2()
    }

    /// Standard normal (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    fn happens(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }
}

/// The time that one iteration takes, in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Times {
    /// Prefill of the whole prompt.
    pub prefill_ns: f64,
    /// Each single-token pass; together the decode.
    pub token_ns: Vec<f64>,
}

impl Times {
    /// All of it, in nanoseconds.
    pub(crate) fn total_ns(&self) -> f64 {
        self.prefill_ns + self.token_ns.iter().sum::<f64>()
    }

    /// Take so many times as long.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.prefill_ns *= factor;
        self.token_ns.iter_mut().for_each(|ns| *ns *= factor);
    }

    /// Leave a share of the decode out of the tokens' times.
    pub(crate) fn tell(&mut self, untimed: Option<Untimed>) {
        let Some(Untimed { share, goes }) = untimed else { return };
        let hidden: f64 = share * self.token_ns.iter().sum::<f64>();
        self.token_ns.iter_mut().for_each(|ns| *ns *= 1.0 - share);
        if goes == Hidden::Prefill {
            self.prefill_ns += hidden;
        }
    }
}

/// The speed of one process, iteration by iteration.
pub(crate) struct Speed {
    draws: Draws,
    /// Time in blocks since the run began.
    now: f64,
    block: u32,
    /// Log speed of the process apart from drift.
    process: f64,
    /// Autocorrelated log speed of the iteration before, in standard deviations.
    state: Option<f64>,
    /// Iterations so far.
    iteration: u32,
}

impl Speed {
    /// The speed of a fresh process.
    pub(crate) fn new(noise: &Noise, replicate: &Replicate) -> Self {
        let mut draws = Draws::new(noise, replicate, "times");
        let mut process = noise.process_log_sd * draws.normal();
        if let Some(modes) = &noise.two_modes
            && draws.happens(modes.probability)
        {
            process += modes.factor.ln();
        }
        let now = f64::from(replicate.block) + f64::from(replicate.place) / f64::from(replicate.places.max(1));
        Self { draws, now, block: replicate.block, process, state: None, iteration: 0 }
    }

    /// Time to load, in nanoseconds.
    pub(crate) fn load_ns(&self, script: &Script) -> f64 {
        script.load_ms * 1e6 * (-self.process).exp()
    }

    /// The next iteration's times, for `prompt` prompt tokens and `passes` single-token passes.
    pub(crate) fn iteration(&mut self, script: &Script, prompt: u32, passes: u32) -> Times {
        let noise = &script.noise;
        let mut log_speed = self.process + noise.drift_per_block * self.now + self.autocorrelated(noise);
        if let Some(step) = &noise.step
            && (self.block > step.block || (self.block == step.block && self.iteration >= step.iteration))
        {
            log_speed += step.factor.ln();
        }
        if let Some(warm_up) = &noise.warm_up
            && self.iteration < warm_up.iterations
        {
            log_speed -= warm_up.factor.ln();
        }
        if let Some(outliers) = &noise.outliers
            && self.draws.happens(outliers.probability)
        {
            log_speed -= outliers.factor.ln();
        }
        let slower = 1e9 * (-log_speed).exp();
        let prefill_ns = f64::from(prompt) / script.prefill_rate * slower;
        let mut token_ns = self.tokens(noise, f64::from(passes) / script.decode_rate * slower, passes);
        if let Some(stalls) = &noise.stalls
            && self.draws.happens(stalls.probability)
            && !token_ns.is_empty()
        {
            let stalled = (self.draws.bits() % token_ns.len() as u64) as usize;
            token_ns[stalled] += stalls.ms * 1e6;
        }
        self.iteration += 1;
        Times { prefill_ns, token_ns }
    }

    /// A stationary first-order autoregression with the scripted standard deviation.
    fn autocorrelated(&mut self, noise: &Noise) -> f64 {
        let innovation = self.draws.normal();
        let rho = noise.autocorrelation;
        let state = self.state.map_or(innovation, |last| rho * last + (1.0 - rho * rho).sqrt() * innovation);
        self.state = Some(state);
        noise.iteration_log_sd * state
    }

    /// `total` nanoseconds split over `passes`.
    fn tokens(&mut self, noise: &Noise, total: f64, passes: u32) -> Vec<f64> {
        if noise.token_log_sd == 0.0 {
            return vec![total / f64::from(passes); passes as usize];
        }
        let weights: Vec<f64> = (0..passes).map(|_| (noise.token_log_sd * self.draws.normal()).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|w| total * w / sum).collect()
    }
}

#[cfg(test)]
mod tests;
