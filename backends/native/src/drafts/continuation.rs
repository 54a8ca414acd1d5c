//! Drafts that are right with a stated share: a known continuation, some of it replaced.

/// Token `index` of a continuation as a draft: itself with a probability of `acceptance`, else another id below `vocab`. The
/// same seed replaces the same ones, each for itself.
pub fn corrupted(token: u32, index: usize, acceptance: f64, seed: u64, vocab: u32) -> u32 {
    let bits = mixed(seed.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    // The upper 53 bits as a number in [0, 1).
    let draw = (bits >> 11) as f64 / (1_u64 << 53) as f64;
    if draw < acceptance || vocab < 2 {
        return token;
    }
    let others = u64::from(vocab - 1);
    ((u64::from(token) + 1 + mixed(bits) % others) % u64::from(vocab)) as u32
}

/// The output function of SplitMix64 (Steele, Lea and Flood 2014).
fn mixed(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ state >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stated_share_stays_and_the_rest_is_another_token_of_the_vocabulary() {
        for (acceptance, seed) in [(0.8, 1), (0.8, 2), (0.5, 1), (1.0, 1)] {
            let drafts: Vec<u32> = (0..10_000).map(|index| corrupted(7, index, acceptance, seed, 50)).collect();
            let right = drafts.iter().filter(|&&draft| draft == 7).count() as f64 / 10_000.0;
            // Four standard errors of 10,000 draws at 0.8 are 0.016.
            assert!((right - acceptance).abs() < 0.02, "{acceptance}, seed {seed}: {right}");
            assert!(drafts.iter().all(|&draft| draft < 50));
        }
    }

    #[test]
    fn the_same_seed_replaces_the_same_tokens_and_another_one_others() {
        let of = |seed| (0..200).map(|index| corrupted(7, index, 0.8, seed, 50)).collect::<Vec<_>>();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert_eq!(corrupted(7, 0, 0.0, 1, 1), 7, "there is no other token");
    }
}
