// Rows of a weight matrix times a vector: the work of a decoder.
//
// A row belongs to one warp. Lane l takes the groups l, l + 32, l + 64 ..., sums them in that order, and the 32 lanes are
// summed by butterfly: one order, whoever calls. The first rows are loaded before `ready`, which is where a kernel waits for
// the vector.
#pragma once
#include "activations.cuh"

// A group of an int8 vector as it was loaded.
struct VectorGroup {
    int4 low, high;
    uint2 meta;

    template <class Vector>
    DEVICE void load(const u8* vector, int g) {
        low = *(const int4*)(vector + g * 16);
        high = *(const int4*)(vector + (Vector::GROUPS + g) * 16);
        meta = *(const uint2*)(vector + Vector::META_AT + g * 8);
    }

    // Nothing, so that whatever it is multiplied with adds nothing.
    DEVICE void clear() { meta.x = 0; }
};

// The same with a scale for each eight elements.
struct OctetGroup {
    int4 low, high;
    float4 scales, sums;

    template <class Vector>
    DEVICE void load(const u8* vector, int g) {
        low = *(const int4*)(vector + g * 16);
        high = *(const int4*)(vector + (Vector::GROUPS + g) * 16);
        scales = *(const float4*)(vector + Vector::SCALES_AT + g * 16);
        sums = *(const float4*)(vector + Vector::SUMS_AT + g * 16);
    }

    DEVICE void clear() { scales = sums = make_float4(0.0f, 0.0f, 0.0f, 0.0f); }
};

// Whether products of a format are of integers.
constexpr bool is_int8(int format) { return !is_float(format) && !QA_FLOAT_ACTIVATIONS; }

// The dot product of one group with group g of a vector, added to `sum`. `loaded`: that group, where the product is of integers.
template <int FORMAT, class Vector>
DEVICE float add_group(float sum, const Group<FORMAT>& group, const u8* vector, int g, const VectorGroup& loaded) {
    if constexpr (is_int8(FORMAT)) {
        const int4 low = loaded.low, high = loaded.high;
        const uint2 meta = loaded.meta;
        const float d = __uint_as_float(meta.x);
        int first = __dp4a(codes<FORMAT>(group, 0), low.x, 0), second = __dp4a(codes<FORMAT>(group, 4), high.x, 0);
        first = __dp4a(codes<FORMAT>(group, 1), low.y, first);
        first = __dp4a(codes<FORMAT>(group, 2), low.z, first);
        first = __dp4a(codes<FORMAT>(group, 3), low.w, first);
        second = __dp4a(codes<FORMAT>(group, 5), high.y, second);
        second = __dp4a(codes<FORMAT>(group, 6), high.z, second);
        second = __dp4a(codes<FORMAT>(group, 7), high.w, second);
        const int sum_low = (int)(meta.y << 16) >> 16, sum_high = (int)meta.y >> 16;
        if constexpr (FORMAT == Q6_K) {
            const float block = half_to_float(group.block);
            const int a = (first - 32 * sum_low) * (int)(signed char)(group.scale & 0xff);
            const int b = (second - 32 * sum_high) * (int)(signed char)(group.scale >> 8 & 0xff);
            return fmaf(block * d, (float)(a + b), sum);
        } else if constexpr (FORMAT == Q4_0 || FORMAT == Q5_0 || FORMAT == Q8_0) {
            constexpr int ZERO = FORMAT == Q4_0 ? 8 : FORMAT == Q5_0 ? 16 : 0;
            const int total = first + second - ZERO * (sum_low + sum_high);
            return fmaf(half_to_float(group.scale) * d, (float)total, sum);
        } else {
            const Affine a = affine<FORMAT>(group);
            const float codes_part = fmaf(a.scale[0] * d, (float)(first + second), sum);
            return fmaf(a.offset[0] * d, (float)(sum_low + sum_high), codes_part);
        }
    } else {
        const Affine a = affine_or_none<FORMAT>(group);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float4 w = weights<FORMAT>(group, a, i);
            const float4 x = *(const float4*)(vector + Vector::FLOAT_AT + (i * Vector::GROUPS + g) * 16);
            sum = fmaf(w.x, x.x, sum);
            sum = fmaf(w.y, x.y, sum);
            sum = fmaf(w.z, x.z, sum);
            sum = fmaf(w.w, x.w, sum);
        }
        return sum;
    }
}

