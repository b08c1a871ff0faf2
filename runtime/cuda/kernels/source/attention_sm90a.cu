// Attention forward on Hopper (compute capability 9.0): the tensor cores of a warpgroup (wgmma), which the kernels of attention.cu cannot
// reach. Heads of 128, bfloat16, no mask beside the causal one.
//
// A block takes 128 queries of one head. Warpgroup 0 copies: queries once, then keys and values by 128 through two buffers each, in the
// order in which they are wanted. Warpgroups 1 and 2 take 64 queries each and keep scores, weights and output in registers. While the
// tensor cores multiply the weights of one tile by its values, a warpgroup computes the softmax of the next; and the two take turns to
// multiply, so that one's softmax falls into the other's products.
//
// In shared memory a tile is two halves of 64 columns: rows of 128 bytes, 16-byte chunk index xor row, which is the 128-byte swizzle of
// the matrix descriptors. Copies are asynchronous ones of 16 bytes; what they wrote is fenced for the tensor cores before a barrier in
// shared memory hands a tile over.
//
// Layout: [batch, head, position] by strides, head elements contiguous, all addresses and strides multiples of 16 bytes, scale positive.
// Query head h uses key head h / (heads/kvHeads). With causal, query i sees keys up to i + offset. A query that sees nothing gets zeros.
// Launch: 384 threads, SHARED bytes. One dimension of blocks: 16 heads at a time, whose keys and values stay in the L2 cache, and of them
// the last queries first, since the last see most.
// Bytes moved: q, o once; k, v once for each tile of queries, mostly from the L2 cache. The limit is arithmetic: 4·S²·D flop a head,
// half of it when causal.
#include "common.cuh"
#include "attention.cuh"

enum {
    ROWS = 128,            // of a tile
    D = 128,               // columns
    HALF = ROWS * 128,     // bytes of half a tile
    TILE = 2 * HALF,       // bytes
    K_AT = TILE,           // after the queries
    V_AT = K_AT + 2 * TILE,
    BARRIERS_AT = V_AT + 2 * TILE,
    SHARED = BARRIERS_AT + 8 * 8 + 1024, // 1024: the first tile starts at a multiple of it
    TOGETHER = 16          // heads whose blocks run side by side
};

// Barriers in shared memory, in this order: keys there, keys used, values there, values used; two of each, one for a buffer.
enum { KEYS_THERE = 0, KEYS_USED = 16, VALUES_THERE = 32, VALUES_USED = 48 };

DEV void barrierInit(u32 at, u32 arrivals) { asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(at), "r"(arrivals) : "memory"); }
DEV void barrierArrive(u32 at) { asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0]; }" ::"r"(at) : "memory"); }
// barrierWait waits for the end of a phase, of which only the last bit of its number counts.
DEV void barrierWait(u32 at, u32 phase) {
    asm volatile("{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n@!done bra again;\n}" ::"r"(at), "r"(phase & 1)
                 : "memory");
}
// Named barriers, by which the two warpgroups that compute take turns.
DEV void turnWait(int id) { asm volatile("bar.sync %0, 256;" ::"r"(id) : "memory"); }
DEV void turnGive(int id) { asm volatile("bar.arrive %0, 256;" ::"r"(id) : "memory"); }
// fenceTensor makes what this thread wrote to shared memory visible to the tensor cores.
DEV void fenceTensor() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

DEV void wgmmaFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEV void wgmmaCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int LEFT> DEV void wgmmaWait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory"); }
// hold keeps the compiler from moving work on d over this point: it does not know that products run on after their instruction.
template <int N> DEV void hold(float (&d)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
}
template <int N> DEV void hold(u32 (&d)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+r"(d[i])::"memory");
}

// A matrix descriptor: address, distance of the halves (used where columns are the outer dimension), of groups of eight rows (1024 bytes),
// 128-byte swizzle.
DEV u64 descriptor(u32 at) { return (u64)((at & 0x3ffff) >> 4) | (u64)(HALF >> 4) << 16 | (u64)(1024 >> 4) << 32 | 1ull << 62; }

#define SUMS                                                                                                                               \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, "  \
    "%28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, "   \
    "%54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"
#define SUM8(I) "+f"(d[I]), "+f"(d[I + 1]), "+f"(d[I + 2]), "+f"(d[I + 3]), "+f"(d[I + 4]), "+f"(d[I + 5]), "+f"(d[I + 6]), "+f"(d[I + 7])
#define SUMS_OF_D SUM8(0), SUM8(8), SUM8(16), SUM8(24), SUM8(32), SUM8(40), SUM8(48), SUM8(56)

