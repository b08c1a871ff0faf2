// What the attention kernels share: their arguments, asynchronous copies to shared memory, masks, the power of two, codes of the output.

struct AttentionArgs {
    const void *q, *k, *v;
    void *o;
    const void *mask;       // may be null
    u8 *codes;              // may be null, and so may o; by oStride too
    const float *codeScale; // null is 1
    u32 *amax;              // may be null
    i64 qStride[3], kStride[3], vStride[3], oStride[3], maskStride[4];
    i64 queries, keys, offset;
    i32 heads, kvHeads, head, causal, maskType, format;
    float scale;
    i32 pad;
};

DEV u32 sharedAddress(const void *p) { return (u32)__cvta_generic_to_shared(p); }

// copy16 starts a copy of 16 bytes to shared memory, zeros where it is not wanted.
DEV void copy16(u32 to, const void *from, bool wanted) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(wanted ? 16 : 0));
}
DEV void copyCommit() { asm volatile("cp.async.commit_group;"); }
template <int LEFT> DEV void copyWait() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT)); }

// power2 is 2^x to 2 ulp; exp2f would add a detour for results below 2^-126, which are nothing beside a maximum of 1.
DEV float power2(float x) {
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

// masked is a score, before its scale, with a mask's element m (0 or 1 where it is boolean). A sum below a million of the scores' units is
// that: a query all of whose keys have the lowest number weighs them alike, as a softmax of the sums does.
DEV float masked(float s, float m, bool boolean, float unscale) {
    if (boolean) return m != 0.f ? s : -infinity();
    float x = s + m * unscale, lowest = -1e6f * unscale;
    return m > -infinity() && x < lowest ? lowest : x;
}

// zeroOf is what scores are taken from so that no power exceeds 1: the largest of a query, times factor. As long as it has seen nothing
// that is -inf; 0 then stands in, so that no difference is NaN. The product is rounded before it is used, so that it is the same each time.
DEV float zeroOf(float top, float factor) { return top == -infinity() ? 0.f : __fmul_rn(top, factor); }
// fading is by how much what was summed fades when the largest grows.
DEV float fading(float before, float now, float factor) {
    return before == -infinity() ? 0.f : power2(zeroOf(before, factor) - zeroOf(now, factor));
}

// raiseByWarp joins m of the threads of a warp into *amax, if there is one.
DEV void raiseByWarp(u32 *amax, u32 m) {
    if (!amax) return;
    m = __reduce_max_sync(~0u, m);
    if ((threadIdx.x & 31) == 0 && m > *(volatile u32 *)amax) atomicMax(amax, m);
}
