"""Holds every function body of Float8Linear against formula.py, in ONNX Runtime and onnx, and recomputes the figures of docs/FLOAT8LINEAR.md.

    PYTHON interop/bodies.py [--opsets 19,21] [--full] [--only WORD]
    PYTHON interop/bodies.py --scales
    PYTHON interop/bodies.py --time
    PYTHON interop/bodies.py --fusion

The bodies are those that the Go code writes (interop/writebodies, which this script builds). For each of the 14 functions, each element type,
one weight scale or one per channel, and each opset, a model of five layers that share the function is made: on two axes with a bias after
it, three axes, one axis, and in both branches of an If. It must pass onnx.checker with full_check and strict shape inference with data
propagation. At each of ONNX Runtime's four optimization levels it must load and run without a word on file descriptor 2 at the default log
level; every output must be formula.py's within 1e-4, 1e-6 of the peak and the rounding of the element type, and the amax exact, for each of FEEDS.
--full takes all opsets that the installed ONNX Runtime knows, and onnx's ReferenceEvaluator at 19 and 21.

--scales counts the scales that other forms of the body's arithmetic would give. --time runs a layer of 512x1024 by 1024x1024 and
lists what the optimizer leaves of it. --fusion shows what becomes of layers made with QuantizeLinear and DequantizeLinear. Prints
counts; exits 1 if anything differs.
"""

import argparse
import collections
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as h
from onnx.reference import ReferenceEvaluator

