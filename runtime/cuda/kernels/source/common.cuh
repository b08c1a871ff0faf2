// What all kernels share: types, conversions, 16-byte access, reductions over a block. It is pasted in where a source includes it; the
// sources need no header of the CUDA toolkit.
//
// Every kernel takes one struct by value. The Go struct of the same name has the same layout; a test compares the sizes with the PTX.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;

#define INL __device__ __forceinline__
#define DEV static INL
#define KERNEL extern "C" __global__ void
#define ARG const __grid_constant__

struct f16 { u16 bits; };
struct bf16 { u16 bits; };

// Element types that a kernel is told at run time. Package kernels has the same numbers.
enum { NONE = 0, F32 = 1, F16 = 2, BF16 = 3, E4M3 = 4, E5M2 = 5, U8 = 6, I32 = 7, I64 = 8 };

// FAST<T> allows the hardware's approximate exp and division, whose error (2^-21) vanishes in the rounding to T.
template <class T> struct Fast { static const bool yes = true; };
template <> struct Fast<float> { static const bool yes = false; };

DEV float infinity() { return __uint_as_float(0x7f800000u); }

// ---- conversions -------------------------------------------------------------------------------------------------------------------

DEV float toFloat(float v) { return v; }
DEV float toFloat(u8 v) { return (float)v; }
DEV float toFloat(bf16 v) { return __uint_as_float((u32)v.bits << 16); }
DEV float toFloat(f16 v) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v.bits));
    return f;
}

template <class T> DEV T fromFloat(float x);
template <> INL float fromFloat<float>(float x) { return x; }
template <> INL bf16 fromFloat<bf16>(float x) {
    bf16 r;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
    return r;
}
template <> INL f16 fromFloat<f16>(float x) {
    f16 r;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
    return r;
}

// rounded is x as T would hold it.
template <class T> DEV float rounded(float x) { return toFloat(fromFloat<T>(x)); }

// pack2 puts lo and hi, rounded to T, into the halves of a word.
template <class T> DEV u32 pack2(float lo, float hi);
template <> INL u32 pack2<bf16>(float lo, float hi) {
    u32 r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}
template <> INL u32 pack2<f16>(float lo, float hi) {
    u32 r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}

// pair8 casts two floats, saturating and to nearest even, into the bytes of a half word; lo into the lower. A NaN becomes 0x7f.
template <int FMT> DEV u16 pair8(float lo, float hi) {
    u16 r;
    if (FMT == E4M3)
        asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(r) : "f"(hi), "f"(lo));
    else
        asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(r) : "f"(hi), "f"(lo));
    return r;
}

// unpair8 is the two values of a half word of codes.
template <int FMT> DEV void unpair8(u16 codes, float &lo, float &hi) {
    u32 h;
    if (FMT == E4M3)
        asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(h) : "h"(codes));
    else
        asm("cvt.rn.f16x2.e5m2x2 %0, %1;" : "=r"(h) : "h"(codes));
    f16 a, b;
    a.bits = (u16)h;
    b.bits = (u16)(h >> 16);
    lo = toFloat(a);
    hi = toFloat(b);
}

// The products with the scale are single roundings: no contraction may reach into them, hence __fmul_rn.
template <int FMT> DEV u32 quad8(float a, float b, float c, float d, float scale) {
    return (u32)pair8<FMT>(__fmul_rn(a, scale), __fmul_rn(b, scale)) | (u32)pair8<FMT>(__fmul_rn(c, scale), __fmul_rn(d, scale)) << 16;
}

DEV u8 code8(int fmt, float v, float scale) {
    float p = __fmul_rn(v, scale);
    return (u8)(fmt == E4M3 ? pair8<E4M3>(p, 0.f) : pair8<E5M2>(p, 0.f));
}

// ---- eight elements at a time ------------------------------------------------------------------------------------------------------

struct V8 { float v[8]; };

DEV void unpack2(u32 w, float &lo, float &hi, bf16) {
    lo = __uint_as_float(w << 16);
    hi = __uint_as_float(w & 0xffff0000u);
}
DEV void unpack2(u32 w, float &lo, float &hi, f16) {
    f16 a, b;
    a.bits = (u16)w;
    b.bits = (u16)(w >> 16);
    lo = toFloat(a);
    hi = toFloat(b);
}

