//! Effect sizes.

use super::StatsError;
use super::distributions::noncentral_t_cdf;
use super::error::{check, check_probability, finite};
use super::summary::{mean, sd};

/// An effect this large, in standard deviations, says that the spread is the rounding of the values and nothing else.
const SPREADLESS: f64 = 1e12;

/// Cohen's d of paired differences, mean over standard deviation (d_z in Lakens 2013).
///
/// `None` where the values have no spread but their rounding.
///
/// # Errors
/// [`StatsError::TooFew`] below two values, [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn cohens_d(values: &[f64]) -> Result<Option<f64>, StatsError> {
    check(values, "an effect size", 2)?;
    let d = mean(values)? / sd(values)?;
    Ok(Some(d).filter(|d| d.abs() < SPREADLESS))
}

/// One-sided bounds of Cohen's d of paired differences, each at `confidence`, for normal differences.
///
/// d sqrt(n) has a noncentral t distribution with noncentrality (true d) sqrt(n), so each bound is the true effect under
/// which what was observed would just be that unlikely (Steiger and Fouladi, "Noncentrality interval estimation", 1997).
/// `None` where the values have no spread but their rounding.
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
        let (mut low, mut high) = (d, d);
        // The uncertainty of a large effect is proportional to it, that of a small one is not.
        let mut reach = 1.0 + d.abs();
        while probability(low) < level || probability(high) > level {
            (low, high) = (d - reach, d + reach);
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
    Ok(Some(d).filter(|d| d.abs() < SPREADLESS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::{SLEEP_1, SLEEP_2};
    use crate::testing::assert_printed;

    #[test]
    fn sleep_data() {
        // d_z is t / sqrt(n): -4.0621 / sqrt(10) from R's t.test. The pooled d is t * sqrt(1/n + 1/n) from
        // t.test(extra ~ group, data = sleep, var.equal = TRUE), t = -1.8608 with equal group sizes.
        let differences: Vec<f64> = SLEEP_1.iter().zip(SLEEP_2).map(|(a, b)| a - b).collect();
        assert_printed(cohens_d(&differences).unwrap().unwrap() * 10f64.sqrt(), "-4.0621");
        assert_printed(cohens_d_independent(SLEEP_1, SLEEP_2).unwrap().unwrap() / 0.2f64.sqrt(), "-1.8608");
    }

    #[test]
    fn bounds_of_the_sleep_data() {
        // R's effectsize: cohens_d(Pair(extra[group == 1], extra[group == 2]) ~ 1, data = sleep) prints -1.28 with the
        // two-sided 95 % interval [-2.12, -0.41].
        let differences: Vec<f64> = SLEEP_1.iter().zip(SLEEP_2).map(|(a, b)| a - b).collect();
        assert_printed(cohens_d(&differences).unwrap().unwrap(), "-1.28");
        let (lower, upper) = cohens_d_bounds(&differences, 0.975).unwrap().unwrap();
        assert_printed(lower, "-2.12");
        assert_printed(upper, "-0.41");
    }

    #[test]
    fn bounds_enclose_effects_of_any_size() {
        for centre in [0.0, 1.0, 50.0, 1e6, 1e9] {
            let values: Vec<f64> = [-1.0, 0.5, 1.0, -0.5, 0.0, 0.2].iter().map(|noise| centre + noise).collect();
            let d = cohens_d(&values).unwrap().unwrap();
            let (lower, upper) = cohens_d_bounds(&values, 0.95).unwrap().unwrap();
            assert!(lower < d && d < upper, "{lower} {d} {upper}");
            // The relative width settles, as that of a standard deviation does.
            assert!(centre < 50.0 || (lower / d > 0.4 && upper / d < 1.7), "{lower} {d} {upper}");
        }
    }

    #[test]
    fn no_spread_no_effect_size() {
        assert_eq!(cohens_d(&[3.0, 3.0]), Ok(None));
        assert_eq!(cohens_d_bounds(&[3.0, 3.0], 0.95), Ok(None));
        assert_eq!(cohens_d_independent(&[3.0, 3.0], &[1.0, 1.0]), Ok(None));
        assert!(matches!(cohens_d(&[3.0]), Err(StatsError::TooFew { .. })));
    }
}