import formula

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOMAIN = "ai.fp8rewrite"
K, N = 32, 24
NEWEST = 26 if tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 32) else 22  # 1.21 knows opset 22, 1.32 knows 26
LEVELS = [getattr(onnxruntime.GraphOptimizationLevel, "ORT_" + n) for n in ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL")]
Kind = collections.namedtuple("Kind", "name code epsilon smallest largest")
KINDS = (Kind("float32", T.FLOAT, 0, 0, 3.4028235e38), Kind("float16", T.FLOAT16, 2.0**-10, 2.0**-24, 65504),
         Kind("bfloat16", T.BFLOAT16, 2.0**-7, 0, 3.3895314e38))
FEEDS = ("normal", "else", "nan", "inf", "-inf", "nan and inf", "zero", "no rows", "huge", "faint", "tiny")
STALE = 1.7  # a stored weight scale that is too large by this saturates some codes
SCALE_X = np.float32(130)  # saturates the largest of the normal inputs


class Stderr:
    """What arrives on file descriptor 2 while it stands: the runtime's warnings do not pass through sys.stderr."""

    def __enter__(self):
        sys.stderr.flush()
        self.file, self.kept = tempfile.TemporaryFile(), os.dup(2)
        os.dup2(self.file.fileno(), 2)
        return self

    def __exit__(self, *_):
        os.dup2(self.kept, 2)
        os.close(self.kept)
        self.file.seek(0)
        self.text = self.file.read().decode(errors="replace").strip()
        self.file.close()


# Functions and models.


def functions(folder, opsets):
    """The functions that the Go code writes: a dict by name for each opset."""
    tool = pathlib.Path(folder) / "writebodies"
    subprocess.run(["go", "build", "-o", tool, "./interop/writebodies"], cwd=ROOT, check=True)
    subprocess.run([tool, folder, *map(str, opsets)], check=True)
    return {o: {f.name: f for f in onnx.load(str(pathlib.Path(folder) / f"{o}.onnx")).functions} for o in opsets}


Variant = collections.namedtuple("Variant", "activation weight power_of_two")


def variant(name):
    """Takes a function's name apart: activation "", Dynamic or WeightOnly; weight "", OriginalWeight or OriginalWeightDynamic."""
    rest = name.removeprefix("Float8Linear")
    power, rest = rest.endswith("PowerOfTwo"), rest.removesuffix("PowerOfTwo")
    cut = rest.find("OriginalWeight")
    return Variant(rest[:cut] if cut >= 0 else rest, rest[cut:] if cut >= 0 else "", power)


def rounded(x, kind):
    """x rounded to kind, as float32; float64 is rounded to float32 first, as the body does."""
    with np.errstate(over="ignore"):
        x = np.asarray(x).astype(np.float32)
        if kind.code == T.FLOAT16:
            return x.astype(np.float16).astype(np.float32)
    if kind.code == T.BFLOAT16:
        bits = np.ascontiguousarray(x).view(np.uint32).astype(np.uint64)
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16
        return np.where(np.isnan(x), np.float32(np.nan), bits.astype(np.uint32).view(np.float32).reshape(x.shape))
    return x


def tensor(name, values, kind):
    raw = {T.FLOAT: lambda v: v.tobytes(), T.FLOAT16: lambda v: v.astype(np.float16).tobytes(),
           T.BFLOAT16: lambda v: (v.view(np.uint32) >> 16).astype(np.uint16).tobytes()}[kind.code](np.ascontiguousarray(values, np.float32))
    return h.make_tensor(name, kind.code, np.shape(values), raw, raw=True)


def codes(values):
    """The float8e4m3fn codes of values that are exactly representable."""
    table = formula.e4m3_values()[:127]
    code = np.searchsorted(table, np.abs(values)).astype(np.uint8)
    assert np.array_equal(table[code], np.abs(values))
    return code | np.where(np.signbit(values), 128, 0).astype(np.uint8)


def state(v, weight, kind, per_channel, quant_max):
    """The initializers w, scale_w, … of a layer, and what the formula needs: the quantized weight and its scale."""
    fresh = formula.dynamic_scale(weight, 1, 448 if v.weight != "OriginalWeightDynamic" else quant_max,
                                  v.power_of_two and v.weight == "OriginalWeightDynamic", per_channel)
    scale = (fresh * np.float32(STALE)).astype(np.float32) if v.weight == "OriginalWeight" else fresh
    quantized = formula.saturate(weight * (scale[:, None] if per_channel else scale))
    stored = np.ones_like(scale) if v.weight == "OriginalWeightDynamic" else scale
    w = tensor("w", weight, kind) if v.weight else h.make_tensor("w", T.FLOAT8E4M3FN, weight.shape, codes(quantized).tobytes(), raw=True)
    tensors = [w, h.make_tensor("scale_x", T.FLOAT, [], [SCALE_X]), h.make_tensor("scale_w", T.FLOAT, stored.shape, stored.tobytes(), raw=True)]
    tensors += [h.make_tensor(n, T.FLOAT, [16], [0.0] * 16) for n in ("history_x", "history_w", "history_g")]
    tensors += [h.make_tensor("scale_g", T.FLOAT, [], [1.0]), h.make_tensor("initialized", T.BOOL, [], [False])]
    return tensors, quantized, scale


STATE = ("w", "scale_x", "scale_w", "history_x", "history_w", "scale_g", "history_g", "initialized")


def model(function, kind, per_channel, opset, quant_max):
    """Five layers of one function; the inputs are x2, x3, x1, xi and cond, the outputs y2, y3, y1, yi and amax. A model in bfloat16 has
    float32 at both ends, which numpy can hold, and no Add, for which ONNX Runtime has no kernel."""
    v, rng = variant(function.name), np.random.default_rng(3)
    weight = rounded(rng.standard_normal((N, K)) * rng.uniform(0.2, 3, (N, 1)), kind)
    weight[3] = 0
    if v.weight and per_channel:  # no scale can be made of these, so the stored one is used
        weight[5, 2], weight[6, 1] = np.inf, np.nan
    bias = None if kind.code == T.BFLOAT16 else rounded(rng.standard_normal(N), kind)
    tensors, quantized, scale = state(v, weight, kind, per_channel, quant_max)
    outer = T.FLOAT if kind.code == T.BFLOAT16 else kind.code
    nodes = []

    def add(op, inputs, output, **attributes):
        nodes.append(h.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def layer(x, y):
        return h.make_node(function.name, [x, *STATE], [y, y + "_amax"], name=y, domain=DOMAIN, original_op="Gemm", trans_b=1, quant_max=float(quant_max))

    shapes = {"2": ["M", K], "3": ["B", "S", K], "1": [K], "i": ["P", K]}
    x = {i: add("Cast", ["x" + i], "inner_x" + i, to=kind.code) if outer != kind.code else "x" + i for i in shapes}
    nodes += [layer(x[i], "inner_y" + i) for i in "231"]
    branch = [h.make_value_info(n, h.make_tensor_type_proto(kind.code, ["P", N])) for n in ("then_y", "else_y")]
    then = h.make_graph([layer(x["i"], "then_y")], "then", [], branch[:1])
    other = h.make_graph([layer(x["i"], "double"), h.make_node("Identity", ["double"], ["else_y"], name="copy")], "else", [], branch[1:])
    nodes.append(h.make_node("If", ["cond"], ["inner_yi"], name="if", then_branch=then, else_branch=other))
    if bias is not None:
        tensors.append(tensor("bias", bias, kind))
        add("Add", ["inner_y2", "bias"], "biased")
    for i in shapes:
        y = "biased" if i == "2" and bias is not None else "inner_y" + i
        add("Cast", [y], "y" + i, to=outer)
    inputs = [h.make_tensor_value_info("x" + i, outer, s) for i, s in shapes.items()] + [h.make_tensor_value_info("cond", T.BOOL, [])]
    outputs = [h.make_tensor_value_info("y" + i, outer, s[:-1] + [N]) for i, s in shapes.items()]
    outputs.append(h.make_tensor_value_info("inner_y2_amax", T.FLOAT, []))
    imports = [h.make_opsetid("", opset), h.make_opsetid(DOMAIN, 1)]
    ir = h.find_min_ir_version_for(imports[:1])
    m = h.make_model(h.make_graph(nodes, "g", inputs, outputs, tensors), opset_imports=imports, functions=[function], ir_version=max(ir, 9))
    return m, (v, weight, quantized, scale, bias, quant_max)


def feeds(which, kind):
    rng = np.random.default_rng(5)
    x = {i: (rng.standard_normal(s) * 2).astype(np.float32) for i, s in (("x2", (5, K)), ("x3", (2, 3, K)), ("x1", (K,)), ("xi", (4, K)))}
    factor = {"zero": 0, "huge": 2e4 if kind.code == T.FLOAT16 else 1e36, "faint": 1e-14, "tiny": 1e-6 if kind.code == T.FLOAT16 else 1e-36}.get(which, 1)
    for name, v in x.items():
        v *= np.float32(factor)
        flat = v.reshape(-1)
        if which in ("nan", "nan and inf"):
            flat[7] = np.nan
        if which in ("inf", "-inf"):
            flat[7] = np.float32(which)
        if which == "nan and inf":
            flat[9] = np.inf
        if which == "no rows" and name != "x1":
            x[name] = v[:, :0] if name == "x3" else v[:0]
    if kind.code == T.FLOAT16:
        x = {n: np.where(np.isinf(v), v, v.clip(-65504, 65504)).astype(np.float16) for n, v in x.items()}
    return {**x, "cond": np.array(which != "else")}


def expected(meta, x, kind, biased):
    """The formula's output, and max|x|."""
    v, weight, quantized, scale, bias, quant_max = meta
    amax = np.abs(x).max(initial=0)
    scale_x = {"": SCALE_X, "Dynamic": formula.dynamic_scale(x, SCALE_X, quant_max, v.power_of_two), "WeightOnly": None}[v.activation]
    with np.errstate(all="ignore"):
        y = rounded(formula.float8_linear(x, quantized, scale_x, scale, True), kind)
        return rounded(y + bias, kind) if biased else y, amax, np.abs(y)


def compare(meta, kind, which, given, got):
    """The problems of one run, and how many outputs are as they should be."""
    problems, good = [], 0
    for i, y in zip("231i", got):
        x = rounded(given["x" + i], kind)
        want, amax, before = expected(meta, x, kind, i == "2" and meta[4] is not None)
        if y.shape != want.shape:
            problems.append(f"{which}: y{i} has shape {y.shape}, want {want.shape}")
            continue
        a, b = y.astype(np.float64), want.astype(np.float64)
        if which == "huge":  # next to the end of the range the last bit of a sum tells infinity from the largest value
            a, b = np.clip(a, -kind.largest, kind.largest), np.clip(b, -kind.largest, kind.largest)
        with np.errstate(invalid="ignore"):
            size = np.where(np.isfinite(before), np.maximum(np.minimum(before, kind.largest), np.abs(b)), 0)
            limit = (1e-4 + kind.epsilon) * size + 1e-6 * size.max(initial=0, where=np.isfinite(size)) + kind.smallest
            same = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= limit)
        if same.all():
            good += 1
        else:
            at = tuple(np.argwhere(~same)[0])
            problems.append(f"{which}: y{i}{list(map(int, at))} is {a[at]}, want {b[at]}")
        if i == "2":
            if got[4].shape == () and got[4].dtype == np.float32 and np.array_equal(got[4], amax, equal_nan=True):
                good += 1
            else:
                problems.append(f"{which}: amax is {got[4]}, want {amax}")
    return problems, good


def session(m, level=LEVELS[-1], threads=1, save=None, profile=None):
    o = onnxruntime.SessionOptions()
    o.graph_optimization_level, o.intra_op_num_threads = level, threads
    if save:
        o.optimized_model_filepath, o.log_severity_level = str(save), 3
    if profile:
        o.enable_profiling, o.profile_file_prefix = True, str(profile)
    return onnxruntime.InferenceSession(m.SerializeToString(), o, providers=["CPUExecutionProvider"])


def brief(err):
    return f"{type(err).__name__}: {str(err).strip().splitlines()[0][:300]}"


def judge(m, meta, kind, reference):
    """What is wrong with one model; and how many sessions, runs and outputs are right, and outputs of the reference evaluator."""
    problems, count = [], collections.Counter(models=1)
    with Stderr() as err:
        try:
            onnx.checker.check_model(m, full_check=True)
            onnx.shape_inference.infer_shapes(m, check_type=True, strict_mode=True, data_prop=True)
        except Exception as e:  # the checker's errors share no base class
            problems.append(f"onnx: {brief(e)}")
    if err.text:
        problems.append(f"onnx says: {err.text[:300]}")
    for level in LEVELS:
        with Stderr() as err:
            try:
                s = session(m, level)
                count["sessions"] += 1
                for which in FEEDS:
                    given = feeds(which, kind)
                    wrong, good = compare(meta, kind, which, given, s.run(None, given))
                    problems += [f"{level.name}: {w}" for w in wrong]
                    count["runs"] += 1
                    count["outputs"] += good
            except Exception as e:
                problems.append(f"{level.name}: {brief(e)}")
        if err.text:
            problems.append(f"{level.name} says: {err.text[:300]}")
    if reference:
        try:
            for which in ("normal", "no rows"):
                given = feeds(which, kind)
                with np.errstate(all="ignore"):
                    wrong, good = compare(meta, kind, which, given, ReferenceEvaluator(m).run(None, given))
                problems += [f"reference: {w}" for w in wrong]
                count["reference outputs"] += good
        except Exception as e:
            problems.append(f"reference: {brief(e)}")
    return problems, count


def matrix(opsets, full, only):
    began, count, problems = time.time(), collections.Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        for opset, named in functions(folder, opsets).items():
            for function, kind, per_channel in itertools.product(named.values(), KINDS, (False, True)):
                label = f"{function.name} {kind.name} {'[N]' if per_channel else 'scalar'} opset {opset}"
                if only not in label:
                    continue
                m, meta = model(function, kind, per_channel, opset, 300 if per_channel else 448)  # 300: under 448 / 2^n the codes would stay
                evaluates = kind.code != T.BFLOAT16 or not onnx.__version__.startswith("1.17.")  # which truncates to bfloat16
                wrong, n = judge(m, meta, kind, full and opset in (19, 21) and evaluates)
                problems += [f"{label}: {w}" for w in wrong]
                count += n
    for p in problems[:40]:
        print("FAIL", p)
    counts = ", ".join(f"{v} {k}" for k, v in count.items())
    print(f"opsets {','.join(map(str, opsets))}: {counts}; {len(problems)} problems; {time.time() - began:.0f} s")
    return bool(problems) or not count["outputs"]


# Figures.


def evaluate(nodes, outputs, x, level=LEVELS[-1]):
    """The outputs for the one-dimensional input x of a graph given as (op, inputs, output, attributes)."""
    made = [h.make_node(op, inputs, [out], name=out, **attributes) for op, inputs, out, attributes in nodes]
    g = h.make_graph(made, "g", [h.make_tensor_value_info("x", T.FLOAT, ["n"])], [h.make_tensor_value_info(o, T.FLOAT, ["n"]) for o in outputs])
    s = session(h.make_model(g, opset_imports=[h.make_opsetid("", 19)], ir_version=9), level)
    parts = [s.run(None, {"x": part}) for part in np.array_split(x, max(1, len(x) // 50000))]
    return [np.concatenate(p) for p in zip(*parts)]


def amaxes():
    """Every power of two and 448 times one, each with its neighbours, and a million positive floats with random bits."""
    power = np.ldexp(np.float32(1), np.arange(-126, 128)).astype(np.float32)
    with np.errstate(over="ignore"):
        scaled = (np.float32(448) * power[:240]).astype(np.float32)
    scaled = scaled[np.isfinite(scaled)]
    around = [f(v) for v in (power, scaled) for f in (lambda v: v, lambda v: np.nextafter(v, np.float32(0)), lambda v: np.nextafter(v, np.float32(np.inf)))]
    noise = np.random.default_rng(0).integers(1, 0x7F800000, 1_000_000, dtype=np.uint32).view(np.float32)
    every = np.concatenate([*around, noise])
    return every[np.isfinite(every)]


def constant(name, values):
    a = np.asarray(values, np.float32)
    return ("Constant", [], name, {"value": h.make_tensor(name, T.FLOAT, a.shape, a.tobytes(), raw=True)})


def scales():
    x = amaxes()
    floored = np.maximum(x, np.float32(1e-12))
    want = np.float32(448) * (np.float32(1) / floored)
    power = np.ldexp(1.0, np.frexp(want.astype(np.float64))[1] - 1).astype(np.float32)
    common = [constant("max", 448), constant("floor", 1e-12), ("Max", ["x", "floor"], "a", {})]
    body = common + [("Reciprocal", ["a"], "r", {}), ("Mul", ["max", "r"], "s", {})]
    divided = common + [constant("one", 1), ("Div", ["one", "a"], "r", {}), ("Mul", ["r", "max"], "s", {})]
    table = body + [
        constant("powers", np.ldexp(np.float32(1), np.arange(-126, 128))), constant("smallest", 2.0**-126), ("Constant", [], "last", {"value_ints": [-1]}),
        ("Unsqueeze", ["s", "last"], "column", {}), ("LessOrEqual", ["powers", "column"], "below", {}), ("Where", ["below", "powers", "smallest"], "those", {}),
        ("ReduceMax", ["those", "last"], "p", {"keepdims": 0})]
    log = body + [constant("ln2", np.log(2)), constant("two", 2), ("Log", ["s"], "ln", {}), ("Div", ["ln", "ln2"], "log2", {}), ("Floor", ["log2"], "e", {}),
                  ("Pow", ["two", "e"], "p", {})]
    print(f"{len(x)} amaxes; scales that differ from float32(448 * float32(1 / amax)), and powers of two from the largest not above it:")
    figures = {
        "Reciprocal, Mul (the body)": (evaluate(body, ["s"], x)[0] != want).sum(),
        "Div, Mul, not optimized": (evaluate(divided, ["s"], x, LEVELS[0])[0] != want).sum(),
        "Div, Mul, optimized": (evaluate(divided, ["s"], x)[0] != want).sum(),
        "448 / amax, rounded once": (np.float32(448) / floored != want).sum(),
        "table of 254 powers (the body)": (evaluate(table, ["p"], x)[0] != power).sum(),
        "2^floor(log2 s) through Log": (evaluate(log, ["p"], x)[0] != power).sum(),
    }
    for name, n in figures.items():
        print(f"  {name:32s}{n:8d}")
    wrong = all_n = 0
    for exponent, first in itertools.product((87, 100, 127, 150, 230), range(0, 1 << 23, 1 << 20)):
        v = (np.uint32(exponent << 23) | np.arange(first, first + (1 << 20), dtype=np.uint32)).view(np.float32)
        wrong += int((evaluate([("Reciprocal", ["x"], "r", {})], ["r"], v)[0] != np.float32(1) / v).sum())
        all_n += len(v)
    print(f"Reciprocal differs from division for {wrong} of {all_n} values: all significands under 5 exponents")
    return bool(wrong or figures["Reciprocal, Mul (the body)"] or figures["table of 254 powers (the body)"])


def timing():
    """Prints the smallest of 100 runs, interleaved, on two threads, and the operators of the optimized graph; a layer that still does
    something to its weight at every run fails."""
    m, k, n = 512, 1024, 1024
    rng = np.random.default_rng(0)
    weight, x = (rng.standard_normal((n, k)) * 0.05).astype(np.float32), rng.standard_normal((m, k)).astype(np.float32)
    imports = [h.make_opsetid("", 19), h.make_opsetid(DOMAIN, 1)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        named = functions(folder, [19])[19]
        for name, per_channel in [("MatMul", False)] + [(f, c) for f in named for c in (False, True) if "PowerOfTwo" not in f]:
            if name == "MatMul":
                tensors, nodes = [tensor("w", weight.T, KINDS[0])], [h.make_node("MatMul", ["x", "w"], ["y"])]
            else:
                tensors = state(variant(name), weight, KINDS[0], per_channel, 448)[0]
                nodes = [h.make_node(name, ["x", *STATE], ["y", "amax"], domain=DOMAIN)]
            g = h.make_graph(nodes, "g", [h.make_tensor_value_info("x", T.FLOAT, ["M", k])], [h.make_tensor_value_info("y", T.FLOAT, ["M", n])], tensors)
            made = h.make_model(g, opset_imports=imports, functions=[named[name]] if name in named else [], ir_version=9)
            path = pathlib.Path(folder) / "optimized.onnx"
            s = session(made, threads=2, save=path)
            left = [node.op_type for node in onnx.load(str(path)).graph.node]
            rows.append((name + (" [N]" if per_channel else ""), s, left, []))
            if name == "Float8Linear" and not per_channel:
                kernels = profiled(session(made, threads=2, profile=pathlib.Path(folder) / "profile"), {"x": x})
    for _ in range(100):
        for _, s, _, times in rows:
            began = time.perf_counter()
            s.run(None, {"x": x})
            times.append(time.perf_counter() - began)
    plain, failed = min(rows[0][3]), False
    for name, _, left, times in rows:
        ours = [op for op in left if op in ("Transpose", "Reshape", "Unsqueeze", "Constant", "CastLike")] or left.count("Cast") > 3
        failed |= bool(ours)
        print(f"{name:48s}{min(times) * 1e3:8.2f} ms {min(times) / plain:6.2f}  {' '.join(left)}{'  FAIL' if ours else ''}")
    print("Float8Linear's kernels, each one's fastest run:", ", ".join(f"{name} {t:.2f} ms" for name, t in kernels))
    return failed


def profiled(s, given):
    """The kernels of a session, slowest first, with the milliseconds of each one's fastest of 50 runs."""
    for _ in range(50):
        s.run(None, given)
    best = {}
    for event in json.loads(pathlib.Path(s.end_profiling()).read_text()):
        if event["name"].endswith("_kernel_time"):
            name = f"{event['args']['op_name']} {event['name'].removesuffix('_kernel_time').removeprefix('_inlfunc_Float8Linear_')}"
            best[name] = min(best.get(name, np.inf), event["dur"] / 1e3)
    return sorted(best.items(), key=lambda item: -item[1])


def fusion():
    """Loads layers that quantize by QuantizeLinear and DequantizeLinear instead of Cast, with optimizations off and at the default level."""
    rng, wrong = np.random.default_rng(1), False
    weight, x, bias = (rng.standard_normal(s).astype(np.float32) for s in ((N, K), (5, K), (N,)))
    weight *= np.float32(0.1)  # as small as weights are: ONNX Runtime 1.21 divides a float16 bias by the product of the scales
    for form, kind, per_channel, opset in itertools.product(("MatMul", "MatMul, Add", "Gemm", "Gemm with C"), KINDS[:2], (False, True), (19, 21)):
        dtype = np.float32 if kind.code == T.FLOAT else np.float16
        scale = formula.dynamic_scale(weight, 1, per_row=per_channel)
        quantized = formula.saturate(weight * (scale[:, None] if per_channel else scale))
        scale_x = formula.dynamic_scale(x.astype(dtype), 1)
        tensors = [tensor("dx", 1 / scale_x, kind), tensor("dw", 1 / scale, kind), tensor("bias", bias, kind),
                   h.make_tensor("zx", T.FLOAT8E4M3FN, [], b"\0", raw=True), h.make_tensor("zw", T.FLOAT8E4M3FN, scale.shape, bytes(scale.size), raw=True),
                   h.make_tensor("w", T.FLOAT8E4M3FN, [K, N], codes(quantized.T).tobytes(), raw=True)]
        nodes = [h.make_node("QuantizeLinear", ["x", "dx", "zx"], ["q"]), h.make_node("DequantizeLinear", ["q", "dx", "zx"], ["xd"]),
                 h.make_node("DequantizeLinear", ["w", "dw", "zw"], ["wd"], **({"axis": 1} if per_channel else {}))]
        op = form.split()[0].strip(",")
        nodes.append(h.make_node(op, ["xd", "wd"] + (["bias"] if form == "Gemm with C" else []), ["p" if "Add" in form else "y"]))
        if "Add" in form:
            nodes.append(h.make_node("Add", ["p", "bias"], ["y"]))
        g = h.make_graph(nodes, "g", [h.make_tensor_value_info("x", kind.code, ["M", K])], [h.make_tensor_value_info("y", kind.code, ["M", N])], tensors)
        m = h.make_model(g, opset_imports=[h.make_opsetid("", opset)], ir_version=9 if opset == 19 else 10)
        want = formula.float8_linear(x.astype(dtype), quantized, scale_x, scale, True) + (bias if "Add" in form or "C" in form else 0)
        results = []
        for level in (LEVELS[0], LEVELS[-1]):
            with Stderr():
                try:
                    y = session(m, level).run(None, {"x": x.astype(dtype)})[0]
                    results.append(f"differs by {np.abs(y - want).max() / np.abs(want).max():.0e}")
                    wrong |= level == LEVELS[0] and np.abs(y - want).max() > 2e-3 * np.abs(want).max()
                except Exception as e:
                    results.append(brief(e).split("Type Error: ")[-1][:72])
                    wrong |= level == LEVELS[0]
        print(f"{form:12s} {kind.name:8s} {'[N]' if per_channel else 'scalar':6s} opset {opset}  not optimized: {results[0]:18s} optimized: {results[1]}")
    return wrong


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--opsets", help=f"versions of ONNX's operators (default 19,{NEWEST})")
    p.add_argument("--full", action="store_true", help="every opset, and onnx's reference evaluator")
    p.add_argument("--only", default="", metavar="WORD", help="combinations whose name contains WORD")
    p.add_argument("--scales", action="store_true", help="recompute the figures about scales instead")
    p.add_argument("--time", action="store_true", help="time a layer instead")
    p.add_argument("--fusion", action="store_true", help="try Q/DQ layers instead")
    args = p.parse_args()
    print(f"ONNX Runtime {onnxruntime.__version__}, onnx {onnx.__version__}, numpy {np.__version__}")
    for chosen, do in ((args.scales, scales), (args.time, timing), (args.fusion, fusion)):
        if chosen:
            sys.exit(bool(do()))
    opsets = range(19, NEWEST + 1) if args.full else (19, NEWEST)
    sys.exit(matrix([int(v) for v in args.opsets.split(",")] if args.opsets else list(opsets), args.full, args.only))


main()
