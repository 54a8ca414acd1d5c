//! Variance components of iterations nested in processes, and the number of iterations that they ask for.
//!
//! Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013: with Y the time of an iteration, its
//! variance splits into T1 (between the iterations of one process) and T2 (between processes beyond what the iterations
//! explain). More iterations shrink only the first, so a budget is best split by the two.

use super::StatsError;
use super::error::{check, check_positive, finite};
use super::paired::{Bounds, mean_bounds};
use super::summary::raw_mean;
use serde::{Deserialize, Serialize};

/// The variance components of nested samples, in the squared unit of the values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Components {
    /// Number of processes.
    pub processes: usize,
    /// Number of iterations in all processes together.
    pub iterations: usize,
    /// Iterations a process: their number if all have as many, else the effective number n0 of the analysis of variance.
    pub iterations_per_process: f64,
    /// T1, the variance between iterations of a process.
    pub within: f64,
    /// T2, the variance between processes less what the iterations explain. It comes out negative when process means
    /// differ less than their iterations would have them differ, by chance or because iterations of one process push
    /// each other apart; it is reported as it falls out.
    pub between: f64,
    /// Variance of the process means.
    pub of_process_means: f64,
    /// Mean of the process means, with t bounds over processes.
    pub mean: Bounds,
}

/// Splits the variance of `processes`, each a slice of iterations.
///
/// With equal numbers of iterations these are the estimators of Kalibera and Jones, T1 = S1 and T2 = S2 - S1 / r. With
/// unequal ones (an iteration was lost) they are those of the one-way analysis of variance, which reduce to the same
/// (Searle, Casella and McCulloch, *Variance Components*, 1992, section 3.6).
///
/// # Errors
/// [`StatsError::TooFew`] below two processes, for an empty process, or if none has two iterations;
/// [`StatsError::NotFinite`] with the position within its process; [`StatsError::Overflow`];
/// [`StatsError::Parameter`] as [`mean_bounds`].
pub fn components<S: AsRef<[f64]>>(processes: &[S], confidence: f64) -> Result<Components, StatsError> {
    let groups: Vec<&[f64]> = processes.iter().map(AsRef::as_ref).collect();
    if groups.len() < 2 {
        return Err(StatsError::TooFew { what: "variance between processes", needed: 2, found: groups.len() });
    }
    for group in &groups {
        check(group, "a process", 1)?;
    }
    let total: usize = groups.iter().map(|group| group.len()).sum();
    if total == groups.len() {
        return Err(StatsError::TooFew { what: "variance within a process", needed: 2, found: 1 });
    }
    let (n, a) = (total as f64, groups.len() as f64);
    let means: Vec<f64> = groups.iter().map(|group| raw_mean(group)).collect();
    let mean = mean_bounds(&means, confidence)?;

    let sum_within: f64 =
        groups.iter().zip(&means).map(|(group, mean)| group.iter().map(|y| (y - mean).powi(2)).sum::<f64>()).sum();
    // The grand mean over iterations, as a weighted mean of deviations so that a common offset costs no digits.
    let weighted = |f: &dyn Fn(f64) -> f64| -> f64 {
        groups.iter().zip(&means).map(|(group, &mean)| group.len() as f64 * f(mean)).sum()
    };
    let grand_mean = mean.mean + weighted(&|m| m - mean.mean) / n;
    let mean_square_between = weighted(&|m| (m - grand_mean).powi(2)) / (a - 1.0);
    let within = finite("the variance within processes", sum_within / (n - a))?;

    let squared_sizes: f64 = groups.iter().map(|group| (group.len() as f64).powi(2)).sum();
    let iterations_per_process = (n - squared_sizes / n) / (a - 1.0);
    Ok(Components {
        processes: groups.len(),
        iterations: total,
        iterations_per_process,
        within,
        between: finite("the variance between processes", (mean_square_between - within) / iterations_per_process)?,
        of_process_means: finite("the variance of the process means", mean.sd * mean.sd)?,
        mean,
    })
}

