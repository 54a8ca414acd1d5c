// Choosing a token at random: temperature, then top-k, then top-p, then a draw. One block does it, and in integers after
// the exponential, so that the order of summing changes nothing; `qa_reference::sampling` is the same on the CPU, says what is
// computed, and is what this is checked against, bit by bit.
//
// Tokens are ordered by logit, the lowest id first among equals. All three steps ask where in that order a sum first exceeds a
// target: of tokens (top-k) or of masses (top-p, the draw). `Sampler::locate` answers it: a histogram over octaves below the
// highest logit, then the tokens of the one bin that matters, ranked against each other.
#pragma once
#include "philox.cuh"
#include "sequence.cuh"

// Octaves below the highest logit from which on a token has no mass, and bits of the largest mass.
constexpr int OCTAVES = 28;
// Sums of either half of a mass stay below 2^32.
constexpr int HALF_BITS = OCTAVES / 2;
static_assert((u64)QA_VOCAB << HALF_BITS < 1ull << 32, "the vocabulary is too large for the sums");

constexpr int BINS = THREADS;
constexpr float BINS_PER_OCTAVE = 18.0f;
// A finer bin is a digit of a token's place in the order.
constexpr int DIGIT_BITS = 8;

// floor(2^-x 2^28) for x in [0, 28).
DEVICE u32 mass_of(float x) {
    const int whole = (int)x;
    const float rest = x - (float)whole;
    float p = 0.00011491995f;
    p = fmaf(p, rest, -0.0012916368f);
    p = fmaf(p, rest, 0.009597035f);
    p = fmaf(p, rest, -0.05549923f);
    p = fmaf(p, rest, 0.24022609f);
    p = fmaf(p, rest, -0.69314718246f);
    p = fmaf(p, rest, 1.0f);
    return (u32)(p * (float)(1u << OCTAVES)) >> whole;
}

// A place in the order as a number: smaller is earlier, and no two tokens share one.
DEVICE u64 place_of(float logit, u32 id) {
    const u32 bits = __float_as_uint(logit + 0.0f);  // one zero only
    const u32 rising = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (u64)~rising << 32 | id;
}

// Tokens and mass.
struct Amount {
    u32 tokens;
    u64 mass;
};

struct SamplingShared {
    u32 tokens[BINS];
    u32 low[BINS], high[BINS];  // halves of the masses
    Amount warps[WARPS];
    u64 places[THREADS];
    u32 masses[THREADS];
    u32 listed;
    u32 no_number;  // 1: a logit is none
    bool whole;     // the histogram is that of all tokens
    int bin;        // what was located, and what comes before it
    u32 id;
    Amount before, at;
};

// Tokens among which something is looked for: all, those of a bin, or those of them whose place begins with some bits.
struct Range {
    int bin = -1;
    int bits = 0;
    u64 beginning = 0;

    DEVICE bool has(float x, u64 place) const {
        return (bin < 0 || (int)(x * BINS_PER_OCTAVE) == bin) && (bits == 0 || place >> (64 - bits) == beginning);
    }
    DEVICE int bin_of(float x, u64 place) const {
        return bin < 0 ? (int)(x * BINS_PER_OCTAVE) : (int)(place >> (64 - bits - DIGIT_BITS)) & ((1 << DIGIT_BITS) - 1);
    }
};

// All members are called by THREADS threads together.
struct Sampler {
    SamplingShared& s;
    const float* logits;
    float most;
    float octaves_per_logit;

