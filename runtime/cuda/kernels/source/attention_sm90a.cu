// Attention forward on Hopper (compute capability 9.0): the tensor cores of a warpgroup (wgmma), which the kernels of attention.cu cannot
// reach. attention_hopper_D_bf16 and attention_hopper_mask_D_bf16, D = 64 or 128: bfloat16, without and with a mask.
//
// A block takes 128 queries of one head. Warpgroup 0 copies: queries once, then keys and values by 128 through two buffers each, in the
// order in which they are wanted. Warpgroups 1 and 2 take 64 queries each and keep scores, weights and output in registers. While the
// tensor cores multiply the weights of one tile by its values, a warpgroup computes the softmax of the next; and the two take turns to
// multiply, so that one's softmax falls into the other's products.
//
// In shared memory a tile is one or two parts of 64 columns: rows of 128 bytes, 16-byte chunk index xor row, which is the 128-byte swizzle of
// the matrix descriptors. Copies are asynchronous ones of 16 bytes; what they wrote is fenced for the tensor cores before a barrier in
// shared memory hands a tile over.
//
// Layout: [batch, head, position] by strides, head elements contiguous, all addresses and strides multiples of 16 bytes, scale positive.
// Query head h uses key head h / (heads/kvHeads). mask float, bfloat16 or boolean (U8: 0 excludes), by strides, that of keys 1. With
// causal, query i sees keys up to i + offset. A query that sees nothing gets zeros. Codes of the output, as bfloat16 holds it, lie by its strides.
// Launch: 384 threads, Room<D>::BYTES. One dimension of blocks: 16 heads at a time, whose keys and values stay in the L2 cache, and of them
// the last queries first, since the last see most.
// Bytes moved: q, o once; k, v once for each tile of queries, mostly from the L2 cache. The limit is arithmetic: 4·S²·D flop a head,
// half of it when causal.
#include "common.cuh"
#include "attention.cuh"

enum {
    ROWS = 128,         // of a tile
    PART = ROWS * 128,  // bytes of 64 columns of it
    TOGETHER = 16       // heads whose blocks run side by side
};

