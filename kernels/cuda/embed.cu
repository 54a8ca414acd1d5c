// Tokens to rows of the residual stream: residual[t] = embedding[token t].
//
// Launch: a block a token, any number of threads. Formats: any.
#include "sequence.cuh"

extern "C" __global__ void embed_tokens(Buffers b, Pass pass) {
    launch_dependents();
    wait_for_previous();
    const u32 t = blockIdx.x;
    const u32 token = pass.prompt ? b.forced[pass.start + t] : *(volatile u32*)&b.state->token;
    embed(b.embedding, token, b.residual + (u64)t * QA_HIDDEN, thread(), blockDim.x);
}