// scoreStep adds 16 columns of 64 queries times 128 keys to d, or puts it there if first. Both lie with their columns inside.
template <bool FIRST> DEV void scoreStep(float (&d)[64], u64 q, u64 k) {
    if (FIRST)
        asm volatile("{\n.reg .pred sum;\nsetp.ne.b32 sum, 0, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " SUMS ", %64, %65, sum, 1, 1, 0, 0;\n}"
                     : SUMS_OF_D : "l"(q), "l"(k));
    else
        asm volatile("{\n.reg .pred sum;\nsetp.eq.b32 sum, 0, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " SUMS ", %64, %65, sum, 1, 1, 0, 0;\n}"
                     : SUMS_OF_D : "l"(q), "l"(k));
}
// valueStep adds the weights of 64 queries for 16 keys times their values to d. Keys are the values' outer dimension, hence the last 1.
DEV void valueStep(float (&d)[64], const u32 *p, u64 v) {
    asm volatile("{\n.reg .pred sum;\nsetp.eq.b32 sum, 0, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " SUMS ", {%64, %65, %66, %67}, %68, sum, 1, 1, 1;\n}"
                 : SUMS_OF_D : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(v));
}

// copyTile starts the copies of 128 rows from row first on, zeros beyond rows; every thread of the warpgroup a chunk of 16 bytes of each
// eighth row.
DEV void copyTile(u32 tile, const bf16 *from, i64 stride, i64 first, i64 rows) {
    int c = threadIdx.x & 15, r = threadIdx.x >> 4;
    u32 to = tile + (c >> 3) * HALF + r * 128 + (((c & 7) ^ r) << 4);
    const bf16 *p = from + (first + r) * stride + c * 8;
    int left = (int)min(rows - first - r, (i64)ROWS); // of rows from this thread's first on
#pragma unroll
    for (int i = 0; i < ROWS / 8; i++) {
        bool wanted = i * 8 < left;
        copy16(to + i * 1024, wanted ? p : from, wanted);
        p += 8 * stride;
    }
}

struct HopperState {
    float top0, top1, sum0, sum1;
};

// soften turns scores into weights with regard to the maximum so far, and tells by how much what was summed before fades.
DEV void soften(float (&s)[64], HopperState &st, float factor, float &fade0, float &fade1) {
    float new0 = st.top0, new1 = st.top1;
#pragma unroll
    for (int i = 0; i < 16; i++) {
        new0 = fmaxf(new0, fmaxf(s[4 * i], s[4 * i + 1]));
        new1 = fmaxf(new1, fmaxf(s[4 * i + 2], s[4 * i + 3]));
    }
#pragma unroll
    for (int x = 1; x <= 2; x <<= 1) {
        new0 = fmaxf(new0, __shfl_xor_sync(~0u, new0, x));
        new1 = fmaxf(new1, __shfl_xor_sync(~0u, new1, x));
    }
    // As long as a query has seen nothing its maximum is -inf; 0 then stands in, so that no difference is NaN.
    float use0 = new0 == -infinity() ? 0.f : new0 * factor, use1 = new1 == -infinity() ? 0.f : new1 * factor;
    fade0 = power2(st.top0 * factor - use0);
    fade1 = power2(st.top1 * factor - use1);
    st.top0 = new0;
    st.top1 = new1;
    st.sum0 *= fade0;
    st.sum1 *= fade1;
#pragma unroll
    for (int i = 0; i < 16; i++) {
        s[4 * i] = power2(s[4 * i] * factor - use0);
        s[4 * i + 1] = power2(s[4 * i + 1] * factor - use0);
        s[4 * i + 2] = power2(s[4 * i + 2] * factor - use1);
        s[4 * i + 3] = power2(s[4 * i + 3] * factor - use1);
        st.sum0 += s[4 * i] + s[4 * i + 1];
        st.sum1 += s[4 * i + 2] + s[4 * i + 3];
    }
}

