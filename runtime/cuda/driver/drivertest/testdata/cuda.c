// A libcuda without a GPU: "device" memory is the host's, kernels are not run but told, errors come when asked for.
// Every call is a line of the log. What the fake_ functions set must be set before the calls that it concerns.
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int R;
#define EXPORT __attribute__((visibility("default")))

static char *log_text;
static size_t log_len;
static int version = 13000, devices = 1, major = 9, minor = 0, lost;
static size_t memory = 1ull << 30, used;
static __thread int has_context; // as with CUDA, the context is the thread's

static struct { char fn[64]; int code, after; } fails[32];
static int nfails;

EXPORT void fake_fail(const char *fn, int code, int after) {
  snprintf(fails[nfails].fn, sizeof fails[0].fn, "%s", fn);
  fails[nfails].code = code;
  fails[nfails++].after = after;
}
// What another process is to see is set by its environment: FAKE_CUDA_FAIL="cuStreamSynchronize 700 3", FAKE_CUDA_CAPABILITY="7 5",
// FAKE_CUDA_MEMORY="1048576".
__attribute__((constructor)) static void from_environment(void) {
  const char *s;
  char fn[64];
  int code, after;
  if ((s = getenv("FAKE_CUDA_FAIL")) && sscanf(s, "%63s %d %d", fn, &code, &after) == 3) fake_fail(fn, code, after);
  if ((s = getenv("FAKE_CUDA_CAPABILITY"))) sscanf(s, "%d %d", &major, &minor);
  if ((s = getenv("FAKE_CUDA_MEMORY"))) memory = strtoull(s, 0, 10);
}
EXPORT void fake_version(int v) { version = v; }
EXPORT void fake_devices(int n) { devices = n; }
EXPORT void fake_capability(int a, int b) { major = a; minor = b; }
EXPORT void fake_memory(size_t n) { memory = n; }
EXPORT const char *fake_log(void) { return log_text ? log_text : ""; }
EXPORT void fake_forget(void) { log_len = 0; if (log_text) log_text[0] = 0; }
EXPORT size_t fake_used(void) { return used; }

