//! In which pieces a block's weights are expanded and multiplied.
//!
//! Expanded weights are four times as large as quantised ones. They are made in pieces that the card's second-level cache
//! holds, and each piece is multiplied before the next is made.

use qa_kernels::prompt::{TILE_ROWS, operand_bytes};
use qa_model::ModelConfig;
use std::ops::Range;

/// A product of a transformer block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Queries, keys and values.
    Qkv,
    /// The output projection of attention.
    Output,
    /// The gated half of the feed-forward.
    GateUp,
    /// Its down projection.
    Down,
}

impl Kind {
    /// All of a block, in order.
    pub const ALL: [Self; 4] = [Self::Qkv, Self::Output, Self::GateUp, Self::Down];

    /// Elements of its vectors.
    pub fn columns(self, config: &ModelConfig) -> usize {
        match self {
            Self::Qkv | Self::GateUp => config.hidden,
            Self::Output => config.query_width(),
            Self::Down => config.intermediate,
        }
    }

    /// Rows of its result.
    pub fn rows(self, config: &ModelConfig) -> usize {
        match self {
            Self::Qkv => config.query_width() + 2 * config.kv_width(),
            Self::Output | Self::Down => config.hidden,
            Self::GateUp => config.intermediate,
        }
    }

    /// Rows of the result that a tile of weights makes: in gate and up, half of the tile's are of either.
    pub fn tile(self) -> usize {
        if self == Self::GateUp { TILE_ROWS / 2 } else { TILE_ROWS }
    }

    /// Tiles of weights.
    pub fn tiles(self, config: &ModelConfig) -> usize {
        self.rows(config).div_ceil(self.tile())
    }
}

/// Some tiles of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The product.
    pub kind: Kind,
    /// The tiles.
    pub tiles: Range<usize>,
    /// Tiles of the product's largest slice.
    pub most: usize,
    /// Where in the piece they are expanded to, in bytes.
    pub at: usize,
}

/// The pieces of a block; slices of a piece are expanded together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub pieces: Vec<Vec<Slice>>,
    /// Bytes of the largest piece.
    pub bytes: usize,
}

impl Plan {
    /// Pieces of at most `room` bytes where tiles allow it. A product that does not fit what is left of a piece begins a new
    /// one, and is cut evenly if it needs more than one.
    pub fn new(config: &ModelConfig, room: usize) -> Self {
        let mut pieces: Vec<Vec<Slice>> = Vec::new();
        let (mut used, mut bytes) = (room, 0);
        for kind in Kind::ALL {
            let each = operand_bytes(kind.columns(config), TILE_ROWS);
            let tiles = kind.tiles(config);
            let cuts = tiles.div_ceil((room / each).max(1));
            for cut in 0..cuts {
                let cut_tiles = cut * tiles / cuts..(cut + 1) * tiles / cuts;
                let needed = cut_tiles.len() * each;
                if used + needed > room {
                    pieces.push(Vec::new());
                    used = 0;
                }
                if let Some(piece) = pieces.last_mut() {
                    piece.push(Slice { kind, tiles: cut_tiles, most: tiles.div_ceil(cuts), at: used });
                }
                used += needed;
                bytes = bytes.max(used);
            }
        }
        Self { pieces, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qa_model::embedded;

    fn config(hidden: usize, intermediate: usize, heads: usize, kv_heads: usize, head_dim: usize) -> ModelConfig {
        let config = ModelConfig::from_gguf(&embedded::TINY_CODER.gguf()).unwrap();
        ModelConfig { hidden, intermediate, heads, kv_heads, head_dim, ..config }
    }

    /// Every tile of every product once, in order, inside its piece and beside the others.
    fn check(config: &ModelConfig, room: usize) -> Plan {
        let plan = Plan::new(config, room);
        let mut next: Vec<(Kind, usize)> = Vec::new();
        for piece in &plan.pieces {
            let mut used = 0;
            for slice in piece {
                assert_eq!(slice.at, used);
                assert!(slice.tiles.len() <= slice.most);
                used += slice.tiles.len() * operand_bytes(slice.kind.columns(config), TILE_ROWS);
                if slice.tiles.start == 0 {
                    next.push((slice.kind, 0));
                }
                let (kind, begun) = next.last_mut().unwrap();
                assert_eq!((*kind, *begun), (slice.kind, slice.tiles.start));
                *begun = slice.tiles.end;
            }
            assert!(used <= plan.bytes && piece.len() <= 4);
        }
        let expected: Vec<_> = Kind::ALL.map(|kind| (kind, kind.tiles(config))).into();
        assert_eq!(next, expected);
        plan
    }

    #[test]
    fn a_small_block_is_one_piece_and_a_large_one_is_cut_evenly() {
        let room = 32 << 20;
        let small = check(&config(896, 4864, 14, 2, 64), room);
        assert_eq!(small.pieces.len(), 1);
        let large = check(&config(3584, 18944, 28, 4, 128), room);
        assert!(large.bytes <= room && large.pieces.len() > 10, "{large:?}");
        let gate_up: Vec<usize> = large
            .pieces
            .iter()
            .flatten()
            .filter(|slice| slice.kind == Kind::GateUp)
            .map(|slice| slice.tiles.len())
            .collect();
        assert!(gate_up.iter().max().unwrap() - gate_up.iter().min().unwrap() <= 1, "{gate_up:?}");
    }

    #[test]
    fn a_tile_larger_than_the_room_is_a_piece_of_its_own() {
        let config = config(896, 4864, 14, 2, 64);
        let plan = check(&config, 1);
        assert_eq!(plan.bytes, operand_bytes(4864, TILE_ROWS));
    }
}
