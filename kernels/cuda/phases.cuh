// A transformer block in five phases, each of which hands values to all blocks of the grid (exchange.cuh):
//
//   1  norm, Q K V with biases       every block normalises the row for itself
//   2  rotation, attention           a block a head and piece; one block a key head also writes the cache
//   3  merge, output, residual       every block merges all heads for itself
//   4  norm, gate, up, silu
//   5  down, residual
//
// A phase: poll the values that it needs, make them the vector to multiply with, multiply this block's rows, which the ring
// holds (ring.cuh), put the sums together in shared memory, publish: a thread four or eight neighbouring results. The norm's
// factor is applied to the sums, so that a vector is quantised without waiting for the mean square.
//
// A block has neighbouring rows of each matrix, whole quads of them, and of the output and down projections the same: it keeps
// those of the residual stream.
#pragma once
#include "attention.cuh"
#include "exchange.cuh"
#include "sequence.cuh"
#include "tiles.cuh"
#include "trace.cuh"

constexpr int largest(int a, int b) { return a > b ? a : b; }

using HiddenVector = Activations<QA_HIDDEN, HIDDEN_SET>;
constexpr int NORMED_BYTES = (HiddenVector::BYTES + 15) / 16 * 16;
// Inner values travel as int8 where that is what they are multiplied as.
constexpr bool INNER_OCTETS = !QA_FLOAT_ACTIVATIONS && (INNER_SET & FLOAT_FORMATS) == 0;
using InnerVector = typename Choice<INNER_OCTETS, Octets<QA_INTER>, Activations<QA_INTER, INNER_SET>>::Type;
constexpr int INNER_UNIT = INNER_OCTETS ? 8 : 4;
constexpr int OTHER_BYTES = (largest(Activations<QUERY_WIDTH, OUT_SET>::BYTES, InnerVector::BYTES) + 15) / 16 * 16;
// Dynamic shared memory begins with the token's embedding, vectors of two neighbouring phases, which lie apart so that one
// synchronisation between them is enough, and the layers' addresses. Rows of this block follow, then the ring. The Rust twin
// is `Shape::fused_shared_bytes`.
constexpr int OTHER_AT = 4 * QA_HIDDEN + NORMED_BYTES;
constexpr int LAYERS_AT = OTHER_AT + OTHER_BYTES;
constexpr int OWN_AT = LAYERS_AT + QA_LAYERS * (int)sizeof(Layer);

constexpr int OUTPUT_TEAM = team_of(QA_HIDDEN, QUERY_WIDTH);
constexpr int DOWN_TEAM = team_of(QA_HIDDEN, QA_INTER);

// Rows of a matrix that a block has: whole quads, or units of more.
struct Rows {
    int first, count;
};

DEVICE Rows rows_of_block(int rows, int unit = 4) {
    const u32 units = rows / unit, from = units * block_index() / grid_size();
    const u32 to = units * (block_index() + 1) / grid_size();
    return {(int)(unit * from), (int)(unit * (to - from))};
}

// What a resident block works with, in its shared memory rather than in registers, which the phases need for themselves.
struct Context {
    Buffers b;
    u32 given_up;
    u32 first_epoch;  // of the last values before this launch
    u32 first_layer;  // the block of the model whose addresses come first
    u32 position;
    int each, pieces;  // lengths and number of the pieces that the sequence is attended in
    Rows qkv, hidden, inner;  // of this block
    u32 own_at;
    Cursor cursor;
    __align__(16) float squares[THREADS];
    Candidate candidates[WARPS];
    AttentionShared attention;
    Ring ring;
    Tracer tracer;
};

__shared__ Context context;
extern __shared__ __align__(16) u8 dynamic[];

DEVICE float* embedded() { return (float*)dynamic; }
DEVICE u8* normed() { return dynamic + 4 * QA_HIDDEN; }
DEVICE u8* other() { return dynamic + OTHER_AT; }
DEVICE Layer* local_layers() { return (Layer*)(dynamic + LAYERS_AT); }

// Most rows of a matrix of the model that a block has.
DEVICE int most_rows() {
    constexpr int ROWS = largest(QKV_WIDTH, QA_HIDDEN);
    return largest(4 * (ROWS / 4 / grid_size() + 1), INNER_UNIT * (QA_INTER / INNER_UNIT / grid_size() + 1));
}

