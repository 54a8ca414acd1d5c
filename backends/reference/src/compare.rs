//! How far one model's beliefs are from another's, position by position.
//!
//! Pure functions of two streams of [`ScoreRow`]s about the same tokens: a reference's and a candidate's.

use qa_protocol::ScoreRow;
use std::collections::BTreeMap;

/// Two streams that cannot be compared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CompareError {
    /// There is nothing to compare.
    #[error("no positions were scored")]
    Empty,
    /// The streams differ in length.
    #[error(
        "the reference scored {reference} positions and the candidate {candidate}: both must score the same windows"
    )]
    Length {
        /// Rows of the reference.
        reference: usize,
        /// Rows of the candidate.
        candidate: usize,
    },
    /// Two rows that should be of one token are not.
    #[error("row {row} is about token {reference} for the reference and {candidate} for the candidate")]
    Index {
        /// Index of the row.
        row: usize,
        /// Token index of the reference.
        reference: u32,
        /// Token index of the candidate.
        candidate: u32,
    },
    /// A row is no distribution.
    #[error("the {side}'s row about token {index} is no probability distribution: {reason}")]
    Row {
        /// `reference` or `candidate`.
        side: &'static str,
        /// Token index of the row.
        index: u32,
        /// What is wrong with it.
        reason: String,
    },
}

/// A position where the likeliest tokens differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flip {
    /// Index of the token that is predicted.
    pub index: u32,
    /// The reference's likeliest token.
    pub reference: u32,
    /// The candidate's likeliest token.
    pub candidate: u32,
    /// By how many nats the reference prefers its likeliest token to its second.
    pub margin: f64,
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Positions compared.
    pub positions: usize,
    /// Mean Kullback-Leibler divergence of the candidate from the reference, in nats.
    pub mean_kl: f64,
    /// The largest divergence at one position, in nats.
    pub max_kl: f64,
    /// Index of the token at which it occurs.
    pub max_kl_index: u32,
    /// Positions where the likeliest tokens differ, the widest margin first.
    pub flips: Vec<Flip>,
    /// Mean negative log-likelihood of the reference, in nats: the logarithm of its perplexity.
    pub ln_ppl_reference: f64,
    /// The candidate's.
    pub ln_ppl_candidate: f64,
}

impl Comparison {
    /// Positions where the likeliest tokens differ though the reference prefers its own by more than `margin` nats.
    pub fn flips_above(&self, margin: f64) -> usize {
        self.flips.iter().take_while(|flip| flip.margin > margin).count()
    }

    /// `ln PPL(candidate) - ln PPL(reference)`: 0.01 is one per cent.
    pub fn ln_ppl_difference(&self) -> f64 {
        self.ln_ppl_candidate - self.ln_ppl_reference
    }
}

/// Compare a candidate's scores with a reference's.
///
/// Each divergence is that of the distributions over the tokens which both rows name, all others taken together: a lower
/// bound of the true one (Cover and Thomas 2006, theorem 2.7.1). With 256 tokens a row the bound is tight; with few it
/// reads a fifth too low.
///
/// # Errors
/// When the streams are empty, not about the same tokens, or hold rows that are no distributions.
pub fn compare(reference: &[ScoreRow], candidate: &[ScoreRow]) -> Result<Comparison, CompareError> {
    if reference.len() != candidate.len() {
        return Err(CompareError::Length { reference: reference.len(), candidate: candidate.len() });
    }
    let mut largest = (f64::NEG_INFINITY, 0);
    let (mut kl_sum, mut nll_reference, mut nll_candidate) = (0.0, 0.0, 0.0);
    let mut flips = Vec::new();
    for (row, (p, q)) in reference.iter().zip(candidate).enumerate() {
        if p.index != q.index {
            return Err(CompareError::Index { row, reference: p.index, candidate: q.index });
        }
        let (p_first, q_first) = (check("reference", p)?, check("candidate", q)?);
        let kl = divergence(p, q);
        kl_sum += kl;
        if kl > largest.0 {
            largest = (kl, p.index);
        }
        if p_first != q_first {
            let margin = p.top.get(1).map_or(f64::INFINITY, |second| f64::from(p.top[0].1) - f64::from(second.1));
            flips.push(Flip { index: p.index, reference: p_first, candidate: q_first, margin });
        }
        nll_reference += p.nll;
        nll_candidate += q.nll;
    }
    if reference.is_empty() {
        return Err(CompareError::Empty);
    }
    flips.sort_by(|a, b| b.margin.total_cmp(&a.margin).then(a.index.cmp(&b.index)));
    let positions = reference.len();
    Ok(Comparison {
        positions,
        mean_kl: kl_sum / positions as f64,
        max_kl: largest.0,
        max_kl_index: largest.1,
        flips,
        ln_ppl_reference: nll_reference / positions as f64,
        ln_ppl_candidate: nll_candidate / positions as f64,
    })
}

