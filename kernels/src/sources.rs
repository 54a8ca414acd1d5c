//! The sources, as part of the program.

macro_rules! sources {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("../cuda/", $name)))),*] };
}

/// Headers by the name that `#include` gives them.
pub(crate) const HEADERS: &[(&str, &str)] = sources![
    "prelude.cuh",
    "formats.cuh",
    "activations.cuh",
    "rows.cuh",
    "model.cuh",
    "cache.cuh",
    "norm.cuh",
    "rope.cuh",
    "attention.cuh",
    "barrier.cuh",
    "exchange.cuh",
    "ring.cuh",
    "tiles.cuh",
    "projections.cuh",
    "sequence.cuh",
    "trace.cuh",
    "philox.cuh",
    "sampling.cuh",
    "phases.cuh",
    "prompt.cuh",
    "prompt_tile.cuh",
    "prompt_tile_warp.cuh",
    "prompt_tile_group.cuh",
    "verify.cuh",
];

/// Operations by file name.
pub(crate) const OPERATIONS: &[(&str, &str)] = sources![
    "embed.cu",
    "norm.cu",
    "project.cu",
    "rope.cu",
    "attention.cu",
    "merge.cu",
    "gate_up.cu",
    "vectorize.cu",
    "head.cu",
    "advance.cu",
    "block.cu",
    "decode.cu",
    "decode_unfused.cu",
    "bandwidth.cu",
    "prompt_expand.cu",
    "prompt_norm.cu",
    "prompt_product.cu",
    "prompt_narrow.cu",
    "prompt_rope.cu",
    "prompt_attention.cu",
    "verify_embed.cu",
    "verify_qkv.cu",
    "verify_keep.cu",
    "verify_attention.cu",
    "verify_merge.cu",
    "verify_add.cu",
    "verify_gate_up.cu",
    "verify_head.cu",
    "verify_accept.cu",
];

/// SHA-256 of all sources with their names: evidence about kernels names the kernels that it is about.
pub fn source_sha256() -> String {
    let parts: Vec<&str> = HEADERS.iter().chain(OPERATIONS).flat_map(|(name, text)| [*name, *text]).collect();
    qa_model::hash::sha256_bytes(parts.join("\0").as_bytes())
}

/// The text of an operation.
///
/// # Panics
/// If there is none of that name: names are this crate's own.
pub(crate) fn operation(file: &str) -> &'static str {
    OPERATIONS.iter().find(|(name, _)| *name == file).map(|(_, text)| *text).expect("an operation of this crate")
}
