// A counter-based generator: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
#pragma once
#include "prelude.cuh"

// The first 64 random bits for a position under a seed.
DEVICE u64 random_bits(u64 seed, u32 position) {
    u32 a = position, b = 0, c = 0, d = 0;
    u32 first_key = (u32)seed, second_key = (u32)(seed >> 32);
#pragma unroll 1
    for (int round = 0; round < 10; round++) {
        const u64 from_a = (u64)a * 0xd2511f53u, from_c = (u64)c * 0xcd9e8d57u;
        a = (u32)(from_c >> 32) ^ b ^ first_key;
        b = (u32)from_c;
        c = (u32)(from_a >> 32) ^ d ^ second_key;
        d = (u32)from_a;
        first_key += 0x9e3779b9u;
        second_key += 0xbb67ae85u;
    }
    return (u64)b << 32 | a;
}
