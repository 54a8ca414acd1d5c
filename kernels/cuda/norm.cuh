// Root-mean-square normalisation (Zhang and Sennrich 2019, equation 4): x_i w_i / sqrt(mean(x^2) + epsilon), and vectors
// made ready to be multiplied.
#pragma once
#include "activations.cuh"
#include "model.cuh"

// The sum of `value` over the block, warp by warp in order. `scratch` holds WARPS floats of shared memory.
DEVICE float block_sum(float value, float* scratch) {
    value = warp_sum(value);
    if (thread() % 32 == 0) scratch[thread() / 32] = value;
    sync_block();
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < WARPS; w++) sum += scratch[w];
    return sum;
}

// One row of the residual stream, normalised, to a vector in shared or global memory. THREADS threads.
DEVICE void normalize(const float* residual, const float* weight, u8* to, float* scratch) {
    using Vector = Activations<QA_HIDDEN, HIDDEN_SET>;
    constexpr int QUADS = QA_HIDDEN / 4;
    constexpr int EACH = (QUADS + THREADS - 1) / THREADS;
    float4 x[EACH] = {}, w[EACH] = {};
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int quad = thread() + i * THREADS;
        if (quad < QUADS) {
            x[i] = load_shared_value4(residual + 4 * quad);
            w[i] = *(const float4*)(weight + 4 * quad);
            squares = fmaf(x[i].x, x[i].x, squares);
            squares = fmaf(x[i].y, x[i].y, squares);
            squares = fmaf(x[i].z, x[i].z, squares);
            squares = fmaf(x[i].w, x[i].w, squares);
        }
    }
    const float mean = block_sum(squares, scratch) / (float)QA_HIDDEN;
    const float scale = 1.0f / sqrtf(mean + QA_EPSILON);
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int quad = thread() + i * THREADS;
        Vector::store(to, quad,
                      make_float4(x[i].x * scale * w[i].x, x[i].y * scale * w[i].y, x[i].z * scale * w[i].z,
                                  x[i].w * scale * w[i].w),
                      quad < QUADS);
    }
}

// The feed-forward's inner values to a vector. Any whole number of warps.
DEVICE void vectorize_inner(const float* inner, u8* to) {
    constexpr int QUADS = QA_INTER / 4;
    for (int first = thread() / 32 * 32; first < QUADS; first += blockDim.x) {
        const int quad = first + thread() % 32;
        const float4 none = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        Activations<QA_INTER, INNER_SET>::store(to, quad, quad < QUADS ? load_shared_value4(inner + 4 * quad) : none, quad < QUADS);
    }
}