template <int FORMAT, class Vector>
DEVICE float add_group(float sum, const Group<FORMAT>& group, const u8*, int, const OctetGroup& x) {
    const float a = (float)__dp4a(codes<FORMAT>(group, 1), x.low.y, __dp4a(codes<FORMAT>(group, 0), x.low.x, 0));
    const float b = (float)__dp4a(codes<FORMAT>(group, 3), x.low.w, __dp4a(codes<FORMAT>(group, 2), x.low.z, 0));
    const float c = (float)__dp4a(codes<FORMAT>(group, 5), x.high.y, __dp4a(codes<FORMAT>(group, 4), x.high.x, 0));
    const float d = (float)__dp4a(codes<FORMAT>(group, 7), x.high.w, __dp4a(codes<FORMAT>(group, 6), x.high.z, 0));
    const float low = fmaf(b, x.scales.y, a * x.scales.x), high = fmaf(d, x.scales.w, c * x.scales.z);
    const float sum_low = x.sums.x + x.sums.y, sum_high = x.sums.z + x.sums.w;
    if constexpr (FORMAT == Q6_K) {
        const float first = fmaf(-32.0f, sum_low, low) * (float)(signed char)(group.scale & 0xff);
        const float second = fmaf(-32.0f, sum_high, high) * (float)(signed char)(group.scale >> 8 & 0xff);
        return fmaf(half_to_float(group.block), first + second, sum);
    } else if constexpr (FORMAT == Q4_0 || FORMAT == Q5_0 || FORMAT == Q8_0) {
        constexpr float ZERO = FORMAT == Q4_0 ? -8.0f : FORMAT == Q5_0 ? -16.0f : 0.0f;
        return fmaf(half_to_float(group.scale), fmaf(ZERO, sum_low + sum_high, low + high), sum);
    } else {
        const Affine affine_of = affine<FORMAT>(group);
        return fmaf(affine_of.offset[0], sum_low + sum_high, fmaf(affine_of.scale[0], low + high, sum));
    }
}

template <int FORMAT, class Vector>
DEVICE float add_group(float sum, const Group<FORMAT>& group, const u8* vector, int g) {
    VectorGroup loaded;
    if constexpr (is_int8(FORMAT)) loaded.load<Vector>(vector, g);
    return add_group<FORMAT, Vector>(sum, group, vector, g, loaded);
}

// Which units of work a warp has: `first`, `first + stride`, ... below `count`.
struct Share {
    int first;
    int count;
    int stride;
};

// The share of this warp when the warps of the grid take turns, blocks first, so that few rows spread over many SMs.
DEVICE Share share_of_grid(int count) {
    const int warps = blockDim.x / 32;
    return {(int)(thread() / 32 * grid_size() + block_index()), count, (int)(warps * grid_size())};
}

// The share that falls to this warp of `rows` rows which follow `before` others in one list.
DEVICE Share share_after(int before, int rows) {
    Share all = share_of_grid(before + rows);
    int first = all.first - before;
    if (first < 0) first += (-first + all.stride - 1) / all.stride * all.stride;
    return {first, rows, all.stride};
}

// 16-byte steps of a row that one lane loads together, and units that are multiplied together: as many as stay in registers
// beside everything else in the kernel that has all phases.
#ifndef QA_STEP_WORDS
#define QA_STEP_WORDS 40
#endif
#ifndef QA_UNIT_WORDS
#define QA_UNIT_WORDS 28
#endif

constexpr int most_steps(int format) {
    const int fit = QA_STEP_WORDS / (4 * code_units(format) + 4);
    return fit < 1 ? 1 : fit;
}

constexpr int largest_units(u32 set, int format = 0) {
    return format == FORMATS                                                          ? 0
           : (set >> format & 1) && code_units(format) > largest_units(set, format + 1) ? code_units(format)
                                                                                        : largest_units(set, format + 1);
}

