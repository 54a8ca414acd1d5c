// The next token: the likeliest of all, or the one that is given; delivered to the host, and the sequence moved on.
//
// Launch: one block, THREADS threads.
#include "sequence.cuh"

extern "C" __global__ void __launch_bounds__(THREADS) advance(Buffers b) {
    __shared__ Candidate scratch[WARPS];
    launch_dependents();
    wait_for_previous();
    const u32 best = likeliest(b, b.candidate_count, scratch);
    if (thread() == 0) {
        Cursor cursor;
        cursor.load(b.state);
        cursor.advance(b, best, true);
        cursor.store(b.state);
    }
}
