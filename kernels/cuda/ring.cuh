// Weights on their way to a block: a ring in its shared memory, which one warp beside the others fills ahead of them.
//
// Tiles are whole neighbouring rows of one matrix, as they lie in memory. The filling warp walks the matrices in the order in
// which they are multiplied (`Filler`), a token after the other, so that multiplying never waits for memory. It stops where the
// ring is full, and where reading would delay what blocks hand each other (`Moments`). Every other warp takes every tile in order,
// and hands it back when it has multiplied its rows of it.
//
// sm_90 and later: bulk copies, which count their bytes on the tile's barrier. Before: `cp.async` by a whole warp.
#pragma once
#include "model.cuh"

// The warp that fills comes after those that multiply.
constexpr int RING_THREADS = THREADS + 32;
// Most tiles under way.
constexpr u32 TILES = 16;
// A tile is as many rows as fit, and at least one.
constexpr u32 TILE_BYTES = 32 << 10;

// When weights are asked for, once there is room. While memory is read, each hand-over from block to block (exchange.cuh) takes
// 0.3 to 0.8 us more.
enum Moments {
    NOW,
    EVENLY,     // at most a kilobyte in CYCLES_PER_KB, which is near what memory gives: bursts delay others most
    WHILE_OPEN  // while the gate is open
};
constexpr u32 CYCLES_PER_KB = 100;
// The fewest tiles that a filler keeps ready, whatever the moment; and bytes of one copy, which is not held up.
constexpr u32 LEAST_TILES = 2;
constexpr u32 COPY_BYTES = 8 << 10;

constexpr int rows_of_tile(u32 row) { return row > TILE_BYTES ? 1 : (int)(TILE_BYTES / row); }

struct Ring {
    u64 full[TILES];   // barriers: the tile's bytes are there
    u64 empty[TILES];  // barriers: all that multiply are done with it
    u32 at[TILES];     // where it begins
    u32 start, bytes;  // the ring in dynamic shared memory
    u32 consumed;      // tiles that the first warp has handed back
    u32 turns;         // of the gate for weights, which is open before the first
    u64 finished;      // barrier: nobody needs more
};

DEVICE void init_barrier(u64* barrier, u32 count) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}

DEVICE void arrive_at(u64* barrier) {
    asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0]; }" ::"r"(shared_address(barrier)) : "memory");
}

