//! A step in the level, at the same iteration of every process.
//!
//! Five iterations of one process can show nothing at a level worth warning about; the same step in six processes can.
//! So the processes are looked at together: each is put on its own scale (deviations from its mean in units of its
//! standard deviation), the standardised step is averaged over processes at every possible split, and the largest is held
//! against shuffles of the iterations within each process. One long process is the special case of one. (Barrett et al.,
//! "Virtual machine warmup blows hot and cold", OOPSLA 2017, show why steady state must be looked for, not assumed.)

use super::serial::permutation_p;
use crate::StatsError;
use crate::error::{check, finite};
use crate::summary::{raw_mean, raw_sd};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::NILE;
    use crate::rng::Rng;
    use crate::testing::{assert_printed, normal};

    #[test]
    fn the_nile_falls_in_1899() {
        // Cobb 1978 and everyone since: the level changes after 1898, the 28th year; mean 1098 before and 850 after (the
        // constants of R's strucchange example, lm(Nile ~ breakfactor)).
        let found = change_point(&[NILE], 1).unwrap().unwrap();
        assert_eq!(found.at, 28);
        assert_printed(found.before, "1097.75");
        assert_printed(found.after, "849.97");
        assert!(found.p_value <= 1.0 / 2000.0 + 1e-12);
    }

    #[test]
    fn a_warm_up_shows_in_many_processes_though_in_none_alone() {
        let mut rng = Rng::new(2);
        let processes: Vec<Vec<f64>> = (0..8)
            .map(|_| (0..5).map(|i| 10.0 + f64::from(u8::from(i < 2)) * 0.6 + 0.3 * normal(&mut rng)).collect())
            .collect();
        let together = change_point(&processes, 1).unwrap().unwrap();
        assert_eq!(together.at, 2);
        assert!(together.p_value < 0.01, "{together:?}");
        assert!(together.before > together.after);
        assert!(processes.iter().all(|process| change_point(&[process], 1).unwrap().unwrap().p_value > 0.01));
    }

    #[test]
    fn steady_processes_are_seldom_suspected() {
        let mut rng = Rng::new(9);
        let suspected = (0..300)
            .filter(|&seed| {
                let processes: Vec<Vec<f64>> = (0..6).map(|_| (0..5).map(|_| normal(&mut rng)).collect()).collect();
                change_point(&processes, seed).unwrap().unwrap().p_value <= 0.05
            })
            .count();
        // 5 % of 300 is 15; four standard deviations are 15.
        assert!(suspected <= 30, "{suspected}");
    }

    #[test]
    fn inputs_without_an_answer() {
        assert_eq!(change_point(&[vec![1.0; 6]], 1), Ok(None));
        assert!(matches!(change_point::<Vec<f64>>(&[], 1), Err(StatsError::TooFew { .. })));
        assert!(matches!(change_point(&[vec![1.0, 2.0, 3.0]], 1), Err(StatsError::TooFew { needed: 4, .. })));
        let ragged = [vec![1.0, 2.0, 3.0, 4.0], vec![1.0, 2.0, 3.0, 4.0, 5.0]];
        assert_eq!(change_point(&ragged, 1), Err(StatsError::Unpaired { left: 4, right: 5 }));
    }
}
