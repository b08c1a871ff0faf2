"""Answers questions about ONNX files with the onnx and onnxruntime of the Python that runs it.

One JSON object per line on standard input, {"do": NAME, ...}, one per line back. The driver starts one worker per virtual
environment, so that a runtime that crashes takes down one question and not the run. What the runtime prints on file descriptor 2
while it loads or runs a model comes back as "log".
"""

import json
import os
import re
import sys
import tempfile
import traceback

import numpy as np
import onnx
import onnxruntime as ort

import formula

DOMAIN, OP = "ai.fp8rewrite", "Float8Linear"
STATE_SUFFIX = ".fp8_amax_history_input"
# What the README of the corpus counts as a constant operand: an initializer or Constant, also through these. QuantizeLinear it does not name, and counts.
THROUGH = {"Transpose", "Identity", "Cast", "DequantizeLinear", "QuantizeLinear", "Reshape"}
FLOATS = {"tensor(float)", "tensor(float16)", "tensor(double)"}


class Captured:
    """Collects what is written to file descriptor 2, by whichever library."""

    def __enter__(self):
        sys.stderr.flush()
        self.file = tempfile.TemporaryFile()
        self.saved = os.dup(2)
        os.dup2(self.file.fileno(), 2)
        return self

    def __exit__(self, *_):
        sys.stderr.flush()
        os.dup2(self.saved, 2)
        os.close(self.saved)
        self.file.seek(0)
        self.text = self.file.read().decode(errors="replace").strip()
        self.file.close()


def open_session(model):
    """A session with every option at its default: optimization level, log level, no custom operators. model is a path or bytes."""
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"])


def one_line(err):
    return re.sub(r"\s+", " ", str(err))[:400]


# ---- the questions ----


def do_versions():
    return {"onnx": onnx.__version__, "onnxruntime": ort.__version__, "numpy": np.__version__, "python": sys.version.split()[0]}


def do_check(path):
    """onnx's checker by path, with shape inference."""
    with Captured() as c:
        onnx.checker.check_model(path, full_check=True)
    return {"log": c.text}


def do_load(path):
    with Captured() as c:
        open_session(path)
    return {"log": c.text}


def do_float8(path):
    """The Float8Linear nodes of a converted model: layer names in graph order, and what a runtime would need a plug-in for."""
    model = onnx.load(path, load_external_data=False)
    functions = {(f.domain, f.name, getattr(f, "overload", "")): f for f in model.functions}
    names, missing = [], []
    for graph_path, node in every_node(model, with_functions=False):
        if node.domain == DOMAIN:
            function = functions.get((node.domain, node.op_type, getattr(node, "overload", "")))
            if function is None:
                missing.append(node.name)
                continue
            given = dict(zip(function.input, node.input))
            state = given.get("amax_history_input", "")
            names.append(state[: -len(STATE_SUFFIX)] if state.endswith(STATE_SUFFIX) else node.name)
    return {"layers": names, "without_function": missing, "opset": [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]}


def do_count(path):
    """Every MatMul and Gemm, in subgraphs and functions too, and whether one operand is a constant. Written apart from the Go code."""
    model = onnx.load(path, load_external_data=False)
    rows = []
    count_graph(model.graph, "", [], rows)
    for f in model.functions:
        count_nodes(f.node, set(), set(f.input), f"function {f.domain}::{f.name}", [], rows)
    return {"rows": rows, "functions": len(model.functions), "function_rows": sum(r["graph"].startswith("function ") for r in rows)}


def count_graph(graph, where, outer, rows):
    constants = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    count_nodes(graph.node, constants, {i.name for i in graph.input}, where, outer, rows)