/// How far the mass of a row may be from 1: far above what rounding does, far below what a wrong row shows.
const MASS_TOLERANCE: f64 = 1e-3;

/// The likeliest token of a row, if the row is a distribution.
fn check(side: &'static str, row: &ScoreRow) -> Result<u32, CompareError> {
    let fail = |reason: String| Err(CompareError::Row { side, index: row.index, reason });
    let Some(&(first, _)) = row.top.first() else {
        return fail("it names no token".into());
    };
    if !row.nll.is_finite() {
        return fail(format!("its negative log-likelihood is {}", row.nll));
    }
    if row.top.iter().any(|&(_, logp)| logp.is_nan()) || row.top.windows(2).any(|pair| pair[0].1 < pair[1].1) {
        return fail("its log-probabilities do not descend".into());
    }
    let mass = row.top.iter().map(|&(_, logp)| f64::from(logp).exp()).sum::<f64>() + row.tail;
    if !(row.tail >= 0.0 && (mass - 1.0).abs() <= MASS_TOLERANCE) {
        return fail(format!("its mass is {mass}, of which {} is the tail", row.tail));
    }
    Ok(first)
}

/// Divergence, in nats, of `q` from `p` over the tokens that both name and the rest.
fn divergence(p: &ScoreRow, q: &ScoreRow) -> f64 {
    // Ordered by id, so that the sum below does not depend on a hash.
    let mut only_q: BTreeMap<u32, f64> = q.top.iter().map(|&(id, logp)| (id, f64::from(logp))).collect();
    let (mut kl, mut p_rest) = (0.0, p.tail);
    for &(id, logp) in &p.top {
        let ln_p = f64::from(logp);
        match only_q.remove(&id) {
            Some(ln_q) => kl += term(ln_p.exp(), || ln_p - ln_q),
            None => p_rest += ln_p.exp(),
        }
    }
    // A tail too small for a number must not make the divergence infinite.
    let q_rest = (q.tail + only_q.values().map(|ln_q| ln_q.exp()).sum::<f64>()).max(f64::MIN_POSITIVE);
    kl + term(p_rest, || (p_rest / q_rest).ln())
}

