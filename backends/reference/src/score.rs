//! Teacher-forced scores: what the model believed of each token, given those before it.

use crate::decoder::{Decoder, Head};
use crate::error::{Error, Result};
use candle_core::Tensor;
use qa_protocol::ScoreRow;
use rayon::prelude::*;

/// Bytes of logits held at once. Rows of logits are reduced as they are made: 4,096 of a 150,000-token vocabulary
/// would take 2.5 GB.
const LOGITS_BYTES: usize = 64 << 20;

/// Windows that advance together when weights are streamed, so that each block is loaded once for all of them.
const STREAMED_WINDOWS: usize = 64;

/// Which predictions of a token sequence are scored, as [`qa_protocol::ScoreRequest`] defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Window length in tokens. Each window starts from an empty cache; an incomplete last one is dropped.
    pub context: usize,
    /// First offset within a window whose token's prediction is scored; at least 1.
    pub first: usize,
}

impl Windows {
    /// One window of all tokens, each scored but the first.
    pub fn whole(tokens: &[u32]) -> Self {
        Self { context: tokens.len(), first: 1 }
    }
}

impl Decoder {
    /// Score every token after the first: its negative log-likelihood in nats, the `top` likeliest tokens with their
    /// log-probabilities, and the mass of the others.
    ///
    /// # Errors
    /// When there are fewer than two tokens, one is outside the vocabulary, or the model's context is exceeded.
    pub fn score(&mut self, tokens: &[u32], top: usize) -> Result<Vec<ScoreRow>> {
        let mut rows = Vec::with_capacity(tokens.len());
        self.score_windows(tokens, Windows::whole(tokens), top, &mut |row| {
            rows.push(row);
            Ok::<_, Error>(())
        })?;
        Ok(rows)
    }

    /// Score the windows of a sequence, handing out rows in order as each window is done. The sequence that
    /// [`Decoder::forward`] extends is left alone.
    ///
    /// # Errors
    /// As [`Decoder::score`], when the windows make no sense or there is no whole one, and what `emit` returns.
    pub fn score_windows<E: From<Error>>(
        &mut self,
        tokens: &[u32],
        windows: Windows,
        top: usize,
        emit: &mut dyn FnMut(ScoreRow) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let Windows { context, first } = windows;
        if first == 0 || first >= context {
            return Err(Error::Request(format!(
                "cannot score from offset {first} of windows of {context} tokens: `first` must be at least 1 and below `context`"
            ))
            .into());
        }
        if tokens.len() < context {
            return Err(Error::Request(format!(
                "{} tokens do not fill one window of {context}: give a longer text or a smaller `context`",
                tokens.len()
            ))
            .into());
        }
        let at_once = if self.resident() { 1 } else { STREAMED_WINDOWS };
        let windows: Vec<&[u32]> = tokens.chunks_exact(context).collect();
        for (batch, windows) in windows.chunks(at_once).enumerate() {
            // The last token is predicted, not read.
            let inputs: Vec<&[u32]> = windows.iter().map(|window| &window[..context - 1]).collect();
            let states = self.hidden_states(&inputs)?;
            let head = self.head()?;
            for (i, (window, hidden)) in windows.iter().zip(&states).enumerate() {
                let offset = (batch * at_once + i) * context;
                let rows = self.on_pool(|_| score_window(&head, hidden, window, first, offset, top))?;
                rows.into_iter().try_for_each(&mut *emit)?;
            }
        }
        Ok(())
    }
}

/// Rows for the offsets `first..` of a window that starts at `offset` of the whole.
fn score_window(
    head: &Head,
    hidden: &Tensor,
    window: &[u32],
    first: usize,
    offset: usize,
    top: usize,
) -> Result<Vec<ScoreRow>> {
    let vocabulary = head.vocabulary()?;
    let at_once = (LOGITS_BYTES / (vocabulary * size_of::<f32>())).max(1);
    let mut rows = Vec::with_capacity(window.len() - first);
    for start in (first..window.len()).step_by(at_once) {
        let count = at_once.min(window.len() - start);
        let logits = head.logits(&hidden.narrow(0, start - 1, count)?)?.flatten_all()?.to_vec1::<f32>()?;
        let reduced: Result<Vec<_>> = logits
            .par_chunks_exact(vocabulary)
            .enumerate()
            .map(|(i, logits)| score_row(logits, window[start + i], offset + start + i, top))
            .collect();
        rows.extend(reduced?);
    }
    Ok(rows)
}

/// Reduce the logits of one position to a row about the token `next` that follows, at `index` of the whole.
///
/// # Errors
/// When the logits are not all numbers.
///
/// # Panics
/// When `next` has no logit.
pub fn score_row(logits: &[f32], next: u32, index: usize, top: usize) -> Result<ScoreRow> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !max.is_finite() || logits.iter().any(|x| x.is_nan()) {
        return Err(Error::NotFinite { position: index });
    }
    let weight = |x: f32| f64::from((x - max).exp());
    let sum: f64 = logits.iter().map(|&x| weight(x)).sum();
    let log_sum = f64::from(max) + sum.ln();

    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let likelier = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    let top = top.min(order.len());
    if top > 0 && top < order.len() {
        order.select_nth_unstable_by(top - 1, likelier);
    }
    let (head, tail) = order.split_at_mut(top);
    head.sort_unstable_by(likelier);
    Ok(ScoreRow {
        index: index as u32,
        nll: log_sum - f64::from(logits[next as usize]),
        top: head.iter().map(|&id| (id, (f64::from(logits[id as usize]) - log_sum) as f32)).collect(),
        tail: tail.iter().map(|&id| weight(logits[id as usize])).sum::<f64>() / sum,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_exact_logarithms_and_all_the_mass() {
        // Probabilities 1/2, 1/4, 1/8, 1/8.
        let logits: Vec<f32> = [0.5_f32, 0.25, 0.125, 0.125].map(|p| p.ln() + 100.0).to_vec();
        let row = score_row(&logits, 2, 7, 2).unwrap();
        assert_eq!(row.index, 7);
        assert!((row.nll - 8_f64.ln()).abs() < 1e-5);
        assert_eq!(row.top.iter().map(|&(id, _)| id).collect::<Vec<_>>(), [0, 1]);
        assert!((row.top[1].1 - 0.25_f32.ln()).abs() < 1e-5);
        assert!((row.tail - 0.25).abs() < 1e-6);
    }

    #[test]
    fn ties_go_to_the_lower_id_and_a_short_vocabulary_has_no_tail() {
        let row = score_row(&[1.0, 3.0, 3.0], 0, 0, 256).unwrap();
        assert_eq!(row.top.iter().map(|&(id, _)| id).collect::<Vec<_>>(), [1, 2, 0]);
        assert!(row.tail.abs() < f64::EPSILON);
        assert!(score_row(&[1.0, 3.0, 3.0], 0, 0, 0).unwrap().top.is_empty());
    }

    #[test]
    fn logits_that_are_not_numbers_are_refused() {
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(matches!(score_row(&[0.0, bad], 0, 3, 2), Err(Error::NotFinite { position: 3 })));
        }
    }
}
