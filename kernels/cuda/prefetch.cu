// Asks for a range of weights before it is needed: bytes go from memory to L2 and nobody waits for them.
//
// Launch: any number of whole warps.
#include "prelude.cuh"

extern "C" __global__ void prefetch(const u8* from, u64 bytes) {
    constexpr u64 PIECE = 4096;
    const u64 warps = gridDim.x * blockDim.x / 32;
    for (u64 at = (blockIdx.x * blockDim.x + threadIdx.x) / 32 * PIECE; at < bytes; at += warps * PIECE) {
        prefetch_row(from + at, (u32)(bytes - at < PIECE ? (bytes - at) / 16 * 16 : PIECE));
    }
}
