// A transformer block in five phases, each of which hands values to all blocks of the grid (exchange.cuh):
//
//   1  norm, Q K V with biases       every block normalises the row for itself
//   2  rotation, attention           a block a head and piece; one block a key head also writes the cache
//   3  merge, output, residual       every block merges all heads for itself
//   4  norm, gate, up, silu
//   5  down, residual
//
// A phase: load the first weights, poll the values that it needs, make them the vector to multiply with, multiply the rows of
// this warp, publish the results, ask for rows of a later phase. The norm's factor is applied to the sums, so that a vector
// is quantised without waiting for the mean square.
#pragma once
#include "attention.cuh"
#include "exchange.cuh"
#include "sequence.cuh"
#include "trace.cuh"

constexpr int largest(int a, int b) { return a > b ? a : b; }

// Vectors of two neighbouring phases lie apart, so that one synchronisation of a block a phase is enough.
constexpr int NORMED_BYTES = (Activations<QA_HIDDEN, HIDDEN_SET>::BYTES + 15) / 16 * 16;
constexpr int OTHER_BYTES =
    (largest(Activations<QUERY_WIDTH, OUT_SET>::BYTES, Activations<QA_INTER, INNER_SET>::BYTES) + 15) / 16 * 16;
// What the dynamic shared memory begins with; the Rust twin is `Shape::fused_vectors_bytes`.
constexpr int VECTORS_BYTES = 2 * 4 * QA_HIDDEN + NORMED_BYTES + OTHER_BYTES;

// What a resident block works with, in its shared memory rather than in registers, which the phases need for themselves.
struct Context {
    Buffers b;
    __align__(16) Layer layer;
    u32 layer_index;
    u32 position;
    u32 epoch;  // of the values that were published last before this block of the model
    u32 syncs;
    u32 given_up;
    Cursor cursor;
    __align__(16) float squares[WARPS];
    Candidate candidates[WARPS];
    AttentionShared attention;
    Tracer tracer;
};

__shared__ Context context;
// The residual stream twice, two vectors, then what the kernel keeps.
extern __shared__ __align__(16) u8 dynamic[];

DEVICE float* residual_before_attention() { return (float*)dynamic; }
DEVICE float* residual_before_feed_forward() { return (float*)dynamic + QA_HIDDEN; }
DEVICE u8* normed() { return dynamic + 2 * 4 * QA_HIDDEN; }
DEVICE u8* other() { return dynamic + 2 * 4 * QA_HIDDEN + NORMED_BYTES; }

DEVICE Patience patience() { return {context.b.state, &context.given_up, 0}; }

DEVICE void begin_phase(Phase phase) { context.tracer.phase(phase, context.layer_index); }

DEVICE void all_is_there() { context.tracer.ready(); }

// After a vector is in shared memory.
DEVICE void staged() {
    __syncthreads();
    context.tracer.staged();
}

// The next exchange of values, in every thread. Between two calls lies a synchronisation of the block.
DEVICE u32 epoch_after(u32 exchanges) { return context.epoch + exchanges; }

// The residual stream times a norm's weights, unscaled, to `normed`; itself to `kept`, where the owners of its rows find
// it; and its squares to `context.squares`. `local`: it is in `kept` already, in place of words to be polled.
template <int PARTS>
DEVICE void stage_residual(const float* weight, float* kept, u32 epoch, bool local = false) {
    constexpr int QUADS = QA_HIDDEN / 4, EACH = (QUADS + THREADS - 1) / THREADS;
    auto quad = [](int i) { return thread() + i * THREADS; };
    float4 w[EACH] = {};
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        if (quad(i) < QUADS) w[i] = ((const float4*)weight)[quad(i)];
    }
    u64 words[2 * PARTS * EACH][2] = {};
    if (!local) {
        const u64* from = context.b.residual_words;
        receive(words, epoch, patience(),
                [&](int i) { return from + i / (2 * EACH) * QA_HIDDEN + 4 * quad(i / 2 % EACH) + i % 2 * 2; },
                [&](int i) { return quad(i / 2 % EACH) < QUADS; });
        all_is_there();
    }
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const bool there = quad(i) < QUADS;
        float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            const u64(&two)[2] = words[2 * (part * EACH + i)], (&more)[2] = words[2 * (part * EACH + i) + 1];
            x = make_float4(x.x + value_of(two[0]), x.y + value_of(two[1]), x.z + value_of(more[0]), x.w + value_of(more[1]));
        }
        if (there && local) x = ((const float4*)kept)[quad(i)];
        if (there && !local) ((float4*)kept)[quad(i)] = x;
        squares = fmaf(x.x, x.x, squares);
        squares = fmaf(x.y, x.y, squares);
        squares = fmaf(x.z, x.z, squares);
        squares = fmaf(x.w, x.w, squares);
        Activations<QA_HIDDEN, HIDDEN_SET>::store(
            normed(), quad(i), make_float4(x.x * w[i].x, x.y * w[i].y, x.z * w[i].z, x.w * w[i].w), there);
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
    return rsqrtf(sum / (float)QA_HIDDEN + QA_EPSILON);
}

