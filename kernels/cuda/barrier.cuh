// A barrier across a grid of which every block is resident.
//
// One counter that only grows: arrivals are never reset while somebody may still be on the way. A block first arrives,
// then may begin what does not depend on the others, then waits. Whoever waits beyond the spin limit raises `abort` and
// goes on, so that a fault ends the launch with an error in place of hanging the card; results are then worthless, and
// the host says so.
#pragma once
#include "model.cuh"

// Polls before a barrier is given up: some seconds.
constexpr u32 SPIN_LIMIT = 4u << 20;

// Lies in shared memory; one thread of the block counts.
struct GridBarrier {
    State* state;
    u32 target;
    u32 syncs;

    // `epoch` is read by every block before it arrives for the first time, and written at the end by one that has seen
    // all of them arrive. One thread calls; the block synchronises before it goes on.
    DEVICE void begin(State* of) {
        state = of;
        target = *(volatile u32*)&of->epoch;
        syncs = 0;
    }

    // What this block wrote is visible to whoever has waited.
    DEVICE void arrive() {
        __syncthreads();
        if (thread() == 0) {
            asm volatile("fence.acq_rel.gpu;" ::: "memory");
            asm volatile("red.relaxed.gpu.global.add.u32 [%0], 1;" ::"l"(&state->arrivals) : "memory");
        }
    }

    DEVICE void wait() {
        if (thread() == 0) {
            const u32 until = target + gridDim.x;
            target = until;
            syncs++;
            u32 polls = 0, seen;
            while (true) {
                asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(&state->arrivals) : "memory");
                if ((int)(seen - until) >= 0) break;
                if (++polls > SPIN_LIMIT || (polls % 1024 == 0 && *(volatile u32*)&state->abort)) {
                    *(volatile u32*)&state->abort = 1;
                    break;
                }
            }
        }
        __syncthreads();
    }

    DEVICE void sync() {
        arrive();
        wait();
    }

    // After the last wait: leaves the counters for the next launch.
    DEVICE void finish() {
        if (blockIdx.x == 0 && thread() == 0) {
            *(volatile u32*)&state->epoch = target;
            state->syncs += syncs;
        }
    }
};
