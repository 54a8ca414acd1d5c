//! Kernels that evaluate prompts, and what their launches share with them.

use crate::shape::Kernel;

/// Rows of a tile of a product: `TILE_ROWS` of `prompt_tile.cuh`.
pub const TILE_ROWS: usize = 128;

/// Tokens of a tile of a product.
pub const TILE_TOKENS: u32 = 128;

/// Rows of weights, and tokens, of a tile of a product of few tokens: `NARROW_ROWS` and `NARROW_TOKENS` of
/// `prompt_narrow.cu`.
pub const NARROW_ROWS: usize = 64;
/// See [`NARROW_ROWS`].
pub const NARROW_TOKENS: u32 = 32;
/// Columns of a step of such a product.
pub const NARROW_COLUMNS: usize = 128;

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

    /// Groups in a stage of shared memory, and stages.
    fn pipeline(self) -> (u32, u32) {
        match self {
            Self::WarpGroup => (2, 3),
            Self::Warp => (1, 3),
        }
    }

    /// The product of many tokens; `gated` is the feed-forward's first half.
    fn product(self, gated: bool) -> Kernel {
        let (depth, stages) = self.pipeline();
        Kernel {
            name: product_name(gated).to_owned(),
            file: "prompt_product.cu",
            entry: "prompt_product",
            constants: vec![
                ("TILE", TILE_TOKENS),
                ("GATED", u32::from(gated)),
                ("WGMMA", u32::from(self == Self::WarpGroup)),
                ("DEPTH", depth),
                ("STAGES", stages),
            ],
        }
    }

    /// Dynamic shared memory of that product: the stages, and by warp groups a barrier of 8 bytes for each.
    pub fn product_shared_bytes(self) -> usize {
        let (depth, stages) = self.pipeline();
        let barrier = if self == Self::WarpGroup { 8 } else { 0 };
        stages as usize * (depth as usize * (TILE_ROWS + TILE_TOKENS as usize) * OPERAND_ROW + barrier)
    }

    /// Everything that prompts need, whatever the strategy of decoding.
    pub fn prompt_kernels(self) -> Vec<Kernel> {
        let plain = ["prompt_expand", "prompt_norm", "prompt_rope", "prompt_attention"];
        let files = ["prompt_expand.cu", "prompt_norm.cu", "prompt_rope.cu", "prompt_attention.cu"];
        let mut kernels: Vec<Kernel> =
            plain.into_iter().zip(files).map(|(entry, file)| Kernel::plain(file, entry)).collect();
        kernels.extend([false, true].map(|gated| self.product(gated)));
        kernels.extend((0..).zip(NARROW_NAMES).map(|(role, name)| Kernel {
            name: name.to_owned(),
            file: "prompt_narrow.cu",
            entry: "prompt_narrow",
            constants: vec![("ROLE", role)],
        }));
        kernels
    }
}

/// The name of the kernel of a product of many tokens.
pub fn product_name(gated: bool) -> &'static str {
    if gated { "prompt_gate_up" } else { "prompt_product" }
}

/// The names of the kernels of products of few tokens: queries, keys and values; output; gate and up; down.
pub const NARROW_NAMES: [&str; 4] =
    ["prompt_narrow_qkv", "prompt_narrow_output", "prompt_narrow_gate_up", "prompt_narrow_down"];

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
        assert!(2 * (TensorCores::WarpGroup.product_shared_bytes() + 1024) <= 227 << 10);
        assert!(2 * (TensorCores::Warp.product_shared_bytes() + 1024) <= 99 << 10);
        assert_eq!(TensorCores::of("sm_90a"), TensorCores::WarpGroup);
        assert_eq!(TensorCores::of("sm_120a"), TensorCores::Warp);
    }
}
