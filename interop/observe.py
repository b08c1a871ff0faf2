"""Runs Float8Linear layers inside If, Loop and Scan in ONNX Runtime and compares the amaxes that come out with numpy's max|x|.

Each model is written here, with layers whose inputs are known without running a layer; interop/exposeamax, which this script builds,
makes the amaxes outputs. A run passes when every amax is exact, -1 for a layer that did not run, NaN where an input held one, and
the model's other outputs are those of the model before.

    python interop/observe.py [--only NAME] [-v]
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as h

ROOT = pathlib.Path(__file__).resolve().parent.parent
K = 5  # every layer maps K values to K
UNOBSERVED = np.float32(-1)
rng = np.random.default_rng(11)
STATE = ["scale_input", "scale_weight", "amax_history_input", "amax_history_weight", "scale_grad_output",
         "amax_history_grad_output", "initialized"]
Model = collections.namedtuple("Model", "name model runs")
Run = collections.namedtuple("Run", "feeds amax")
models = []


def layer(name, x, y, variant=""):
    inputs = [x, name + ".weight"] + [f"{name}.fp8_{s}" for s in STATE]
    return h.make_node("Float8Linear" + variant, inputs, [y, name + ".fp8_amax_input"], name="/" + name, domain="ai.fp8rewrite")


def state(name):
    codes = rng.integers(0, 0x60, (K, K), np.uint8) | (rng.integers(0, 2, (K, K), np.uint8) << 7)
    one, zeros = np.float32(1), np.zeros(16, np.float32)
    values = {"scale_input": one, "scale_weight": np.float32(64), "amax_history_input": zeros, "amax_history_weight": zeros,
              "scale_grad_output": one, "amax_history_grad_output": zeros, "initialized": np.bool_(False)}
    tensors = [h.make_tensor(name + ".weight", T.FLOAT8E4M3FN, (K, K), codes.tobytes(), raw=True)]
    for s in STATE:
        v = np.asarray(values[s])
        tensors.append(onnx.numpy_helper.from_array(v, f"{name}.fp8_{s}"))
    return tensors


def value(text):
    """"x:f2" is a float32 matrix called x; f0 a scalar, b a bool, i an int64, h2 a float16 matrix."""
    name, kind = text.split(":")
    dtype = {"f": T.FLOAT, "h": T.FLOAT16, "b": T.BOOL, "i": T.INT64}[kind[0]]
    return h.make_tensor_value_info(name, dtype, [None] * int(kind[1:] or 0))


def values(text):
    return [value(t) for t in text.split()]


def graph(name, inputs, outputs, *nodes, constants=()):
    return h.make_graph(list(nodes), name, values(inputs), values(outputs), list(constants))


def add(name, layers, inputs, outputs, *nodes, runs, constants=()):
    tensors = [t for n in layers for t in state(n)]
    tensors += [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in constants]
    m = h.make_model(graph("main", inputs, outputs, *nodes, constants=tensors), ir_version=10,
                     opset_imports=[h.make_opsetid("", 19), h.make_opsetid("ai.fp8rewrite", 1)])
    models.append(Model(name, m, runs))


def rows(n, *more):
    x = (rng.standard_normal((n, *more, K)) * 3).astype(np.float32)
    return x


def amax(*xs):
    """max|x| over all arrays, NaN where one holds a NaN."""
    return np.max([np.abs(x).max() for x in xs]).astype(np.float32)


def with_nan(x, *at):
    x = x.copy()
    x[at] = np.nan
    return x


def no(**feeds):
    return {k: np.asarray(v) for k, v in feeds.items()}


def top():
    x = rows(4)
    add("main graph", ["a", "b"], "x:f2", "y:f2 z:f2", layer("a", "x", "y"), h.make_node("Neg", ["x"], ["n"]), layer("b", "n", "z", "Dynamic"),
        runs=[Run(no(x=x), {"a": amax(x), "b": amax(x)}),
              Run(no(x=with_nan(x, 1, 2)), {"a": np.float32(np.nan), "b": np.float32(np.nan)}),
              Run(no(x=x[:0]), {"a": np.float32(0), "b": np.float32(0)})])


def branches():
    two = ("two", np.float32(2))
    yes = graph("yes", "", "p:f2", h.make_node("Mul", ["x", "two"], ["d"]), layer("a", "d", "p"))
    other = graph("no", "", "q:f2", layer("b", "x", "r", "WeightOnly"), layer("c", "x", "s"), h.make_node("Add", ["r", "s"], ["q"]))
    x, z = rows(3), rows(2)
    add("if", ["a", "b", "c"], "c:b x:f2", "y:f2", h.make_node("If", ["c"], ["y"], then_branch=yes, else_branch=other), constants=[two],
        runs=[Run(no(c=True, x=x), {"a": amax(2 * x), "b": UNOBSERVED, "c": UNOBSERVED}),
              Run(no(c=False, x=z), {"a": UNOBSERVED, "b": amax(z), "c": amax(z)}),
              Run(no(c=True, x=with_nan(x, 0, 0)), {"a": np.float32(np.nan), "b": UNOBSERVED, "c": UNOBSERVED})])


def loops():
    body = graph("body", "i:i0 c0:b0 s:f2", "c1:b0 s2:f2 stacked:f2", h.make_node("Identity", ["c0"], ["c1"]),
                 h.make_node("Gather", ["xs", "i"], ["x"], axis=0), layer("a", "x", "t"), layer("b", "s", "u"),
                 h.make_node("Mul", ["s", "half"], ["s2"]), h.make_node("Add", ["t", "u"], ["stacked"]))
    xs, s = rows(4, 3), rows(3)
    big = xs.copy()
    big[3] *= 100
    add("loop", ["a", "b"], "n:i0 xs:f3 s:f2", "y:f2 z:f3", h.make_node("Loop", ["n", "", "s"], ["y", "z"], body=body), constants=[("half", np.float32(-1.5))],
        runs=[Run(no(n=np.int64(n), xs=x, s=s), {
            "a": UNOBSERVED if n == 0 else amax(*x[:n]), "b": UNOBSERVED if n == 0 else amax(*[s * np.float32(-1.5) ** k for k in range(n)])})
            for n, x in [(0, xs), (1, xs), (4, xs), (4, big), (3, big), (4, with_nan(xs, 0, 1, 1)), (4, with_nan(xs, 2, 0, 0)),
                         (3, with_nan(xs, 3, 0, 0)), (4, with_nan(big, 1, 1, 1))]])


def scans():
    body = graph("body", "s:f1 e:f2", "s2:f1 o:f2", layer("a", "e", "o"), h.make_node("ReduceMax", ["e", "zero"], ["m"], keepdims=0),
                 h.make_node("Add", ["s", "m"], ["s2"]), h.make_node("Unsqueeze", ["s", "zero"], ["s1"]), layer("b", "s1", "unused", "Dynamic"))
    for reverse in (0, 1):
        xs, s = rows(4, 3), rows(1)[0]
        runs = []
        for x in (xs, with_nan(xs, 2, 0, 1), xs[:1]):
            states, at = [], s
            for e in (x[::-1] if reverse else x):
                states.append(at)
                with np.errstate(invalid="ignore"):
                    at = (at + e.max(axis=0)).astype(np.float32)
            # ONNX Runtime's ReduceMax drops a NaN, so the states are exact only without one.
            expected = {"a": amax(*x)}
            if not np.isnan(x).any():
                expected["b"] = amax(*states)
            runs.append(Run(no(xs=np.moveaxis(x, 0, 1), s=s), expected))
        add(f"scan reverse={reverse}", ["a", "b"], "s:f1 xs:f3", "y:f1 z:f3",
            h.make_node("Scan", ["s", "xs"], ["y", "z"], num_scan_inputs=1, scan_input_axes=[1], scan_input_directions=[reverse],
                        scan_output_axes=[1], body=body), constants=[("zero", np.array([0]))], runs=runs)


def nested():
    # Loop over i { if i is odd then a(x) else { loop j < 2 { b(x + j) } }; c(x) }
    inner = graph("inner", "j:i0 jc:b0 js:f2", "jc2:b0 js2:f2", h.make_node("Identity", ["jc"], ["jc2"]),
                  h.make_node("Cast", ["j"], ["jf"], to=T.FLOAT), h.make_node("Add", ["x", "jf"], ["xj"]), layer("b", "xj", "js2"))
    odd = graph("odd", "", "p:f2", layer("a", "x", "p"))
    even = graph("even", "", "q:f2", h.make_node("Loop", ["two", "", "x"], ["q"], body=inner))
    body = graph("body", "i:i0 c0:b0 s:f2", "c1:b0 s2:f2", h.make_node("Identity", ["c0"], ["c1"]),
                 h.make_node("Gather", ["xs", "i"], ["x"], axis=0), h.make_node("Mod", ["i", "two"], ["m"]), h.make_node("Cast", ["m"], ["is"], to=T.BOOL),
                 h.make_node("If", ["is"], ["t"], then_branch=odd, else_branch=even), layer("c", "x", "u"), h.make_node("Add", ["t", "u"], ["s2"]))
    xs, s = rows(5, 2), rows(2)
    runs = []
    for n, x in [(0, xs), (1, xs), (2, xs), (5, xs), (5, with_nan(xs, 1, 0, 0)), (5, with_nan(xs, 2, 0, 0))]:
        odds, evens = x[1:n:2], x[0:n:2]
        runs.append(Run(no(n=np.int64(n), xs=x, s=s), {
            "a": amax(*odds) if len(odds) else UNOBSERVED,
            "b": amax(*evens, *(evens + np.float32(1))) if len(evens) else UNOBSERVED,
            "c": amax(*x[:n]) if n else UNOBSERVED}))
    add("loop of if of loop", ["a", "b", "c"], "n:i0 xs:f3 s:f2", "y:f2", h.make_node("Loop", ["n", "", "s"], ["y"], body=body),
        constants=[("two", np.int64(2))], runs=runs)

    scan = graph("scan", "t:f0 e:f2", "t2:f0 o:f2", layer("a", "e", "o"), h.make_node("Identity", ["t"], ["t2"]))
    yes = graph("yes", "", "p:f3", h.make_node("Scan", ["t0", "xs"], ["last", "p"], num_scan_inputs=1, body=scan))
    other = graph("no", "", "q:f3", h.make_node("Neg", ["xs"], ["q"]))
    xs = rows(3, 2)
    add("scan in if", ["a"], "c:b xs:f3", "y:f3", h.make_node("If", ["c"], ["y"], then_branch=yes, else_branch=other), constants=[("t0", np.float32(0))],
        runs=[Run(no(c=True, xs=xs), {"a": amax(xs)}), Run(no(c=False, xs=xs), {"a": UNOBSERVED})])


def half():
    body = graph("body", "i:i0 c0:b0", "c1:b0 o:h2", h.make_node("Identity", ["c0"], ["c1"]), h.make_node("Gather", ["xs", "i"], ["x"], axis=0),
                 layer("a", "x", "o"))
    xs = rows(3, 2).astype(np.float16)
    add("float16 in a loop without carried values", ["a"], "n:i0 xs:h3", "y:h3", h.make_node("Loop", ["n", ""], ["y"], body=body),
        runs=[Run(no(n=np.int64(n), xs=xs), {"a": amax(xs[:n].astype(np.float32)) if n else UNOBSERVED}) for n in (0, 2, 3)])


def session(path, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def equal(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)


def check(m, before, after, found, verbose):
    problems, amaxes = [], 0
    onnx.checker.check_model(onnx.load(after), full_check=True)
    outputs = {f["Layer"]: f["Output"] for f in found}
    plain = session(before, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    for level in (onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL):
        s = session(after, level)
        for k, run in enumerate(m.runs):
            got = dict(zip([o.name for o in s.get_outputs()], s.run(None, run.feeds)))
            for name, want in zip([o.name for o in plain.get_outputs()], plain.run(None, run.feeds)):
                exact = level == onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
                if not (equal(got[name], want) if exact else np.allclose(got[name], want, rtol=1e-3, equal_nan=True)):
                    problems.append(f"run {k}: output {name!r} changed")
            for name, want in run.amax.items():
                amaxes += 1
                have = got[outputs[name]]
                if not equal(have, np.asarray(want, np.float32)):
                    problems.append(f"run {k}: amax of {name!r} is {have!r}, want {want!r}")
                elif verbose:
                    print(f"  run {k}: amax of {name!r} is {have}")
    return problems, amaxes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only models whose name contains this")
    parser.add_argument("-v", action="store_true", help="print every amax")
    args = parser.parse_args()
    for make in (top, branches, loops, scans, nested, half):
        make()
    chosen = [m for m in models if args.only in m.name]
    failed = total = 0
    with tempfile.TemporaryDirectory() as tmp:
        tool = pathlib.Path(tmp) / ("exposeamax.exe" if sys.platform == "win32" else "exposeamax")
        subprocess.run(["go", "build", "-o", tool, "./interop/exposeamax"], cwd=ROOT, check=True)
        for i, m in enumerate(chosen):
            raw, before, after = (pathlib.Path(tmp) / f"{i}.{s}.onnx" for s in ("raw", "before", "after"))
            onnx.save(m.model, raw)
            done = subprocess.run([tool, raw, after], stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout)
            if isinstance(found, dict):
                sys.exit(f"{m.name}: {found['error']}")
            # The model before: the same functions, without the outputs.
            m.model.functions.extend(onnx.load(after).functions)
            onnx.save(m.model, before)
            problems, amaxes = check(m, before, after, found, args.v)
            total += amaxes
            failed += bool(problems)
            print(f"{'FAIL' if problems else 'ok':5}{m.name}: {len(m.runs)} runs, {len(found)} layers, {amaxes} amaxes")
            for p in problems:
                print("     " + p)
    print(f"ONNX Runtime {onnxruntime.__version__}: {len(chosen) - failed} of {len(chosen)} models, {total} amaxes compared")
    sys.exit(1 if failed or not chosen else 0)


if __name__ == "__main__":
    main()
