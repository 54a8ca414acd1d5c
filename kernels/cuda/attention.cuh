// Grouped-query attention (Ainslie et al. 2023) of one query, softmax(q k^T / sqrt(HEAD_DIM)) v, in pieces of the sequence
// that are merged afterwards (Dao et al. 2023, "Flash-Decoding"). A piece is (m, l, a): the largest score, the sum of
// 2^(score - m), and the values summed with those weights. The pieces of a length do not depend on who computes them.
#pragma once
#include "cache.cuh"
#include "norm.cuh"
#include "rope.cuh"

// Floats of a piece: HEAD_DIM of a, then m, l and two unused.
constexpr int PIECE = QA_HEAD_DIM + 4;
// Each position is one of LANES lanes' work, 8 dimensions a lane.
constexpr int LANES = QA_HEAD_DIM / 8;
constexpr int POSITIONS = 32 / LANES;
static_assert(QA_HEAD_DIM % 8 == 0 && (LANES & (LANES - 1)) == 0 && LANES <= 32, "8, 16, 32, 64, 128 or 256");

DEVICE int piece_length(int length) {
    const int each = (length + QA_SPLITS - 1) / QA_SPLITS;
    return (each + 63) / 64 * 64;
}

DEVICE int piece_count(int length) { return (length + piece_length(length) - 1) / piece_length(length); }

// The shared memory of a block that attends.
struct AttentionShared {
    float query[QA_HEAD_DIM];
    float warps[WARPS][PIECE];
    __align__(16) u8 key[KV_ROW_BYTES];
    __align__(16) u8 value[KV_ROW_BYTES];
};

constexpr float LOG2_E = 1.4426950408889634f;

// What scores are multiplied with: powers of two in place of e.
DEVICE float query_scale() { return LOG2_E / sqrtf((float)QA_HEAD_DIM); }

// Positions `from` to `to - 1` of one head to a piece. `shared.query` holds the rotated query times `query_scale()`.
// With OWN, the key and value at `own` come from `shared`; otherwise all come from the cache. THREADS threads, which have
// synchronised after `shared` was written and do so again before it is reused.
template <bool OWN>
DEVICE void attend(AttentionShared& shared, CachedHead keys, CachedHead values, int from, int to, int own, float* piece) {
    const int lane = thread() % 32, warp = thread() / 32;
    const int part = lane % LANES * 8;
    float query[8];
#pragma unroll
    for (int i = 0; i < 8; i++) query[i] = shared.query[part + i];
    float m = -INFINITY, l = 0.0f, a[8] = {};
#pragma unroll 2
    for (int base = from + warp * POSITIONS; base < to; base += WARPS * POSITIONS) {
        const int p = base + lane / LANES;
        CachedEight key{}, value{};
        if (OWN && p == own) {
            key.load<true>({shared.key, 1}, 0, part);
            value.load<true>({shared.value, 1}, 0, part);
        } else if (p < to) {
            key.load<false>(keys, p, part);
            value.load<false>(values, p, part);
        }
        float k[8], v[8], score = 0.0f;
        key.expand(k);
        value.expand(v);
#pragma unroll
        for (int i = 0; i < 8; i++) score = fmaf(query[i], k[i], score);
#pragma unroll
        for (int offset = 1; offset < LANES; offset *= 2) score += __shfl_xor_sync(~0u, score, offset);
        if (p < to) {
            const float most = fmaxf(m, score);
            const float keep = exp2f(m - most), weight = exp2f(score - most);
            m = most;
            l = fmaf(l, keep, weight);
#pragma unroll
            for (int i = 0; i < 8; i++) a[i] = fmaf(a[i], keep, weight * v[i]);
        }
    }
#pragma unroll
    for (int offset = LANES; offset < 32; offset *= 2) {
        const float other = __shfl_xor_sync(~0u, m, offset);
        const float most = fmaxf(m, other);
        const float keep = most == -INFINITY ? 0.0f : exp2f(m - most);
        l *= keep;
        l += __shfl_xor_sync(~0u, l, offset);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            a[i] *= keep;
            a[i] += __shfl_xor_sync(~0u, a[i], offset);
        }
        m = most;
    }
    if (lane < LANES) {
#pragma unroll
        for (int i = 0; i < 8; i++) shared.warps[warp][part + i] = a[i];
        if (lane == 0) {
            shared.warps[warp][QA_HEAD_DIM] = m;
            shared.warps[warp][QA_HEAD_DIM + 1] = l;
        }
    }
    __syncthreads();
    if (thread() < QA_HEAD_DIM) {
        const int d = thread();
        float most = -INFINITY;
#pragma unroll
        for (int w = 0; w < WARPS; w++) most = fmaxf(most, shared.warps[w][QA_HEAD_DIM]);
        float sum = 0.0f, mass = 0.0f;
#pragma unroll
        for (int w = 0; w < WARPS; w++) {
            const float weight = exp2f(shared.warps[w][QA_HEAD_DIM] - most);
            mass = fmaf(shared.warps[w][QA_HEAD_DIM + 1], weight, mass);
            sum = fmaf(shared.warps[w][d], weight, sum);
        }
        piece[d] = sum;
        if (d == 0) {
            piece[QA_HEAD_DIM] = most;
            piece[QA_HEAD_DIM + 1] = mass;
        }
    }
}

// Four dimensions of a head from its pieces, in order. `load(s, i)` gives four floats of piece s from float i on.
template <class Load>
DEVICE float4 merge_pieces(int count, int d, Load load) {
    float m = -INFINITY, l = 0.0f;
    float4 a = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 3
    for (int s = 0; s < count; s++) {
        const float4 v = load(s, d), ml = load(s, QA_HEAD_DIM);
        const float most = fmaxf(m, ml.x);
        const float keep = exp2f(m - most), weight = exp2f(ml.x - most);
        m = most;
        l = fmaf(l, keep, ml.y * weight);
        a.x = fmaf(a.x, keep, v.x * weight);
        a.y = fmaf(a.y, keep, v.y * weight);
        a.z = fmaf(a.z, keep, v.z * weight);
        a.w = fmaf(a.w, keep, v.w * weight);
    }
    return make_float4(a.x / l, a.y / l, a.z / l, a.w / l);
}

// All heads from their pieces in global memory to a vector. Any whole number of warps.
DEVICE void vectorize_attended(const float* pieces, int length, u8* to) {
    const int count = piece_count(length);
    for (int quad = thread(); quad < QUERY_WIDTH / 4; quad += blockDim.x) {
        const float* head = pieces + (4 * quad / QA_HEAD_DIM) * QA_SPLITS * PIECE;
        const float4 v = merge_pieces(count, 4 * quad % QA_HEAD_DIM,
                                      [&](int s, int i) { return load_shared_value4(head + s * PIECE + i); });
        Activations<QUERY_WIDTH, OUT_SET>::store(to, quad, v);
    }
}
