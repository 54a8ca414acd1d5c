// Root-mean-square norm of rows of the residual stream, quantised as the weights that follow need it.
//
//   normed[t] = residual[t] * weight / sqrt(mean(residual[t]^2) + epsilon)        [tokens, HIDDEN]
//
// Launch: a block a token, THREADS threads.
#include "norm.cuh"

extern "C" __global__ void __launch_bounds__(THREADS) norm_rows(Buffers b, const float* weight) {
    __shared__ float scratch[WARPS];
    launch_dependents();
    wait_for_previous();
    normalize(b.residual + (u64)blockIdx.x * QA_HIDDEN, weight,
              b.normed + (u64)blockIdx.x * Activations<QA_HIDDEN, HIDDEN_SET>::BYTES, scratch);
}
