"""Lowers calibrated models with `convert --emit qdq` and holds the result against the Float8Linear form.

    PYTHON interop/qdq.py BINARY

A model is converted, calibrated (those of testdata by `fp8rewrite calibrate`; minimal ones get the amaxes that ONNX Runtime observes), and
the lowered form is run by ONNX Runtime with optimizations off (its optimizer fuses float8 into operators that have no float8 kernel) and by onnx's ReferenceEvaluator. Both must
agree with the Float8Linear form: each layer of the main graph for the input that it gets, within 1e-3 of its peak, or 4e-3 in llama, where
one value of the 60,000 that a layer casts may divide to the other side of a tie; and the model as a
whole within 1e-3, or four times what the Float8Linear form itself moves when the runtime sums in another order, in llama within 5e-2 (a value
between two codes falls to the other side, and thirty layers carry that on). With --power-of-two both forms round alike, and all of it holds
within 1e-3. Checked besides: onnx.checker with full_check, the scales, the shape of what is left, and the errors for models
that cannot be lowered. Prints a table, exits 1 if anything differs.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import formula

MODELS = pathlib.Path(__file__).resolve().parent.parent / "testdata" / "models"
DOMAIN = "ai.fp8rewrite"
E4M3 = T.FLOAT8E4M3FN


class Subject:
    def __init__(self, name, source, feeds, layers, rows=4, limit=1e-3, data=None):
        """data is the file that fp8rewrite calibrates with."""
        self.name, self.source, self.feeds, self.layers, self.limit = name, source, {k: v[:rows] if rows else v for k, v in feeds.items()}, layers, limit
        self.data = data


def digits(file):
    return {"image": np.load(MODELS / "digits" / "data.npz")["eval_image"]}


def minimal(kind, opset, ir, gemm):
    """Two layers that share a weight, one of them a Gemm, in a model of the given type."""
    dtype = {T.FLOAT: np.float32, T.FLOAT16: np.float16}[kind]
    rng = np.random.default_rng(5)
    w, b = rng.standard_normal((32, 16)).astype(dtype), rng.standard_normal(16).astype(dtype)
    nodes = [h.make_node("MatMul", ["x", "w"], ["y"], name="first"), h.make_node("Relu", ["x"], ["r"]),
             h.make_node("Gemm", ["r", "w", "b"], ["z"], name="second", alpha=0.5) if gemm else h.make_node("MatMul", ["r", "w"], ["z"], name="second")]
    graph = h.make_graph(nodes, "g", [h.make_tensor_value_info("x", kind, ["n", 32])], [h.make_tensor_value_info(o, kind, ["n", 16]) for o in "yz"],
                         [numpy_helper.from_array(w, "w")] + ([numpy_helper.from_array(b, "b")] if gemm else []))
    return h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=ir), {"x": rng.standard_normal((7, 32)).astype(dtype)}


def bfloat16(opset, ir):
    """One layer between casts: neither numpy nor ONNX Runtime's MatMul knows the type."""
    w = np.random.default_rng(5).standard_normal((32, 16)).astype(np.float32)
    bits = (w.view(np.uint32) >> 16).astype(np.uint16)
    nodes = [h.make_node("Cast", ["x"], ["xb"], to=T.BFLOAT16), h.make_node("MatMul", ["xb", "w"], ["yb"], name="first"), h.make_node("Cast", ["yb"], ["y"], to=T.FLOAT)]
    graph = h.make_graph(nodes, "g", [h.make_tensor_value_info("x", T.FLOAT, ["n", 32])], [h.make_tensor_value_info("y", T.FLOAT, ["n", 16])],
                         [h.make_tensor("w", T.BFLOAT16, w.shape, bits.tobytes(), raw=True)])
    x = np.random.default_rng(6).standard_normal((7, 32)).astype(np.float32)
    return h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=ir), {"x": x}


