// Weights times the vectors of a prompt's tokens.
//
//   gated 0: out[s, t, row] = sum over the columns of split s of weights[row, k] * vectors[t, k] * scale
//                             f32 [splits, tokens, rows]; whoever reads them adds the splits up
//   gated 1: out[t, i] = silu(gate[i] . x_t) * (up[i] . x_t) / INNER_SCALE
//                             an operand of `capacity` rows; of 128 rows of weights the first 64 are the gate's
//
// -DQA_TILE: tokens of a tile. -DQA_GATED. -DQA_WGMMA: which tensor core instructions. -DQA_STAGES, -DQA_DEPTH: stages of
// shared memory, and groups in each. Launch: x counts tiles of rows, y tiles of tokens for each split,
// TILE_THREADS threads.
#if QA_WGMMA
#include "prompt_tile_group.cuh"
#else
#include "prompt_tile_warp.cuh"
#endif

struct Product {
    const u8* weights;  // operand of `stride` rows
    const u8* vectors;  // operand of `capacity` rows
    u8* out;
    u32 first;     // row of the result that the first row of weights makes
    u32 count;     // rows of the result that these weights make
    u32 rows;      // rows of the whole result
    u32 stride;
    u32 capacity;
    u32 tokens;
    u32 steps;     // pairs of groups in a row
    u32 splits;
    float scale;
    u32 padding;
};
static_assert(sizeof(Product) == 64, "the host's twin has this size");

extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2) prompt_product(const __grid_constant__ Product p) {
    using T = Tile<QA_TILE>;
    extern __shared__ __align__(1024) u8 stages[];
    launch_dependents();
    const u32 tiles = gridDim.y / p.splits, split = blockIdx.y / tiles;
    u32 token = blockIdx.y % tiles * QA_TILE;
    const u32 from = p.steps * split / p.splits, to = p.steps * (split + 1) / p.splits;
    T tile;
    tile.weights_stride = (u64)p.stride * OPERAND_ROW;
    tile.vectors_stride = (u64)p.capacity * OPERAND_ROW;
    tile.weights = p.weights + 2 * from * tile.weights_stride + blockIdx.x * T::WEIGHTS;
    tile.vectors = p.vectors + 2 * from * tile.vectors_stride + token * OPERAND_ROW;
    typename T::Sums sums = {};
    wait_for_previous();
    multiply_tile<QA_TILE>(tile, (to - from) * (2 / DEPTH), stages, sums);

    // This thread's two neighbouring rows of each half of the tile, and its first token.
    const u32 lane = thread() % 32;
    const u32 row = thread() / 32 * 16 + lane / 4 * 2;
    token += lane % 4 * 2;
#if QA_GATED
    const u32 i = blockIdx.x * (TILE_ROWS / 2) + row;
    if (i >= p.count) return;
#pragma unroll
    for (int n = 0; n < QA_TILE / 8; n++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const u32 t = token + 8 * n + e;
            if (t >= p.tokens) continue;
            *(u32*)operand_at(p.out, p.capacity, t, p.first + i) =
                halves(gated(sums[0][n][e], sums[1][n][e]), gated(sums[0][n][e + 2], sums[1][n][e + 2]));
        }
    }
#else
#pragma unroll
    for (int m = 0; m < 2; m++) {
        const u32 r = blockIdx.x * TILE_ROWS + 64 * m + row;
        if (r >= p.count) continue;
#pragma unroll
        for (int n = 0; n < QA_TILE / 8; n++) {
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const u32 t = token + 8 * n + e;
                if (t >= p.tokens) continue;
                *(float2*)((float*)p.out + ((u64)split * p.tokens + t) * p.rows + p.first + r) =
                    make_float2(sums[m][n][e] * p.scale, sums[m][n][e + 2] * p.scale);
            }
        }
    }
#endif
}
