// Attention of many tokens' rotated queries over the cache, causal: token t sees the positions up to its own. The pieces
// and their merging are those of the kernels for one token, so the bits are too.
//
// Launch: HEADS x tokens blocks, THREADS threads.
#include "attention.cuh"

extern "C" __global__ void __launch_bounds__(THREADS) attention_prompt(Buffers b, Pass pass, u32 layer) {
    __shared__ AttentionShared shared;
    __shared__ __align__(16) float pieces[QA_SPLITS][PIECE];
    wait_for_previous();
    const int head = blockIdx.x, token = blockIdx.y;
    const int length = pass.start + token + 1, each = piece_length(length), count = piece_count(length);
    const float* query = b.qkv + (u64)token * QKV_WIDTH + head * QA_HEAD_DIM;
    for (int d = thread(); d < QA_HEAD_DIM; d += THREADS) shared.query[d] = query[d];
    __syncthreads();
    for (int piece = 0; piece < count; piece++) {
        const int to = (piece + 1) * each < length ? (piece + 1) * each : length;
        attend<false>(shared, cache_of(b.keys, b, layer, head / GROUP_SIZE),
                      cache_of(b.values, b, layer, head / GROUP_SIZE), piece * each, to, -1, pieces[piece]);
        __syncthreads();
    }
    using Vector = Activations<QUERY_WIDTH, OUT_SET>;
    if (thread() < QA_HEAD_DIM / 4) {
        const float4 v = merge_pieces(count, 4 * thread(), [&](int s, int i) { return *(const float4*)&pieces[s][i]; });
        Vector::store(b.attended + (u64)token * Vector::BYTES, head * QA_HEAD_DIM / 4 + thread(), v);
    }
}