def branches(opset, ir):
    """Layers inside If, with weights of their own and one from outside that both branches and the main graph share."""
    rng = np.random.default_rng(5)
    inner, outer = (rng.standard_normal((32, 16)).astype(np.float32) for _ in range(2))
    def branch(name, out):
        nodes = [h.make_node("MatMul", ["x", "outer"], [out + "a"], name=out + "outer"), h.make_node("Gemm", ["x", name], [out + "b"], name=out + "inner"),
                 h.make_node("Add", [out + "a", out + "b"], [out])]
        return h.make_graph(nodes, name, [], [h.make_tensor_value_info(out, T.FLOAT, ["n", 16])], [numpy_helper.from_array(inner, name)])
    nodes = [h.make_node("If", [c], [y], name=y, then_branch=branch(y + "_then", y + "_t"), else_branch=branch(y + "_else", y + "_e")) for c, y in (("yes", "y"), ("no", "z"))]
    nodes.append(h.make_node("MatMul", ["x", "outer"], ["u"], name="u"))
    graph = h.make_graph(nodes, "g", [h.make_tensor_value_info("x", T.FLOAT, ["n", 32]), h.make_tensor_value_info("yes", T.BOOL, []), h.make_tensor_value_info("no", T.BOOL, [])],
                         [h.make_tensor_value_info(o, T.FLOAT, ["n", 16]) for o in "yzu"], [numpy_helper.from_array(outer, "outer")])
    feeds = {"x": rng.standard_normal((7, 32)).astype(np.float32), "yes": np.array(True), "no": np.array(False)}
    return h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=ir), feeds


def graphs(graph):
    """graph and every graph inside it."""
    yield graph
    for n in graph.node:
        for a in n.attribute:
            if a.HasField("g"):
                yield from graphs(a.g)


def every(model, field):
    return [item for g in graphs(model.graph) for item in getattr(g, field)]


def session(model, optimized=True):
    o = onnxruntime.SessionOptions()
    o.log_severity_level = 3
    if not optimized:
        o.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), o, providers=["CPUExecutionProvider"])


def run(s, feeds):
    return dict(zip([o.name for o in s.get_outputs()], s.run(None, feeds)))


def fp8rewrite(binary, *args):
    return subprocess.run([binary, *map(str, args)], capture_output=True, text=True)


def calibrate(path, feeds):
    """Sets the input scale of every layer from the amaxes of a run, twice: the first run saturates where a value is above 448. Inside a
    branch, where no output can be read, an amax of 4 is assumed."""
    model = onnx.load(path)
    outside = {n.output[1] for n in model.graph.node if n.domain == DOMAIN}
    nodes = [n for n in every(model, "node") if n.domain == DOMAIN]
    tensors = {t.name: t for t in every(model, "initializer")}
    inputs = {f.name: list(f.input) for f in model.functions}
    for _ in range(2):
        probe = onnx.ModelProto()
        probe.CopyFrom(model)
        probe.graph.output.extend(h.make_tensor_value_info(n.output[1], T.FLOAT, []) for n in nodes if n.output[1] in outside)
        seen = run(session(probe.SerializeToString()), feeds)
        for n in nodes:
            given = dict(zip(inputs[n.op_type], n.input))
            amax = np.float32(seen.get(n.output[1], 4))
            history = numpy_helper.to_array(tensors[given["amax_history_input"]]).copy()
            history[0] = amax
            for name, value in (("scale_input", np.float32(448) / amax), ("amax_history_input", history), ("initialized", np.array(True))):
                t = tensors[given[name]]
                t.CopyFrom(numpy_helper.from_array(np.asarray(value, value.dtype), t.name))
    onnx.save(model, path)
    return model


def scales_of(model):
    """The multipliers of every layer, by its name: input and weight."""
    tensors = {t.name: t for t in every(model, "initializer")}
    inputs = {f.name: list(f.input) for f in model.functions}
    out = {}
    for n in every(model, "node"):
        if n.domain == DOMAIN:
            given = dict(zip(inputs[n.op_type], n.input))
            out[n.output[0]] = tuple(numpy_helper.to_array(tensors[given[k]]) for k in ("scale_input", "scale_weight"))
    return out


def back(producers, name, op):
    """The node of type op that name comes from, seen through casts."""
    while name in producers and producers[name].op_type == "Cast":
        name = producers[name].input[0]
    n = producers.get(name)
    return n if n is not None and n.op_type == op else None


