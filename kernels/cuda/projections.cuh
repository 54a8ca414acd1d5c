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
// `result(row, value)` in every lane.
template <u32 FORMAT_SET, int COLUMNS, u32 VECTOR_SET, class Ready, class Done>
DEVICE void multiply(const Tensor& weight, Share share, const u8* vector, Ready&& ready, Done result) {
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
        multiply<QA_QKV, QA_HIDDEN, HIDDEN_SET>(layer.query, query, vector, none,
                                                Result{layer.query_bias, qkv, false});
    }
    if (key.first < KV_WIDTH) {
        multiply<QA_QKV, QA_HIDDEN, HIDDEN_SET>(layer.key, key, vector, none,
                                                Result{layer.key_bias, qkv + QUERY_WIDTH, false});
    }
    if (value.first < KV_WIDTH) {
        multiply<QA_QKV, QA_HIDDEN, HIDDEN_SET>(layer.value, value, vector, none,
                                                Result{layer.value_bias, qkv + QUERY_WIDTH + KV_WIDTH, false});
    }
}

DEVICE float silu(float x) { return x / (1.0f + expf(-x)); }

// gate x and up x of `TOKENS` vectors: `done(row, t, gate, up)` in one lane for each vector t below `tokens`. `scratch(row, t)` is
// where that lane may keep a float between the two, where their formats differ.
template <u32 FORMAT_SET, int TOKENS, class Ready, class Scratch, class Done>
DEVICE void gate_and_up(const Tensor& gate, const Tensor& up, const u8* vectors, u32 vector_stride, int tokens, Ready&& ready,
                        Scratch scratch, Done done) {
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
                        if (lane == t && t < tokens) done(u, t, sums[0][t], sums[1][t]);
                    }
                });
        });
    } else if constexpr ((FORMAT_SET & (FORMAT_SET - 1)) != 0) {
        // Formats differ: one after the other.
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
                                if (r == 0) {
                                    *scratch(u, t) = sums[0][t];
                                } else {
                                    done(u, t, *scratch(u, t), sums[0][t]);
                                }
                            }
                        }
                    });
            });
        }
    }
}

// silu(gate x) * (up x) of `TOKENS` vectors, to `inner` [tokens, INTER]; rows beyond `tokens` are not written.
template <u32 FORMAT_SET, int TOKENS, class Ready>
DEVICE void gate_and_up_to(const Tensor& gate, const Tensor& up, const u8* vectors, u32 vector_stride, float* inner,
                           int tokens, Ready&& ready) {
    auto at = [=](int row, int t) { return inner + (u64)t * QA_INTER + row; };
    gate_and_up<FORMAT_SET, TOKENS>(gate, up, vectors, vector_stride, tokens, ready, at,
                                    [=](int row, int t, float g, float u) { *at(row, t) = silu(g) * u; });
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

// Logits of this warp's rows of the head, to `logits` unless null, and the likeliest token of the block to
// `candidates[blockIdx.x]`. `ready` may still set `logits`.
template <class Ready>
DEVICE void project_head(const Buffers& b, const u8* vector, float* const& logits, Candidate* scratch, Ready&& ready) {
    Candidate best = {-INFINITY, NO_TOKEN};
    multiply<QA_HEAD, QA_HIDDEN, HIDDEN_SET>(b.head, share_of_grid(QA_VOCAB), vector, ready, [&](int row, float logit) {
        best = likelier(best, {logit, (u32)row});
        if (logits && thread() % 32 == 0) logits[row] = logit;
    });
    if (thread() % 32 == 0) scratch[thread() / 32] = best;
    __syncthreads();
    if (thread() == 0) {
        for (int w = 1; w < blockDim.x / 32; w++) best = likelier(best, scratch[w]);
        b.candidates[blockIdx.x] = best;
    }
}
