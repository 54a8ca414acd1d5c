//! Stalls, and samples that fall into two groups.

use super::dip::dip_of_sorted;
use crate::StatsError;
use crate::error::{check, check_positive};
use crate::memo::Memo;
use crate::rng::Rng;
use crate::summary::{mad, median, sorted};
use serde::{Deserialize, Serialize};
use std::rc::Rc;

/// How many times the median a duration must exceed to be called a stall, unless the caller says otherwise.
pub const STALL_FACTOR: f64 = 1.25;

/// A stall lies at least this many scaled median absolute deviations above the median as well, so that a sample that is
/// merely wide has none.
const STALL_DEVIATIONS: f64 = 8.0;

/// Samples of the uniform distribution behind the p-value of a dip.
const DIP_DRAWS: u32 = 999;

/// The dip needs a sort and a few passes; beyond this many values its simulated p-value would take too long.
pub const DIP_LIMIT: usize = 10_000;

/// A duration far above the others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stall {
    /// Its position.
    pub index: usize,
    /// The duration.
    pub value: f64,
    /// The duration over the median.
    pub times_median: f64,
}

/// Hartigans' dip.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dip {
    /// Number of values.
    pub n: usize,
    /// Largest distance between the sample's distribution function and the nearest unimodal one: from 1 / (2 n) for a
    /// sample that could be unimodal to 1/4 for two points.
    pub dip: f64,
    /// Share of simulated uniform samples with a dip at least as large, the observed one counted among them.
    pub p_value: f64,
}

/// The durations that exceed `factor` times the median and lie well outside the sample's own spread.
///
/// # Errors
/// [`StatsError::TooFew`] below three values, [`StatsError::NotFinite`], [`StatsError::Overflow`],
/// [`StatsError::NotPositive`] for a duration at or below zero, [`StatsError::Parameter`] for a factor not above zero.
pub fn stalls(durations: &[f64], factor: f64) -> Result<Vec<Stall>, StatsError> {
    check(durations, "a search for stalls", 3)?;
    check_positive("the factor", factor)?;
    if let Some(index) = durations.iter().position(|&value| value <= 0.0) {
        return Err(StatsError::NotPositive { index, value: durations[index] });
    }
    let median = median(durations)?;
    // 1.4826 makes the median absolute deviation of normal values their standard deviation.
    let far = median + STALL_DEVIATIONS * 1.4826 * mad(durations)?;
    Ok(durations
        .iter()
        .enumerate()
        .filter(|&(_, &value)| value > factor * median && value > far)
        .map(|(index, &value)| Stall { index, value, times_median: value / median })
        .collect())
}

/// The dip test of unimodality (Hartigan and Hartigan, "The dip test of unimodality", Annals of Statistics 13, 1985,
/// 70-84). A small p-value says that one mode does not explain the sample: two clock states, two placements, two caches.
///
/// # Errors
/// [`StatsError::TooFew`] below four values, [`StatsError::TooMany`] beyond [`DIP_LIMIT`], [`StatsError::NotFinite`].
pub fn dip(values: &[f64], seed: u64) -> Result<Dip, StatsError> {
    check(values, "a dip test", 4)?;
    let n = values.len();
    if n > DIP_LIMIT {
        return Err(StatsError::TooMany { what: "a dip test", limit: DIP_LIMIT, found: n });
    }
    let dip = dip_of_sorted(&sorted(values));
    let drawn = DIPS.with(|known| known.get((n, seed), || dips_of_uniform(n, seed)));
    let reached = drawn.len() - drawn.partition_point(|uniform| *uniform < dip - 1e-12);
    Ok(Dip { n, dip, p_value: (reached + 1) as f64 / f64::from(DIP_DRAWS + 1) })
}

thread_local! {
    /// By number of values and seed; the claims of a run share both.
    static DIPS: Memo<(usize, u64), Rc<[f64]>> = Memo::new();
}

