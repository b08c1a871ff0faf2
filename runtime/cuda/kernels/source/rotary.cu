// Rotary position embedding of the first width elements of each head; the rest is copied.
//
//   halves       y[j] = x[j]·cos[j] - x[j+w/2]·sin[j],  y[j+w/2] = x[j+w/2]·cos[j'] + x[j]·sin[j']
//   interleaved  the same for the pairs (2j, 2j+1)
//
// Layout: x and y [batch, heads, sequence, head] by strides, the last contiguous; cos and sin are rows by position, tableLd apart, of w/2
// values (j' = j) or, with full, of w (j' = j + w/2, or 2j and 2j+1). The position is that of position[b·positionStride + s], or s + start.
// Launch: blocks of 256 threads, one pair or one copied element a thread a turn.
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
        y[p] = fromFloat<T>(u * loadAs(a.cosine, a.tableType, t + tp) - v * loadAs(a.sine, a.tableType, t + tp));
        y[q] = fromFloat<T>(v * loadAs(a.cosine, a.tableType, t + tq) + u * loadAs(a.sine, a.tableType, t + tq));
    }
}
KERNEL __launch_bounds__(256) rotary_float(ARG RotaryArgs a) { rotary<float>(a); }
KERNEL __launch_bounds__(256) rotary_bf16(ARG RotaryArgs a) { rotary<bf16>(a); }
