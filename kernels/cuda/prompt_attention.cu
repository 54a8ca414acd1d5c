// Attention of a prompt's queries over the cache, causal: the query of token t sees the positions up to start + t.
//
//   attended[t, head] = softmax(queries[head, t] keys^T) values               an operand of `capacity` rows
//
// By tensor cores and in one pass over the keys (Dao et al. 2022, "FlashAttention", with the order of loops of Dao 2023).
// A block takes 64 queries of one head, a warp 16; keys and values come through shared memory, a tile of positions ahead.
// Queries are scaled so that weights are powers of two. Launch: x counts heads, y tiles of queries, ATTEND_THREADS threads.
#include "attention.cuh"
#include "prompt.cuh"

constexpr int ATTEND_THREADS = 128, QUERIES = 64;
// Positions of a tile.
constexpr int KEYS = QA_HEAD_DIM > 128 ? 32 : 64;
// Whether a warp's queries stay in registers; otherwise they are read for each tile.
constexpr bool HOLD = QA_HEAD_DIM <= 128;
// 16-byte chunks of a row in shared memory; bytes of a tile of keys or of values.
constexpr int CHUNKS = QA_HEAD_DIM / 8, TILE_BYTES = KEYS * QA_HEAD_DIM * 2;

// Where a chunk of a row lies, so that eight rows of one chunk are in different banks.
DEVICE u32 chunk_at(u32 row, u32 chunk) {
    return (row * CHUNKS + (chunk ^ (CHUNKS >= 8 ? row % 8 : row / 2 % 4))) * 16;
}

// Positions `first` on of one head to shared memory; zeros from `length` on, where the cache holds nothing yet.
DEVICE void load_positions(const CachedHead& head, u32 first, u32 length, u32 to) {
#pragma unroll
    for (int i = 0; i < KEYS * CHUNKS / ATTEND_THREADS; i++) {
        const u32 index = i * ATTEND_THREADS + thread(), row = index / CHUNKS, chunk = index % CHUNKS;
        const bool valid = first + row < length;
        const u32 at = to + chunk_at(row, chunk);
        if constexpr (KV_INT8) {
            float x[8] = {};
            CachedEight eight;
            if (valid) {
                eight.load<false>(head, first + row, 8 * chunk);
                eight.expand(x);
            }
            asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(halves(x[0], x[1])),
                         "r"(halves(x[2], x[3])), "r"(halves(x[4], x[5])), "r"(halves(x[6], x[7]))
                         : "memory");
        } else {
            copy_async(at, head.half(valid ? first + row : 0, 8 * chunk), valid);
        }
    }
}

// Four 8 x 8 blocks of f16; lane l gives a row of block l / 8, and gets two neighbours of a row, or of a column.
template <bool TRANSPOSED>
DEVICE void load_blocks(u32 (&to)[4], u32 at) {
    if constexpr (TRANSPOSED) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(at)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(at)
                     : "memory");
    }
}

DEVICE float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
    return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

DEVICE float quad_sum(float x) {
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}