// Most bytes that are asked for ahead: more would drive each other out of L2.
constexpr int MOST_AHEAD = 16 << 20;

// Asks for this block's share of a range of weights, whoever will multiply them: from `from` to `to`.
DEVICE void prefetch_share(const u8* from, const u8* to) {
    if (to - from > MOST_AHEAD) to = from + MOST_AHEAD;
    const u64 share = ((u64)(to - from) / grid_size() + 255) / 256 * 256;
    const u8* at = from + block_index() * share;
    if (at >= to) return;
    prefetch_range(at, (u32)(share < (u64)(to - at) ? share : (u64)(to - at)));
}

// The end of a matrix.
template <u32 FORMAT_SET, int COLUMNS>
DEVICE const u8* end_of(const Tensor& weight, int rows) {
    const u8* end = weight.data;
    with_format<FORMAT_SET>(weight.format, [&](auto tag) { end += (u64)rows * row_bytes(decltype(tag)::format, COLUMNS); });
    return end;
}

// Weights that were loaded before their format was looked at again: a row, as far as one lane has it.
template <u32 FORMAT_SET, int COLUMNS>
struct EarlyRow {
    static constexpr int STEPS = steps_of(COLUMNS);
    static constexpr int UNITS = largest_units(FORMAT_SET);
    uint4 codes[STEPS][UNITS];
    uint2 high[STEPS];
    u32 scale[STEPS], block[STEPS];

    DEVICE void load(const Tensor& weight, int row) {
        with_format<FORMAT_SET>(weight.format, [&](auto tag) {
            constexpr int FORMAT = decltype(tag)::format;
            const u8* data = weight.data + (u64)row * row_bytes(FORMAT, COLUMNS);
#pragma unroll
            for (int c = 0; c < STEPS; c++) {
                const int g = thread() % 32 + 32 * c;
                if (g >= COLUMNS / 32) continue;
                const auto group = load_group<FORMAT, COLUMNS>(data, g);
#pragma unroll
                for (int u = 0; u < code_units(FORMAT); u++) codes[c][u] = group.codes[u];
                if constexpr (high_bytes(FORMAT) != 0) high[c] = group.high;
                if constexpr (scale_bytes(FORMAT) != 0) scale[c] = group.scale;
                if constexpr (block_bytes(FORMAT) != 0) block[c] = group.block;
            }
        });
    }

    // The dot product with a vector, in every lane.
    template <u32 SET>
    DEVICE float times(u32 format, const u8* vector) const {
        float sum = 0.0f;
        with_format<FORMAT_SET>(format, [&](auto tag) {
            constexpr int FORMAT = decltype(tag)::format;
#pragma unroll
            for (int c = 0; c < STEPS; c++) {
                const int g = thread() % 32 + 32 * c;
                if (g >= COLUMNS / 32) continue;
                Group<FORMAT> group;
#pragma unroll
                for (int u = 0; u < code_units(FORMAT); u++) group.codes[u] = codes[c][u];
                group.high = high[c];
                group.scale = scale[c];
                group.block = block[c];
                sum = add_group<FORMAT, Activations<COLUMNS, SET>>(sum, group, vector, g);
            }
        });
        return warp_sum(sum);
    }
};