def structure(lowered, calibrated, count, weight_only=False):
    """What is wrong with the form of a lowered model; "" if nothing is."""
    if [f.name for f in lowered.functions if f.domain == DOMAIN] or any(n.domain == DOMAIN for n in every(lowered, "node")) or any(
            o.domain == DOMAIN for o in lowered.opset_import):
        return "something of Float8Linear is left"
    if next(o.version for o in lowered.opset_import if o.domain == "") < 19:
        return "the opset is below 19"
    tensors, nodes = {t.name: t for t in every(lowered, "initializer")}, every(lowered, "node")
    producers = {o: n for n in nodes for o in n.output}
    used = {i for n in nodes for i in n.input}
    left = [t for t in tensors if t not in used]
    if left:
        return f"nothing reads {left[:3]}"
    want, found = scales_of(calibrated), 0
    for n in nodes:
        if n.op_type not in ("MatMul", "Gemm"):
            continue
        w = back(producers, n.input[1], "DequantizeLinear")
        if w is None or w.input[0] not in tensors or tensors[w.input[0]].data_type != E4M3:
            continue
        found += 1
        y = next((c.output[0] for c in nodes if c.op_type == "Cast" and c.input[0] == n.output[0]), n.output[0])
        multipliers = want.get(y) or want.get(n.output[0])
        if multipliers is None:
            return f"node {n.name!r} has another output than its layer"
        sides = [(w, multipliers[1])]
        if not weight_only:
            x = back(producers, n.input[0], "DequantizeLinear")
            q = x and producers.get(x.input[0])
            if not q or q.op_type != "QuantizeLinear" or q.input[1] != x.input[1]:
                return f"node {n.name!r}: no QuantizeLinear and DequantizeLinear with one scale before its input"
            sides.append((x, multipliers[0]))
        for d, multiplier in sides:
            scale = numpy_helper.to_array(tensors[d.input[1]])
            zero = tensors[d.input[2]]
            if not (scale > 0).all() or not np.isfinite(scale).all():
                return f"node {d.name!r}: scales {scale.min()} to {scale.max()}"
            if scale.shape != multiplier.shape or not np.array_equal(scale, (np.float32(1) / multiplier).astype(scale.dtype)):
                return f"node {d.name!r}: the scale is not the reciprocal of the multiplier"
            if zero.data_type != E4M3 or list(zero.dims) != list(scale.shape) or any(zero.raw_data):
                return f"node {d.name!r}: the zero point is not a float8 zero"
            if scale.ndim:
                axis = next(a.i for a in d.attribute if a.name == "axis")
                if tensors[d.input[0]].dims[axis] != scale.shape[0]:
                    return f"node {d.name!r}: axis {axis} does not fit"
    return "" if found == count else f"{found} lowered layers, want {count}"


def apart(want, got):
    """The greatest difference over the peak of what is wanted."""
    return max(float(np.abs(want[k].astype(np.float64) - got[k].astype(np.float64)).max() / np.abs(want[k].astype(np.float64)).max()) for k in want)


def layer_by_layer(lowered, calibrated, feeds):
    """The greatest difference over the peak between what a lowered layer makes of its input and the formula of Float8Linear."""
    probe, wanted = onnx.ModelProto(), []
    probe.CopyFrom(lowered)
    functions = {f.name: list(f.input) for f in calibrated.functions}
    tensors = {t.name: t for t in every(calibrated, "initializer")}
    nodes = [n for n in calibrated.graph.node if n.domain == DOMAIN]
    if any(n.op_type == "Cast" and a.i == T.BFLOAT16 for n in calibrated.graph.node for a in n.attribute):
        return 0.0  # the runtime hands out no bfloat16 to numpy
    have = {v.name for v in (*lowered.graph.output, *lowered.graph.input)}
    for n in nodes:
        for name in (n.input[0], n.output[0]):
            if name not in have:
                have.add(name), probe.graph.output.append(onnx.ValueInfoProto(name=name))
    values = {**feeds, **run(session(probe.SerializeToString(), optimized=False), feeds)}
    worst = 0.0
    for n in nodes:
        given = dict(zip(functions[n.op_type], n.input))
        x, y, t = values[n.input[0]], values[n.output[0]], tensors[given["weight"]]
        codes = formula.e4m3_values()[np.frombuffer(t.raw_data, np.uint8).reshape(t.dims)]
        scale_x, scale_w = (numpy_helper.to_array(tensors[given[k]]) for k in ("scale_input", "scale_weight"))
        want = formula.float8_linear(x, codes, None if "WeightOnly" in n.op_type else scale_x, scale_w, True)
        worst = max(worst, apart({"": want}, {"": y}))
    return worst