def count_nodes(nodes, constants, inputs, where, outer, rows):
    producers = {o: n for n in nodes for o in n.output if o}
    scopes = outer + [(constants, producers, inputs)]

    def is_constant(name, depth=0):
        for constants_, producers_, inputs_ in reversed(scopes):
            if name in constants_:
                return True
            if name in producers_:
                n = producers_[name]
                if n.op_type == "Constant" and n.domain in ("", "ai.onnx"):
                    return True
                return n.op_type in THROUGH and bool(n.input) and depth < 64 and is_constant(n.input[0], depth + 1)
            if name in inputs_:
                return False
        return False

    for n in nodes:
        if n.op_type in ("MatMul", "Gemm") and n.domain in ("", "ai.onnx"):
            rows.append({"graph": where, "op": n.op_type, "node": n.name, "constant": any(is_constant(i) for i in n.input[:2])})
        for a in n.attribute:
            for g in [a.g] if a.HasField("g") else a.graphs:
                count_graph(g, f"{where}/{n.name or n.op_type}.{a.name}", scopes, rows)


def every_node(model, with_functions=True):
    def walk(nodes, where):
        for n in nodes:
            yield where, n
            for a in n.attribute:
                for g in [a.g] if a.HasField("g") else a.graphs:
                    yield from walk(g.node, f"{where}/{n.name or n.op_type}.{a.name}")

    yield from walk(model.graph.node, "")
    if with_functions:
        for f in model.functions:
            yield from walk(f.node, f"function {f.domain}::{f.name}")


def do_language(path, data):
    """Mean cross-entropy of a language model over every position of the evaluation rows."""
    d = np.load(data)
    total, count = 0.0, 0
    with Captured() as c:
        session = open_session(path)
        name = session.get_inputs()[0].name
        for i in range(0, len(d["eval_input_ids"]), 8):
            ids, labels = d["eval_input_ids"][i : i + 8], d["eval_labels"][i : i + 8]
            logits = session.run(None, {name: ids})[0].astype(np.float64)
            shifted = logits - logits.max(-1, keepdims=True)
            log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
            total -= np.take_along_axis(log_p, labels[..., None], -1).sum()
            count += labels.size
    return {"value": total / count, "log": c.text}


def do_classify(path, data):
    """How many evaluation images get their label."""
    d = np.load(data)
    with Captured() as c:
        session = open_session(path)
        logits = session.run(None, {session.get_inputs()[0].name: d["eval_image"]})[0]
    right = int((logits.argmax(-1) == d["eval_label"]).sum())
    return {"value": right, "of": len(d["eval_label"]), "log": c.text}


def sqnr_db(reference, got):
    """10 log10(sum(ref^2) / sum((ref - got)^2)) where the reference is finite; None for an exact result, or a reference of zeros."""
    reference, got = reference.astype(np.float64).ravel(), got.astype(np.float64).ravel()
    finite = np.isfinite(reference)
    if not np.array_equal(finite, np.isfinite(got)):
        return {"db": None, "state": "finite elements differ"}
    signal, noise = np.square(reference[finite]).sum(), np.square(reference[finite] - got[finite]).sum()
    if noise == 0:
        return {"db": None, "state": "exact"}
    if signal == 0:
        return {"db": None, "state": "reference is zero"}
    return {"db": float(10 * np.log10(signal / noise)), "state": "measured"}


def do_compare(path, reference):
    """Runs a model on stored inputs and compares each float output with the stored one."""
    ref = np.load(reference, allow_pickle=False)
    feeds = {k[3:]: ref[k] for k in ref if k.startswith("in:")}
    outputs = []
    with Captured() as c:
        session = open_session(path)
        known = {i.name for i in session.get_inputs()}
        dropped = sorted(set(feeds) - known)
        wanted = [o for o in session.get_outputs() if "out:" + o.name in ref]
        got = session.run([o.name for o in wanted], {k: v for k, v in feeds.items() if k in known})
    for o, value in zip(wanted, got):
        expected = ref["out:" + o.name]
        row = {"name": o.name, "float": o.type in FLOATS}
        if not isinstance(value, np.ndarray) or value.shape != expected.shape:
            row["state"] = f"shape {getattr(value, 'shape', type(value).__name__)}, want {expected.shape}"
        elif o.type in FLOATS:
            row.update(sqnr_db(expected, value))
        else:
            row["equal"] = float(np.mean(value == expected)) if value.size else 1.0
        outputs.append(row)
    return {"outputs": outputs, "dropped_inputs": dropped, "log": c.text}