// Room is where things lie in shared memory, from the first multiple of 1024 on.
template <int D> struct Room {
    static const int TILE = D / 64 * PART, KEYS = TILE, VALUES = KEYS + 2 * TILE, BARRIERS = VALUES + 2 * TILE, BYTES = BARRIERS + 8 * 8 + 1024;
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

// A matrix descriptor: address, distance of the parts (used where columns are the outer dimension), of groups of eight rows (1024 bytes),
// 128-byte swizzle.
DEV u64 descriptor(u32 at) { return (u64)((at & 0x3ffff) >> 4) | (u64)(PART >> 4) << 16 | (u64)(1024 >> 4) << 32 | 1ull << 62; }

#define SUMS32                                                                                                                             \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, "   \
    "%28, %29, %30, %31"
#define SUMS64                                                                                                                             \
    SUMS32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, "    \
           "%56, %57, %58, %59, %60, %61, %62, %63"
#define SUM8(I) "+f"(d[I]), "+f"(d[I + 1]), "+f"(d[I + 2]), "+f"(d[I + 3]), "+f"(d[I + 4]), "+f"(d[I + 5]), "+f"(d[I + 6]), "+f"(d[I + 7])
#define SUM32(I) SUM8(I), SUM8(I + 8), SUM8(I + 16), SUM8(I + 24)
// The predicate says whether products are added to what is there.
#define PRODUCT(COMPARE, N) "{\n.reg .pred add;\nsetp." COMPARE ".b32 add, 0, 0;\nwgmma.mma_async.sync.aligned.m64n" N "k16.f32.bf16.bf16 {"

// scoreStep adds 16 columns of 64 queries times 128 keys to d, or puts it there if first. Both lie with their columns inside.
template <bool FIRST> DEV void scoreStep(float (&d)[64], u64 q, u64 k) {
    if (FIRST)
        asm volatile(PRODUCT("ne", "128") SUMS64 "}, %64, %65, add, 1, 1, 0, 0;\n}" : SUM32(0), SUM32(32) : "l"(q), "l"(k));
    else
        asm volatile(PRODUCT("eq", "128") SUMS64 "}, %64, %65, add, 1, 1, 0, 0;\n}" : SUM32(0), SUM32(32) : "l"(q), "l"(k));
}
// valueStep adds the weights of 64 queries for 16 keys times their values to d. Keys are the values' outer dimension, hence the last 1.
DEV void valueStep(float (&d)[64], const u32 *p, u64 v) {
    asm volatile(PRODUCT("eq", "128") SUMS64 "}, {%64, %65, %66, %67}, %68, add, 1, 1, 1;\n}"
                 : SUM32(0), SUM32(32) : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(v));
}
DEV void valueStep(float (&d)[32], const u32 *p, u64 v) {
    asm volatile(PRODUCT("eq", "64") SUMS32 "}, {%32, %33, %34, %35}, %36, add, 1, 1, 1;\n}"
                 : SUM32(0) : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(v));
}

// copyTile starts the copies of 128 rows of D columns from row first on, zeros beyond rows; every thread of the warpgroup a chunk of 16
// bytes of one row of several.
template <int D> DEV void copyTile(u32 tile, const bf16 *from, i64 stride, i64 first, i64 rows) {
    const int CHUNKS = D / 8, STEP = 128 / CHUNKS;
    int c = threadIdx.x % CHUNKS, r = threadIdx.x / CHUNKS;
    u32 to = tile + (c >> 3) * PART + r * 128 + (((c ^ r) & 7) << 4); // STEP is a multiple of 8, so all rows have the same r & 7
    const bf16 *p = from + (first + r) * stride + c * 8;
    int left = (int)min(rows - first - r, (i64)ROWS); // of rows from this thread's first on
#pragma unroll
    for (int i = 0; i < ROWS / STEP; i++) {
        bool wanted = i * STEP < left;
        copy16(to + i * STEP * 128, wanted ? p : from, wanted);
        p += STEP * stride;
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
    float use0 = zeroOf(new0, factor), use1 = zeroOf(new1, factor);
    fade0 = fading(st.top0, new0, factor);
    fade1 = fading(st.top1, new1, factor);
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

// addMask joins the mask's elements of queries q and q + 8 and the keys from first on. What lies beyond its edges is not read: the last
// query stands in for those that are not written, zeros for keys, which are cut later.
template <class T> DEV void addMask(float (&s)[64], const AttentionArgs &a, i64 base, i64 first, i64 q, int t, float unscale) {
    const T *row0 = (const T *)a.mask + base + min(q, a.queries - 1) * a.maskStride[2] + first + t;
    const T *row1 = (const T *)a.mask + base + min(q + 8, a.queries - 1) * a.maskStride[2] + first + t;
    int left = (int)min(a.keys - first, (i64)ROWS) - t;
    T zero = {};
#pragma unroll
    for (int i = 0; i < 64; i++) {
        int k = i / 4 * 8 + i % 2;
        s[i] = masked(s[i], toFloat(k < left ? (i & 2 ? row1 : row0)[k] : zero), sizeof(T) == 1, unscale);
    }
}
DEV void addMaskAs(float (&s)[64], const AttentionArgs &a, i64 base, i64 first, i64 q, int t) {
    float unscale = 1.f / a.scale;
    if (a.maskType == F32) addMask<float>(s, a, base, first, q, t, unscale);
    else if (a.maskType == BF16) addMask<bf16>(s, a, base, first, q, t, unscale);
    else addMask<u8>(s, a, base, first, q, t, unscale);
}

template <int D> DEV void scores(float (&s)[64], u64 q, u64 k) {
    hold(s);
    wgmmaFence();
    scoreStep<true>(s, q, k);
#pragma unroll
    for (int i = 1; i < D / 16; i++) {
        // Sixteen columns are 32 bytes on; the next 64 columns are the next part of the tile.
        int at = (i >> 2) * (PART >> 4) + (i & 3) * 2;
        scoreStep<false>(s, q + at, k + at);
    }
    wgmmaCommit();
}

template <int N> DEV void sumValues(float (&o)[N], u32 (&p)[32], u64 v) {
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

template <int D, bool MASK> DEV void attentionHopper(const AttentionArgs &a) {
    typedef Room<D> R;
    extern __shared__ u8 room[];
    u32 base = (sharedAddress(room) + 1023) & ~1023u, bars = base + R::BARRIERS;
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
        if (tiles) copyTile<D>(base, (const bf16 *)a.q + b * a.qStride[0] + h * a.qStride[1], a.qStride[2], tileQ, a.queries);
        // Keys 0, keys 1, values 0, keys 2, values 1 ... A tile is handed over after the copies of the next one have started.
        u32 there = 0;
        for (int g = 0; g < 2 * tiles; g++) {
            bool keys = g == 0 || ((g & 1) && g + 1 < 2 * tiles);
            int j = keys ? (g + 1) / 2 : g & 1 ? tiles - 1 : g / 2 - 1, slot = j & 1;
            u32 bar = bars + slot * 8 + (keys ? KEYS_THERE : VALUES_THERE);
            if (j >= 2) barrierWait(bar + KEYS_USED - KEYS_THERE, (j >> 1) - 1);
            if (keys) copyTile<D>(base + R::KEYS + slot * R::TILE, kp, a.kStride[2], (i64)j * ROWS, a.keys);
            else copyTile<D>(base + R::VALUES + slot * R::TILE, vp, a.vStride[2], (i64)j * ROWS, a.keys);
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
    i64 maskBase = b * a.maskStride[0] + h * a.maskStride[1];
    float factor = a.scale * 1.4426950408889634f; // powers of two are what the hardware computes
    u64 qd = descriptor(base + wg * 64 * 128);
    float o[D / 2], s[64], fade0, fade1;
    u32 p[32];
    HopperState st = {-infinity(), -infinity(), 0.f, 0.f};
#pragma unroll
    for (int i = 0; i < D / 2; i++) o[i] = 0.f;

    if (tiles) {
        if (wg == 1 && tiles > 1) turnGive(1);
        barrierWait(bars + KEYS_THERE, 0);
        scores<D>(s, qd, descriptor(base + R::KEYS));
        wgmmaWait<0>();
        hold(s);
        if (lane == 0) barrierArrive(bars + KEYS_USED);
        if (MASK) addMaskAs(s, a, maskBase, 0, q0, t);
        if (ROWS > a.keys || (a.causal && ROWS - 1 > firstQ + a.offset)) cut(s, a, 0, q0, t);
        soften(s, st, factor, fade0, fade1);
        weights(p, s);
        for (int j = 1; j < tiles; j++) {
            i64 first = (i64)j * ROWS;
            int slot = j & 1, before = slot ^ 1;
            barrierWait(bars + slot * 8 + KEYS_THERE, j >> 1);
            turnWait(1 + wg);
            scores<D>(s, qd, descriptor(base + R::KEYS + slot * R::TILE));
            barrierWait(bars + before * 8 + VALUES_THERE, (j - 1) >> 1);
            sumValues(o, p, descriptor(base + R::VALUES + before * R::TILE));
            if (wg == 0 || j + 1 < tiles) turnGive(2 - wg);
            wgmmaWait<1>();
            hold(s);
            if (lane == 0) barrierArrive(bars + slot * 8 + KEYS_USED);
            if (MASK) addMaskAs(s, a, maskBase, first, q0, t);
            if (first + ROWS > a.keys || (a.causal && first + ROWS - 1 > firstQ + a.offset)) cut(s, a, first, q0, t);
            soften(s, st, factor, fade0, fade1);
            wgmmaWait<0>();
            hold(o);
            hold(p);
            if (lane == 0) barrierArrive(bars + before * 8 + VALUES_USED);
            weights(p, s);
            if (!__any_sync(~0u, fade0 != 1.f || fade1 != 1.f)) continue; // no larger score: most often, after the first tiles
#pragma unroll
            for (int i = 0; i < D / 8; i++) {
                o[4 * i] *= fade0;
                o[4 * i + 1] *= fade0;
                o[4 * i + 2] *= fade1;
                o[4 * i + 3] *= fade1;
            }
        }
        int last = (tiles - 1) & 1;
        barrierWait(bars + last * 8 + VALUES_THERE, (tiles - 1) >> 1);
        sumValues(o, p, descriptor(base + R::VALUES + last * R::TILE));
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
    for (int i = 0; i < D / 8; i++) {
        u8 *to = own + (i >> 3) * PART + g * 128 + (((i & 7) ^ g) << 4) + t * 2;
        *(u32 *)to = pack2<bf16>(o[4 * i] * inv0, o[4 * i + 1] * inv0);
        *(u32 *)(to + 8 * 128) = pack2<bf16>(o[4 * i + 2] * inv1, o[4 * i + 3] * inv1);
    }
    __syncwarp();
    const int CHUNKS = D / 8, STEP = 32 / CHUNKS;
    int c = lane % CHUNKS;
    i64 at = b * a.oStride[0] + h * a.oStride[1] + c * 8;
    float scale = a.codeScale ? *a.codeScale : 1.f;
    u32 m = 0;
#pragma unroll
    for (int i = 0; i < 16 / STEP; i++) {
        int r = i * STEP + lane / CHUNKS;
        i64 q = firstQ + warp * 16 + r;
        if (q >= a.queries) continue;
        const bf16 *from = (const bf16 *)(own + (c >> 3) * PART + r * 128 + (((c ^ r) & 7) << 4));
        if (a.o) *(uint4 *)((bf16 *)a.o + at + q * a.oStride[2]) = *(const uint4 *)from;
        V8 x = load8(from);
        m = magnitude(m, x);
        if (a.codes) storeCodes(a.codes + at + q * a.oStride[2], a.format, x, scale, 8, true);
    }
    raiseByWarp(a.amax, m);
}
#define ATTENTION(D)                                                                                                                       \
    KERNEL __launch_bounds__(384, 1) attention_hopper_##D##_bf16(ARG AttentionArgs a) { attentionHopper<D, false>(a); }                    \
    KERNEL __launch_bounds__(384, 1) attention_hopper_mask_##D##_bf16(ARG AttentionArgs a) { attentionHopper<D, true>(a); }
ATTENTION(64)
ATTENTION(128)
