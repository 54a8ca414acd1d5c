// Weights times the vectors of few tokens: `prompt_product.cu` without operands of weights. What a tile needs of them is
// expanded in shared memory, which costs more instructions for each tile of tokens and saves the way through memory.
//
//   out: as in `prompt_product.cu`
//
// -DQA_ROLE: 0 queries, keys and values; 1 the output projection; 2 gate and up, the gated product; 3 the down projection.
//
// Launch: x counts tiles of 64 rows, which each belong to one matrix (of gate and up: tiles of 32 of either), y tiles of 32
// tokens for each split, NARROW_THREADS threads. A warp sums 16 rows. Columns come in steps of 128: two groups a thread, a
// step ahead in registers, expanded to one half of shared memory while the other is multiplied.
#include "model.cuh"
#include "prompt.cuh"

constexpr int NARROW_THREADS = 128, NARROW_ROWS = 64, NARROW_TOKENS = 32;
// Groups of a step, and bytes of a step's weights and vectors.
constexpr int STEP = 4, WEIGHTS = STEP * NARROW_ROWS * OPERAND_ROW, VECTORS = STEP * NARROW_TOKENS * OPERAND_ROW;
constexpr bool GATED = QA_ROLE == 2;
constexpr int COLUMNS = QA_ROLE == 1 ? QUERY_WIDTH : QA_ROLE == 3 ? QA_INTER : QA_HIDDEN;
constexpr u32 SET = QA_ROLE == 0 ? QA_QKV : QA_ROLE == 1 ? QA_OUT : GATED ? QA_GATE_UP : QA_DOWN;
constexpr int GROUPS = COLUMNS / 32, STEPS = (GROUPS + STEP - 1) / STEP;

struct Narrow {
    Tensor weights[3];  // one, or queries', keys' and values', or gate and up
    u32 rows[3];        // of each; 0 where there is none
    u32 total;          // rows of the whole result
    const u8* vectors;  // operand of `capacity` rows
    u8* out;
    u32 capacity;
    u32 tokens;
    u32 splits;
    float scale;
};
static_assert(sizeof(Narrow) == 96, "the host's twin has this size");

// Group `own` of a step as f16 to row `place` of its tile. Chunks are turned by `own`, so that the lanes which expand groups of
// one row write to different banks.
template <int FORMAT>
DEVICE void expand_to(u8* tile, u32 place, u32 own, const Group<FORMAT>& group) {
    const Affine a = affine_or_none<FORMAT>(group);
#pragma unroll
    for (int chunk = 0; chunk < 4; chunk++) {
        const float4 v = weights<FORMAT>(group, a, 2 * chunk), w = weights<FORMAT>(group, a, 2 * chunk + 1);
        *(uint4*)(tile + operand_chunk(place, chunk ^ own)) =
            make_uint4(weight_halves<FORMAT>(v.x, v.y), weight_halves<FORMAT>(v.z, v.w),
                       weight_halves<FORMAT>(w.x, w.y), weight_halves<FORMAT>(w.z, w.w));
    }
}

