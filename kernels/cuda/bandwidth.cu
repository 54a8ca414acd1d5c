// Reads a range once, as fast as the card can: the bandwidth that everything else is held against.
//
// Launch: any number of blocks and threads. `sums` receives a word a thread, so that no load can be left out.
#include "prelude.cuh"

extern "C" __global__ void bandwidth(const u8* from, u64 bytes, u32* sums) {
    const u64 threads = (u64)gridDim.x * blockDim.x, index = (u64)blockIdx.x * blockDim.x + thread();
    u32 sum = 0;
    for (u64 at = index * 16; at + 3 * threads * 16 < bytes; at += 4 * threads * 16) {
        uint4 v[4];
#pragma unroll
        for (int i = 0; i < 4; i++) v[i] = load_weights_16(from + at + i * threads * 16);
#pragma unroll
        for (int i = 0; i < 4; i++) sum += v[i].x ^ v[i].y ^ v[i].z ^ v[i].w;
    }
    sums[index] = sum;
}
