// A transformer block in five phases, with a barrier across the grid after each:
//
//   1  norm, Q K V with biases       every block normalises the row for itself
//   2  rotation, attention           a block a head and piece; one block a key head also writes the cache
//   3  merge, output, residual       every block merges all heads for itself
//   4  norm, gate, up, silu
//   5  down, residual
//
// A phase loads its first weights before it waits for the phase before it, and asks for rows of the phase after it once
// its own are read.
#pragma once
#include "attention.cuh"
#include "barrier.cuh"
#include "sequence.cuh"
#include "trace.cuh"

constexpr int largest(int a, int b) { return a > b ? a : b; }

constexpr int VECTOR_BYTES =
    largest(Activations<QA_HIDDEN, HIDDEN_SET>::BYTES,
            largest(Activations<QUERY_WIDTH, OUT_SET>::BYTES, Activations<QA_INTER, INNER_SET>::BYTES));

// Asks for this warp's rows of a weight.
DEVICE void prefetch_rows(const u8* data, u32 bytes, Share share) {
    for (int u = share.first; u < share.count; u += share.stride) prefetch_row(data + (u64)u * bytes, bytes);
}

template <u32 FORMAT_SET, int COLUMNS>
DEVICE void prefetch_weight(const Tensor& weight, Share share) {
    with_format<FORMAT_SET>(weight.format, [&](auto tag) {
        prefetch_rows(weight.data, row_bytes(decltype(tag)::format, COLUMNS), share);
    });
}

DEVICE void prefetch_qkv(const Layer& layer) {
    prefetch_weight<QA_QKV, QA_HIDDEN>(layer.query, share_after(0, QUERY_WIDTH));
    prefetch_weight<QA_QKV, QA_HIDDEN>(layer.key, share_after(QUERY_WIDTH, KV_WIDTH));
    prefetch_weight<QA_QKV, QA_HIDDEN>(layer.value, share_after(QUERY_WIDTH + KV_WIDTH, KV_WIDTH));
}

// What a resident block works with, in its shared memory rather than in registers, which the phases need for themselves.
struct Context {
    Buffers b;
    __align__(16) Layer layer;
    u32 layer_index;
    u32 position;
    GridBarrier barrier;
    Cursor cursor;
    float scratch[WARPS];
    Candidate candidates[WARPS];
    AttentionShared attention;
    Tracer tracer;
};

__shared__ Context context;
extern __shared__ __align__(16) u8 vector[];

// A phase of this block begins; the two after it say that others' results are there, and that its own are on the way.
DEVICE void begin_phase(Phase phase) { context.tracer.phase(phase, context.layer_index); }

DEVICE void wait_for_grid() {
    context.barrier.wait();
    context.tracer.ready();
}

DEVICE void arrive_at_grid() {
    context.barrier.arrive();
    context.tracer.end();
}

// Waits for the grid, then makes the vector in shared memory.
template <class Stage>
struct Staged {
    Stage& stage;
    bool wait;
    DEVICE void operator()() const {
        if (wait) wait_for_grid();
        stage();
        __syncthreads();
        context.tracer.staged();
    }
};

template <class Stage>
DEVICE Staged<Stage> staged(Stage& stage, bool wait = true) {
    return {stage, wait};
}

// The first phase of a launch has nobody to wait for.
DEVICE void phase_qkv(bool wait) {
    begin_phase(QKV);
    const Layer& layer = context.layer;
    auto stage = [] { normalize(context.b.residual, context.layer.attention_norm, vector, context.scratch); };
    project_qkv(layer, vector, context.b.qkv, staged(stage, wait));
    prefetch_weight<QA_OUT, QUERY_WIDTH>(layer.output, share_of_grid(QA_HIDDEN));
    arrive_at_grid();
}

// Loads a head's query and, where the piece ends the sequence, its key and value of this position, rotated, to shared
// memory.
DEVICE void load_rotated(const Buffers& b, AttentionShared& shared, int head, u32 position, bool own) {
    const float2* turns = turns_of(b, position);
    const int kv_head = head / GROUP_SIZE;
    for (int d = thread(); d < QA_HEAD_DIM; d += THREADS) {
        const float* query = b.qkv + head * QA_HEAD_DIM;
        shared.query[d] = rotated([&](int i) { return load_shared_value(query + i); }, d, turns) * query_scale();
        if (own) {
            const float* key = b.qkv + QUERY_WIDTH + kv_head * QA_HEAD_DIM;
            const float* value = key + KV_WIDTH;
            keep({shared.key, 1}, 0, d, rotated([&](int i) { return load_shared_value(key + i); }, d, turns));
            keep({shared.value, 1}, 0, d, load_shared_value(value + d));
        }
    }
    __syncthreads();
}