// The sums of this block's rows of a phase. Its rows of the residual stream follow, twice, so that they are never written where
// they are read: before and after the output projection. Then the ring.
DEVICE float* sums_of_rows() { return (float*)(dynamic + OWN_AT); }
DEVICE float* own_residual() { return (float*)(dynamic + context.own_at); }
DEVICE float* own_after_output() { return own_residual() + most_rows(); }
DEVICE u32 own_residual_at() { return OWN_AT + 4 * LARGEST_TEAM * most_rows(); }
DEVICE u32 ring_at() { return own_residual_at() + 2 * 4 * most_rows(); }

// Where the walk through the model is, the same in every thread.
struct Place {
    u32 layer_at;  // the addresses of this block of the model, in dynamic shared memory
    u32 epoch;  // of the values that were published last before this block of the model
    u32 tile;   // of the ring, that comes next

    DEVICE const Layer& layer() const { return *(const Layer*)(dynamic + layer_at); }
    DEVICE u32 index() const { return context.first_layer + (layer_at - LAYERS_AT) / (u32)sizeof(Layer); }
};

DEVICE Patience patience() { return {context.b.state, &context.given_up, 0}; }

DEVICE void begin_phase(Phase phase, const Place& at) { context.tracer.phase(phase, at.index()); }

DEVICE void all_is_there() { context.tracer.ready(); }

// After a vector is in shared memory.
DEVICE void staged() {
    sync_block();
    context.tracer.staged();
}

// The residual stream times a norm's weights, unscaled, to `normed`; and its squares to `context.squares`. `local`: it is in
// `embedded`, in place of quads to be polled.
DEVICE void stage_residual(const float* weight, u32 epoch, bool local = false) {
    constexpr int QUADS = QA_HIDDEN / 4, EACH = (QUADS + THREADS - 1) / THREADS;
    auto quad = [](int i) { return thread() + i * THREADS; };
    auto wanted = [&](int i) { return quad(i) < QUADS; };
    float4 w[EACH] = {}, x[EACH] = {};
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        if (wanted(i)) w[i] = ((const float4*)weight)[quad(i)];
    }
    if (local) {
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            if (wanted(i)) x[i] = ((const float4*)embedded())[quad(i)];
        }
    } else {
        Quad quads[EACH];
        const Quad* from = own_copy<QA_HIDDEN / 4>(context.b.residual_quads);
        receive(quads, epoch, patience(), [&](int i) { return from + quad(i); }, wanted);
        all_is_there();
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            if (wanted(i)) x[i] = quads[i].values();
        }
    }
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        squares = fmaf(x[i].x, x[i].x, squares);
        squares = fmaf(x[i].y, x[i].y, squares);
        squares = fmaf(x[i].z, x[i].z, squares);
        squares = fmaf(x[i].w, x[i].w, squares);
        HiddenVector::store(
            normed(), quad(i), make_float4(x[i].x * w[i].x, x[i].y * w[i].y, x[i].z * w[i].z, x[i].w * w[i].w), wanted(i));
    }
    context.squares[thread()] = squares;
    staged();
}

// The norm's factor 1 / sqrt(mean square + epsilon). All lanes of a warp call together.
DEVICE float norm_factor() {
    constexpr int QUADS = QA_HIDDEN / 4, USED = QUADS < THREADS ? QUADS : THREADS;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < (USED + 127) / 128; i++) {
        const float4 four = ((const float4*)context.squares)[thread() % 32 + 32 * i];
        sum += (four.x + four.y) + (four.z + four.w);
    }
    return rsqrtf(fmaf(warp_sum(sum), 1.0f / (float)QA_HIDDEN, QA_EPSILON));
}

// Opens the gate for weights (`Moments`) if it is closed, and closes it if it is open.
DEVICE void turn_gate() {
    if (thread() == 0) count_on(&context.ring.turns);
}

// Once all sums are in shared memory: `publish(i, copy)` publishes the results of rows i to i + UNIT - 1 of this block's, in one
// copy. Threads that publish copies of the same results all make them.
template <int UNIT, class Publish>
DEVICE void publish_rows(Rows rows, Publish publish) {
    sync_block();
#pragma unroll 1
    for (u32 i = thread(); i < rows.count / UNIT * COPIES; i += THREADS) publish((int)(i / COPIES * UNIT), (int)(i % COPIES));
}

