//! Dependence between successive values, and drift over their order.

use crate::stats::StatsError;
use crate::stats::distributions::t_upper;
use crate::stats::error::{check, finite};
use crate::stats::rng::Rng;
use crate::stats::summary::raw_mean;
use serde::{Deserialize, Serialize};

/// Shuffles behind a permutation p-value.
pub(super) const SHUFFLES: u32 = 1_999;

/// Lag-1 autocorrelation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Autocorrelation {
    /// Number of values.
    pub n: usize,
    /// Sum of products of successive deviations from the mean, over the sum of their squares.
    pub lag1: f64,
    /// Two-sided p-value by permutation: the share of shuffles that lie at least as far from their own expectation,
    /// -1 / n.
    pub p_value: f64,
}

/// A straight line through values at given positions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Value at position 0.
    pub intercept: f64,
    /// Change of the value per unit of position.
    pub slope: f64,
    /// Standard error of the slope.
    pub slope_error: f64,
    /// Residual standard deviation, n - 2 in the denominator.
    pub residual_sd: f64,
    /// Slope over its standard error; `None` where the line fits without residual.
    pub t: Option<f64>,
    /// Two-sided p-value of a slope of zero, n - 2 degrees of freedom; without residual 0, or 1 for a slope of zero.
    pub p_value: f64,
}

/// The lag-1 autocorrelation alone; `None` for a sample without spread, of which it is not defined.
///
/// # Errors
/// [`StatsError::TooFew`] below two values, [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn lag1(values: &[f64]) -> Result<Option<f64>, StatsError> {
    check(values, "a lag-1 autocorrelation", 2)?;
    let mean = finite("the sum of the values", raw_mean(values))?;
    let deviations: Vec<f64> = values.iter().map(|value| value - mean).collect();
    let squares = finite("the sum of squares", deviations.iter().map(|d| d * d).sum())?;
    Ok((squares > 0.0).then(|| successive_products(&deviations) / squares))
}

/// The lag-1 autocorrelation with its permutation p-value; `None` for a sample without spread.
///
/// # Errors
/// [`StatsError::TooFew`] below three values, [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn autocorrelation(values: &[f64], seed: u64) -> Result<Option<Autocorrelation>, StatsError> {
    check(values, "a test of autocorrelation", 3)?;
    let Some(lag1) = lag1(values)? else {
        return Ok(None);
    };
    let mean = raw_mean(values);
    let mut deviations: Vec<f64> = values.iter().map(|value| value - mean).collect();
    let squares: f64 = deviations.iter().map(|d| d * d).sum();
    let expected = -1.0 / values.len() as f64;
    let observed = (lag1 - expected).abs();
    let p_value = permutation_p(observed, seed, |rng| {
        rng.shuffle(&mut deviations);
        (successive_products(&deviations) / squares - expected).abs()
    });
    Ok(Some(Autocorrelation { n: values.len(), lag1, p_value }))
}

/// Least-squares line through `values` at `positions`.
///
/// # Errors
/// [`StatsError::Unpaired`] for different lengths, [`StatsError::TooFew`] below three points,
/// [`StatsError::NoSpread`] if all positions are equal, [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn line(positions: &[f64], values: &[f64]) -> Result<Line, StatsError> {
    if positions.len() != values.len() {
        return Err(StatsError::Unpaired { left: positions.len(), right: values.len() });
    }
    check(positions, "a slope", 3)?;
    check(values, "a slope", 3)?;
    let (mean_x, mean_y) = (raw_mean(positions), raw_mean(values));
    let moments = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        positions.iter().zip(values).map(|(x, y)| f(x - mean_x, y - mean_y)).sum()
    };
    let spread = finite("the sum of squared positions", moments(&|x, _| x * x))?;
    if spread == 0.0 {
        return Err(StatsError::NoSpread { what: "a slope over positions" });
    }
    let slope = moments(&|x, y| x * y) / spread;
    let df = (values.len() - 2) as f64;
    let residual_sd = finite("the residual variance", (moments(&|x, y| (y - slope * x).powi(2)) / df).sqrt())?;
    let slope_error = residual_sd / spread.sqrt();
    let t = Some(slope / slope_error).filter(|t| t.is_finite());
    Ok(Line {
        intercept: finite("the intercept", mean_y - slope * mean_x)?,
        slope: finite("the slope", slope)?,
        slope_error,
        residual_sd,
        t,
        p_value: t.map_or(f64::from(slope == 0.0), |t| (2.0 * t_upper(t.abs(), df)).min(1.0)),
    })
}

/// Drift: the line through `values` over their order 0, 1, 2, ...; its slope is the change from one to the next.
///
/// # Errors
/// As [`line`].
pub fn drift(values: &[f64]) -> Result<Line, StatsError> {
    let order: Vec<f64> = (0..values.len()).map(|i| i as f64).collect();
    line(&order, values)
}

/// The share of [`SHUFFLES`] draws, and the observation itself, that reach `observed`.
pub(super) fn permutation_p(observed: f64, seed: u64, mut draw: impl FnMut(&mut Rng) -> f64) -> f64 {
    let mut rng = Rng::new(seed);
    // Equal but for the rounding of another order of summation counts as reached.
    let bound = observed - 1e-12 * observed.abs();
    let reached = (0..SHUFFLES).filter(|_| draw(&mut rng) >= bound).count();
    (reached + 1) as f64 / f64::from(SHUFFLES + 1)
}

fn successive_products(deviations: &[f64]) -> f64 {
    deviations.windows(2).map(|pair| pair[0] * pair[1]).sum()
}
