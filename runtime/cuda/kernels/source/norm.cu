// RMSNorm and LayerNorm over rows, with a residual added before and the float8 cast and amax of the output fused in.
//
//   h = x + residual, rounded to the type          sum = h, if wanted
//   y = (h - mean) / sqrt(var + epsilon) · weight + bias      (RMSNorm: no mean, mean square in place of the variance)
//
// RMSNorm rounds to the type what the weight then scales, and the weight, as ONNX's RMSNormalization and the models of Hugging Face do.
// LayerNorm rounds the weight and the bias, and the result once, as PyTorch's and ONNX Runtime's do.
//
//   codes = float8(y·scale), amax = max |y|, both of y as its type holds it
//
// Layout: rows of cols elements, contiguous; codes in rows of codeLd. weight and bias of any float type.
// Launch: one block a row. The variance is that of the centered values: two reductions.
//   X_norm_fast_T: cols a multiple of 8 up to 8192, addresses and codeLd multiples of 16 and 8 bytes; 16 columns a thread in whole warps,
//                  kept in registers as T, so that enough blocks are there to read while others reduce.
//   X_norm_T:      8 columns a thread in whole warps, 1024 at most. A thread keeps 16 elements; longer rows are read again for the rest.
// Bytes moved: read x (and residual), write what is wanted of sum, y, codes. 8192×4096 bfloat16 with residual to sum and codes: 235 MB.
#include "common.cuh"

struct NormArgs {
    const void *x, *residual; // residual may be null
    void *sum, *y;            // may be null
    u8 *codes;                // may be null
    const void *weight, *bias; // may be null
    const float *scale;       // of the codes; null is 1
    u32 *amax;                // may be null
    i64 rows, cols, codeLd;
    float epsilon;
    i32 weightType, biasType, format;
};

template <class T> DEV V8 normInput(const NormArgs &a, i64 at, i64 left, bool whole, bool first) {
    V8 x = loadSome((const T *)a.x + at, left, whole, 0.f);
    if (a.residual) {
        V8 r = loadSome((const T *)a.residual + at, left, whole, 0.f);
#pragma unroll
        for (int i = 0; i < 8; i++) x.v[i] = rounded<T>(x.v[i] + r.v[i]);
    }
    if (first && a.sum) storeSome((T *)a.sum + at, x, left, whole);
    return x;
}

template <class T, bool CENTER> DEV u32 normOutput(const NormArgs &a, i64 row, i64 col, V8 x, float mean, float inv, float scale, bool whole) {
    i64 left = a.cols - col, at = row * a.cols + col;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        x.v[i] = __fmul_rn(x.v[i] - mean, inv);
        if (!CENTER) x.v[i] = rounded<T>(x.v[i]);
    }
    if (a.weight) {
        V8 w = loadSomeAs(a.weight, a.weightType, col, left, whole);
#pragma unroll
        for (int i = 0; i < 8; i++) x.v[i] = __fmul_rn(x.v[i], rounded<T>(w.v[i]));
    }
    if (a.bias) {
        V8 b = loadSomeAs(a.bias, a.biasType, col, left, whole);
#pragma unroll
        for (int i = 0; i < 8; i++) x.v[i] = __fadd_rn(CENTER ? x.v[i] : rounded<T>(x.v[i]), rounded<T>(b.v[i]));
    }
#pragma unroll
    for (int i = 0; i < 8; i++) x.v[i] = i < left ? rounded<T>(x.v[i]) : 0.f;
    if (a.y) storeSome((T *)a.y + at, x, left, whole);
    if (a.codes) storeCodes(a.codes + row * a.codeLd + col, a.format, x, scale, left, whole && a.codeLd % 8 == 0);
    return magnitude(0, x);
}

