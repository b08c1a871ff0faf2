// Chains of elementwise operators: one pass over the output, whatever the chain.
//
// A chain is a short program over one accumulator and three saved values, all float32. It begins with input 0 in the accumulator; an
// instruction joins the accumulator with an operand: an input, a saved value or a constant. Inputs are broadcast by strides: up to five
// dimensions, the last one innermost, a stride of 0 repeats. All threads take the same way through the program, so its
// branches cost a few cycles for eight elements.
//
// Layout: output contiguous, dims multiplied; inputs by strides in elements; codes in rows, as long as the innermost dimension, of codeLd,
// zeros at their ends. Codes and amax are those of the output as its type holds it.
// Launch: blocks of 256 threads, 8 elements of the innermost dimension a thread a turn.
// Bytes moved: each input once (repeated ones from the cache), the output once.
#include "common.cuh"

enum { MAX_INPUTS = 6, MAX_STEPS = 24, SAVED = 3, RANK = 5 };

struct ChainInput {
    const void *p;
    i64 stride[RANK];
    i32 type, pad;
};

struct ChainStep {
    u8 op, kind, index, pad; // kind: 0 none, 1 input, 2 saved, 3 constant
    float constant;
};

struct ChainArgs {
    ChainInput in[MAX_INPUTS];
    ChainStep step[MAX_STEPS];
    i64 dim[RANK]; // leading ones are 1
    i64 codeLd;
    void *y;       // may be null
    u8 *codes;     // may be null
    const float *scale;
    u32 *amax; // may be null
    i32 steps, outType, format, pad;
};

// The numbers are those of package kernels.
enum {
    OP_LOAD = 1, OP_SAVE, OP_ADD, OP_SUB, OP_RSUB, OP_MUL, OP_DIV, OP_RDIV, OP_POW, OP_RPOW, OP_MIN, OP_MAX, OP_LESS, OP_LESS_EQUAL,
    OP_GREATER, OP_GREATER_EQUAL, OP_EQUAL, OP_AND, OP_OR, OP_XOR, OP_KEEP_IF, OP_PRELU,
    OP_NEG = 64, OP_ABS, OP_SQRT, OP_RECIPROCAL, OP_EXP, OP_LOG, OP_TANH, OP_SIGMOID, OP_ERF, OP_SIN, OP_COS, OP_RELU, OP_FLOOR, OP_CEIL,
    OP_ROUND, OP_SIGN, OP_NOT, OP_SQUARE, OP_SOFTPLUS, OP_GELU_ERF, OP_GELU_TANH, OP_SILU, OP_ROUND_F16, OP_ROUND_BF16, OP_IS_NAN, OP_RSQRT
};

#define EACH(E)                                                                                                                            \
    _Pragma("unroll") for (int k = 0; k < 8; k++) {                                                                                        \
        float x = acc.v[k], z = arg.v[k];                                                                                                  \
        acc.v[k] = (E);                                                                                                                    \
    }                                                                                                                                      \
    break

#define EACH1(E)                                                                                                                           \
    _Pragma("unroll") for (int k = 0; k < 8; k++) {                                                                                        \
        float x = acc.v[k];                                                                                                                \
        acc.v[k] = (E);                                                                                                                    \
    }                                                                                                                                      \
    break

