//! Distribution functions: normal, chi-square and Student's t from `statrs`, and the noncentral t.
//!
//! Arguments are the harness's own and lie inside the domain of each function; that is asserted in debug builds only.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal, StudentsT};
use statrs::function::gamma::{gamma_ur, ln_gamma};

/// P(Z <= z) of a standard normal Z.
pub fn normal_cdf(z: f64) -> f64 {
    Normal::standard().cdf(z)
}

/// The z with P(Z <= z) = `p`, for `p` in (0, 1).
pub fn normal_quantile(p: f64) -> f64 {
    debug_assert!(p > 0.0 && p < 1.0);
    Normal::standard().inverse_cdf(p)
}

/// P(T <= t) of Student's t with `df` > 0 degrees of freedom.
pub fn t_cdf(t: f64, df: f64) -> f64 {
    students_t(df).cdf(t)
}

/// P(T >= t) of Student's t with `df` > 0 degrees of freedom, accurate in the upper tail.
pub fn t_upper(t: f64, df: f64) -> f64 {
    students_t(df).sf(t)
}

/// The t with P(T <= t) = `p`, for `p` in (0, 1) and `df` >= 1.
///
/// `statrs` inverts the incomplete beta function to about nine digits, and to fewer deep in a heavy tail; Newton steps on
/// the logarithm of its distribution function, in the tail that keeps its digits, bring the rest.
pub fn t_quantile(p: f64, df: f64) -> f64 {
    debug_assert!(p > 0.0 && p < 1.0);
    // The quantile is odd about one half, and the lower tail is where small probabilities keep their digits.
    if p > 0.5 {
        return -t_quantile_lower(1.0 - p, df);
    }
    t_quantile_lower(p, df)
}

fn t_quantile_lower(p: f64, df: f64) -> f64 {
    let log_scale = ln_gamma(f64::midpoint(df, 1.0)) - ln_gamma(df / 2.0) - 0.5 * (df * std::f64::consts::PI).ln();
    let density = |t: f64| (log_scale - f64::midpoint(df, 1.0) * (t * t / df).ln_1p()).exp();
    let mut t = students_t(df).inverse_cdf(p);
    for _ in 0..50 {
        let below = t_cdf(t, df);
        let step = below * (below / p).ln() / density(t);
        if !step.is_finite() {
            break;
        }
        t -= step;
        if step.abs() <= 1e-15 * t.abs() {
            break;
        }
    }
    t
}

/// The x with P(X <= x) = `p` of a chi-square X with `df` > 0 degrees of freedom, for `p` in (0, 1).
pub fn chi_square_quantile(p: f64, df: f64) -> f64 {
    debug_assert!(p > 0.0 && p < 1.0);
    ChiSquared::new(df).map_or(f64::NAN, |d| d.inverse_cdf(p))
}

/// P(T <= t) of the noncentral t, T = (Z + `delta`) / S with Z standard normal and `df` S^2 an independent chi-square with
/// `df` >= 1 degrees of freedom.
///
/// By definition the mean of Phi(t S - delta) over the density of S, which Simpson's rule takes over the stretch where
/// neither factor is constant to double precision; beyond it Phi is 1, and chi-square's own tail gives the rest. Unlike
/// the usual series (Lenth's AS 243) it needs no second method for a large `delta`.
pub fn noncentral_t_cdf(t: f64, df: f64, delta: f64) -> f64 {
    /// Where a normal distribution function is 0 or 1 to double precision.
    const FAR: f64 = 8.5;
    /// Simpson's intervals, over at most 17 standard deviations of the narrower factor.
    const INTERVALS: u32 = 1024;
    if t < 0.0 {
        return 1.0 - noncentral_t_cdf(-t, df, -delta);
    }
    // A chi variable lies within FAR of the root of its degrees of freedom but for a normal tail.
    let spread = FAR / df.sqrt();
    let low = (1.0 - spread).max((delta - FAR) / t).max(0.0);
    let high = (1.0 + spread).min((delta + FAR) / t);
    if t == 0.0 || high <= low {
        // Either T's sign alone decides, or S stays on one side of the step.
        return if t == 0.0 { normal_cdf(-delta) } else { f64::from(low < 1.0 + spread) };
    }
    let log_scale = std::f64::consts::LN_2 + df / 2.0 * (df / 2.0).ln() - ln_gamma(df / 2.0);
    let integrand = |s: f64| {
        let density = if df > 1.0 {
            (log_scale + (df - 1.0) * s.ln() - df / 2.0 * s * s).exp()
        } else {
            (log_scale - s * s / 2.0).exp()
        };
        normal_cdf(t * s - delta) * density
    };
    let width = (high - low) / f64::from(INTERVALS);
    let inner: f64 = (1..INTERVALS).map(|i| f64::from(2 + 2 * (i % 2)) * integrand(low + width * f64::from(i))).sum();
    let integral = (integrand(low) + inner + integrand(high)) * width / 3.0;
    (integral + gamma_ur(df / 2.0, df / 2.0 * high * high)).clamp(0.0, 1.0)
}

