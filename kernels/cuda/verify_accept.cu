// What a pass gives: the likeliest token after the certain one, and after each draft for as long as drafts are what was
// likeliest. Each is delivered to the host, and the sequence moved on.
//
// Launch: one block, THREADS threads.
#include "sequence.cuh"
#include "verify.cuh"

extern "C" __global__ void __launch_bounds__(THREADS) verify_accept(Buffers b, Verify v, u32 blocks) {
    __shared__ u32 likeliest_after[TOKENS];
    launch_dependents();
    wait_for_previous();
    static_assert(TOKENS <= WARPS, "a warp a token");
    const u32 t = thread() / 32;
    if (t < TOKENS) {
        Candidate best = {-INFINITY, NO_TOKEN};
        for (u32 i = thread() % 32; i < blocks; i += 32) {
            const volatile Candidate& c = v.candidates[i * TOKENS + t];
            best = likelier(best, {c.logit, c.id});
        }
        best = likeliest_of_warp(best);
        if (thread() % 32 == 0) likeliest_after[t] = best.id;
    }
    __syncthreads();
    if (thread() > 0) return;
    Cursor cursor;
    cursor.load(b.state);
    const u32 count = v.drafts->count;
    for (u32 i = 0; i < count; i++) {
        cursor.advance(b, likeliest_after[i], true);
        if (cursor.stopped || (i + 1 < count && cursor.token != v.drafts->tokens[i + 1])) break;
    }
    cursor.store(b.state);
}