// Quads of results: `value(i)` gives four.
template <int COUNT, class Value>
DEVICE void publish_quads_of(Rows rows, Quad* to, u32 epoch, Value value) {
    publish_rows<4>(rows, [&](int i, int copy) {
        publish_quad(to + copy * copy_stride(COUNT / 4) + (rows.first + i) / 4, value(i, copy), epoch);
    });
}

// This block's rows times a vector, sums to `sums_of_rows() + at`.
template <u32 FORMAT_SET, int ROWS, class Vector, int TEAM>
DEVICE void multiply_own(Place& at, const Tensor& weight, int rows, int to, const u8* vector) {
    multiply_tiles<FORMAT_SET, ROWS, Vector, TEAM>(context.ring, dynamic, at.tile, weight, rows, to, vector,
                                                   [&](int unit, float sum) { sums_of_rows()[to + unit] = sum; });
}

// Four neighbouring sums.
DEVICE float4 four_sums(int row) { return *(const float4*)(sums_of_rows() + row); }

// Sums of four rows over their team, in order.
template <int TEAM>
DEVICE float4 sums_of_team(int row) {
    float sums[4];
    const float* parts = sums_of_rows() + row * TEAM;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        sums[i] = parts[i * TEAM];
#pragma unroll
        for (int part = 1; part < TEAM; part++) sums[i] += parts[i * TEAM + part];
    }
    return make_float4(sums[0], sums[1], sums[2], sums[3]);
}

DEVICE float4 operator+(float4 a, float4 b) { return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }

DEVICE int matrix_of(int row) { return row < QUERY_WIDTH ? 0 : row < QUERY_WIDTH + KV_WIDTH ? 1 : 2; }
DEVICE int first_row_of(int matrix) { return matrix == 0 ? 0 : QUERY_WIDTH + (matrix - 1) * KV_WIDTH; }

// Queries, keys and values as one list of rows: `visit(matrix, row, count)` for what `own` has of each.
template <class Visit>
DEVICE void each_of_qkv(Rows own, Visit visit) {
    const int end = own.first + own.count;
#pragma unroll 1
    for (int from = own.first; from < end;) {
        const int m = matrix_of(from), last = QUERY_WIDTH + m * KV_WIDTH, to = end < last ? end : last;
        visit(m, from - first_row_of(m), to - from);
        from = to;
    }
}

