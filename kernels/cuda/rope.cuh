// Rotary position embedding (Su et al. 2021, section 3.2.2): pairs of elements turned by an angle that the position and
// the pair fix. Cosines and sines come from a table that the host made in f64.
#pragma once
#include "model.cuh"

// Element d of a head after rotation. `turns` is the position's row of the table.
template <class Load>
DEVICE float rotated(Load load, int d, const float2* turns) {
    constexpr int HALF = QA_ROPE_DIMS / 2;
    if (d >= QA_ROPE_DIMS) return load(d);
    const int pair = QA_ROPE_NEOX ? d % HALF : d / 2;
    const bool first = QA_ROPE_NEOX ? d < HALF : d % 2 == 0;
    const float2 turn = turns[pair];
    const float a = load(QA_ROPE_NEOX ? pair : 2 * pair);
    const float b = load(QA_ROPE_NEOX ? pair + HALF : 2 * pair + 1);
    return first ? fmaf(a, turn.x, -(b * turn.y)) : fmaf(a, turn.y, b * turn.x);
}

DEVICE const float2* turns_of(const Buffers& b, u32 position) { return b.rope + position * (QA_ROPE_DIMS / 2); }