    // `visit(x, place, mass)` for each token with a mass, x octaves below the highest.
    template <class Visit>
    DEVICE void each(Visit visit) const {
        constexpr int AT_ONCE = 4, QUADS = (QA_VOCAB + 3) / 4;
        for (int first = thread(); first < QUADS; first += AT_ONCE * THREADS) {
            float4 batch[AT_ONCE];
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) {
                const int quad = first + i * THREADS;
                batch[i] = make_float4(-INFINITY, -INFINITY, -INFINITY, -INFINITY);
                if (4 * quad + 3 < QA_VOCAB) {
                    batch[i] = load_shared_value4(logits + 4 * quad);
                } else if (QA_VOCAB % 4 != 0 && quad < QUADS) {
                    batch[i].x = load_shared_value(logits + 4 * quad);
                    if (QA_VOCAB % 4 > 1) batch[i].y = load_shared_value(logits + 4 * quad + 1);
                    if (QA_VOCAB % 4 > 2) batch[i].z = load_shared_value(logits + 4 * quad + 2);
                }
            }
#pragma unroll
            for (int i = 0; i < 4 * AT_ONCE; i++) {
                const float4 four = batch[i / 4];
                const float logit = i % 4 == 0 ? four.x : i % 4 == 1 ? four.y : i % 4 == 2 ? four.z : four.w;
                const float x = (most - logit) * octaves_per_logit;
                if (logit != logit) s.no_number = 1;
                if (x < (float)OCTAVES) visit(x, place_of(logit, 4 * (first + i / 4 * THREADS) + i % 4), mass_of(x));
            }
        }
    }

    // Counts the tokens of a range and their masses in bins.
    DEVICE void count(const Range& range) const {
        sync_block();
        s.tokens[thread()] = s.low[thread()] = s.high[thread()] = 0;
        if (thread() == 0) s.whole = range.bin < 0;
        sync_block();
        each([&](float x, u64 place, u32 mass) {
            if (!range.has(x, place)) return;
            const int bin = range.bin_of(x, place);
            atomicAdd(&s.tokens[bin], 1u);
            atomicAdd(&s.low[bin], mass & ((1u << HALF_BITS) - 1));
            atomicAdd(&s.high[bin], mass >> HALF_BITS);
        });
        sync_block();
    }

    // All bins up to this thread's, its own included; `at` receives its own.
    DEVICE Amount sum_of_bins(Amount& at) const {
        at = {s.tokens[thread()], s.low[thread()] + ((u64)s.high[thread()] << HALF_BITS)};
        Amount sum = at;
#pragma unroll
        for (int offset = 1; offset < 32; offset *= 2) {
            const u32 tokens = __shfl_up_sync(~0u, sum.tokens, offset);
            const u64 mass = __shfl_up_sync(~0u, sum.mass, offset);
            if (thread() % 32 >= offset) sum = {sum.tokens + tokens, sum.mass + mass};
        }
        if (thread() % 32 == 31) s.warps[thread() / 32] = sum;
        sync_block();
        for (int w = 0; w < thread() / 32; w++) sum = {sum.tokens + s.warps[w].tokens, sum.mass + s.warps[w].mass};
        sync_block();
        return sum;
    }

    // Everything that has a mass. The histogram is then that of all tokens.
    DEVICE Amount total() const {
        count(Range{});
        Amount at;
        const Amount sum = sum_of_bins(at);
        if (thread() == THREADS - 1) s.at = sum;
        sync_block();
        return s.at;
    }

    // Finds the first token at which the sum exceeds `target`, which is below the sum of all. `s.id` is that token; answers
    // the sums up to it, its own included.
    template <bool BY_MASS>
    DEVICE Amount locate(u64 target) const {
        auto wanted = [](const Amount& amount) { return BY_MASS ? amount.mass : (u64)amount.tokens; };
        if (!s.whole) count(Range{});
        Range range;
        Amount before = {0, 0};
        while (true) {
            Amount at;
            const Amount sum = sum_of_bins(at);
            const u64 to = wanted(before) + wanted(sum);
            if (to > target && to - wanted(at) <= target) {
                s.bin = thread();
                s.at = at;
                s.before = {before.tokens + sum.tokens - at.tokens, before.mass + sum.mass - at.mass};
            }
            sync_block();
            before = s.before;
            const bool few = s.at.tokens <= THREADS;
            if (range.bin < 0) {
                range.bin = s.bin;
            } else {
                range.bits += DIGIT_BITS;
                range.beginning = range.beginning << DIGIT_BITS | (u32)s.bin;
            }
            if (few) break;
            count(range);
        }
        rank<BY_MASS>(range, before, target);
        return s.at;
    }

    // The same among at most THREADS tokens of a range, `before` all of which the sums are `before`.
    template <bool BY_MASS>
    DEVICE void rank(const Range& range, const Amount& before, u64 target) const {
        if (thread() == 0) s.listed = 0;
        sync_block();
        each([&](float x, u64 place, u32 mass) {
            if (!range.has(x, place)) return;
            const u32 slot = atomicAdd(&s.listed, 1u);
            s.places[slot] = place;
            s.masses[slot] = mass;
        });
        sync_block();
        const u32 count = s.listed;
        if (thread() < count) {
            const u64 place = s.places[thread()];
            Amount sum = before;
            for (u32 i = 0; i < count; i++) {
                if (s.places[i] <= place) sum = {sum.tokens + 1, sum.mass + s.masses[i]};
            }
            const u64 to = BY_MASS ? sum.mass : sum.tokens;
            if (to > target && to - (BY_MASS ? s.masses[thread()] : 1) <= target) {
                s.id = (u32)place;
                s.at = sum;
            }
        }
        sync_block();
    }
};

// The token at index `position` of the sequence, in every thread; NO_TOKEN where a logit is no number. The logits are row 0
// of `Buffers::logits`, `likeliest` is the first of them.
DEVICE u32 draw(const Buffers& b, u32 likeliest, u32 position, SamplingShared& s) {
    if (likeliest == NO_TOKEN) return NO_TOKEN;
    const volatile Sampling& ask = b.state->sampling;
    const Sampler sampler{s, b.logits, load_shared_value(b.logits + likeliest), ask.octaves_per_logit};
    if (thread() == 0) s.no_number = 0;
    const Amount all = sampler.total();
    if (s.no_number || all.mass == 0) return NO_TOKEN;
    u64 kept = all.mass;
    if (ask.top_k > 0 && ask.top_k < all.tokens) kept = sampler.locate<false>(ask.top_k - 1).mass;
    if (ask.top_p > 0) {
        // The least whole mass that is top_p / 2^64 of what is kept.
        const u64 least = __umul64hi(kept, ask.top_p) + (kept * ask.top_p != 0 ? 1 : 0);
        kept = sampler.locate<true>(least - 1).mass;
    }
    sampler.locate<true>(__umul64hi(random_bits(ask.seed, position), kept));
    return s.id;
}