// Biases of four neighbouring rows.
DEVICE float4 biases_of(const Layer& l, int row) {
    const int m = matrix_of(row);
    const float* bias = (&l.query_bias)[m];
    return bias ? *(const float4*)(bias + row - first_row_of(m)) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

// `local`: the residual stream is in `embedded`.
DEVICE void phase_qkv(Place& at, bool local) {
    begin_phase(QKV, at);
    const Layer& l = at.layer();
    const Rows own = context.qkv;
    stage_residual(l.attention_norm, at.epoch, local);
    // From here to the output projection most blocks wait for the few that attend: the time to read weights. Before the first
    // block of the model the gate is open.
    if (!local) turn_gate();
    int done = 0;
    each_of_qkv(own, [&](int matrix, int, int rows) {
        multiply_own<QA_QKV, QKV_WIDTH, HiddenVector, 1>(at, (&l.query)[matrix], rows, done, normed());
        done += rows;
    });
    const float factor = norm_factor();
    publish_quads_of<QKV_WIDTH>(own, context.b.qkv_quads, at.epoch + 1, [&](int i, int) {
        const float4 sums = four_sums(i), bias = biases_of(l, own.first + i);
        return make_float4(fmaf(sums.x, factor, bias.x), fmaf(sums.y, factor, bias.y), fmaf(sums.z, factor, bias.z),
                           fmaf(sums.w, factor, bias.w));
    });
    context.tracer.end();
}

// A head's query and, where the piece ends the sequence, its key and value of this position, to shared memory: one warp each.
DEVICE void stage_head(AttentionShared& shared, int head, bool own, u32 epoch) {
    constexpr int PAIRS = QA_HEAD_DIM / 2, HALF = QA_ROPE_DIMS / 2, QUADS = QA_HEAD_DIM / 4;
    constexpr int PAIRS_EACH = (PAIRS + 31) / 32, QUADS_EACH = (QUADS + 31) / 32;
    const int part = thread() / 32, lane = thread() % 32;
    if (part < (own ? 3 : 1)) {
        const float2* turns = turns_of(context.b, context.position);
        float2 by[PAIRS_EACH];
#pragma unroll
        for (int i = 0; i < PAIRS_EACH; i++) {
            const int p = lane + 32 * i;
            by[i] = p < HALF && part < 2 ? turns[p] : make_float2(1.0f, 0.0f);
        }
        const int at = part == 0 ? head * QA_HEAD_DIM : QUERY_WIDTH + (part - 1) * KV_WIDTH + head / GROUP_SIZE * QA_HEAD_DIM;
        Quad quads[QUADS_EACH];
        const Quad* from = own_copy<QKV_WIDTH / 4>(context.b.qkv_quads) + at / 4 + lane;
        receive(quads, epoch, patience(), [&](int i) { return from + 32 * i; },
                [&](int i) { return lane + 32 * i < QUADS; });
        float* raw = shared.warps[part];
#pragma unroll
        for (int i = 0; i < QUADS_EACH; i++) {
            if (lane + 32 * i < QUADS) *(float4*)(raw + 4 * (lane + 32 * i)) = quads[i].values();
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < PAIRS_EACH; i++) {
            const int p = lane + 32 * i;
            if (p >= PAIRS) continue;
            const int d = p >= HALF ? QA_ROPE_DIMS + 2 * (p - HALF) : QA_ROPE_NEOX ? p : 2 * p;
            const int e = p < HALF && QA_ROPE_NEOX ? p + HALF : d + 1;
            const float x = raw[d], y = raw[e];
            const float a = fmaf(x, by[i].x, -(y * by[i].y)), b = fmaf(x, by[i].y, y * by[i].x);
            if (part == 0) {
                shared.query[d] = a * query_scale();
                shared.query[e] = b * query_scale();
            } else if constexpr (KV_INT8) {
                shared.warps[3 + part][d] = a;
                shared.warps[3 + part][e] = b;
            } else {
                const CachedHead row = {part == 1 ? shared.key : shared.value, 1};
                keep(row, 0, d, a);
                keep(row, 0, e, b);
            }
        }
    }
    sync_block();
    if constexpr (KV_INT8) {
        if (own && thread() < QA_HEAD_DIM) {
            keep({shared.key, 1}, 0, thread(), shared.warps[4][thread()]);
            keep({shared.value, 1}, 0, thread(), shared.warps[5][thread()]);
        }
        sync_block();
    }
    all_is_there();
}

// Quads of a piece: those of HEAD_DIM values, then one of the largest score, in two values that add up to all of it, and
// the sum of weights.
constexpr int PIECE_QUADS = QA_HEAD_DIM / 4 + 1;
constexpr int PIECES_QUADS = QA_HEADS * QA_SPLITS * PIECE_QUADS;

// Positions that a lane loads ahead: as many as there are registers for beside the other phases, which machine codes need
// differently many of.
constexpr int AHEAD = QA_ARCHITECTURE == 900 ? 2 : 1;

// Publishes attended heads, or pieces of them.
DEVICE void phase_attention(Place& at) {
    begin_phase(ATTENTION, at);
    const Buffers& b = context.b;
    AttentionShared& shared = context.attention;
    const u32 epoch = at.epoch + 1;
    for (int tile = block_index(); tile < QA_HEADS * context.pieces; tile += grid_size()) {
        const int head = tile % QA_HEADS, piece = tile / QA_HEADS, each = context.each;
        const bool last = piece + 1 == context.pieces;
        const u32 position = context.position;
        const CachedHead keys = cache_of(b.keys, b, at.index(), head / GROUP_SIZE);
        const CachedHead values = cache_of(b.values, b, at.index(), head / GROUP_SIZE);
        Quad* to = b.piece_quads + (head * QA_SPLITS + piece) * PIECE_QUADS;
        attend<true, AHEAD>(
            shared, keys, values, piece * each, last ? (int)position + 1 : (piece + 1) * each, last ? (int)position : -1,
            [&] { stage_head(shared, head, last, epoch); },
            [&](int d, float sum, float most, float mass) {
                publish_quads<PIECES_QUADS>(to + d / 4, context.pieces == 1 ? sum / mass : sum, epoch + 1, true);
                if (d < 32 && context.pieces > 1) {
                    const float high = __uint_as_float(__float_as_uint(most) & ~0xffffu);
                    const float value = d == 0 ? high : d == 1 ? most - high : d == 2 ? mass : 0.0f;
                    publish_quads<PIECES_QUADS>(to + QA_HEAD_DIM / 4, value, epoch + 1, d < 4);
                }
            });
        if (last && head % GROUP_SIZE == 0) {
            for (int d = thread(); d < QA_HEAD_DIM; d += THREADS) {
                copy_kept({shared.key, 1}, 0, keys, context.position, d);
                copy_kept({shared.value, 1}, 0, values, context.position, d);
            }
        }
        sync_block();
    }
    context.tracer.end();
}

// Heads in `count` pieces to `other`. Half a warp takes the pieces of even numbers, the other half those of odd ones.
DEVICE void stage_pieces(const Quad* quads, int count, u32 epoch) {
    constexpr int QUADS = QUERY_WIDTH / 4, AT_ONCE = AHEAD;
    const int half = thread() % 32 / 16;
#pragma unroll 1
    for (int first = thread() / 32 * 16; first < (QUADS + 15) / 16 * 16; first += THREADS / 2) {
        const int quad = first + thread() % 16;
        const bool there = quad < QUADS;
        const Quad* from = quads + 4 * quad / QA_HEAD_DIM * (QA_SPLITS * PIECE_QUADS);
        const int place = quad % (QA_HEAD_DIM / 4);
        Merged merged;
#pragma unroll 1
        for (int s = half; s - half < count; s += 2 * AT_ONCE) {
            Quad to[2 * AT_ONCE];
            receive(to, epoch, patience(),
                    [&](int j) { return from + (s + j / 2 * 2) * PIECE_QUADS + (j % 2 == 0 ? place : QA_HEAD_DIM / 4); },
                    [&](int j) { return s + j / 2 * 2 < count && there; });
#pragma unroll
            for (int p = 0; p < AT_ONCE; p++) {
                const float4 ml = to[2 * p + 1].values();
                if (s + 2 * p < count) merged.add(to[2 * p].values(), ml.x + ml.y, ml.z);
            }
        }
        Merged odd;
        odd.m = __shfl_down_sync(~0u, merged.m, 16);
        odd.l = __shfl_down_sync(~0u, merged.l, 16);
        odd.a.x = __shfl_down_sync(~0u, merged.a.x, 16);
        odd.a.y = __shfl_down_sync(~0u, merged.a.y, 16);
        odd.a.z = __shfl_down_sync(~0u, merged.a.z, 16);
        odd.a.w = __shfl_down_sync(~0u, merged.a.w, 16);
        merged.add(odd.a, odd.m, odd.l);
        Activations<QUERY_WIDTH, OUT_SET>::store(other(), quad, merged.value(), there && half == 0);
    }
}

// Merged heads to `other`.
DEVICE void stage_attended(u32 epoch) {
    constexpr int QUADS = QUERY_WIDTH / 4, EACH = (QUADS + THREADS - 1) / THREADS;
    using Vector = Activations<QUERY_WIDTH, OUT_SET>;
    const int count = context.pieces;
    const Quad* quads = own_copy<PIECES_QUADS>(context.b.piece_quads);
    auto quad = [](int i) { return thread() + i * THREADS; };
    auto wanted = [&](int i) { return quad(i) < QUADS; };
    auto head = [&](int i) { return quads + 4 * quad(i) / QA_HEAD_DIM * (QA_SPLITS * PIECE_QUADS); };
    auto place = [&](int i) { return quad(i) % (QA_HEAD_DIM / 4); };
    if (count == 1) {
        Quad to[EACH];
        receive(to, epoch, patience(), [&](int i) { return head(i) + place(i); }, wanted);
        all_is_there();
#pragma unroll
        for (int i = 0; i < EACH; i++) Vector::store(other(), quad(i), to[i].values(), wanted(i));
    } else {
        stage_pieces(quads, count, epoch);
        all_is_there();
    }
    staged();
}

DEVICE void phase_output(Place& at) {
    begin_phase(OUTPUT, at);
    const Layer& l = at.layer();
    const Rows own = context.hidden;
    stage_attended(at.epoch + 2);
    turn_gate();
    multiply_own<QA_OUT, QA_HIDDEN, Activations<QUERY_WIDTH, OUT_SET>, OUTPUT_TEAM>(at, l.output, own.count, 0, other());
    publish_quads_of<QA_HIDDEN>(own, context.b.residual_quads, at.epoch + 3, [&](int i, int copy) {
        float4 sums = sums_of_team<OUTPUT_TEAM>(i);
        if (l.output_bias) sums = sums + *(const float4*)(l.output_bias + own.first + i);
        sums = *(const float4*)(own_residual() + i) + sums;
        if (copy == 0) *(float4*)(own_after_output() + i) = sums;
        return sums;
    });
    context.tracer.end();
}

DEVICE void phase_gate_up(Place& at) {
    begin_phase(GATE_UP, at);
    const Layer& l = at.layer();
    const Rows own = context.inner;
    stage_residual(l.feed_forward_norm, at.epoch + 3);
#pragma unroll 1
    for (int m = 0; m < 2; m++) {
        multiply_own<QA_GATE_UP, QA_INTER, HiddenVector, 1>(at, (&l.gate)[m], own.count, m * own.count, normed());
    }
    const float factor = norm_factor();
    auto inner = [&](float gate, float up) {
        gate *= factor;
        return gate * reciprocal(1.0f + exp2_approximate(gate * -LOG2_E)) * (up * factor);
    };
    auto four = [&](int i) {
        const float4 gate = four_sums(i), up = four_sums(own.count + i);
        return make_float4(inner(gate.x, up.x), inner(gate.y, up.y), inner(gate.z, up.z), inner(gate.w, up.w));
    };
    if constexpr (INNER_OCTETS) {
        publish_rows<8>(own, [&](int i, int copy) {
            Octet* to = (Octet*)context.b.inner_quads + copy * copy_stride(QA_INTER / 8) + (own.first + i) / 8;
            publish_octet(to, four(i), four(i + 4), at.epoch + 4);
        });
    } else {
        publish_quads_of<QA_INTER>(own, context.b.inner_quads, at.epoch + 4, [&](int i, int) { return four(i); });
    }
    context.tracer.end();
}

// What was received as number `i`, to a vector.
template <class Vector>
DEVICE void store_item(u8* to, int i, const Quad& quad, bool there) {
    Vector::store(to, i, quad.values(), there);
}
template <class Vector>
DEVICE void store_item(u8* to, int i, const Octet& octet, bool there) {
    if (there) Vector::store(to, i, octet.codes(), octet.scale());
}

// The feed-forward's inner values to `other`.
DEVICE void stage_inner(u32 epoch) {
    constexpr int ITEMS = QA_INTER / INNER_UNIT, EACH = (ITEMS + THREADS - 1) / THREADS, AT_ONCE = EACH > 2 ? 2 : EACH;
    using Item = typename Choice<INNER_OCTETS, Octet, Quad>::Type;
    const Item* from = own_copy<ITEMS>((const Item*)context.b.inner_quads);
#pragma unroll 1
    for (int first = thread() / 32 * 32; first < ITEMS; first += AT_ONCE * THREADS) {
        auto item = [&](int i) { return first + (int)(thread() % 32) + i * THREADS; };
        Item items[AT_ONCE];
        receive<(AT_ONCE > 1)>(items, epoch, patience(), [&](int i) { return from + item(i); },
                               [&](int i) { return item(i) < ITEMS; });
        all_is_there();
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            store_item<InnerVector>(other(), item(i), items[i], item(i) < ITEMS);
        }
    }
    staged();
}

