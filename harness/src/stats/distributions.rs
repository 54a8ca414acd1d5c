//! Distribution functions: normal, chi-square and Student's t from `statrs`, and the noncentral t.
//!
//! Arguments are the harness's own and lie inside the domain of each function; that is asserted in debug builds only.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal, StudentsT};
use statrs::function::beta::beta_reg;
use statrs::function::gamma::ln_gamma;

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
/// `statrs` inverts the incomplete beta function to about nine digits; Newton steps on its distribution function,
/// taken in the tail that keeps its digits, bring the rest.
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
    for _ in 0..4 {
        let step = (t_cdf(t, df) - p) / density(t);
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

/// P(T <= t) of the noncentral t with `df` > 0 degrees of freedom and noncentrality `delta`.
///
/// The series of Lenth, "Algorithm AS 243: cumulative distribution function of the non-central t distribution",
/// Applied Statistics 38 (1989) 185-189: Poisson weights on incomplete beta functions, which share one recursion.
/// Beyond |delta| of 37.6 the weights underflow, and the normal approximation of Abramowitz and Stegun 26.7.10 stands in.
pub fn noncentral_t_cdf(t: f64, df: f64, delta: f64) -> f64 {
    if t < 0.0 {
        return 1.0 - noncentral_t_cdf(-t, df, -delta);
    }
    if delta.abs() > 37.6 {
        let shrink = 1.0 - 1.0 / (4.0 * df);
        return normal_cdf((t * shrink - delta) / (1.0 + t * t / (2.0 * df)).sqrt());
    }
    let below_zero = normal_cdf(-delta);
    let x = t * t / (t * t + df);
    if x <= 0.0 {
        return below_zero.clamp(0.0, 1.0);
    }
    let half_square = delta * delta / 2.0;
    let b = df / 2.0;
    let log_x = x.ln();
    // 1 - x, without the cancellation where x is near one.
    let log_rest = (df / (t * t + df)).ln();

    // Term j holds the weights p (of the half-integer index) and q (of the integer one) and the incomplete beta
    // functions of (j + 1/2, b) and (j + 1, b); each beta falls by its own leading term from one j to the next.
    let mut p = 0.5 * (-half_square).exp();
    let mut q = (2.0 / std::f64::consts::PI).sqrt() * p * delta;
    let mut left_in_weights = 0.5 - p;
    let mut beta_odd = beta_reg(0.5, b, x);
    let mut fall_odd = (0.5 * log_x + b * log_rest + ln_gamma(0.5 + b) - ln_gamma(1.5) - ln_gamma(b)).exp();
    let mut beta_even = 1.0 - (b * log_rest).exp();
    let mut fall_even = (log_x + b * log_rest).exp() * b;
    let mut sum = p * beta_odd + q * beta_even;
    for j in 1..2000 {
        let j = f64::from(j);
        beta_odd -= fall_odd;
        beta_even -= fall_even;
        fall_odd *= x * (j - 0.5 + b) / (j + 0.5);
        fall_even *= x * (j + b) / (j + 1.0);
        p *= half_square / j;
        q *= half_square / (j + 0.5);
        left_in_weights -= p;
        sum += p * beta_odd + q * beta_even;
        // What remains is at most twice the unused weight times the last beta.
        if j > half_square && (2.0 * left_in_weights * beta_odd).abs() < 1e-14 {
            break;
        }
    }
    (sum + below_zero).clamp(0.0, 1.0)
}

fn students_t(df: f64) -> StudentsT {
    debug_assert!(df > 0.0);
    // The constructor fails only for degrees of freedom that are NaN or not above zero.
    StudentsT::new(0.0, 1.0, df.max(f64::MIN_POSITIVE)).unwrap_or_else(|_| unreachable!("positive degrees of freedom"))
}