// `local`: the residual stream is in `residual_before_attention` already.
DEVICE void phase_qkv(bool local) {
    begin_phase(QKV);
    const Layer& l = context.layer;
    const u32 epoch = epoch_after(1);
    u64* to = context.b.qkv_words;
    // The first row of this warp in the list of all; where warps have more than one, weights are waited for longer than for
    // values.
    const Share share = share_of_grid(QKV_WIDTH);
    const int matrix = share.first < QUERY_WIDTH ? 0 : share.first < QUERY_WIDTH + KV_WIDTH ? 1 : 2;
    const int row = share.first - (matrix == 0 ? 0 : QUERY_WIDTH + (matrix - 1) * KV_WIDTH);
    const Tensor& weight = (&l.query)[matrix];
    const float* bias = (&l.query_bias)[matrix];
    EarlyRow<QA_QKV, QA_HIDDEN> early = {};
    float early_bias = 0.0f;
    if (share.first < QKV_WIDTH) {
        early.load(weight, row);
        if (bias) early_bias = bias[row];
    }
    stage_residual<2>(l.attention_norm, residual_before_attention(), context.epoch, local);
    const float factor = norm_factor();
    if (share.first < QKV_WIDTH) {
        const float sum = early.template times<HIDDEN_SET>(weight.format, normed());
        if (thread() % 32 == 0) publish(to + share.first, fmaf(sum, factor, early_bias), epoch);
    }
    if (share.first + share.stride < QKV_WIDTH) {
        auto rest = [&](const Tensor& weight, const float* bias, int before, int rows) {
            Share own = share_after(before, rows);
            if (before <= share.first && share.first < before + rows) own.first += own.stride;
            multiply<QA_QKV, QA_HIDDEN, HIDDEN_SET>(weight, own, normed(), [] {}, [&](int row, float sum) {
                if (thread() % 32 != 0) return;
                publish(to + before + row, fmaf(sum, factor, bias ? bias[row] : 0.0f), epoch);
            });
        };
        rest(l.query, l.query_bias, 0, QUERY_WIDTH);
        rest(l.key, l.key_bias, QUERY_WIDTH, KV_WIDTH);
        rest(l.value, l.value_bias, QUERY_WIDTH + KV_WIDTH, KV_WIDTH);
    }
    // The matrices of a block of the model lie one after the other.
    prefetch_share(l.output.data, l.down.data);
    context.tracer.end();
}

// A head's query and, where the piece ends the sequence, its key and value of this position, to shared memory. A lane has two
// elements that turn together.
DEVICE void stage_head(AttentionShared& shared, int head, bool own, u32 epoch) {
    constexpr int PAIRS = QA_HEAD_DIM / 2, HALF = QA_ROPE_DIMS / 2;
    const Buffers& b = context.b;
    const float2* turns = turns_of(b, context.position);
    const u64* query = b.qkv_words + head * QA_HEAD_DIM;
    const u64* key = b.qkv_words + QUERY_WIDTH + head / GROUP_SIZE * QA_HEAD_DIM;
    const int count = (own ? 3 : 1) * PAIRS;
    for (int first = thread() / 32 * 32; first < count; first += THREADS) {
        const int i = first + thread() % 32, part = i / PAIRS, p = i % PAIRS;
        const bool there = i < count, turned = p < HALF && part < 2;
        const int d = p >= HALF ? QA_ROPE_DIMS + 2 * (p - HALF) : QA_ROPE_NEOX ? p : 2 * p;
        const int e = p < HALF && QA_ROPE_NEOX ? p + HALF : d + 1;
        const float2 by = there && turned ? turns[p] : make_float2(1.0f, 0.0f);
        const u64* from = part == 0 ? query : part == 1 ? key : key + KV_WIDTH;
        u64 x = 0, y = 0;
        Patience wait = patience();
        bool all;
        do {
            if (there) {
                asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(x) : "l"(from + d) : "memory");
                asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(y) : "l"(from + e) : "memory");
            }
            all = !there || ((u32)(x >> 32) == epoch && (u32)(y >> 32) == epoch);
        } while (!__all_sync(~0u, all || wait.ends()));
        if (!there) continue;
        const float a = fmaf(value_of(x), by.x, -(value_of(y) * by.y)), b = fmaf(value_of(x), by.y, value_of(y) * by.x);
        if (part == 0) {
            shared.query[d] = a * query_scale();
            shared.query[e] = b * query_scale();
        } else if constexpr (KV_INT8) {
            float* row = part == 1 ? shared.warps[0] : shared.warps[1];
            row[d] = a;
            row[e] = b;
        } else {
            const CachedHead row = {part == 1 ? shared.key : shared.value, 1};
            keep(row, 0, d, a);
            keep(row, 0, e, b);
        }
    }
    __syncthreads();
    if constexpr (KV_INT8) {
        if (own && thread() < QA_HEAD_DIM) {
            keep({shared.key, 1}, 0, thread(), shared.warps[0][thread()]);
            keep({shared.value, 1}, 0, thread(), shared.warps[1][thread()]);
        }
        __syncthreads();
    }
    all_is_there();
}

