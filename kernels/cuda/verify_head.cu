// The last norm and the head of a pass: the likeliest token after each among a block's rows. All logits where they are kept:
// those after token t in row State::produced + t of them.
//
// Launch: any number of blocks, VERIFY_THREADS threads; dynamic shared memory for the vectors.
#include "verify.cuh"

extern "C" __global__ void __launch_bounds__(VERIFY_THREADS, VERIFY_BLOCKS) verify_head(Buffers b, Verify v) {
    extern __shared__ __align__(16) u8 vectors[];
    __shared__ Candidate best_of[VERIFY_WARPS][2 * TOKENS];
    launch_dependents();
    const Mine<2> mine;
    Candidate best = {-INFINITY, NO_TOKEN};
    float* logits = nullptr;
    const auto ready = [&] {
        normalize_tokens(b.residual, b.output_norm, vectors, WaitForPrevious{});
        const volatile State* state = b.state;
        if (b.logits && state->keep_logits && mine.first && mine.token < v.drafts->count) {
            logits = b.logits + (u64)(state->produced + mine.token) * QA_VOCAB;
        }
    };
    with_format<QA_HEAD>(b.head.format, [&](auto tag) {
        constexpr int FORMAT = decltype(tag)::format;
        const u8* data = b.head.data;
        // An odd vocabulary's last row is computed twice.
        const auto row_of = [](int u, int r) { return 2 * u + r < QA_VOCAB ? 2 * u + r : QA_VOCAB - 1; };
        multiply_tokens<FORMAT, QA_HIDDEN, HIDDEN_SET, 2>(
            share_of_grid((QA_VOCAB + 1) / 2),
            [&](int u, int r) { return data + (u64)row_of(u, r) * row_bytes(FORMAT, QA_HIDDEN); }, vectors, ready,
            [&](int u, float logit) {
                const int row = row_of(u, mine.row);
                best = likelier(best, {logit, (u32)row});
                if (logits) logits[row] = logit;
            });
    });
    if (mine.first) best_of[thread() / 32][mine.row * TOKENS + mine.token] = best;
    __syncthreads();
    if (thread() >= TOKENS) return;
    best = best_of[0][thread()];
    for (int w = 0; w < VERIFY_WARPS; w++) {
        for (int r = 0; r < 2; r++) best = likelier(best, best_of[w][r * TOKENS + thread()]);
    }
    v.candidates[blockIdx.x * TOKENS + thread()] = best;
}
