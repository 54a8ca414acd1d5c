// Vectors that weights are multiplied with: int8 with a scale a group of 32 for quantised weights, f32 for others.
//
// Layout for COLUMNS = 32 GROUPS, as far as the formats in SET need it:
//   low    16 bytes a group: elements 0 to 15 as int8       (so that 8 lanes read 128 bytes without bank conflicts)
//   high   16 bytes a group: elements 16 to 31
//   meta   8 bytes a group: the scale as f32, the sums of either half's int8 as two int16
//   float  plane q of 8: elements 4 q to 4 q + 3 of each group, 16 bytes a group
// An int8 is round(x * 127 / max|x|), the scale max|x| / 127.
#pragma once
#include "formats.cuh"

struct VectorGroup;
struct OctetGroup;

// round(x * inverse) of four values, a byte each.
DEVICE u32 four_codes(float4 v, float inverse) {
    const int a = __float2int_rn(v.x * inverse), b = __float2int_rn(v.y * inverse);
    const int c = __float2int_rn(v.z * inverse), d = __float2int_rn(v.w * inverse);
    return (a & 0xff) | (b & 0xff) << 8 | (c & 0xff) << 16 | d << 24;
}

DEVICE int sum_of_codes(u32 codes, int sum) { return __dp4a((int)codes, 0x01010101, sum); }

// A vector of int8 with a scale for each eight elements:
//   low, high  as below
//   scales     16 bytes a group: four
//   sums       16 bytes a group: of each eight the scale times the sum of the int8
template <int COLUMNS>
struct Octets {
    static constexpr int GROUPS = COLUMNS / 32;
    static constexpr int SCALES_AT = GROUPS * 32;
    static constexpr int SUMS_AT = GROUPS * 48;
    static constexpr int BYTES = GROUPS * 64;
    using Part = OctetGroup;

    static DEVICE void store(u8* to, int octet, uint2 codes, float scale) {
        const int g = octet / 4, o = octet % 4;
        *(uint2*)(to + (o / 2 * GROUPS + g) * 16 + o % 2 * 8) = codes;
        *(float*)(to + SCALES_AT + g * 16 + o * 4) = scale;
        *(float*)(to + SUMS_AT + g * 16 + o * 4) = scale * (float)sum_of_codes(codes.x, sum_of_codes(codes.y, 0));
    }
};

template <int COLUMNS, u32 SET>
struct Activations {
    using Part = VectorGroup;
    static constexpr int GROUPS = COLUMNS / 32;
    static constexpr bool HAS_INT8 = !QA_FLOAT_ACTIVATIONS && (SET & ~FLOAT_FORMATS) != 0;
    static constexpr bool HAS_FLOAT = QA_FLOAT_ACTIVATIONS || (SET & FLOAT_FORMATS) != 0;
    static constexpr int META_AT = GROUPS * 32;
    static constexpr int FLOAT_AT = HAS_INT8 ? (GROUPS * 40 + 15) / 16 * 16 : 0;
    static constexpr int BYTES = FLOAT_AT + (HAS_FLOAT ? GROUPS * 128 : 0);

    // Stores elements 4 quad to 4 quad + 3 if `there`. All lanes of a warp call together, with neighbouring quads from a
    // multiple of 8 on.
    static DEVICE void store(u8* to, int quad, float4 v, bool there) {
        const int g = quad / 8, q = quad % 8;
        if (HAS_FLOAT && there) *(float4*)(to + FLOAT_AT + (q * GROUPS + g) * 16) = v;
        if constexpr (HAS_INT8) {
            // What is no number makes the whole group none, so that it is seen in the logits.
            float most = larger(larger(fabsf(v.x), fabsf(v.y)), larger(fabsf(v.z), fabsf(v.w)));
#pragma unroll
            for (int offset = 1; offset < 8; offset *= 2) most = larger(most, __shfl_xor_sync(~0u, most, offset));
            const float inverse = most > 1e-30f ? 127.0f * reciprocal(most) : 0.0f;
            const u32 codes = four_codes(v, inverse);
            int sum = sum_of_codes(codes, 0);
            sum += __shfl_xor_sync(~0u, sum, 1);
            sum += __shfl_xor_sync(~0u, sum, 2);
            const int other = __shfl_xor_sync(~0u, sum, 4);
            if (!there) return;
            *(u32*)(to + q / 4 * GROUPS * 16 + g * 16 + q % 4 * 4) = codes;
            if (q == 0) {
                const u32 sums = (u32)(sum & 0xffff) | (u32)other << 16;
                *(uint2*)(to + META_AT + g * 8) = make_uint2(__float_as_uint(most <= 1e-30f ? 0.0f : most * (1.0f / 127.0f)), sums);
            }
        }
    }
};
