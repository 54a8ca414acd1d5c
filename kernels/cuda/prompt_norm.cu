// A product's result added to the residual stream, and the root-mean-square norm of that as an operand.
//
//   residual[t] += sum over s of partials[s, t] + bias                        [tokens, HIDDEN]
//   normed[t] = residual[t] * weight / sqrt(mean(residual[t]^2) + epsilon)    an operand of `capacity` rows
//
// Launch: a block a token, NORM_THREADS threads; with `splits` 0 nothing is added.
#include "model.cuh"
#include "prompt.cuh"

constexpr int NORM_THREADS = 256;

extern "C" __global__ void __launch_bounds__(NORM_THREADS, 4)
    prompt_norm(float* residual, const float* partials, u32 splits, u32 tokens, const float* bias, const float* weight,
                u8* normed, u32 capacity) {
    constexpr int QUADS = QA_HIDDEN / 4;
    constexpr int EACH = (QUADS + NORM_THREADS - 1) / NORM_THREADS;
    __shared__ float scratch[NORM_THREADS / 32];
    launch_dependents();
    wait_for_previous();
    const u32 t = blockIdx.x;
    float4 x[EACH];
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int quad = thread() + i * NORM_THREADS;
        if (quad >= QUADS) continue;
        float4* at = (float4*)(residual + (u64)t * QA_HIDDEN) + quad;
        x[i] = *at;
        if (splits > 0) {
            float4 sum = bias ? ((const float4*)bias)[quad] : float4{};
#pragma unroll 4
            for (u32 s = 0; s < splits; s++) {
                const float4 part = ((const float4*)(partials + ((u64)s * tokens + t) * QA_HIDDEN))[quad];
                sum.x += part.x;
                sum.y += part.y;
                sum.z += part.z;
                sum.w += part.w;
            }
            x[i].x += sum.x;
            x[i].y += sum.y;
            x[i].z += sum.z;
            x[i].w += sum.w;
            *at = x[i];
        }
        squares = fmaf(x[i].x, x[i].x, squares);
        squares = fmaf(x[i].y, x[i].y, squares);
        squares = fmaf(x[i].z, x[i].z, squares);
        squares = fmaf(x[i].w, x[i].w, squares);
    }
    squares = warp_sum(squares);
    if (thread() % 32 == 0) scratch[thread() / 32] = squares;
    __syncthreads();
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < NORM_THREADS / 32; w++) sum += scratch[w];
    const float scale = 1.0f / sqrtf(sum / (float)QA_HIDDEN + QA_EPSILON);
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int quad = thread() + i * NORM_THREADS;
        if (quad >= QUADS) continue;
        const float4 w = ((const float4*)weight)[quad];
        *(uint2*)operand_at(normed, capacity, t, 4 * quad) = make_uint2(
            halves(x[i].x * scale * w.x, x[i].y * scale * w.y), halves(x[i].z * scale * w.z, x[i].w * scale * w.w));
    }
}