def layer_alone(x, y, w, scale_w, original):
    """db and cancel of do_formula, where the original weight is known and lies in the file as [N, K] or [K, N]."""
    if original is None or len(original.dims) != 2:
        return {}
    kept = w / (scale_w.reshape(-1, 1) if scale_w.ndim else scale_w)
    stored = onnx.numpy_helper.to_array(original).astype(np.float64)
    forms = [f for f in (stored, stored.T) if f.shape == w.shape]
    weight = min(forms, key=lambda f: np.square(f - kept).sum(), default=None)
    if weight is None or np.square(weight - kept).sum() > 0.05 * np.square(weight).sum():
        return {}
    x = np.asarray(x, np.float64).reshape(-1, w.shape[1])
    exact = x @ weight.T
    spread, result = np.square(x) @ np.square(weight).T, np.square(exact).sum()
    return {"db": sqnr_db(exact, np.asarray(y, np.float64).reshape(exact.shape))["db"],
            "cancel": float(np.sqrt(spread.sum() / result)) if result else None}


def float8_codes(t):
    if t.raw_data:
        return np.frombuffer(t.raw_data, np.uint8).reshape(tuple(t.dims))
    return np.array(t.int32_data, np.uint8).reshape(tuple(t.dims))


def do_formula(path, feeds, recipe, rows=None, original=None, weights=None):
    """Runs a converted model with the input and output of each Float8Linear node of its main graph as graph outputs, and compares the
    output with the formula of that input. recipe is the report's, such as "i:dyn,w:del,go:del h16 max". feeds is an .npz with "in:"
    keys, or with one array per graph input; rows cuts the first axis. With original, a path, and weights, the name there of each
    layer's weight, it also says what the layer alone costs: the SQNR of its output against the product with the original weight, and how
    far the products cancel, the root of their summed squares over that of the result."""
    floats = {t.name: t for t in onnx.load(original).graph.initializer} if original else {}
    model = onnx.load(path)
    functions = {(f.domain, f.name, getattr(f, "overload", "")): f for f in model.functions}
    tensors = {t.name: t for t in model.graph.initializer}
    data = np.load(feeds)
    inputs = {}
    for i in model.graph.input:
        for key in ("in:" + i.name, i.name, "eval_" + i.name):
            if key in data and i.name not in tensors:
                inputs[i.name] = data[key][:rows] if rows else data[key]
                break
    nodes = [n for n in model.graph.node if n.domain == DOMAIN and n.op_type.startswith(OP)]
    inside = sum(n.domain == DOMAIN for _, n in every_node(model, with_functions=False)) - len(nodes)
    wanted = []
    have = {o.name for o in model.graph.output}
    for n in nodes:
        for name in (n.input[0], n.output[0]):
            if name not in have and name not in inputs and name not in tensors:
                model.graph.output.append(onnx.ValueInfoProto(name=name))
                have.add(name)
            if name in have and name not in wanted:
                wanted.append(name)
    if not nodes:
        return {"layers": [], "in_subgraphs": inside}
    session = open_session(model.SerializeToString())
    known = {i.name for i in session.get_inputs()}
    values = dict(zip(wanted, session.run(wanted, {k: v for k, v in inputs.items() if k in known})))
    values.update({k: v for k, v in inputs.items() if k not in values})
    how = dict(part.split(":", 1) for part in recipe.split()[0].split(","))
    power_of_two = "pow2" in recipe.split()
    out = []
    for n in nodes:
        f = functions[(n.domain, n.op_type, getattr(n, "overload", ""))]
        given = dict(zip(f.input, n.input))
        x, y, weight = values[given["input"]], values[n.output[0]], tensors[given["weight"]]
        quantized = weight.data_type == onnx.TensorProto.FLOAT8E4M3FN
        w = formula.e4m3_values()[float8_codes(weight)] if quantized else onnx.numpy_helper.to_array(weight).astype(np.float32)
        stored_x, stored_w = (onnx.numpy_helper.to_array(tensors[given[k]]) for k in ("scale_input", "scale_weight"))
        quant_max = next((a.f for a in n.attribute if a.name == "quant_max"), formula.E4M3_MAX)
        scale_x, scale_w = stored_x.reshape(()), stored_w
        if not quantized and how["w"].startswith("dyn"):
            scale_w = formula.dynamic_scale(w, stored_w, quant_max, power_of_two, per_row=stored_w.ndim > 0)
        if how["i"].startswith("dyn"):
            scale_x = formula.dynamic_scale(x, scale_x, quant_max, power_of_two)
        elif how["i"].startswith("off"):
            scale_x = None
        expected = formula.float8_linear(x, w, scale_x, scale_w, quantized).astype(y.dtype).astype(np.float64)
        peak = np.abs(expected).max(initial=0)
        worst = np.abs(expected - y.astype(np.float64)).max(initial=0)
        same_nan = np.array_equal(np.isnan(expected), np.isnan(y))
        state = given["amax_history_input"]
        alone = layer_alone(x, y, w, scale_w if quantized else np.float32(1), floats.get((weights or {}).get(state.removesuffix(STATE_SUFFIX))))
        out.append({
            "node": n.name, "shape": list(w.shape), "dtype": str(y.dtype),
            **alone, "relative": float(worst / peak) if peak > 0 else float(worst), "nan_agree": bool(same_nan),
            # a result that is rounded to a narrow type may land on either neighbour
            "tolerance": 1e-4 + (float(np.finfo(y.dtype).eps) if y.dtype != np.float32 else 0),
        })
    return {"layers": out, "in_subgraphs": inside}


