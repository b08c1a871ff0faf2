// Casts: float8 codes with amax, amax alone, codes back to numbers, casts between float32, float16 and bfloat16, scales from amaxes.
//
// Layout: arrays of n elements, contiguous. dst of a padded cast is rows of ld codes, of which the last ld-cols are zero.
// Launch: blocks of 256 threads; in a tile each thread has four loads of 16 bytes in flight; the grid is
// one block a tile up to a limit, beyond which blocks take several. Counting warps add their counts with one atomic each.
// Bytes moved: read n·size, write n (cast), nothing (amax), n·size (decode, convert). 8192² bfloat16: 201 MB for cast and amax.
// Results are those of package float8, bit for bit: product with the scale in float32, to nearest even, saturating, NaN is 0x7f.
#include "common.cuh"

struct CastArgs {
    const void *src;
    u8 *dst;
    const float *scale; // null is 1
    u32 *amax;          // null is not wanted; raised, so set to 0 before
    u64 *counts;        // saturated, flushed to zero, not finite; added to
    i64 n;
};

// Sixteen bytes of T, read past the caches' keeping: nothing reads them again.
DEV uint4 stream16(const void *p) {
    uint4 w;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(w.x), "=r"(w.y), "=r"(w.z), "=r"(w.w) : "l"(p));
    return w;
}

template <class T> struct Unit; // how many elements 16 bytes hold, and their values
template <> struct Unit<float> {
    static const int N = 4;
    static INL void open(uint4 w, float *v) {
        v[0] = __uint_as_float(w.x);
        v[1] = __uint_as_float(w.y);
        v[2] = __uint_as_float(w.z);
        v[3] = __uint_as_float(w.w);
    }
};
template <class T> struct Unit16 {
    static const int N = 8;
    static INL void open(uint4 w, float *v) {
        unpack2(w.x, v[0], v[1], T());
        unpack2(w.y, v[2], v[3], T());
        unpack2(w.z, v[4], v[5], T());
        unpack2(w.w, v[6], v[7], T());
    }
};
template <> struct Unit<f16> : Unit16<f16> {};
template <> struct Unit<bf16> : Unit16<bf16> {};

// limit is the smallest magnitude that a cast clamps, as bits: above 464 for E4M3, whose tie goes to 448, and from 61440 for E5M2.
template <int FMT> DEV u32 limit() { return FMT == E4M3 ? 0x43e80001u : 0x47700000u; }

struct Counts {
    u32 saturated, flushed, odd;
    template <int FMT> INL void see(float v, float scale, u32 code) {
        u32 m = magnitude(__fmul_rn(v, scale));
        saturated += m >= limit<FMT>() && m <= 0x7f800000u;
        flushed += v != 0.f && (code & 0x7f) == 0;
        odd += magnitude(v) >= 0x7f800000u;
    }
};

template <class T, int FMT, bool COUNT> DEV void castOne(const CastArgs &a, i64 i, float scale, u32 &m, Counts &c) {
    float v = toFloat(((const T *)a.src)[i]);
    m = max(m, magnitude(v));
    u8 q = code8(FMT, v, scale);
    if (COUNT) c.see<FMT>(v, scale, q);
    a.dst[i] = q;
}

template <class T, int FMT, bool COUNT> DEV void castUnit(const CastArgs &a, i64 unit, uint4 w, float scale, u32 &m, Counts &c) {
    const int N = Unit<T>::N;
    float v[N];
    Unit<T>::open(w, v);
    u32 q[N / 4];
#pragma unroll
    for (int i = 0; i < N; i++) m = max(m, magnitude(v[i]));
#pragma unroll
    for (int i = 0; i < N / 4; i++) q[i] = quad8<FMT>(v[4 * i], v[4 * i + 1], v[4 * i + 2], v[4 * i + 3], scale);
    if (COUNT) {
#pragma unroll
        for (int i = 0; i < N; i++) c.see<FMT>(v[i], scale, q[i / 4] >> (8 * (i & 3)));
    }
    u32 *to = (u32 *)(a.dst + unit * N);
    if (N == 8)
        __stcs((uint2 *)to, make_uint2(q[0], q[N / 4 - 1]));
    else
        __stcs(to, q[0]);
}

DEV void addCount(u64 *to, u32 n) {
    n = __reduce_add_sync(~0u, n);
    if ((threadIdx.x & 31) == 0 && n) atomicAdd(to, (u64)n);
}

