// Rotary position embedding of the first width elements of each head; the rest is copied.
//
//   halves       y[j] = x[j]·cos[j] - x[j+w/2]·sin[j],  y[j+w/2] = x[j+w/2]·cos[j'] + x[j]·sin[j']
//   interleaved  the same for the pairs (2j, 2j+1)
//
// Tables and products are rounded to the type, as the operators are that this stands for.
//
// Layout: x and y [batch, heads, sequence, head] by strides, the last contiguous; cos and sin are rows by position, tableLd apart, of w/2
// values (j' = j) or, with full, of w (j' = j + w/2, or 2j and 2j+1). The position is that of position[b·positionStride + s], or s + start.
// Launch: blocks of 256 threads.
//   rotary_halves_T: halves, the whole head turned, width/2 a multiple of 8, everything 16-byte aligned: less than 2^31 values;
//                    eight pairs of two heads a thread a turn.
//   rotary_T:        one pair or one copied element a thread a turn.
// Bytes moved: read x, write y; the tables stay in the cache.
#include "common.cuh"

struct RotaryArgs {
    const void *x, *cosine, *sine;
    void *y;
    const i64 *position; // may be null
    i64 batch, heads, sequence, head, width;
    i64 xStride[3], yStride[3]; // of batch, head and sequence
    i64 tableLd, positionStride, start;
    i32 tableType, full, interleaved, pad;
};

// turned is x·c + y·d: three operators, each rounded to T.
template <class T> DEV float turned(float x, float c, float y, float d) {
    return __fadd_rn(rounded<T>(__fmul_rn(x, rounded<T>(c))), rounded<T>(__fmul_rn(y, rounded<T>(d))));
}

template <class T> DEV void rotary(const RotaryArgs &a) {
    i64 half = a.width / 2, per = half + a.head - a.width, n = a.batch * a.heads * a.sequence * per;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x) {
        i64 row = i / per, j = i - row * per, s = row % a.sequence, h = row / a.sequence % a.heads, b = row / a.sequence / a.heads;
        const T *x = (const T *)a.x + b * a.xStride[0] + h * a.xStride[1] + s * a.xStride[2];
        T *y = (T *)a.y + b * a.yStride[0] + h * a.yStride[1] + s * a.yStride[2];
        if (j >= half) {
            i64 k = a.width + j - half;
            y[k] = x[k];
            continue;
        }
        i64 t = (a.position ? a.position[b * a.positionStride + s] : s + a.start) * a.tableLd;
        i64 p = a.interleaved ? 2 * j : j, q = a.interleaved ? 2 * j + 1 : j + half;
        i64 tp = a.full ? p : j, tq = a.full ? q : j;
        float u = toFloat(x[p]), v = toFloat(x[q]);
        y[p] = fromFloat<T>(turned<T>(u, loadAs(a.cosine, a.tableType, t + tp), -v, loadAs(a.sine, a.tableType, t + tp)));
        y[q] = fromFloat<T>(turned<T>(v, loadAs(a.cosine, a.tableType, t + tq), u, loadAs(a.sine, a.tableType, t + tq)));
    }
}

// A thread turns the same pairs of H heads: the tables are read once for all, and two reads of each head are under way together.
template <class T, int H> DEV void rotaryHalves(const RotaryArgs &a) {
    u32 half = (u32)a.width / 2, per = half / 8, heads = (u32)a.heads, some = (heads + H - 1) / H, sequence = (u32)a.sequence;
    u32 n = (u32)a.batch * some * sequence * per;
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        // Heads run before positions: neighbours then read the same rows of the tables.
        u32 row = i / per, j = (i - row * per) * 8, r = row / some, h = (row - r * some) * H, b = r / sequence, s = r - b * sequence;
        const T *x = (const T *)a.x + b * a.xStride[0] + h * a.xStride[1] + s * a.xStride[2] + j;
        T *y = (T *)a.y + b * a.yStride[0] + h * a.yStride[1] + s * a.yStride[2] + j;
        i64 t = (a.position ? a.position[b * a.positionStride + s] : s + a.start) * a.tableLd + j;
        Keep<T> u[H], v[H];
#pragma unroll
        for (int k = 0; k < H; k++) {
            if (h + k >= heads) break;
            u[k].load(x + k * a.xStride[1]);
            v[k].load(x + k * a.xStride[1] + half);
        }
        V8 c = loadSomeAs(a.cosine, a.tableType, t, 8, true), d = loadSomeAs(a.sine, a.tableType, t, 8, true);
#pragma unroll
        for (int k = 0; k < H; k++) {
            if (h + k >= heads) break;
            V8 p = u[k].open(), q = v[k].open();
#pragma unroll
            for (int e = 0; e < 8; e++) p.v[e] = turned<T>(p.v[e], c.v[e], -q.v[e], d.v[e]);
            store8(y + k * a.yStride[1], p);
        }
        if (a.full) {
            c = loadSomeAs(a.cosine, a.tableType, t + half, 8, true);
            d = loadSomeAs(a.sine, a.tableType, t + half, 8, true);
        }
#pragma unroll
        for (int k = 0; k < H; k++) {
            if (h + k >= heads) break;
            V8 p = u[k].open(), q = v[k].open();
#pragma unroll
            for (int e = 0; e < 8; e++) p.v[e] = turned<T>(q.v[e], c.v[e], p.v[e], d.v[e]);
            store8(y + k * a.yStride[1] + half, p);
        }
    }
}
KERNEL __launch_bounds__(256, 2) rotary_halves_float(ARG RotaryArgs a) { rotaryHalves<float, 2>(a); }
KERNEL __launch_bounds__(256, 3) rotary_halves_bf16(ARG RotaryArgs a) { rotaryHalves<bf16, 4>(a); }
KERNEL __launch_bounds__(256) rotary_float(ARG RotaryArgs a) { rotary<float>(a); }
KERNEL __launch_bounds__(256) rotary_bf16(ARG RotaryArgs a) { rotary<bf16>(a); }