def do_cast():
    """Whether formula.saturate and the runtime's Cast agree on every 16-bit pattern as a bfloat16, and one float32 step to each side."""
    values = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)
    values = values[np.isfinite(values)]
    values = np.concatenate([values, np.nextafter(values, np.float32(np.inf)), np.nextafter(values, np.float32(-np.inf))])
    values = np.clip(values, -448, 448)
    make, float32 = onnx.helper.make_node, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [make("Cast", ["x"], ["q"], to=onnx.TensorProto.FLOAT8E4M3FN), make("Cast", ["q"], ["y"], to=float32)], "cast",
        [onnx.helper.make_tensor_value_info("x", float32, ["n"])], [onnx.helper.make_tensor_value_info("y", float32, ["n"])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)
    got = open_session(model.SerializeToString()).run(None, {"x": values})[0]
    wrong = np.flatnonzero(got.view(np.uint32) != formula.saturate(values).view(np.uint32))
    if wrong.size:
        raise ValueError(f"Cast({values[wrong[0]]!r}) is {got[wrong[0]]!r}, formula.saturate says otherwise; {wrong.size} of {values.size} differ")
    if not set(np.abs(got).tolist()) <= set(formula.e4m3_values()[:127].tolist()):
        raise ValueError("a cast value is no value of formula.e4m3_values")
    return {"values": int(values.size)}


def answer(job):
    do = globals()["do_" + job.pop("do")]
    try:
        return {"ok": True, **do(**job)}
    except Exception as err:  # the runtime's own exceptions share no base class
        inner = traceback.extract_tb(err.__traceback__)[-1]
        return {"ok": False, "error": f"{type(err).__name__}: {one_line(err)}", "at": f"{os.path.basename(inner.filename)}:{inner.lineno}"}


def warm_up():
    """Loads a model of one node, so that what the runtime says once about the machine is not taken for a word about a model."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])], "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)
    with Captured():
        open_session(model.SerializeToString()).run(None, {"x": np.zeros(1, np.float32)})


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warm_up()
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line))) + "\n")
        out.flush()


main()