DEVICE void phase_down(Place& at) {
    begin_phase(DOWN, at);
    const Rows own = context.hidden;
    stage_inner(at.epoch + 4);
    multiply_own<QA_DOWN, QA_HIDDEN, InnerVector, DOWN_TEAM>(at, at.layer().down, own.count, 0, other());
    publish_quads_of<QA_HIDDEN>(own, context.b.residual_quads, at.epoch + 5, [&](int i, int copy) {
        const float4 sums = *(const float4*)(own_after_output() + i) + sums_of_team<DOWN_TEAM>(i);
        if (copy == 0) *(float4*)(own_residual() + i) = sums;
        return sums;
    });
    context.tracer.end();
}

// The five phases of a block. Nobody has waited for what the last published. `first`: the residual stream is in `embedded`.
DEVICE void fused_block(Place& at, bool first) {
    phase_qkv(at, first);
    phase_attention(at);
    phase_output(at);
    phase_gate_up(at);
    phase_down(at);
    at.epoch += 5;
}

// Rows of a block of the model in the order of the phases. False: nobody needs more.
DEVICE bool fill_block(Filler& filler, const Layer& l) {
    const Rows hidden = context.hidden, inner = context.inner;
    bool more = true;
    each_of_qkv(context.qkv, [&](int matrix, int row, int rows) {
        more = more && filler.add_rows<QA_QKV, QA_HIDDEN>((&l.query)[matrix], row, rows);
    });
    return more && filler.add_rows<QA_OUT, QUERY_WIDTH>(l.output, hidden.first, hidden.count) &&
           filler.add_rows<QA_GATE_UP, QA_HIDDEN>(l.gate, inner.first, inner.count) &&
           filler.add_rows<QA_GATE_UP, QA_HIDDEN>(l.up, inner.first, inner.count) &&
           filler.add_rows<QA_DOWN, QA_INTER>(l.down, hidden.first, hidden.count);
}

