// Queries, keys and values of a pass: the norm, the three products, biases, rotation, and the cache. What an int8 cache
// keeps needs whole groups: there, `verify_keep` follows.
//
// Two rows of a head that are turned together are a unit, so that a warp has both.
//
// Launch: any number of blocks, VERIFY_THREADS threads; dynamic shared memory for the vectors.
#include "attention.cuh"
#include "verify.cuh"

constexpr int HALF_HEAD = QA_HEAD_DIM / 2, HALF_TURNED = QA_ROPE_DIMS / 2;

// Element `r` of pair `pair` of a head.
DEVICE int element(int pair, int r) {
    if (!QA_ROPE_NEOX || pair >= HALF_TURNED) return 2 * pair + r;
    return pair + r * HALF_TURNED;
}

// Asks for this warp's first unit before its vector is there.
template <u32 SET>
DEVICE void prefetch_unit(const Tensor& weight, Share share) {
    if (share.first >= share.count) return;
    with_format<SET>(weight.format, [&](auto tag) {
        constexpr u32 BYTES = row_bytes(decltype(tag)::format, QA_HIDDEN);
        for (int r = 0; r < 2; r++) {
            const int row = share.first / HALF_HEAD * QA_HEAD_DIM + element(share.first % HALF_HEAD, r);
            const u8* from = weight.data + (u64)row * BYTES;
            for (u32 at = thread() % 32 * 128; at < BYTES; at += 32 * 128) {
                asm volatile("prefetch.global.L2 [%0];" ::"l"(from + at));
            }
        }
    });
}

// One of the three products: `turned` says whether its heads are turned, `keep_at(head, t, d, value)` where values go.
template <bool TURNED, class Keep>
DEVICE void project_heads(const Buffers& b, const Tensor& weight, const float* bias, Share share, const u8* vectors,
                          u32 position, u32 count, Keep keep_at) {
    if (share.first >= share.count) return;
    with_format<QA_QKV>(weight.format, [&](auto tag) {
        constexpr int FORMAT = decltype(tag)::format;
        const u8* data = weight.data;
        const auto row_of = [](int u, int r) { return u / HALF_HEAD * QA_HEAD_DIM + element(u % HALF_HEAD, r); };
        multiply_tokens<FORMAT, QA_HIDDEN, HIDDEN_SET, 2>(
            share, [&](int u, int r) { return data + (u64)row_of(u, r) * row_bytes(FORMAT, QA_HIDDEN); }, vectors, [] {},
            [&](int u, float value) {
                const Mine<2> mine;
                const int pair = u % HALF_HEAD;
                if (bias) value += bias[row_of(u, mine.row)];
                if constexpr (TURNED) {
                    // The other row's sum of the same token is half a warp away.
                    const float other = __shfl_xor_sync(~0u, value, 16);
                    const float x = mine.row == 0 ? value : other, y = mine.row == 0 ? other : value;
                    if (pair < HALF_TURNED) {
                        const u32 at = position + (mine.token < count ? mine.token : 0);
                        const float2 turn = turns_of(b, at)[pair];
                        value = mine.row == 0 ? fmaf(x, turn.x, -(y * turn.y)) : fmaf(x, turn.y, y * turn.x);
                    }
                }
                if (mine.first && mine.token < count) keep_at(u / HALF_HEAD, mine.token, element(pair, mine.row), value);
            });
    });
}

extern "C" __global__ void __launch_bounds__(VERIFY_THREADS, VERIFY_BLOCKS)
    verify_qkv(Buffers b, Verify v, const __grid_constant__ Layer layer, u32 index) {
    extern __shared__ __align__(16) u8 vectors[];
    launch_dependents();
    const Share query = share_after(0, QUERY_WIDTH / 2);
    const Share key = share_after(QUERY_WIDTH / 2, KV_WIDTH / 2);
    const Share value = share_after((QUERY_WIDTH + KV_WIDTH) / 2, KV_WIDTH / 2);
    prefetch_unit<QA_QKV>(layer.query, query);
    prefetch_unit<QA_QKV>(layer.key, key);
    prefetch_unit<QA_QKV>(layer.value, value);
    normalize_tokens(b.residual, layer.attention_norm, vectors, WaitForPrevious{});
    const u32 position = v.drafts->position, count = v.drafts->count;
    const auto keep_query = [&](int head, int t, int d, float x) {
        v.queries[t * QUERY_WIDTH + head * QA_HEAD_DIM + d] = x * query_scale();
    };
    const auto keep_in = [&](u8* cache, int first) {
        return [=, &b, &v](int head, int t, int d, float x) {
            if constexpr (KV_INT8) {
                v.kept[t * 2 * KV_WIDTH + first + head * QA_HEAD_DIM + d] = x;
            } else {
                *cache_of(cache, b, index, head).half(position + t, d) = float_to_half(x);
            }
        };
    };
    project_heads<true>(b, layer.query, layer.query_bias, query, vectors, position, count, keep_query);
    project_heads<true>(b, layer.key, layer.key_bias, key, vectors, position, count, keep_in(b.keys, 0));
    project_heads<false>(b, layer.value, layer.value_bias, value, vectors, position, count, keep_in(b.values, KV_WIDTH));
}
