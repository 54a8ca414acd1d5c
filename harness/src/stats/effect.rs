//! Effect sizes.

use super::StatsError;
use super::distributions::noncentral_t_cdf;
use super::error::{check, check_probability, finite};
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

/// One-sided bounds of Cohen's d of paired differences, each at `confidence`, for normal differences.
///
/// d sqrt(n) has a noncentral t distribution with noncentrality (true d) sqrt(n), so each bound is the true effect under
/// which what was observed would just be that unlikely (Steiger and Fouladi, "Noncentrality interval estimation", 1997).
/// `None` where the values have no spread.
///
/// # Errors
/// As [`cohens_d`]; [`StatsError::Parameter`] unless 0 < `confidence` < 1.
pub fn cohens_d_bounds(values: &[f64], confidence: f64) -> Result<Option<(f64, f64)>, StatsError> {
    check_probability("the confidence", confidence)?;
    let Some(d) = cohens_d(values)? else { return Ok(None) };
    let (df, root) = ((values.len() - 1) as f64, (values.len() as f64).sqrt());
    // P(T <= observed) falls as the true effect rises: bracket the effect at which it is `level`, then halve.
    let effect_at = |level: f64| {
        let probability = |effect: f64| noncentral_t_cdf(d * root, df, effect * root);
        let (mut low, mut high, mut reach) = (d, d, 1.0);
        while probability(low) < level && reach < 1e6 {
            low -= reach;
            reach *= 2.0;
        }
        reach = 1.0;
        while probability(high) > level && reach < 1e6 {
            high += reach;
            reach *= 2.0;
        }
        for _ in 0..100 {
            let middle = f64::midpoint(low, high);
            if probability(middle) > level {
                low = middle;
            } else {
                high = middle;
            }
        }
        f64::midpoint(low, high)
    };
    Ok(Some((effect_at(confidence), effect_at(1.0 - confidence))))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::published::{SLEEP_1, SLEEP_2};
    use crate::stats::testing::assert_printed;

    #[test]
    fn sleep_data() {
        // d_z is t / sqrt(n): -4.0621 / sqrt(10) from R's t.test. The pooled d is t * sqrt(1/n + 1/n) from
        // t.test(extra ~ group, data = sleep, var.equal = TRUE), t = -1.8608 with equal group sizes.
        let differences: Vec<f64> = SLEEP_1.iter().zip(SLEEP_2).map(|(a, b)| a - b).collect();
        assert_printed(cohens_d(&differences).unwrap().unwrap() * 10f64.sqrt(), "-4.0621");
        assert_printed(cohens_d_independent(SLEEP_1, SLEEP_2).unwrap().unwrap() / 0.2f64.sqrt(), "-1.8608");
    }

    #[test]
    fn no_spread_no_effect_size() {
        assert_eq!(cohens_d(&[3.0, 3.0]), Ok(None));
        assert_eq!(cohens_d_independent(&[3.0, 3.0], &[1.0, 1.0]), Ok(None));
        assert!(matches!(cohens_d(&[3.0]), Err(StatsError::TooFew { .. })));
    }
}