DEV void stepBinary(int op, V8 &acc, const V8 &arg) {
    switch (op) {
    case OP_LOAD: acc = arg; break;
    case OP_ADD: EACH(__fadd_rn(x, z));
    case OP_SUB: EACH(__fsub_rn(x, z));
    case OP_RSUB: EACH(__fsub_rn(z, x));
    case OP_MUL: EACH(__fmul_rn(x, z));
    case OP_DIV: EACH(x / z);
    case OP_RDIV: EACH(z / x);
    case OP_POW: EACH(powf(x, z));
    case OP_RPOW: EACH(powf(z, x));
    case OP_MIN: EACH(MinNaN::of(x, z));
    case OP_MAX: EACH(MaxNaN::of(x, z));
    case OP_LESS: EACH(x < z ? 1.f : 0.f);
    case OP_LESS_EQUAL: EACH(x <= z ? 1.f : 0.f);
    case OP_GREATER: EACH(x > z ? 1.f : 0.f);
    case OP_GREATER_EQUAL: EACH(x >= z ? 1.f : 0.f);
    case OP_EQUAL: EACH(x == z ? 1.f : 0.f);
    case OP_AND: EACH(x != 0.f && z != 0.f ? 1.f : 0.f);
    case OP_OR: EACH(x != 0.f || z != 0.f ? 1.f : 0.f);
    case OP_XOR: EACH((x != 0.f) != (z != 0.f) ? 1.f : 0.f);
    case OP_PRELU: EACH(x < 0.f ? x * z : x);
    }
}

DEV void stepUnary(int op, V8 &acc) {
    switch (op) {
    case OP_NEG: EACH1(-x);
    case OP_ABS: EACH1(fabsf(x));
    case OP_SQRT: EACH1(sqrtf(x));
    case OP_RSQRT: EACH1(1.f / sqrtf(x));
    case OP_RECIPROCAL: EACH1(1.f / x);
    case OP_EXP: EACH1(expf(x));
    case OP_LOG: EACH1(logf(x));
    case OP_TANH: EACH1(tanhf(x));
    case OP_SIGMOID: EACH1(1.f / (1.f + expf(-x)));
    case OP_ERF: EACH1(erff(x));
    case OP_SIN: EACH1(sinf(x));
    case OP_COS: EACH1(cosf(x));
    case OP_RELU: EACH1(x < 0.f ? 0.f : x);
    case OP_FLOOR: EACH1(floorf(x));
    case OP_CEIL: EACH1(ceilf(x));
    case OP_ROUND: EACH1(rintf(x));
    case OP_SIGN: EACH1(x > 0.f ? 1.f : x < 0.f ? -1.f : x);
    case OP_NOT: EACH1(x == 0.f ? 1.f : 0.f);
    case OP_SQUARE: EACH1(__fmul_rn(x, x));
    case OP_SOFTPLUS: EACH1(fmaxf(x, 0.f) + log1pf(expf(-fabsf(x))));
    case OP_GELU_ERF: EACH1(0.5f * x * (1.f + erff(x * 0.70710678118654752f)));
    case OP_GELU_TANH: EACH1(x / (1.f + expf(-1.5957691216057308f * (x + 0.044715f * x * x * x))));
    case OP_SILU: EACH1(x / (1.f + expf(-x)));
    case OP_ROUND_F16: EACH1(rounded<f16>(x));
    case OP_ROUND_BF16: EACH1(rounded<bf16>(x));
    case OP_IS_NAN: EACH1(x != x ? 1.f : 0.f);
    }
}

DEV V8 chainInput(const ChainInput &in, const i64 *at, i64 left, bool flat) {
    i64 off = at[4] * in.stride[4];
    if (!flat) off += at[0] * in.stride[0] + at[1] * in.stride[1] + at[2] * in.stride[2] + at[3] * in.stride[3];
    V8 r;
    if (in.stride[4] == 1) {
        int size = in.type == F32 || in.type == I32 ? 4 : in.type == I64 ? 8 : in.type == U8 ? 1 : 2;
        bool whole = (((u64)in.p + off * size) & 15) == 0;
        return loadSomeAs(in.p, in.type, off, left, whole);
    }
    if (in.stride[4] == 0) {
        float v = loadAs(in.p, in.type, off);
#pragma unroll
        for (int k = 0; k < 8; k++) r.v[k] = v;
        return r;
    }
#pragma unroll
    for (int k = 0; k < 8; k++) r.v[k] = k < left ? loadAs(in.p, in.type, off + k * in.stride[4]) : 0.f;
    return r;
}

