// One transformer block in one launch (phases.cuh), from and to the residual stream in global memory.
//
// Launch: as decode.cu.
#define QA_KEEP_INDICES
#include "phases.cuh"

extern "C" __global__ void __launch_bounds__(RING_THREADS, 1) block(Buffers b, Layer layer, u32 layer_index) {
    if (thread() == 0) {
        begin_launch(b, layer_index);
        *local_layers() = layer;
    }
    __syncthreads();
    if (fills()) {
        if (is_idle_lane()) return;
        Filler filler{context.ring, dynamic};
        fill_block(filler, *local_layers());
        filler.drain();
        return;
    }
    for (int i = thread(); i < QA_HIDDEN; i += THREADS) embedded()[i] = load_shared_value(b.residual + i);
    sync_block();
    keep_own();
    sync_block();
    Place at = {LAYERS_AT, context.first_epoch, 0};
    fused_block(at, true);
    // The kernels after this one read the residual stream without epochs, and whole.
    sync_block();
    const Rows own = context.hidden;
    for (int i = thread(); i < own.count; i += THREADS) b.residual[own.first + i] = own_residual()[i];
    end_launch(at.epoch);
}
