// The output projection or the down projection of a pass, added to the residual stream.
//
// -DQA_ROLE: 0 output, 1 down. Launch: any number of blocks, VERIFY_THREADS threads.
#include "verify.cuh"

constexpr bool DOWN = QA_ROLE == 1;
constexpr int COLUMNS = DOWN ? QA_INTER : QUERY_WIDTH;
constexpr u32 SET = DOWN ? INNER_SET : OUT_SET;

extern "C" __global__ void __launch_bounds__(VERIFY_THREADS)
    verify_add(Verify v, Tensor weight, const float* bias, float* residual) {
    launch_dependents();
    const u8* vectors = DOWN ? v.inner : v.attended;
    with_format<SET>(weight.format, [&](auto tag) {
        constexpr int FORMAT = decltype(tag)::format;
        multiply_tokens<FORMAT, COLUMNS, SET, 1>(
            share_of_grid(QA_HIDDEN), [&](int u, int) { return weight.data + (u64)u * row_bytes(FORMAT, COLUMNS); }, vectors,
            WaitForPrevious{}, [&](int u, float value) {
                const Mine<1> mine;
                if (!mine.first) return;
                if (bias) value += bias[u];
                float* at = residual + mine.token * QA_HIDDEN + u;
                *at = load_shared_value(at) + value;
            });
    });
}
