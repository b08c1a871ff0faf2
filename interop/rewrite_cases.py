"""Minimal models, one for each way in which a layer can stand in a graph: converts them and holds the result against the original.

    PYTHON interop/rewrite_cases.py BINARY [--only WORD] [--keep FOLDER]

Weights and inputs are small integers times powers of two with an amax of 7 * 2^n, so that 448/amax is a power of two and float8
holds every value exactly: whatever the scaling, the converted model then gives the original's result up to the rounding of
float32, and one transposition, sign or scale in the wrong place shows at full size. A second run on normal noise holds
every Float8Linear of the main graph against formula.py. Every output passes onnx.checker with full_check where the original does, is loaded
and run by ONNX Runtime, and is converted again, which must give the same bytes.

Runs in one Python with onnx and onnxruntime; `make interop` calls it with the newest and with 1.21. Prints a table, exits 1 if anything differs.
"""

import argparse
import itertools
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
from onnx import numpy_helper

import formula

LEVELS = ((11, 3), (11, 6), (13, 7), (17, 8), (19, 9), (21, 10))  # opset, IR version
NEW = LEVELS[2:]
ONE = ((17, 8),)
CONVERSIONS = {
    "weight-only": ("--recipe", "i:off"),
    "dynamic": ("--recipe", "dynamic"),
    "delayed": (),
    "per-channel": ("--recipe", "dynamic", "--per-channel"),
    "original": ("--recipe", "dynamic", "--weights", "original"),
    "delayed original": ("--weights", "original", "--per-channel"),
}
BRIEF = ("weight-only", "dynamic")
STATE = ".fp8_scale_input"
BF16 = T.BFLOAT16


# Values.


def exact(*shape, seed=0, dtype=np.float32, step=0):
    """Integers from -7 to 7 with a 7 first in every row and column; columns are scaled by 1, 1/2, 1/4 in turn where step is set."""
    a = np.random.default_rng([seed, *shape]).integers(-7, 8, shape).astype(np.float64)
    if a.size and a.ndim == 1:
        a[0] = 7
    elif a.size and a.ndim > 1:
        a[..., 0, :] = a[..., :, 0] = 7
    if step:
        a = a * np.exp2(-(np.arange(shape[-1]) % 3))
    return a.astype(dtype)