/// `mass * ratio()`, where nothing times anything is nothing.
fn term(mass: f64, log_ratio: impl FnOnce() -> f64) -> f64 {
    if mass > 0.0 { mass * log_ratio() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of a distribution over ids `0..n`, cut to its `top` likeliest.
    fn row(index: u32, probabilities: &[f64], top: usize) -> ScoreRow {
        let mut order: Vec<u32> = (0..probabilities.len() as u32).collect();
        order.sort_by(|&a, &b| probabilities[b as usize].total_cmp(&probabilities[a as usize]));
        let (head, tail) = order.split_at(top.min(order.len()));
        ScoreRow {
            index,
            nll: -probabilities[0].ln(),
            top: head.iter().map(|&id| (id, probabilities[id as usize].ln() as f32)).collect(),
            tail: tail.iter().map(|&id| probabilities[id as usize]).sum(),
        }
    }

    #[test]
    fn divergence_is_that_of_the_definition() {
        // 1/2 ln 2 + 1/4 ln(2/3) + 1/4 ln(1/2), by hand.
        let (p, q) = (row(1, &[0.5, 0.25, 0.25], 3), row(1, &[0.25, 0.375, 0.375], 3));
        let by_hand = 0.5 * 2_f64.ln() + 0.5 * (2.0_f64 / 3.0).ln();
        let found = compare(&[p], &[q]).unwrap();
        assert!((found.mean_kl - by_hand).abs() < 1e-7, "{found:?}");
        assert!((found.ln_ppl_difference() - 2_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn what_only_one_row_names_is_taken_together_with_the_tails() {
        // The rows name {0, 1} and {0, 2}: both come down to {0, rest}.
        let (p, q) = (row(1, &[0.5, 0.3, 0.1, 0.1], 2), row(1, &[0.4, 0.1, 0.4, 0.1], 2));
        let by_hand = 0.5 * (0.5_f64 / 0.4).ln() + 0.5 * (0.5_f64 / 0.6).ln();
        assert!((compare(&[p], &[q]).unwrap().mean_kl - by_hand).abs() < 1e-7);
    }

    #[test]
    fn cutting_rows_never_raises_the_divergence() {
        let p: Vec<f64> = (1..=50).map(|i| f64::from(i) / 1275.0).collect();
        let q: Vec<f64> = p.iter().rev().copied().collect();
        let mut last = 0.0;
        for top in [1, 5, 20, 50] {
            let kl = compare(&[row(1, &p, top)], &[row(1, &q, top)]).unwrap().mean_kl;
            assert!(kl >= last - 1e-7, "top {top}: {kl} after {last}");
            last = kl;
        }
        let full: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum();
        assert!((last - full).abs() < 1e-6);
    }

    #[test]
    fn an_empty_tail_against_a_little_mass_stays_finite() {
        let p = ScoreRow { index: 1, nll: 0.0, top: vec![(0, -1e-7)], tail: 1e-7 };
        let q = ScoreRow { index: 1, nll: 0.0, top: vec![(0, 0.0)], tail: 0.0 };
        let found = compare(&[p], &[q]).unwrap().mean_kl;
        assert!(found.is_finite() && found < 1e-4, "{found}");
    }

    #[test]
    fn flips_are_counted_by_the_margin_of_the_reference() {
        let reference = [row(1, &[0.6, 0.4], 2), row(2, &[0.51, 0.49], 2), row(3, &[0.9, 0.1], 2)];
        let candidate = [row(1, &[0.4, 0.6], 2), row(2, &[0.49, 0.51], 2), row(3, &[0.8, 0.2], 2)];
        let found = compare(&reference, &candidate).unwrap();
        assert_eq!(found.flips.iter().map(|flip| flip.index).collect::<Vec<_>>(), [1, 2]);
        assert!((found.flips[0].margin - 1.5_f64.ln()).abs() < 1e-6);
        assert_eq!((found.flips_above(0.05), found.flips_above(0.0), found.flips_above(1.0)), (1, 2, 0));
        assert_eq!((found.positions, found.max_kl_index), (3, 1));
    }

    #[test]
    fn streams_that_do_not_belong_together_are_refused() {
        let good = || row(1, &[0.6, 0.4], 2);
        let fails = |reference: &[ScoreRow], candidate: &[ScoreRow], what: &str| {
            let error = compare(reference, candidate).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        fails(&[], &[], "no positions");
        fails(&[good()], &[], "1 positions and the candidate 0");
        fails(&[good()], &[row(2, &[0.6, 0.4], 2)], "token 1 for the reference and 2");
        fails(&[good()], &[ScoreRow { top: vec![], ..good() }], "the candidate's row about token 1");
        fails(&[good()], &[ScoreRow { tail: 0.5, ..good() }], "of which 0.5 is the tail");
        fails(&[good()], &[ScoreRow { tail: -0.5, ..good() }], "mass");
        fails(&[ScoreRow { nll: f64::NAN, ..good() }], &[good()], "the reference's row");
        fails(&[good()], &[ScoreRow { top: vec![(0, -0.9), (1, -0.5)], ..good() }], "descend");
        fails(&[good()], &[ScoreRow { top: vec![(0, f32::NAN)], ..good() }], "descend");
    }
}
