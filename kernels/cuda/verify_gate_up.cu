// The norm and the gated half of the feed-forward of a pass, as the vectors that the down projection needs. A block makes a
// group of 32 inner values of each token, and so has what a group's scale depends on.
//
// Launch: INTER / 32 blocks, VERIFY_THREADS threads; dynamic shared memory for the vectors.
#include "verify.cuh"

extern "C" __global__ void __launch_bounds__(VERIFY_THREADS, VERIFY_BLOCKS)
    verify_gate_up(Verify v, const float* residual, const float* weight, Tensor gate, Tensor up) {
    using Vector = Activations<QA_INTER, INNER_SET>;
    // Pairs of rows of a block's part of either matrix.
    constexpr int PAIRS = 16;
    extern __shared__ __align__(16) u8 vectors[];
    __shared__ __align__(16) float products[2][TOKENS][32];
    launch_dependents();
    const int first = blockIdx.x * 32, warp = thread() / 32;
    const auto ready = [&] { normalize_tokens(residual, weight, vectors, WaitForPrevious{}); };
    const auto keep = [&](int matrix, int pair, float value) {
        const Mine<2> mine;
        if (mine.first) products[matrix][mine.token][2 * pair + mine.row] = value;
    };
    with_format<QA_GATE_UP>(gate.format, [&](auto tag) {
        constexpr int FORMAT = decltype(tag)::format;
        const u8 *gates = gate.data, *ups = up.data;
        if (gate.format == up.format) {
            multiply_tokens<FORMAT, QA_HIDDEN, HIDDEN_SET, 2>(
                {warp, 2 * PAIRS, VERIFY_WARPS},
                [&](int u, int r) {
                    return (u < PAIRS ? gates : ups) + (u64)(first + u % PAIRS * 2 + r) * row_bytes(FORMAT, QA_HIDDEN);
                },
                vectors, ready, [&](int u, float value) { keep(u / PAIRS, u % PAIRS, value); });
        } else if constexpr ((QA_GATE_UP & (QA_GATE_UP - 1)) != 0) {
            multiply_tokens<FORMAT, QA_HIDDEN, HIDDEN_SET, 2>(
                {warp, PAIRS, VERIFY_WARPS},
                [&](int u, int r) { return gates + (u64)(first + 2 * u + r) * row_bytes(FORMAT, QA_HIDDEN); }, vectors,
                ready, [&](int u, float value) { keep(0, u, value); });
            with_format<QA_GATE_UP>(up.format, [&](auto other) {
                constexpr int UP = decltype(other)::format;
                multiply_tokens<UP, QA_HIDDEN, HIDDEN_SET, 2>(
                    {warp, PAIRS, VERIFY_WARPS},
                    [&](int u, int r) { return ups + (u64)(first + 2 * u + r) * row_bytes(UP, QA_HIDDEN); }, vectors,
                    [] {}, [&](int u, float value) { keep(1, u, value); });
            });
        }
    });
    __syncthreads();
    if (thread() >= (8 * TOKENS + 31) / 32 * 32) return;
    const bool there = thread() < 8 * TOKENS;
    const int t = there ? thread() / 8 : 0, quad = thread() % 8;
    const float4 g = *(const float4*)&products[0][t][4 * quad], u = *(const float4*)&products[1][t][4 * quad];
    Vector::store(v.inner + t * Vector::BYTES, first / 4 + quad,
                  make_float4(silu(g.x) * u.x, silu(g.y) * u.y, silu(g.z) * u.z, silu(g.w) * u.w), there);
}
