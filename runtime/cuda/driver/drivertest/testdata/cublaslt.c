// A libcublasLt on the CPU: float8, bfloat16, half or float in, scales, bias and ReLU or GELU.
// Every matmul is a line of the log. Attributes have the numbers of cublasLt.h; one that is not among those known here is refused.
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int R;
#define EXPORT __attribute__((visibility("default")))

enum { F32 = 0, F16 = 2, BF16 = 14, E4M3 = 28, E5M2 = 29 };

static char *log_text;
static size_t log_len;
static struct { char fn[64]; int code, after; } fails[32];
static int nfails, outer = 1, answers = 1;

EXPORT void fake_fail(const char *fn, int code, int after) {
  snprintf(fails[nfails].fn, sizeof fails[0].fn, "%s", fn);
  fails[nfails].code = code;
  fails[nfails++].after = after;
}
EXPORT void fake_outer(int yes) { outer = yes; }     // whether vectors of scales are taken, which is for both operands or for none
EXPORT void fake_answers(int n) { answers = n; }     // how many algorithms the heuristic knows
EXPORT const char *fake_log(void) { return log_text ? log_text : ""; }
EXPORT void fake_forget(void) { log_len = 0; if (log_text) log_text[0] = 0; }

static void say(const char *format, ...) {
  char line[1024];
  va_list a;
  va_start(a, format);
  int n = vsnprintf(line, sizeof line - 1, format, a);
  va_end(a);
  line[n++] = '\n';
  log_text = realloc(log_text, log_len + n + 1);
  memcpy(log_text + log_len, line, n);
  log_len += n;
  log_text[log_len] = 0;
}
static R begin(const char *fn) {
  for (int i = 0; i < nfails; i++)
    if (!strcmp(fails[i].fn, fn) && fails[i].after-- == 0) { say("%s = %d", fn, fails[i].code); return fails[i].code; }
  return 0;
}
#define BEGIN do { R r = begin(__func__); if (r) return r; } while (0)

struct desc { int compute, scale, trans_a, trans_b, epilogue, bias_type, a_mode, b_mode; int8_t fast; float *a, *b, *d; void *bias; };
struct layout { int type; uint64_t rows, cols; int64_t ld; int32_t batch; int64_t stride; };
struct pref { uint64_t workspace; uint32_t align[4]; };
struct result { uint64_t algo[8]; size_t workspace; int state; float waves; int reserved[4]; };

EXPORT size_t cublasLtGetVersion(void) { return VERSION; }
EXPORT R cublasLtCreate(void **h) { BEGIN; say("cublasLtCreate"); *h = &outer; return 0; }
EXPORT R cublasLtDestroy(void *h) { BEGIN; say("cublasLtDestroy %d", h == &outer); return 0; }
EXPORT R cublasLtMatmulDescCreate(struct desc **d, int compute, int scale) {
  BEGIN;
  *d = calloc(1, sizeof **d);
  (*d)->compute = compute;
  (*d)->scale = scale;
  (*d)->epilogue = 1;
  (*d)->bias_type = -1;
  return 0;
}
EXPORT R cublasLtMatmulDescDestroy(struct desc *d) { BEGIN; free(d); say("cublasLtMatmulDescDestroy"); return 0; }
EXPORT R cublasLtMatmulDescSetAttribute(struct desc *d, int a, const void *v, size_t n) {
  BEGIN;
  void *to;
  size_t want = 4;
  switch (a) {
    case 3: to = &d->trans_a; break;
    case 4: to = &d->trans_b; break;
    case 7: to = &d->epilogue; break;
    case 8: to = &d->bias; want = 8; break;
    case 17: to = &d->a; want = 8; break;
    case 18: to = &d->b; want = 8; break;
    case 20: to = &d->d; want = 8; break;
    case 25: to = &d->fast; want = 1; break;
    case 26: to = &d->bias_type; break;
    case 31: to = &d->a_mode; break;
    case 32: to = &d->b_mode; break;
    default: return 7;
  }
  if ((a == 31 || a == 32) && VERSION < 120800) return 7;
  if (n != want) return 7;
  memcpy(to, v, n);
  return 0;
}
EXPORT R cublasLtMatrixLayoutCreate(struct layout **l, int type, uint64_t rows, uint64_t cols, int64_t ld) {
  BEGIN;
  *l = malloc(sizeof **l);
  **l = (struct layout){type, rows, cols, ld, 1, 0};
  return 0;
}
EXPORT R cublasLtMatrixLayoutSetAttribute(struct layout *l, int a, const void *v, size_t n) {
  BEGIN;
  if (a == 5 && n == 4) { memcpy(&l->batch, v, n); return 0; }
  if (a == 6 && n == 8) { memcpy(&l->stride, v, n); return 0; }
  return 7;
}
EXPORT R cublasLtMatrixLayoutDestroy(struct layout *l) { BEGIN; free(l); say("cublasLtMatrixLayoutDestroy"); return 0; }
EXPORT R cublasLtMatmulPreferenceCreate(struct pref **p) { BEGIN; *p = calloc(1, sizeof **p); return 0; }
EXPORT R cublasLtMatmulPreferenceDestroy(struct pref *p) { BEGIN; free(p); say("cublasLtMatmulPreferenceDestroy"); return 0; }
EXPORT R cublasLtMatmulPreferenceSetAttribute(struct pref *p, int a, const void *v, size_t n) {
  BEGIN;
  if (a == 1 && n == 8) { memcpy(&p->workspace, v, n); return 0; }
  if (a >= 5 && a <= 8 && n == 4) { memcpy(&p->align[a - 5], v, n); return 0; }
  return 7;
}

