// Weight formats: how 32 neighbouring weights of a row (a group) are stored, multiplied and expanded.
//
// The host repacks each row of a GGUF tensor losslessly (kernels/src/pack.rs) into planes, so that a warp that gives one
// group to each lane reads whole lines:
//   codes    16-byte units; unit u of group g at (u * groups + g) * 16
//   high     4 bytes a group (fifth bits) or 8 (fifth and sixth)
//   scales   2 or 4 bytes a group
//   blocks   2 or 4 bytes for each 8 groups, in the K formats
// A row is padded to a multiple of 16 bytes. In a 4-bit unit byte j holds weight j below and weight j + 16 above. Bit i of
// byte b of a high word is the fifth bit of weight 4 i + b; of the two words of a 6-bit group each holds 16 weights, two
// bits each.
#pragma once
#include "prelude.cuh"

enum Format { F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, FORMATS };

constexpr u32 FLOAT_FORMATS = 1 << F32 | 1 << F16 | 1 << BF16;

constexpr bool is_float(int format) { return (FLOAT_FORMATS >> format & 1) != 0; }

// 16-byte units of codes a group.
constexpr int code_units(int format) {
    return format == F32 ? 8 : format == F16 || format == BF16 ? 4 : format == Q8_0 ? 2 : 1;
}

// Bytes a group of high bits.
constexpr int high_bytes(int format) {
    return format == Q5_0 || format == Q5_1 || format == Q5_K ? 4 : format == Q6_K ? 8 : 0;
}

// Bytes a group of scales: one half; two halves (scale, minimum); two bytes (scale, minimum); two signed bytes.
constexpr int scale_bytes(int format) { return is_float(format) ? 0 : format == Q4_1 || format == Q5_1 ? 4 : 2; }

// Bytes for each 8 groups: the halves that the scales and the minima count in.
constexpr int block_bytes(int format) { return format == Q4_K || format == Q5_K ? 4 : format == Q6_K ? 2 : 0; }

constexpr u32 row_bytes(int format, int columns) {
    const int groups = columns / 32;
    const int bytes = groups * (16 * code_units(format) + high_bytes(format) + scale_bytes(format)) +
                      (groups + 7) / 8 * block_bytes(format);
    return (bytes + 15) / 16 * 16;
}

// A tensor in device memory.
struct Tensor {
    const u8* data;
    u32 format;
    u32 padding;
};

// A group as it was loaded. What a format does not have is never touched, and costs no registers.
template <int FORMAT>
struct Group {
    uint4 codes[code_units(FORMAT)];
    uint2 high;
    u32 scale;
    u32 block;
};

// Where a row lies: past L1 in global memory, or in this block's shared memory.
struct InGlobal {
    static DEVICE uint4 load_16(const u8* at) { return load_weights_16(at); }
    static DEVICE uint2 load_8(const u8* at) { return load_weights_8(at); }
    static DEVICE u32 load_4(const u8* at) { return load_weights_4(at); }
    static DEVICE u32 load_2(const u8* at) { return load_weights_2(at); }
};
struct InShared {
    static DEVICE uint4 load_16(const u8* at) { return *(const uint4*)at; }
    static DEVICE uint2 load_8(const u8* at) { return *(const uint2*)at; }
    static DEVICE u32 load_4(const u8* at) { return *(const u32*)at; }
    static DEVICE u32 load_2(const u8* at) { return *(const u16*)at; }
};

template <int FORMAT, int COLUMNS, class Place = InGlobal>
DEVICE Group<FORMAT> load_group(const u8* row, int g) {
    constexpr int GROUPS = COLUMNS / 32;
    constexpr int HIGH_AT = GROUPS * 16 * code_units(FORMAT);
    constexpr int SCALES_AT = HIGH_AT + GROUPS * high_bytes(FORMAT);
    constexpr int BLOCKS_AT = SCALES_AT + GROUPS * scale_bytes(FORMAT);
    Group<FORMAT> group;
#pragma unroll
    for (int u = 0; u < code_units(FORMAT); u++) group.codes[u] = Place::load_16(row + (u * GROUPS + g) * 16);
    if constexpr (high_bytes(FORMAT) == 4) group.high.x = Place::load_4(row + HIGH_AT + g * 4);
    if constexpr (high_bytes(FORMAT) == 8) group.high = Place::load_8(row + HIGH_AT + g * 8);
    if constexpr (scale_bytes(FORMAT) == 4) group.scale = Place::load_4(row + SCALES_AT + g * 4);
    if constexpr (scale_bytes(FORMAT) == 2) group.scale = Place::load_2(row + SCALES_AT + g * 2);
    if constexpr (block_bytes(FORMAT) == 4) group.block = Place::load_4(row + BLOCKS_AT + g / 8 * 4);
    if constexpr (block_bytes(FORMAT) == 2) group.block = Place::load_2(row + BLOCKS_AT + g / 8 * 2);
    return group;
}

