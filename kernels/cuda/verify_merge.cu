// The pieces of each token's heads merged, as the vectors that the output projection needs.
//
// Launch: TOKENS blocks, THREADS threads.
#include "attention.cuh"
#include "verify.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1) verify_merge(Verify v) {
    launch_dependents();
    wait_for_previous();
    const u32 t = blockIdx.x;
    if (t >= v.drafts->count) return;
    vectorize_attended(v.pieces + (u64)t * QA_HEADS * QA_SPLITS * PIECE, v.drafts->position + t + 1,
                       v.attended + t * Activations<QUERY_WIDTH, OUT_SET>::BYTES);
}
