// A transformer block in five phases, each of which hands values to all blocks of the grid (exchange.cuh):
//
//   1  norm, Q K V with biases       every block normalises the row for itself
//   2  rotation, attention           a block a head and piece; one block a key head also writes the cache
//   3  merge, output, residual       every block merges all heads for itself
//   4  norm, gate, up, silu
//   5  down, residual
//
// A phase: poll the values that it needs, make them the vector to multiply with, multiply this block's rows, which the ring
// holds (ring.cuh), put the sums together in shared memory, publish four neighbouring results a thread. The norm's factor is
// applied to the sums, so that a vector is quantised without waiting for the mean square.
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

constexpr int NORMED_BYTES = (Activations<QA_HIDDEN, HIDDEN_SET>::BYTES + 15) / 16 * 16;
constexpr int OTHER_BYTES =
    (largest(Activations<QUERY_WIDTH, OUT_SET>::BYTES, Activations<QA_INTER, INNER_SET>::BYTES) + 15) / 16 * 16;
// Dynamic shared memory begins with the token's embedding, vectors of two neighbouring phases, which lie apart so that one
// synchronisation between them is enough, and the layers' addresses. Rows of this block follow, then the ring. The Rust twin
// is `Shape::fused_shared_bytes`.
constexpr int OTHER_AT = 4 * QA_HIDDEN + NORMED_BYTES;
constexpr int LAYERS_AT = OTHER_AT + OTHER_BYTES;
constexpr int OWN_AT = LAYERS_AT + QA_LAYERS * (int)sizeof(Layer);

constexpr int OUTPUT_TEAM = team_of(QA_HIDDEN, QUERY_WIDTH);
constexpr int DOWN_TEAM = team_of(QA_HIDDEN, QA_INTER);

// Rows of a matrix that a block has: whole quads.
struct Rows {
    int first, count;
};

DEVICE Rows rows_of_block(int rows) {
    const u32 quads = rows / 4, from = quads * block_index() / grid_size();
    const u32 to = quads * (block_index() + 1) / grid_size();
    return {(int)(4 * from), (int)(4 * (to - from))};
}

// What a resident block works with, in its shared memory rather than in registers, which the phases need for themselves.
struct Context {
    Buffers b;
    u32 given_up;
    u32 first_epoch;  // of the last values before this launch
    u32 position;
    int each, pieces;  // lengths and number of the pieces that the sequence is attended in
    Rows qkv, hidden, inner;  // of this block
    u32 own_at;
    Cursor cursor;
    __align__(16) float squares[WARPS];
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
DEVICE int most_rows() { return 4 * (largest(largest(QKV_WIDTH, QA_HIDDEN), QA_INTER) / 4 / grid_size() + 1); }

// The sums of this block's rows of a phase; its rows of the residual stream and the ring follow.
DEVICE float* sums_of_rows() { return (float*)(dynamic + OWN_AT); }
DEVICE float* own_residual() { return (float*)(dynamic + context.own_at); }
DEVICE u32 own_residual_at() { return OWN_AT + 4 * LARGEST_TEAM * most_rows(); }
DEVICE u32 ring_at() { return own_residual_at() + 4 * most_rows(); }

// Where the walk through the model is, the same in every thread.
struct Place {
    const Layer* layer;
    u32 index;
    u32 epoch;  // of the values that were published last before this block of the model
    u32 tile;   // of the ring, that comes next
};

DEVICE Patience patience() { return {context.b.state, &context.given_up, 0}; }

DEVICE void begin_phase(Phase phase, const Place& at) { context.tracer.phase(phase, at.index); }

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
        Activations<QA_HIDDEN, HIDDEN_SET>::store(
            normed(), quad(i), make_float4(x[i].x * w[i].x, x[i].y * w[i].y, x[i].z * w[i].z, x[i].w * w[i].w), wanted(i));
    }
    squares = warp_sum(squares);
    if (thread() % 32 == 0) context.squares[thread() / 32] = squares;
    staged();
}

// The norm's factor 1 / sqrt(mean square + epsilon).
DEVICE float norm_factor() {
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < WARPS; w += 4) {
        const float4 four = *(const float4*)&context.squares[w];
        sum += (four.x + four.y) + (four.z + four.w);
    }
    return rsqrtf(fmaf(sum, 1.0f / (float)QA_HIDDEN, QA_EPSILON));
}

