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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::{CLINIC_1A, CLINIC_1B, CLINIC_2A, CLINIC_2B, DARWIN, SLEEP_1, SLEEP_2};
    use crate::testing::{assert_close, assert_printed};

    #[test]
    fn paired_test_of_the_sleep_data() {
        // R: t.test(extra ~ group, data = sleep, paired = TRUE): t = -4.0621, df = 9, p-value = 0.002833.
        let differences: Vec<f64> = SLEEP_1.iter().zip(SLEEP_2).map(|(a, b)| a - b).collect();
        let test = one_sample(&differences, 0.0, Alternative::TwoSided).unwrap();
        assert_printed(test.t.unwrap(), "-4.0621");
        assert_printed(test.p_value, "0.002833");
        assert_printed(test.df, "9");
        let less = one_sample(&differences, 0.0, Alternative::Less).unwrap();
        let greater = one_sample(&differences, 0.0, Alternative::Greater).unwrap();
        assert_close(less.p_value, test.p_value / 2.0, 1e-12);
        assert_close(greater.p_value, 1.0 - test.p_value / 2.0, 1e-12);
    }

    #[test]
    fn darwins_maize() {
        // Fisher, The Design of Experiments, section 17: t = 2.148 with 14 degrees of freedom, just beyond the 5 % point 2.145.
        let test = one_sample(DARWIN, 0.0, Alternative::TwoSided).unwrap();
        assert_printed(test.t.unwrap(), "2.148");
        assert!(test.p_value < 0.05 && test.p_value > 0.049);
    }

    #[test]
    fn welchs_test_of_the_sleep_data() {
        // R: t.test(extra ~ group, data = sleep): t = -1.8608, df = 17.776, p-value = 0.07939.
        let test = welch(SLEEP_1, SLEEP_2, Alternative::TwoSided).unwrap();
        assert_printed(test.t.unwrap(), "-1.8608");
        assert_printed(test.df, "17.776");
        assert_printed(test.p_value, "0.07939");
    }

    #[test]
    fn welchs_degrees_of_freedom_of_the_clinic_data() {
        // R's equivalence::tost on its clinic example prints df = 24.11000151062728 and 26.7484787582315, and the
        // standard errors of the differences, 0.2149871904637392 and 0.2531625991083627.
        for (a, b, df, error) in [
            (CLINIC_2A, CLINIC_2B, 24.110_001_510_627_28, 0.214_987_190_463_739_2),
            (CLINIC_1A, CLINIC_1B, 26.748_478_758_231_5, 0.253_162_599_108_362_7),
        ] {
            let test = welch(a, b, Alternative::TwoSided).unwrap();
            assert_close(test.df, df, 1e-12);
            assert_close(test.standard_error, error, 1e-12);
        }
    }

    #[test]
    fn without_spread_the_p_value_is_zero_or_one() {
        use Alternative::{Greater, Less, TwoSided};
        for (null, alternative, expected) in [
            (1.0, Greater, 0.0),
            (2.0, Greater, 1.0),
            (3.0, Greater, 1.0),
            (1.0, Less, 1.0),
            (2.0, Less, 1.0),
            (3.0, Less, 0.0),
            (1.0, TwoSided, 0.0),
            (2.0, TwoSided, 1.0),
        ] {
            let test = one_sample(&[2.0, 2.0, 2.0], null, alternative).unwrap();
            assert_eq!((test.t, test.p_value), (None, expected), "{null} {alternative:?}");
        }
        let test = welch(&[1.0, 1.0], &[3.0, 3.0], TwoSided).unwrap();
        assert_eq!((test.t, test.p_value), (None, 0.0));
        assert!(matches!(one_sample(&[1.0], 0.0, Less), Err(StatsError::TooFew { .. })));
    }
}
