// What the attention kernels share: their arguments, asynchronous copies to shared memory, the power of two.

struct AttentionArgs {
    const void *q, *k, *v;
    void *o;
    const void *mask; // may be null
    i64 qStride[3], kStride[3], vStride[3], oStride[3], maskStride[4];
    i64 queries, keys, offset;
    i32 heads, kvHeads, head, causal, maskType;
    float scale;
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
