// Verification of drafts: a few tokens in one pass over the weights.
//
// Each token gets the very bits that a pass of it alone gives by the kernels of one operation: what is computed of a token
// does not depend on the others, every dot product is `add_group` over the same groups in the same order, and every sum
// over a warp is `warp_sum`'s. So whether a draft is what greedy decoding would have chosen is decided exactly.
//
// -DQA_TOKENS: the most tokens of a pass, a power of two up to 16. A pass may have fewer; of the others nothing is kept.
#pragma once
#include "norm.cuh"
#include "projections.cuh"

constexpr int TOKENS = QA_TOKENS;
constexpr int MOST_TOKENS = 16;
static_assert(TOKENS <= MOST_TOKENS && (TOKENS & (TOKENS - 1)) == 0, "1, 2, 4, 8 or 16");

// Threads of a block of a matrix product.
constexpr int VERIFY_THREADS = 256, VERIFY_WARPS = VERIFY_THREADS / 32;
// Such blocks that a multiprocessor is to hold: two, but for long vectors and for groups of floats, which take many registers.
constexpr int VERIFY_BLOCKS = QA_HIDDEN > 1024 || (HIDDEN_SET & FLOAT_FORMATS) != 0 ? 1 : 2;

// The tokens of a pass: the one that is certain, then drafts.
struct Drafts {
    u32 position;  // of the first
    u32 count;     // at least 1
    u32 tokens[MOST_TOKENS];
};

struct Verify {
    const volatile u32* given;  // host memory: how many drafts, then the drafts
    Drafts* drafts;
    float* queries;             // [TOKENS, QUERY_WIDTH], turned and scaled
    float* kept;                // [TOKENS, 2 KV_WIDTH]: turned keys, then values; of an int8 cache only
    float* pieces;              // [TOKENS, HEADS, SPLITS, PIECE]
    u8* attended;               // [TOKENS] of Activations<QUERY_WIDTH, OUT_SET>
    u8* inner;                  // [TOKENS] of Activations<INTER, INNER_SET>
    Candidate* candidates;      // [blocks of the head, TOKENS]
};
static_assert(sizeof(Drafts) == 72 && sizeof(Verify) == 64, "the host's twins have these sizes");

// The sums over a warp of N values, N a power of two: the sum of value lane / (32 / N) in each lane, in the order of
// `warp_sum`, whose halves lie 16 lanes apart, then 8, ... Each exchange also halves the values that a lane cares for.
template <int N, int OFFSET = 16>
DEVICE float warp_sums(const float (&values)[N]) {
    if constexpr (OFFSET == 0) {
        return values[0];
    } else if constexpr (N == 1) {
        const float sum[1] = {values[0] + __shfl_xor_sync(~0u, values[0], OFFSET)};
        return warp_sums<1, OFFSET / 2>(sum);
    } else {
        const bool upper = (thread() & OFFSET) != 0;
        float sums[N / 2];
#pragma unroll
        for (int i = 0; i < N / 2; i++) {
            const float mine = upper ? values[N / 2 + i] : values[i], other = upper ? values[i] : values[N / 2 + i];
            sums[i] = mine + __shfl_xor_sync(~0u, other, OFFSET);
        }
        return warp_sums<N / 2, OFFSET / 2>(sums);
    }
}

// Which of the sums of ROWS rows with TOKENS vectors a lane holds, and whether it is the first lane that does.
template <int ROWS>
struct Mine {
    static constexpr int LANES = 32 / (ROWS * TOKENS);
    int row = thread() % 32 / LANES / TOKENS, token = thread() % 32 / LANES % TOKENS;
    bool first = thread() % LANES == 0;
};

// Groups of a row that a lane holds together, so that two batches of ROWS rows stay in registers.
constexpr int verify_chunk(int format, int columns, int rows) {
    const int steps = (columns / 32 + 31) / 32;
    const int fit = 24 / (rows * (4 * code_units(format) + 3));
    const int chunks = (steps + (fit < 1 ? 1 : fit) - 1) / (fit < 1 ? 1 : fit);
    return (steps + chunks - 1) / chunks;
}

