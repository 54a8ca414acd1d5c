// Weights of any format as operands of tensor cores.
//
//   operand[row] = the f16 nearest to each weight of the row
//
// Rows are stored so that a thread of a product holds two neighbouring ones: row r of 16 lies at r / 2 + r % 2 * 8. The
// gate's rows and those of up alternate by 64.
//
// A warp expands 8 rows of 4 groups: a lane a group, handed on through shared memory so that each group is written as one
// piece of 512 bytes. Launch: y counts jobs, x blocks of a job's units, EXPAND_THREADS threads.
#include "model.cuh"
#include "prompt.cuh"

constexpr int EXPAND_THREADS = 256;
constexpr int AT_ONCE = 4;
// Bytes of a warp's group in shared memory: 16 more than 8 rows take, so that the groups of a row lie in different banks.
constexpr int GROUP_BYTES = 8 * OPERAND_ROW + 16;

// Which matrices a product has, and where its gate and up are.
enum Role { ROLE_QKV, ROLE_OUTPUT, ROLE_GATE, ROLE_UP, ROLE_DOWN };

struct Expansion {
    Tensor weight;
    u8* to;      // the operand
    u32 role;
    u32 first;   // row of the matrix
    u32 rows;    // how many from there; both multiples of 32
    u32 place;   // row of the operand that `first` comes to; of gate and up, the operand begins with `first`
    u32 stride;  // rows of the operand
    u32 padding;
};
static_assert(sizeof(Expansion) == 48, "the host's twin has this size");

constexpr int MOST_JOBS = 8;

struct Expansions {
    Expansion jobs[MOST_JOBS];
};

template <int FORMAT, int COLUMNS>
DEVICE void expand(const Expansion& job, u32 unit, u8* shared) {
    constexpr u32 GROUPS = COLUMNS / 32, PADDED = operand_groups(COLUMNS), UNITS = (PADDED + AT_ONCE - 1) / AT_ONCE;
    const u32 lane = thread() % 32;
    const u32 slab = unit / UNITS, first = unit % UNITS * AT_ONCE;
    if (slab >= job.rows / 8) return;
    const u32 place = slab * 8 + lane / 4, g = first + lane % 4;
    const u32 row = job.first + (place & ~15u) + (place & 7) * 2 + (place >> 3 & 1);
    u8* local = shared + lane % 4 * GROUP_BYTES;
    Group<FORMAT> group;
    if (g < GROUPS) group = load_group<FORMAT, COLUMNS>(job.weight.data + (u64)row * row_bytes(FORMAT, COLUMNS), g);
    // Weights never change; what they are expanded to is still being read.
    wait_for_previous();
    if (g < GROUPS) {
        const Affine a = affine_or_none<FORMAT>(group);
#pragma unroll
        for (int chunk = 0; chunk < 4; chunk++) {
            const float4 v = weights<FORMAT>(group, a, 2 * chunk), w = weights<FORMAT>(group, a, 2 * chunk + 1);
            *(uint4*)(local + operand_chunk(lane / 4, chunk)) =
                make_uint4(weight_halves<FORMAT>(v.x, v.y), weight_halves<FORMAT>(v.z, v.w), weight_halves<FORMAT>(w.x, w.y),
                           weight_halves<FORMAT>(w.z, w.w));
        }
    } else {
#pragma unroll
        for (int chunk = 0; chunk < 4; chunk++) *(uint4*)(local + chunk * 16 + lane / 4 * OPERAND_ROW) = uint4{};
    }
    __syncwarp();
    const bool gated = job.role == ROLE_GATE || job.role == ROLE_UP;
    const u32 to = gated ? slab * 8 / 64 * 128 + (job.role == ROLE_UP ? 64 : 0) + slab * 8 % 64 : job.place + slab * 8;
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++) {
        if (first + i < PADDED) {
            *(uint4*)(job.to + ((u64)(first + i) * job.stride + to) * OPERAND_ROW + lane * 16) =
                *(const uint4*)(shared + i * GROUP_BYTES + lane * 16);
        }
    }
}

extern "C" __global__ void __launch_bounds__(EXPAND_THREADS) prompt_expand(const __grid_constant__ Expansions list) {
    __shared__ __align__(16) u8 shared[EXPAND_THREADS / 32][AT_ONCE * GROUP_BYTES];
    launch_dependents();
    const Expansion& job = list.jobs[blockIdx.y];
    const u32 unit = blockIdx.x * (EXPAND_THREADS / 32) + thread() / 32;
    u8* mine = shared[thread() / 32];
    if (job.role == ROLE_QKV) {
        with_format<QA_QKV>(job.weight.format, [&](auto tag) { expand<decltype(tag)::format, QA_HIDDEN>(job, unit, mine); });
    } else if (job.role == ROLE_OUTPUT) {
        with_format<QA_OUT>(job.weight.format, [&](auto tag) { expand<decltype(tag)::format, QUERY_WIDTH>(job, unit, mine); });
    } else if (job.role == ROLE_DOWN) {
        with_format<QA_DOWN>(job.weight.format, [&](auto tag) { expand<decltype(tag)::format, QA_INTER>(job, unit, mine); });
    } else {
        with_format<QA_GATE_UP>(job.weight.format,
                                [&](auto tag) { expand<decltype(tag)::format, QA_HIDDEN>(job, unit, mine); });
    }
}
