// Moving elements without a look at them: strided copies (slice, concat, expand, permute), tiled transposes, gathers.
//
// copy_N: elements of N bytes, up to five dimensions, a source and a destination each by strides in elements; a source stride of 0
// repeats. Launch: blocks of 256 threads, one element a thread a turn; neighbours take neighbours of the last dimension.
// transpose_N: [batch of three dimensions by strides] of matrices rows×cols, written cols×rows. Launch: blocks of 32×8 threads, one tile
// of 32×32 through shared memory each; x tiles of columns, y tiles of rows, z batch.
// gather: slices of bytes bytes by index along one axis: dst[o, i, :] = src[o, index[i], :]; a negative index counts from the end.
// Launch: blocks of 256 threads, one unit of unit bytes a thread a turn. An index out of range sets *error and writes zeros.
// Bytes moved: what is copied, read once and written once.
#include "common.cuh"

struct CopyArgs {
    const void *src;
    void *dst;
    i64 dim[5], srcStride[5], dstStride[5];
};

template <class E> DEV void copy(const CopyArgs &a) {
    i64 n = a.dim[0] * a.dim[1] * a.dim[2] * a.dim[3] * a.dim[4];
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x) {
        i64 from = 0, to = 0;
        if (n >> 31) {
            i64 r = i;
#pragma unroll
            for (int d = 4; d >= 0; d--) {
                i64 at = r % a.dim[d];
                r /= a.dim[d];
                from += at * a.srcStride[d];
                to += at * a.dstStride[d];
            }
        } else {
            // Division of 32 bits is several times cheaper.
            u32 r = (u32)i;
#pragma unroll
            for (int d = 4; d >= 0; d--) {
                u32 m = (u32)a.dim[d], q = m == 1 ? r : r / m, at = r - q * m;
                r = q;
                from += at * a.srcStride[d];
                to += at * a.dstStride[d];
            }
        }
        ((E *)a.dst)[to] = ((const E *)a.src)[from];
    }
}
KERNEL __launch_bounds__(256) copy_1(ARG CopyArgs a) { copy<u8>(a); }
KERNEL __launch_bounds__(256) copy_2(ARG CopyArgs a) { copy<u16>(a); }
KERNEL __launch_bounds__(256) copy_4(ARG CopyArgs a) { copy<u32>(a); }
KERNEL __launch_bounds__(256) copy_8(ARG CopyArgs a) { copy<uint2>(a); }
KERNEL __launch_bounds__(256) copy_16(ARG CopyArgs a) { copy<uint4>(a); }

struct TransposeArgs {
    const void *src;
    void *dst;
    i64 dim[3], srcStride[3], dstStride[3]; // the batch
    i64 rows, cols, srcLd, dstLd;           // src row r at r·srcLd; dst row c at c·dstLd
};

template <class E> DEV void transpose(const TransposeArgs &a) {
    __shared__ E tile[32][33];
    i64 z = blockIdx.z, b2 = z % a.dim[2], b1 = z / a.dim[2] % a.dim[1], b0 = z / a.dim[2] / a.dim[1];
    const E *src = (const E *)a.src + b0 * a.srcStride[0] + b1 * a.srcStride[1] + b2 * a.srcStride[2];
    E *dst = (E *)a.dst + b0 * a.dstStride[0] + b1 * a.dstStride[1] + b2 * a.dstStride[2];
    // The grid's y is limited to 65535: taller matrices take several turns.
    for (i64 r0 = (i64)blockIdx.y * 32; r0 < a.rows; r0 += (i64)gridDim.y * 32) {
        i64 c = (i64)blockIdx.x * 32 + threadIdx.x;
#pragma unroll
        for (int j = 0; j < 32; j += 8) {
            i64 r = r0 + threadIdx.y + j;
            if (r < a.rows && c < a.cols) tile[threadIdx.y + j][threadIdx.x] = src[r * a.srcLd + c];
        }
        __syncthreads();
        i64 r = r0 + threadIdx.x;
#pragma unroll
        for (int j = 0; j < 32; j += 8) {
            i64 d = (i64)blockIdx.x * 32 + threadIdx.y + j;
            if (r < a.rows && d < a.cols) dst[d * a.dstLd + r] = tile[threadIdx.x][threadIdx.y + j];
        }
        __syncthreads();
    }
}
KERNEL __launch_bounds__(256) transpose_1(ARG TransposeArgs a) { transpose<u8>(a); }
KERNEL __launch_bounds__(256) transpose_2(ARG TransposeArgs a) { transpose<u16>(a); }
KERNEL __launch_bounds__(256) transpose_4(ARG TransposeArgs a) { transpose<u32>(a); }
KERNEL __launch_bounds__(256) transpose_8(ARG TransposeArgs a) { transpose<u64>(a); }

struct GatherArgs {
    const void *src, *index;
    void *dst;
    u32 *error;                       // may be null
    i64 outer, axis, count, bytes;    // src [outer, axis, bytes], index [count], dst [outer, count, bytes]
    i32 indexType, unit;              // I32 or I64; bytes a thread moves at once: 16, 8, 4, 2 or 1, a divisor of bytes and addresses
};

template <class E> DEV void gatherUnits(const GatherArgs &a) {
    i64 units = a.bytes / (i64)sizeof(E), n = a.outer * a.count * units;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x) {
        i64 slice = i / units, u = i - slice * units, o = slice / a.count, k = slice - o * a.count;
        i64 at = a.indexType == I64 ? ((const i64 *)a.index)[k] : (i64)((const i32 *)a.index)[k];
        if (at < 0) at += a.axis;
        E v = {};
        if (at >= 0 && at < a.axis) v = ((const E *)a.src)[(o * a.axis + at) * units + u];
        else if (a.error) *a.error = 1;
        ((E *)a.dst)[i] = v;
    }
}
KERNEL __launch_bounds__(256) gather(ARG GatherArgs a) {
    switch (a.unit) {
    case 16: gatherUnits<uint4>(a); break;
    case 8: gatherUnits<uint2>(a); break;
    case 4: gatherUnits<u32>(a); break;
    case 2: gatherUnits<u16>(a); break;
    default: gatherUnits<u8>(a);
    }
}
