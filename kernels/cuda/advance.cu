// The next token: the likeliest of all, or the one that is given; delivered to the host, and the sequence moved on.
//
// -DQA_SAMPLED=1: the likeliest's place is taken by one drawn as `State::sampling` says. Launch: one block, THREADS threads.
#include "sampling.cuh"

extern "C" __global__ void __launch_bounds__(THREADS) advance(Buffers b) {
    __shared__ Candidate scratch[WARPS];
    launch_dependents();
    wait_for_previous();
    u32 best = likeliest(b, b.candidate_count, scratch);
#if QA_SAMPLED
    __shared__ SamplingShared sampling;
    best = draw(b, best, b.state->position + 1, sampling);
#endif
    if (thread() == 0) {
        Cursor cursor;
        cursor.load(b.state);
        cursor.advance(b, best, true);
        cursor.store(b.state);
    }
}
