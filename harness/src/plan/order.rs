//! The order of lanes within a block.

use super::{Group, Member};
use crate::spec::{Order, SamplingPlan};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

impl Group {
    /// The order of a block: seeded and, when mirrored, drawn anew for every second block, whose successor runs backwards.
    /// Whatever drifts linearly over two such blocks cancels in their pairs.
    pub fn order(&self, block: u32, sampling: &SamplingPlan) -> Vec<&Member> {
        let (draw, backwards) = match sampling.order {
            Order::Mirrored => (block / 2, block % 2 == 1),
            Order::Random => (block, false),
        };
        let mut order: Vec<&Member> = self.members.iter().collect();
        shuffle(&mut order, &mut generator(sampling.seed, &self.workload, draw));
        if backwards {
            order.reverse();
        }
        order
    }
}

/// Whose turn a block is, where blocks take turns on several cards. Two blocks that mirror each other have one turn, so that
/// every card sees both orders as often.
pub fn turn(block: u32, sampling: &SamplingPlan) -> u32 {
    match sampling.order {
        Order::Mirrored => block / 2,
        Order::Random => block,
    }
}

/// A generator of its own for every draw, so that an order depends on nothing that ran before.
pub(super) fn generator(seed: u64, workload: &str, draw: u32) -> Xoshiro256PlusPlus {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(draw.to_le_bytes());
    hash.update(workload.as_bytes());
    Xoshiro256PlusPlus::from_seed(hash.finalize().into())
}

/// Fisher and Yates. The remainder's bias is below 2^-50 for as many lanes as a run can have.
pub(super) fn shuffle<T>(items: &mut [T], generator: &mut impl Rng) {
    for last in (1..items.len()).rev() {
        let chosen = generator.next_u64() % (last as u64 + 1);
        items.swap(last, chosen as usize);
    }
}
