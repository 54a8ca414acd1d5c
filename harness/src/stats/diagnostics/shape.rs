//! Stalls, and samples that fall into two groups.

use super::dip::dip_of_sorted;
use crate::stats::StatsError;
use crate::stats::error::{check, check_positive};
use crate::stats::rng::Rng;
use crate::stats::summary::{mad, median, sorted};
use serde::{Deserialize, Serialize};

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
    let mut rng = Rng::new(seed);
    let mut uniform = vec![0.0; n];
    let reached = (0..DIP_DRAWS)
        .filter(|_| {
            uniform.fill_with(|| rng.uniform());
            uniform.sort_unstable_by(f64::total_cmp);
            dip_of_sorted(&uniform) >= dip - 1e-12
        })
        .count();
    Ok(Dip { n, dip, p_value: (reached + 1) as f64 / f64::from(DIP_DRAWS + 1) })
}