// Sums of steps `from` to `to - 1`: of a warp's 16 rows and 32 tokens, as `multiply_16x8` has them. `first` and `second` are
// the rows of this thread's two groups, and `places` where they go in the tile.
template <int FIRST, int SECOND>
DEVICE void multiply_narrow(const u8* first, const u8* second, const u32 (&places)[2], const u8* vectors, u64 stride,
                            int from, int to, u8* shared, float (&sums)[NARROW_TOKENS / 8][4]) {
    const u32 lane = thread() % 32, warp = thread() / 32, own = lane % STEP;
    Group<FIRST> one;
    Group<SECOND> two;
    const auto load = [&](int step) {
        const int g = step * STEP + own;
        if (g < GROUPS) {
            one = load_group<FIRST, COLUMNS>(first, g);
            two = load_group<SECOND, COLUMNS>(second, g);
        }
    };
    const auto copy = [&](int step) {
        u8* half = shared + step % 2 * (WEIGHTS + VECTORS) + WEIGHTS;
#pragma unroll
        for (int at = 0; at < VECTORS; at += NARROW_THREADS * 16) {
            const int mine = at + thread() * 16, g = step * STEP + mine / (NARROW_TOKENS * OPERAND_ROW);
            copy_async(shared_address(half + mine),
                       vectors + (g < GROUPS ? (u64)g * stride + mine % (NARROW_TOKENS * OPERAND_ROW) : 0), g < GROUPS);
        }
        commit_copies();
    };
    load(from);
    wait_for_previous();
    if (from < to) copy(from);
    for (int step = from; step < to; step++) {
        u8* half = shared + step % 2 * (WEIGHTS + VECTORS);
        u8* tile = half + own * NARROW_ROWS * OPERAND_ROW;
        if (step * STEP + own < GROUPS) {
            expand_to<FIRST>(tile, places[0], own, one);
            expand_to<SECOND>(tile, places[1], own, two);
        } else {
#pragma unroll
            for (int i = 0; i < 2; i++) {
#pragma unroll
                for (int chunk = 0; chunk < 4; chunk++) *(uint4*)(tile + operand_chunk(places[i], chunk)) = uint4{};
            }
        }
        if (step + 1 < to) load(step + 1);
        wait_copies<0>();
        __syncthreads();
        if (step + 1 < to) copy(step + 1);
        const u32 mine = shared_address(half) + operand_chunk(lane / 4, lane % 4);
#pragma unroll
        for (int g = 0; g < STEP; g++) {
            const u32 row = (mine ^ g * 16) + (g * NARROW_ROWS + 16 * warp) * OPERAND_ROW;
            const uint4 low = load_shared_16(row), high = load_shared_16(row + 8 * OPERAND_ROW);
            const u32 a[2][4] = {{low.x, high.x, low.y, high.y}, {low.z, high.z, low.w, high.w}};
#pragma unroll
            for (int n = 0; n < NARROW_TOKENS / 8; n++) {
                const uint4 b = load_shared_16(mine + WEIGHTS + (g * NARROW_TOKENS + 8 * n) * OPERAND_ROW);
                multiply_16x8(sums[n], a[0], b.x, b.y);
                multiply_16x8(sums[n], a[1], b.z, b.w);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(NARROW_THREADS, 4) prompt_narrow(const __grid_constant__ Narrow p) {
    __shared__ __align__(128) u8 shared[2 * (WEIGHTS + VECTORS)];
    launch_dependents();
    const u32 lane = thread() % 32, warp = thread() / 32;
    const u32 tiles = gridDim.y / p.splits, split = blockIdx.y / tiles, token = blockIdx.y % tiles * NARROW_TOKENS;
    const int from = STEPS * split / p.splits, to = STEPS * (split + 1) / p.splits;
    const u64 stride = (u64)p.capacity * OPERAND_ROW;
    const u8* vectors = p.vectors + token * OPERAND_ROW;
    float sums[NARROW_TOKENS / 8][4] = {};
    // This thread expands groups of two rows that are half a tile apart: of gate and up, one of either.
    const u32 pair = 8 * warp + lane / 4;
    u32 part = 0, begun = 0, tile = blockIdx.x;
    if constexpr (GATED) {
        const u32 row = tile * (NARROW_ROWS / 2) + pair;
        const u32 places[2] = {16 * warp + lane / 4, 16 * warp + lane / 4 + 8};
        const auto run = [&](auto gate, auto up) {
            constexpr int GATE = decltype(gate)::format, UP = decltype(up)::format;
            multiply_narrow<GATE, UP>(p.weights[0].data + (u64)row * row_bytes(GATE, COLUMNS),
                                      p.weights[1].data + (u64)row * row_bytes(UP, COLUMNS), places, vectors, stride, from,
                                      to, shared, sums);
        };
        with_format<SET>(p.weights[0].format, [&](auto gate) {
            if (p.weights[0].format == p.weights[1].format) {
                run(gate, gate);
            } else if constexpr ((SET & (SET - 1)) != 0) {
                with_format<SET>(p.weights[1].format, [&](auto up) { run(gate, up); });
            }
        });
#pragma unroll
        for (int n = 0; n < NARROW_TOKENS / 8; n++) {
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const u32 t = token + 8 * n + lane % 4 * 2 + e;
                if (t >= p.tokens) continue;
                *(u16*)operand_at(p.out, p.capacity, t, row) = (u16)halves(gated(sums[n][e], sums[n][e + 2]), 0.0f);
            }
        }
    } else {
        for (; part < 2 && tile >= (p.rows[part] + NARROW_ROWS - 1) / NARROW_ROWS; part++) {
            tile -= (p.rows[part] + NARROW_ROWS - 1) / NARROW_ROWS;
            begun += p.rows[part];
        }
        const u32 rows = p.rows[part], row = tile * NARROW_ROWS;
        const u32 places[2] = {pair, pair + NARROW_ROWS / 2};
        with_format<SET>(p.weights[part].format, [&](auto tag) {
            constexpr int FORMAT = decltype(tag)::format;
            const u8* data = p.weights[part].data + (u64)row * row_bytes(FORMAT, COLUMNS);
            // Rows are whole halves of tiles: past the end, the second half expands the first again.
            const u32 other = row + places[1] < rows ? places[1] : places[0];
            multiply_narrow<FORMAT, FORMAT>(data + (u64)places[0] * row_bytes(FORMAT, COLUMNS),
                                            data + (u64)other * row_bytes(FORMAT, COLUMNS), places, vectors, stride, from,
                                            to, shared, sums);
        });
#pragma unroll
        for (int n = 0; n < NARROW_TOKENS / 8; n++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const u32 t = token + 8 * n + lane % 4 * 2 + e % 2, r = row + 16 * warp + lane / 4 + e / 2 * 8;
                if (t >= p.tokens || r >= rows) continue;
                ((float*)p.out)[((u64)split * p.tokens + t) * p.total + begun + r] = sums[n][e] * p.scale;
            }
        }
    }
}