static void say(const char *format, ...) {
  char line[4096];
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

// begin tells the call's own error, if it is to have one. A lost context answers every call alike, and a thread without one 201.
static R begin(const char *fn, int context) {
  for (int i = 0; i < nfails; i++)
    if (!strcmp(fails[i].fn, fn) && fails[i].after-- == 0) {
      if (fails[i].code >= 700 && fails[i].code < 800) lost = fails[i].code;
      say("%s = %d", fn, fails[i].code);
      return fails[i].code;
    }
  if (context && lost) { say("%s = %d", fn, lost); return lost; }
  if (context && !has_context) { say("%s = 201", fn); return 201; }
  return 0;
}
#define BEGIN(context) do { R r = begin(__func__, context); if (r) return r; } while (0)

EXPORT R cuGetErrorName(int code, const char **s) {
  switch (code) {
    case 1: *s = "CUDA_ERROR_INVALID_VALUE"; return 0;
    case 2: *s = "CUDA_ERROR_OUT_OF_MEMORY"; return 0;
    case 100: *s = "CUDA_ERROR_NO_DEVICE"; return 0;
    case 201: *s = "CUDA_ERROR_INVALID_CONTEXT"; return 0;
    case 209: *s = "CUDA_ERROR_NO_BINARY_FOR_GPU"; return 0;
    case 218: *s = "CUDA_ERROR_INVALID_PTX"; return 0;
    case 222: *s = "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"; return 0;
    case 700: *s = "CUDA_ERROR_ILLEGAL_ADDRESS"; return 0;
  }
  *s = 0;
  return 1;
}
EXPORT R cuGetErrorString(int code, const char **s) {
  switch (code) {
    case 1: *s = "invalid argument"; return 0;
    case 2: *s = "out of memory"; return 0;
    case 100: *s = "no CUDA-capable device is detected"; return 0;
    case 201: *s = "invalid device context"; return 0;
    case 209: *s = "no kernel image is available for execution on the device"; return 0;
    case 218: *s = "a PTX JIT compilation failed"; return 0;
    case 222: *s = "the provided PTX was compiled with an unsupported toolchain."; return 0;
    case 700: *s = "an illegal memory access was encountered"; return 0;
  }
  *s = 0;
  return 1;
}

EXPORT R cuInit(unsigned flags) { BEGIN(0); say("cuInit %u", flags); return devices ? 0 : 100; }
EXPORT R cuDriverGetVersion(int *v) { BEGIN(0); *v = version; return 0; }
EXPORT R cuDeviceGetCount(int *n) { BEGIN(0); *n = devices; return 0; }
EXPORT R cuDeviceGet(int *d, int i) { BEGIN(0); if (i < 0 || i >= devices) return 101; *d = i; return 0; }
EXPORT R cuDeviceGetName(char *s, int n, int d) { BEGIN(0); snprintf(s, n, "Fake GPU %d", d); return 0; }
EXPORT R cuDeviceTotalMem_v2(size_t *n, int d) { (void)d; BEGIN(0); *n = memory; return 0; }
EXPORT R cuDeviceGetAttribute(int *v, int a, int d) {
  (void)d;
  BEGIN(0);
  switch (a) {
    case 16: *v = 132; return 0;
    case 38: *v = 50 << 20; return 0;
    case 75: *v = major; return 0;
    case 76: *v = minor; return 0;
    case 97: *v = 227 << 10; return 0;
  }
  return 1;
}
EXPORT R cuDevicePrimaryCtxRetain(void **c, int d) { BEGIN(0); say("cuDevicePrimaryCtxRetain %d", d); *c = &major; return 0; }
EXPORT R cuDevicePrimaryCtxRelease_v2(int d) { BEGIN(0); say("cuDevicePrimaryCtxRelease %d", d); return 0; }
EXPORT R cuCtxSetCurrent(void *c) { BEGIN(0); say("cuCtxSetCurrent %d", c == &major); has_context = c != 0; return 0; }
EXPORT R cuCtxSynchronize(void) { BEGIN(1); say("cuCtxSynchronize"); return 0; }
EXPORT R cuMemGetInfo_v2(size_t *f, size_t *t) { BEGIN(1); *f = memory - used; *t = memory; return 0; }

// An allocation's size lies before it, at the alignment that CUDA gives.
static void *take(size_t n) {
  char *p = aligned_alloc(256, (n + 511) / 256 * 256);
  *(size_t *)p = n;
  memset(p + 256, 0xcd, n);
  return p + 256;
}
EXPORT R cuMemAlloc_v2(void **p, size_t n) {
  BEGIN(1);
  say("cuMemAlloc %zu", n);
  if (!n) return 1;
  if (n > memory - used) return 2;
  used += n;
  *p = take(n);
  return 0;
}
EXPORT R cuMemFree_v2(char *p) {
  BEGIN(1);
  size_t n = *(size_t *)(p - 256);
  say("cuMemFree %zu", n);
  used -= n;
  free(p - 256);
  return 0;
}
EXPORT R cuMemAllocHost_v2(void **p, size_t n) { BEGIN(1); *p = take(n); return 0; }
EXPORT R cuMemFreeHost(char *p) { BEGIN(1); say("cuMemFreeHost %zu", *(size_t *)(p - 256)); free(p - 256); return 0; }

static int capturing, nodes;
static R copy(const char *fn, void *d, const void *s, size_t n) {
  say("%s %zu", fn, n);
  if (capturing) nodes++; else memmove(d, s, n);
  return 0;
}
EXPORT R cuMemcpyHtoDAsync_v2(void *d, const void *s, size_t n, void *q) { (void)q; BEGIN(1); return copy("cuMemcpyHtoDAsync", d, s, n); }
EXPORT R cuMemcpyDtoHAsync_v2(void *d, const void *s, size_t n, void *q) { (void)q; BEGIN(1); return copy("cuMemcpyDtoHAsync", d, s, n); }
EXPORT R cuMemcpyDtoDAsync_v2(void *d, const void *s, size_t n, void *q) { (void)q; BEGIN(1); return copy("cuMemcpyDtoDAsync", d, s, n); }
EXPORT R cuMemsetD8Async(void *d, unsigned char v, size_t n, void *q) { (void)q; BEGIN(1); say("cuMemsetD8Async %u %zu", v, n); memset(d, v, n); return 0; }
EXPORT R cuMemsetD32Async(uint32_t *d, unsigned v, size_t n, void *q) {
  (void)q;
  BEGIN(1);
  say("cuMemsetD32Async %u %zu", v, n);
  while (n--) *d++ = v;
  return 0;
}

static uintptr_t streams = 0x5000, events = 0xe000;
EXPORT R cuStreamCreate(uintptr_t *s, unsigned flags) { BEGIN(1); *s = ++streams; say("cuStreamCreate %u", flags); return 0; }
EXPORT R cuStreamDestroy_v2(uintptr_t s) { BEGIN(1); say("cuStreamDestroy %d", (int)(s - 0x5000)); return 0; }
EXPORT R cuStreamSynchronize(uintptr_t s) { BEGIN(1); say("cuStreamSynchronize %d", s ? (int)(s - 0x5000) : 0); return capturing ? 900 : 0; }
EXPORT R cuStreamWaitEvent(uintptr_t s, uintptr_t e, unsigned f) { BEGIN(1); say("cuStreamWaitEvent %d %d %u", (int)(s - 0x5000), (int)(e - 0xe000), f); return 0; }
EXPORT R cuStreamBeginCapture_v2(uintptr_t s, int mode) { BEGIN(1); say("cuStreamBeginCapture %d %d", (int)(s - 0x5000), mode); capturing = 1; nodes = 0; return 0; }
EXPORT R cuStreamEndCapture(uintptr_t s, uintptr_t *g) { BEGIN(1); say("cuStreamEndCapture %d", (int)(s - 0x5000)); capturing = 0; *g = 0x6000 + nodes; return 0; }
EXPORT R cuEventCreate(uintptr_t *e, unsigned flags) { BEGIN(1); *e = ++events; say("cuEventCreate %u", flags); return 0; }
EXPORT R cuEventDestroy_v2(uintptr_t e) { BEGIN(1); say("cuEventDestroy %d", (int)(e - 0xe000)); return 0; }
EXPORT R cuEventRecord(uintptr_t e, uintptr_t s) { BEGIN(1); say("cuEventRecord %d %d", (int)(e - 0xe000), (int)(s - 0x5000)); return 0; }
EXPORT R cuEventSynchronize(uintptr_t e) { BEGIN(1); say("cuEventSynchronize %d", (int)(e - 0xe000)); return 0; }
EXPORT R cuEventElapsedTime(float *ms, uintptr_t a, uintptr_t b) { BEGIN(1); *ms = (float)(b - a) * 0.5f; return 0; }

// A module is its text. A kernel is found in it by ".entry NAME(", its parameters by ".param .u64" and the like.
struct kernel { char name[64]; int n, size[64], align[64]; int shared; };
EXPORT R cuModuleLoadDataEx(char **m, const char *image, unsigned n, const int *option, void **value) {
  BEGIN(1);
  char *log = 0;
  size_t room = 0;
  for (unsigned i = 0; i < n; i++) {
    if (option[i] == 5) log = value[i];
    if (option[i] == 6) room = (size_t)value[i];
  }
  say("cuModuleLoadDataEx %zu", strlen(image));
  int a = 0;
  const char *t = strstr(image, ".target sm_");
  if (!t) {
    if (log) snprintf(log, room, "ptxas application ptx input, line 1; fatal   : Missing .target directive\n");
    return 218;
  }
  sscanf(t, ".target sm_%d", &a);
  if (a > 10 * major + minor) {
    if (log) snprintf(log, room, "ptxas fatal   : SM version specified by .target is higher than default SM version assumed\n");
    return 218;
  }
  int v = 0, w = 0;
  sscanf(image, ".version %d.%d", &v, &w);
  if (v > 9) return 222;
  *m = strdup(image);
  return 0;
}
EXPORT R cuModuleUnload(char *m) { BEGIN(1); say("cuModuleUnload"); free(m); return 0; }
EXPORT R cuModuleGetFunction(struct kernel **f, char *m, const char *name) {
  BEGIN(1);
  char want[128];
  snprintf(want, sizeof want, ".entry %s(", name);
  char *p = strstr(m, want);
  if (!p) return 500;
  struct kernel *k = calloc(1, sizeof *k);
  snprintf(k->name, sizeof k->name, "%s", name);
  char *end = strchr(p, ')');
  while ((p = strstr(p, ".param ")) && p < end) {
    int bits = 0, align = 0, count = 1;
    if (sscanf(p, ".param .align %d .b8 %*[^[][%d]", &align, &count) == 2) bits = 8;
    else if (sscanf(p, ".param .%*c%d", &bits) == 1) align = bits / 8;
    k->align[k->n] = align;
    k->size[k->n++] = bits / 8 * count;
    p++;
  }
  k->shared = 48 << 10;
  *f = k;
  return 0;
}
EXPORT R cuFuncGetAttribute(int *v, int a, struct kernel *k) { BEGIN(1); *v = a == 0 ? 1024 : a == 8 ? k->shared : a == 4 ? 32 : 0; return 0; }
EXPORT R cuFuncSetAttribute(struct kernel *k, int a, int v) {
  BEGIN(1);
  say("cuFuncSetAttribute %d %d", a, v);
  if (v > 227 << 10) return 1;
  if (a == 8) k->shared = v;
  return 0;
}
#ifndef OLD
EXPORT R cuFuncGetParamInfo(struct kernel *k, size_t i, size_t *offset, size_t *size) {
  BEGIN(1);
  if (i >= (size_t)k->n) return 1;
  *offset = 0;
  *size = k->size[i];
  return 0;
}
#endif
EXPORT R cuLaunchKernel(struct kernel *k, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                        uintptr_t s, void **params, void **extra) {
  BEGIN(1);
  char line[2048];
  int n = snprintf(line, sizeof line, "cuLaunchKernel %s %u,%u,%u %u,%u,%u %u %d %d:", k->name, gx, gy, gz, bx, by, bz, shared,
                   s ? (int)(s - 0x5000) : 0, extra != 0);
  for (int i = 0; i < k->n; i++) {
    n += snprintf(line + n, sizeof line - n, " ");
    for (int j = 0; j < k->size[i]; j++) n += snprintf(line + n, sizeof line - n, "%02x", ((unsigned char *)params[i])[j]);
    if ((uintptr_t)params[i] % k->align[i]) n += snprintf(line + n, sizeof line - n, "(misaligned)");
  }
  say("%s", line);
  if (capturing) nodes++;
  return 0;
}
EXPORT R cuGraphGetNodes(uintptr_t g, void *p, size_t *n) { (void)p; BEGIN(1); *n = g - 0x6000; return 0; }
EXPORT R cuGraphInstantiateWithFlags(uintptr_t *e, uintptr_t g, unsigned long long f) { BEGIN(1); say("cuGraphInstantiate %d %d", (int)(g - 0x6000), (int)f); *e = g + 0x1000; return 0; }
EXPORT R cuGraphLaunch(uintptr_t e, uintptr_t s) { BEGIN(1); say("cuGraphLaunch %d %d", (int)(e - 0x7000), (int)(s - 0x5000)); return 0; }
EXPORT R cuGraphDestroy(uintptr_t g) { BEGIN(1); say("cuGraphDestroy %d", (int)(g - 0x6000)); return 0; }
EXPORT R cuGraphExecDestroy(uintptr_t e) { BEGIN(1); say("cuGraphExecDestroy %d", (int)(e - 0x7000)); return 0; }

// fake_reset makes the library what it was when it was opened. What was allocated is left.
EXPORT void fake_reset(void) {
  fake_forget();
  nfails = lost = has_context = capturing = 0;
  version = 13000, devices = 1, major = 9, minor = 0;
  memory = 1ull << 30, used = 0;
  streams = 0x5000, events = 0xe000;
}
