// The whole decode in one launch, a transformer block in five phases (phases.cuh): a resident grid that walks blocks of the
// model and tokens by itself.
//
// -DQA_SAMPLED=1: tokens are drawn as `State::sampling` says. Launch: cooperative, at most as many blocks as are resident at once and as a matrix has rows, RING_THREADS
// threads, all the dynamic shared memory that a block may have. Ends when `State::limit` tokens are
// produced or a token of `State::stop` is.
#define QA_KEEP_INDICES
#include "phases.cuh"
#include "sampling.cuh"

// The token's row of the embedding, in every block.
DEVICE void phase_embed(const Place& at) {
    context.tracer.token();
    begin_phase(EMBED, at);
    // Read anew: what is known of the index elsewhere makes the compiler index registers, which puts them into memory.
    int index;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
    embed(context.b.embedding, context.cursor.token, embedded(), index, THREADS);
    staged();
    keep_own();
    sync_block();
    context.tracer.end();
}

// This block's rows of the head.
DEVICE Rows rows_of_head() {
    const u32 first = (u64)QA_VOCAB * block_index() / grid_size(), end = (u64)QA_VOCAB * (block_index() + 1) / grid_size();
    return {(int)first, (int)(end - first)};
}

// Publishes the likeliest token of this block's rows of the head.
DEVICE void phase_head(Place& at) {
    begin_phase(HEAD_ROWS, at);
    turn_gate();
    const Buffers& b = context.b;
    float* logits = b.logits;
    if (logits && b.state->keep_logits) logits += (u64)context.cursor.produced * QA_VOCAB;
    stage_residual(b.output_norm, at.epoch);
    const float factor = norm_factor();
    const Rows own = rows_of_head();
    Candidate best = {-INFINITY, NO_TOKEN};
    multiply_tiles<QA_HEAD, QA_VOCAB, HiddenVector, 1>(context.ring, dynamic, at.tile, b.head, own.count, 0, normed(),
                                                      [&](int row, float sum) {
                                                          const float logit = sum * factor;
                                                          best = likelier(best, {logit, (u32)(own.first + row)});
                                                          if (logits) logits[own.first + row] = logit;
                                                      });
    if (b.logits) {
        // Whoever asks for logits may ask for what they were made of.
        const Rows rows = context.hidden;
        for (int i = thread(); i < rows.count; i += THREADS) b.residual[rows.first + i] = own_residual()[i];
    }
    best = likeliest_of_block(best, context.candidates);
    if (thread() == 0) {
        // Rows of the cache that this block wrote are read by others for later tokens only.
        asm volatile("fence.acq_rel.gpu;" ::: "memory");
        publish(b.candidate_words + 2 * block_index(), best.logit, at.epoch + 1);
        publish(b.candidate_words + 2 * block_index() + 1, __uint_as_float(best.id), at.epoch + 1);
    }
    context.tracer.end();
}

// Exchanges from the head to the next token.
constexpr u32 ADVANCE_EXCHANGES = QA_SAMPLED ? 2 : 1;

// Moves on to the likeliest token of all blocks, or one that is drawn.
DEVICE void phase_advance(Place& at) {
    begin_phase(ADVANCE, at);
    const u32 epoch = at.epoch + 1;
    Candidate best = {-INFINITY, NO_TOKEN};
    for (u32 first = thread() / 32 * 32; first < grid_size(); first += THREADS) {
        const u32 i = first + thread() % 32;
        Word words[2];
        receive(words, epoch, patience(), [&](int word) { return context.b.candidate_words + 2 * i + word; },
                [&](int) { return i < grid_size(); });
        if (i < grid_size()) best = likelier(best, {words[0].value(), words[1].id()});
    }
    asm volatile("fence.acq_rel.gpu;" ::: "memory");
    all_is_there();
    u32 id = likeliest_of_block(best, context.candidates).id;
#if QA_SAMPLED
    // One block chooses; the others wait for what it chose.
    __shared__ SamplingShared sampling;
    u64* drawn = context.b.candidate_words + 2 * grid_size();
    if (block_index() == 0) {
        id = draw(context.b, id, context.cursor.position + 1, sampling);
        if (thread() == 0) publish(drawn, __uint_as_float(id), epoch + 1);
    }
    Word word[1];
    receive(word, epoch + 1, patience(), [&](int) { return drawn; }, [](int) { return true; });
    id = word[0].id();
    sync_block();
#endif
    if (thread() == 0) {
        context.cursor.advance(context.b, id, block_index() == 0);
        move_to(context.cursor.position);
    }
    context.tracer.end();
    at.epoch += ADVANCE_EXCHANGES;
    sync_block();
}

// Fills the ring with one token's weights after the other's, until nobody needs more.
DEVICE void fill_ring() {
    Filler filler{context.ring, dynamic};
    // A ring that holds two blocks of the model need not be filled all the time. What one warp copies never keeps memory busy.
    const bool holds_two = 2 * bytes_of_block(local_layers()[0]) <= context.ring.bytes;
    filler.moments = QA_ARCHITECTURE < 900 ? NOW : holds_two ? WHILE_OPEN : EVENLY;
    const Rows head = rows_of_head();
    bool more = true;
    while (more) {
#pragma unroll 1
        for (int i = 0; more && i < QA_LAYERS; i++) more = fill_block(filler, local_layers()[i]);
        more = more && filler.add_rows<QA_HEAD, QA_HIDDEN>(context.b.head, head.first, head.count);
    }
    filler.drain();
}

extern "C" __global__ void __launch_bounds__(RING_THREADS, 1) decode(Buffers b, const Layer* layers) {
    for (u32 i = thread(); i < QA_LAYERS * sizeof(Layer) / 16; i += RING_THREADS) {
        ((uint4*)local_layers())[i] = ((const uint4*)layers)[i];
    }
    if (thread() == 0) begin_launch(b, 0);
    __syncthreads();
    if (fills()) {
        if (!is_idle_lane()) fill_ring();
        return;
    }
    Place at = {LAYERS_AT, context.first_epoch, 0};
    while (context.cursor.produced < context.b.state->limit && !context.cursor.stopped && !context.given_up) {
        phase_embed(at);
#pragma unroll 1
        for (at.layer_at = LAYERS_AT; at.layer_at < LAYERS_AT + QA_LAYERS * sizeof(Layer); at.layer_at += sizeof(Layer)) {
            fused_block(at, at.layer_at == LAYERS_AT);
        }
        phase_head(at);
        phase_advance(at);
    }
    sync_block();
    if (thread() == 0) arrive_at(&context.ring.finished);
    if (block_index() == 0 && thread() == 0) context.cursor.store(context.b.state);
    end_launch(at.epoch);
}