// Once all sums are in shared memory: `value(i)` is the result of row i of this block's, in one thread each. Four make a quad.
template <int QUADS, class Value>
DEVICE void publish_rows(Rows rows, Quad* to, u32 epoch, Value value) {
    sync_block();
#pragma unroll 1
    for (int first = thread() / 32 * 32; first < rows.count; first += THREADS) {
        const int i = first + thread() % 32;
        const float v = i < rows.count ? value(i) : 0.0f;
        publish_quads<QUADS>(to + (rows.first + i) / 4, v, epoch, i < rows.count);
    }
}

// This block's rows times a vector, sums to `sums_of_rows() + at`.
template <u32 FORMAT_SET, int ROWS, int COLUMNS, u32 VECTOR_SET, int TEAM>
DEVICE void multiply_own(Place& at, const Tensor& weight, int rows, int to, const u8* vector) {
    multiply_tiles<FORMAT_SET, ROWS, COLUMNS, VECTOR_SET, TEAM>(context.ring, dynamic, at.tile, weight, rows, to, vector,
                                                          [&](int unit, float sum) { sums_of_rows()[to + unit] = sum; });
}

// Sums of a row over its team, in order.
template <int TEAM>
DEVICE float sum_of_row(int row) {
    float sum = sums_of_rows()[row * TEAM];
#pragma unroll
    for (int part = 1; part < TEAM; part++) sum += sums_of_rows()[row * TEAM + part];
    return sum;
}

// Queries, keys and values as one list of rows: `visit(matrix, row, count)` for what `own` has of each.
template <class Visit>
DEVICE void each_of_qkv(Rows own, Visit visit) {
#pragma unroll 1
    for (int m = 0; m < 3; m++) {
        const int begin = m == 0 ? 0 : QUERY_WIDTH + (m - 1) * KV_WIDTH, end = QUERY_WIDTH + m * KV_WIDTH;
        const int from = own.first > begin ? own.first : begin;
        const int to = own.first + own.count < end ? own.first + own.count : end;
        if (from < to) visit(m, from - begin, to - from);
    }
}

DEVICE float bias_of(const Layer& l, int row) {
    const int m = row < QUERY_WIDTH ? 0 : row < QUERY_WIDTH + KV_WIDTH ? 1 : 2;
    const float* bias = (&l.query_bias)[m];
    return bias ? bias[row - (m == 0 ? 0 : QUERY_WIDTH + (m - 1) * KV_WIDTH)] : 0.0f;
}

