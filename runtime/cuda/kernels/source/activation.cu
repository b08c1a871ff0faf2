// What stands between two linear layers: SiLU(gate)·up, GELU, SiLU, ReLU, residual addition, with the float8 cast and amax of the
// output fused in.
//
//   silu_mul  y = a/(1+exp(-a)) · b          gelu_erf   y = a·(1+erf(a/√2))/2
//   silu      y = a/(1+exp(-a))              gelu_tanh  y = a/(1+exp(-2u)), u = √(2/π)·(a+0.044715·a³)
//   add       y = a + b                      relu       y = max(a, 0), NaN kept
//
// silu_mul is two operators, and rounds the first one's result to the type too. codes and amax are those of y as its type holds it.
// gelu_tanh is a·(1+tanh u)/2 written without the cancellation.
// Layout: rows of cols elements; a and b in rows of aLd and bLd (both halves of one joint projection), y of cols, codes of codeLd.
// Launch: blocks of 256 threads, 8 elements a thread a turn.
// Bytes moved: read a (and b), write what is wanted of y, codes. silu_mul of 8192×11008 bfloat16 to codes: 451 MB.
#include "common.cuh"

struct ActArgs {
    const void *a, *b;
    void *y;            // may be null
    u8 *codes;          // may be null
    const float *scale; // of the codes; null is 1
    u32 *amax;          // may be null
    i64 rows, cols, aLd, bLd, codeLd;
    i32 format, pad;
};

template <bool FAST> DEV float sigmoidTimes(float v, float u) {
    // v / (1 + exp(-u))
    if (FAST) return __fdividef(v, 1.f + __expf(-u));
    return v / (1.f + expf(-u));
}

struct SiLUMul {
    static const bool two = true;
    template <class T> static INL float of(float a, float b) { return __fmul_rn(rounded<T>(sigmoidTimes<Fast<T>::yes>(a, a)), b); }
};
struct SiLU {
    static const bool two = false;
    template <class T> static INL float of(float a, float) { return sigmoidTimes<Fast<T>::yes>(a, a); }
};
struct GELUErf {
    static const bool two = false;
    template <class T> static INL float of(float a, float) { return 0.5f * a * (1.f + erff(a * 0.70710678118654752f)); }
};
struct GELUTanh {
    static const bool two = false;
    template <class T> static INL float of(float a, float) {
        return sigmoidTimes<Fast<T>::yes>(a, 1.5957691216057308f * (a + 0.044715f * a * a * a));
    }
};
struct ReLU {
    static const bool two = false;
    template <class T> static INL float of(float a, float) { return a < 0.f ? 0.f : a; }
};
struct Add {
    static const bool two = true;
    template <class T> static INL float of(float a, float b) { return a + b; }
};

template <class T, class Op> DEV void activate(const ActArgs &a) {
    __shared__ u32 scratch[32];
    float scale = a.scale ? *a.scale : 1.f;
    i64 chunks = (a.cols + 7) / 8, n = a.rows * chunks;
    bool whole = a.cols % 8 == 0 && a.aLd % 8 == 0 && a.bLd % 8 == 0 && a.codeLd % 8 == 0 && aligned(a.a) && aligned(a.b) && aligned(a.y) &&
                 ((u64)a.codes & 7) == 0;
    // Rows without gaps are one long row, which spares the division.
    bool flat = chunks * 8 == a.cols && a.aLd == a.cols && (!Op::two || a.bLd == a.cols) && (!a.codes || a.codeLd == a.cols);
    u32 m = 0;
    i64 step = (i64)gridDim.x * blockDim.x, i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (flat && whole) {
        // Two turns at once: their loads are under way together.
        for (; i + step < n; i += 2 * step) {
            V8 x0 = load8((const T *)a.a + i * 8), x1 = load8((const T *)a.a + (i + step) * 8), z0 = {}, z1 = {};
            if (Op::two) {
                z0 = load8((const T *)a.b + i * 8);
                z1 = load8((const T *)a.b + (i + step) * 8);
            }
#pragma unroll
            for (int k = 0; k < 8; k++) {
                x0.v[k] = rounded<T>(Op::template of<T>(x0.v[k], z0.v[k]));
                x1.v[k] = rounded<T>(Op::template of<T>(x1.v[k], z1.v[k]));
            }
            if (a.y) {
                store8((T *)a.y + i * 8, x0);
                store8((T *)a.y + (i + step) * 8, x1);
            }
            if (a.codes) {
                storeCodes(a.codes + i * 8, a.format, x0, scale, 8, true);
                storeCodes(a.codes + (i + step) * 8, a.format, x1, scale, 8, true);
            }
            m = magnitude(magnitude(m, x0), x1);
        }
    }
    for (; i < n; i += step) {
        i64 row = 0, col = i * 8, left = 8;
        if (!flat) {
            row = n >> 31 ? i / chunks : (i64)((u32)i / (u32)chunks);
            col = (i - row * chunks) * 8;
            left = a.cols - col;
        }
        V8 x = loadSome((const T *)a.a + row * a.aLd + col, left, whole, 0.f), z = {};
        if (Op::two) z = loadSome((const T *)a.b + row * a.bLd + col, left, whole, 0.f);
#pragma unroll
        for (int k = 0; k < 8; k++) x.v[k] = k < left ? rounded<T>(Op::template of<T>(x.v[k], z.v[k])) : 0.f;
        if (a.y) storeSome((T *)a.y + row * a.cols + col, x, left, whole);
        if (a.codes) {
            u8 *to = a.codes + row * a.codeLd + col;
            storeCodes(to, a.format, x, scale, left, whole);
            if (col + 8 >= a.cols && !flat)
                for (i64 c = left; c < a.codeLd - col; c++) to[c] = 0;
        }
        m = magnitude(m, x);
    }
    raiseAmax(a.amax, m, scratch);
}

#define ACT(NAME, OP)                                                                                                                      \
    KERNEL __launch_bounds__(256) NAME##_float(ARG ActArgs a) { activate<float, OP>(a); }                                                  \
    KERNEL __launch_bounds__(256) NAME##_bf16(ARG ActArgs a) { activate<bf16, OP>(a); }
ACT(silu_mul, SiLUMul)
ACT(silu, SiLU)
ACT(gelu_erf, GELUErf)
ACT(gelu_tanh, GELUTanh)
ACT(relu, ReLU)
ACT(add, Add)
