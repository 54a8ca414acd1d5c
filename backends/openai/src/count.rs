//! From the parts of a stream to times of tokens. A part is not a token.

use qa_protocol::Failure;
use std::time::Instant;

/// A part of a generation, as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// When it was read.
    pub at: Instant,
    /// Tokens that were generated up to and with it, where the server says.
    pub generated: Option<u32>,
    /// Tokens that it holds itself, where the server says.
    pub held: Option<u32>,
}

/// A generation's times.
#[derive(Clone, Debug, PartialEq)]
pub struct Times {
    /// The first token, in nanoseconds since the request. `None` where tokens before it were held back.
    pub first_ns: Option<f64>,
    /// When the first part arrived.
    pub first_at: Instant,
    /// When the last part arrived.
    pub last_at: Instant,
    /// From the first part to the last, in nanoseconds.
    pub decode_ns: f64,
    /// Tokens that were generated in that time.
    pub decode_tokens: u32,
    /// Each of them, where each came in a part of its own.
    pub token_ns: Vec<f64>,
}

/// The times of a generation of `total` tokens.
///
/// # Errors
/// `invalid` where the parts do not say how many tokens came when, or all came at once.
pub fn times(begun: Instant, parts: &[Part], total: u32) -> Result<Times, Failure> {
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
        return Err(Failure::invalid("the stream ended without any text"));
    };
    let ns = |from: Instant, to: Instant| (to - from).as_nanos() as f64;
    // A server that counts nothing is believed when it sent exactly as many parts as tokens.
    let told = parts.iter().all(|part| part.generated.is_some());
    if !told && parts.len() != total as usize {
        return Err(Failure::invalid(format!(
            "{total} tokens came in {} parts, and the server does not say how many are in which: nothing can be timed \
             by token",
            parts.len()
        )));
    }
    let count = |index: usize| parts[index].generated.unwrap_or(index as u32 + 1);
    let (begin, end) = (count(0), count(parts.len() - 1));
    if end <= begin && total > 1 {
        return Err(Failure::invalid(format!(
            "all {total} tokens came at once: the server does not stream token by token (speculation, a proxy that \
             buffers, or an interval between parts)"
        )));
    }
    let single = (1..parts.len()).all(|index| count(index) == count(index - 1) + 1);
    let token_ns = if single { parts.windows(2).map(|pair| ns(pair[0].at, pair[1].at)).collect() } else { Vec::new() };
    let held_back = begin > first.held.unwrap_or(1);
    Ok(Times {
        first_ns: (!held_back).then(|| ns(begun, first.at)),
        first_at: first.at,
        last_at: last.at,
        decode_ns: ns(first.at, last.at),
        decode_tokens: end - begin,
        token_ns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Parts at these milliseconds, with these counts.
    fn parts(begun: Instant, parts: &[(u64, Option<u32>, Option<u32>)]) -> Vec<Part> {
        let part = |&(ms, generated, held)| Part { at: begun + Duration::from_millis(ms), generated, held };
        parts.iter().map(part).collect()
    }

    #[test]
    fn a_part_a_token_gives_every_time() {
        let begun = Instant::now();
        let parts = parts(begun, &[(10, None, None), (12, None, None), (15, None, None)]);
        let times = times(begun, &parts, 3).unwrap();
        assert_eq!((times.first_ns, times.decode_ns, times.decode_tokens), (Some(1e7), 5e6, 2));
        assert_eq!(times.token_ns, [2e6, 3e6]);
    }

    #[test]
    fn several_tokens_in_a_part_are_counted_and_not_timed_one_by_one() {
        let begun = Instant::now();
        let parts = parts(begun, &[(10, Some(2), Some(2)), (14, Some(6), Some(4)), (15, Some(7), Some(1))]);
        let times = times(begun, &parts, 7).unwrap();
        // Two tokens came with the first part: five in the 5 ms after it.
        assert_eq!((times.first_ns, times.decode_ns, times.decode_tokens), (Some(1e7), 5e6, 5));
        assert!(times.token_ns.is_empty());
    }

    #[test]
    fn a_first_token_that_was_held_back_is_not_timed() {
        let begun = Instant::now();
        let parts = parts(begun, &[(10, Some(3), Some(1)), (11, Some(4), Some(1))]);
        assert_eq!(times(begun, &parts, 4).unwrap().first_ns, None);
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        let begun = Instant::now();
        let uncounted = parts(begun, &[(10, None, None), (12, None, None)]);
        assert!(times(begun, &uncounted, 3).unwrap_err().message.contains("3 tokens came in 2 parts"));
        let at_once = parts(begun, &[(10, Some(8), Some(8))]);
        assert!(times(begun, &at_once, 8).unwrap_err().message.contains("came at once"));
        assert!(times(begun, &[], 8).unwrap_err().message.contains("without any text"));
    }
}