DEVICE void phase_attention() {
    begin_phase(ATTENTION);
    const Buffers& b = context.b;
    AttentionShared& shared = context.attention;
    const u32 position = context.position;
    wait_for_grid();
    const int length = position + 1, each = piece_length(length), pieces = piece_count(length);
    for (int tile = blockIdx.x; tile < QA_HEADS * pieces; tile += gridDim.x) {
        const int head = tile % QA_HEADS, piece = tile / QA_HEADS;
        const bool last = piece + 1 == pieces;
        load_rotated(b, shared, head, position, last);
        const CachedHead keys = cache_of(b.keys, b, context.layer_index, head / GROUP_SIZE);
        const CachedHead values = cache_of(b.values, b, context.layer_index, head / GROUP_SIZE);
        attend<true>(shared, keys, values, piece * each, last ? length : (piece + 1) * each, last ? (int)position : -1,
                     b.pieces + (head * QA_SPLITS + piece) * PIECE);
        if (last && head % GROUP_SIZE == 0) {
            for (int d = thread(); d < QA_HEAD_DIM; d += THREADS) {
                copy_kept({shared.key, 1}, 0, keys, position, d);
                copy_kept({shared.value, 1}, 0, values, position, d);
            }
        }
        __syncthreads();
    }
    prefetch_weight<QA_GATE_UP, QA_HIDDEN>(context.layer.gate, share_of_grid(QA_INTER));
    prefetch_weight<QA_GATE_UP, QA_HIDDEN>(context.layer.up, share_of_grid(QA_INTER));
    arrive_at_grid();
}

DEVICE void phase_output() {
    begin_phase(OUTPUT);
    const Layer& layer = context.layer;
    auto stage = [] { vectorize_attended(context.b.pieces, context.position + 1, vector); };
    multiply<QA_OUT, QUERY_WIDTH, OUT_SET>(layer.output, share_of_grid(QA_HIDDEN), vector, staged(stage),
                                           {layer.output_bias, context.b.residual, true});
    prefetch_weight<QA_DOWN, QA_INTER>(layer.down, share_of_grid(QA_HIDDEN));
    arrive_at_grid();
}

DEVICE void phase_gate_up() {
    begin_phase(GATE_UP);
    const Layer& layer = context.layer;
    auto stage = [] { normalize(context.b.residual, context.layer.feed_forward_norm, vector, context.scratch); };
    gate_and_up<QA_GATE_UP, 1>(layer.gate, layer.up, vector, 0, context.b.inner, 1, staged(stage));
    arrive_at_grid();
}

DEVICE void phase_down(const Layer* next) {
    begin_phase(DOWN);
    const Layer& layer = context.layer;
    auto stage = [] { vectorize_inner(context.b.inner, vector); };
    multiply<QA_DOWN, QA_INTER, INNER_SET>(layer.down, share_of_grid(QA_HIDDEN), vector, staged(stage),
                                           {nullptr, context.b.residual, true});
    if (next) prefetch_qkv(*next);
    arrive_at_grid();
}

// The five phases of a block. All of this grid have arrived when the last is done, and nobody has waited for it.
DEVICE void fused_block(bool wait_first, const Layer* next) {
    phase_qkv(wait_first);
    phase_attention();
    phase_output();
    phase_gate_up();
    phase_down(next);
}

// To the likeliest token of this block's rows of the head.
DEVICE void phase_head() {
    begin_phase(HEAD_ROWS);
    float* logits = context.b.logits;
    if (logits && context.b.state->keep_logits) logits += (u64)context.cursor.produced * QA_VOCAB;
    auto stage = [] { normalize(context.b.residual, context.b.output_norm, vector, context.scratch); };
    project_head(context.b, vector, logits, context.candidates, staged(stage));
    arrive_at_grid();
}