def array(t):
    """The values of a tensor; bfloat16 as float32, which numpy knows."""
    if t.data_type == BF16:
        return (np.frombuffer(t.raw_data, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(t.dims)
    return numpy_helper.to_array(t)


def tensor(name, a, kind=None):
    """An initializer; bfloat16 is written from float32, which must hold its values."""
    if kind == BF16:
        bits = (np.ascontiguousarray(a, np.float32).view(np.uint32) >> 16).astype(np.uint16)
        return h.make_tensor(name, BF16, a.shape, bits.tobytes(), raw=True)
    return numpy_helper.from_array(np.ascontiguousarray(a).reshape(a.shape), name)


def node(op, inputs, outputs, name=None, metadata=None, **attributes):
    n = h.make_node(op, inputs.split() if isinstance(inputs, str) else inputs, outputs.split(), **attributes)
    n.name = name if name is not None else f"{op}_{n.output[0]}"
    for key, value in (metadata or {}).items():
        n.metadata_props.add(key=key, value=value)
    return n


def info(name, kind=T.FLOAT, shape=None):
    return h.make_tensor_value_info(name, kind, shape)


class Case:
    """A model, what to feed it, and what must come of it.

    want lists the decision for each layer in the report's order: a rule's code, or the code of a reason. names, where given, are the layers' names.
    plain is set where every layer's input is the model's own: the exact comparison holds for scaled inputs too."""

    def __init__(self, nodes, feeds, weights, want, outputs="y", inputs=None, kind=T.FLOAT, functions=(), sparse=(), names=None, plain=True,
                 flags=(), reference=None, check=None, subject_to_checker=True, constant_inputs=True, extra_inputs=(), changes=(), exit_code=0,
                 out_types=None):
        self.nodes, self.feeds, self.weights, self.want, self.names = nodes, feeds, weights, want, names
        self.outputs, self.inputs, self.kind = outputs.split(), inputs, kind
        self.functions, self.sparse, self.plain, self.flags = functions, sparse, plain, flags
        self.reference, self.check, self.subject_to_checker = reference, check, subject_to_checker
        self.constant_inputs, self.extra_inputs, self.changes, self.exit_code = constant_inputs, extra_inputs, changes, exit_code
        self.out_types = out_types or {}

    def model(self, opset, ir):
        inputs = list(self.inputs or [info(k, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in self.feeds.items()])
        tensors = [w if isinstance(w, onnx.TensorProto) else tensor(*w) for w in self.weights]
        if ir < 4:
            inputs += [info(t.name, t.data_type, list(t.dims)) for t in tensors]
        else:
            inputs += [info(t.name, t.data_type, list(t.dims)) for t in tensors if t.name in self.extra_inputs]
        outputs = [info(o, self.out_types.get(o, self.kind)) for o in self.outputs]
        graph = h.make_graph(self.nodes, "g", inputs, outputs, tensors, sparse_initializer=list(self.sparse))
        opsets = [h.make_opsetid("", opset)] + [h.make_opsetid("f", 1)] * bool(self.functions)
        m = h.make_model(graph, opset_imports=opsets, functions=[f(opset) for f in self.functions], ir_version=ir)
        return m


CASES = {}


def case(levels=LEVELS, conversions=BRIEF):
    def add(build):
        CASES[build.__name__.replace("_", " ")] = (build, levels, conversions)
        return build
    return add


def function(name, inputs, outputs, nodes, domains=()):
    def build(opset):
        return h.make_function("f", name, inputs.split(), outputs.split(), nodes, [h.make_opsetid("", opset), *[h.make_opsetid(d, 1) for d in domains]])
    return build


# The cases. x is the activation, w a weight, y what comes out.

X = exact(5, 8, seed=1)
W = exact(8, 6, seed=2)
V = exact(6, 8, seed=3)


@case(conversions=tuple(CONVERSIONS))
def a_matrix_on_the_right(level):
    return Case([node("MatMul", "x w", "y")], {"x": X}, [("w", exact(8, 6, seed=2, step=1))], ["matmul"],
                changes=["graph-input-dropped"] if level[1] < 4 else [])


@case(conversions=tuple(CONVERSIONS))
def inputs_of_rank_1_to_4(level):
    feeds = {f"x{r}": exact(*(2, 3, 5, 8)[4 - r:], seed=r) for r in (1, 2, 3, 4)}
    return Case([node("MatMul", f"x{r} w", f"y{r}") for r in (1, 2, 3, 4)], feeds, [("w", W)], ["matmul"] * 4, outputs="y1 y2 y3 y4")


def gemms(left, a, b, bias):
    """Every transA, transB, alpha, beta and kind of C for one side of the constant."""
    nodes, want, outputs = [], [], []
    for i, (ta, tb, alpha, beta, c) in enumerate(itertools.product((0, 1), (0, 1), (1.0, 0.5), (0.0, 1.0, 2.0), bias)):
        x, w = ("b%d" % tb, "wa%d" % ta) if left else ("a%d" % ta, "wb%d" % tb)
        inputs = [w, x] if left else [x, w]
        attributes = {k: v for k, v in (("transA", ta), ("transB", tb), ("alpha", alpha), ("beta", beta)) if v != {"alpha": 1.0, "beta": 1.0}.get(k, 0)}
        nodes.append(node("Gemm", inputs + [c] * bool(c), f"y{i}", **attributes))
        want.append("gemm"), outputs.append(f"y{i}")
    return nodes, want, " ".join(outputs)


BIAS = ("", "vector", "matrix", "scalar", "column", "given")
BIASES = [("vector", exact(6, seed=4)), ("matrix", exact(5, 6, seed=5)), ("scalar", np.float32(3.0).reshape(())), ("column", exact(5, 1, seed=6))]


@case(conversions=tuple(CONVERSIONS))
def gemm_with_the_constant_on_the_right(level):
    nodes, want, outputs = gemms(False, X, W, BIAS)
    return Case(nodes, {"a0": X, "a1": exact(8, 5, seed=7), "given": exact(5, 6, seed=8)}, [("wb0", W), ("wb1", V), *BIASES], want, outputs)


@case(conversions=tuple(CONVERSIONS))
def gemm_with_the_constant_on_the_left(level):
    nodes, want, outputs = gemms(True, X, W, BIAS)
    return Case(nodes, {"b0": W, "b1": V, "given": exact(5, 6, seed=8)}, [("wa0", X), ("wa1", exact(8, 5, seed=7)), *BIASES], want, outputs)


@case(conversions=tuple(CONVERSIONS))
def a_matrix_on_the_left(level):
    return Case([node("MatMul", f"w x{r}", f"y{r}") for r in (1, 2, 3, 4)],
                {"x1": exact(8, seed=1), "x2": exact(8, 5, seed=2), "x3": exact(3, 8, 5, seed=3), "x4": exact(2, 3, 8, 4, seed=3)}, [("w", V)],
                ["matmul-left"] * 4, outputs="y1 y2 y3 y4")


@case()
def a_matrix_on_the_left_of_unknown_rank(level):
    return Case([node("MatMul", "w x", "y")], {"x": exact(8, 5)}, [("w", V)], ["left-constant-rank-unknown"], inputs=[info("x")])


@case(NEW)
def a_batch_on_the_left_and_outer_products(level):
    return Case([node("MatMul", "batch x", "y"), node("MatMul", "column row", "z"), node("MatMul", "frequencies row", "u")],
                {"x": exact(3, 8, 5), "row": exact(1, 5)},
                [("batch", exact(3, 6, 8)), ("column", exact(32, 1)), ("frequencies", exact(1, 32, 1))],
                ["left-constant-batched", "left-constant-outer", "left-constant-batched"], outputs="y z u")


@case(conversions=tuple(CONVERSIONS))
def a_weight_behind_other_operators(level):
    shape = np.array([8, 6], np.int64)
    nodes = [
        node("Transpose", "v", "wt", perm=[1, 0]), node("Transpose", "v", "wd"), node("Identity", "w", "wi"),
        node("Reshape", "flat shape", "wr"), node("Transpose", "wt", "wtv", perm=[1, 0]), node("Transpose", "wtv", "wtt", perm=[1, 0]),
        node("Reshape", "flat wild", "wrw"), node("Transpose", "wrw", "wrt"), node("Identity", "wt", "wit"), node("Identity", "v", "vi"),
        node("Transpose", "vi", "wti", perm=[1, 0]), node("Transpose", "w", "wnone", perm=[0, 1]), node("Reshape", "deep zero", "wz"),
        *[node("MatMul", f"x {w}", f"y{w}") for w in ("wt", "wd", "wi", "wr", "wtt", "wrt", "wit", "wti", "wnone", "wz")],
    ]
    outputs = " ".join(f"y{w}" for w in ("wt", "wd", "wi", "wr", "wtt", "wrt", "wit", "wti", "wnone", "wz"))
    weights = [("v", V), ("w", W), ("flat", W.reshape(-1)), ("shape", shape), ("wild", np.array([6, -1], np.int64)),
               ("deep", W.reshape(8, 2, 3)), ("zero", np.array([0, -1], np.int64))]
    return Case(nodes, {"x": X}, weights, ["matmul"] * 10, outputs=outputs)


@case(NEW)
def a_weight_widened_from_float16(level):
    return Case([node("Cast", "w", "wc", to=T.FLOAT), node("MatMul", "x wc", "y"), node("Transpose", "wc2", "wt", perm=[1, 0]), node("MatMul", "x wt", "z")],
                {"x": X}, [("w", W.astype(np.float16)), ("wc2", V)], ["matmul", "matmul"], outputs="y z",
                check=lambda m, r: r["layers"][0]["dtype_before"] == "float16" or "dtype before is not that of the file")


@case(ONE, ("original",))
def a_widened_weight_in_its_original_type_stays(level):
    return Case([node("Cast", "w", "wc", to=T.FLOAT), node("MatMul", "x wc", "y")], {"x": X}, [("w", W.astype(np.float16))], ["weight-unresolved"])


@case(NEW)
def a_weight_that_is_not_folded(level):
    return Case([node("Transpose", "cube", "wt", perm=[0, 2, 1]), node("MatMul", "x wt", "y"), node("Cast", "d", "wd", to=T.FLOAT), node("MatMul", "x wd", "z"),
                 node("Transpose", "v", "vt"), node("Reshape", "vt shape", "vr"), node("MatMul", "x vr", "u"), node("Reshape", "v given", "vg"),
                 node("MatMul", "x vg", "s")],
                {"x": X, "given": np.array([8, 6], np.int64)},
                [("cube", exact(1, 6, 8)), ("d", W.astype(np.float64)), ("v", V), ("shape", np.array([8, 6], np.int64))],
                ["weight-unresolved"] * 4, outputs="y z u s")


@case(conversions=tuple(CONVERSIONS))
def a_weight_in_a_constant_node(level):
    return Case([node("Constant", "", "w", value=tensor("anything", W)), node("MatMul", "x w", "y"), node("Constant", "", "v", value=tensor("", V)),
                 node("Gemm", "x v", "z", transB=1)], {"x": X}, [], ["matmul", "gemm"], outputs="y z",
                check=lambda m, r: not any(n.op_type == "Constant" for n in m.graph.node) or "the Constant nodes are still there")


@case(NEW)
def a_constant_node_of_rank_1(level):
    return Case([node("Constant", "", "w", value_floats=[7.0] * 8), node("MatMul", "x w", "y")], {"x": X}, [], ["weight-rank"])


@case(NEW)
def a_weight_behind_dequantizelinear(level):
    return Case([node("DequantizeLinear", "q s z", "w"), node("MatMul", "x w", "y"), node("Transpose", "w", "wt"), node("Gemm", "x wt", "u", transB=1)],
                {"x": X}, [("q", W.astype(np.int8)), ("s", np.float32(0.5).reshape(())), ("z", np.int8(0).reshape(()))],
                ["weight-quantized", "weight-quantized"], outputs="y u")


@case(NEW)
def a_weight_behind_quantizelinear_and_dequantizelinear(level):
    return Case([node("QuantizeLinear", "w s z", "q"), node("DequantizeLinear", "q s z", "d"), node("MatMul", "x d", "y")], {"x": X},
                [("w", W), ("s", np.float32(1).reshape(())), ("z", np.int8(0).reshape(()))], ["weight-quantized"])


@case(conversions=tuple(CONVERSIONS))
def a_weight_that_two_layers_share(level):
    def once(m, r):
        held = [t for t in m.graph.initializer if t.dims == [6, 8] or t.dims == [8, 6]]
        if len(held) != 1:
            return f"{[t.name for t in held]} hold the weight, want one"
        return r["layers"][1]["shared_with"] == r["layers"][0]["name"] or "shared_with is not the first layer"
    return Case([node("MatMul", "x w", "y"), node("MatMul", "u w", "z")], {"x": X, "u": exact(3, 8)}, [("w", W)], ["matmul", "matmul"], outputs="y z", check=once)


@case()
def one_weight_read_both_ways(level):
    square = exact(8, 8, seed=9)
    return Case([node("MatMul", "x w", "y"), node("Gemm", "x w", "z", transB=1), node("MatMul", "w u", "s")], {"x": X, "u": exact(8, 3)}, [("w", square)],
                ["matmul", "gemm", "matmul-left"], outputs="y z s")


@case(conversions=tuple(CONVERSIONS))
def a_tied_embedding(level):
    def kept(m, r):
        if "table" not in [t.name for t in m.graph.initializer]:
            return "the table is gone"
        if "original" in r["settings"].get("weights", ""):
            return True
        return any(c["code"] == "weight-duplicated" for c in r["changes"]) or "no weight-duplicated in the changes"
    return Case([node("Gather", "table ids", "e"), node("Transpose", "table", "tt", perm=[1, 0]), node("MatMul", "e tt", "y"), node("Add", "table table", "z")],
                {"ids": np.array([0, 3, 5, 1], np.int64)}, [("table", V)], ["matmul"], outputs="y z", check=kept)


@case(NEW, tuple(CONVERSIONS))
def weights_of_rank_3(level):
    return Case([node("MatMul", "x3 one", "y"), node("MatMul", "x2 one", "z"), node("MatMul", "x3 batch", "u"), node("MatMul", "x4 one", "s"),
                 node("MatMul", "x4 four", "t"), node("MatMul", "unknown one", "r")],
                {"x3": exact(2, 5, 8), "x2": X, "x4": exact(3, 2, 5, 8), "unknown": exact(2, 5, 8)},
                [("one", W.reshape(1, 8, 6)), ("batch", exact(2, 8, 6)), ("four", W.reshape(1, 1, 8, 6))],
                ["matmul", "weight-batched", "weight-batched", "matmul", "matmul", "weight-batched"], outputs="y z u s t r",
                inputs=[info("x3", shape=[2, 5, 8]), info("x2", shape=[5, 8]), info("x4", shape=[3, 2, 5, 8]), info("unknown")])


@case(((13, 3), (17, 3)), tuple(CONVERSIONS))
def initializers_that_are_inputs_at_ir_3(level):
    def dropped(m, r):
        left = [i.name for i in m.graph.input]
        return left == ["x"] or f"the inputs are {left}"
    return Case([node("MatMul", "x w", "h"), node("Add", "h b", "y")], {"x": X}, [("w", W), ("b", exact(6))], ["matmul"], check=dropped,
                changes=["graph-input-dropped", "ir-lifted"])


@case(NEW)
def initializers_that_are_inputs_at_ir_4_and_later(level):
    return Case([node("MatMul", "x w", "y")], {"x": X}, [("w", W)], ["weight-overridable"], extra_inputs=("w",))


@case(NEW, tuple(CONVERSIONS))
def overridable_weights_taken_for_constants(level):
    def dropped(m, r):
        left = [i.name for i in m.graph.input]
        if left != ["x", "b"]:
            return f"the inputs are {left}"
        return any(w["code"] == "assumed-constant" for w in r["warnings"]) or "no warning"
    return Case([node("MatMul", "x w", "h"), node("Add", "h b", "y")], {"x": X}, [("w", W), ("b", exact(6))], ["matmul"], extra_inputs=("w", "b"), check=dropped,
                flags=("--assume-constant",), changes=["graph-input-dropped"])


@case(NEW)
def an_activation_with_a_default(level):
    return Case([node("MatMul", "x w", "y"), node("Gemm", "x v", "z", transB=1)], {}, [("x", X), ("w", W), ("v", V)], ["matmul", "gemm"], extra_inputs=("x",), outputs="y z",
                inputs=[])


@case(NEW)
def two_constants(level):
    return Case([node("MatMul", "a w", "h"), node("Add", "x h", "y")], {"x": exact(5, 6)}, [("a", X), ("w", W)], ["both-constant"])


@case()
def two_activations(level):
    return Case([node("MatMul", "x u", "y")], {"x": X, "u": W}, [], ["no-constant-operand"])


def branch(name, nodes, out, weights=()):
    return h.make_graph(nodes, name, [], [info(out)], [tensor(*w) for w in weights])


@case(NEW, tuple(CONVERSIONS))
def layers_in_branches(level):
    then = branch("then", [node("MatMul", "x inner", "a", name="m"), node("MatMul", "x outer", "b"), node("Add", "a b", "t")], "t", [("inner", W)])
    other = branch("else", [node("Constant", "", "c", value=tensor("c", exact(8, 6, seed=5))), node("Gemm", "x c bias", "a2"), node("MatMul", "x outer", "b2"),
                            node("Add", "a2 b2", "e")], "e")
    nodes = [node("If", "yes", "y", then_branch=then, else_branch=other), node("If", "no", "z", then_branch=renamed(then, "p"), else_branch=renamed(other, "q"))]
    return Case(nodes, {"x": X, "yes": np.array(True), "no": np.array(False)}, [("outer", exact(8, 6, seed=4)), ("bias", exact(6))],
                ["gemm", "matmul", "matmul", "matmul"] * 2, outputs="y z")


def renamed(graph, prefix):
    """graph with other names for what it computes."""
    g = onnx.GraphProto()
    g.CopyFrom(graph)
    own = {o for n in g.node for o in n.output}
    for n in g.node:
        n.name = prefix + n.name
        n.input[:] = [prefix + i if i in own else i for i in n.input]
        n.output[:] = [prefix + o for o in n.output]
    for o in g.output:
        o.name = prefix + o.name
    return g


@case(NEW, tuple(CONVERSIONS))
def layers_in_a_loop(level):
    body = h.make_graph([node("MatMul", "x inner", "a"), node("MatMul", "x outer", "b"), node("Add", "a b", "c"), node("Add", "sum c", "sum_out"),
                         node("Identity", "cond", "cond_out")],
                        "body", [info("i", T.INT64, []), info("cond", T.BOOL, []), info("sum", shape=[5, 6])],
                        [info("cond_out", T.BOOL, []), info("sum_out", shape=[5, 6])], [tensor("inner", W)])
    return Case([node("Loop", "trips go start", "y", body=body)], {"x": X, "start": exact(5, 6), "go": np.array(True)},
                [("trips", np.array(3, np.int64)), ("outer", exact(8, 6, seed=4))], ["matmul", "matmul"],
                inputs=[info("x", shape=[5, 8]), info("start", shape=[5, 6]), info("go", T.BOOL, [])])


@case(NEW, tuple(CONVERSIONS))
def layers_in_a_scan(level):
    body = h.make_graph([node("Gemm", "row inner", "a"), node("MatMul", "row outer", "b"), node("Add", "a b", "c"), node("Add", "sum c", "sum_out"),
                         node("Identity", "c", "each")],
                        "body", [info("sum", shape=[5, 6]), info("row", shape=[5, 8])], [info("sum_out", shape=[5, 6]), info("each", shape=[5, 6])],
                        [tensor("inner", W)])
    return Case([node("Scan", "start rows", "y z", body=body, num_scan_inputs=1)], {"start": exact(5, 6), "rows": exact(4, 5, 8)},
                [("outer", exact(8, 6, seed=4))], ["gemm", "matmul"], outputs="y z")


LINEAR = function("Linear", "a b", "c", [node("MatMul", "a b", "c", name="mm")])
BIASED = function("Biased", "a b bias", "c", [node("Gemm", "a b bias", "c", name="gemm", transB=1)])
HOLDER = function("Holder", "a", "c", [node("Constant", "", "k", value=tensor("k", W)), node("MatMul", "a k", "c", name="mm")])
OUTER = function("Outer", "a b", "c", [node("Linear", "a b", "c", name="call", domain="f")], domains=("f",))
PLAIN = function("Plain", "a", "c", [node("Relu", "a", "t"), node("Neg", "t", "c")])
PRODUCT = function("Product", "a b", "c", [node("MatMul", "a b", "c", name="mm")])


@case(NEW[1:], tuple(CONVERSIONS))
def layers_in_functions(level):
    nodes = [node("Linear", "x w", "y", name="one", domain="f"), node("Linear", "x w2", "z", name="two", domain="f"), node("Holder", "x", "u", name="three", domain="f"),
             node("Outer", "x w", "s", name="four", domain="f"), node("Biased", "x v b", "t", name="five", domain="f"), node("Plain", "x", "r", domain="f")]

    def gone(m, r):
        left = sorted(f.name for f in m.functions if f.domain == "f")
        return left == ["Plain"] or f"functions {left} are left, want Plain"
    return Case(nodes, {"x": X}, [("w", W), ("w2", exact(8, 6, seed=4)), ("v", V), ("b", exact(6))],
                ["matmul", "matmul", "matmul", "matmul", "gemm"], outputs="y z u s t r", functions=(LINEAR, HOLDER, OUTER, BIASED, PLAIN), check=gone,
                changes=["function-inlined"])


@case(NEW[1:])
def a_function_that_holds_no_layer_stays(level):
    def stays(m, r):
        return [f.name for f in m.functions if f.domain == "f"] == ["Product"] or "the function is gone"
    return Case([node("MatMul", "x w", "y"), node("Product", "x u", "z", domain="f")], {"x": X, "u": exact(8, 3)}, [("w", W)], ["matmul", "no-constant-operand"],
                outputs="y z", functions=(PRODUCT,), check=stays)


@case(NEW[1:])
def a_function_whose_layer_is_kept(level):
    return Case([node("Linear", "x w", "y", name="one", domain="f")], {"x": X}, [("w", W)], ["excluded"], functions=(LINEAR,), flags=("--exclude", "*"), names=["one/mm"])


@case(NEW, tuple(CONVERSIONS))
def weights_in_float16(level):
    f16 = np.float16
    return Case([node("MatMul", "x w", "y"), node("Gemm", "x v b", "z", transB=1, alpha=0.5, beta=2.0), node("Cast", "x", "xf", to=T.FLOAT)],
                {"x": X.astype(f16)}, [("w", W.astype(f16)), ("v", V.astype(f16)), ("b", exact(6, dtype=f16))], ["matmul", "gemm"], outputs="y z", kind=T.FLOAT16)


@case(NEW)
def weights_in_bfloat16(level):
    """ONNX Runtime has no MatMul for bfloat16, so the casts around are all that it is asked to run."""
    return Case([node("Cast", "x", "xb", to=BF16), node("MatMul", "xb w", "yb"), node("Cast", "yb", "y", to=T.FLOAT)], {"x": X}, [("w", W, BF16)], ["matmul"],
                reference=lambda f: {"y": f["x"] @ W})


@case(NEW)
def weights_in_double_and_int32(level):
    return Case([node("MatMul", "d wd", "y"), node("MatMul", "i wi", "z")], {"d": X.astype(np.float64), "i": X.astype(np.int32)},
                [("wd", W.astype(np.float64)), ("wi", W.astype(np.int32))], ["weight-dtype"] * 2, outputs="y z", kind=T.DOUBLE, out_types={"z": T.INT32})


@case(NEW)
def weights_that_are_not_finite(level):
    bad = [W.copy() for _ in range(3)]
    bad[0][3, 3], bad[1][3, 3], bad[2][0, 0] = np.nan, np.inf, -np.inf
    return Case([node("MatMul", f"x w{i}", f"y{i}") for i in range(3)] + [node("MatMul", "x w", "y")], {"x": X},
                [*[(f"w{i}", b) for i, b in enumerate(bad)], ("w", W)], ["weight-nonfinite"] * 3 + ["matmul"], outputs="y0 y1 y2 y")


@case(NEW)
def only_weights_that_are_not_finite(level):
    bad = W.copy()
    bad[2, 2] = np.nan
    return Case([node("MatMul", "x w", "y")], {"x": X}, [("w", bad)], ["weight-nonfinite"])


@case(NEW, tuple(CONVERSIONS))
def weights_of_zeros(level):
    gap = W.copy()
    gap[:, 2] = 0
    return Case([node("MatMul", "x zero", "y"), node("MatMul", "x gap", "z")], {"x": X}, [("zero", np.zeros((8, 6), np.float32)), ("gap", gap)], ["matmul", "matmul"],
                outputs="y z")


@case(NEW)
def inputs_of_zeros(level):
    return Case([node("MatMul", "x w", "y")], {"x": np.zeros((5, 8), np.float32)}, [("w", W)], ["matmul"])


@case(NEW)
def an_input_without_rows(level):
    return Case([node("MatMul", "x w", "y")], {"x": np.zeros((0, 8), np.float32)}, [("w", W)], ["matmul"], inputs=[info("x", shape=["n", 8])])


@case(NEW)
def weights_without_elements_and_of_rank_1(level):
    return Case([node("MatMul", "x none", "y"), node("MatMul", "x vector", "z"), node("MatMul", "left x", "u")], {"x": X},
                [("none", np.zeros((8, 0), np.float32)), ("vector", exact(8)), ("left", exact(5))], ["weight-empty", "weight-rank", "weight-rank"], outputs="y z u")


@case(NEW)
def filters_keep_layers(level):
    names = ["enc.0.q", "enc.0.k", "enc.1.q", "head", "small"]
    weights = [(f"{n}.weight", exact(16, 16, seed=i)) for i, n in enumerate(names[:3])] + [("head.weight", exact(16, 17)), ("small.weight", exact(16, 8))]
    return Case([node("MatMul", f"x {n}.weight", f"y{i}") for i, n in enumerate(names)], {"x": exact(5, 16)}, weights,
                ["matmul", "not-included", "excluded", "dim-not-multiple", "dim-too-small"], outputs="y0 y1 y2 y3 y4", names=names,
                flags=("--include", "enc.*.q", "--include", "re:^(head|small)$", "--exclude", "re:\\.1\\.", "--multiple-of", "8", "--min-dim", "16"))


@case(NEW)
def a_sparse_weight(level):
    values, indices = h.make_tensor("w", T.FLOAT, [3], [7.0, 2.0, 3.0]), h.make_tensor("i", T.INT64, [3], [0, 9, 20])
    return Case([node("MatMul", "x w", "y"), node("MatMul", "x v", "z")], {"x": X}, [("v", W)], ["weight-sparse", "matmul"], outputs="y z",
                sparse=(h.make_sparse_tensor(values, indices, [8, 6]),))


@case(NEW)
def a_sparse_constant_node(level):
    values, indices = h.make_tensor("w", T.FLOAT, [3], [7.0, 2.0, 3.0]), h.make_tensor("i", T.INT64, [3], [0, 9, 20])
    return Case([node("Constant", "", "w", sparse_value=h.make_sparse_tensor(values, indices, [8, 6])), node("MatMul", "x w", "y")], {"x": X}, [], ["weight-sparse"])


@case(NEW)
def nodes_that_are_not_sorted(level):
    return Case([node("Add", "h b", "y"), node("MatMul", "t wt", "h"), node("Transpose", "v", "wt"), node("Relu", "x", "t")], {"x": X}, [("v", V), ("b", exact(6))], ["matmul"],
                subject_to_checker=False)


@case(NEW)
def a_layer_whose_output_is_read_twice(level):
    return Case([node("Gemm", "x w b", "y", alpha=0.5), node("Relu", "y", "z")], {"x": X}, [("w", W), ("b", exact(6))], ["gemm"], outputs="y z")


@case(NEW)
def layers_one_after_another(level):
    return Case([node("Gemm", "x w b", "h"), node("Relu", "h", "r"), node("MatMul", "r v", "y")], {"x": X}, [("w", W), ("b", exact(6)), ("v", V)], ["gemm", "matmul"], plain=False)


@case(NEW)
def layer_names_come_from_metadata_weights_and_nodes(level):
    scopes = {"pkg.torch.onnx.name_scopes": "['', 'model', 'model.fc', 'linear']", "pkg.torch.onnx.class_hierarchy": "['net.Net', 'net.Model', 'torch.nn.Linear', 'aten.linear']"}
    space = {"namespace": ": net.Net/head: torch.nn.Linear/linear: aten.linear.default"}
    return Case([node("MatMul", "x val_1", "a", metadata=scopes), node("MatMul", "x val_2", "b", metadata=space), node("MatMul", "x blocks.0.up.weight", "c"),
                 node("MatMul", "x onnx::MatMul_7", "d", name="/net/out/MatMul"), node("MatMul", "x dense/kernel:0", "e"), node("MatMul", "x val_3", "f", name=""),
                 node("MatMul", "x val_4", "g", metadata=scopes)],
                {"x": X}, [(n, exact(8, 6, seed=i)) for i, n in enumerate(("val_1", "val_2", "blocks.0.up.weight", "onnx::MatMul_7", "dense/kernel:0", "val_3", "val_4"))],
                ["matmul"] * 7, outputs="a b c d e f g", names=["model.fc", "head", "blocks.0.up", "net.out", "dense", "MatMul", "model.fc_2"])


@case(NEW)
def names_that_are_taken(level):
    """The model already uses the names that the state of the layer would get."""
    return Case([node("MatMul", "x fc.weight", "y", name="n"), node("Add", "y fc.fp8_scale_input", "z", name="fc/Mul"), node("MatMul", "x fc.fp8_weight", "u", name="o")], {"x": X},
                [("fc.weight", W), ("fc.fp8_scale_input", exact(6)), ("fc.fp8_weight", exact(8, 6, seed=3))], ["matmul", "matmul"], outputs="y z u", names=["fc", "fc.fp8"])


# What is asked of each.


def session(model):
    o = onnxruntime.SessionOptions()
    o.log_severity_level = 3
    return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), o, providers=["CPUExecutionProvider"])


def run(model, feeds):
    s = session(model)
    known = {i.name for i in s.get_inputs()}
    return dict(zip([o.name for o in s.get_outputs()], s.run(None, {k: v for k, v in feeds.items() if k in known})))


class Unloadable(Exception):
    """The runtime does not take the original either."""


def original(made, path):
    if made.reference:
        return made.reference(made.feeds)
    try:
        return run(path, made.feeds)
    except Exception as err:
        raise Unloadable(str(err).splitlines()[0][:120]) from err


def checked(path):
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as err:  # its errors share no base class
        return str(err).strip().splitlines()[0][:200]
    return ""


def convert(binary, source, target, flags):
    report = target.with_suffix(".json")
    p = subprocess.run([binary, "convert", source, "-o", target, "--report", report, "--quiet", *flags], capture_output=True, text=True)
    return p, json.loads(report.read_text()) if p.returncode == 0 else None


def decision(layer):
    return layer["rule"] if layer["decision"] == "rewritten" else layer["reason"]["code"]


def same(want, got, limit=1e-5):
    """The words for how got differs from want, "" if it does not."""
    for name, a in want.items():
        b = got.get(name)
        if b is None or a.shape != b.shape or a.dtype != b.dtype:
            return f"output {name!r}: {None if b is None else (b.shape, b.dtype)}, want {(a.shape, a.dtype)}"
        a, b = a.astype(np.float64), b.astype(np.float64)
        peak = np.abs(a[np.isfinite(a)]).max(initial=0) or 1
        eps = float(np.finfo(want[name].dtype).eps) if want[name].dtype == np.float16 else 0
        if not np.array_equal(np.isnan(a), np.isnan(b)) or not np.array_equal(np.isinf(a), np.isinf(b)):
            return f"output {name!r}: other elements are not finite"
        finite = np.isfinite(a)
        worst = np.abs(a[finite] - b[finite]).max(initial=0) / peak
        if worst > limit + eps:
            return f"output {name!r} differs by {worst:.2e} relative"
    return ""


def formula_holds(model, feeds, recipe):
    """Runs the model on noise with the ends of each Float8Linear of the main graph as outputs, and compares with formula.py."""
    tensors = {t.name: t for t in model.graph.initializer}
    functions = {(f.domain, f.name): f for f in model.functions}
    nodes = [n for n in model.graph.node if n.domain == "ai.fp8rewrite"]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    have, wanted = {o.name for o in probe.graph.output}, []
    for n in nodes:
        for name in (n.input[0], n.output[0]):
            if name not in have and name not in feeds and name not in tensors:
                probe.graph.output.append(onnx.ValueInfoProto(name=name))
                have.add(name)
    rng = np.random.default_rng(3)
    noise = {k: rng.standard_normal(v.shape).astype(v.dtype) * 3 if v.dtype in (np.float32, np.float16) else v for k, v in feeds.items()}
    values = {**noise, **run(probe.SerializeToString(), noise)}
    modes = dict(part.split(":") for part in recipe.split()[0].split(","))
    for n in nodes:
        given = dict(zip(functions[n.domain, n.op_type].input, n.input))
        if given["input"] in tensors:
            continue
        x, y, t = values[given["input"]], values[n.output[0]], tensors[given["weight"]]
        quantized = t.data_type == T.FLOAT8E4M3FN
        w = formula.e4m3_values()[np.frombuffer(t.raw_data, np.uint8).reshape(t.dims)] if quantized else array(t).astype(np.float32)
        scale_x, scale_w = (numpy_helper.to_array(tensors[given[k]]) for k in ("scale_input", "scale_weight"))
        if not quantized and modes["w"] == "dyn":
            scale_w = formula.dynamic_scale(w, scale_w, per_row=scale_w.ndim > 0)
        scale_x = {"dyn": lambda: formula.dynamic_scale(x, scale_x), "off": lambda: None, "del": lambda: scale_x}[modes["i"]]()
        want = formula.float8_linear(x, w, scale_x, scale_w, quantized).astype(y.dtype)
        problem = same({n.output[0]: want}, {n.output[0]: y}, 1e-4)
        if problem:
            return f"formula: {problem}"
    return ""


def judge(binary, made, name, level, conversion, folder):
    """What is wrong with one conversion of one case; "" if nothing is."""
    source, target = folder / "in.onnx", folder / "out.onnx"
    model = made.model(*level)
    source.write_bytes(model.SerializeToString())
    before_check = checked(source) if made.subject_to_checker else "unsorted"
    want = original(made, source)
    flags = CONVERSIONS[conversion] + tuple(made.flags)
    p, report = convert(binary, source, target, flags)
    if p.returncode != made.exit_code:
        return f"exit {p.returncode}: {p.stderr.strip()[:300]}"
    got = [decision(layer) for layer in report["layers"]]
    if got != made.want:
        return f"decided {got}, want {made.want}"
    names = [layer["name"] for layer in report["layers"]]
    if made.names and names != made.names:
        return f"names are {names}, want {made.names}"
    if len(set(names)) != len(names):
        return f"names are not unique: {names}"
    missing = set(made.changes) - {c["code"] for c in report["changes"]}
    if missing:
        return f"changes lack {sorted(missing)}"
    rewritten = [n for n, d in zip(names, got) if d in ("matmul", "matmul-left", "gemm")]
    if not rewritten and target.read_bytes() != source.read_bytes():
        return "nothing was rewritten, yet the bytes differ"
    after = onnx.load(target)
    after_check = checked(target)
    if after_check and not before_check:
        return f"checker: {after_check}"
    said = made.check(after, report) if made.check else True
    if said is not True:
        return str(said)
    limit = 1e-5
    if made.plain or conversion == "weight-only" or not rewritten:
        problem = same(want, run(target, made.feeds), limit)
        if problem:
            return problem
    if rewritten and not made.reference:  # the runtime hands out no bfloat16 to numpy
        problem = formula_holds(after, made.feeds, report["settings"]["recipe"])
        if problem:
            return problem
    again = folder / "again.onnx"
    p, second = convert(binary, target, again, CONVERSIONS[conversion] + tuple(f for f in made.flags if f != "--assume-constant"))
    if p.returncode != 0:
        return f"second conversion: exit {p.returncode}: {p.stderr.strip()[:200]}"
    if again.read_bytes() != target.read_bytes():
        return "converting twice changes the bytes"
    codes = {w["code"] for w in second["warnings"]}
    if "nothing-rewritten" not in codes or bool(rewritten) != ("already-converted" in codes):
        return f"the second conversion says {sorted(codes)}"
    existing = [layer["name"] for layer in second["layers"] if decision(layer) == "already-float8"]
    if len(existing) != len(rewritten):
        return f"the second conversion names {existing}, want {rewritten}"
    return ""


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("binary", help="fp8rewrite to test")
    p.add_argument("--only", default="", help="run the cases whose name holds this")
    p.add_argument("--keep", type=pathlib.Path, help="folder for the models of the conversions that fail")
    args = p.parse_args()
    print(f"ONNX Runtime {onnxruntime.__version__}, onnx {onnx.__version__}, numpy {np.__version__}")
    onnxruntime.set_default_logger_severity(3)
    rows, failures, skipped, total = [], [], [], 0
    for name, (build, levels, conversions) in CASES.items():
        if args.only not in name:
            continue
        passed = 0
        left_out = []
        for level, conversion in itertools.product(levels, conversions):
            with tempfile.TemporaryDirectory() as folder:
                where = f"{name}, opset {level[0]}, IR {level[1]}, {conversion}"
                try:
                    problem = judge(args.binary, build(level), name, level, conversion, pathlib.Path(folder))
                except Unloadable as err:
                    left_out.append(f"{where}: {err}")
                    continue
                except Exception as err:
                    problem = f"{type(err).__name__}: {str(err).strip().splitlines()[0][:300]}"
                total += 1
                if problem:
                    failures.append(f"{where}: {problem}")
                    if args.keep:
                        kept = args.keep / where.replace(", ", "-").replace(" ", "_")
                        kept.mkdir(parents=True, exist_ok=True)
                        for f in pathlib.Path(folder).iterdir():
                            (kept / f.name).write_bytes(f.read_bytes())
                else:
                    passed += 1
        wanted = len(levels) * len(conversions) - len(left_out)
        rows.append((name, f"{passed}/{wanted}", f"{len(left_out)} not loaded" if left_out else "", "ok" if passed == wanted else "FAIL"))
        skipped += left_out
    width = max(len(r[0]) for r in rows)
    for r in rows:
        print(f"{r[0]:{width}}  {r[1]:>7}  {r[2]:14}  {r[3]}")
    for s in skipped:
        print("SKIPPED: this runtime does not load the original:", s)
    for f in failures:
        print("FAIL", f)
    print(f"{total - len(failures)} of {total} conversions of {len(rows)} cases hold")
    sys.exit(1 if failures else 0)


main()
