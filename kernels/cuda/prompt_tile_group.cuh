// A tile by the tensor cores' instructions for a group of four warps, and by bulk copies: sm_90a only.
//
// In shared memory a barrier for each stage, which counts the bytes that come, follows the stages.
#pragma once
#include "prompt_tile.cuh"

// How an operand lies in shared memory, from `at` on: rows of 64 bytes, swizzled, 512 bytes for eight of them.
DEVICE u64 descriptor(u32 at) {
    constexpr u64 SWIZZLE_64 = 2, STRIDE = 512 / 16;
    return SWIZZLE_64 << 62 | STRIDE << 32 | (u64)1 << 16 | (at & 0x3ffff) >> 4;
}

#define SUMS(s) "+f"((s)[0]), "+f"((s)[1]), "+f"((s)[2]), "+f"((s)[3])

// s[64 rows, N tokens] += 16 columns of each.
template <int N>
DEVICE void multiply_64(float (&s)[N / 8][4], u64 weights, u64 vectors);

template <>
DEVICE void multiply_64<128>(float (&s)[16][4], u64 weights, u64 vectors) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "%64, %65, 1, 1, 1, 0, 0;"
        : SUMS(s[0]), SUMS(s[1]), SUMS(s[2]), SUMS(s[3]), SUMS(s[4]), SUMS(s[5]), SUMS(s[6]), SUMS(s[7]),
          SUMS(s[8]), SUMS(s[9]), SUMS(s[10]), SUMS(s[11]), SUMS(s[12]), SUMS(s[13]), SUMS(s[14]), SUMS(s[15])
        : "l"(weights), "l"(vectors));
}

template <>
DEVICE void multiply_64<32>(float (&s)[4][4], u64 weights, u64 vectors) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, "
        "%16, %17, 1, 1, 1, 0, 0;"
        : SUMS(s[0]), SUMS(s[1]), SUMS(s[2]), SUMS(s[3])
        : "l"(weights), "l"(vectors));
}

#undef SUMS

DEVICE void wait_barrier(u32 barrier, u32 parity) {
    u32 done;
    do {
        asm volatile(
            "{.reg .pred p;\n"
            "mbarrier.try_wait.parity.shared.b64 p, [%1], %2;\n"
            "selp.u32 %0, 1, 0, p;}"
            : "=r"(done)
            : "r"(barrier), "r"(parity)
            : "memory");
    } while (done == 0);
}

// Adds `steps` times DEPTH groups to `sums`. While a step is multiplied the next ones are on their way; a stage is filled
// again once the step that read it is done in all warps.
template <int TOKENS>
DEVICE void multiply_tile(const Tile<TOKENS>& tile, int steps, u8* stages, typename Tile<TOKENS>::Sums& sums) {
    using T = Tile<TOKENS>;
    const u32 shared = shared_address(stages), barriers = shared + STAGES * T::STAGE;
    if (thread() == 0) {
#pragma unroll
        for (int i = 0; i < STAGES; i++) asm volatile("mbarrier.init.shared.b64 [%0], 1;" ::"r"(barriers + 8 * i) : "memory");
        asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async;" ::: "memory");
    }
    __syncthreads();
    const auto load = [&](int step, u32 stage) {
        const u32 to = shared + stage * T::STAGE, barrier = barriers + 8 * stage;
        asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(barrier), "r"(T::STAGE) : "memory");
        const auto copy = [&](u32 at, const u8* from, u32 bytes) {
            asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(at),
                         "l"(from), "r"(bytes), "r"(barrier)
                         : "memory");
        };
#pragma unroll
        for (int d = 0; d < DEPTH; d++) {
            const u64 group = (u64)step * DEPTH + d;
            copy(to + d * T::WEIGHTS, tile.weights + group * tile.weights_stride, T::WEIGHTS);
            copy(to + DEPTH * T::WEIGHTS + d * T::VECTORS, tile.vectors + group * tile.vectors_stride, T::VECTORS);
        }
    };
    if (thread() == 0) {
        for (int step = 0; step < STAGES && step < steps; step++) load(step, step);
    }
    u32 stage = 0, parity = 0, before = STAGES - 1;
    for (int step = 0; step < steps; step++) {
        wait_barrier(barriers + 8 * stage, parity);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
        const u32 from = shared + stage * T::STAGE;
#pragma unroll
        for (int d = 0; d < DEPTH; d++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const u64 vectors = descriptor(from + DEPTH * T::WEIGHTS + d * T::VECTORS + half * 32);
#pragma unroll
                for (int m = 0; m < 2; m++) {
                    multiply_64<TOKENS>(sums[m], descriptor(from + d * T::WEIGHTS + m * 64 * OPERAND_ROW + half * 32),
                                        vectors);
                }
            }
        }
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
        __syncthreads();
        const int next = step - 1 + STAGES;
        if (thread() == 0 && step > 0 && next < steps) load(next, before);
        before = stage;
        stage = stage + 1 == STAGES ? 0 : stage + 1;
        parity ^= stage == 0 ? 1 : 0;
    }
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    // The compiler knows nothing of that wait: it must not read a sum before.
#pragma unroll
    for (int m = 0; m < 2; m++) {
#pragma unroll
        for (int n = 0; n < TOKENS / 8; n++) {
#pragma unroll
            for (int e = 0; e < 4; e++) asm volatile("" : "+f"(sums[m][n][e])::"memory");
        }
    }
}
