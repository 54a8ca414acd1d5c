//! Several claims at once.
//!
//! A gate in which every point must pass needs no correction: its chance of a false pass is at most that of any one
//! point. A list of separate claims, each worth announcing on its own, is a family, and its error is shared out here.

use super::StatsError;
use super::error::check_probability;

/// The confidence at which each of `claims` one-sided bounds must stand for all to hold together with at least
/// `confidence` (Bonferroni).
///
/// # Errors
/// [`StatsError::Parameter`] unless 0 < `confidence` < 1; [`StatsError::TooFew`] for an empty family;
/// [`StatsError::Overflow`] where the share of the error is too small for a number.
pub fn bonferroni_confidence(confidence: f64, claims: usize) -> Result<f64, StatsError> {
    check_probability("the confidence", confidence)?;
    if claims == 0 {
        return Err(StatsError::TooFew { what: "a family of claims", needed: 1, found: 0 });
    }
    let each = 1.0 - (1.0 - confidence) / claims as f64;
    if each < 1.0 { Ok(each) } else { Err(StatsError::Overflow { what: "the number of claims in the family" }) }
}

/// P-values adjusted by Bonferroni: each times their number, at most 1.
///
/// # Errors
/// [`StatsError::Parameter`] for a p-value outside 0..=1.
pub fn bonferroni(p_values: &[f64]) -> Result<Vec<f64>, StatsError> {
    check_p_values(p_values)?;
    Ok(p_values.iter().map(|p| (p * p_values.len() as f64).min(1.0)).collect())
}

/// P-values adjusted by Holm's step-down rule, in the order given: the i-th smallest of m times (m - i + 1), made
/// non-decreasing, at most 1 (Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
/// Statistics 6, 1979, 65-70). A claim holds at family-wise level a where its adjusted p-value is at most a.
///
/// # Errors
/// [`StatsError::Parameter`] for a p-value outside 0..=1.
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>, StatsError> {
    check_p_values(p_values)?;
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&i, &j| p_values[i].total_cmp(&p_values[j]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut running: f64 = 0.0;
    for (rank, &i) in order.iter().enumerate() {
        running = running.max(p_values[i] * (p_values.len() - rank) as f64).min(1.0);
        adjusted[i] = running;
    }
    Ok(adjusted)
}

fn check_p_values(p_values: &[f64]) -> Result<(), StatsError> {
    for &value in p_values {
        if !(0.0..=1.0).contains(&value) {
            return Err(StatsError::Parameter { name: "a p-value", value, range: "from 0 to 1" });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_printed};

    #[test]
    fn holm_of_the_manual() {
        // The documentation of pingouin.holm prints 0.64, 0.012, 0.64, 0.162, 0.0015 for these p-values.
        let adjusted = holm(&[0.50, 0.003, 0.32, 0.054, 0.0003]).unwrap();
        for (found, printed) in adjusted.iter().zip(["0.64", "0.012", "0.64", "0.162", "0.0015"]) {
            assert_printed(*found, printed);
        }
    }

    #[test]
    fn holm_is_monotone_and_capped() {
        // The usual illustration: 0.01, 0.04, 0.03, 0.005 at four tests; 0.04 inherits the 0.06 of 0.03.
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]).unwrap();
        for (found, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert_close(*found, expected, 1e-12);
        }
        assert_eq!(holm(&[0.9, 0.8]).unwrap(), [1.0, 1.0]);
        assert_eq!(holm(&[]).unwrap(), [0.0; 0]);
    }

    #[test]
    fn bonferroni_shares_the_error() {
        assert_close(bonferroni_confidence(0.95, 5).unwrap(), 0.99, 1e-15);
        assert_eq!(bonferroni(&[0.01, 0.5]).unwrap(), [0.02, 1.0]);
        assert!(matches!(bonferroni_confidence(0.95, 0), Err(StatsError::TooFew { .. })));
        assert!(matches!(bonferroni_confidence(1.0, 2), Err(StatsError::Parameter { .. })));
        assert!(matches!(holm(&[0.5, 1.5]), Err(StatsError::Parameter { .. })));
        assert!(matches!(bonferroni(&[f64::NAN]), Err(StatsError::Parameter { .. })));
    }
}