def judge(binary, subject, flags, folder):
    """The differences layer by layer, in ONNX Runtime and in the reference, and what is wrong."""
    made, lowered = folder / "float8.onnx", folder / "qdq.onnx"
    weight_only = "i:off" in flags
    p = fp8rewrite(binary, "convert", subject.source, "-o", made, "--quiet", *flags)
    if p.returncode:
        return None, f"convert: {p.stderr.strip()}"
    if weight_only:
        calibrated = onnx.load(made)
    elif subject.data:
        before, made = made, folder / "calibrated.onnx"
        p = fp8rewrite(binary, "calibrate", before, "--data", subject.data, "--prefix", "calib_", "-o", made, "--quiet")
        if p.returncode:
            return None, f"calibrate: {p.stderr.strip()}"
        calibrated = onnx.load(made)
    else:
        calibrated = calibrate(made, subject.feeds)
    p = fp8rewrite(binary, "convert", made, "-o", lowered, "--emit", "qdq", "--quiet")
    if p.returncode:
        return None, f"lowering: exit {p.returncode}: {p.stderr.strip().splitlines()[0]}"
    model = onnx.load(lowered)
    try:
        onnx.checker.check_model(str(lowered), full_check=True)
    except Exception as err:  # its errors share no base class
        return None, f"checker: {str(err).strip().splitlines()[0]}"
    problem = structure(model, calibrated, subject.layers, weight_only)
    if problem:
        return None, problem
    want = run(session(made), subject.feeds)
    layers = layer_by_layer(model, calibrated, subject.feeds)
    ort = apart(want, run(session(lowered, optimized=False), subject.feeds))
    ev = ReferenceEvaluator(model)
    reference = apart(want, dict(zip(ev.output_names, ev.run(None, subject.feeds))))
    if weight_only:
        once = folder / "once.onnx"
        p = fp8rewrite(binary, "convert", subject.source, "-o", once, "--emit", "qdq", "--quiet", *flags)
        if p.returncode:
            return None, f"lowering at once: exit {p.returncode}: {p.stderr.strip().splitlines()[0]}"
        problem = structure(onnx.load(once), calibrated, subject.layers, weight_only)
        apart_once = apart(want, run(session(once, optimized=False), subject.feeds))
        if problem or apart_once > subject.limit:
            return None, f"lowering at once: {problem or f'differs by {apart_once:.1e}'}"
    # The Float8Linear form by the same engine: then the order of the sums is the same, and what is left is the form.
    plain = run(session(made, optimized=False), subject.feeds)
    limit = max(subject.limit, 4 * apart(want, plain))
    if "--power-of-two" in flags:
        ev = ReferenceEvaluator(str(made))
        same = dict(zip(ev.output_names, ev.run(None, subject.feeds)))
        limit, ort = subject.limit, apart(plain, run(session(lowered, optimized=False), subject.feeds))
        reference = apart(same, dict(zip(ev.output_names, ReferenceEvaluator(model).run(None, subject.feeds))))
    each = subject.limit
    if subject.name == "llama" and "--power-of-two" not in flags and not weight_only:
        each, limit = 4e-3, 5e-2
    problem = f"limits are {each:.0e} and {limit:.0e}" if layers > each or max(ort, reference) > limit else ""
    return (layers, ort, reference), problem


