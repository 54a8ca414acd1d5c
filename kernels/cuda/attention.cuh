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

// Up to 192 positions are one piece: one block has them within a microsecond, and nothing is to be merged.
DEVICE int piece_length(int length) {
    const int each = (length + QA_SPLITS - 1) / QA_SPLITS;
    return each < 192 ? 192 : (each + 63) / 64 * 64;
}

DEVICE int piece_count(int length) { return (length + piece_length(length) - 1) / piece_length(length); }

// The shared memory of a block that attends.
struct AttentionShared {
    float query[QA_HEAD_DIM];
    float warps[WARPS][PIECE];
    __align__(16) float most[WARPS], mass[WARPS];
    __align__(16) u8 key[KV_ROW_BYTES];
    __align__(16) u8 value[KV_ROW_BYTES];
};

// 2^x, zero where that is no normal number.
DEVICE float exp2_approximate(float x) {
    float value;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
    return value;
}

constexpr float LOG2_E = 1.4426950408889634f;

// What scores are multiplied with: powers of two in place of e.
DEVICE float query_scale() { return LOG2_E / sqrtf((float)QA_HEAD_DIM); }

// Positions `from` to `to - 1` of one head to a piece. `shared.query` holds the rotated query times `query_scale()`.
// With OWN, the key and value at `own` come from `shared`; otherwise all come from the cache. `ready` fills `shared`, after
// the first loads from the cache were issued, and synchronises the block. `emit(d, sum, m, l)` takes element d of the piece
// in one thread. A lane loads AHEAD positions together. THREADS threads, which synchronise before `shared` is reused.
template <bool OWN, int AHEAD, class Ready, class Emit>
DEVICE void attend(AttentionShared& shared, CachedHead keys, CachedHead values, int from, int to, int own, Ready ready,
                   Emit emit) {
    constexpr int STRIDE = WARPS * POSITIONS;
    const int lane = thread() % 32, warp = thread() / 32;
    const int part = lane % LANES * 8;
    const int first = from + warp * POSITIONS + lane / LANES;
    CachedEight key[AHEAD] = {}, value[AHEAD] = {};
    auto load = [&](int i, int p) {
        if (p < to && !(OWN && p == own)) {
            key[i].template load<false>(keys, p, part);
            value[i].template load<false>(values, p, part);
        }
    };
    if (AHEAD == 1) ready();
#pragma unroll
    for (int i = 0; i < AHEAD; i++) load(i, first + i * STRIDE);
    if (AHEAD > 1) ready();
    float query[8];
#pragma unroll
    for (int i = 0; i < 8; i++) query[i] = shared.query[part + i];
    float m = -INFINITY, l = 0.0f, a[8] = {};
    // All lanes of a warp go on for as long as one has a position: they share scores.
    auto attend_to = [&](int i, int p) {
        if (OWN && p == own) {
            key[i].template load<true>({shared.key, 1}, 0, part);
            value[i].template load<true>({shared.value, 1}, 0, part);
        }
        float k[8], v[8], score = 0.0f;
        key[i].expand(k);
        value[i].expand(v);
#pragma unroll
        for (int j = 0; j < 8; j++) score = fmaf(query[j], k[j], score);
#pragma unroll
        for (int offset = 1; offset < LANES; offset *= 2) score += __shfl_xor_sync(~0u, score, offset);
        if (p < to) {
            const float most = fmaxf(m, score);
            const float keep = exp2_approximate(m - most), weight = exp2_approximate(score - most);
            m = most;
            l = fmaf(l, keep, weight);
#pragma unroll
            for (int j = 0; j < 8; j++) a[j] = fmaf(a[j], keep, weight * v[j]);
        }
    };
#pragma unroll 1
    for (int base = first; base - lane / LANES < to; base += AHEAD * STRIDE) {
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const int p = base + i * STRIDE;
            if (p - lane / LANES < to) attend_to(i, p);
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) load(i, base + (AHEAD + i) * STRIDE);
    }
#pragma unroll
    for (int offset = LANES; offset < 32; offset *= 2) {
        const float other = __shfl_xor_sync(~0u, m, offset);
        const float most = fmaxf(m, other);
        const float keep = most == -INFINITY ? 0.0f : exp2_approximate(m - most);
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
            shared.most[warp] = m;
            shared.mass[warp] = l;
        }
    }
    sync_block();
    if (thread() < QA_HEAD_DIM) {
        const int d = thread();
        float most = -INFINITY, sum = 0.0f, mass = 0.0f;
#pragma unroll
        for (int w = 0; w < WARPS; w += 4) {
            const float4 m4 = *(const float4*)&shared.most[w];
            most = fmaxf(fmaxf(fmaxf(most, m4.x), fmaxf(m4.y, m4.z)), m4.w);
        }
#pragma unroll
        for (int w = 0; w < WARPS; w++) {
            const float weight = exp2_approximate(shared.most[w] - most);
            mass = fmaf(shared.mass[w], weight, mass);
            sum = fmaf(shared.warps[w][d], weight, sum);
        }
        emit(d, sum, most, mass);
    }
}

// Four dimensions of a head, merged from its pieces in order.
struct Merged {
    float m = -INFINITY, l = 0.0f;
    float4 a = make_float4(0.0f, 0.0f, 0.0f, 0.0f);

    DEVICE void add(float4 v, float piece_m, float piece_l) {
        const float most = fmaxf(m, piece_m);
        const float keep = exp2_approximate(m - most), weight = exp2_approximate(piece_m - most);
        m = most;
        l = fmaf(l, keep, piece_l * weight);
        a.x = fmaf(a.x, keep, v.x * weight);
        a.y = fmaf(a.y, keep, v.y * weight);
        a.z = fmaf(a.z, keep, v.z * weight);
        a.w = fmaf(a.w, keep, v.w * weight);
    }

    DEVICE float4 value() const { return make_float4(a.x / l, a.y / l, a.z / l, a.w / l); }
};

// `load(s, i)` gives four floats of piece s from float i on.
template <class Load>
DEVICE float4 merge_pieces(int count, int d, Load load) {
    Merged merged;
#pragma unroll 3
    for (int s = 0; s < count; s++) {
        const float4 v = load(s, d), ml = load(s, QA_HEAD_DIM);
        merged.add(v, ml.x, ml.y);
    }
    return merged.value();
}

// Where `attend` leaves a piece: HEAD_DIM sums, m and l.
struct PieceTo {
    float* piece;
    DEVICE void operator()(int d, float sum, float most, float mass) const {
        piece[d] = sum;
        if (d == 0) {
            piece[QA_HEAD_DIM] = most;
            piece[QA_HEAD_DIM + 1] = mass;
        }
    }
};

// All heads from their pieces in global memory to a vector. Any whole number of warps.
DEVICE void vectorize_attended(const float* pieces, int length, u8* to) {
    const int count = piece_count(length);
    constexpr int QUADS = QUERY_WIDTH / 4;
    for (int first = thread() / 32 * 32; first < QUADS; first += blockDim.x) {
        const int quad = first + thread() % 32;
        const float* head = pieces + (4 * quad / QA_HEAD_DIM) * QA_SPLITS * PIECE;
        float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (quad < QUADS) {
            v = merge_pieces(count, 4 * quad % QA_HEAD_DIM,
                             [&](int s, int i) { return load_shared_value4(head + s * PIECE + i); });
        }
        Activations<QUERY_WIDTH, OUT_SET>::store(to, quad, v, quad < QUADS);
    }
}