// cut excludes the keys from first on that do not exist or that queries q and q + 8 do not see.
DEV void cut(float (&s)[64], const AttentionArgs &a, i64 first, i64 q, int t) {
    i64 end = a.keys - first;
    int see0 = (int)min(end, a.causal ? max(q + a.offset + 1 - first, (i64)0) : (i64)ROWS);
    int see1 = (int)min(end, a.causal ? max(q + 8 + a.offset + 1 - first, (i64)0) : (i64)ROWS);
#pragma unroll
    for (int i = 0; i < 16; i++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
            if (i * 8 + t + e >= see0) s[4 * i + e] = -infinity();
            if (i * 8 + t + e >= see1) s[4 * i + 2 + e] = -infinity();
        }
    }
}

DEV void scores(float (&s)[64], u64 q, u64 k) {
    hold(s);
    wgmmaFence();
    scoreStep<true>(s, q, k);
#pragma unroll
    for (int i = 1; i < 8; i++) {
        // Sixteen columns are 32 bytes on; the second half of the columns is the second half of the tile.
        int at = (i >> 2) * (HALF >> 4) + (i & 3) * 2;
        scoreStep<false>(s, q + at, k + at);
    }
    wgmmaCommit();
}

DEV void sumValues(float (&o)[64], u32 (&p)[32], u64 v) {
    hold(o);
    hold(p);
    wgmmaFence();
#pragma unroll
    for (int i = 0; i < 8; i++) valueStep(o, p + 4 * i, v + i * (16 * 128 >> 4));
    wgmmaCommit();
}

DEV void weights(u32 (&p)[32], const float (&s)[64]) {
#pragma unroll
    for (int i = 0; i < 32; i++) p[i] = pack2<bf16>(s[2 * i], s[2 * i + 1]);
}

DEV void attentionHopper(const AttentionArgs &a) {
    extern __shared__ u8 room[];
    u32 base = (sharedAddress(room) + 1023) & ~1023u, bars = base + BARRIERS_AT;
    u32 across = (u32)((a.queries + ROWS - 1) / ROWS), pairs = gridDim.x / across, group = blockIdx.x / (across * TOGETHER);
    u32 side = min((u32)TOGETHER, pairs - group * TOGETHER), within = blockIdx.x - group * across * TOGETHER;
    u32 pair = group * TOGETHER + within % side;
    i64 tileQ = (i64)(across - 1 - within / side) * ROWS;
    int h = pair % a.heads, kh = h / (a.heads / a.kvHeads), wg = threadIdx.x >> 7;
    i64 b = pair / a.heads;

    i64 end = a.keys; // keys that any query of the block sees
    if (a.causal) end = min(end, tileQ + ROWS + a.offset);
    int tiles = end > 0 ? (int)((end + ROWS - 1) / ROWS) : 0;

    if (threadIdx.x < 2) {
        u32 at = bars + threadIdx.x * 8;
        barrierInit(at + KEYS_THERE, 128);
        barrierInit(at + KEYS_USED, 8);
        barrierInit(at + VALUES_THERE, 128);
        barrierInit(at + VALUES_USED, 8);
    }
    __syncthreads();

    if (wg == 0) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        const bf16 *kp = (const bf16 *)a.k + b * a.kStride[0] + kh * a.kStride[1];
        const bf16 *vp = (const bf16 *)a.v + b * a.vStride[0] + kh * a.vStride[1];
        if (tiles) copyTile(base, (const bf16 *)a.q + b * a.qStride[0] + h * a.qStride[1], a.qStride[2], tileQ, a.queries);
        // Keys 0, keys 1, values 0, keys 2, values 1 ... A tile is handed over after the copies of the next one have started.
        u32 there = 0;
        for (int g = 0; g < 2 * tiles; g++) {
            bool keys = g == 0 || ((g & 1) && g + 1 < 2 * tiles);
            int j = keys ? (g + 1) / 2 : g & 1 ? tiles - 1 : g / 2 - 1, slot = j & 1;
            u32 bar = bars + slot * 8 + (keys ? KEYS_THERE : VALUES_THERE);
            if (j >= 2) barrierWait(bar + KEYS_USED - KEYS_THERE, (j >> 1) - 1);
            if (keys) copyTile(base + K_AT + slot * TILE, kp, a.kStride[2], (i64)j * ROWS, a.keys);
            else copyTile(base + V_AT + slot * TILE, vp, a.vStride[2], (i64)j * ROWS, a.keys);
            copyCommit();
            if (g) {
                copyWait<1>();
                fenceTensor();
                barrierArrive(there);
            }
            there = bar;
        }
        copyWait<0>();
        fenceTensor();
        if (tiles) barrierArrive(there);
        return;
    }

    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    wg--;
    int lane = threadIdx.x & 31, warp = (threadIdx.x >> 5) & 3, g = lane >> 2, t = (lane & 3) * 2;
    i64 firstQ = tileQ + wg * 64, q0 = firstQ + warp * 16 + g;
    float factor = a.scale * 1.4426950408889634f; // powers of two are what the hardware computes
    u64 qd = descriptor(base + wg * 64 * 128);
    float o[64], s[64], fade0, fade1;
    u32 p[32];
    HopperState st = {-infinity(), -infinity(), 0.f, 0.f};
