// The whole decode in one launch, a phase for each operation as the kernels of the host's walk have it, and a barrier across the
// grid before each.
//
// -DQA_SAMPLED=1: tokens are drawn as `State::sampling` says. Launch: cooperative, as many blocks as are resident at once, THREADS threads, dynamic shared memory for the layers' addresses. Ends when
// `State::limit` tokens are produced or a token of `State::stop` is.
// Registers are scarcer here than in kernels of one operation.
#define QA_STEP_WORDS 24
#define QA_UNIT_WORDS 18
#include "attention.cuh"
#include "barrier.cuh"
#include "sampling.cuh"
#include "sequence.cuh"
#include "trace.cuh"

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
// The layers' addresses.
extern __shared__ __align__(16) u8 layers_of_block[];

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

// Each operation is a phase, with a barrier before it; the three projections of attention share one.

DEVICE void phase_norm(const float* weight) {
    begin_phase(NORM);
    wait_for_grid();
    if (blockIdx.x == 0) normalize(context.b.residual, weight, context.b.normed, context.scratch);
    arrive_at_grid();
}

DEVICE void phase_project_qkv() {
    begin_phase(QKV);
    wait_for_grid();
    project_qkv(context.layer, context.b.normed, context.b.qkv, [] {});
    arrive_at_grid();
}

DEVICE void phase_rope() {
    begin_phase(ROPE);
    wait_for_grid();
    const Buffers& b = context.b;
    const u32 position = context.position;
    for (int head = blockIdx.x; head < QA_HEADS + QA_KV_HEADS; head += gridDim.x) {
        float* values = b.qkv + head * QA_HEAD_DIM;
        const int d = thread();
        float turned = 0.0f;
        if (d < QA_HEAD_DIM) {
            turned = rotated([&](int i) { return load_shared_value(values + i); }, d, turns_of(b, position));
        }
        __syncthreads();
        if (d < QA_HEAD_DIM && head < QA_HEADS) {
            values[d] = turned * query_scale();
        } else if (d < QA_HEAD_DIM) {
            keep(cache_of(b.keys, b, context.layer_index, head - QA_HEADS), position, d, turned);
            keep(cache_of(b.values, b, context.layer_index, head - QA_HEADS), position, d,
                 load_shared_value(values + KV_WIDTH + d));
        }
    }
    arrive_at_grid();
}

DEVICE void phase_attend() {
    begin_phase(ATTENTION);
    wait_for_grid();
    const Buffers& b = context.b;
    const int length = context.position + 1, each = piece_length(length), pieces = piece_count(length);
    for (int tile = blockIdx.x; tile < QA_HEADS * pieces; tile += gridDim.x) {
        const int head = tile % QA_HEADS, piece = tile / QA_HEADS;
        const int to = (piece + 1) * each < length ? (piece + 1) * each : length;
        attend<false, 1>(context.attention, cache_of(b.keys, b, context.layer_index, head / GROUP_SIZE),
                      cache_of(b.values, b, context.layer_index, head / GROUP_SIZE), piece * each, to, -1,
                      [&] {
                          for (int d = thread(); d < QA_HEAD_DIM; d += THREADS) {
                              context.attention.query[d] = load_shared_value(b.qkv + head * QA_HEAD_DIM + d);
                          }
                          __syncthreads();
                      },
                      PieceTo{b.pieces + (head * QA_SPLITS + piece) * PIECE});
        __syncthreads();
    }
    arrive_at_grid();
}

DEVICE void phase_merge() {
    begin_phase(MERGE);
    wait_for_grid();
    if (blockIdx.x == 0) vectorize_attended(context.b.pieces, context.position + 1, context.b.attended);
    arrive_at_grid();
}

DEVICE void phase_project_output() {
    begin_phase(OUTPUT);
    wait_for_grid();
    multiply<QA_OUT, QUERY_WIDTH, OUT_SET>(context.layer.output, share_of_grid(QA_HIDDEN), context.b.attended, [] {},
                                           Result{context.layer.output_bias, context.b.residual, true});
    arrive_at_grid();
}

