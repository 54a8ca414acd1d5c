//! Drafts out of the text itself: what followed when it last read like this.

/// Fewest tokens that must read alike.
const SHORTEST: usize = 2;
/// Beyond this many, a longer likeness is no better.
const LONGEST: usize = 16;

/// At most `most` tokens of what followed the earlier place where `sequence` reads most like its end: the longest common
/// suffix, and of equally long ones the latest. Empty where not even [`SHORTEST`] tokens are alike.
///
/// Prompt lookup decoding (Saxena 2023), over the prompt and what was generated.
pub fn look_up(sequence: &[u32], most: usize) -> &[u32] {
    let end = sequence.len();
    let alike = |place: usize| {
        let pairs = sequence[..place].iter().rev().zip(sequence.iter().rev());
        pairs.take(LONGEST).take_while(|(a, b)| a == b).count()
    };
    // `place` is where the text after the likeness begins.
    let (mut best, mut length) = (end, SHORTEST - 1);
    for place in (SHORTEST..end).rev() {
        let found = alike(place);
        if found > length {
            (best, length) = (place, found);
            if length == LONGEST {
                break;
            }
        }
    }
    &sequence[best..end.min(best + most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_likeness_wins_and_of_equal_ones_the_latest() {
        assert_eq!(look_up(&[1, 2, 3, 9, 2, 3, 8, 1, 2, 3], 2), [9, 2], "three tokens alike, not the later two");
        assert_eq!(look_up(&[2, 3, 9, 2, 3, 8, 2, 3], 3), [8, 2, 3], "two and two: the later");
        assert_eq!(look_up(&[4, 4, 4, 4], 8), [4], "a place may overlap the end");
    }

    #[test]
    fn a_single_token_alike_is_no_likeness_and_short_texts_have_none() {
        assert!(look_up(&[1, 2, 3, 4, 2], 4).is_empty());
        for short in [&[][..], &[1], &[1, 1]] {
            assert!(look_up(short, 4).is_empty(), "{short:?}");
        }
        assert!(look_up(&[1, 2, 1, 2], 0).is_empty());
    }

    #[test]
    fn what_is_beyond_the_longest_likeness_is_not_compared() {
        let mut text: Vec<u32> = (0..40).collect();
        text.extend(100..110);
        text.extend(20..40);
        assert_eq!(look_up(&text, 3), [100, 101, 102]);
    }
}
