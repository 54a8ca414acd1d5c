// The tokens of a pass: the certain one and the drafts that the host gives, to rows of the residual stream.
//
// Launch: TOKENS blocks, any number of threads.
#include "sequence.cuh"
#include "verify.cuh"

extern "C" __global__ void verify_embed(Buffers b, Verify v) {
    launch_dependents();
    wait_for_previous();
    const u32 t = blockIdx.x, given = v.given[0];
    const volatile State* state = b.state;
    const u32 count = 1 + (given < TOKENS ? given : TOKENS - 1);
    const u32 token = t == 0 ? state->token : t < count ? v.given[t] : 0;
    embed(b.embedding, token, b.residual + (u64)t * QA_HIDDEN, thread(), blockDim.x);
    if (thread() == 0) {
        v.drafts->tokens[t] = token;
        if (t == 0) {
            v.drafts->position = state->position;
            v.drafts->count = count;
        }
    }
}
