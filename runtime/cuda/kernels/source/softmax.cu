// Softmax and log-softmax over rows, with a scale, a mask that is added (or, as booleans, keeps) and a causal limit.
//
//   y = exp(s - max s) / sum exp(s - max s), s = x·scale + mask        log: y = s - max s - log(sum exp(s - max s))
//
// Layout: dim0·dim1·dim2 rows of cols elements, contiguous; the mask by strides, 0 where it repeats. With causal, column c of row
// (·, ·, q) counts if c <= q + offset. A row of which nothing counts is NaN, as exp(-inf + inf) is.
// Launch: one block a row, a thread for every 16 columns in whole warps, 512 at most. A row that fits them is read once; of a longer one a
// running maximum and sum make one pass, and the second pass finds it in the cache.
// Bytes moved: read x (and the mask), write y.
#include "common.cuh"

struct SoftmaxArgs {
    const void *x;
    void *y;
    const void *mask; // may be null
    i64 dim[3], maskStride[4], cols, offset;
    float scale;
    i32 maskType, causal, log;
};

// score is s of eight columns.
template <class T> DEV V8 score(const SoftmaxArgs &a, i64 row, i64 col, i64 maskAt, i64 last, bool whole) {
    i64 left = a.cols - col;
    V8 x = loadSome((const T *)a.x + row * a.cols + col, left, whole, 0.f);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        x.v[k] *= a.scale;
        if (a.mask && k < left) {
            float m = loadAs(a.mask, a.maskType, maskAt + (col + k) * a.maskStride[3]);
            if (a.maskType == U8) x.v[k] = m != 0.f ? x.v[k] : -infinity();
            else x.v[k] += m;
        }
        if (col + k > last) x.v[k] = -infinity();
    }
    return x;
}

template <class T> DEV void softmax(const SoftmaxArgs &a) {
    __shared__ float scratch[33];
    u32 at = blockIdx.x / (u32)a.dim[2], b = at / (u32)a.dim[1], h = at - b * (u32)a.dim[1];
    i64 row = blockIdx.x, q = row - at * a.dim[2], maskAt = b * a.maskStride[0] + h * a.maskStride[1] + q * a.maskStride[2];
    i64 last = a.causal ? min(q + a.offset, a.cols - 1) : a.cols - 1;
    bool whole = a.cols % 8 == 0 && aligned(a.x) && aligned(a.y);
    if (a.cols <= (i64)blockDim.x * 16) {
        // The row fits the block: it is read once and stays in registers.
        V8 s[2];
        float top = -infinity(), sum = 0.f;
#pragma unroll
        for (int j = 0; j < 2; j++) {
            i64 c = (threadIdx.x + j * blockDim.x) * 8;
            if (c < a.cols) {
                s[j] = score<T>(a, row, c, maskAt, last, whole);
            } else {
#pragma unroll
                for (int k = 0; k < 8; k++) s[j].v[k] = -infinity();
            }
        }
#pragma unroll
        for (int j = 0; j < 2; j++)
#pragma unroll
            for (int k = 0; k < 8; k++) top = MaxNaN::of(s[j].v[k], top);
        top = overBlock<MaxNaN>(top, scratch, -infinity());
#pragma unroll
        for (int j = 0; j < 2; j++) {
#pragma unroll
            for (int k = 0; k < 8; k++) {
                s[j].v[k] -= top;
                float e = Fast<T>::yes ? __expf(s[j].v[k]) : expf(s[j].v[k]);
                if (!a.log) s[j].v[k] = e;
                sum += (i64)(threadIdx.x + j * blockDim.x) * 8 < a.cols ? e : 0.f;
            }
        }
        sum = overBlock<Sum>(sum, scratch, 0.f);
        float inv = 1.f / sum, logSum = logf(sum);
#pragma unroll
        for (int j = 0; j < 2; j++) {
            i64 c = (threadIdx.x + j * blockDim.x) * 8;
            if (c >= a.cols) break;
#pragma unroll
            for (int k = 0; k < 8; k++) s[j].v[k] = a.log ? s[j].v[k] - logSum : s[j].v[k] * inv;
            storeSome((T *)a.y + row * a.cols + c, s[j], a.cols - c, whole);
        }
        return;
    }
    float top = -infinity(), sum = 0.f;
    for (i64 c = threadIdx.x * 8; c < a.cols; c += (i64)blockDim.x * 8) {
        V8 s = score<T>(a, row, c, maskAt, last, whole);
        float t = top;
#pragma unroll
        for (int k = 0; k < 8; k++) t = s.v[k] > t || s.v[k] != s.v[k] ? s.v[k] : t;
        if (t == -infinity()) continue;
        sum *= expf(top - t); // exp(-inf) is 0 while nothing has been seen
#pragma unroll
        for (int k = 0; k < 8; k++) sum += expf(s.v[k] - t);
        top = t;
    }
    // Join the threads' maxima and sums.
    float all = top;
    all = overBlock<MaxNaN>(all, scratch, -infinity());
    sum = top == -infinity() ? 0.f : sum * expf(top - all);
    sum = overBlock<Sum>(sum, scratch, 0.f);
    float inv = 1.f / sum, logSum = logf(sum);
    for (i64 c = threadIdx.x * 8; c < a.cols; c += (i64)blockDim.x * 8) {
        V8 s = score<T>(a, row, c, maskAt, last, whole);
#pragma unroll
        for (int k = 0; k < 8; k++) s.v[k] = a.log ? s.v[k] - all - logSum : expf(s.v[k] - all) * inv;
        storeSome((T *)a.y + row * a.cols + c, s, a.cols - c, whole);
    }
}
KERNEL __launch_bounds__(512) softmax_float(ARG SoftmaxArgs a) { softmax<float>(a); }
KERNEL __launch_bounds__(512) softmax_bf16(ARG SoftmaxArgs a) { softmax<bf16>(a); }