fn students_t(df: f64) -> StudentsT {
    debug_assert!(df > 0.0);
    // The constructor fails only for degrees of freedom that are NaN or not above zero.
    StudentsT::new(0.0, 1.0, df.max(f64::MIN_POSITIVE)).unwrap_or_else(|_| unreachable!("positive degrees of freedom"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_printed};

    #[test]
    fn tabled_quantiles() {
        // Any table of Student's t and of chi-square (Fisher and Yates; NIST/SEMATECH handbook 1.3.6.7).
        for (p, df, printed) in [
            (0.95, 1.0, "6.314"),
            (0.975, 9.0, "2.262"),
            (0.95, 9.0, "1.833"),
            (0.99, 5.0, "3.365"),
            (0.999, 100.0, "3.174"),
            (0.05, 9.0, "-1.833"),
        ] {
            assert_printed(t_quantile(p, df), printed);
        }
        for (p, df, printed) in
            [(0.05, 9.0, "3.325"), (0.95, 9.0, "16.919"), (0.025, 5.0, "0.831"), (0.05, 1.0, "0.004")]
        {
            assert_printed(chi_square_quantile(p, df), printed);
        }
        assert_printed(normal_quantile(0.975), "1.959964");
        assert_printed(normal_cdf(1.0), "0.841345");
    }

    #[test]
    fn closed_forms_of_the_t_quantile() {
        // One degree of freedom is Cauchy's tan(pi (p - 1/2)); two is (2p - 1) sqrt(2 / (4 p (1 - p))).
        for p in [1e-9, 1e-4, 0.01, 0.3, 0.7, 0.99, 0.9999] {
            assert_close(t_quantile(p, 1.0), -1.0 / (std::f64::consts::PI * p).tan(), 1e-11);
            assert_close(t_quantile(p, 2.0), (2.0 * p - 1.0) * (2.0 / (4.0 * p * (1.0 - p))).sqrt(), 1e-11);
        }
        assert!(t_quantile(0.5, 7.0).abs() < 1e-15);
    }

    #[test]
    fn noncentral_t_as_published() {
        // R: power.t.test(n = 20, delta = 1) prints power = 0.8689528; power.t.test(power = .90, delta = 1,
        // alternative = "one.sided") prints n = 17.84713 (help page of power.t.test).
        let first = 1.0 - noncentral_t_cdf(t_quantile(0.975, 38.0), 38.0, 10f64.sqrt());
        assert_printed(first, "0.8689528");
        let df = 2.0 * 16.84713;
        let second = 1.0 - noncentral_t_cdf(t_quantile(0.95, df), df, (17.84713f64 / 2.0).sqrt());
        assert_printed(second, "0.900000");
    }

    #[test]
    fn noncentral_t_at_its_edges() {
        // Without noncentrality it is Student's; at zero it is the normal tail; and it is its own mirror image.
        for (t, df) in [(-1.5, 4.0), (0.7, 1.0), (2.5, 9.0), (30.0, 2.0)] {
            assert!((noncentral_t_cdf(t, df, 0.0) - t_cdf(t, df)).abs() < 1e-9);
        }
        assert_close(noncentral_t_cdf(0.0, 5.0, 1.3), normal_cdf(-1.3), 1e-12);
        let mirrored = noncentral_t_cdf(1.2, 6.0, 0.8) + noncentral_t_cdf(-1.2, 6.0, -0.8);
        assert_close(mirrored, 1.0, 1e-12);
        // Far out it is exactly 0 or 1, never NaN.
        assert!(noncentral_t_cdf(1e6, 3.0, 5.0) > 1.0 - 1e-12);
        assert!(noncentral_t_cdf(2.0, 9.0, 500.0) < 1e-12);
        assert!(noncentral_t_cdf(2.0, 9.0, -500.0) > 1.0 - 1e-12);
    }
}
