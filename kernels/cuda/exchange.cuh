// Values from some blocks of a resident grid to all, each with its readiness beside it.
//
// A quad is four neighbouring values and the epoch in which they were written, in 16 bytes that are stored and loaded as one
// (`b128`, which PTX promises to be a single access). Whoever needs a value polls its quad until the epoch is the one it
// waits for: one trip through L2, and no fence, since a quad carries everything it promises. The values have 24 of the 32
// bits of a float, 16 of them significant. That is 2^8 times what int8 vectors keep, and nothing is summed up in it: who
// owns a row of the residual stream keeps it whole. An octet is eight values as the int8 that they are multiplied as. Words are
// the same for one value, whole, in 8 bytes.
//
// Epochs only grow, over launches too; the host makes a jump after a launch that was given up.
//
// A buffer may be written again as soon as everybody has read it. That holds here because every block has rows in every
// phase (the host clamps the grid to that): whoever has all values of a phase knows that all blocks have finished the phases
// before it, and between two uses of each buffer lie at least two such exchanges.
//
// A launch must have all its blocks resident. Whoever polls beyond the limit raises `State::abort` and goes on with what is
// there, so that a fault ends the launch with an error in place of hanging the card; the host discards the results.
#pragma once
#include "model.cuh"

// Polls before an exchange is given up: some seconds.
constexpr u32 POLL_LIMIT = 4u << 20;

// What all blocks poll is published in so many copies, and a block polls one of them: lines that everybody asks for are queued
// for, by those that write them too. The copies lie apart by their quads and a line.
constexpr int COPIES = 4;
static_assert(COPIES == 4, "four lanes publish a quad");
constexpr int copy_stride(int count) { return count + 8; }

// What is stored and loaded as one: an epoch and 12 bytes.
struct __align__(16) Sixteen {
    u64 low, high;

    DEVICE void forget(u32 epoch) { low = epoch - 1; }
    DEVICE u32 epoch() const { return (u32)low; }
};

DEVICE void publish(Sixteen* to, u32 epoch, u32 a, u32 b, u32 c) {
    asm volatile("{ .reg .b128 q; mov.b128 q, {%1, %2}; st.relaxed.gpu.global.b128 [%0], q; }" ::"l"(to),
                 "l"((u64)a << 32 | epoch), "l"((u64)c << 32 | b)
                 : "memory");
}

DEVICE void look(const Sixteen* from, Sixteen& to) {
    asm volatile("{ .reg .b128 q; ld.relaxed.gpu.global.b128 q, [%2]; mov.b128 {%0, %1}, q; }"
                 : "=l"(to.low), "=l"(to.high)
                 : "l"(from)
                 : "memory");
}

// Four values.
struct Quad : Sixteen {
    DEVICE float4 values() const {
        const u32 a = (u32)(low >> 32), b = (u32)high, c = (u32)(high >> 32);
        const u32 d = __byte_perm(__byte_perm(c, b, 0x0040), a, 0x0410) << 8;
        return make_float4(__uint_as_float(a & ~0xffu), __uint_as_float(b & ~0xffu), __uint_as_float(c & ~0xffu),
                           __uint_as_float(d));
    }
};

// The last value's three bytes take the place of the lowest byte of each of the others. Cutting them off never makes a
// number of what is none, or the reverse but for infinity.
DEVICE void publish_quad(Quad* quad, float4 v, u32 epoch) {
    const u32 last = __float_as_uint(v.w);
    const u32 a = (__float_as_uint(v.x) & ~0xffu) | last >> 24;
    const u32 b = (__float_as_uint(v.y) & ~0xffu) | (last >> 16 & 0xff);
    const u32 c = (__float_as_uint(v.z) & ~0xffu) | (last >> 8 & 0xff);
    publish(quad, epoch, a, b, c);
}

// Eight values as int8 with a scale of their own: code times scale.
struct Octet : Sixteen {
    DEVICE float scale() const { return __uint_as_float((u32)(low >> 32)); }
    DEVICE uint2 codes() const { return make_uint2((u32)high, (u32)(high >> 32)); }
};

// Rounded as `Activations::store` does, and no number makes all eight none.
DEVICE void publish_octet(Octet* octet, float4 v, float4 w, u32 epoch) {
    const float most = larger(larger(larger(fabsf(v.x), fabsf(v.y)), larger(fabsf(v.z), fabsf(v.w))),
                              larger(larger(fabsf(w.x), fabsf(w.y)), larger(fabsf(w.z), fabsf(w.w))));
    const float inverse = most > 1e-30f ? 127.0f * reciprocal(most) : 0.0f;
    publish(octet, epoch, __float_as_uint(most <= 1e-30f ? 0.0f : most * (1.0f / 127.0f)), four_codes(v, inverse),
            four_codes(w, inverse));
}

// The values of four neighbouring lanes as a quad of the first of QUADS, a copy a lane. All lanes of a warp call together.
template <int QUADS>
DEVICE void publish_quads(Quad* quad, float value, u32 epoch, bool there) {
    const int lane = thread() % 32, first = lane & ~3;
    float4 v;
    v.x = __shfl_sync(~0u, value, first);
    v.y = __shfl_sync(~0u, value, first + 1);
    v.z = __shfl_sync(~0u, value, first + 2);
    v.w = __shfl_sync(~0u, value, first + 3);
    if (!there) return;
    publish_quad(quad + lane % 4 * copy_stride(QUADS), v, epoch);
}

// The copy that this block polls.
template <int COUNT, class Item>
DEVICE const Item* own_copy(const Item* items) {
    return items + block_index() % COPIES * copy_stride(COUNT);
}

// A value whole.
DEVICE void publish(u64* word, float value, u32 epoch) {
    asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(word), "l"((u64)epoch << 32 | __float_as_uint(value)) : "memory");
}

struct Word {
    u64 bits;
    DEVICE void forget(u32 epoch) { bits = (u64)(epoch - 1) << 32; }
    DEVICE u32 epoch() const { return (u32)(bits >> 32); }
    DEVICE float value() const { return __uint_as_float((u32)bits); }
    DEVICE u32 id() const { return (u32)bits; }
};

DEVICE void look(const u64* word, Word& to) {
    asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(to.bits) : "l"(word) : "memory");
}

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

// COUNT quads or words, number i at `from(i)`, once all are of the epoch. `wanted(i)` says which there are. All lanes of a warp
// call together, and go on together: lanes that left the loop one by one would take turns from there on. With ONE_FIRST a lane
// polls its first alone until it is there, where all of them at every poll would queue.
template <bool ONE_FIRST = false, class Item, int COUNT, class From, class Wanted>
DEVICE void receive(Item (&to)[COUNT], u32 epoch, Patience patience, From from, Wanted wanted) {
    bool all;
#pragma unroll
    for (int i = 0; i < COUNT; i++) to[i].forget(epoch);
    if (ONE_FIRST) {
        do {
            if (wanted(0) && to[0].epoch() != epoch) look(from(0), to[0]);
            all = !wanted(0) || to[0].epoch() == epoch;
        } while (!__all_sync(~0u, all || patience.ends()));
    }
    do {
        all = true;
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            if (wanted(i) && to[i].epoch() != epoch) look(from(i), to[i]);
        }
#pragma unroll
        for (int i = 0; i < COUNT; i++) all &= !wanted(i) || to[i].epoch() == epoch;
    } while (!__all_sync(~0u, all || patience.ends()));
}