// For each unit u of `share`: the dot products of its ROWS rows, `row(u, r)`, with the TOKENS vectors at `vectors`, as
// `done(u, sum)` with the sum that `Mine<ROWS>` says. Lane l takes groups l, l + 32, ... as `multiply_rows` does. `ready` is
// called once by every thread, after the first loads were issued.
template <int FORMAT, int COLUMNS, u32 SET, int ROWS, class Row, class Ready, class Done>
DEVICE void multiply_tokens(Share share, Row row, const u8* vectors, Ready&& ready, Done&& done) {
    using Vector = Activations<COLUMNS, SET>;
    constexpr int GROUPS = COLUMNS / 32, CHUNK = verify_chunk(FORMAT, COLUMNS, ROWS);
    constexpr int CHUNKS = ((GROUPS + 31) / 32 + CHUNK - 1) / CHUNK;
    const int lane = thread() % 32;
    using Batch = Group<FORMAT>[ROWS][CHUNK];
    const auto load = [&](Batch& batch, int unit, int chunk) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
#pragma unroll
            for (int c = 0; c < CHUNK; c++) {
                const int g = lane + 32 * (chunk * CHUNK + c);
                if (unit < share.count && g < GROUPS) batch[r][c] = load_group<FORMAT, COLUMNS>(row(unit, r), g);
            }
        }
    };
    Batch now = {};
    load(now, share.first, 0);
    ready();
    for (int unit = share.first; unit < share.count; unit += share.stride) {
        float sums[ROWS * TOKENS] = {};
#pragma unroll 1
        for (int chunk = 0; chunk < CHUNKS; chunk++) {
            const bool last = chunk + 1 == CHUNKS;
            Batch next = {};
            load(next, last ? unit + share.stride : unit, last ? 0 : chunk + 1);
#pragma unroll
            for (int c = 0; c < CHUNK; c++) {
                const int g = lane + 32 * (chunk * CHUNK + c);
                if (g >= GROUPS) continue;
#pragma unroll
                for (int t = 0; t < TOKENS; t++) {
#pragma unroll
                    for (int r = 0; r < ROWS; r++) {
                        float& sum = sums[r * TOKENS + t];
                        sum = add_group<FORMAT, Vector>(sum, now[r][c], vectors + t * Vector::BYTES, g);
                    }
                }
            }
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
#pragma unroll
                for (int c = 0; c < CHUNK; c++) now[r][c] = next[r][c];
            }
        }
        done(unit, warp_sums(sums));
    }
}

// The norms of the residual vectors of a pass, to `vectors` in shared memory: a warp a token. A lane sums what thread
// 32 w + lane of `normalize` does for each warp w of that, and the warps' sums are added in their order. `ready` is called
// before the residual stream is read. Ends with the block in step.
template <class Ready>
DEVICE void normalize_tokens(const float* residual, const float* weight, u8* vectors, Ready&& ready) {
    using Vector = Activations<QA_HIDDEN, HIDDEN_SET>;
    constexpr int QUADS = QA_HIDDEN / 4, EACH = (QUADS + 31) / 32;
    const int lane = thread() % 32;
    ready();
    for (int t = thread() / 32; t < TOKENS; t += VERIFY_WARPS) {
        float4 x[EACH] = {};
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            if (32 * i + lane < QUADS) x[i] = load_shared_value4(residual + (u64)t * QA_HIDDEN + 4 * (32 * i + lane));
        }
        float sum = 0.0f;
#pragma unroll
        for (int first = 0; first < WARPS && first < EACH; first++) {
            float squares = 0.0f;
#pragma unroll
            for (int i = first; i < EACH; i += WARPS) {
                squares = fmaf(x[i].x, x[i].x, squares);
                squares = fmaf(x[i].y, x[i].y, squares);
                squares = fmaf(x[i].z, x[i].z, squares);
                squares = fmaf(x[i].w, x[i].w, squares);
            }
            sum += warp_sum(squares);
        }
        const float scale = 1.0f / sqrtf(sum / (float)QA_HIDDEN + QA_EPSILON);
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int quad = 32 * i + lane;
            const float4 w = quad < QUADS ? ((const float4*)weight)[quad] : float4{};
            Vector::store(vectors + t * Vector::BYTES, quad,
                          make_float4(x[i].x * scale * w.x, x[i].y * scale * w.y, x[i].z * scale * w.z, x[i].w * scale * w.w),
                          quad < QUADS);
        }
    }
    __syncthreads();
}
