// Values from some blocks of a resident grid to all, each with its readiness beside it.
//
// A word is a value and the epoch in which it was written, in 8 bytes that are stored and loaded as one. Whoever needs a
// value polls its word until the epoch is the one it waits for: one trip through L2, and no fence, since a word carries
// everything it promises. Epochs only grow, over launches too; the host makes a jump after a launch that was given up.
//
// A buffer may be written again as soon as everybody has read it. That holds here because every block has rows in every
// phase (the host clamps the grid to that): whoever has all values of a phase knows that all blocks have finished the phases
// before it. Between two uses of each buffer lie at least two such exchanges. (The down projection is cut in two: who sums
// the second half waits for that half only, and writes what nobody reads before the next block of the model, whose output
// projection nobody begins before all have come that far.)
//
// A launch must have all its blocks resident. Whoever polls beyond the limit raises `State::abort` and goes on with what is
// there, so that a fault ends the launch with an error in place of hanging the card; the host discards the results.
#pragma once
#include "model.cuh"

// Polls before an exchange is given up: some seconds.
constexpr u32 POLL_LIMIT = 4u << 20;

DEVICE void publish(u64* word, float value, u32 epoch) {
    asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(word), "l"((u64)epoch << 32 | __float_as_uint(value)) : "memory");
}

DEVICE void look(const u64* words, u64& first, u64& second) {
    asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];" : "=l"(first), "=l"(second) : "l"(words) : "memory");
}

DEVICE float value_of(u64 word) { return __uint_as_float((u32)word); }

// Counts polls, and says when to give up. `given_up` is this block's own, in shared memory.
struct Patience {
    State* state;
    volatile u32* given_up;
    u32 polls;

    DEVICE bool ends() {
        polls++;
        if (polls % 1024 != 0 || *given_up) return *given_up != 0;
        if (polls > POLL_LIMIT) *(volatile u32*)&state->abort = 1;
        if (*(volatile u32*)&state->abort == 0) return false;
        *given_up = 1;
        return true;
    }
};

// PAIRS pairs of words, pair i at `words(i)`, once all are of the epoch. `wanted(i)` says which pairs there are. All lanes of
// a warp call together, and go on together: lanes that left the loop one by one would take turns from there on.
template <int PAIRS, class Words, class Wanted>
DEVICE void receive(u64 (&to)[PAIRS][2], u32 epoch, Patience patience, Words words, Wanted wanted) {
    bool all;
    auto is_there = [&](int i) { return (u32)(to[i][0] >> 32) == epoch && (u32)(to[i][1] >> 32) == epoch; };
#pragma unroll
    for (int i = 0; i < PAIRS; i++) to[i][0] = to[i][1] = (u64)(epoch - 1) << 32;
    do {
        all = true;
#pragma unroll
        for (int i = 0; i < PAIRS; i++) {
            if (wanted(i) && !is_there(i)) look(words(i), to[i][0], to[i][1]);
        }
#pragma unroll
        for (int i = 0; i < PAIRS; i++) {
            if (wanted(i)) all &= is_there(i);
        }
    } while (!__all_sync(~0u, all || patience.ends()));
}