DEVICE void phase_project_gate_up() {
    begin_phase(GATE_UP);
    wait_for_grid();
    gate_and_up_to<QA_GATE_UP, 1>(context.layer.gate, context.layer.up, context.b.normed, 0, context.b.inner, 1, [] {});
    arrive_at_grid();
}

DEVICE void phase_vectorize() {
    begin_phase(VECTORIZE);
    wait_for_grid();
    if (blockIdx.x == 0) vectorize_inner(context.b.inner, context.b.inner_vector);
    arrive_at_grid();
}

DEVICE void phase_project_down() {
    begin_phase(DOWN);
    wait_for_grid();
    multiply<QA_DOWN, QA_INTER, INNER_SET>(context.layer.down, share_of_grid(QA_HIDDEN), context.b.inner_vector, [] {},
                                           Result{nullptr, context.b.residual, true});
    arrive_at_grid();
}

DEVICE void unfused_block() {
    phase_norm(context.layer.attention_norm);
    phase_project_qkv();
    phase_rope();
    phase_attend();
    phase_merge();
    phase_project_output();
    phase_norm(context.layer.feed_forward_norm);
    phase_project_gate_up();
    phase_vectorize();
    phase_project_down();
}

// To the likeliest token of this block's rows of the head.
DEVICE void phase_head() {
    begin_phase(HEAD_ROWS);
    wait_for_grid();
    float* logits = context.b.logits;
    if (logits && context.b.state->keep_logits) logits += (u64)context.cursor.produced * QA_VOCAB;
    project_head(context.b, context.b.normed, logits, context.candidates, [] {});
    arrive_at_grid();
}

DEVICE void phase_embed() {
    context.tracer.token();
    begin_phase(EMBED);
    embed(context.b.embedding, context.cursor.token, context.b.residual, blockIdx.x * THREADS + thread(), gridDim.x * THREADS);
    arrive_at_grid();
}

DEVICE void phase_advance() {
    begin_phase(ADVANCE);
    wait_for_grid();
    u32 best = likeliest(context.b, gridDim.x, context.candidates);
#if QA_SAMPLED
    // One block chooses; the others wait for what it chose.
    __shared__ SamplingShared sampling;
    if (blockIdx.x == 0) {
        best = draw(context.b, best, context.cursor.position + 1, sampling);
        if (thread() == 0) *(volatile u32*)&context.b.state->drawn = best;
    }
    arrive_at_grid();
    wait_for_grid();
    best = *(volatile u32*)&context.b.state->drawn;
#endif
    if (thread() == 0) {
        context.cursor.advance(context.b, best, blockIdx.x == 0);
        context.position = context.cursor.position;
    }
    __syncthreads();
    context.tracer.end();
}

DEVICE Layer* local_layers() { return (Layer*)layers_of_block; }

DEVICE void enter_layer(u32 index) {
    __syncthreads();
    if (thread() < sizeof(Layer) / 16) {
        ((uint4*)&context.layer)[thread()] = ((const uint4*)&local_layers()[index])[thread()];
    }
    if (thread() == 0) context.layer_index = index;
    __syncthreads();
}

// Everything that outlives a phase is in `context`.
extern "C" __global__ void __launch_bounds__(THREADS, 1) decode(Buffers b, const Layer* layers) {
    for (u32 i = thread(); i < QA_LAYERS * sizeof(Layer) / 16; i += THREADS) {
        ((uint4*)local_layers())[i] = ((const uint4*)layers)[i];
    }
    if (thread() == 0) {
        context.b = b;
        context.barrier.begin(b.state);
        context.cursor.load(b.state);
        context.position = context.cursor.position;
        context.tracer.start(b.trace);
    }
    __syncthreads();
    while (context.cursor.produced < context.b.state->limit && !context.cursor.stopped) {
        phase_embed();
        enter_layer(0);
        while (true) {
            unfused_block();
            if (context.layer_index + 1 == QA_LAYERS) break;
            enter_layer(context.layer_index + 1);
        }
        phase_norm(context.b.output_norm);
        phase_head();
        phase_advance();
    }
    context.barrier.sync();
    if (blockIdx.x == 0 && thread() == 0) context.cursor.store(context.b.state);
    context.barrier.finish();
    if (thread() == 0) context.tracer.stop();
}
