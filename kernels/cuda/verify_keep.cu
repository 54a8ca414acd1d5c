// Keys and values of a pass to an int8 cache.
//
// Launch: TOKENS blocks, THREADS threads.
#include "attention.cuh"
#include "verify.cuh"

extern "C" __global__ void __launch_bounds__(THREADS) verify_keep(Buffers b, Verify v, u32 index) {
    launch_dependents();
    wait_for_previous();
    const u32 t = blockIdx.x, position = v.drafts->position + t;
    if (t >= v.drafts->count) return;
    const float* kept = v.kept + t * 2 * KV_WIDTH;
    // Whole warps: a head is groups of 32.
    for (int e = thread(); e < KV_WIDTH; e += THREADS) {
        const int head = e / QA_HEAD_DIM, d = e % QA_HEAD_DIM;
        keep(cache_of(b.keys, b, index, head), position, d, kept[e]);
        keep(cache_of(b.values, b, index, head), position, d, kept[KV_WIDTH + e]);
    }
}
