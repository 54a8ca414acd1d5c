// Rows of tiles (ring.cuh) times a vector.
//
// A row is the work of a team of warps, or of one: of TEAM warps, warp p takes the groups 32 p to 32 p + 31 of every 32 TEAM,
// a group a lane. Sums of lanes are summed by butterfly, those of a team in its order by who reads them.
#pragma once
#include "ring.cuh"
#include "rows.cuh"

constexpr int LARGEST_TEAM = 8;

// Multiprocessors that teams are made for: with fewer a warp has more rows, which is as good.
constexpr int USUAL_BLOCKS = 128;

// Long rows take a team, so that a row is never more than eight steps; and where a block has few rows, no warp is left without.
constexpr int team_of(int rows, int columns) {
    const int groups = columns / 32, each = (rows + USUAL_BLOCKS - 1) / USUAL_BLOCKS;
    int team = 1;
    while (team < LARGEST_TEAM && groups > 32 * team && (groups > 256 * team || 2 * team * each <= WARPS)) team *= 2;
    return team;
}

// Rows that a warp multiplies at once, of a matrix of so many rows: no more than it has, nor than there are registers for.
constexpr int rows_at_once(int format, int rows, int team) {
    const int each = (rows + USUAL_BLOCKS - 1) / USUAL_BLOCKS, own = (each * team + WARPS - 1) / WARPS;
    const int fit = 28 / (4 * code_units(format) + 3), n = fit < own ? fit : own;
    return n < 2 ? 1 : n < 4 && n != 3 ? 2 : own == 3 && fit < 4 ? 2 : 4;
}

// Steps of a row at once, likewise.
constexpr int MOST_UNROLLED = QA_ARCHITECTURE == 900 ? 8 : 2;

// Sums N values over the lanes at once: lane l receives the sum of value l / (32 / N). The order is that of `warp_sum`.
template <int N>
DEVICE float sum_of_each(float (&v)[N]) {
    int offset = 16;
#pragma unroll
    for (int n = N; n > 1; n /= 2) {
        const bool upper = (thread() & offset) != 0;
#pragma unroll
        for (int i = 0; i < n / 2; i++) {
            const float stays = upper ? v[i + n / 2] : v[i], goes = upper ? v[i] : v[i + n / 2];
            v[i] = stays + __shfl_xor_sync(~0u, goes, offset);
        }
        offset /= 2;
    }
#pragma unroll
    for (int o = 16 / N; o > 0; o /= 2) v[0] += __shfl_xor_sync(~0u, v[0], o);
    return v[0];
}

// `rows` rows of a matrix of ROWS, which are the ring's next tiles, times a vector. `done(unit, sum)` in one lane, for unit
// row * TEAM + warp of the team. Units go to warps in turns, from warp `turn` on.
template <u32 FORMAT_SET, int ROWS, class Vector, int TEAM, class Done>
DEVICE void multiply_tiles(Ring& ring, u8* dynamic, u32& tile, const Tensor& weight, int rows, int turn, const u8* vector,
                           Done&& done) {
    with_format<FORMAT_SET>(weight.format, [&](auto tag) {
        constexpr int FORMAT = decltype(tag)::format, GROUPS = Vector::GROUPS, COLUMNS = 32 * GROUPS;
        constexpr u32 ROW = row_bytes(FORMAT, COLUMNS);
        constexpr int PER_TILE = rows_of_tile(ROW), N = rows_at_once(FORMAT, ROWS, TEAM);
        constexpr int STEPS = (GROUPS + 32 * TEAM - 1) / (32 * TEAM);
        constexpr int UNROLLED = N * STEPS <= 8 ? (STEPS > MOST_UNROLLED ? MOST_UNROLLED : STEPS) : N < 4 ? 2 : 1;
        using Part = typename Vector::Part;
        const int lane = thread() % 32;
        // Lanes beyond the row's end multiply its last group by zero, so that nothing branches and loads overlap. Where every
        // lane has one group of every row, the vector's is loaded once.
        constexpr bool KEPT = STEPS == 1 && TEAM == 1 && is_int8(FORMAT);
        Part kept = {};
        if (KEPT && lane < GROUPS) kept.template load<Vector>(vector, lane);
#pragma unroll 1
        for (int first = 0; first < rows; first += PER_TILE) {
            const int units = (rows - first < PER_TILE ? rows - first : PER_TILE) * TEAM;
            const u8* data = take_tile(ring, dynamic, tile);
            const int before = turn + first * TEAM;
#pragma unroll 1
            for (int unit = (thread() / 32 - before) & (WARPS - 1); unit < units; unit += N * WARPS) {
                float sums[N] = {};
#pragma unroll UNROLLED
                for (int c = 0; c < STEPS; c++) {
#pragma unroll
                    for (int i = 0; i < N; i++) {
                        const int u = unit + i * WARPS;
                        if (i > 0 && u >= units) continue;
                        const u8* row = data + u / TEAM * ROW;
                        if constexpr (KEPT) {
                            const int g = GROUPS < 32 && lane >= GROUPS ? GROUPS - 1 : lane;
                            const auto group = load_group<FORMAT, COLUMNS, InShared>(row, g);
                            sums[i] = add_group<FORMAT, Vector>(sums[i], group, vector, g, kept);
                        } else {
                            const int own = (TEAM == 1 ? 0 : u % TEAM * 32) + lane + 32 * TEAM * c;
                            const bool there = 32 * TEAM * (c + 1) <= GROUPS || own < GROUPS;
                            if constexpr (is_int8(FORMAT)) {
                                const int g = there ? own : GROUPS - 1;
                                const auto group = load_group<FORMAT, COLUMNS, InShared>(row, g);
                                Part part;
                                part.template load<Vector>(vector, g);
                                if (!there) part.clear();
                                sums[i] = add_group<FORMAT, Vector>(sums[i], group, vector, g, part);
                            } else if (there) {
                                const auto group = load_group<FORMAT, COLUMNS, InShared>(row, own);
                                sums[i] = add_group<FORMAT, Vector>(sums[i], group, vector, own);
                            }
                        }
                    }
                }
                const float sum = sum_of_each<N>(sums);
                const int u = unit + lane / (32 / N) * WARPS;
                if (lane % (32 / N) == 0 && u < units) done(first * TEAM + u, sum);
            }
            hand_back_tile(ring, tile);
            tile++;
        }
    });
}