/// The dips of [`DIP_DRAWS`] uniform samples of `n` values, sorted.
fn dips_of_uniform(n: usize, seed: u64) -> Rc<[f64]> {
    let mut rng = Rng::new(seed);
    let mut uniform = vec![0.0; n];
    let draw = |_| {
        uniform.fill_with(|| rng.uniform());
        uniform.sort_unstable_by(f64::total_cmp);
        dip_of_sorted(&uniform)
    };
    sorted(&(0..DIP_DRAWS).map(draw).collect::<Vec<f64>>()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::FACULTY;
    use crate::testing::{assert_close, assert_printed, normal};

    #[test]
    fn dip_of_the_faculty_data() {
        // R's diptest: dip.test(statfaculty) prints D = 0.059524, p-value = 0.08672 (interpolated in a table of 10^6
        // simulations); four standard errors of 999 simulations are 0.036.
        let found = dip(FACULTY, 1).unwrap();
        assert_printed(found.dip, "0.059524");
        assert!((found.p_value - 0.08672).abs() < 0.036, "{found:?}");
    }

    #[test]
    fn dip_at_its_extremes() {
        // Two points of equal weight are as far from unimodal as can be: 1/4. Evenly spaced values are as near as can be:
        // 1 / (2 n). R's manual notes p = 0 for c(0, 0, 1, 1).
        assert_close(dip(&[0.0, 0.0, 1.0, 1.0], 1).unwrap().dip, 0.25, 1e-12);
        assert_close(dip(&[1.0, 2.0, 3.0, 4.0, 5.0], 1).unwrap().dip, 0.1, 1e-12);
        assert_close(dip(&[7.0; 8], 1).unwrap().dip, 1.0 / 16.0, 1e-12);
        // A known trouble of early implementations: a sample and its mirror image (Y. Lu, in diptest's tests).
        let mut lopsided = vec![2.0; 10];
        lopsided[0] = 1.0;
        let mirrored: Vec<f64> = lopsided.iter().map(|x| 3.0 - x).collect();
        assert_close(dip(&lopsided, 1).unwrap().dip, dip(&mirrored, 1).unwrap().dip, 1e-12);
    }

    #[test]
    fn two_clock_states_are_noticed() {
        let mut rng = Rng::new(4);
        let two: Vec<f64> = (0..16).map(|i| f64::from(i % 2) + 0.05 * normal(&mut rng)).collect();
        assert!(dip(&two, 1).unwrap().p_value < 0.01);
        let one: Vec<f64> = (0..16).map(|_| normal(&mut rng)).collect();
        assert!(dip(&one, 1).unwrap().p_value > 0.05);
    }

    #[test]
    fn stalls_stand_out_of_the_spread_as_well_as_the_median() {
        let found = stalls(&[10.0, 10.1, 9.9, 31.0, 10.0], STALL_FACTOR).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].index, 3);
        assert_close(found[0].times_median, 3.1, 1e-12);
        // A wide sample has slow iterations but no stall; a tight one has none below the factor.
        assert_eq!(stalls(&[5.0, 8.0, 10.0, 13.0, 16.0], STALL_FACTOR), Ok(vec![]));
        assert_eq!(stalls(&[10.0, 10.0, 10.0, 11.0], STALL_FACTOR), Ok(vec![]));
    }

    #[test]
    fn inputs_without_an_answer() {
        assert!(matches!(dip(&[1.0, 2.0, 3.0], 1), Err(StatsError::TooFew { .. })));
        assert!(matches!(dip(&vec![1.0; DIP_LIMIT + 1], 1), Err(StatsError::TooMany { .. })));
        assert!(matches!(stalls(&[1.0, 0.0, 1.0], 2.0), Err(StatsError::NotPositive { index: 1, .. })));
        assert!(matches!(stalls(&[1.0, 1.0, 1.0], 0.0), Err(StatsError::Parameter { .. })));
    }
}