template <class T, int FMT, bool COUNT> DEV void cast(const CastArgs &a) {
    const int N = Unit<T>::N, UNROLL = 4;
    __shared__ u32 scratch[32];
    float scale = a.scale ? *a.scale : 1.f;
    u32 m = 0;
    Counts c = {0, 0, 0};
    if (aligned(a.src) && ((u64)a.dst & 7) == 0) {
        i64 units = a.n / N, tile = (i64)blockDim.x * UNROLL;
        for (i64 base = blockIdx.x * tile; base < units; base += gridDim.x * tile) {
            const char *from = (const char *)a.src + (base + threadIdx.x) * 16;
            if (base + tile <= units) {
                uint4 w[UNROLL];
#pragma unroll
                for (int k = 0; k < UNROLL; k++) w[k] = stream16(from + (i64)k * blockDim.x * 16);
#pragma unroll
                for (int k = 0; k < UNROLL; k++) castUnit<T, FMT, COUNT>(a, base + threadIdx.x + k * blockDim.x, w[k], scale, m, c);
            } else {
                for (i64 u = base + threadIdx.x; u < units; u += blockDim.x)
                    castUnit<T, FMT, COUNT>(a, u, stream16((const char *)a.src + u * 16), scale, m, c);
            }
        }
        i64 rest = units * N + threadIdx.x;
        if (blockIdx.x == 0 && rest < a.n) castOne<T, FMT, COUNT>(a, rest, scale, m, c);
    } else {
        for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x)
            castOne<T, FMT, COUNT>(a, i, scale, m, c);
    }
    if (COUNT) {
        addCount(a.counts, c.saturated);
        addCount(a.counts + 1, c.flushed);
        addCount(a.counts + 2, c.odd);
    }
    raiseAmax(a.amax, m, scratch);
}

#define CAST(T, NAME, FMT)                                                                                                                 \
    KERNEL __launch_bounds__(256) cast_##NAME##_##T(ARG CastArgs a) { cast<T, FMT, false>(a); }                                            \
    KERNEL __launch_bounds__(256) cast_count_##NAME##_##T(ARG CastArgs a) { cast<T, FMT, true>(a); }
CAST(float, e4m3, E4M3)
CAST(f16, e4m3, E4M3)
CAST(bf16, e4m3, E4M3)
CAST(float, e5m2, E5M2)
CAST(f16, e5m2, E5M2)
CAST(bf16, e5m2, E5M2)

struct PadArgs {
    const void *src;
    u8 *dst;
    const float *scale;
    u32 *amax;
    i64 rows, cols, ld; // dst rows of ld >= cols codes, ld a multiple of 8, dst 8-byte aligned
    i32 format, pad;
};

// One thread makes eight codes of a padded row.
template <class T> DEV void castPadded(const PadArgs &a) {
    __shared__ u32 scratch[32];
    float scale = a.scale ? *a.scale : 1.f;
    i64 chunks = a.ld / 8, n = a.rows * chunks;
    bool whole = aligned(a.src) && a.cols % 8 == 0;
    u32 m = 0;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x) {
        i64 row = i / chunks, col = (i % chunks) * 8;
        V8 x = loadSome((const T *)a.src + row * a.cols + col, a.cols - col, whole, 0.f);
        m = magnitude(m, x);
        V8 p = x;
        // A zero beyond the row must stay one under any scale, infinity included.
        float s = scale;
        if (col + 8 > a.cols) {
#pragma unroll
            for (int k = 0; k < 8; k++) p.v[k] = col + k < a.cols ? __fmul_rn(p.v[k], scale) : 0.f;
            s = 1.f;
        }
        storeCodes(a.dst + row * a.ld + col, a.format, p, s, 8, true);
    }
    raiseAmax(a.amax, m, scratch);
}
KERNEL __launch_bounds__(256) cast_padded_float(ARG PadArgs a) { castPadded<float>(a); }
KERNEL __launch_bounds__(256) cast_padded_f16(ARG PadArgs a) { castPadded<f16>(a); }
KERNEL __launch_bounds__(256) cast_padded_bf16(ARG PadArgs a) { castPadded<bf16>(a); }

template <class T> DEV void amaxOf(const CastArgs &a) {
    const int N = Unit<T>::N, UNROLL = 4;
    __shared__ u32 scratch[32];
    u32 m = 0;
    if (aligned(a.src)) {
        i64 units = a.n / N, tile = (i64)blockDim.x * UNROLL;
        for (i64 base = blockIdx.x * tile; base < units; base += gridDim.x * tile) {
            uint4 w[UNROLL];
#pragma unroll
            for (int k = 0; k < UNROLL; k++) {
                i64 u = base + threadIdx.x + k * blockDim.x;
                w[k] = u < units ? stream16((const char *)a.src + u * 16) : make_uint4(0, 0, 0, 0);
            }
#pragma unroll
            for (int k = 0; k < UNROLL; k++) {
                float v[N];
                Unit<T>::open(w[k], v);
#pragma unroll
                for (int i = 0; i < N; i++) m = max(m, magnitude(v[i]));
            }
        }
        i64 rest = units * N + threadIdx.x;
        if (blockIdx.x == 0 && rest < a.n) m = max(m, magnitude(toFloat(((const T *)a.src)[rest])));
    } else {
        for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x)
            m = max(m, magnitude(toFloat(((const T *)a.src)[i])));
    }
    raiseAmax(a.amax, m, scratch);
}
KERNEL __launch_bounds__(256) amax_float(ARG CastArgs a) { amaxOf<float>(a); }
KERNEL __launch_bounds__(256) amax_f16(ARG CastArgs a) { amaxOf<f16>(a); }
KERNEL __launch_bounds__(256) amax_bf16(ARG CastArgs a) { amaxOf<bf16>(a); }