// Bytes that `fill_block` adds.
DEVICE u32 bytes_of_block(const Layer& l) {
    const u32 hidden = context.hidden.count, inner = context.inner.count;
    u32 bytes = 0;
    each_of_qkv(context.qkv, [&](int matrix, int, int rows) {
        bytes += rows * Filler::row_and_most<QA_QKV, QA_HIDDEN>((&l.query)[matrix]).x;
    });
    bytes += hidden * Filler::row_and_most<QA_OUT, QUERY_WIDTH>(l.output).x;
    bytes += inner * Filler::row_and_most<QA_GATE_UP, QA_HIDDEN>(l.gate).x;
    bytes += inner * Filler::row_and_most<QA_GATE_UP, QA_HIDDEN>(l.up).x;
    return bytes + hidden * Filler::row_and_most<QA_DOWN, QA_INTER>(l.down).x;
}

// Whether this thread fills the ring; of the warp beside those that multiply, on sm_90 and later one lane.
DEVICE bool fills() { return thread() >= THREADS; }
DEVICE bool is_idle_lane() { return QA_ARCHITECTURE >= 900 && thread() > THREADS; }

// This block's rows of the residual stream, from where all of it is.
DEVICE void keep_own() {
    const Rows own = context.hidden;
    for (int i = thread(); i < own.count; i += THREADS) own_residual()[i] = embedded()[own.first + i];
}

