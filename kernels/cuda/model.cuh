// What kernels are given: weights of a block, buffers, and the state of the sequence. The Rust twins are in
// backends/native/src/layout.rs; a test holds the sizes equal.
#pragma once
#include "formats.cuh"

constexpr int QUERY_WIDTH = QA_HEADS * QA_HEAD_DIM;
constexpr int KV_WIDTH = QA_KV_HEADS * QA_HEAD_DIM;
constexpr int QKV_WIDTH = QUERY_WIDTH + 2 * KV_WIDTH;
constexpr int GROUP_SIZE = QA_HEADS / QA_KV_HEADS;

// Formats that a vector of each width must serve.
constexpr u32 HIDDEN_SET = QA_QKV | QA_GATE_UP | QA_HEAD;
constexpr u32 OUT_SET = QA_OUT;
constexpr u32 INNER_SET = QA_DOWN;

// A transformer block. Missing biases are null.
struct Layer {
    Tensor query, key, value, output, gate, up, down;
    const float *attention_norm, *feed_forward_norm;
    const float *query_bias, *key_bias, *value_bias, *output_bias;
};

// How tokens are chosen at random (sampling.cuh).
struct Sampling {
    u64 top_p;                // mass to keep in units of 2^-64; 0: all
    u64 seed;
    float octaves_per_logit;  // log2(e) / temperature
    u32 top_k;                // tokens to keep; 0: all
};

// The sequence, in device memory so that a captured graph may be replayed.
struct State {
    u32 position;      // of the token that is read next
    u32 token;         // that token
    u32 produced;      // tokens written to `Buffers::produced`
    u32 forced;        // tokens that are given, whatever was the likeliest: entries of `Buffers::forced`
    u32 keep_logits;   // 1: logits of pass n go to row n of `Buffers::logits`; 0: all to row 0
    u32 limit;         // the resident grid stops when so many tokens are produced
    u32 stopped;       // 1 once a token of `stop` was produced
    u32 stop[4];       // ids that end a text; 0xffffffff is none
    u32 epoch;         // arrivals at the grid barrier before this launch, modulo 2^32
    u32 syncs;         // barriers across the grid so far
    u32 abort;         // 1: a barrier was not reached by all within the spin limit
    Sampling sampling;
    u32 drawn;         // the token that was chosen last, by the one block that chooses
    u32 skew;          // 0; what block 0 counts wrongly, to see what a broken exchange does
    u32 padding[10];
    u32 arrivals;      // the barrier's counter, in a line of its own
    u32 line[31];
};

// The likeliest token among some rows of the head.
struct Candidate {
    float logit;
    u32 id;
};

struct Buffers {
    float* residual;          // [tokens, HIDDEN]
    u8* normed;               // [tokens] of Activations<HIDDEN, HIDDEN_SET>
    float* qkv;               // [tokens, QKV_WIDTH]
    u8* keys;                 // [LAYERS, KV_HEADS] heads of `context` rows (cache.cuh)
    u8* values;               // the same
    float* pieces;            // [HEADS, SPLITS, PIECE]
    u8* attended;             // [tokens] of Activations<QUERY_WIDTH, OUT_SET>
    float* inner;             // [tokens, INTER]
    u8* inner_vector;         // [tokens] of Activations<INTER, INNER_SET>
    float* logits;            // [rows, VOCAB], or null
    Candidate* candidates;    // [candidate_count]
    State* state;
    const u32* forced;        // ids
    volatile u32* produced;   // host memory: id + 1 of each token, 0 where there is none yet
    const float2* rope;       // [context, ROPE_DIMS / 2]: cosine and sine
    Tensor embedding, head;   // [VOCAB, HIDDEN]
    const float* output_norm; // [HIDDEN]
    // exchange.cuh: a quad for four values, two words a block of the grid for its likeliest token, then one for the token that was drawn.
    struct Quad *residual_quads, *qkv_quads, *piece_quads, *inner_quads;
    u64* candidate_words;
    void* trace;              // spans of every block, where phases are traced (trace.cuh)
    u32 context;
    u32 candidate_count;
};

// The tokens of a pass: one at the state's position, or `count` of a prompt from `start` on.
struct Pass {
    u32 count;
    u32 start;
    u32 prompt;
};

DEVICE u32 position_of(const Buffers& b, const Pass& pass, u32 token) {
    return pass.prompt ? pass.start + token : *(volatile u32*)&b.state->position;
}

// The host's twins have these sizes.
static_assert(sizeof(Layer) == 160 && sizeof(Buffers) == 216 && sizeof(Sampling) == 24 && sizeof(State) == 256 &&
                  sizeof(Pass) == 12,
              "layout");