KERNEL __launch_bounds__(256) chain(ARG ChainArgs a) {
    __shared__ u32 scratch[32];
    float scale = a.scale ? *a.scale : 1.f;
    i64 inner = a.dim[4], chunks = (inner + 7) / 8, n = a.dim[0] * a.dim[1] * a.dim[2] * a.dim[3] * chunks;
    bool flat = n == chunks; // one dimension
    u32 m = 0;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x) {
        i64 at[RANK] = {0, 0, 0, 0, i * 8}, row = 0;
        if (!flat) {
            if (n >> 31) {
                row = i / chunks;
                at[4] = (i - row * chunks) * 8;
                i64 r = row;
#pragma unroll
                for (int d = 3; d >= 0; d--) {
                    i64 q = r / a.dim[d];
                    at[d] = r - q * a.dim[d];
                    r = q;
                }
            } else {
                // Division of 32 bits is several times cheaper.
                u32 r = (u32)i / (u32)chunks;
                row = r;
                at[4] = (i64)((u32)i - r * (u32)chunks) * 8;
#pragma unroll
                for (int d = 3; d >= 0; d--) {
                    if (a.dim[d] == 1) continue;
                    u32 q = r / (u32)a.dim[d];
                    at[d] = r - q * (u32)a.dim[d];
                    r = q;
                }
            }
        }
        i64 left = inner - at[4];
        V8 acc = chainInput(a.in[0], at, left, flat), s0 = {}, s1 = {}, s2 = {};
        for (int k = 0; k < a.steps; k++) {
            ChainStep s = a.step[k];
            if (s.op >= OP_NEG) {
                stepUnary(s.op, acc);
                continue;
            }
            if (s.op == OP_SAVE) {
                if (s.index == 0) s0 = acc;
                else if (s.index == 1) s1 = acc;
                else s2 = acc;
                continue;
            }
            V8 arg;
            if (s.kind == 1) arg = chainInput(a.in[s.index], at, left, flat);
            else if (s.kind == 2) arg = s.index == 0 ? s0 : s.index == 1 ? s1 : s2;
            else {
#pragma unroll
                for (int j = 0; j < 8; j++) arg.v[j] = s.constant;
            }
            if (s.op == OP_KEEP_IF) {
                // Where the operand is zero the accumulator gives way to saved value 2.
#pragma unroll
                for (int j = 0; j < 8; j++) acc.v[j] = arg.v[j] != 0.f ? acc.v[j] : s2.v[j];
                continue;
            }
            stepBinary(s.op, acc, arg);
        }
        i64 to = row * inner + at[4];
        if (a.outType == BF16) {
#pragma unroll
            for (int k = 0; k < 8; k++) acc.v[k] = rounded<bf16>(acc.v[k]);
        } else if (a.outType == F16) {
#pragma unroll
            for (int k = 0; k < 8; k++) acc.v[k] = rounded<f16>(acc.v[k]);
        }
#pragma unroll
        for (int k = 0; k < 8; k++)
            if (k < left) m = max(m, magnitude(acc.v[k]));
        if (a.y) {
            switch (a.outType) {
            case F32: storeSome((float *)a.y + to, acc, left, aligned((float *)a.y + to)); break;
            case F16: storeSome((f16 *)a.y + to, acc, left, aligned((f16 *)a.y + to)); break;
            case BF16: storeSome((bf16 *)a.y + to, acc, left, aligned((bf16 *)a.y + to)); break;
            case U8:
#pragma unroll
                for (int k = 0; k < 8; k++)
                    if (k < left) ((u8 *)a.y)[to + k] = acc.v[k] != 0.f;
            }
        }
        if (a.codes) {
            u8 *codes = a.codes + row * a.codeLd + at[4];
            storeCodes(codes, a.format, acc, scale, left, ((u64)codes & 7) == 0);
            if (left <= 8)
                for (i64 c = left; c < a.codeLd - at[4]; c++) codes[c] = 0;
        }
    }
    raiseAmax(a.amax, m, scratch);
}
