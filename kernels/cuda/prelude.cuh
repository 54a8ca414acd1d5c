// Types and the few instructions that every kernel needs. NVRTC is given no headers of CUDA, so they are written here.
//
// Constants that the host passes with -D (one set a model; see `Shape` in kernels/src/shape.rs):
//   QA_HIDDEN QA_INTER QA_HEADS QA_KV_HEADS QA_HEAD_DIM QA_VOCAB QA_LAYERS   extents
//   QA_EPSILON                                                             added to the mean square of a norm
//   QA_ROPE_DIMS QA_ROPE_NEOX                                              rotated elements of a head, and which pair up
//   QA_SPLITS                                                              most pieces that a sequence is attended in
//   QA_FLOAT_ACTIVATIONS                                                   1: no int8 activations
//   QA_KV_CACHE                                                            how keys and values are kept (cache.cuh)
//   QA_TRACE                                                               1: phases record when they ran (trace.cuh)
//   QA_QKV QA_OUT QA_GATE_UP QA_DOWN QA_HEAD QA_EMBED                      formats that each role's tensors have, bit sets
//
// Every sum has one order, whoever computes it: a row is one warp's, lane and group fixed; a norm is a block of THREADS.
// Sources are compiled with --fmad=false, so that a product and a sum fuse only where fmaf says so. Kernels that share
// these functions therefore give the same bits.
#pragma once

#ifndef QA_TRACE
#define QA_TRACE 0
#endif

// The architecture whose ways are taken: that of the machine code, unless an older one's are asked for.
#ifndef QA_ARCHITECTURE
#define QA_ARCHITECTURE __CUDA_ARCH__
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define DEVICE __device__ __forceinline__
#define INFINITY __int_as_float(0x7f800000)

// Threads of every block whose threads reduce together.
constexpr int THREADS = 512;
constexpr int WARPS = THREADS / 32;

// The thread's index in its block, the block's in its grid, and the number of blocks, read anew each time. Carried in
// registers through a kernel of many phases, what is computed from them would crowd out the phases' own values. A kernel
// that has registers to spare, and in which the 20 cycles of such a read are on everybody's way, defines QA_KEEP_INDICES. Of the
// machine codes only that of sm_90 has such registers.
#if defined(QA_KEEP_INDICES) && QA_ARCHITECTURE == 900
#define QA_READ asm
#else
#define QA_READ asm volatile
#endif

DEVICE int thread() {
    int index;
    QA_READ("mov.u32 %0, %%tid.x;" : "=r"(index));
    return index;
}

// Synchronises the first THREADS threads of a block: all but a warp that only moves data, where there is one.
DEVICE void sync_block() { asm volatile("bar.sync 0, %0;" ::"n"(THREADS) : "memory"); }

DEVICE int block_index() {
    int index;
    QA_READ("mov.u32 %0, %%ctaid.x;" : "=r"(index));
    return index;
}

DEVICE int grid_size() {
    int size;
    QA_READ("mov.u32 %0, %%nctaid.x;" : "=r"(size));
    return size;
}

// The multiprocessor's clock.
DEVICE u32 cycle() {
    u32 value;
    asm volatile("mov.u32 %0, %%clock;" : "=r"(value)::"memory");
    return value;
}

// One of two types.
template <bool FIRST, class A, class B>
struct Choice {
    using Type = A;
};
template <class A, class B>
struct Choice<false, A, B> {
    using Type = B;
};

DEVICE u32 shared_address(const void* at) { return (u32)__cvta_generic_to_shared(at); }

DEVICE float half_to_float(u32 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"((u16)bits));
    return value;
}

DEVICE u16 float_to_half(float value) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

// 1 / x, to a unit of the last place.
DEVICE float reciprocal(float x) {
    float value;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
    return value;
}

// The larger; no number where one of them is none.
DEVICE float larger(float a, float b) {
    float value;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(value) : "f"(a), "f"(b));
    return value;
}

DEVICE float bfloat_to_float(u32 bits) { return __uint_as_float(bits << 16); }

// Weights are written before any kernel runs and read once a token: past L1, through the read-only path.
DEVICE uint4 load_weights_16(const u8* at) {
    uint4 value;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
                 : "l"(at));
    return value;
}

DEVICE uint2 load_weights_8(const u8* at) {
    uint2 value;
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(value.x), "=r"(value.y) : "l"(at));
    return value;
}

DEVICE u32 load_weights_4(const u8* at) {
    u32 value;
    asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(value) : "l"(at));
    return value;
}

DEVICE u32 load_weights_2(const u8* at) {
    u16 value;
    asm volatile("ld.global.nc.L1::no_allocate.u16 %0, [%1];" : "=h"(value) : "l"(at));
    return value;
}

// What another block of the same launch may have written is read from L2, never from a stale line of L1.
DEVICE float load_shared_value(const float* at) {
    float value;
    asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(value) : "l"(at));
    return value;
}

DEVICE float4 load_shared_value4(const float* at) {
    float4 value;
    asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
                 : "l"(at));
    return value;
}

DEVICE float warp_sum(float value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(~0u, value, offset);
    return value;
}

// With programmatic dependent launch: let the next kernel of the stream begin, and wait until the previous one's results
// are there. Without it both do nothing.
DEVICE void launch_dependents() {
#if QA_ARCHITECTURE >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

DEVICE void wait_for_previous() {
#if QA_ARCHITECTURE >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

struct WaitForPrevious {
    DEVICE void operator()() const { wait_for_previous(); }
};