static int is8(int type) { return type == E4M3 || type == E5M2; }
static int bytes(int type) { return is8(type) ? 1 : type == F32 ? 4 : 2; }

// refused says what of a problem no card computes.
static R refused(struct desc *d, struct layout *a, struct layout *b, struct layout *o) {
  if (d->compute != 68 || d->scale != F32 || d->trans_b != 0) return 15;
  if ((d->trans_a ? a->rows : a->cols) != b->rows || (d->trans_a ? a->cols : a->rows) != o->rows || b->cols != o->cols) return 7;
  if (a->batch != o->batch || b->batch != o->batch) return 7;
  if (is8(a->type) != is8(b->type)) return 15;
  if (is8(a->type) && (!d->trans_a || (a->type == E5M2 && b->type == E5M2) || a->rows % 16 || o->rows * bytes(o->type) % 16)) return 15;
  if ((d->a_mode == 3 || d->b_mode == 3) && (!outer || d->a_mode != d->b_mode || !d->a || !d->b)) return 7;
  return 0;
}
EXPORT R cublasLtMatmulAlgoGetHeuristic(void *h, struct desc *d, struct layout *a, struct layout *b, struct layout *c, struct layout *o,
                                        struct pref *p, int want, struct result *r, int *got) {
  (void)h; (void)c;
  BEGIN;
  say("heuristic %d,%d,%d workspace %d align %u,%u,%u,%u want %d", (int)o->cols, (int)o->rows, (int)b->rows, (int)(p->workspace >> 20),
      p->align[0], p->align[1], p->align[2], p->align[3], want);
  R no = refused(d, a, b, o);
  *got = 0;
  if (no) return no;
  if (!answers) return 0;
  memset(r, 0, sizeof *r);
  r->algo[0] = 0xa190;
  r->algo[7] = o->rows;
  r->workspace = 1 << 20;
  *got = 1;
  return 0;
}

static double get(const void *p, int type, size_t i) {
  switch (type) {
    case F32: return ((const float *)p)[i];
    case BF16: { uint32_t u = (uint32_t)((const uint16_t *)p)[i] << 16; float f; memcpy(&f, &u, 4); return f; }
    case F16: { _Float16 f; memcpy(&f, (const char *)p + 2 * i, 2); return (double)f; }
  }
  int v = ((const uint8_t *)p)[i], m = type == E4M3 ? 3 : 2, bias = type == E4M3 ? 7 : 15;
  int e = (v & 0x7f) >> m, f = v & ((1 << m) - 1);
  if ((v & 0x7f) == 0x7f) return NAN;
  double x = e ? ldexp((1 << m) + f, e - bias - m) : ldexp(f, 1 - bias - m);
  return v & 0x80 ? -x : x;
}
static void put(void *p, int type, size_t i, double x) {
  float f = (float)x;
  if (type == F32) { ((float *)p)[i] = f; return; }
  if (type == F16) { _Float16 v = (_Float16)f; memcpy((char *)p + 2 * i, &v, 2); return; }
  if (is8(type)) { // the nearest code, the even one of two; 0x7f and what is beyond the largest are not reached
    int best = 0;
    for (int c = 0; c < 256; c++) {
      uint8_t b = (uint8_t)c, o = (uint8_t)best;
      double d = fabs(get(&b, type, 0) - x), e = fabs(get(&o, type, 0) - x);
      if (d < e || (d == e && !(c & 1))) best = c;
    }
    ((uint8_t *)p)[i] = (uint8_t)best;
    return;
  }
  uint32_t u;
  memcpy(&u, &f, 4);
  u += 0x7fff + (u >> 16 & 1);
  ((uint16_t *)p)[i] = (uint16_t)(u >> 16);
}
EXPORT R cublasLtMatmul(void *h, struct desc *d, const float *alpha, const void *A, struct layout *a, const void *B, struct layout *b,
                        const float *beta, const void *C, struct layout *c, void *D, struct layout *o, const uint64_t *algo,
                        void *workspace, size_t room, uintptr_t stream) {
  BEGIN;
  if (C == D && c->type != o->type) return 7;
  if (h != (void *)&outer || algo[0] != 0xa190 || algo[7] != o->rows || *alpha != 1 || *beta != 0) return 7;
  R no = refused(d, a, b, o);
  if (no) return no;
  say("cublasLtMatmul %d·%d->%d fast %d epilogue %d bias %d modes %d,%d workspace %d %d stream %d", b->type, a->type, o->type, d->fast,
      d->epilogue, d->bias_type, d->a_mode, d->b_mode, workspace != 0, (int)(room >> 20), stream != 0);
  for (int32_t i = 0; i < o->batch; i++)
    for (size_t n = 0; n < o->cols; n++)
      for (size_t m = 0; m < o->rows; m++) {
        double x = 0;
        for (size_t k = 0; k < b->rows; k++)
          x += get(A, a->type, i * a->stride + (d->trans_a ? m * a->ld + k : k * a->ld + m)) * get(B, b->type, i * b->stride + n * b->ld + k);
        if (d->a) x *= d->a[d->a_mode == 3 ? m : 0];
        if (d->b) x *= d->b[d->b_mode == 3 ? n : 0];
        if (d->epilogue & 4) x += get(d->bias, d->bias_type == -1 ? o->type : d->bias_type, m);
        if (d->epilogue & 2) x = x > 0 ? x : 0;
        if (d->epilogue & 32) x = 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
        if (d->d) x *= *d->d;
        put(D, o->type, i * o->stride + n * o->ld + m, x);
      }
  return 0;
}
