//! Declared looks: when a run may stop early, and how much error each look may spend.
//!
//! Looking after every pair until the bound is met passes falsely three to four times as often as its level says. So the
//! looks are declared before sampling, and the error is shared out over them: look i uses one-sided bounds at confidence
//! 1 - a_i, and the a_i sum to at most a = 1 - confidence. By the union bound a false pass anywhere then has at most
//! probability a, whatever the dependence between the looks, and a false fail likewise: both sides are one-sided claims
//! of their own. The exact joint boundaries of group-sequential theory would be a little wider open, but they are exact
//! for a known variance only; with six pairs the union bound is the one that holds.

use super::StatsError;
use super::distributions::{normal_cdf, normal_quantile};
use super::error::check_probability;
use serde::{Deserialize, Serialize};

/// How the error is shared out over the looks, as a cumulative function of the share t of the planned blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spending {
    /// The same for every look, whenever it comes.
    #[default]
    Bonferroni,
    /// a ln(1 + (e - 1) t): near even, in the manner of Pocock (Lan and DeMets, "Discrete sequential boundaries for
    /// clinical trials", Biometrika 70, 1983, 659-663).
    Pocock,
    /// 2 - 2 Phi(z / sqrt(t)) with Phi(z) = 1 - a/2: almost all of it kept for the last look, in the manner of O'Brien and
    /// Fleming (ibid.).
    ObrienFleming,
}

/// One declared look.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Number of blocks at which it is taken.
    pub blocks: usize,
    /// That number over the number at the last look.
    pub information: f64,
    /// One-sided error that this look may spend.
    pub alpha: f64,
    /// Error spent up to and with this look.
    pub spent: f64,
    /// Confidence of each one-sided bound at this look, 1 - `alpha`.
    pub confidence: f64,
}

/// Shares the error of `confidence` out over `looks`, given as increasing numbers of blocks.
///
/// A single look keeps the whole error, whatever the spending.
///
/// # Errors
/// [`StatsError::Looks`] for looks that are empty, below two blocks or not increasing; [`StatsError::Parameter`] unless
/// 0.5 < `confidence` < 1.
pub fn schedule(looks: &[usize], confidence: f64, spending: Spending) -> Result<Vec<Look>, StatsError> {
    check_probability("the confidence", confidence)?;
    if confidence <= 0.5 {
        return Err(StatsError::Parameter {
            name: "the confidence",
            value: confidence,
            range: "strictly between 0.5 and 1",
        });
    }
    let Some(&last) = looks.last() else {
        return Err(StatsError::Looks { position: 0, blocks: 0 });
    };
    let mut previous = 1;
    for (position, &blocks) in looks.iter().enumerate() {
        if blocks <= previous {
            return Err(StatsError::Looks { position, blocks });
        }
        previous = blocks;
    }
    let alpha = 1.0 - confidence;
    let mut spent = 0.0;
    Ok(looks
        .iter()
        .enumerate()
        .map(|(position, &blocks)| {
            let information = blocks as f64 / last as f64;
            let cumulative = match spending {
                _ if blocks == last => alpha,
                Spending::Bonferroni => alpha * (position + 1) as f64 / looks.len() as f64,
                Spending::Pocock => alpha * (1.0 + (std::f64::consts::E - 1.0) * information).ln(),
                Spending::ObrienFleming => 2.0 * normal_cdf(normal_quantile(alpha / 2.0) / information.sqrt()),
            };
            let look_alpha = cumulative - spent;
            spent = cumulative;
            Look { blocks, information, alpha: look_alpha, spent, confidence: 1.0 - look_alpha }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_printed};

    #[test]
    fn obrien_fleming_spending_as_published() {
        // SeqBounds.jl prints for looks at 1/4, 1/2, 3/4 and 1, one-sided 5 %: cumulative error 8.85754e-5, 0.0055746,
        // 0.0236251, 0.05 and increments 8.85754e-5, 0.00548602, 0.0180505, 0.0263749.
        let looks = schedule(&[5, 10, 15, 20], 0.95, Spending::ObrienFleming).unwrap();
        for (look, (spent, alpha)) in looks.iter().zip([
            ("8.85754e-5", "8.85754e-5"),
            ("0.0055746", "0.00548602"),
            ("0.0236251", "0.0180505"),
            ("0.05", "0.0263749"),
        ]) {
            assert_printed(look.spent, spent);
            assert_printed(look.alpha, alpha);
        }
    }

    #[test]
    fn pocock_spending_at_the_ends() {
        // Lan and DeMets 1983: the function is 0 at 0 and alpha at 1; halfway, 0.05 ln(1 + (e - 1) / 2) = 0.0310.
        let looks = schedule(&[10, 20], 0.95, Spending::Pocock).unwrap();
        assert_printed(looks[0].spent, "0.0310");
        assert_close(looks[1].spent, 0.05, 1e-12);
    }

    #[test]
    fn every_spending_sums_to_the_error() {
        for spending in [Spending::Bonferroni, Spending::Pocock, Spending::ObrienFleming] {
            for looks in [&[6, 10, 16][..], &[2], &[2, 3, 4, 5, 6, 7, 8]] {
                let schedule = schedule(looks, 0.95, spending).unwrap();
                assert_close(schedule.iter().map(|look| look.alpha).sum(), 0.05, 1e-12);
                assert!(schedule.iter().all(|look| look.alpha > 0.0 && look.confidence > 0.95 - 1e-12));
            }
        }
        let thirds = schedule(&[6, 10, 16], 0.95, Spending::Bonferroni).unwrap();
        assert!(thirds.iter().all(|look| (look.alpha - 0.05 / 3.0).abs() < 1e-15));
    }

    #[test]
    fn looks_must_increase() {
        let position = |looks: &[usize]| match schedule(looks, 0.95, Spending::Bonferroni) {
            Err(StatsError::Looks { position, .. }) => Some(position),
            _ => None,
        };
        assert_eq!(position(&[]), Some(0));
        assert_eq!(position(&[1, 5]), Some(0));
        assert_eq!(position(&[6, 6]), Some(1));
        assert_eq!(position(&[6, 10, 9]), Some(2));
        assert!(matches!(schedule(&[6], 0.5, Spending::Pocock), Err(StatsError::Parameter { .. })));
    }
}
