//! Where generated text begins to go in circles.

/// How often a cycle must be seen, and over how many tokens, to be called one.
const TIMES: usize = 3;
const TOKENS: usize = 16;

/// How many generated tokens come before the text repeats itself to its end: the first turn of the cycle counts as text.
/// `None` where it does not.
///
/// A cycle is an end of the text that has a period: at least three turns, at least 16 tokens. Greedy decoding that has entered one
/// rarely leaves it, and drafts out of the text are then always right, which says nothing about other text.
pub fn cycles_from(tokens: &[u32]) -> Option<usize> {
    let end = tokens.len();
    let repeats = |period: usize| (period..end).rev().take_while(|&at| tokens[at] == tokens[at - period]).count();
    let begins = |period: usize| {
        let repeated = repeats(period);
        (repeated + period >= TOKENS.max(TIMES * period)).then(|| end - repeated)
    };
    (1..=end / TIMES).filter_map(begins).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(start: &[u32], turn: &[u32], turns: usize) -> Vec<u32> {
        start.iter().copied().chain(turn.iter().copied().cycle().take(turn.len() * turns)).collect()
    }

    #[test]
    fn a_cycle_begins_after_its_first_turn() {
        assert_eq!(cycles_from(&text(&[1, 2, 3], &[7, 8, 9, 10, 11, 12], 3)), Some(9));
        assert_eq!(cycles_from(&text(&[1, 2, 3], &[7], 16)), Some(4));
        assert_eq!(cycles_from(&text(&[], &[7, 8], 8)), Some(2));
        // The end may be in the middle of a turn.
        let mut broken_off = text(&[1, 2, 3], &[7, 8, 9, 10, 11, 12], 3);
        broken_off.extend([7, 8]);
        assert_eq!(cycles_from(&broken_off), Some(9));
    }

    #[test]
    fn two_turns_a_few_tokens_or_a_cycle_that_was_left_are_none() {
        assert_eq!(cycles_from(&text(&[1], &(10..30).collect::<Vec<_>>(), 2)), None);
        assert_eq!(cycles_from(&text(&[1, 2, 3], &[7], 15)), None);
        let mut left = text(&[1], &[7, 8], 20);
        left.push(5);
        assert_eq!(cycles_from(&left), None);
        assert_eq!(cycles_from(&[]), None);
        assert_eq!(cycles_from(&(0..200).collect::<Vec<_>>()), None);
    }

    #[test]
    fn the_earliest_cycle_counts() {
        // Every second token is the same, and all of it repeats with a period of six from the start.
        assert_eq!(cycles_from(&text(&[], &[1, 2, 1, 3, 1, 4], 5)), Some(6));
    }
}