// The sequence has come to a position. One thread calls; the block synchronises before it goes on.
DEVICE void move_to(u32 position) {
    context.position = position;
    context.each = piece_length(position + 1);
    context.pieces = piece_count(position + 1);
}

// What the phases start from. One thread calls at the beginning of a launch; the block synchronises before it goes on.
DEVICE void begin_launch(const Buffers& b, u32 first_layer) {
    u32 shared;
    asm("mov.u32 %0, %%dynamic_smem_size;" : "=r"(shared));
    context.b = b;
    context.given_up = 0;
    context.first_layer = first_layer;
    context.first_epoch = *(volatile u32*)&b.state->epoch + (block_index() == 0 ? b.state->skew : 0);
    context.cursor.load(b.state);
    move_to(context.cursor.position);
    context.qkv = rows_of_block(QKV_WIDTH);
    context.hidden = rows_of_block(QA_HIDDEN);
    context.inner = rows_of_block(QA_INTER, INNER_UNIT);
    context.own_at = own_residual_at();
    context.tracer.start(b.trace);
    begin_ring(context.ring, ring_at(), shared - ring_at());
}

// Leaves the counters for the next launch. All blocks have read them: this one has had values from all.
DEVICE void end_launch(u32 epoch) {
    if (thread() != 0) return;
    if (block_index() == 0) {
        *(volatile u32*)&context.b.state->epoch = epoch;
        context.b.state->syncs += epoch - context.first_epoch;
    }
    context.tracer.stop();
}
