//! Effect sizes.

use super::StatsError;
use super::error::{check, finite};
use super::summary::{mean, sd};

/// Cohen's d of paired differences, mean over standard deviation (d_z in Lakens 2013).
///
/// `None` where the values have no spread.
///
/// # Errors
/// [`StatsError::TooFew`] below two values, [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn cohens_d(values: &[f64]) -> Result<Option<f64>, StatsError> {
    check(values, "an effect size", 2)?;
    let d = mean(values)? / sd(values)?;
    Ok(Some(d).filter(|d| d.is_finite()))
}

/// Cohen's d of two independent samples: the difference of the means, `a` less `b`, over the pooled standard deviation
/// (Cohen, *Statistical Power Analysis for the Behavioral Sciences*, 1988, section 2.2).
///
/// `None` where neither sample has any spread.
///
/// # Errors
/// [`StatsError::TooFew`] below two values in either sample, [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn cohens_d_independent(a: &[f64], b: &[f64]) -> Result<Option<f64>, StatsError> {
    check(a, "an effect size", 2)?;
    check(b, "an effect size", 2)?;
    let (na, nb) = (a.len() as f64, b.len() as f64);
    let (sa, sb) = (sd(a)?, sd(b)?);
    let pooled = (((na - 1.0) * sa * sa + (nb - 1.0) * sb * sb) / (na + nb - 2.0)).sqrt();
    let d = (mean(a)? - mean(b)?) / finite("the pooled variance", pooled)?;
    Ok(Some(d).filter(|d| d.is_finite()))
}
