// A tile by the tensor cores' instructions for a warp and copies of 16 bytes: sm_80 and later.
#pragma once
#include "prompt_tile.cuh"

// Adds `steps` times DEPTH groups to `sums`. A lane takes one 16-byte chunk of a row as its part of 32 columns: which
// columns meet in an instruction is then not their order, but the same for both operands.
template <int TOKENS>
DEVICE void multiply_tile(const Tile<TOKENS>& tile, int steps, u8* stages, typename Tile<TOKENS>::Sums& sums) {
    using T = Tile<TOKENS>;
    const u32 shared = shared_address(stages), lane = thread() % 32, warp = thread() / 32;
    const auto load = [&](int step) {
        if (step < steps) {
            const u32 to = shared + step % STAGES * T::STAGE;
#pragma unroll
            for (int d = 0; d < DEPTH; d++) {
                const u64 group = (u64)step * DEPTH + d;
#pragma unroll
                for (u32 at = 0; at < T::WEIGHTS; at += TILE_THREADS * 16) {
                    const u32 mine = at + thread() * 16;
                    copy_async(to + d * T::WEIGHTS + mine, tile.weights + group * tile.weights_stride + mine, true);
                }
#pragma unroll
                for (u32 at = 0; at < T::VECTORS; at += TILE_THREADS * 16) {
                    const u32 mine = at + thread() * 16;
                    copy_async(to + DEPTH * T::WEIGHTS + d * T::VECTORS + mine,
                               tile.vectors + group * tile.vectors_stride + mine, true);
                }
            }
        }
        commit_copies();
    };
#pragma unroll
    for (int step = 0; step < STAGES - 1; step++) load(step);
    const u32 mine = operand_chunk(lane / 4, lane % 4);
    for (int step = 0; step < steps; step++) {
        wait_copies<STAGES - 2>();
        __syncthreads();
        load(step + STAGES - 1);
        const u32 from = shared + step % STAGES * T::STAGE + mine;
#pragma unroll
        for (int d = 0; d < DEPTH; d++) {
            u32 a[2][2][4];
#pragma unroll
            for (int m = 0; m < 2; m++) {
                const u32 row = from + d * T::WEIGHTS + (64 * m + 16 * warp) * OPERAND_ROW;
                const uint4 low = load_shared_16(row), high = load_shared_16(row + 8 * OPERAND_ROW);
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    a[m][half][0] = half == 0 ? low.x : low.z;
                    a[m][half][1] = half == 0 ? high.x : high.z;
                    a[m][half][2] = half == 0 ? low.y : low.w;
                    a[m][half][3] = half == 0 ? high.y : high.w;
                }
            }
#pragma unroll
            for (int n = 0; n < TOKENS / 8; n++) {
                const uint4 b = load_shared_16(from + DEPTH * T::WEIGHTS + d * T::VECTORS + 8 * n * OPERAND_ROW);
#pragma unroll
                for (int m = 0; m < 2; m++) {
                    multiply_16x8(sums[m][n], a[m][0], b.x, b.y);
                    multiply_16x8(sums[m][n], a[m][1], b.z, b.w);
                }
            }
        }
    }
}
