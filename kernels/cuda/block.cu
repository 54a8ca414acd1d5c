// A whole transformer block in one launch (the megakernel of one layer), for one token.
//
//   residual += attention(norm(residual)); residual += feed_forward(norm(residual))
//
// Launch: cooperative, at most as many blocks as are resident at once, THREADS threads, VECTOR_BYTES of dynamic shared
// memory. Formats: any, each role's set fixed at compile time.
#include "phases.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1) block(Buffers b, Layer layer, u32 layer_index) {
    if (thread() == 0) {
        context.b = b;
        context.layer = layer;
        context.layer_index = layer_index;
        context.position = *(volatile u32*)&b.state->position;
        context.barrier.begin(b.state);
    }
    __syncthreads();
    fused_block(false, nullptr);
    context.barrier.wait();
    context.barrier.finish();
}
