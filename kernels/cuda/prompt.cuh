// Prompts: many tokens at once, on tensor cores, with f16 factors and f32 sums whatever the weights' format.
//
// Tensor cores read operands: rows (of a weight matrix, or the tokens' vectors) of COLUMNS elements as
// [operand_groups(COLUMNS), rows, 32] f16. The same 32 columns of neighbouring rows lie together, so that a tile of rows is
// one copy; a last odd group is followed by one of zeros, since groups are multiplied in pairs. The four 16-byte chunks of
// a row's group lie at chunk ^ row / 2 % 4, the tensor cores' 64-byte swizzle, so that eight rows are read without bank
// conflicts.
#pragma once
#include "formats.cuh"

// Bytes of a row in a group.
constexpr int OPERAND_ROW = 64;

constexpr int operand_groups(int columns) { return (columns / 32 + 1) / 2 * 2; }

// Where chunk `chunk` of row `row` begins in its group.
DEVICE u32 operand_chunk(u32 row, u32 chunk) { return row * OPERAND_ROW + (chunk ^ row / 2 % 4) * 16; }

// Elements `column`, column + 1, ... of a row: up to 8 from a multiple of 8 on are neighbours.
DEVICE u8* operand_at(u8* operand, u32 rows, u32 row, u32 column) {
    return operand + (u64)(column / 32) * rows * OPERAND_ROW + operand_chunk(row, column / 8 % 4) + column % 8 * 2;
}

// Two numbers as f16, `low` in the lower half. What is too large becomes the largest f16; what is no number stays none.
DEVICE u32 halves(float low, float high) {
    u32 bits;
    asm("{.reg .f32 a, b;\n"
        "min.NaN.f32 a, %1, 0f477FE000;\n"
        "min.NaN.f32 b, %2, 0f477FE000;\n"
        "max.NaN.f32 a, a, 0fC77FE000;\n"
        "max.NaN.f32 b, b, 0fC77FE000;\n"
        "cvt.rn.f16x2.f32 %0, b, a;}"
        : "=r"(bits)
        : "f"(low), "f"(high));
    return bits;
}

// The same for numbers that are known to be small.
DEVICE u32 pack_halves(float low, float high) {
    u32 bits;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}

// The same for weights. Only formats with an exponent for each weight have room for any that f16 cannot hold.
template <int FORMAT>
DEVICE u32 weight_halves(float low, float high) {
    return is_float(FORMAT) ? halves(low, high) : pack_halves(low, high);
}

// The inner values of the feed-forward are the one operand that no norm bounds: they are divided by this on the way into
// f16, and the down projection's sums are multiplied with it.
constexpr float INNER_SCALE = 16.0f;

// silu(gate) * up / INNER_SCALE, by approximations that are good to some units of the last place of f32.
DEVICE float gated(float gate, float up) {
    float power, inverse;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(gate * -1.4426950408889634f));
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(1.0f + power));
    return gate * inverse * (up * (1.0f / INNER_SCALE));
}

// Copies 16 bytes to shared memory without waiting, or zeros if not `valid`.
DEVICE void copy_async(u32 to, const void* from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0) : "memory");
}

DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most PENDING of the committed groups of copies are under way.
template <int PENDING>
DEVICE void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

DEVICE uint4 load_shared_16(u32 at) {
    uint4 value;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
                 : "r"(at));
    return value;
}

// sums[16 rows, 8 columns] += a[16, 16] b[16, 8]. With j = lane % 4: sums are rows lane / 4 (0, 1) and lane / 4 + 8 (2, 3),
// columns 2 j and 2 j + 1; a is rows lane / 4 and lane / 4 + 8 of columns 2 j (0, 1), then of columns 2 j + 8 (2, 3); b is
// column lane / 4 of rows 2 j (0) and 2 j + 8 (1). Two elements a word.
DEVICE void multiply_16x8(float (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
