// Reductions of the middle dimension of [outer, n, inner] in float32: sum, mean, extremes, product and norms.
//
// Layout: contiguous, output [outer, inner]. Axes that are not neighbours are made so by a permute first.
// Launch: reduce_rows, for inner = 1: a block of 32 to 1024 threads a row. reduce_columns: blocks of 256 threads, one output a thread,
// so that neighbours read neighbours.
// Bytes moved: the input once.
#include "common.cuh"

enum { R_SUM = 1, R_MEAN, R_MAX, R_MIN, R_PROD, R_SUM_SQUARE, R_L1, R_L2 };

struct ReduceArgs {
    const void *x;
    void *y;
    i64 outer, n, inner;
    i32 op, pad;
};

DEV float reduceStart(int op) { return op == R_MAX ? -infinity() : op == R_MIN ? infinity() : op == R_PROD ? 1.f : 0.f; }
DEV float reduceStep(int op, float r, float v) {
    switch (op) {
    case R_MAX: return MaxNaN::of(v, r);
    case R_MIN: return MinNaN::of(v, r);
    case R_PROD: return r * v;
    case R_SUM_SQUARE:
    case R_L2: return r + v * v;
    case R_L1: return r + fabsf(v);
    }
    return r + v;
}
DEV float reduceEnd(int op, float r, i64 n) { return op == R_MEAN ? r / (float)n : op == R_L2 ? sqrtf(r) : r; }

template <class T> DEV void reduceRows(const ReduceArgs &a) {
    __shared__ float scratch[33];
    const T *x = (const T *)a.x + (i64)blockIdx.x * a.n;
    bool whole = a.n % 8 == 0 && aligned(a.x);
    float start = reduceStart(a.op), r = start;
    for (i64 c = threadIdx.x * 8; c < a.n; c += (i64)blockDim.x * 8) {
        V8 v = loadSome(x + c, a.n - c, whole, 0.f);
#pragma unroll
        for (int k = 0; k < 8; k++)
            if (c + k < a.n) r = reduceStep(a.op, r, v.v[k]);
    }
    if (a.op == R_MAX) r = overBlock<MaxNaN>(r, scratch, start);
    else if (a.op == R_MIN) r = overBlock<MinNaN>(r, scratch, start);
    else if (a.op == R_PROD) r = overBlock<Product>(r, scratch, start);
    else r = overBlock<Sum>(r, scratch, start);
    if (threadIdx.x == 0) ((T *)a.y)[blockIdx.x] = fromFloat<T>(reduceEnd(a.op, r, a.n));
}

template <class T> DEV void reduceColumns(const ReduceArgs &a) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= a.outer * a.inner) return;
    const T *x = (const T *)a.x + i / a.inner * a.n * a.inner + i % a.inner;
    float r = reduceStart(a.op);
    for (i64 k = 0; k < a.n; k++) r = reduceStep(a.op, r, toFloat(x[k * a.inner]));
    ((T *)a.y)[i] = fromFloat<T>(reduceEnd(a.op, r, a.n));
}

#define REDUCE(T)                                                                                                                          \
    KERNEL __launch_bounds__(1024) reduce_rows_##T(ARG ReduceArgs a) { reduceRows<T>(a); }                                                 \
    KERNEL __launch_bounds__(256) reduce_columns_##T(ARG ReduceArgs a) { reduceColumns<T>(a); }
REDUCE(float)
REDUCE(bf16)
