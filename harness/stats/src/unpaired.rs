//! Bounds on the difference of two means whose values were not measured in pairs.
//!
//! Welch's t (Welch, "The generalization of Student's problem when several different population variances are involved",
//! Biometrika 34, 1947, 28-35) with the degrees of freedom of Satterthwaite ("An approximate distribution of estimates of
//! variance components", Biometrics Bulletin 2, 1946, 110-114). It knows how much the values of each side scatter, and not
//! what changed between one side and the other beside what is asked about: that it takes for the effect.

use super::StatsError;
use super::distributions::t_quantile;
use super::error::finite;
use super::paired::{Bounds, mean_bounds};

/// One-sided bounds on mean(`values`) - mean(`others`), each at `confidence`. `n` and `sd` of the result are those of
/// `values`.
///
/// # Errors
/// As [`mean_bounds`], of either side.
pub fn difference_bounds(values: &[f64], others: &[f64], confidence: f64) -> Result<Bounds, StatsError> {
    let (these, those) = (mean_bounds(values, confidence)?, mean_bounds(others, confidence)?);
    let share = |bounds: &Bounds| bounds.standard_error.powi(2);
    let (a, b) = (share(&these), share(&those));
    let standard_error = (a + b).sqrt();
    let mean = finite("the difference of the means", these.mean - those.mean)?;
    let reach = if standard_error > 0.0 {
        let df = (a + b).powi(2) / (a.powi(2) / (these.n - 1) as f64 + b.powi(2) / (those.n - 1) as f64);
        t_quantile(confidence, df) * standard_error
    } else {
        0.0
    };
    Ok(Bounds {
        mean,
        standard_error,
        lower: finite("the lower bound", mean - reach)?,
        upper: finite("the upper bound", mean + reach)?,
        ..these
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::{SLEEP_1, SLEEP_2};
    use crate::testing::{assert_close, assert_printed};

    #[test]
    fn bounds_as_published() {
        // R's documentation of t.test: t.test(extra ~ group, data = sleep) is Welch's, with df = 17.776 and the two-sided
        // 95 % interval from -3.3654832 to 0.2054832; each end is a one-sided bound at 97.5 %.
        let found = difference_bounds(SLEEP_1, SLEEP_2, 0.975).unwrap();
        assert_printed(found.lower, "-3.3654832");
        assert_printed(found.upper, "0.2054832");
        assert_close(found.mean, -1.58, 1e-12);
    }

    #[test]
    fn without_spread_the_bounds_are_the_difference() {
        let found = difference_bounds(&[2.0, 2.0], &[1.0, 1.0, 1.0], 0.95).unwrap();
        assert_eq!((found.lower, found.mean, found.upper), (1.0, 1.0, 1.0));
        assert!(matches!(difference_bounds(&[1.0], &[1.0, 2.0], 0.95), Err(StatsError::TooFew { .. })));
        assert!(matches!(difference_bounds(&[1.0, 2.0], &[], 0.95), Err(StatsError::TooFew { .. })));
    }
}
