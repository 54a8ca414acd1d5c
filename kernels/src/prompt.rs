//! Kernels that evaluate prompts, and what their launches share with them.

use crate::shape::Kernel;

/// Rows of a tile of a product: `TILE_ROWS` of `prompt_tile.cuh`.
pub const TILE_ROWS: usize = 128;

/// Tokens of a tile that products are compiled for, fewer first.
pub const TILE_TOKENS: [u32; 2] = [32, 128];

/// Queries of a tile of attention: `QUERIES` of `prompt_attention.cu`.
pub const TILE_QUERIES: usize = 64;

/// Groups of 32 columns that operands have for vectors of so many: `operand_groups` of `prompt.cuh`.
pub fn operand_groups(columns: usize) -> usize {
    (columns / 32).next_multiple_of(2)
}

/// Bytes of an operand of so many rows of so many columns, in f16.
pub fn operand_bytes(columns: usize, rows: usize) -> usize {
    operand_groups(columns) * rows * OPERAND_ROW
}

/// Bytes of a row in a group: `OPERAND_ROW` of `prompt.cuh`.
pub const OPERAND_ROW: usize = 64;

/// Which instructions of the tensor cores products use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorCores {
    /// A warp's, with copies of 16 bytes: sm_80 and later.
    Warp,
    /// Those of four warps together, with bulk copies: sm_90a.
    WarpGroup,
}

impl TensorCores {
    /// The fastest of an architecture such as `sm_90a`.
    pub fn of(architecture: &str) -> Self {
        if architecture == "sm_90a" { Self::WarpGroup } else { Self::Warp }
    }

    /// Groups in a stage of shared memory, and stages, for tiles of `tokens`.
    fn pipeline(self, tokens: u32) -> (u32, u32) {
        match (self, tokens) {
            (Self::WarpGroup, 32) => (2, 4),
            (Self::WarpGroup, _) => (2, 3),
            (Self::Warp, _) => (1, 3),
        }
    }

    /// The product for tiles of `tokens`; `gated` is the feed-forward's first half.
    pub fn product(self, tokens: u32, gated: bool) -> Kernel {
        let (depth, stages) = self.pipeline(tokens);
        Kernel {
            name: product_name(tokens, gated),
            file: "prompt_product.cu",
            entry: "prompt_product",
            constants: vec![
                ("TILE", tokens),
                ("GATED", u32::from(gated)),
                ("WGMMA", u32::from(self == Self::WarpGroup)),
                ("DEPTH", depth),
                ("STAGES", stages),
            ],
        }
    }

    /// Dynamic shared memory of that product: the stages, and by warp groups a barrier of 8 bytes for each.
    pub fn product_shared_bytes(self, tokens: u32) -> usize {
        let (depth, stages) = self.pipeline(tokens);
        let barrier = if self == Self::WarpGroup { 8 } else { 0 };
        stages as usize * (depth as usize * (TILE_ROWS + tokens as usize) * OPERAND_ROW + barrier)
    }

    /// Everything that prompts need, whatever the strategy of decoding.
    pub fn prompt_kernels(self) -> Vec<Kernel> {
        let plain = ["prompt_expand", "prompt_norm", "prompt_rope", "prompt_attention"];
        let files = ["prompt_expand.cu", "prompt_norm.cu", "prompt_rope.cu", "prompt_attention.cu"];
        let mut kernels: Vec<Kernel> =
            plain.into_iter().zip(files).map(|(entry, file)| Kernel::plain(file, entry)).collect();
        kernels
            .extend(TILE_TOKENS.into_iter().flat_map(|tokens| [false, true].map(|gated| self.product(tokens, gated))));
        kernels
    }
}

/// The name of a product's kernel.
pub fn product_name(tokens: u32, gated: bool) -> String {
    format!("prompt_{}_x{tokens}", if gated { "gate_up" } else { "product" })
}

/// Dynamic shared memory of a prompt's attention: two tiles of keys and values of `KEYS` positions each.
pub fn attention_shared_bytes(head_dim: usize) -> usize {
    let keys = if head_dim > 128 { 32 } else { 64 };
    2 * 2 * keys * head_dim * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_hold_whole_pairs_of_groups() {
        assert_eq!(operand_groups(896), 28);
        assert_eq!(operand_groups(96), 4, "a third group has one of zeros after it");
        assert_eq!(operand_bytes(96, 128), 4 * 128 * 64);
    }

    #[test]
    fn two_blocks_of_every_product_fit_a_multiprocessor() {
        // 227 KiB on sm_90, with 1 KiB a block for the system; 99 KiB on sm_89.
        for tokens in TILE_TOKENS {
            assert!(2 * (TensorCores::WarpGroup.product_shared_bytes(tokens) + 1024) <= 227 << 10);
            assert!(2 * (TensorCores::Warp.product_shared_bytes(tokens) + 1024) <= 99 << 10);
        }
        assert_eq!(TensorCores::of("sm_90a"), TensorCores::WarpGroup);
        assert_eq!(TensorCores::of("sm_120a"), TensorCores::Warp);
    }
}