// `local`: the residual stream is in `embedded`.
DEVICE void phase_qkv(Place& at, bool local) {
    begin_phase(QKV, at);
    const Layer& l = *at.layer;
    const Rows own = context.qkv;
    const float early_bias = thread() < own.count ? bias_of(l, own.first + thread()) : 0.0f;
    stage_residual(l.attention_norm, at.epoch, local);
    int done = 0;
    each_of_qkv(own, [&](int matrix, int, int rows) {
        multiply_own<QA_QKV, QKV_WIDTH, QA_HIDDEN, HIDDEN_SET, 1>(at, (&l.query)[matrix], rows, done, normed());
        done += rows;
    });
    const float factor = norm_factor();
    publish_rows<QKV_WIDTH / 4>(own, context.b.qkv_quads, at.epoch + 1, [&](int i) {
        return fmaf(sums_of_rows()[i], factor, i < THREADS ? early_bias : bias_of(l, own.first + i));
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
constexpr int AHEAD = __CUDA_ARCH__ == 900 ? 3 : 1;

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
        const CachedHead keys = cache_of(b.keys, b, at.index, head / GROUP_SIZE);
        const CachedHead values = cache_of(b.values, b, at.index, head / GROUP_SIZE);
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

// Merged heads to `other`.
DEVICE void stage_attended(u32 epoch) {
    constexpr int QUADS = QUERY_WIDTH / 4, EACH = (QUADS + THREADS - 1) / THREADS, AT_ONCE = 2;
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
#pragma unroll 1
        for (int i = 0; i < EACH; i++) {
            const Quad* from = head(i);
            Merged merged;
#pragma unroll 1
            for (int first = 0; first < count; first += AT_ONCE) {
                Quad to[2 * AT_ONCE];
                receive(to, epoch, patience(),
                        [&](int j) { return from + (first + j / 2) * PIECE_QUADS + (j % 2 == 0 ? place(i) : QA_HEAD_DIM / 4); },
                        [&](int j) { return first + j / 2 < count && wanted(i); });
#pragma unroll
                for (int s = 0; s < AT_ONCE; s++) {
                    const float4 ml = to[2 * s + 1].values();
                    if (first + s < count) merged.add(to[2 * s].values(), ml.x + ml.y, ml.z);
                }
            }
            Vector::store(other(), quad(i), merged.value(), wanted(i));
        }
        all_is_there();
    }
    staged();
}

DEVICE void phase_output(Place& at) {
    begin_phase(OUTPUT, at);
    const Layer& l = *at.layer;
    const Rows own = context.hidden;
    stage_attended(at.epoch + 2);
    multiply_own<QA_OUT, QA_HIDDEN, QUERY_WIDTH, OUT_SET, OUTPUT_TEAM>(at, l.output, own.count, 0, other());
    publish_rows<QA_HIDDEN / 4>(own, context.b.residual_quads, at.epoch + 3, [&](int i) {
        float sum = sum_of_row<OUTPUT_TEAM>(i);
        if (l.output_bias) sum += l.output_bias[own.first + i];
        return own_residual()[i] += sum;
    });
    context.tracer.end();
}

DEVICE void phase_gate_up(Place& at) {
    begin_phase(GATE_UP, at);
    const Layer& l = *at.layer;
    const Rows own = context.inner;
    stage_residual(l.feed_forward_norm, at.epoch + 3);
#pragma unroll 1
    for (int m = 0; m < 2; m++) {
        multiply_own<QA_GATE_UP, QA_INTER, QA_HIDDEN, HIDDEN_SET, 1>(at, (&l.gate)[m], own.count, m * own.count, normed());
    }
    const float factor = norm_factor();
    publish_rows<QA_INTER / 4>(own, context.b.inner_quads, at.epoch + 4, [&](int i) {
        const float gate = sums_of_rows()[i] * factor, up = sums_of_rows()[own.count + i] * factor;
        return gate * reciprocal(1.0f + exp2_approximate(gate * -LOG2_E)) * up;
    });
    context.tracer.end();
}

// The feed-forward's inner values to `other`.
DEVICE void stage_inner(u32 epoch) {
    constexpr int QUADS = QA_INTER / 4, EACH = (QUADS + THREADS - 1) / THREADS, AT_ONCE = EACH > 3 ? 4 : EACH;
    const Quad* from = own_copy<QUADS>(context.b.inner_quads);
#pragma unroll 1
    for (int first = thread() / 32 * 32; first < QUADS; first += AT_ONCE * THREADS) {
        auto quad = [&](int i) { return first + (int)(thread() % 32) + i * THREADS; };
        Quad quads[AT_ONCE];
        receive<(AT_ONCE > 1)>(quads, epoch, patience(), [&](int i) { return from + quad(i); },
                               [&](int i) { return quad(i) < QUADS; });
        all_is_there();
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            Activations<QA_INTER, INNER_SET>::store(other(), quad(i), quads[i].values(), quad(i) < QUADS);
        }
    }
    staged();
}

DEVICE void phase_down(Place& at) {
    begin_phase(DOWN, at);
    const Rows own = context.hidden;
    stage_inner(at.epoch + 4);
    multiply_own<QA_DOWN, QA_HIDDEN, QA_INTER, INNER_SET, DOWN_TEAM>(at, at.layer->down, own.count, 0, other());
    publish_rows<QA_HIDDEN / 4>(own, context.b.residual_quads, at.epoch + 5,
                 [&](int i) { return own_residual()[i] += sum_of_row<DOWN_TEAM>(i); });
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

// Whether this thread fills the ring; of the warp beside those that multiply, on sm_90 and later one lane.
DEVICE bool fills() { return thread() >= THREADS; }
DEVICE bool is_idle_lane() { return __CUDA_ARCH__ >= 900 && thread() > THREADS; }

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
DEVICE void begin_launch(const Buffers& b) {
    u32 shared;
    asm("mov.u32 %0, %%dynamic_smem_size;" : "=r"(shared));
    context.b = b;
    context.given_up = 0;
    context.first_epoch = *(volatile u32*)&b.state->epoch + (block_index() == 0 ? b.state->skew : 0);
    context.cursor.load(b.state);
    move_to(context.cursor.position);
    context.qkv = rows_of_block(QKV_WIDTH);
    context.hidden = rows_of_block(QA_HIDDEN);
    context.inner = rows_of_block(QA_INTER);
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