def errors(binary, folder):
    """The models that cannot be lowered, and what is said of them."""
    source, out = MODELS / "digits" / "digits_mlp.onnx", folder / "out.onnx"
    for name, flags, words in (
        ("not calibrated", (), "fp8rewrite calibrate"),
        ("dynamic", ("--recipe", "dynamic"), "fp8rewrite calibrate"),
        ("original weights", ("--weights", "original"), "original"),
    ):
        made = folder / f"{name}.onnx"
        p = fp8rewrite(binary, "convert", source, "-o", made, "--quiet", *flags)
        problem = p.stderr.strip() if p.returncode else ""
        if not problem:
            p = fp8rewrite(binary, "convert", made, "-o", out, "--emit", "qdq")
            if p.returncode != 1 or words not in p.stderr or out.exists() or p.stdout:
                problem = f"exit {p.returncode}, {p.stderr.strip()!r}, want 1, {words!r} and no output"
        yield name, problem


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("binary", help="fp8rewrite to test")
    args = p.parse_args()
    print(f"ONNX Runtime {onnxruntime.__version__}, onnx {onnx.__version__}, numpy {np.__version__}")
    failures, rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        ids = {"input_ids": np.load(MODELS / "llama" / "data.npz")["eval_input_ids"]}
        subjects = [
            Subject("llama", MODELS / "llama" / "model.onnx", ids, 29, rows=2, data=MODELS / "llama" / "data.npz"),
            Subject("digits mlp", MODELS / "digits" / "digits_mlp.onnx", digits("digits_mlp.onnx"), 3, rows=64, data=MODELS / "digits" / "data.npz"),
            Subject("digits cnn", MODELS / "digits" / "digits_cnn.onnx", digits("digits_cnn.onnx"), 2, rows=64, data=MODELS / "digits" / "data.npz"),
        ]
        for kind, opset, ir, gemm in ((T.FLOAT, 17, 8, True), (T.FLOAT, 19, 9, False), (T.FLOAT, 21, 10, True), (T.FLOAT16, 19, 9, False), (T.FLOAT16, 21, 10, True)):
            name = f"{T.DataType.Name(kind).lower()} opset {opset}"
            model, feeds = minimal(kind, opset, ir, gemm)
            path = folder / f"{name}.onnx"
            onnx.save(model, path)
            subjects.append(Subject(name, path, feeds, 2, rows=7, limit=1e-3 if kind == T.FLOAT else 2e-3))
        for name, (model, feeds), layers in (("bfloat16 opset 17", bfloat16(17, 8), 1), ("branches opset 19", branches(19, 9), 9)):
            path = folder / f"{name}.onnx"
            onnx.save(model, path)
            subjects.append(Subject(name, path, feeds, layers, rows=None, limit=2e-2 if "bf" in name else 1e-3))  # onnx 1.17 truncates to bfloat16
        for i, subject in enumerate(subjects):
            for flags in ((), ("--per-channel",), ("--recipe", "i:off"), *([("--power-of-two",)] if subject.data else [])):
                where = folder / f"{i}{len(rows)}"
                where.mkdir()
                try:
                    found, problem = judge(args.binary, subject, flags, where)
                except Exception as err:
                    found, problem = None, f"{type(err).__name__}: {str(err).strip().splitlines()[0][:300]}"
                rows.append((subject.name, " ".join(flags) or "delayed", *(f"{v:.1e}" for v in found or ()), *("-" for _ in range(0 if found else 3)), "FAIL" if problem else "ok"))
                if problem:
                    failures.append(f"{subject.name}, {' '.join(flags)}: {problem}")
        for name, problem in errors(args.binary, folder):
            rows.append((name, "error", "", "", "", "FAIL" if problem else "ok"))
            if problem:
                failures.append(f"{name}: {problem}")
    head = ("model", "conversion", "layers", "ORT", "reference", "result")
    widths = [max(len(r[i]) for r in (*rows, head)) for i in range(len(head))]
    for r in (head, *rows):
        print("  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip())
    for f in failures:
        print("FAIL", f)
    print(f"{sum(r[-1] == 'ok' for r in rows)} of {len(rows)} rows hold")
    sys.exit(1 if failures else 0)


main()