DEVICE u32 word(const uint4& v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

DEVICE u32 moved(u32 bits, int left) { return left < 0 ? bits >> -left : bits << left; }

// Codes of weights 4 i to 4 i + 3, a byte each: unsigned, except in Q8_0.
template <int FORMAT>
DEVICE int codes(const Group<FORMAT>& group, int i) {
    if constexpr (FORMAT == Q8_0) {
        return (int)word(group.codes[i / 4], i % 4);
    } else {
        u32 packed = word(group.codes[0], i % 4) >> (i < 4 ? 0 : 4) & 0x0f0f0f0f;
        if constexpr (high_bytes(FORMAT) == 4) packed |= moved(group.high.x, 4 - i) & 0x10101010;
        if constexpr (high_bytes(FORMAT) == 8) {
            packed |= moved(i < 4 ? group.high.x : group.high.y, 4 - i % 4 * 2) & 0x30303030;
        }
        return (int)packed;
    }
}

// A weight is scale * code + offset; the two halves of a group may differ.
struct Affine {
    float scale[2];
    float offset[2];
};

template <int FORMAT>
DEVICE Affine affine(const Group<FORMAT>& group) {
    Affine a;
    if constexpr (FORMAT == Q6_K) {
        const float d = half_to_float(group.block);
        a.scale[0] = d * (float)(signed char)(group.scale & 0xff);
        a.scale[1] = d * (float)(signed char)(group.scale >> 8 & 0xff);
        a.offset[0] = -32.0f * a.scale[0];
        a.offset[1] = -32.0f * a.scale[1];
        return a;
    } else if constexpr (FORMAT == Q4_K || FORMAT == Q5_K) {
        a.scale[0] = half_to_float(group.block & 0xffff) * (float)(group.scale & 0xff);
        a.offset[0] = -half_to_float(group.block >> 16) * (float)(group.scale >> 8 & 0xff);
    } else if constexpr (FORMAT == Q4_1 || FORMAT == Q5_1) {
        a.scale[0] = half_to_float(group.scale & 0xffff);
        a.offset[0] = half_to_float(group.scale >> 16);
    } else {
        a.scale[0] = half_to_float(group.scale);
        a.offset[0] = FORMAT == Q4_0 ? -8.0f * a.scale[0] : FORMAT == Q5_0 ? -16.0f * a.scale[0] : 0.0f;
    }
    a.scale[1] = a.scale[0];
    a.offset[1] = a.offset[0];
    return a;
}

// Weights 4 i to 4 i + 3.
template <int FORMAT>
DEVICE float4 weights(const Group<FORMAT>& group, const Affine& a, int i) {
    float w[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        if constexpr (FORMAT == F32) {
            w[j] = __uint_as_float(word(group.codes[i], j));
        } else if constexpr (FORMAT == F16 || FORMAT == BF16) {
            const u32 bits = word(group.codes[i / 2], i % 2 * 2 + j / 2) >> (j % 2 * 16) & 0xffff;
            w[j] = FORMAT == F16 ? half_to_float(bits) : bfloat_to_float(bits);
        } else {
            const int packed = codes<FORMAT>(group, i);
            const int code = FORMAT == Q8_0 ? (int)(signed char)(packed >> (8 * j)) : packed >> (8 * j) & 0xff;
            w[j] = fmaf(a.scale[i / 4], (float)code, a.offset[i / 4]);
        }
    }
    return make_float4(w[0], w[1], w[2], w[3]);
}

template <int FORMAT>
DEVICE Affine affine_or_none(const Group<FORMAT>& group) {
    if constexpr (is_float(FORMAT)) {
        return Affine{};
    } else {
        return affine<FORMAT>(group);
    }
}

template <int FORMAT>
struct FormatTag {
    static constexpr int format = FORMAT;
};

// Calls `body` with the tag of `format`, which is one of the set SET. A set of one costs no branch.
template <u32 SET, int FIRST = 0, class Body>
DEVICE void with_format(u32 format, Body&& body) {
    if constexpr (FIRST < FORMATS) {
        if constexpr ((SET >> FIRST & 1) != 0) {
            if constexpr (SET >> FIRST == 1) {
                body(FormatTag<FIRST>{});
            } else if (format == FIRST) {
                body(FormatTag<FIRST>{});
            } else {
                with_format<SET, FIRST + 1>(format, (Body&&)body);
            }
        } else {
            with_format<SET, FIRST + 1>(format, (Body&&)body);
        }
    }
}
