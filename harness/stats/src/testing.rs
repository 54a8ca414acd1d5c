//! What the tests of this module share: comparison to printed digits, and noise of known kind.

use super::rng::Rng;

/// Asserts that `found` rounds to what a source prints: `digits` is the printed number itself, as text.
#[track_caller]
pub(crate) fn assert_printed(found: f64, printed: &str) {
    let expected: f64 = printed.parse().expect("a number");
    let (mantissa, exponent) = printed.split_once(['e', 'E']).unwrap_or((printed, "0"));
    let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let exponent: i32 = exponent.parse().expect("an exponent");
    // Half a unit of the last printed digit, and a hair for the rounding of the comparison itself.
    let tolerance = 0.500_001 * 10f64.powi(exponent - i32::try_from(decimals).expect("few decimals"));
    assert!((found - expected).abs() <= tolerance, "found {found}, printed {printed}");
}

/// Asserts agreement to a relative error.
#[track_caller]
pub(crate) fn assert_close(found: f64, expected: f64, relative: f64) {
    assert!(
        (found - expected).abs() <= relative * expected.abs().max(f64::MIN_POSITIVE),
        "found {found}, expected {expected} within {relative}"
    );
}

/// A standard normal draw (Box and Muller).
pub(crate) fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * rng.uniform().ln()).sqrt() * (std::f64::consts::TAU * rng.uniform()).cos()
}

/// A binomial proportion's standard error.
pub(crate) fn binomial_error(p: f64, runs: usize) -> f64 {
    (p * (1.0 - p) / runs as f64).sqrt()
}