// Publishes attended heads, or pieces of them: words of HEAD_DIM values, then the piece's m and l.
DEVICE void phase_attention() {
    begin_phase(ATTENTION);
    const Buffers& b = context.b;
    AttentionShared& shared = context.attention;
    const u32 position = context.position, epoch = epoch_after(1);
    const int length = position + 1, each = piece_length(length), pieces = piece_count(length);
    for (int tile = block_index(); tile < QA_HEADS * pieces; tile += grid_size()) {
        const int head = tile % QA_HEADS, piece = tile / QA_HEADS;
        const bool last = piece + 1 == pieces;
        const CachedHead keys = cache_of(b.keys, b, context.layer_index, head / GROUP_SIZE);
        const CachedHead values = cache_of(b.values, b, context.layer_index, head / GROUP_SIZE);
        u64* to = b.piece_words + (head * QA_SPLITS + piece) * PIECE;
        attend<true, 4>(
            shared, keys, values, piece * each, last ? length : (piece + 1) * each, last ? (int)position : -1,
            [&] { stage_head(shared, head, last, epoch); },
            [&](int d, float sum, float most, float mass) {
                publish(to + d, pieces == 1 ? sum / mass : sum, epoch + 1);
                if (d == 0 && pieces > 1) {
                    publish(to + QA_HEAD_DIM, most, epoch + 1);
                    publish(to + QA_HEAD_DIM + 1, mass, epoch + 1);
                }
            });
        if (last && head % GROUP_SIZE == 0) {
            for (int d = thread(); d < QA_HEAD_DIM; d += THREADS) {
                copy_kept({shared.key, 1}, 0, keys, position, d);
                copy_kept({shared.value, 1}, 0, values, position, d);
            }
        }
        __syncthreads();
    }
    context.tracer.end();
}

// Merged heads to `other`.
DEVICE void stage_attended(u32 epoch) {
    constexpr int QUADS = QUERY_WIDTH / 4, EACH = (QUADS + THREADS - 1) / THREADS, AT_ONCE = 3;
    using Vector = Activations<QUERY_WIDTH, OUT_SET>;
    const int count = piece_count(context.position + 1);
    const u64* words = context.b.piece_words;
    auto quad = [](int i) { return thread() + i * THREADS; };
    auto head = [&](int i) { return words + 4 * quad(i) / QA_HEAD_DIM * (QA_SPLITS * PIECE); };
    if (count == 1) {
        u64 to[2 * EACH][2];
        receive(to, epoch, patience(), [&](int i) { return head(i / 2) + 4 * quad(i / 2) % QA_HEAD_DIM + i % 2 * 2; },
                [&](int i) { return quad(i / 2) < QUADS; });
        all_is_there();
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            Vector::store(other(), quad(i),
                          make_float4(value_of(to[2 * i][0]), value_of(to[2 * i][1]), value_of(to[2 * i + 1][0]),
                                      value_of(to[2 * i + 1][1])),
                          quad(i) < QUADS);
        }
    } else {
#pragma unroll 1
        for (int i = 0; i < EACH; i++) {
            const u64* from = head(i);
            const int d = 4 * quad(i) % QA_HEAD_DIM;
            Merged merged;
#pragma unroll 1
            for (int first = 0; first < count; first += AT_ONCE) {
                u64 to[3 * AT_ONCE][2];
                receive(to, epoch, patience(),
                        [&](int j) { return from + (first + j / 3) * PIECE + (j % 3 < 2 ? d + j % 3 * 2 : QA_HEAD_DIM); },
                        [&](int j) { return first + j / 3 < count && quad(i) < QUADS; });
#pragma unroll
                for (int s = 0; s < AT_ONCE; s++) {
                    if (first + s < count) {
                        const u64(*piece)[2] = &to[3 * s];
                        merged.add(make_float4(value_of(piece[0][0]), value_of(piece[0][1]), value_of(piece[1][0]),
                                               value_of(piece[1][1])),
                                   value_of(piece[2][0]), value_of(piece[2][1]));
                    }
                }
            }
            Vector::store(other(), quad(i), merged.value(), quad(i) < QUADS);
        }
        all_is_there();
    }
    staged();
}

DEVICE void phase_output() {
    begin_phase(OUTPUT);
    const Layer& l = context.layer;
    const u32 epoch = epoch_after(3);
    multiply<QA_OUT, QUERY_WIDTH, OUT_SET>(
        l.output, share_of_grid(QA_HIDDEN), other(), [] { stage_attended(epoch_after(2)); }, [&](int row, float sum) {
            if (thread() % 32 != 0) return;
            if (l.output_bias) sum += l.output_bias[row];
            publish(context.b.residual_words + row, residual_before_attention()[row] + sum, epoch);
        });
    prefetch_share(l.down.data, end_of<QA_DOWN, QA_INTER>(l.down, QA_HIDDEN));
    context.tracer.end();
}

