// Logits of one token, and the likeliest token among each block's rows.
//
//   logits[row] = head[row] . normed        [VOCAB]
//
// Launch: `candidate_count` blocks, THREADS threads.
#include "projections.cuh"

extern "C" __global__ void __launch_bounds__(THREADS) head(Buffers b, u32 token) {
    __shared__ Candidate scratch[WARPS];
    launch_dependents();
    const u8* vector = b.normed + (u64)token * Activations<QA_HIDDEN, HIDDEN_SET>::BYTES;
    float* logits = nullptr;
    project_head(b, vector, logits, scratch, [&] {
        wait_for_previous();
        const volatile State* state = b.state;
        logits = b.logits;
        if (logits && state->keep_logits) logits += (u64)state->produced * QA_VOCAB;
    });
}