#pragma unroll
    for (int i = 0; i < 64; i++) o[i] = 0.f;

    if (tiles) {
        if (wg == 1 && tiles > 1) turnGive(1);
        barrierWait(bars + KEYS_THERE, 0);
        scores(s, qd, descriptor(base + K_AT));
        wgmmaWait<0>();
        hold(s);
        if (lane == 0) barrierArrive(bars + KEYS_USED);
        if (ROWS > a.keys || (a.causal && ROWS - 1 > firstQ + a.offset)) cut(s, a, 0, q0, t);
        soften(s, st, factor, fade0, fade1);
        weights(p, s);
        for (int j = 1; j < tiles; j++) {
            i64 first = (i64)j * ROWS;
            int slot = j & 1, before = slot ^ 1;
            barrierWait(bars + slot * 8 + KEYS_THERE, j >> 1);
            turnWait(1 + wg);
            scores(s, qd, descriptor(base + K_AT + slot * TILE));
            barrierWait(bars + before * 8 + VALUES_THERE, (j - 1) >> 1);
            sumValues(o, p, descriptor(base + V_AT + before * TILE));
            if (wg == 0 || j + 1 < tiles) turnGive(2 - wg);
            wgmmaWait<1>();
            hold(s);
            if (lane == 0) barrierArrive(bars + slot * 8 + KEYS_USED);
            if (first + ROWS > a.keys || (a.causal && first + ROWS - 1 > firstQ + a.offset)) cut(s, a, first, q0, t);
            soften(s, st, factor, fade0, fade1);
            wgmmaWait<0>();
            hold(o);
            hold(p);
            if (lane == 0) barrierArrive(bars + before * 8 + VALUES_USED);
            weights(p, s);
#pragma unroll
            for (int i = 0; i < 16; i++) {
                o[4 * i] *= fade0;
                o[4 * i + 1] *= fade0;
                o[4 * i + 2] *= fade1;
                o[4 * i + 3] *= fade1;
            }
        }
        int last = (tiles - 1) & 1;
        barrierWait(bars + last * 8 + VALUES_THERE, (tiles - 1) >> 1);
        sumValues(o, p, descriptor(base + V_AT + last * TILE));
        wgmmaWait<0>();
        hold(o);
    }

#pragma unroll
    for (int x = 1; x <= 2; x <<= 1) {
        st.sum0 += __shfl_xor_sync(~0u, st.sum0, x);
        st.sum1 += __shfl_xor_sync(~0u, st.sum1, x);
    }
    float inv0 = st.sum0 > 0.f ? 1.f / st.sum0 : st.sum0, inv1 = st.sum1 > 0.f ? 1.f / st.sum1 : st.sum1;
    // Through the place of the warp's own queries, so that it writes whole rows.
    u8 *own = room + (base - sharedAddress(room)) + (wg * 64 + warp * 16) * 128;
#pragma unroll
    for (int i = 0; i < 16; i++) {
        u8 *to = own + (i >> 3) * HALF + g * 128 + (((i & 7) ^ g) << 4) + t * 2;
        *(u32 *)to = pack2<bf16>(o[4 * i] * inv0, o[4 * i + 1] * inv0);
        *(u32 *)(to + 8 * 128) = pack2<bf16>(o[4 * i + 2] * inv1, o[4 * i + 3] * inv1);
    }
    __syncwarp();
    int c = lane & 15;
    bf16 *op = (bf16 *)a.o + b * a.oStride[0] + h * a.oStride[1] + c * 8;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        int r = i * 2 + (lane >> 4);
        i64 q = firstQ + warp * 16 + r;
        if (q < a.queries) *(uint4 *)(op + q * a.oStride[2]) = *(const uint4 *)(own + (c >> 3) * HALF + r * 128 + (((c & 7) ^ (r & 7)) << 4));
    }
}
KERNEL __launch_bounds__(384, 1) attention_hopper_128_bf16(ARG AttentionArgs a) { attentionHopper(a); }