extern "C" __global__ void __launch_bounds__(ATTEND_THREADS)
    prompt_attention(Buffers b, const u16* queries, u8* attended, u32 tokens, u32 start, u32 layer, u32 capacity) {
    extern __shared__ __align__(128) u8 tiles[];
    launch_dependents();
    const u32 shared = shared_address(tiles);
    const u32 lane = thread() % 32, head = blockIdx.x;
    // The longest sequences first, so that the last blocks are short ones.
    const u32 first = (gridDim.y - 1 - blockIdx.y) * QUERIES;
    const u32 mine = first + thread() / 32 * 16, row = lane / 4, pair = lane % 4 * 2;
    const CachedHead keys = cache_of(b.keys, b, layer, head / GROUP_SIZE);
    const CachedHead values = cache_of(b.values, b, layer, head / GROUP_SIZE);
    const u32 length = start + (first + QUERIES < tokens ? first + QUERIES : tokens);
    const int count = (int)((length + KEYS - 1) / KEYS);
    wait_for_previous();
    const auto load = [&](int tile) {
        const u32 to = shared + tile % 2 * 2 * TILE_BYTES;
        load_positions(keys, tile * KEYS, length, to);
        load_positions(values, tile * KEYS, length, to + TILE_BYTES);
        commit_copies();
    };
    load(0);
    u32 q[HOLD ? QA_HEAD_DIM / 16 : 1][4];
    const u16* query = queries + ((u64)head * capacity + mine + row) * QA_HEAD_DIM + pair;
    const auto load_query = [&](u32(&to)[4], int k) {
#pragma unroll
        for (int i = 0; i < 4; i++) to[i] = *(const volatile u32*)(query + i % 2 * 8 * QA_HEAD_DIM + 16 * k + i / 2 * 8);
    };
    if constexpr (HOLD) {
#pragma unroll
        for (int k = 0; k < QA_HEAD_DIM / 16; k++) load_query(q[k], k);
    }
    // Of rows `row` and `row` + 8: the largest score so far, this lane's part of the sum of weights, and the values.
    float most[2] = {-INFINITY, -INFINITY}, mass[2] = {}, out[QA_HEAD_DIM / 8][4] = {};
    for (int tile = 0; tile < count; tile++) {
        wait_copies<0>();
        __syncthreads();
        if (tile + 1 < count) load(tile + 1);
        if (tile * KEYS > start + mine + 15) continue;
        const u32 key = shared + tile % 2 * 2 * TILE_BYTES, value = key + TILE_BYTES;
        float scores[KEYS / 8][4] = {};
#pragma unroll
        for (int k = 0; k < QA_HEAD_DIM / 16; k++) {
            u32(&mine_of_k)[4] = q[HOLD ? k : 0];
            if constexpr (!HOLD) load_query(mine_of_k, k);
#pragma unroll
            for (int n = 0; n < KEYS / 8; n += 2) {
                u32 block[4];
                load_blocks<false>(block, key + chunk_at(8 * n + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
                multiply_16x8(scores[n], mine_of_k, block[0], block[1]);
                multiply_16x8(scores[n + 1], mine_of_k, block[2], block[3]);
            }
        }
        if (tile * KEYS + KEYS - 1 > start + mine) {
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    if (tile * KEYS + 8 * n + pair + e % 2 > start + mine + row + e / 2 * 8) scores[n][e] = -INFINITY;
                }
            }
        }
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float high = most[r];
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) high = fmaxf(high, fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
            high = quad_max(high);
            const float keep = power_of_two(most[r] - high);
            most[r] = high;
            mass[r] *= keep;
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
                for (int e = 2 * r; e < 2 * r + 2; e++) {
                    scores[n][e] = power_of_two(scores[n][e] - high);
                    mass[r] += scores[n][e];
                }
            }
#pragma unroll
            for (int d = 0; d < QA_HEAD_DIM / 8; d++) {
                out[d][2 * r] *= keep;
                out[d][2 * r + 1] *= keep;
            }
        }
#pragma unroll
        for (int k = 0; k < KEYS / 16; k++) {
            const float(&low)[4] = scores[2 * k], (&high)[4] = scores[2 * k + 1];
            const u32 weight[4] = {pack_halves(low[0], low[1]), pack_halves(low[2], low[3]), pack_halves(high[0], high[1]),
                                   pack_halves(high[2], high[3])};
#pragma unroll
            for (int d = 0; d < QA_HEAD_DIM / 8; d += 2) {
                u32 block[4];
                load_blocks<true>(block, value + chunk_at(16 * k + lane / 8 % 2 * 8 + lane % 8, d + lane / 16));
                multiply_16x8(out[d], weight, block[0], block[1]);
                multiply_16x8(out[d + 1], weight, block[2], block[3]);
            }
        }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const float inverse = 1.0f / quad_sum(mass[r]);
        const u32 t = mine + row + 8 * r;
        if (t >= tokens) continue;
#pragma unroll
        for (int d = 0; d < QA_HEAD_DIM / 8; d++) {
            *(u32*)operand_at(attended, capacity, t, head * QA_HEAD_DIM + 8 * d + pair) =
                halves(out[d][2 * r] * inverse, out[d][2 * r + 1] * inverse);
        }
    }
}