template <class T, bool CENTER> DEV void norm(const NormArgs &a) {
    __shared__ float scratch[33];
    __shared__ u32 top[32];
    i64 row = blockIdx.x, base = row * a.cols;
    // Addresses of weight, bias, sum and y are checked with those of x: one that is off makes all access element by element.
    bool whole = a.cols % 8 == 0 && aligned(a.x) && aligned(a.residual) && aligned(a.sum) && aligned(a.y) && aligned(a.weight) && aligned(a.bias) &&
                 ((u64)a.codes & 7) == 0;
    i64 stride = (i64)blockDim.x * 8, c0 = threadIdx.x * 8, c1 = c0 + stride;
    V8 x0 = {}, x1 = {};
    if (c0 < a.cols) x0 = normInput<T>(a, base + c0, a.cols - c0, whole, true);
    if (c1 < a.cols) x1 = normInput<T>(a, base + c1, a.cols - c1, whole, true);
    float mean = 0.f;
    if (CENTER) {
        float s = 0.f;
#pragma unroll
        for (int i = 0; i < 8; i++) s += x0.v[i] + x1.v[i];
        for (i64 c = c1 + stride; c < a.cols; c += stride) {
            V8 x = normInput<T>(a, base + c, a.cols - c, whole, false);
#pragma unroll
            for (int i = 0; i < 8; i++) s += x.v[i];
        }
        mean = overBlock<Sum>(s, scratch, 0.f) / (float)a.cols;
    }
    float q = 0.f;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        float d0 = c0 + i < a.cols ? x0.v[i] - mean : 0.f, d1 = c1 + i < a.cols ? x1.v[i] - mean : 0.f;
        q += d0 * d0 + d1 * d1;
    }
    for (i64 c = c1 + stride; c < a.cols; c += stride) {
        V8 x = normInput<T>(a, base + c, a.cols - c, whole, true);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float d = c + i < a.cols ? x.v[i] - mean : 0.f;
            q += d * d;
        }
    }
    float inv = 1.f / sqrtf(overBlock<Sum>(q, scratch, 0.f) / (float)a.cols + a.epsilon);
    float scale = a.scale ? *a.scale : 1.f;
    u32 m = 0;
    if (c0 < a.cols) m = normOutput<T, CENTER>(a, row, c0, x0, mean, inv, scale, whole);
    if (c1 < a.cols) m = max(m, normOutput<T, CENTER>(a, row, c1, x1, mean, inv, scale, whole));
    for (i64 c = c1 + stride; c < a.cols; c += stride)
        m = max(m, normOutput<T, CENTER>(a, row, c, normInput<T>(a, base + c, a.cols - c, whole, false), mean, inv, scale, whole));
    if (a.codes)
        for (i64 c = a.cols + threadIdx.x; c < a.codeLd; c += blockDim.x) a.codes[row * a.codeLd + c] = 0;
    raiseAmax(a.amax, m, top);
}

template <class T, bool CENTER> DEV void normFast(const NormArgs &a) {
    __shared__ float scratch[33];
    __shared__ u32 top[32];
    i64 row = blockIdx.x, base = row * a.cols;
    int cols = (int)a.cols, c[2] = {(int)threadIdx.x * 8, (int)(threadIdx.x + blockDim.x) * 8};
    Keep<T> h[2], r[2];
    const T *x = (const T *)a.x + base, *residual = (const T *)a.residual + base;
#pragma unroll
    for (int k = 0; k < 2; k++)
        if (c[k] < cols) h[k].load(x + c[k]);
    if (a.residual) {
#pragma unroll
        for (int k = 0; k < 2; k++)
            if (c[k] < cols) r[k].load(residual + c[k]);
#pragma unroll
        for (int k = 0; k < 2; k++) {
            if (c[k] >= cols) continue;
            V8 u = h[k].open(), v = r[k].open();
#pragma unroll
            for (int i = 0; i < 8; i++) u.v[i] += v.v[i];
            h[k].close(u);
            if (a.sum) h[k].store((T *)a.sum + base + c[k]);
        }
    } else if (a.sum) {
#pragma unroll
        for (int k = 0; k < 2; k++)
            if (c[k] < cols) h[k].store((T *)a.sum + base + c[k]);
    }
    float mean = 0.f, q = 0.f;
    if (CENTER) {
        float s = 0.f;
#pragma unroll
        for (int k = 0; k < 2; k++) {
            if (c[k] >= cols) continue;
            V8 u = h[k].open();
#pragma unroll
            for (int i = 0; i < 8; i++) s += u.v[i];
        }
        mean = overBlock<Sum>(s, scratch, 0.f) / (float)cols;
    }
#pragma unroll
    for (int k = 0; k < 2; k++) {
        if (c[k] >= cols) continue;
        V8 u = h[k].open();
#pragma unroll
        for (int i = 0; i < 8; i++) q += (u.v[i] - mean) * (u.v[i] - mean);
    }
    float inv = 1.f / sqrtf(overBlock<Sum>(q, scratch, 0.f) / (float)cols + a.epsilon);
    float scale = a.scale ? *a.scale : 1.f;
    u32 m = 0;
#pragma unroll
    for (int k = 0; k < 2; k++)
        if (c[k] < cols) m = max(m, normOutput<T, CENTER>(a, row, c[k], h[k].open(), mean, inv, scale, true));
    if (a.codes)
        for (i64 z = cols + threadIdx.x; z < a.codeLd; z += blockDim.x) a.codes[row * a.codeLd + z] = 0;
    raiseAmax(a.amax, m, top);
}

#define NORM(T)                                                                                                                            \
    KERNEL __launch_bounds__(512, sizeof(T) == 2 ? 3 : 2) rms_norm_fast_##T(ARG NormArgs a) { normFast<T, false>(a); }                     \
    KERNEL __launch_bounds__(512, sizeof(T) == 2 ? 3 : 2) layer_norm_fast_##T(ARG NormArgs a) { normFast<T, true>(a); }                    \
    KERNEL __launch_bounds__(1024) rms_norm_##T(ARG NormArgs a) { norm<T, false>(a); }                                                     \
    KERNEL __launch_bounds__(1024) layer_norm_##T(ARG NormArgs a) { norm<T, true>(a); }
NORM(float)
NORM(bf16)