impl Components {
    /// The number of iterations a process that makes the mean most precise for a given time, when a process costs
    /// `process_cost` to start and warm up and an iteration `iteration_cost` (same unit): ceil(sqrt(c2 / c1 * T1 / T2)).
    ///
    /// `None` where T2 is not above zero: then no process is worth its start, and the data set no limit to the iterations.
    ///
    /// # Errors
    /// [`StatsError::Parameter`] for a cost that is not above zero.
    pub fn optimal_iterations(&self, process_cost: f64, iteration_cost: f64) -> Result<Option<u64>, StatsError> {
        check_positive("the cost of a process", process_cost)?;
        check_positive("the cost of an iteration", iteration_cost)?;
        if self.between <= 0.0 {
            return Ok(None);
        }
        let optimum = (process_cost / iteration_cost * (self.within / self.between)).sqrt().ceil().max(1.0);
        // Beyond 2^53 the data say no more than "as many as you like".
        Ok((optimum < 2f64.powi(53)).then_some(optimum as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::{DYESTUFF, DYESTUFF2, SI_RESISTIVITY};
    use crate::testing::{assert_close, assert_printed};

    #[test]
    fn the_worked_example_of_the_paper() {
        // Kalibera and Jones 2013, two-level example (as restated in the tests of libkalibera): process means 6.3, 8.5 and
        // 4.8, grand mean 6.5, S1 = T1 = 12.7, S2 = 3.6, T2 = 0.4.
        let example = [[9.0, 5.0, 8.0, 3.0], [10.0, 6.0, 7.0, 11.0], [1.0, 12.0, 2.0, 4.0]];
        let found = components(&example, 0.95).unwrap();
        assert_printed(found.mean.mean, "6.5");
        assert_printed(found.within, "12.7");
        assert_printed(found.of_process_means, "3.6");
        assert_printed(found.between, "0.4");
    }

    #[test]
    fn dyestuff_batches() {
        // lme4's REML fit of Dyestuff, which for balanced data with a positive component is the analysis of variance:
        // batch 1764.05, residual 2451.25, intercept 1527.5 with standard error 19.3834.
        let found = components(DYESTUFF, 0.95).unwrap();
        assert_printed(found.between, "1764.05");
        assert_printed(found.within, "2451.25");
        assert_printed(found.mean.mean, "1527.5");
        assert_printed(found.mean.standard_error, "19.3834");
        assert_close(found.iterations_per_process, 5.0, 1e-15);
        // Kalibera and Jones: T2 = S2 - S1 / r.
        assert_close(found.between, found.of_process_means - found.within / 5.0, 1e-12);
    }

    #[test]
    fn certified_mean_squares() {
        // NIST StRD SiRstv: mean squares between 1.27865654e-2 and within 1.0831828e-2 instruments, five readings each.
        let found = components(SI_RESISTIVITY, 0.95).unwrap();
        assert_close(found.within, 1.083_182_8e-2, 1e-9);
        assert_close(5.0 * found.between + found.within, 1.278_656_54e-2, 1e-9);
    }

    #[test]
    fn a_negative_component_is_reported_as_it_falls_out() {
        // Box and Tiao, table 5.1.4: mean squares 8.3363 between and 14.9459 within batches of five.
        let found = components(DYESTUFF2, 0.95).unwrap();
        assert_printed(found.within, "14.9459");
        assert_printed(5.0 * found.between + found.within, "8.3363");
        assert!(found.between < 0.0);
        assert_eq!(found.optimal_iterations(100.0, 1.0), Ok(None));
    }

    #[test]
    fn the_best_number_of_iterations() {
        // ceil(sqrt(100 * 2451.25 / 1764.05)) = ceil(11.79).
        let found = components(DYESTUFF, 0.95).unwrap();
        assert_eq!(found.optimal_iterations(100.0, 1.0), Ok(Some(12)));
        assert_eq!(found.optimal_iterations(0.01, 1.0), Ok(Some(1)));
        assert!(matches!(found.optimal_iterations(0.0, 1.0), Err(StatsError::Parameter { .. })));
    }

    #[test]
    fn lost_iterations_use_the_effective_number() {
        // By hand: groups {1, 3} and {4, 6, 8}; within (2 + 8) / 3, between MS 2 * 2.4^2 + 3 * 1.6^2 = 19.2,
        // n0 = (5 - 13 / 5) / 1 = 2.4.
        let found = components(&[vec![1.0, 3.0], vec![4.0, 6.0, 8.0]], 0.95).unwrap();
        assert_close(found.within, 10.0 / 3.0, 1e-12);
        assert_close(found.iterations_per_process, 2.4, 1e-12);
        assert_close(found.between, (19.2 - 10.0 / 3.0) / 2.4, 1e-12);
    }

    #[test]
    fn too_little_to_split() {
        assert!(matches!(components(&[vec![1.0, 2.0]], 0.95), Err(StatsError::TooFew { .. })));
        assert!(matches!(components(&[vec![1.0], vec![2.0]], 0.95), Err(StatsError::TooFew { .. })));
        assert!(matches!(components(&[vec![1.0, 2.0], vec![]], 0.95), Err(StatsError::TooFew { .. })));
        let constant = components(&[vec![2.0, 2.0], vec![2.0, 2.0]], 0.95).unwrap();
        assert_eq!((constant.within, constant.between), (0.0, 0.0));
    }
}
