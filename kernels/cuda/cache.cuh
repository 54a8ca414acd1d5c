// The cache of keys and values: how a row of a head is kept, and how it is read back.
//
// -DQA_KV_CACHE=0: f16. -DQA_KV_CACHE=1: Q8_0 as in GGUF, int8 codes with an f16 scale for 32 elements, x = scale * code,
// scale = max|x| / 127. A head of a layer is `context` rows of HEAD_DIM elements; in Q8_0 the rows' scales follow all codes.
// The Rust twin of the sizes is `KvCache` in kernels/src/kv_cache.rs.
#pragma once
#include "model.cuh"

constexpr bool KV_INT8 = QA_KV_CACHE == 1;
static_assert(QA_KV_CACHE <= 1 && QA_HEAD_DIM % 32 == 0, "a row is whole groups of 32");

// Scales of a row, and bytes of a row with them.
constexpr int KV_SCALES = KV_INT8 ? QA_HEAD_DIM / 32 : 0;
constexpr int KV_ROW_BYTES = KV_INT8 ? QA_HEAD_DIM + 2 * KV_SCALES : 2 * QA_HEAD_DIM;

// The keys or the values of one head: `rows` rows from `data` on. A single row in shared memory is a head of one row.
struct CachedHead {
    u8* data;
    u32 rows;

    DEVICE u8* code(u32 row, int d) const { return data + (u64)row * QA_HEAD_DIM + d; }
    DEVICE u16* scale(u32 row, int d) const {
        return (u16*)(data + (u64)rows * QA_HEAD_DIM) + (u64)row * KV_SCALES + d / 32;
    }
    DEVICE u16* half(u32 row, int d) const { return (u16*)data + (u64)row * QA_HEAD_DIM + d; }
};

DEVICE CachedHead cache_of(u8* cache, const Buffers& b, u32 layer, u32 kv_head) {
    const u64 bytes = ((u64)b.context * KV_ROW_BYTES + 15) / 16 * 16;
    return {cache + ((u64)layer * QA_KV_HEADS + kv_head) * bytes, b.context};
}

// Eight neighbouring elements of a row as they are kept. All zeros are eight zeros.
template <bool INT8>
struct Eight {
    uint4 halves;

    // What another block of this launch may have written comes from L2; LOCAL: from this block's shared memory.
    template <bool LOCAL>
    DEVICE void load(const CachedHead& head, u32 row, int d) {
        if constexpr (LOCAL) {
            halves = *(const uint4*)head.half(row, d);
        } else {
            asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
                         : "=r"(halves.x), "=r"(halves.y), "=r"(halves.z), "=r"(halves.w)
                         : "l"(head.half(row, d)));
        }
    }

    DEVICE void expand(float* to) const {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            to[2 * i] = half_to_float(word(halves, i) & 0xffff);
            to[2 * i + 1] = half_to_float(word(halves, i) >> 16);
        }
    }
};

template <>
struct Eight<true> {
    uint2 codes;
    u16 scale;

    template <bool LOCAL>
    DEVICE void load(const CachedHead& head, u32 row, int d) {
        if constexpr (LOCAL) {
            codes = *(const uint2*)head.code(row, d);
            scale = *head.scale(row, d);
        } else {
            asm volatile("ld.global.cg.v2.u32 {%0, %1}, [%2];" : "=r"(codes.x), "=r"(codes.y) : "l"(head.code(row, d)));
            asm volatile("ld.global.cg.u16 %0, [%1];" : "=h"(scale) : "l"(head.scale(row, d)));
        }
    }

    DEVICE void expand(float* to) const {
        const float by = half_to_float(scale);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int code = (int)((i < 4 ? codes.x : codes.y) << (24 - i % 4 * 8)) >> 24;
            to[i] = by * (float)code;
        }
    }
};

using CachedEight = Eight<KV_INT8>;

// Keeps element d of a row. Lanes of a warp hold the elements of a group of 32 in order, and call together.
DEVICE void keep(const CachedHead& head, u32 row, int d, float value) {
    if constexpr (KV_INT8) {
        // What is no number makes the whole group none, so that it is seen in the logits.
        float most = value != value ? INFINITY : fabsf(value);
#pragma unroll
        for (int offset = 16; offset > 0; offset /= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, offset));
        const float scale = most / 127.0f;
        *head.code(row, d) = (u8)(int)roundf(scale > 0.0f ? value / scale : 0.0f);
        if (d % 32 == 0) *head.scale(row, d) = float_to_half(scale);
    } else {
        *head.half(row, d) = float_to_half(value);
    }
}

// Copies element d of a row that is kept, and with a group's first element its scale.
DEVICE void copy_kept(const CachedHead& from, u32 from_row, const CachedHead& to, u32 to_row, int d) {
    if constexpr (KV_INT8) {
        *to.code(to_row, d) = *from.code(from_row, d);
        if (d % 32 == 0) *to.scale(to_row, d) = *from.scale(from_row, d);
    } else {
        *to.half(to_row, d) = *from.half(from_row, d);
    }
}