struct DecodeArgs {
    const u8 *src;
    void *dst;
    const float *scale; // multiplies the decoded value; null is 1
    i64 n;
};

template <class T, int FMT> DEV void decode(const DecodeArgs &a) {
    float scale = a.scale ? *a.scale : 1.f;
    bool whole = ((u64)a.src & 7) == 0 && aligned(a.dst);
    i64 chunks = (a.n + 7) / 8;
    for (i64 c = (i64)blockIdx.x * blockDim.x + threadIdx.x; c < chunks; c += (i64)gridDim.x * blockDim.x) {
        i64 left = a.n - c * 8;
        const u8 *from = a.src + c * 8;
        u16 h[4];
        if (whole && left >= 8) {
            uint2 w = *(const uint2 *)from;
            h[0] = (u16)w.x;
            h[1] = (u16)(w.x >> 16);
            h[2] = (u16)w.y;
            h[3] = (u16)(w.y >> 16);
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++)
                h[i] = (u16)((2 * i < left ? from[2 * i] : 0) | (2 * i + 1 < left ? from[2 * i + 1] : 0) << 8);
        }
        V8 x;
#pragma unroll
        for (int i = 0; i < 4; i++) unpair8<FMT>(h[i], x.v[2 * i], x.v[2 * i + 1]);
#pragma unroll
        for (int i = 0; i < 8; i++) x.v[i] = __fmul_rn(x.v[i], scale);
        storeSome((T *)a.dst + c * 8, x, left, whole);
    }
}
#define DECODE(T)                                                                                                                          \
    KERNEL __launch_bounds__(256) decode_e4m3_##T(ARG DecodeArgs a) { decode<T, E4M3>(a); }                                                \
    KERNEL __launch_bounds__(256) decode_e5m2_##T(ARG DecodeArgs a) { decode<T, E5M2>(a); }
DECODE(float)
DECODE(f16)
DECODE(bf16)

struct ConvertArgs {
    const void *src;
    void *dst;
    i64 n;
};

template <class S, class D> DEV void convert(const ConvertArgs &a) {
    bool whole = aligned(a.src) && aligned(a.dst);
    i64 chunks = (a.n + 7) / 8;
    for (i64 c = (i64)blockIdx.x * blockDim.x + threadIdx.x; c < chunks; c += (i64)gridDim.x * blockDim.x) {
        i64 left = a.n - c * 8;
        storeSome((D *)a.dst + c * 8, loadSome((const S *)a.src + c * 8, left, whole, 0.f), left, whole);
    }
}
#define CONVERT(S, D)                                                                                                                      \
    KERNEL __launch_bounds__(256) convert_##S##_##D(ARG ConvertArgs a) { convert<S, D>(a); }
CONVERT(float, f16)
CONVERT(float, bf16)
CONVERT(f16, float)
CONVERT(f16, bf16)
CONVERT(bf16, float)
CONVERT(bf16, f16)

struct ScaleArgs {
    const u32 *amax;
    float *scale, *inverse; // inverse may be null; scale keeps its value where the amax cannot be used
    i64 n;
    float formatMax, epsilon;
    i32 margin, powerOfTwo;
};

// A scale from each amax, as package scaling computes it: formatMax·(1/max(amax, epsilon)), halved margin times, down to a power of two.
KERNEL __launch_bounds__(256) scale_from_amax(ARG ScaleArgs a) {
    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= a.n) return;
    float m = __uint_as_float(a.amax[i]), s = a.scale[i];
    if (m > 0.f && m < infinity()) {
        s = __fmul_rn(a.formatMax, __fdiv_rn(1.f, fmaxf(m, a.epsilon)));
        s = ldexpf(s, -a.margin);
        if (a.powerOfTwo) {
            int e;
            frexpf(s, &e);
            s = ldexpf(1.f, e - 1);
        }
        a.scale[i] = s;
    }
    if (a.inverse) a.inverse[i] = __fdiv_rn(1.f, s);
}
