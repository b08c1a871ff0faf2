// Attention forward without scores in memory: o = softmax(q·kᵀ·scale + mask) · v, the softmax computed as the keys go by.
//
// attention_mma_D_bf16, D = 64 or 128: tensor cores (mma.sync m16n8k16, bfloat16 in, float32 sums). A block of 4 warps takes 64 queries
// of one head, a warp 16 of them, whose scores and output stay in registers; keys and values come by 64 through shared memory
// (asynchronous copies; rows of 16-byte chunks, chunk index xor row, so that ldmatrix meets no bank twice). While the scores of a tile
// are computed its values are on their way, and the next keys while the values are used.
// attention_any_T: any head up to 128, float32 or bfloat16, float32 arithmetic. A block of 8 warps takes 8 queries, a warp one of
// them; keys and values by 32 through shared memory, a lane scores one key and then sums every 32nd column.
//
// Layout: [batch, head, position] by strides, head elements contiguous; mma: all addresses and strides multiples of 16 bytes, scale
// positive. Query head h uses key head h / (heads/kvHeads). mask float or boolean (U8: 0 excludes), by strides. With causal, query i
// sees keys up to i + offset. A query that sees nothing gets zeros. Codes of the output, as its type holds it, lie by its strides.
// Launch: x tiles of queries, from the last to the first, since the last see most; y heads, z batch.
// Bytes moved: q, o once; k, v once for each tile of queries, mostly from the L2 cache. The limit is arithmetic: 4·S²·D flop a head,
// half of it when causal.
#include "common.cuh"
#include "attention.cuh"

