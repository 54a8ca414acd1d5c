// Queries, keys and values of a prompt's tokens out of their product: the parts of the sums added up, biases too, queries
// turned and scaled, keys turned and kept, values kept.
//
//   partials  [splits, tokens, QKV_WIDTH]     queries  [HEADS, capacity, HEAD_DIM] f16
//
// Launch: a block a token, THREADS threads.
#include "attention.cuh"
#include "prompt.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    prompt_rope(Buffers b, const float* partials, u32 splits, u32 tokens, u32 start, u32 layer, const float* query_bias,
                const float* key_bias, const float* value_bias, u16* queries, u32 capacity) {
    __shared__ float row[QKV_WIDTH];
    launch_dependents();
    wait_for_previous();
    const u32 t = blockIdx.x;
    // Unrolled, so that all loads are under way together.
#pragma unroll
    for (int i = 0; i < (QKV_WIDTH + THREADS - 1) / THREADS; i++) {
        const int e = thread() + i * THREADS;
        if (e >= QKV_WIDTH) continue;
        const float* bias = e < QUERY_WIDTH ? query_bias : e < QUERY_WIDTH + KV_WIDTH ? key_bias : value_bias;
        const int at = e < QUERY_WIDTH ? e : (e - QUERY_WIDTH) % KV_WIDTH;
        float sum = bias ? bias[at] : 0.0f;
#pragma unroll 4
        for (u32 s = 0; s < splits; s++) sum += partials[((u64)s * tokens + t) * QKV_WIDTH + e];
        row[e] = sum;
    }
    __syncthreads();
    const float2* turns = turns_of(b, start + t);
#pragma unroll
    for (int i = 0; i < (QUERY_WIDTH + KV_WIDTH + THREADS - 1) / THREADS; i++) {
        const int e = thread() + i * THREADS;
        if (e >= QUERY_WIDTH + KV_WIDTH) continue;
        const int d = e % QA_HEAD_DIM;
        const float* head = row + (e - d);
        const float turned = rotated([&](int of) { return head[of]; }, d, turns);
        if (e < QUERY_WIDTH) {
            queries[((u64)(e / QA_HEAD_DIM) * capacity + t) * QA_HEAD_DIM + d] = float_to_half(turned * query_scale());
        } else {
            const int kv_head = (e - QUERY_WIDTH) / QA_HEAD_DIM;
            keep(cache_of(b.keys, b, layer, kv_head), start + t, d, turned);
            keep(cache_of(b.values, b, layer, kv_head), start + t, d, row[e + KV_WIDTH]);
        }
    }
}
