// From a token to its vector, and from the logits to the next token.
#pragma once
#include "projections.cuh"

// Weights 4 i to 4 i + 3 to `to`, where i is known at run time only. A register cannot be indexed, so each i has its code.
template <int I = 0, int FORMAT>
DEVICE void store_weights(float* to, const Group<FORMAT>& group, const Affine& a, int i) {
    if constexpr (I < 8) {
        if (i == I) {
            *(float4*)to = weights<FORMAT>(group, a, I);
        } else {
            store_weights<I + 1>(to, group, a, i);
        }
    }
}

// One row of the embedding, expanded, to `to` in global memory. Any number of threads.
DEVICE void embed(const Tensor& embedding, u32 token, float* to, int from_thread, int threads) {
    // An id outside the vocabulary is an error that the host reports; it must not become a fault.
    const u64 row = token < QA_VOCAB ? token : 0;
    with_format<QA_EMBED>(embedding.format, [&](auto tag) {
        constexpr int FORMAT = decltype(tag)::format;
        for (int quad = from_thread; quad < QA_HIDDEN / 4; quad += threads) {
            const Group<FORMAT> group =
                load_group<FORMAT, QA_HIDDEN>(embedding.data + row * row_bytes(FORMAT, QA_HIDDEN), quad / 8);
            const Affine a = affine_or_none<FORMAT>(group);
            store_weights(to + 4 * quad, group, a, quad % 8);
        }
    });
}

// The likeliest token of all threads' candidates, in every thread. THREADS threads; `scratch` holds WARPS candidates.
DEVICE Candidate likeliest_of_block(Candidate best, Candidate* scratch) {
    best = likeliest_of_warp(best);
    sync_block();
    if (thread() % 32 == 0) scratch[thread() / 32] = best;
    sync_block();
    best = scratch[0];
#pragma unroll
    for (int w = 1; w < WARPS; w++) best = likelier(best, scratch[w]);
    return best;
}

// The likeliest token of all candidates in global memory, likewise.
DEVICE u32 likeliest(const Buffers& b, u32 count, Candidate* scratch) {
    Candidate best = {-INFINITY, NO_TOKEN};
    for (u32 i = thread(); i < count; i += THREADS) {
        const volatile Candidate& c = b.candidates[i];
        best = likelier(best, {c.logit, c.id});
    }
    return likeliest_of_block(best, scratch).id;
}

// Where a sequence stands. Every block of a resident grid keeps its own copy, and all copies stay equal.
struct Cursor {
    u32 position, token, produced;
    bool stopped;

    DEVICE void load(const State* state) {
        const volatile State* s = state;
        position = s->position;
        token = s->token;
        produced = s->produced;
        stopped = s->stopped != 0;
    }

    // Moves to the next position; `likeliest` is what the model says comes there, and is delivered if `deliver`.
    DEVICE void advance(const Buffers& b, u32 likeliest, bool deliver) {
        position++;
        token = position < b.state->forced ? b.forced[position] : likeliest;
#pragma unroll
        for (int i = 0; i < 4; i++) stopped |= likeliest == b.state->stop[i] && likeliest != NO_TOKEN;
        if (deliver) b.produced[produced] = likeliest + 1;
        produced++;
    }

    DEVICE void store(State* state) const {
        volatile State* s = state;
        s->position = position;
        s->token = token;
        s->produced = produced;
        s->stopped = stopped ? 1 : 0;
    }
};
