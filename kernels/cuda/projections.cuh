// The matrix products of a block, with what is fused to them. Each takes where its vectors are, so that an unfused kernel
// hands in global memory and a fused one shared memory.
#pragma once
#include "model.cuh"
#include "rows.cuh"

// A product's result goes to `out`, in place or added to what is there (the residual stream).
struct Result {
    const float* bias;
    float* out;
    bool add;

    DEVICE void operator()(int row, float value) const {
        if (thread() % 32 != 0) return;
        if (bias) value += bias[row];
        out[row] = add ? load_shared_value(out + row) + value : value;
    }
};

// Rows of `weight` [rows, COLUMNS] times one vector. `share` says which rows are this warp's.
template <u32 FORMAT_SET, int COLUMNS, u32 VECTOR_SET, class Ready>
DEVICE void multiply(const Tensor& weight, Share share, const u8* vector, Ready&& ready, Result result) {
    with_format<FORMAT_SET>(weight.format, [&](auto tag) {
        constexpr int FORMAT = decltype(tag)::format;
        const u8* data = weight.data;
        multiply_rows<FORMAT, COLUMNS, VECTOR_SET, 1, 1>(
            share, [&](int u, int) { return data + (u64)u * row_bytes(FORMAT, COLUMNS); }, vector, 0, ready,
            [&](int u, const float(&sums)[1][1]) { result(u, sums[0][0]); });
    });
}

// Calls a function the first time only.
template <class Ready>
struct Once {
    Ready& ready;
    bool done;
    DEVICE void operator()() {
        if (!done) ready();
        done = true;
    }
};

// The share that falls to this warp of `rows` rows which follow `before` others in one list.
DEVICE Share share_after(int before, int rows) {
    Share all = share_of_grid(before + rows);
    int first = all.first - before;
    if (first < 0) first += (-first + all.stride - 1) / all.stride * all.stride;
    return {first, rows, all.stride};
}

// Queries, keys and values of one token as one list of rows, to `qkv`, before rotation.
template <class Ready>
DEVICE void project_qkv(const Layer& layer, const u8* vector, float* qkv, Ready&& ready) {
    const Share query = share_after(0, QUERY_WIDTH);
    const Share key = share_after(QUERY_WIDTH, KV_WIDTH);
    const Share value = share_after(QUERY_WIDTH + KV_WIDTH, KV_WIDTH);
    // Warps have rows of different matrices, maybe in different formats: the barriers in `ready` are reached here together.
    ready();
    auto none = [] {};
    if (query.first < QUERY_WIDTH) {
        multiply<QA_QKV, QA_HIDDEN, HIDDEN_SET>(layer.query, query, vector, none, {layer.query_bias, qkv, false});
    }
    if (key.first < KV_WIDTH) {
        multiply<QA_QKV, QA_HIDDEN, HIDDEN_SET>(layer.key, key, vector, none,
                                                {layer.key_bias, qkv + QUERY_WIDTH, false});
    }
    if (value.first < KV_WIDTH) {
        multiply<QA_QKV, QA_HIDDEN, HIDDEN_SET>(layer.value, value, vector, none,
                                                {layer.value_bias, qkv + QUERY_WIDTH + KV_WIDTH, false});
    }
}

DEVICE float silu(float x) { return x / (1.0f + expf(-x)); }

// silu(gate x) * (up x) of `TOKENS` vectors, to `inner` [tokens, INTER]; rows beyond `tokens` are not written.
template <u32 FORMAT_SET, int TOKENS, class Ready>
DEVICE void gate_and_up(const Tensor& gate, const Tensor& up, const u8* vectors, u32 vector_stride, float* inner,
                        int tokens, Ready&& ready) {
    const Share share = share_of_grid(QA_INTER);
    const int lane = thread() % 32;
    if (gate.format == up.format) {
        with_format<FORMAT_SET>(gate.format, [&](auto tag) {
            constexpr int FORMAT = decltype(tag)::format;
            const u8 *gates = gate.data, *ups = up.data;
            multiply_rows<FORMAT, QA_HIDDEN, HIDDEN_SET, 2, TOKENS>(
                share,
                [&](int u, int r) { return (r == 0 ? gates : ups) + (u64)u * row_bytes(FORMAT, QA_HIDDEN); }, vectors,
                vector_stride, ready, [&](int u, const float(&sums)[2][TOKENS]) {
#pragma unroll
                    for (int t = 0; t < TOKENS; t++) {
                        if (lane == t && t < tokens) inner[(u64)t * QA_INTER + u] = silu(sums[0][t]) * sums[1][t];
                    }
                });
        });
    } else if constexpr ((FORMAT_SET & (FORMAT_SET - 1)) != 0) {
        // Formats differ: one after the other. The lane that writes a value reads it again.
        Once<Ready> once{ready, false};
#pragma unroll 1
        for (int r = 0; r < 2; r++) {
            const Tensor& weight = r == 0 ? gate : up;
            with_format<FORMAT_SET>(weight.format, [&](auto tag) {
                constexpr int FORMAT = decltype(tag)::format;
                multiply_rows<FORMAT, QA_HIDDEN, HIDDEN_SET, 1, TOKENS>(
                    share, [&](int u, int) { return weight.data + (u64)u * row_bytes(FORMAT, QA_HIDDEN); }, vectors,
                    vector_stride, once, [&](int u, const float(&sums)[1][TOKENS]) {
#pragma unroll
                        for (int t = 0; t < TOKENS; t++) {
                            if (lane == t && t < tokens) {
                                float* at = inner + (u64)t * QA_INTER + u;
                                *at = r == 0 ? silu(sums[0][t]) : *at * sums[0][t];
                            }
                        }
                    });
            });
        }
    }
}

// The likelier of two candidates; the lowest id wins a tie.
DEVICE Candidate likelier(const Candidate& a, const Candidate& b) {
    return b.logit > a.logit || (b.logit == a.logit && b.id < a.id) ? b : a;
}

// No token: where no logit is a number.
constexpr u32 NO_TOKEN = 0xffffffffu;

DEVICE Candidate likeliest_of_warp(Candidate best) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        best = likelier(best, {__shfl_xor_sync(~0u, best.logit, offset), __shfl_xor_sync(~0u, best.id, offset)});
    }
    return best;
}

// Logits of one vector; this block's likeliest token to `candidates[blockIdx.x]`, all of them to `logits` unless null
// (`ready` may still set it).
template <class Ready>
DEVICE void project_head(const Buffers& b, const u8* vector, float* const& logits, Candidate* scratch, Ready&& ready) {
    Candidate best = {-INFINITY, NO_TOKEN};
    with_format<QA_HEAD>(b.head.format, [&](auto tag) {
        constexpr int FORMAT = decltype(tag)::format;
        const u8* data = b.head.data;
        multiply_rows<FORMAT, QA_HIDDEN, HIDDEN_SET, 1, 1>(
            share_of_grid(QA_VOCAB), [&](int u, int) { return data + (u64)u * row_bytes(FORMAT, QA_HIDDEN); }, vector, 0,
            ready, [&](int u, const float(&sums)[1][1]) {
                best = likelier(best, {sums[0][0], (u32)u});
                if (logits && thread() % 32 == 0) logits[u] = sums[0][0];
            });
    });
    if (thread() % 32 == 0) scratch[thread() / 32] = best;
    __syncthreads();
    if (thread() == 0) {
        for (int w = 1; w < blockDim.x / 32; w++) best = likelier(best, scratch[w]);
        b.candidates[blockIdx.x] = best;
    }
}
