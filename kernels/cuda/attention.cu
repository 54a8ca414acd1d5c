// Attention of one token's rotated queries over the cache, in pieces of the sequence.
//
//   pieces[head, piece] = (max, sum, sum of values) of the positions of that piece
//
// Launch: HEADS x SPLITS blocks, THREADS threads; blocks beyond the pieces of the present length have nothing to do.
#include "attention.cuh"

extern "C" __global__ void __launch_bounds__(THREADS) attention(Buffers b, Pass pass, u32 layer) {
    __shared__ AttentionShared shared;
    launch_dependents();
    wait_for_previous();
    const int head = blockIdx.x, piece = blockIdx.y;
    const int length = position_of(b, pass, 0) + 1, each = piece_length(length);
    if (piece >= piece_count(length)) return;
    const int to = (piece + 1) * each < length ? (piece + 1) * each : length;
    attend<false, 4>(shared, cache_of(b.keys, b, layer, head / GROUP_SIZE), cache_of(b.values, b, layer, head / GROUP_SIZE),
                  piece * each, to, -1,
                  [&] {
                      for (int d = thread(); d < QA_HEAD_DIM; d += THREADS) shared.query[d] = b.qkv[head * QA_HEAD_DIM + d];
                      __syncthreads();
                  },
                  PieceTo{b.pieces + (head * QA_SPLITS + piece) * PIECE});
}
