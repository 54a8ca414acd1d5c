//! A step in the level, at the same iteration of every process.
//!
//! Five iterations of one process can show nothing at a level worth warning about; the same step in six processes can.
//! So the processes are looked at together: each is put on its own scale (deviations from its mean in units of its
//! standard deviation), the standardised step is averaged over processes at every possible split, and the largest is held
//! against shuffles of the iterations within each process. One long process is the special case of one. (Barrett et al.,
//! "Virtual machine warmup blows hot and cold", OOPSLA 2017, show why steady state must be looked for, not assumed.)

use super::serial::permutation_p;
use crate::stats::StatsError;
use crate::stats::error::{check, finite};
use crate::stats::summary::{raw_mean, raw_sd};
use serde::{Deserialize, Serialize};

/// The most likely change of level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangePoint {
    /// Index of the first iteration of the new level.
    pub at: usize,
    /// Mean before, averaged over processes, in the unit of the values.
    pub before: f64,
    /// Mean from there on.
    pub after: f64,
    /// The standardised step on which the test rests.
    pub statistic: f64,
    /// P-value by permutation within processes.
    pub p_value: f64,
}

/// Finds the most likely single change of level common to `processes`, each a slice of as many iterations.
///
/// `None` where no process has any spread.
///
/// # Errors
/// [`StatsError::TooFew`] without a process or below four iterations; [`StatsError::Unpaired`] where two processes differ
/// in length; [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn change_point<S: AsRef<[f64]>>(processes: &[S], seed: u64) -> Result<Option<ChangePoint>, StatsError> {
    let processes: Vec<&[f64]> = processes.iter().map(AsRef::as_ref).collect();
    let Some(first) = processes.first() else {
        return Err(StatsError::TooFew { what: "a search for a change", needed: 1, found: 0 });
    };
    let n = first.len();
    let mut standardised = Vec::new();
    for process in &processes {
        check(process, "a search for a change", 4)?;
        if process.len() != n {
            return Err(StatsError::Unpaired { left: n, right: process.len() });
        }
        let mean = finite("the sum of the values", raw_mean(process))?;
        let sd = finite("the sum of squares", raw_sd(process))?;
        if sd > 0.0 {
            standardised.push(process.iter().map(|value| (value - mean) / sd).collect::<Vec<f64>>());
        }
    }
    if standardised.is_empty() {
        return Ok(None);
    }
    let (at, statistic) = largest_step(&standardised, n);
    let p_value = permutation_p(statistic, seed, |rng| {
        for process in &mut standardised {
            rng.shuffle(process);
        }
        largest_step(&standardised, n).1
    });
    let level = |range: std::ops::Range<usize>| {
        let means: Vec<f64> = processes.iter().map(|process| raw_mean(&process[range.clone()])).collect();
        raw_mean(&means)
    };
    Ok(Some(ChangePoint { at, before: level(0..at), after: level(at..n), statistic, p_value }))
}

/// The split with the largest step, and its size: |sum of the deviations before the split| / sqrt(s (n - s) / n), summed
/// over processes, which for one process is the likelihood-ratio statistic of a change in the mean (Hawkins, "Testing a
/// sequence of observations for a shift in location", 1977).
fn largest_step(processes: &[Vec<f64>], n: usize) -> (usize, f64) {
    let mut before = 0.0;
    let mut best = (1, 0.0);
    for split in 1..n {
        before += processes.iter().map(|process| process[split - 1]).sum::<f64>();
        let s = split as f64;
        let step = before.abs() / (s * (n as f64 - s) / n as f64).sqrt() / (processes.len() as f64).sqrt();
        if step > best.1 {
            best = (split, step);
        }
    }
    best
}
