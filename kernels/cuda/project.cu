// A matrix times vectors, plus a bias, stored or added to what is there.
//
//   out[t, row] (+)= sum over k of weight[row, k] * vector[t, k] + bias[row]
//
// -DQA_COLUMNS: row length. -DQA_VECTOR_SET: formats that the vectors serve. -DQA_FORMATS: the formats of the weight.
// -DQA_TOKENS: vectors a tile. Launch: y counts tiles of vectors, x any number of blocks, whole warps; warps take turns.
#include "projections.cuh"

extern "C" __global__ void __launch_bounds__(256)
    project(Tensor weight, const float* bias, const u8* vectors, float* out, u32 out_stride, u32 rows, u32 tokens, u32 add) {
    constexpr u32 STRIDE = Activations<QA_COLUMNS, QA_VECTOR_SET>::BYTES;
    launch_dependents();
    const u32 first = blockIdx.y * QA_TOKENS;
    vectors += (u64)first * STRIDE;
    out += (u64)first * out_stride;
    const int lane = thread() % 32;
    const int count = (int)(tokens - first);
    with_format<QA_FORMATS>(weight.format, [&](auto tag) {
        constexpr int FORMAT = decltype(tag)::format;
        multiply_rows<FORMAT, QA_COLUMNS, QA_VECTOR_SET, 1, QA_TOKENS>(
            share_of_grid((int)rows),
            [&](int u, int) { return weight.data + (u64)u * row_bytes(FORMAT, QA_COLUMNS); }, vectors, STRIDE,
            WaitForPrevious{}, [&](int u, const float(&sums)[1][QA_TOKENS]) {
#pragma unroll
                for (int t = 0; t < QA_TOKENS; t++) {
                    if (lane == t && t < count) {
                        float* at = out + (u64)t * out_stride + u;
                        const float value = bias ? sums[0][t] + bias[u] : sums[0][t];
                        *at = add ? *at + value : value;
                    }
                }
            });
    });
}