DEV void ldmatrix4(u32 &a, u32 &b, u32 &c, u32 &d, u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "r"(at) : "memory");
}
DEV void ldmatrix4t(u32 &a, u32 &b, u32 &c, u32 &d, u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "r"(at) : "memory");
}
DEV void mma(float *c, const u32 *a, u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// loadTile starts the copy of 64 rows of D elements from row first on.
template <int D> DEV void loadTile(u32 tile, const bf16 *from, i64 stride, i64 first, i64 rows) {
    const int CHUNKS = D / 8;
#pragma unroll
    for (int i = 0; i < 64 * CHUNKS / 128; i++) {
        int at = threadIdx.x + i * 128, r = at / CHUNKS, c = at % CHUNKS;
        bool wanted = first + r < rows;
        copy16(tile + r * D * 2 + ((c ^ (r & 7)) << 4), from + (wanted ? (first + r) * stride : 0) + c * 8, wanted);
    }
}

DEV float maskAt(const AttentionArgs &a, i64 base, i64 q, i64 k) {
    return loadAs(a.mask, a.maskType, base + q * a.maskStride[2] + k * a.maskStride[3]);
}

// writeRow writes a thread's part of one query's output, elements e and e+1 of each fourth pair of columns, times inv; it gives the
// largest magnitude.
template <int D> DEV u32 writeRow(const AttentionArgs &a, i64 at, const float (*o)[4], int e, float inv, bool wanted) {
    if (!wanted) return 0;
    float scale = a.codeScale ? *a.codeScale : 1.f;
    u32 m = 0;
#pragma unroll
    for (int i = 0; i < D / 8; i++) {
        u32 w = pack2<bf16>(o[i][e] * inv, o[i][e + 1] * inv);
        float lo, hi;
        unpack2(w, lo, hi, bf16());
        m = max(m, max(magnitude(lo), magnitude(hi)));
        if (a.o) *(u32 *)((bf16 *)a.o + at + i * 8) = w;
        if (a.codes) {
            lo = __fmul_rn(lo, scale);
            hi = __fmul_rn(hi, scale);
            *(u16 *)(a.codes + at + i * 8) = a.format == E4M3 ? pair8<E4M3>(lo, hi) : pair8<E5M2>(lo, hi);
        }
    }
    return m;
}

template <int D> DEV void attentionMMA(const AttentionArgs &a) {
    const int N = 64;
    __shared__ __align__(128) bf16 kTile[N * D], vTile[N * D];
    u32 ks = sharedAddress(kTile), vs = sharedAddress(vTile);
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = (lane & 3) * 2;
    i64 tileQ = (i64)(gridDim.x - 1 - blockIdx.x) * 64, q0 = tileQ + warp * 16 + g, q1 = q0 + 8;
    int h = blockIdx.y, kh = h / (a.heads / a.kvHeads);
    i64 b = blockIdx.z;
    const bf16 *kp = (const bf16 *)a.k + b * a.kStride[0] + kh * a.kStride[1];
    const bf16 *vp = (const bf16 *)a.v + b * a.vStride[0] + kh * a.vStride[1];
    const bf16 *qp = (const bf16 *)a.q + b * a.qStride[0] + h * a.qStride[1];
    i64 maskBase = b * a.maskStride[0] + h * a.maskStride[1];

    i64 end = a.keys; // keys that any query of the block sees
    if (a.causal) end = min(end, tileQ + 64 + a.offset);
    int tiles = end > 0 ? (int)((end + N - 1) / N) : 0;
    if (tiles) loadTile<D>(ks, kp, a.kStride[2], 0, a.keys);
    copyCommit();

    u32 qf[D / 16][4];
#pragma unroll
    for (int i = 0; i < D / 16; i++) {
        int c = i * 16 + t;
        qf[i][0] = q0 < a.queries ? *(const u32 *)(qp + q0 * a.qStride[2] + c) : 0;
        qf[i][1] = q1 < a.queries ? *(const u32 *)(qp + q1 * a.qStride[2] + c) : 0;
        qf[i][2] = q0 < a.queries ? *(const u32 *)(qp + q0 * a.qStride[2] + c + 8) : 0;
        qf[i][3] = q1 < a.queries ? *(const u32 *)(qp + q1 * a.qStride[2] + c + 8) : 0;
    }

    float o[D / 8][4], top0 = -infinity(), top1 = -infinity(), sum0 = 0.f, sum1 = 0.f;
#pragma unroll
    for (int i = 0; i < D / 8; i++) o[i][0] = o[i][1] = o[i][2] = o[i][3] = 0.f;
    // Powers of two are what the hardware computes. Scores stay unscaled, since the scale then costs nothing: exp(s·scale - m·scale) is
    // one multiply-add and one power. That keeps their order only where the scale is positive.
    float factor = a.scale * 1.4426950408889634f, unscale = 1.f / a.scale;

    for (int j = 0; j < tiles; j++) {
        i64 first = (i64)j * N;
        copyWait<0>();
        __syncthreads(); // the keys are there, and everyone is done with the values of the tile before
        loadTile<D>(vs, vp, a.vStride[2], first, a.keys);
        copyCommit();

        float s[N / 8][4];
#pragma unroll
        for (int i = 0; i < N / 8; i++) s[i][0] = s[i][1] = s[i][2] = s[i][3] = 0.f;
#pragma unroll
        for (int d = 0; d < D / 16; d++) {
#pragma unroll
            for (int n = 0; n < N / 16; n++) {
                int m = lane >> 3, r = n * 16 + (m >> 1) * 8 + (lane & 7), c = d * 2 + (m & 1);
                u32 b0, b1, b2, b3;
                ldmatrix4(b0, b1, b2, b3, ks + r * D * 2 + ((c ^ (r & 7)) << 4));
                mma(s[2 * n], qf[d], b0, b1);
                mma(s[2 * n + 1], qf[d], b2, b3);
            }
        }
        bool edge = first + N > a.keys || (a.causal && first + N - 1 > tileQ + warp * 16 + a.offset) || a.mask;
        if (edge) {
#pragma unroll
            for (int i = 0; i < N / 8; i++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    i64 key = first + i * 8 + t + (e & 1), q = e < 2 ? q0 : q1;
                    if (key >= a.keys || (a.causal && key > q + a.offset)) s[i][e] = -infinity();
                    else if (a.mask && q < a.queries) s[i][e] = masked(s[i][e], maskAt(a, maskBase, q, key), a.maskType == U8, unscale);
                }
            }
        }

        float new0 = top0, new1 = top1;
#pragma unroll
        for (int i = 0; i < N / 8; i++) {
            new0 = fmaxf(new0, fmaxf(s[i][0], s[i][1]));
            new1 = fmaxf(new1, fmaxf(s[i][2], s[i][3]));
        }
#pragma unroll
        for (int x = 1; x <= 2; x <<= 1) {
            new0 = fmaxf(new0, __shfl_xor_sync(~0u, new0, x));
            new1 = fmaxf(new1, __shfl_xor_sync(~0u, new1, x));
        }
        float use0 = zeroOf(new0, factor), use1 = zeroOf(new1, factor), fade0 = fading(top0, new0, factor), fade1 = fading(top1, new1, factor);
        top0 = new0;
        top1 = new1;
        sum0 *= fade0;
        sum1 *= fade1;
        u32 p[N / 16][4];
#pragma unroll
        for (int i = 0; i < N / 8; i++) {
            float e0 = power2(s[i][0] * factor - use0), e1 = power2(s[i][1] * factor - use0);
            float e2 = power2(s[i][2] * factor - use1), e3 = power2(s[i][3] * factor - use1);
            sum0 += e0 + e1;
            sum1 += e2 + e3;
            p[i / 2][(i & 1) * 2] = pack2<bf16>(e0, e1);
            p[i / 2][(i & 1) * 2 + 1] = pack2<bf16>(e2, e3);
        }
#pragma unroll
        for (int i = 0; i < D / 8; i++) {
            o[i][0] *= fade0;
            o[i][1] *= fade0;
            o[i][2] *= fade1;
            o[i][3] *= fade1;
        }

        copyWait<0>();
        __syncthreads(); // the values are there, and everyone is done with the keys
        if (j + 1 < tiles) loadTile<D>(ks, kp, a.kStride[2], first + N, a.keys);
        copyCommit();
#pragma unroll
        for (int k = 0; k < N / 16; k++) {
#pragma unroll
            for (int n = 0; n < D / 16; n++) {
                int m = lane >> 3, r = k * 16 + (m & 1) * 8 + (lane & 7), c = n * 2 + (m >> 1);
                u32 b0, b1, b2, b3;
                ldmatrix4t(b0, b1, b2, b3, vs + r * D * 2 + ((c ^ (r & 7)) << 4));
                mma(o[2 * n], p[k], b0, b1);
                mma(o[2 * n + 1], p[k], b2, b3);
            }
        }
    }
#pragma unroll
    for (int x = 1; x <= 2; x <<= 1) {
        sum0 += __shfl_xor_sync(~0u, sum0, x);
        sum1 += __shfl_xor_sync(~0u, sum1, x);
    }
    float inv0 = sum0 > 0.f ? 1.f / sum0 : sum0, inv1 = sum1 > 0.f ? 1.f / sum1 : sum1;
    i64 to = b * a.oStride[0] + h * a.oStride[1] + t;
    u32 m = max(writeRow<D>(a, to + q0 * a.oStride[2], o, 0, inv0, q0 < a.queries), writeRow<D>(a, to + q1 * a.oStride[2], o, 2, inv1, q1 < a.queries));
    raiseByWarp(a.amax, m);
}
KERNEL __launch_bounds__(128) attention_mma_64_bf16(ARG AttentionArgs a) { attentionMMA<64>(a); }
KERNEL __launch_bounds__(128) attention_mma_128_bf16(ARG AttentionArgs a) { attentionMMA<128>(a); }