constexpr int steps_of(int columns) { return (columns / 32 + 31) / 32; }

constexpr int chunks_of(int format, int columns) {
    return (steps_of(columns) + most_steps(format) - 1) / most_steps(format);
}

constexpr int chunk_of(int format, int columns) {
    return (steps_of(columns) + chunks_of(format, columns) - 1) / chunks_of(format, columns);
}

constexpr int units_at_once(int format, int columns, int rows, int tokens) {
    const int fit = QA_UNIT_WORDS / (rows * chunk_of(format, columns) * (4 * code_units(format) + 3));
    const int most = tokens > 1 ? 1 : 4;
    return fit < 1 ? 1 : fit > most ? most : fit;
}

// For each unit u of `share`: the dot products of its ROWS rows, `row(u, r)`, with TOKENS vectors of COLUMNS elements
// (vector t at `vectors + t * vector_stride`), handed to `done(u, sums[ROWS][TOKENS])` in every lane.
//
// `ready` is called once, by every thread, after the first loads were issued.
template <int FORMAT, int COLUMNS, u32 SET, int ROWS, int TOKENS, class Row, class Ready, class Done>
DEVICE void multiply_rows(Share share, Row row, const u8* vectors, u32 vector_stride, Ready&& ready, Done&& done) {
    using Vector = Activations<COLUMNS, SET>;
    constexpr int GROUPS = COLUMNS / 32;
    constexpr int CHUNKS = chunks_of(FORMAT, COLUMNS), CHUNK = chunk_of(FORMAT, COLUMNS);
    constexpr int AT_ONCE = units_at_once(FORMAT, COLUMNS, ROWS, TOKENS);
    const int lane = thread() % 32;

    using Batch = Group<FORMAT>[AT_ONCE][ROWS][CHUNK];
    auto load = [&](Batch& batch, int unit, int chunk) {
#pragma unroll
        for (int p = 0; p < AT_ONCE; p++) {
            const int u = unit + p * share.stride;
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
#pragma unroll
                for (int c = 0; c < CHUNK; c++) {
                    const int g = lane + 32 * (chunk * CHUNK + c);
                    if (u < share.count && g < GROUPS) batch[p][r][c] = load_group<FORMAT, COLUMNS>(row(u, r), g);
                }
            }
        }
    };

    // A warp without rows loads nothing, and reaches `ready` where the others do: it holds barriers of the block.
    Batch now = {};
    load(now, share.first, 0);
    ready();
    for (int unit = share.first; unit < share.count; unit += AT_ONCE * share.stride) {
        float sums[AT_ONCE][ROWS][TOKENS] = {};
#pragma unroll 1
        for (int chunk = 0; chunk < CHUNKS; chunk++) {
            const bool last = chunk + 1 == CHUNKS;
            const int next_unit = last ? unit + AT_ONCE * share.stride : unit;
#pragma unroll
            for (int c = 0; c < CHUNK; c++) {
                const int g = lane + 32 * (chunk * CHUNK + c);
                if (g < GROUPS) {
#pragma unroll
                    for (int t = 0; t < TOKENS; t++) {
#pragma unroll
                        for (int p = 0; p < AT_ONCE; p++) {
#pragma unroll
                            for (int r = 0; r < ROWS; r++) {
                                sums[p][r][t] = add_group<FORMAT, Vector>(sums[p][r][t], now[p][r][c],
                                                                          vectors + t * vector_stride, g);
                            }
                        }
                    }
                }
            }
            if (next_unit < share.count) load(now, next_unit, last ? 0 : chunk + 1);
        }
#pragma unroll
        for (int p = 0; p < AT_ONCE; p++) {
            float whole[ROWS][TOKENS];
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
#pragma unroll
                for (int t = 0; t < TOKENS; t++) whole[r][t] = warp_sum(sums[p][r][t]);
            }
            if (unit + p * share.stride < share.count) done(unit + p * share.stride, whole);
        }
    }
}