DEV V8 load8(const float *p) {
    float4 a = *(const float4 *)p, b = *(const float4 *)(p + 4);
    V8 r = {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
    return r;
}
template <class T> DEV V8 load8(const T *p) {
    uint4 w = *(const uint4 *)p;
    V8 r;
    unpack2(w.x, r.v[0], r.v[1], T());
    unpack2(w.y, r.v[2], r.v[3], T());
    unpack2(w.z, r.v[4], r.v[5], T());
    unpack2(w.w, r.v[6], r.v[7], T());
    return r;
}

// Stores are marked as streaming: what is read while they go by then stays in the L2 cache, which makes a pass over much memory 8% faster.
DEV void store8(float *p, const V8 &x) {
    __stcs((float4 *)p, make_float4(x.v[0], x.v[1], x.v[2], x.v[3]));
    __stcs((float4 *)(p + 4), make_float4(x.v[4], x.v[5], x.v[6], x.v[7]));
}
template <class T> DEV void store8(T *p, const V8 &x) {
    __stcs((uint4 *)p, make_uint4(pack2<T>(x.v[0], x.v[1]), pack2<T>(x.v[2], x.v[3]), pack2<T>(x.v[4], x.v[5]), pack2<T>(x.v[6], x.v[7])));
}

// aligned says that p starts a 16-byte word.
DEV bool aligned(const void *p) { return ((u64)p & 15) == 0; }

// Keep is eight values of T as they are in memory.
template <class T> struct Keep {
    uint4 w;
    INL void load(const T *p) { w = *(const uint4 *)p; }
    INL void store(T *p) const { __stcs((uint4 *)p, w); }
    INL V8 open() const { return load8((const T *)&w); }
    INL void close(const V8 &x) {
        w = make_uint4(pack2<T>(x.v[0], x.v[1]), pack2<T>(x.v[2], x.v[3]), pack2<T>(x.v[4], x.v[5]), pack2<T>(x.v[6], x.v[7]));
    }
};
template <> struct Keep<float> {
    V8 x;
    INL void load(const float *p) { x = load8(p); }
    INL void store(float *p) const { store8(p, x); }
    INL V8 open() const { return x; }
    INL void close(const V8 &y) { x = y; }
};

// loadSome reads the elements of p that lie below left, the others are fill; whole says that eight can be read at once.
template <class T> DEV V8 loadSome(const T *p, i64 left, bool whole, float fill) {
    if (whole && left >= 8) return load8(p);
    V8 r;
#pragma unroll
    for (int i = 0; i < 8; i++) r.v[i] = i < left ? toFloat(p[i]) : fill;
    return r;
}
template <class T> DEV void storeSome(T *p, const V8 &x, i64 left, bool whole) {
    if (whole && left >= 8) {
        store8(p, x);
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (i < left) p[i] = fromFloat<T>(x.v[i]);
}
DEV void storeCodes(u8 *p, int fmt, const V8 &x, float scale, i64 left, bool whole) {
    if (whole && left >= 8) {
        uint2 w;
        if (fmt == E4M3) {
            w.x = quad8<E4M3>(x.v[0], x.v[1], x.v[2], x.v[3], scale);
            w.y = quad8<E4M3>(x.v[4], x.v[5], x.v[6], x.v[7], scale);
        } else {
            w.x = quad8<E5M2>(x.v[0], x.v[1], x.v[2], x.v[3], scale);
            w.y = quad8<E5M2>(x.v[4], x.v[5], x.v[6], x.v[7], scale);
        }
        __stcs((uint2 *)p, w);
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (i < left) p[i] = code8(fmt, x.v[i], scale);
}

// loadAs reads element i of an array whose type is told at run time.
DEV float loadAs(const void *p, int type, i64 i) {
    switch (type) {
    case F32: return ((const float *)p)[i];
    case F16: return toFloat(((const f16 *)p)[i]);
    case BF16: return toFloat(((const bf16 *)p)[i]);
    case U8: return (float)((const u8 *)p)[i];
    case I32: return (float)((const i32 *)p)[i];
    case I64: return (float)((const i64 *)p)[i];
    }
    return 0.f;
}
DEV V8 loadSomeAs(const void *p, int type, i64 i, i64 left, bool whole) {
    switch (type) {
    case F32: return loadSome((const float *)p + i, left, whole, 0.f);
    case F16: return loadSome((const f16 *)p + i, left, whole, 0.f);
    case BF16: return loadSome((const bf16 *)p + i, left, whole, 0.f);
    }
    V8 r;
#pragma unroll
    for (int k = 0; k < 8; k++) r.v[k] = k < left ? loadAs(p, type, i + k) : 0.f;
    return r;
}

// ---- reductions --------------------------------------------------------------------------------------------------------------------

struct Sum { static INL float of(float a, float b) { return a + b; } };

struct MaxNaN { static INL float of(float a, float b) { return a > b || a != a ? a : b; } };
struct MinNaN { static INL float of(float a, float b) { return a < b || a != a ? a : b; } };
struct Product { static INL float of(float a, float b) { return a * b; } };

template <class Op> DEV float overWarp(float v) {
#pragma unroll
    for (int d = 16; d > 0; d >>= 1) v = Op::of(v, __shfl_xor_sync(~0u, v, d));
    return v;
}

// overBlock joins v of every thread; all get the result. scratch has 33 floats. The block is whole warps. Called by all its threads; the
// same scratch may be used again at once.
template <class Op> DEV float overBlock(float v, float *scratch, float neutral) {
    v = overWarp<Op>(v);
    int warps = blockDim.x >> 5;
    if (warps == 1) return v;
    __syncthreads();
    if ((threadIdx.x & 31) == 0) scratch[threadIdx.x >> 5] = v;
    __syncthreads();
    v = (int)(threadIdx.x & 31) < warps ? scratch[threadIdx.x & 31] : neutral;
    return overWarp<Op>(v);
}

// An amax travels as the bits of a magnitude: as integers, a NaN is above infinity and that above every number, so one integer maximum
// keeps the largest and propagates NaN.
DEV u32 magnitude(float v) { return __float_as_uint(v) & 0x7fffffffu; }
DEV u32 magnitude(u32 m, const V8 &x) {
#pragma unroll
    for (int i = 0; i < 8; i++) m = max(m, magnitude(x.v[i]));
    return m;
}

// raiseAmax joins m of every thread into *amax, if there is one. Called by all threads of a block of whole warps.
DEV void raiseAmax(u32 *amax, u32 m, u32 *scratch) {
    if (!amax) return;
    m = __reduce_max_sync(~0u, m);
    if ((threadIdx.x & 31) == 0) scratch[threadIdx.x >> 5] = m;
    __syncthreads();
    if (threadIdx.x >= 32) return;
    m = threadIdx.x < blockDim.x >> 5 ? scratch[threadIdx.x] : 0;
    m = __reduce_max_sync(~0u, m);
    // Most blocks bring nothing new: a look is cheaper than thousands of updates of one word.
    if (threadIdx.x == 0 && m > *(volatile u32 *)amax) atomicMax(amax, m);
}
