// Attention of the tokens of a pass over the cache, each up to itself. Of a sequence that is one piece a block has a whole
// head, and makes its part of the vector for the output projection; of others `verify_merge` does.
//
// Launch: HEADS x (TOKENS or SPLITS TOKENS) blocks, THREADS threads.
#include "attention.cuh"
#include "verify.cuh"

extern "C" __global__ void __launch_bounds__(THREADS) verify_attention(Buffers b, Verify v, u32 index) {
    __shared__ AttentionShared shared;
    __shared__ __align__(16) float sums[PIECE];
    launch_dependents();
    wait_for_previous();
    const int head = blockIdx.x, piece = blockIdx.y / TOKENS, t = blockIdx.y % TOKENS;
    const int length = v.drafts->position + t + 1, each = piece_length(length);
    if (t >= v.drafts->count || piece >= piece_count(length)) return;
    const int to = (piece + 1) * each < length ? (piece + 1) * each : length;
    const bool whole = gridDim.y == TOKENS;
    float* left = whole ? sums : v.pieces + ((t * QA_HEADS + head) * QA_SPLITS + piece) * PIECE;
    attend<false, 4>(shared, cache_of(b.keys, b, index, head / GROUP_SIZE), cache_of(b.values, b, index, head / GROUP_SIZE),
                     piece * each, to, -1,
                     [&] {
                         for (int d = thread(); d < QA_HEAD_DIM; d += THREADS) {
                             shared.query[d] = v.queries[t * QUERY_WIDTH + head * QA_HEAD_DIM + d];
                         }
                         __syncthreads();
                     },
                     PieceTo{left});
    if (!whole) return;
    __syncthreads();
    constexpr int QUADS = QA_HEAD_DIM / 4;
    if (thread() >= (QUADS + 31) / 32 * 32) return;
    const bool there = thread() < QUADS;
    const int d = there ? 4 * thread() : 0;
    const float4 value = merge_pieces(1, d, [&](int, int i) { return *(const float4*)(sums + i); });
    using Vector = Activations<QUERY_WIDTH, OUT_SET>;
    Vector::store(v.attended + t * Vector::BYTES, head * QUADS + thread(), value, there);
}
