//! Student's and Welch's t tests, for the p-values that claims name.

use super::StatsError;
use super::distributions::{t_cdf, t_upper};
use super::error::{check, check_finite, finite};
use super::summary::{mean, sd};
use serde::{Deserialize, Serialize};

/// Which departures from the null value count as evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alternative {
    /// The true value is above the null value.
    Greater,
    /// The true value is below the null value.
    Less,
    /// The true value differs from the null value, either way.
    TwoSided,
}

/// A t test's result.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TTest {
    /// What was tested for.
    pub alternative: Alternative,
    /// The estimate less the null value, in the unit of the sample.
    pub difference: f64,
    /// Standard error of the difference.
    pub standard_error: f64,
    /// Degrees of freedom (fractional for Welch's test).
    pub df: f64,
    /// The t statistic; `None` where the standard error is zero.
    pub t: Option<f64>,
    /// The p-value. With a standard error of zero it is 0 where the difference speaks for the alternative, else 1.
    pub p_value: f64,
}

/// Tests the mean of a sample against `null`.
///
/// # Errors
/// [`StatsError::TooFew`] below two values, [`StatsError::NotFinite`], [`StatsError::Overflow`],
/// [`StatsError::Parameter`] for a null value that is not finite.
pub fn one_sample(values: &[f64], null: f64, alternative: Alternative) -> Result<TTest, StatsError> {
    check(values, "a t test", 2)?;
    check_finite("the null value", null)?;
    let n = values.len() as f64;
    let difference = finite("the difference from the null value", mean(values)? - null)?;
    Ok(test(alternative, difference, sd(values)? / n.sqrt(), n - 1.0))
}

/// Tests the difference of the means of two independent samples, without assuming equal variances: Welch, "The
/// generalization of 'Student's' problem when several different population variances are involved", Biometrika 34
/// (1947) 28-35. `Greater` means that the mean of `a` is above that of `b`.
///
/// # Errors
/// [`StatsError::TooFew`] below two values in either sample, [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn welch(a: &[f64], b: &[f64], alternative: Alternative) -> Result<TTest, StatsError> {
    check(a, "Welch's t test", 2)?;
    check(b, "Welch's t test", 2)?;
    let variance_of_mean = |values: &[f64]| -> Result<f64, StatsError> {
        let sd = sd(values)?;
        finite("a variance", sd * sd / values.len() as f64)
    };
    let (va, vb) = (variance_of_mean(a)?, variance_of_mean(b)?);
    let (na, nb) = (a.len() as f64, b.len() as f64);
    // Shares rather than squares of the variances, which would underflow for samples of nanosecond scale.
    let share = if va + vb > 0.0 { va / (va + vb) } else { 0.5 };
    let df = 1.0 / (share * share / (na - 1.0) + (1.0 - share) * (1.0 - share) / (nb - 1.0));
    let difference = finite("the difference of the means", mean(a)? - mean(b)?)?;
    Ok(test(alternative, difference, (va + vb).sqrt(), df))
}

fn test(alternative: Alternative, difference: f64, standard_error: f64, df: f64) -> TTest {
    let t = Some(difference / standard_error).filter(|t| t.is_finite());
    let p_value = match (t, alternative) {
        (Some(t), Alternative::Greater) => t_upper(t, df),
        (Some(t), Alternative::Less) => t_cdf(t, df),
        (Some(t), Alternative::TwoSided) => (2.0 * t_upper(t.abs(), df)).min(1.0),
        (None, Alternative::Greater) => f64::from(difference <= 0.0),
        (None, Alternative::Less) => f64::from(difference >= 0.0),
        (None, Alternative::TwoSided) => f64::from(difference == 0.0),
    };
    TTest { alternative, difference, standard_error, df, t, p_value }
}