// Whether a phase of a barrier is over.
DEVICE bool is_over(u64* barrier, u32 parity) {
    u32 over;
#if QA_ARCHITECTURE >= 900
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
#else
    asm volatile("{ .reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
#endif
                 : "=r"(over)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
    return over != 0;
}

// Numbers of one thread that another one watches.
DEVICE void set_number(u32* number, u32 value) {
    asm volatile("{ .reg .u32 old; atom.relaxed.cta.shared.exch.b32 old, [%0], %1; }" ::"r"(shared_address(number)), "r"(value)
                 : "memory");
}

DEVICE void count_on(u32* counter) {
    asm volatile("red.relaxed.cta.shared.add.u32 [%0], 1;" ::"r"(shared_address(counter)) : "memory");
}

DEVICE u32 read_count(u32* counter) {
    u32 value;
    asm volatile("atom.relaxed.cta.shared.add.u32 %0, [%1], 0;" : "=r"(value) : "r"(shared_address(counter)) : "memory");
    return value;
}

DEVICE u32 parity_of(u32 tile) { return tile / TILES & 1; }

// One thread calls; the block synchronises before anybody uses it.
DEVICE void begin_ring(Ring& ring, u32 start, u32 bytes) {
    for (u32 i = 0; i < TILES; i++) {
        init_barrier(&ring.full[i], QA_ARCHITECTURE >= 900 ? 1 : 32);
        init_barrier(&ring.empty[i], THREADS);
    }
    ring.start = start;
    ring.bytes = bytes;
    ring.consumed = 0;
    ring.turns = 0;
    init_barrier(&ring.finished, 1);
#if QA_ARCHITECTURE >= 900
    asm volatile("fence.proxy.async;" ::: "memory");
#endif
}

// The side that fills. All lanes of the warp call together; on sm_90 one lane alone does.
struct Filler {
    Ring& ring;
    u8* dynamic;
    u32 tile = 0;    // the next
    u32 oldest = 0;  // which may still be in use
    u32 next = 0;    // free from here on
    Moments moments = NOW;
    u32 due = 0;     // with EVENLY, the cycle of the next copy

    // Waits until `barrier` is over, or nobody needs more.
    DEVICE bool wait(u64* barrier, u32 parity) {
        while (!is_over(barrier, parity)) {
            if (is_over(&ring.finished, 0)) return false;
        }
        return true;
    }

    // Finds room. A tile never ends where the oldest begins: equal ends mean an empty ring.
    DEVICE bool make_room(u32 bytes) {
        while (true) {
            if (oldest == tile) {
                next = 0;
                return true;
            }
            if (tile - oldest < TILES) {
                const u32 tail = ring.at[oldest % TILES] - ring.start;
                if (next > tail) {
                    if (next + bytes <= ring.bytes) return true;
                    if (bytes < tail) {
                        next = 0;
                        return true;
                    }
                } else if (next + bytes < tail) {
                    return true;
                }
            }
            if (!wait(&ring.empty[oldest % TILES], parity_of(oldest))) return false;
            oldest++;
        }
    }

    // Whether those that multiply have tiles to go on with.
    DEVICE bool is_ahead() const {
        return tile - read_count(&ring.consumed) >= LEAST_TILES;
    }

    // Waits for the moment to ask for `bytes` more.
    DEVICE void await_moment(u32 bytes) {
        if (moments == EVENLY) {
            while ((int)(due - cycle()) > 0 && is_ahead()) {
            }
            due = cycle() + bytes / 1024 * CYCLES_PER_KB;
        } else if (moments == WHILE_OPEN) {
            while (read_count(&ring.turns) % 2 == 1 && is_ahead()) {
            }
        }
    }

    // Weights are read once a token: they should not push out of L2 what blocks hand each other.
    static DEVICE void copy(u32 to, const u8* from, u32 bytes, u32 barrier) {
        u64 policy;
        asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
#if QA_ARCHITECTURE >= 900
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(to),
                     "l"(from), "r"(bytes), "r"(barrier), "l"(policy)
                     : "memory");
#else
#pragma unroll 8
        for (u32 i = thread() % 32 * 16; i < bytes; i += 32 * 16) {
            asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2;" ::"r"(to + i), "l"(from + i), "l"(policy)
                         : "memory");
        }
#endif
    }

    DEVICE bool add(const u8* from, u32 bytes) {
        if (!make_room(bytes)) return false;
        const u32 slot = tile % TILES, at = ring.start + next;
        const u32 barrier = shared_address(&ring.full[slot]), to = shared_address(dynamic + at);
        ring.at[slot] = at;
#if QA_ARCHITECTURE >= 900
        asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
#endif
        for (u32 done = 0; done < bytes; done += COPY_BYTES) {
            const u32 part = bytes - done < COPY_BYTES ? bytes - done : COPY_BYTES;
            await_moment(part);
            copy(to + done, from + done, part, barrier);
        }
#if QA_ARCHITECTURE < 900
        asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier) : "memory");
#endif
        tile++;
        next += bytes;
        return true;
    }

    // Bytes of a row, and rows of a tile.
    template <u32 FORMAT_SET, int COLUMNS>
    static DEVICE uint2 row_and_most(const Tensor& weight) {
        uint2 both = make_uint2(0, 1);
        with_format<FORMAT_SET>(weight.format, [&](auto tag) {
            constexpr u32 ROW = row_bytes(decltype(tag)::format, COLUMNS);
            both = make_uint2(ROW, rows_of_tile(ROW));
        });
        return both;
    }

    // Rows `first` to `first + rows - 1` of a matrix. False: nobody needs more.
    template <u32 FORMAT_SET, int COLUMNS>
    DEVICE bool add_rows(const Tensor& weight, int first, int rows) {
        const uint2 each = row_and_most<FORMAT_SET, COLUMNS>(weight);
        const u32 row = each.x, most = each.y;
        const u8* from = weight.data + (u64)first * row;
        for (u32 left = rows; left > 0;) {
            const u32 count = left < most ? left : most;
            if (!add(from, count * row)) return false;
            from += (u64)count * row;
            left -= count;
        }
        return true;
    }

    // Waits for what is under way: shared memory must not go back before.
    DEVICE void drain() {
        for (u32 t = tile < TILES ? 0 : tile - TILES; t < tile; t++) {
            while (!is_over(&ring.full[t % TILES], parity_of(t))) {
            }
        }
    }
};

// The next tile, for a warp that multiplies.
DEVICE const u8* take_tile(Ring& ring, u8* dynamic, u32 tile) {
    while (!is_over(&ring.full[tile % TILES], parity_of(tile))) {
    }
    return dynamic + ring.at[tile % TILES];
}

// Each lane for itself, which costs nothing that could be measured, and lets `racecheck` see that every read came before.
DEVICE void hand_back_tile(Ring& ring, u32 tile) {
    __syncwarp();
    arrive_at(&ring.empty[tile % TILES]);
    if (thread() == 0) set_number(&ring.consumed, tile + 1);
}
