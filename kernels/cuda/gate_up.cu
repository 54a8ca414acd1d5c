// The gated half of the feed-forward: inner[t] = silu(gate x_t) * (up x_t)        [tokens, INTER]
//
// -DQA_TOKENS: vectors a tile. Launch: y counts tiles of vectors, x any number of blocks, whole warps.
#include "projections.cuh"

extern "C" __global__ void __launch_bounds__(256) gate_up(Buffers b, Tensor gate, Tensor up, u32 tokens) {
    constexpr u32 STRIDE = Activations<QA_HIDDEN, HIDDEN_SET>::BYTES;
    launch_dependents();
    const u32 first = blockIdx.y * QA_TOKENS;
    gate_and_up_to<QA_FORMATS, QA_TOKENS>(gate, up, b.normed + (u64)first * STRIDE, STRIDE, b.inner + (u64)first * QA_INTER,
                                       (int)(tokens - first), WaitForPrevious{});
}
