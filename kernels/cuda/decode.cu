// The whole decode in one launch, a transformer block in five phases (phases.cuh): a resident grid that walks blocks of the
// model and tokens by itself.
//
// -DQA_SAMPLED=1: tokens are drawn as `State::sampling` says. Launch: cooperative, at most as many blocks as are resident at once and as a matrix has rows, THREADS threads,
// VECTORS_BYTES of dynamic shared memory and room for the layers' addresses after them. Ends when `State::limit` tokens are
// produced or a token of `State::stop` is.
#include "phases.cuh"
#include "sampling.cuh"

// The token's row of the embedding, in every block.
DEVICE void phase_embed() {
    context.tracer.token();
    begin_phase(EMBED);
    embed(context.b.embedding, context.cursor.token, residual_before_attention(), thread(), THREADS);
    staged();
    context.tracer.end();
}

// Publishes the likeliest token of this block's rows of the head.
DEVICE void phase_head() {
    begin_phase(HEAD_ROWS);
    const Buffers& b = context.b;
    float* logits = b.logits;
    if (logits && b.state->keep_logits) logits += (u64)context.cursor.produced * QA_VOCAB;
    float factor;
    auto ready = [&] {
        stage_residual<2>(b.output_norm, residual_before_attention(), context.epoch);
        factor = norm_factor();
    };
    Candidate best = likeliest_row(b, normed(), logits, ready, [&] { return factor; });
    if (b.logits && block_index() == 0) {
        // Whoever asks for logits may ask for what they were made of.
        for (int i = thread(); i < QA_HIDDEN; i += THREADS) b.residual[i] = residual_before_attention()[i];
    }
    best = likeliest_of_block(best, context.candidates);
    if (thread() == 0) {
        // Rows of the cache that this block wrote are read by others for later tokens only.
        asm volatile("fence.acq_rel.gpu;" ::: "memory");
        publish(b.candidate_words + 2 * block_index(), best.logit, epoch_after(1));
        publish(b.candidate_words + 2 * block_index() + 1, __uint_as_float(best.id), epoch_after(1));
    }
    context.tracer.end();
}

// Exchanges from the head to the next token.
constexpr u32 ADVANCE_EXCHANGES = QA_SAMPLED ? 2 : 1;

// Moves on to the likeliest token of all blocks, or one that is drawn.
DEVICE void phase_advance() {
    begin_phase(ADVANCE);
    const u32 epoch = epoch_after(1);
    Candidate best = {-INFINITY, NO_TOKEN};
    for (u32 first = thread() / 32 * 32; first < grid_size(); first += THREADS) {
        const u32 i = first + thread() % 32;
        u64 words[1][2];
        receive(words, epoch, patience(), [&](int) { return context.b.candidate_words + 2 * i; },
                [&](int) { return i < grid_size(); });
        if (i < grid_size()) best = likelier(best, {value_of(words[0][0]), (u32)words[0][1]});
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
        if (thread() < 2) publish(drawn + thread(), __uint_as_float(id), epoch + 1);
    }
    u64 words[1][2];
    receive(words, epoch + 1, patience(), [&](int) { return drawn; }, [](int) { return true; });
    id = (u32)words[0][0];
    __syncthreads();
#endif
    if (thread() == 0) {
        context.cursor.advance(context.b, id, block_index() == 0);
        context.position = context.cursor.position;
    }
    context.tracer.end();
}

// The layers' addresses, after the vectors.
DEVICE Layer* local_layers() { return (Layer*)(dynamic + VECTORS_BYTES); }

// Everything that outlives a phase is in `context`.
extern "C" __global__ void __launch_bounds__(THREADS, 1) decode(Buffers b, const Layer* layers) {
    for (u32 i = thread(); i < QA_LAYERS * sizeof(Layer) / 16; i += THREADS) {
        ((uint4*)local_layers())[i] = ((const uint4*)layers)[i];
    }
    if (thread() == 0) begin_launch(b);
    __syncthreads();
    while (context.cursor.produced < context.b.state->limit && !context.cursor.stopped && !context.given_up) {
        phase_embed();
        enter_layer(local_layers(), 0, 0);
        while (true) {
            const u32 next = context.layer_index + 1;
            fused_block(context.layer_index == 0, next < QA_LAYERS ? &local_layers()[next] : nullptr);
            if (context.layer_index + 1 == QA_LAYERS) break;
            enter_layer(&local_layers()[context.layer_index + 1], context.layer_index + 1, 5);
        }
        enter_layer(local_layers(), 0, 5);
        phase_head();
        phase_advance();
        enter_layer(local_layers(), 0, ADVANCE_EXCHANGES);
    }
    if (block_index() == 0 && thread() == 0) context.cursor.store(context.b.state);
    end_launch();
}
