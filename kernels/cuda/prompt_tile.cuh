// A tile of a product on tensor cores: 128 rows of weights times TOKENS vectors, by 128 threads.
//
// Warp w sums rows 64 m + 16 w to 64 m + 16 w + 15 of both halves m for every token, laid out as `multiply_16x8` has it:
// sums[m][n] are tokens 8 n to 8 n + 7. Both operands come through shared memory, in STAGES stages of DEPTH groups.
#pragma once
#include "prompt.cuh"

constexpr int TILE_ROWS = 128, TILE_THREADS = 128;
constexpr int STAGES = QA_STAGES, DEPTH = QA_DEPTH;

template <int TOKENS>
struct Tile {
    using Sums = float[2][TOKENS / 8][4];
    // Bytes of a group of either operand, and of a stage: first its groups of weights, then those of vectors.
    static constexpr u32 WEIGHTS = TILE_ROWS * OPERAND_ROW, VECTORS = TOKENS * OPERAND_ROW;
    static constexpr u32 STAGE = DEPTH * (WEIGHTS + VECTORS);

    // The first group of the tile's rows and of its tokens, and how far on the next ones are.
    const u8 *weights, *vectors;
    u64 weights_stride, vectors_stride;
};
