"""What torch needs for the work that bench/gpu measures of fp8rewrite, on the same GPU.

Prints a line of JSON per measurement: {"name": ..., "ms": ..., "runs": ...}. The times are medians; each function is captured in a CUDA
graph, so that they are the GPU's and not Python's.

    python3 torch_bench.py [--parts casts,linear,model] [--runs 30] [--autotune]
"""

import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

E4M3 = torch.float8_e4m3fn
MAX = 448.0
REST = 0.3  # seconds before each measurement: a GPU that is kept busy slows down
MOVES = 10  # calls in a graph that only move memory

HIDDEN, INTERMEDIATE, HEADS, LAYERS = 4096, 11008, 32, 4
BATCH, SEQUENCE = 2, 4096
EPSILON, THETA = 1e-5, 10000.0


def calls_of(products):
    """How many calls are recorded in a graph, where each multiplies so many numbers: the rule of package measure."""
    return min(max(2**40 // products, 1), 50)


def measure(f, runs, calls):
    """The median time in ms of a call of f, over runs replays of a graph that holds so many calls."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            f()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            f()
    torch.cuda.synchronize()
    time.sleep(REST)
    for _ in range(3):
        graph.replay()
    times = []
    for _ in range(runs):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / calls)
    return statistics.median(times)


def tell(name, f, runs, calls=1):
    start = time.time()
    try:
        ms = measure(f, runs, calls)
    except Exception as e:  # one that fails must not take the others with it
        print(json.dumps({"name": name, "error": f"{type(e).__name__}: {str(e).splitlines()[0][:300]}"}), flush=True)
        return
    print(json.dumps({"name": name, "ms": round(ms, 5), "runs": runs, "wall_s": round(time.time() - start, 1)}), flush=True)


def cast_amax(x, scale):
    """Codes of x under a scale, saturated, and the largest magnitude of x."""
    v = x.float()
    return (v * scale).clamp(-MAX, MAX).to(E4M3), v.abs().amax()


def quantize(x, scale):
    return (x.float() * scale).clamp(-MAX, MAX).to(E4M3)


def scale_of(x):
    return (MAX / x.float().abs().amax().clamp(min=1e-12)).float()


def product(codes, weight, inverse_x, inverse_w):
    """codes [M,K] times weight [N,K] transposed."""
    return torch._scaled_mm(codes, weight.t(), scale_a=inverse_x, scale_b=inverse_w, out_dtype=torch.bfloat16, use_fast_accum=True)


def delayed(x, weight, scale, inverse_x, inverse_w):
    """Float8Linear with a stored scale: what a step of delayed scaling computes, its amax included."""
    codes, amax = cast_amax(x, scale)
    return product(codes, weight, inverse_x, inverse_w), amax


def random(*shape):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def casts(runs):
    x = random(8192, 8192)
    scale = scale_of(x)
    compiled = torch.compile(cast_amax)
    tell("cast+amax 8192x8192 compiled", lambda: compiled(x, scale), runs, MOVES)
    y = torch.empty_like(x)
    tell("copy 8192x8192", lambda: y.copy_(x), runs, MOVES)


def linear(runs):
    compiled = torch.compile(delayed, dynamic=False)
    for m, n, k in ((8192, 8192, 8192), (4096, 4096, 4096), (8192, 4096, 4096), (2048, 4096, 4096)):
        x, w = random(m, k), random(n, k)
        sx, sw = scale_of(x), scale_of(w)
        w8 = quantize(w, sw)
        ix, iw = sx.reciprocal(), sw.reciprocal()
        calls = calls_of(m * n * k)
        tell(f"float8linear {m}x{n}x{k} compiled", lambda: compiled(x, w8, sx, ix, iw), runs, calls)
        q = quantize(x, sx)
        tell(f"float8 matmul {m}x{n}x{k}", lambda: product(q, w8, ix, iw), runs, calls)
        tell(f"bf16 linear {m}x{n}x{k}", lambda: F.linear(x, w), runs, calls)


class Linear(torch.nn.Module):
    """A linear layer without bias: bfloat16, or float8 with stored scales."""

    def __init__(self, n, k, float8):
        super().__init__()
        w = torch.randn(n, k, device="cuda") * k**-0.5
        self.float8 = float8
        if not float8:
            self.register_buffer("weight", w.bfloat16())
            return
        sw, sx = scale_of(w), torch.tensor(MAX / 6, device="cuda")
        self.register_buffer("weight", quantize(w, sw))
        self.register_buffer("scale", sx)
        self.register_buffer("inverse_x", sx.reciprocal())
        self.register_buffer("inverse_w", sw.reciprocal())

    def forward(self, x):
        if not self.float8:
            return F.linear(x, self.weight)
        codes = quantize(x, self.scale).view(-1, x.shape[-1])
        return product(codes, self.weight, self.inverse_x, self.inverse_w).view(*x.shape[:-1], -1)


def norm(x, weight):
    v = x.float()
    return weight * (v * torch.rsqrt(v.pow(2).mean(-1, keepdim=True) + EPSILON)).to(x.dtype)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Layer(torch.nn.Module):
    def __init__(self, float8):
        super().__init__()
        for name in ("q", "k", "v", "o"):
            setattr(self, name, Linear(HIDDEN, HIDDEN, float8))
        self.gate, self.up = Linear(INTERMEDIATE, HIDDEN, float8), Linear(INTERMEDIATE, HIDDEN, float8)
        self.down = Linear(HIDDEN, INTERMEDIATE, float8)
        self.register_buffer("norm1", torch.ones(HIDDEN, device="cuda", dtype=torch.bfloat16))
        self.register_buffer("norm2", torch.ones(HIDDEN, device="cuda", dtype=torch.bfloat16))

    def forward(self, x, cos, sin):
        b, s, _ = x.shape
        h = norm(x, self.norm1)
        q, k, v = (l(h).view(b, s, HEADS, -1).transpose(1, 2) for l in (self.q, self.k, self.v))
        a = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.o(a.transpose(1, 2).reshape(b, s, HIDDEN))
        h = norm(x, self.norm2)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Model(torch.nn.Module):
    """The model that bench/gpu/llama writes, for torch."""

    def __init__(self, float8):
        super().__init__()
        self.layers = torch.nn.ModuleList(Layer(float8) for _ in range(LAYERS))
        self.register_buffer("norm", torch.ones(HIDDEN, device="cuda", dtype=torch.bfloat16))
        head = HIDDEN // HEADS
        frequency = THETA ** -(torch.arange(0, head, 2, device="cuda").float() / head)
        angle = torch.outer(torch.arange(SEQUENCE, device="cuda").float(), frequency)
        angle = torch.cat((angle, angle), -1)
        self.register_buffer("cos", angle.cos().bfloat16())
        self.register_buffer("sin", angle.sin().bfloat16())

    def forward(self, x):
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        return norm(x, self.norm)


def model(runs, autotune):
    x = random(BATCH, SEQUENCE, HIDDEN)
    for float8 in (False, True):
        name = "float8 static" if float8 else "bf16"
        m = Model(float8)
        with torch.no_grad():
            torch._dynamo.reset()
            compiled = torch.compile(m, dynamic=False)
            tell(f"llama {name} compiled", lambda: compiled(x), runs)
            if autotune and float8:
                torch._dynamo.reset()
                tuned = torch.compile(m, dynamic=False, mode="max-autotune-no-cudagraphs")
                tell(f"llama {name} autotuned", lambda: tuned(x), runs)
        del m, compiled
        torch.cuda.empty_cache()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--parts", default="casts,linear,model")
    p.add_argument("--runs", type=int, default=30)
    p.add_argument("--autotune", action="store_true", help="also what torch finds in a minute of trying kernels")
    a = p.parse_args()
    torch.manual_seed(0)
    print(json.dumps({"name": "torch", "version": torch.__version__, "device": torch.cuda.get_device_name()}), flush=True)
    parts = a.parts.split(",")
    if "casts" in parts:
        casts(a.runs)
    if "linear" in parts:
        linear(a.runs)
    if "model" in parts:
        model(a.runs, a.autotune)


if __name__ == "__main__":
    sys.exit(main())
