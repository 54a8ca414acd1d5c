//! Dependence between successive values, and drift over their order.

use crate::StatsError;
use crate::distributions::t_upper;
use crate::error::{check, finite};
use crate::rng::Rng;
use crate::summary::raw_mean;
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
/// As [`line()`].
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::{LEW, MAVRO, MICHELSON, NORRIS_X, NORRIS_Y};
    use crate::testing::{assert_close, normal};

    #[test]
    fn certified_autocorrelations() {
        // NIST StRD, univariate summary statistics, lag-1 autocorrelation coefficient.
        for (values, certified) in
            [(LEW, -0.307_304_800_605_679), (MICHELSON, 0.535_199_668_621_283), (MAVRO, 0.937_989_183_438_248)]
        {
            assert_close(lag1(values).unwrap().unwrap(), certified, 1e-12);
        }
        assert_close(lag1(&[10_000_001.0, 10_000_003.0, 10_000_002.0]).unwrap().unwrap(), -0.5, 1e-12);
    }

    #[test]
    fn certified_line() {
        // NIST StRD, linear regression, Norris.
        let line = line(NORRIS_X, NORRIS_Y).unwrap();
        assert_close(line.intercept, -0.262_323_073_774_029, 1e-11);
        assert_close(line.slope, 1.002_116_818_020_45, 1e-13);
        assert_close(line.slope_error, 0.429_796_848_199_937e-3, 1e-10);
        assert_close(line.residual_sd, 0.884_796_396_144_373, 1e-10);
        // The square of the slope's t is the certified F.
        assert_close(line.t.unwrap().powi(2), 5_436_385.540_797_85, 1e-9);
    }

    #[test]
    fn dependence_is_noticed_and_its_absence_is_not() {
        let strong = autocorrelation(MAVRO, 1).unwrap().unwrap();
        assert_close(strong.p_value, 1.0 / 2000.0, 1e-12);
        let mut rng = Rng::new(11);
        let low = (0..400).filter(|&seed| {
            let noise: Vec<f64> = (0..10).map(|_| normal(&mut rng)).collect();
            autocorrelation(&noise, seed).unwrap().unwrap().p_value <= 0.05
        });
        // 5 % of 400 is 20; four standard deviations are 17.
        let count = low.count();
        assert!(count.abs_diff(20) <= 17, "{count}");
    }

    #[test]
    fn drift_is_the_change_from_one_to_the_next() {
        let line = drift(&[1.0, 1.5, 2.0, 2.5]).unwrap();
        assert_close(line.slope, 0.5, 1e-12);
        assert_eq!((line.t, line.p_value), (None, 0.0));
        let flat = drift(&[2.0; 5]).unwrap();
        assert_eq!((flat.slope, flat.t, flat.p_value), (0.0, None, 1.0));
    }

    #[test]
    fn inputs_without_an_answer() {
        assert_eq!(lag1(&[3.0, 3.0, 3.0]), Ok(None));
        assert_eq!(autocorrelation(&[3.0, 3.0, 3.0], 1), Ok(None));
        assert!(matches!(lag1(&[3.0]), Err(StatsError::TooFew { .. })));
        assert!(matches!(drift(&[1.0, 2.0]), Err(StatsError::TooFew { .. })));
        assert!(matches!(line(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), Err(StatsError::NoSpread { .. })));
        assert!(matches!(line(&[1.0], &[]), Err(StatsError::Unpaired { .. })));
    }
}
