// One transformer block in one launch (phases.cuh), from and to the residual stream in global memory.
//
// Launch: as decode.cu, without room for the layers' addresses.
#include "phases.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1) block(Buffers b, Layer layer, u32 layer_index) {
    if (thread() == 0) {
        begin_launch(b);
        context.layer = layer;
        context.layer_index = layer_index;
    }
    for (int i = thread(); i < QA_HIDDEN; i += THREADS) residual_before_attention()[i] = load_shared_value(b.residual + i);
    __syncthreads();
    fused_block(true, nullptr);
    const u32 epoch = epoch_after(5);
    __syncthreads();
    if (thread() == 0) {
        context.epoch = epoch;
        context.syncs = 5;
    }
    if (block_index() == 0) {
        // The kernels after this one read the residual stream without epochs.
        for (int first = thread() / 32 * 32; first < QA_HIDDEN / 2; first += THREADS) {
            const int i = first + thread() % 32;
            u64 words[2][2];
            receive(words, epoch, patience(), [&](int part) { return b.residual_words + part * QA_HIDDEN + 2 * i; },
                    [&](int) { return i < QA_HIDDEN / 2; });
            if (i >= QA_HIDDEN / 2) continue;
            *(float2*)(b.residual + 2 * i) = make_float2(value_of(words[0][0]) + value_of(words[1][0]),
                                                         value_of(words[0][1]) + value_of(words[1][1]));
        }
        __syncthreads();
    }
    end_launch();
}
