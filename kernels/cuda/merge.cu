// The pieces of each head's attention merged and divided, as the vector that the output projection needs.
//
// Launch: one block, THREADS threads.
#include "attention.cuh"

extern "C" __global__ void __launch_bounds__(THREADS) merge(Buffers b, Pass pass) {
    launch_dependents();
    wait_for_previous();
    vectorize_attended(b.pieces, position_of(b, pass, 0) + 1, b.attended);
}