DEVICE void phase_gate_up() {
    begin_phase(GATE_UP);
    const Layer& l = context.layer;
    const u32 epoch = epoch_after(4);
    float factor;
    auto ready = [&] {
        stage_residual<1>(l.feed_forward_norm, residual_before_feed_forward(), epoch_after(3));
        factor = norm_factor();
    };
    gate_and_up<QA_GATE_UP, 1>(
        l.gate, l.up, normed(), 0, 1, ready, [](int row, int) { return context.b.inner + row; },
        [&](int row, int, float gate, float up) {
            publish(context.b.inner_words + row, silu(gate * factor) * (up * factor), epoch);
        });
    context.tracer.end();
}

// The feed-forward's inner values to `other`.
DEVICE void stage_inner(u32 epoch, int part) {
    constexpr int PART = 8 * groups_of_part(QA_INTER, 2), AT_ONCE = PART > 2 * THREADS ? 3 : PART > THREADS ? 2 : 1;
    const int QUADS = part == 0 ? PART : QA_INTER / 4;
    for (int first = part * PART + thread() / 32 * 32; first < QUADS; first += AT_ONCE * THREADS) {
        auto quad = [&](int i) { return first + (int)(thread() % 32) + i * THREADS; };
        u64 words[2 * AT_ONCE][2];
        receive(words, epoch, patience(), [&](int i) { return context.b.inner_words + 4 * quad(i / 2) + i % 2 * 2; },
                [&](int i) { return quad(i / 2) < QUADS; });
        all_is_there();
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            Activations<QA_INTER, INNER_SET>::store(
                other(), quad(i),
                make_float4(value_of(words[2 * i][0]), value_of(words[2 * i][1]), value_of(words[2 * i + 1][0]),
                            value_of(words[2 * i + 1][1])),
                quad(i) < QUADS);
        }
    }
    staged();
}

DEVICE void phase_down(const Layer* next) {
    begin_phase(DOWN);
    const Layer& l = context.layer;
    const u32 epoch = epoch_after(5);
    // Blocks take turns with the halves of rows: each needs only half of the vector, and no warp is left without a row.
    const int part = block_index() % 2, blocks = (grid_size() + 1 - part) / 2;
    const Share share = {thread() / 32 * blocks + block_index() / 2, QA_HIDDEN, WARPS * blocks};
    u64* to = context.b.residual_words + part * QA_HIDDEN;
    multiply<QA_DOWN, QA_INTER, INNER_SET, 2>(
        l.down, share, other(), [&] { stage_inner(epoch_after(4), part); },
        [&](int row, float sum) {
            if (thread() % 32 != 0) return;
            publish(to + row, part == 0 ? residual_before_feed_forward()[row] + sum : sum, epoch);
        },
        part);
    if (next) prefetch_share(next->query.data, next->output.data);
    context.tracer.end();
}

// The five phases of a block. Nobody has waited for what the last published. `first`: the residual stream is in
// `residual_before_attention`. `next` is the block after this, if there is one.
DEVICE void fused_block(bool first, const Layer* next) {
    phase_qkv(first);
    phase_attention();
    phase_output();
    phase_gate_up();
    phase_down(next);
}

// Goes to another block of the model, `exchanges` after the epoch.
DEVICE void enter_layer(const Layer* layer, u32 index, u32 exchanges) {
    __syncthreads();
    if (thread() < sizeof(Layer) / 16) ((uint4*)&context.layer)[thread()] = ((const uint4*)layer)[thread()];
    if (thread() == 0) {
        context.layer_index = index;
        context.epoch += exchanges;
        context.syncs += exchanges;
    }
    __syncthreads();
}

// What the phases start from. One thread calls at the beginning of a launch; the block synchronises before it goes on.
DEVICE void begin_launch(const Buffers& b) {
    context.b = b;
    context.epoch = *(volatile u32*)&b.state->epoch + (block_index() == 0 ? b.state->skew : 0);
    context.syncs = 0;
    context.given_up = 0;
    context.cursor.load(b.state);
    context.position = context.cursor.position;
    context.tracer.start(b.trace);
}

// Leaves the counters for the next launch. All blocks have read them: this one has had values from all.
DEVICE void end_launch() {
    if (block_index() == 0 && thread() == 0) {
        *(volatile u32*)&context.b.state->epoch = context.epoch;
        context.b.state->syncs += context.syncs;
    }
    if (thread() == 0) context.tracer.stop();
}
