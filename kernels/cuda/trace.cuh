// When each phase of a resident grid ran, block by block: -DQA_TRACE=1 only. Otherwise all of it compiles to nothing.
//
// One thread of a block writes a span a phase. Each token begins at the first span again, so that the last token's remain. Times
// are the multiprocessor's cycles; the first entry pairs them with the card's clock at two moments, and the host lays one
// over the other. The Rust twin is `Span` in backends/native/src/trace.rs.
#pragma once
#include "prelude.cuh"

enum Phase {
    EMBED, NORM, QKV, ROPE, ATTENTION, MERGE, OUTPUT, GATE_UP, VECTORIZE, DOWN, HEAD_ROWS, ADVANCE
};

struct Span {
    u32 phase, layer;
    u64 begin;   // the block has nothing else to do
    u64 ready;   // what others computed is there
    u64 staged;  // the vector is in shared memory
    u64 end;     // the block's results are on the way
};

// Entries of a block: the clocks, at most four phases around the blocks of the model, and ten in each of those.
constexpr int TRACE_SPANS = 5 + 10 * QA_LAYERS;

struct Tracer {
#if QA_TRACE
    Span* first;
    Span* now;

    static DEVICE u64 cycles() {
        u64 value;
        asm volatile("mov.u64 %0, %%clock64;" : "=l"(value)::"memory");
        return value;
    }

    static DEVICE u64 nanoseconds() {
        u64 value;
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(value)::"memory");
        return value;
    }

    // Both clocks at a tick of the slower.
    static DEVICE void pair(u64& cycle, u64& nanosecond) {
        const u64 before = nanoseconds();
        do {
            nanosecond = nanoseconds();
        } while (nanosecond == before);
        cycle = cycles();
    }

    DEVICE void start(void* buffer) {
        first = (Span*)buffer + (u64)block_index() * TRACE_SPANS;
        now = first;
        pair(first->begin, first->ready);
    }
    DEVICE void stop() { pair(first->staged, first->end); }
    DEVICE void token() {
        if (thread() == 0) now = first;
    }
    DEVICE void phase(Phase phase, u32 layer) {
        if (thread() != 0) return;
        now++;
        now->phase = phase;
        now->layer = layer;
        now->begin = now->ready = now->staged = cycles();
    }
    DEVICE void ready() {
        if (thread() == 0) now->ready = now->staged = cycles();
    }
    DEVICE void staged() {
        if (thread() == 0) now->staged = cycles();
    }
    DEVICE void end() {
        if (thread() == 0) now->end = cycles();
    }
#else
    DEVICE void start(void*) {}
    DEVICE void stop() {}
    DEVICE void token() {}
    DEVICE void phase(Phase, u32) {}
    DEVICE void ready() {}
    DEVICE void staged() {}
    DEVICE void end() {}
#endif
};
