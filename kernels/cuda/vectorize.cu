// The feed-forward's inner values as the vectors that the down projection needs.
//
// Launch: a block a token, whole warps.
#include "norm.cuh"

extern "C" __global__ void vectorize(Buffers b) {
    launch_dependents();
    wait_for_previous();
    vectorize_inner(b.inner + (u64)blockIdx.x * QA_INTER,
                    b.inner_vector + (u64)blockIdx.x * Activations<QA_INTER, INNER_SET>::BYTES);
}