template <class T> DEV void attentionAny(const AttentionArgs &a) {
    // A row of 129 floats puts the same column of 32 rows into 32 banks.
    __shared__ float kTile[32][129], vTile[32][129], qRow[8][128];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, h = blockIdx.y, kh = h / (a.heads / a.kvHeads);
    i64 tileQ = (i64)(gridDim.x - 1 - blockIdx.x) * 8, q = tileQ + warp, b = blockIdx.z;
    const T *kp = (const T *)a.k + b * a.kStride[0] + kh * a.kStride[1];
    const T *vp = (const T *)a.v + b * a.vStride[0] + kh * a.vStride[1];
    const T *qp = (const T *)a.q + b * a.qStride[0] + h * a.qStride[1] + q * a.qStride[2];
    i64 maskBase = b * a.maskStride[0] + h * a.maskStride[1], end = a.keys;
    if (a.causal) end = min(end, tileQ + 8 + a.offset);
    for (int d = lane; d < a.head; d += 32) qRow[warp][d] = q < a.queries ? toFloat(qp[d]) * a.scale : 0.f;
    float o[4] = {0.f, 0.f, 0.f, 0.f}, top = -infinity(), sum = 0.f;
    for (i64 first = 0; first < end; first += 32) {
        __syncthreads();
        for (int i = threadIdx.x; i < 32 * a.head; i += 256) {
            int r = i / a.head, c = i - r * a.head;
            bool there = first + r < a.keys;
            kTile[r][c] = there ? toFloat(kp[(first + r) * a.kStride[2] + c]) : 0.f;
            vTile[r][c] = there ? toFloat(vp[(first + r) * a.vStride[2] + c]) : 0.f;
        }
        __syncthreads();
        i64 key = first + lane;
        float s = 0.f;
        for (int d = 0; d < a.head; d++) s += qRow[warp][d] * kTile[lane][d];
        if (key >= a.keys || (a.causal && key > q + a.offset)) s = -infinity();
        else if (a.mask && q < a.queries) s = masked(s, maskAt(a, maskBase, q, key), a.maskType == U8, 1.f);
        float now = overWarp<MaxNaN>(fmaxf(s, top)), use = now == -infinity() ? 0.f : now;
        float fade = expf(top - use), p = expf(s - use);
        top = now;
        sum = sum * fade + overWarp<Sum>(p);
#pragma unroll
        for (int i = 0; i < 4; i++) o[i] *= fade;
        for (int k = 0; k < 32; k++) {
            float w = __shfl_sync(~0u, p, k);
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (lane + 32 * i < a.head) o[i] += w * vTile[k][lane + 32 * i];
        }
    }
    if (q >= a.queries) return;
    float inv = sum > 0.f ? 1.f / sum : sum;
    float scale = a.codeScale ? *a.codeScale : 1.f;
    u32 m = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (lane + 32 * i >= a.head) continue;
        i64 at = b * a.oStride[0] + h * a.oStride[1] + q * a.oStride[2] + lane + 32 * i;
        float v = rounded<T>(o[i] * inv);
        m = max(m, magnitude(v));
        if (a.o) ((T *)a.o)[at] = fromFloat<T>(v);
        if (a.codes) a.codes[at] = code8(a.format, v, scale);
    }
    raiseByWarp(a.amax, m);
}
KERNEL __launch_bounds__(256) attention_any_float(ARG AttentionArgs a) { attentionAny<float>(a); }
KERNEL __launch_bounds__(256) attention_any_bf16(ARG AttentionArgs a) { attentionAny<bf16>(a); }
