// Rotation of queries and keys, and the cache: queries are turned and scaled in place, keys turned and kept, values kept.
//
// Launch: a block a token, THREADS threads.
#include "attention.cuh"

extern "C" __global__ void __launch_bounds__(THREADS) rope(Buffers b, Pass pass, u32 layer) {
    constexpr int ROTATED = QUERY_WIDTH + KV_WIDTH;
    constexpr int EACH = (ROTATED + THREADS - 1) / THREADS;
    launch_dependents();
    wait_for_previous();
    float* qkv = b.qkv + (u64)blockIdx.x * QKV_WIDTH;
    const u32 position = position_of(b, pass, blockIdx.x);
    const float2* turns = turns_of(b, position);
    float turned[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int e = thread() + i * THREADS;
        const float* head = qkv + e / QA_HEAD_DIM * QA_HEAD_DIM;
        if (e < ROTATED) turned[i] = rotated([&](int d) { return head[d]; }, e % QA_HEAD_DIM, turns);
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int e = thread() + i * THREADS, d = e % QA_HEAD_DIM;
        if (e < QUERY_WIDTH) {
            qkv[e] = turned[i] * query_scale();
        } else if (e < ROTATED) {
            const int head = (e - QUERY_WIDTH) / QA_HEAD_DIM;
            keep(cache_of(b.keys, b, layer, head), position, d, turned[i]);
            keep(cache_of(b.values, b, layer, head), position, d, qkv[e + KV_WIDTH]);
        }
    }
}
