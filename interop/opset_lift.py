"""Runs small models in ONNX Runtime before and after an opset lift and compares what they compute.

One model per operator and combination of attributes, written at the version before a change, with random inputs. The lift itself is
done by the Go program in interop/liftopset, which this script builds. A case passes when the outputs agree, or when the lift says that
it is blocked where the case expects that. onnx.version_converter does the same lift where it can, as a third opinion.

    python interop/opset_lift.py [--to 13,19,22] [--only NAME] [-v]
"""

import argparse
import collections
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

ROOT = pathlib.Path(__file__).resolve().parent.parent
DTYPES = {np.dtype(k): v for k, v in [
    ("float32", T.FLOAT), ("float64", T.DOUBLE), ("float16", T.FLOAT16), ("int64", T.INT64), ("int32", T.INT32),
    ("int8", T.INT8), ("uint8", T.UINT8), ("bool", T.BOOL), ("uint32", T.UINT32)]}
rng = np.random.default_rng(7)
Case = collections.namedtuple("Case", "name opset model feeds blocked_at expected converter")
cases = []


def f32(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def vi(name, a, shape=None):
    return h.make_tensor_value_info(name, DTYPES[a.dtype], a.shape if shape is None else shape)


def add(name, opset, nodes, feeds, outputs, consts=(), blocked_at=None, expected=None, shapes=None, functions=(), opsets=(),
        converter=True, constants_as_nodes=False):
    """Adds a case. feeds: name → array. outputs: (name, element type). consts: name → array. blocked_at: the version whose change
    cannot be converted, or a function of the target. expected: outputs where ONNX Runtime has no kernel for the old form."""
    consts = dict(consts)
    if constants_as_nodes:
        nodes = [h.make_node("Constant", [], [k], value=numpy_helper.from_array(v)) for k, v in consts.items()] + list(nodes)
        consts = {}
    g = h.make_graph(nodes, "g", [vi(k, v, (shapes or {}).get(k)) for k, v in feeds.items()],
                     [h.make_tensor_value_info(n, t, None) for n, t in outputs],
                     [numpy_helper.from_array(v, k) for k, v in consts.items()])
    m = h.make_model(g, opset_imports=[h.make_opsetid("", opset), *opsets], functions=functions)
    m.ir_version = 9
    cases.append(Case(f"{name}@{opset}", opset, m, feeds, blocked_at, expected, converter and not functions))


def node(op, opset, feeds, attrs=None, outs=1, consts=None, tag="", out_types=None, inputs=None, **kw):
    """Adds a case of one node whose inputs are the feeds and then the consts, unless inputs says otherwise."""
    consts = consts or {}
    names = inputs if inputs is not None else [*feeds, *consts]
    first = next(iter(feeds.values())) if feeds else np.zeros(1, np.float32)
    types = out_types or [DTYPES[first.dtype]] * outs
    onames = [f"out{i}" for i in range(len(types))]
    add(op + (f"/{tag}" if tag else ""), opset, [h.make_node(op, names, onames, name="the_node", **(attrs or {}))], feeds,
        list(zip(onames, types)), consts, **kw)


def normalization():
    x, p = f32(2, 3, 4, 5), dict(s=f32(3), b=f32(3), m=f32(3), v=np.abs(f32(3)) + 0.5)
    for o in (7, 9, 14):
        node("BatchNormalization", o, {"x": x}, {"epsilon": 1e-3, "momentum": 0.8}, consts=p)
    node("BatchNormalization", 7, {"x": x}, {"spatial": 1}, consts=p, tag="spatial=1")
    q = dict(s=f32(3, 4, 5), b=f32(3, 4, 5), m=f32(3, 4, 5), v=np.abs(f32(3, 4, 5)) + 0.5)
    want = (x - q["m"]) / np.sqrt(q["v"] + 1e-5) * q["s"] + q["b"]
    node("BatchNormalization", 7, {"x": x}, {"spatial": 0}, consts=q, tag="spatial=0", expected=[want], converter=False)
    add("BatchNormalization/training", 9, [h.make_node("BatchNormalization", ["x", *p], ["y", "rm", "rv", "sm", "sv"])], {"x": x},
        [("y", T.FLOAT)], p, blocked_at=14)
    node("InstanceNormalization", 7, {"x": x}, consts=dict(s=f32(3), b=f32(3)))
    node("MeanVarianceNormalization", 9, {"x": x}, {"axes": [0, 2, 3]})
    node("LRN", 7, {"x": x}, {"size": 3})
    node("LpNormalization", 7, {"x": x}, {"axis": 1, "p": 2})
    node("LayerNormalization", 17, {"x": x}, {"axis": -1}, consts=dict(s=f32(5), b=f32(5)))
    for o in (9, 11, 16):  # ONNX Runtime has these in ONNX's own domain
        node("LayerNormalization", o, {"x": x}, {"axis": -1}, consts=dict(s=f32(5), b=f32(5)), converter=False)
        node("SimplifiedLayerNormalization", o, {"x": x}, {"axis": -1}, consts=dict(s=f32(5)), converter=False)
    node("ThresholdedRelu", 7, {"x": x}, {"alpha": 0.3}, converter=False)
    node("GroupNormalization", 18, {"x": f32(2, 6, 4)}, {"num_groups": 3}, consts=dict(s=f32(3), b=f32(3)), converter=False)
    node("GroupNormalization", 18, {"x": f32(2, 6, 4).astype(np.float16)}, {"num_groups": 3},
         consts=dict(s=f32(3).astype(np.float16), b=f32(3).astype(np.float16)), tag="f16", blocked_at=21, converter=False)


def dropout():
    x = f32(3, 4)
    for o in (7, 10, 12, 13):
        node("Dropout", o, {"x": x}, {"ratio": 0.3} if o < 12 else {})
        node("Dropout", o, {"x": x}, tag="plain")
        if o < 12:
            add("Dropout/unused-mask", o, [h.make_node("Dropout", ["x"], ["y", "mask"])], {"x": x}, [("y", T.FLOAT)])
            add("Dropout/used-mask", o, [h.make_node("Dropout", ["x"], ["y", "mask"])], {"x": x},
                [("y", T.FLOAT), ("mask", T.BOOL if o >= 10 else T.FLOAT)], blocked_at=10 if o == 7 else 12)


def resizing():
    x = f32(1, 2, 5, 6)
    for mode in ("nearest", "linear"):
        for s in ((1, 1, 2, 2), (1, 1, 2, 3), (1, 1, 1.7, 1.3)):
            node("Upsample", 7, {"x": x}, {"scales": [float(v) for v in s], "mode": mode}, tag=f"{mode}{s}")
            c = dict(s=np.array(s, np.float32))
            node("Upsample", 9, {"x": x}, {"mode": mode}, consts=c, tag=f"{mode}{s}")
            node("Resize", 10, {"x": x}, {"mode": mode}, consts=c, tag=f"{mode}{s}")
            node("Resize", 10, {"x": x}, {"mode": mode}, consts=c, tag=f"{mode}{s} Constant", constants_as_nodes=True)
        for s in ((1, 1, 0.5, 0.5), (1, 1, 0.6, 0.4), (1, 1, 1, 0.35)):
            node("Resize", 10, {"x": x}, {"mode": mode}, consts=dict(s=np.array(s, np.float32)), tag=f"{mode}{s}")
        node("Resize", 10, {"x": x}, {"mode": mode}, consts=dict(s=np.array((1, 1, 0.6, 1.7), np.float32)), tag=f"{mode} both ways",
             blocked_at=11 if mode == "nearest" else None)
        node("Resize", 10, {"x": x, "s": np.array((1, 1, 2, 2), np.float32)}, {"mode": mode}, tag=f"{mode} scales not constant",
             blocked_at=11 if mode == "nearest" else None, converter=False)
        node("Upsample", 9, {"x": x, "s": np.array((1, 1, 2, 2), np.float32)}, {"mode": mode}, tag=f"{mode} scales not constant",
             converter=False)
    roi, empty = dict(r=np.zeros(0, np.float32)), np.zeros(0, np.float32)
    for mode, coord, near in [("nearest", "asymmetric", "floor"), ("nearest", "half_pixel", "round_prefer_floor"),
                              ("nearest", "half_pixel", "ceil"), ("nearest", "tf_half_pixel_for_nn", "floor"),
                              ("nearest", "align_corners", "round_prefer_ceil"), ("linear", "half_pixel", "floor"),
                              ("linear", "pytorch_half_pixel", "floor"), ("linear", "align_corners", "floor"),
                              ("cubic", "half_pixel", "floor"), ("cubic", "align_corners", "floor")]:
        a = {"mode": mode, "coordinate_transformation_mode": coord, "nearest_mode": near}
        for s in ((1, 1, 2, 3), (1, 1, 1.5, 0.7)):
            node("Resize", 11, {"x": x}, a, consts={**roi, "s": np.array(s, np.float32)}, tag=f"{mode} {coord} {near} {s}")
        node("Resize", 11, {"x": x}, a, consts={**roi, "s": empty, "z": ints(1, 2, 9, 4)}, tag=f"{mode} {coord} {near} sizes")
        if coord != "tf_half_pixel_for_nn":
            node("Resize", 13, {"x": x}, a, consts=dict(z=ints(1, 2, 9, 4)), inputs=["x", "", "", "z"], tag=f"{mode} {coord} {near} sizes")
    node("Resize", 11, {"x": x}, {"mode": "linear", "coordinate_transformation_mode": "tf_half_pixel_for_nn"},
         consts={**roi, "s": np.array((1, 1, 2, 2), np.float32)}, tag="linear tf_half_pixel_for_nn", blocked_at=13)
    node("Resize", 11, {"x": x}, {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 2.0},
         consts=dict(r=np.array((0, 0, .1, .2, 1, 1, 1.1, .8), np.float32), s=empty, z=ints(1, 2, 4, 4)), tag="crop")


def attributes_to_inputs():
    x = f32(2, 3, 4, 5)
    for o in (7, 11, 12):
        node("Squeeze", o, {"x": f32(1, 3, 1, 5)}, {"axes": [0, 2]})
        node("Squeeze", o, {"x": f32(1, 3, 1, 5)}, tag="all")
        node("Unsqueeze", o, {"x": x}, {"axes": [0, 3]})
        for r in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split():
            for a in ({"axes": [1, 2]}, {"axes": [1], "keepdims": 0}, {}, {"keepdims": 0}):
                node("Reduce" + r, o, {"x": np.abs(x) + 0.1}, a, tag=str(a))
        node("Split", o, {"x": x}, {"axis": 2, "split": [1, 3]}, outs=2)
        node("Split", o, {"x": x}, {"axis": 2}, outs=2, tag="equal")
    for r in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split():
        consts = dict(a=ints(1, -1)) if r == "Sum" else {}
        node("Reduce" + r, 13, {"x": np.abs(x) + 0.1}, {} if consts else {"axes": [1, -1]}, consts=consts)
    node("Squeeze", 11, {"x": f32(1, 3, 1, 5)}, {"axes": [-2]}, tag="negative")
    node("Unsqueeze", 11, {"x": x}, {"axes": [-1, 0]}, tag="negative")
    node("Split", 11, {"x": x}, {"axis": -2, "split": [3, 1]}, outs=2, tag="negative")
    node("Split", 13, {"x": x}, {"axis": -2}, consts=dict(s=ints(3, 1)), outs=2)
    node("Split", 13, {"x": x}, {"axis": -2}, outs=4, tag="equal")
    for o in (7, 8, 9):
        node("Slice", o, {"x": x}, {"starts": [1, -2], "ends": [2, 9223372036854775807], "axes": [1, 3]})
        node("Slice", o, {"x": x}, {"starts": [0, 1], "ends": [1, 2]}, tag="no axes")
        node("Slice", o, {"x": x.astype(np.int64)}, {"starts": [-3], "ends": [-1], "axes": [2]}, tag="int64")
        node("TopK", o, {"x": f32(3, 8)}, {"k": 3, "axis": 1}, out_types=[T.FLOAT, T.INT64])
    node("TopK", 10, {"x": f32(3, 8)}, {"axis": -1}, consts=dict(k=ints(3)), out_types=[T.FLOAT, T.INT64])
    node("Slice", 10, {"x": x}, consts=dict(s=ints(0, 4), e=ints(2, 0), a=ints(1, 3), t=ints(1, -2)))
    for o in (7, 10):
        for mode in ("constant", "reflect", "edge"):
            node("Pad", o, {"x": x}, {"pads": [0, 0, 1, 2, 0, 0, 2, 1], "mode": mode, "value": 1.5}, tag=mode)
        node("Pad", o, {"x": x}, {"pads": [0, 0, 1, 2, 0, 0, 2, 1]}, tag="zero")
        node("Pad", o, {"x": x}, {"pads": [0, 0, -1, 2, 0, 0, 2, -1]}, tag="negative")
        node("Pad", o, {"x": x.astype(np.float64)}, {"pads": [0, 0, 1, 2, 0, 0, 2, 1], "value": 0.1}, tag="f64")
    for o in (11, 13, 18):
        node("Pad", o, {"x": x}, consts=dict(p=ints(0, 0, 1, 2, 0, 0, 2, 1), v=np.array(0.5, np.float32)))
    for o in (7, 10):
        for a in ({}, {"min": -0.5}, {"max": 0.5}, {"min": -0.5, "max": 0.5}, {"min": 0.0, "max": 6.0}):
            node("Clip", o, {"x": x}, a, tag=str(a))
            half = x.astype(np.float16)  # ONNX Runtime has no kernel for the old form
            node("Clip", o, {"x": half}, a, tag=f"f16 {a}", converter=False,
                 expected=[np.clip(half, np.float16(a.get("min", -65504)), np.float16(a.get("max", 65504)))])
        node("Clip", o, {"x": x}, {"min": 0.5, "max": -0.5}, tag="min above max", blocked_at=11, converter=False)
    node("Clip", 11, {"x": x}, consts=dict(lo=np.array(-0.5, np.float32), hi=np.array(0.5, np.float32)))
    node("Clip", 12, {"x": x}, consts=dict(lo=np.array(0.5, np.float32), hi=np.array(-0.5, np.float32)), tag="min above max")
    node("DFT", 17, {"x": f32(2, 8, 4, 1)}, tag="default axis", converter=False)
    node("DFT", 17, {"x": f32(2, 8, 4, 1)}, {"axis": 2, "onesided": 1}, tag="onesided", converter=False)
    node("DFT", 17, {"x": f32(2, 8, 4, 2)}, {"axis": 2, "inverse": 1}, consts=dict(n=np.array(4, np.int64)), tag="inverse",
         converter=False)


def softmax():
    for op in ("Softmax", "LogSoftmax", "Hardmax"):
        for o in (7, 11):
            for shape in ((4, 5), (2, 3, 4), (2, 3, 1, 1), (2, 3, 4, 5)):
                for axis in ([None] + list(range(len(shape))) + ([-1, -2] if o == 11 else [])):
                    a = {} if axis is None else {"axis": axis}
                    node(op, o, {"x": f32(*shape)}, a, tag=f"{shape} {axis}")
                    node(op, o, {"x": f32(*shape)}, a, tag=f"{shape} {axis} unknown extents", shapes={"x": ["n%d" % i for i in range(len(shape))]},
                         converter=False)
        node(op, 13, {"x": f32(2, 3, 4)}, {"axis": 1})


def pooling():
    x = f32(1, 2, 7, 8)
    for o in (7, 8, 10, 11, 12, 18):
        for op in ("MaxPool", "AveragePool"):
            for a in ({"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1]}, {"kernel_shape": [2, 2]},
                      {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]},
                      {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER", "strides": [2, 2]},
                      {"kernel_shape": [3, 3], "auto_pad": "VALID", "strides": [2, 2]}):
                node(op, o, {"x": x}, a, tag=str(a))
        a = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1}
        node("AveragePool", o, {"x": x}, a, tag="include pad")
        if o >= 10:
            b = {**a, "ceil_mode": 1}
            node("AveragePool", o, {"x": x}, b, tag="ceil include pad", blocked_at=19 if o < 19 else None)
            node("AveragePool", o, {"x": f32(1, 2, 7, 7)}, b, tag="ceil include pad even")
            c = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}
            node("AveragePool", o, {"x": x}, c, tag="ceil")
            node("MaxPool", o, {"x": x}, c, tag="ceil")
            d = {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}
            node("MaxPool", o, {"x": x}, d, tag="ceil window in padding", blocked_at=22)
            node("MaxPool", o, {"x": f32(1, 2, 9, 9)}, d, tag="ceil no window in padding")
            node("MaxPool", o, {"x": x}, {"kernel_shape": [2, 2], "dilations": [2, 3]}, tag="dilations")
        if o >= 8:
            node("MaxPool", o, {"x": x}, {"kernel_shape": [2, 2], "strides": [2, 2]}, out_types=[T.FLOAT, T.INT64], tag="indices")
        node("LpPool", o, {"x": x}, {"kernel_shape": [3, 2], "p": 2, "strides": [2, 1], "pads": [1, 0, 1, 1]})
        for op in ("GlobalAveragePool", "GlobalMaxPool"):
            node(op, o, {"x": x})
    w = f32(2, 2, 3, 3)
    for o in (7, 10):
        node("Conv", o, {"x": x}, {"pads": [1, 1, 1, 1], "strides": [2, 1]}, consts=dict(w=w, b=f32(2)))
        node("Conv", o, {"x": x}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, consts=dict(w=w), tag="same")
        for a in ({"strides": [2, 2]}, {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
                  {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
                  {"strides": [2, 2], "output_shape": [13, 15]}):
            node("ConvTranspose", o, {"x": x}, a, consts=dict(w=w), tag=str(a))
        node("ConvTranspose", o, {"x": x}, {"strides": [2, 2], "output_shape": [14, 16]}, consts=dict(w=w), tag="odd output_shape",
             blocked_at=11)
    node("MaxUnpool", 9, {"x": f32(1, 1, 2, 2)}, {"kernel_shape": [2, 2], "strides": [2, 2]}, consts=dict(i=ints(0, 3, 8, 15).reshape(1, 1, 2, 2)))
    rois = dict(r=np.array([[0, 0, 4, 4], [1, 1, 6, 6]], np.float32), i=ints(0, 0))
    for mode in ("avg", "max"):
        node("RoiAlign", 10, {"x": x}, {"output_height": 2, "output_width": 2, "spatial_scale": 0.9, "sampling_ratio": 2, "mode": mode},
             consts=rois, tag=mode, converter=False)
    node("MaxRoiPool", 7, {"x": x}, {"pooled_shape": [2, 2]}, consts=dict(r=np.array([[0, 0, 0, 4, 4]], np.float32)))
    grid = np.clip(f32(1, 3, 4, 2), -1, 1)
    for mode in (None, "bilinear", "nearest", "bicubic"):
        node("GridSample", 16, {"x": x}, {} if mode is None else {"mode": mode}, consts=dict(g=grid), tag=str(mode))


def elementwise():
    x, y = f32(3, 4), f32(3, 4)
    for o in (7, 9, 12, 13):
        for op in "Abs Ceil Elu Exp Floor HardSigmoid Identity LeakyRelu Neg Relu Selu Sigmoid Softplus Softsign Tanh".split():
            node(op, o, {"x": x})
        for op in "Log Sqrt Reciprocal".split():
            node(op, o, {"x": np.abs(x) + 0.1})
        for op in "Acos Asin Atan Cos Sin Tan".split():
            node(op, o, {"x": np.tanh(x)})
        for op in "Add Sub Mul Div PRelu".split():
            node(op, o, {"x": x, "y": y[:1]})
            if op != "PRelu":
                node(op, o, {"x": (x * 9).astype(np.int32), "y": np.full((1, 4), 3, np.int32)}, tag="int32")
        node("Pow", o, {"x": np.abs(x) + 0.1, "y": y})
        for op in "Max Min Mean Sum".split():
            node(op, o, {"x": x, "y": y, "z": f32(3, 4)}, inputs=["x", "y", "z"])
        for op in "Less Greater Equal".split():
            c = np.int64 if op == "Equal" else np.float32
            node(op, o, {"x": (x * 2).astype(c), "y": (y * 2).astype(c)}, out_types=[T.BOOL])
        for op in "And Or Xor".split():
            node(op, o, {"x": x > 0, "y": y > 0})
        node("Not", o, {"x": x > 0})
        for t in (T.INT32, T.FLOAT16, T.BOOL, T.DOUBLE, T.INT64, T.UINT8):
            node("Cast", o, {"x": np.abs(x) * 9}, {"to": t}, out_types=[t], tag=str(t))
        for op in ("ArgMax", "ArgMin"):
            node(op, o, {"x": np.round(x)}, {"axis": 1}, out_types=[T.INT64])
    for o in (8, 11):
        for op in "Max Min Mean Sum".split():
            node(op, o, {"x": x, "y": y[:1]}, tag="broadcast")
    for op, o in (("Acosh", 9), ("Asinh", 9), ("Atanh", 9), ("Cosh", 9), ("Sinh", 9), ("Erf", 9), ("Sign", 9), ("Round", 11), ("Celu", 12),
                  ("HardSwish", 14), ("ThresholdedRelu", 10), ("Shrink", 9)):
        node(op, o, {"x": np.tanh(x) * 0.9 + (1.5 if op == "Acosh" else 0)})
    for o in (9, 11, 13):
        node("IsNaN", o, {"x": np.where(x > 0, np.nan, x).astype(np.float32)}, out_types=[T.BOOL])
        node("Where", o, {"c": x > 0, "x": x, "y": y}, out_types=[T.FLOAT])
        node("NonZero", o, {"x": np.round(x)}, out_types=[T.INT64])
    node("IsInf", 10, {"x": np.where(x > 0, np.inf, x).astype(np.float32)}, out_types=[T.BOOL])
    node("Mod", 10, {"x": (x * 9).astype(np.int32), "y": np.full((3, 4), -4, np.int32)})
    node("Mod", 10, {"x": x, "y": y}, {"fmod": 1}, tag="fmod")
    node("Erf", 9, {"x": x.astype(np.int32)}, tag="int32", blocked_at=13, converter=False)
    node("BitShift", 11, {"x": np.arange(4, dtype=np.uint8), "y": np.ones(4, np.uint8)}, {"direction": "LEFT"})
    node("CumSum", 11, {"x": x}, consts=dict(a=np.array(1, np.int32)))
    node("GreaterOrEqual", 12, {"x": x, "y": y}, out_types=[T.BOOL])
    node("LessOrEqual", 12, {"x": x, "y": y}, out_types=[T.BOOL])
    for t in (T.FLOAT8E4M3FN, T.FLOAT8E5M2, T.FLOAT8E4M3FNUZ, T.FLOAT8E5M2FNUZ):
        fnuz = t in (T.FLOAT8E4M3FNUZ, T.FLOAT8E5M2FNUZ)
        for attrs in ({}, {"saturate": 0}):
            add(f"Cast/{t} {attrs}", 19, [h.make_node("Cast", ["x"], ["q"], to=t, **attrs), h.make_node("Cast", ["q"], ["y"], to=T.FLOAT)],
                {"x": x * 300}, [("y", T.FLOAT)], blocked_at=24 if fnuz and not attrs else None)
        add(f"QuantizeLinear/{t}", 19, [h.make_node("Cast", ["z"], ["zero"], to=t), h.make_node("QuantizeLinear", ["x", "s", "zero"], ["q"]),
                                        h.make_node("Cast", ["q"], ["y"], to=T.FLOAT)],
            {"x": x}, [("y", T.FLOAT)], dict(z=np.array(0, np.float32), s=np.array(0.1, np.float32)), blocked_at=24 if fnuz else None)
    add("Affine", 9, [h.make_node("Affine", ["x"], ["y"], alpha=2.0)], {"x": x}, [("y", T.FLOAT)], blocked_at=lambda to: True, converter=False)
    node("CastLike", 15, {"x": x}, consts=dict(l=np.zeros(1, np.float16)), out_types=[T.FLOAT16])


def first_versions():
    """What came before version 7, where ONNX Runtime has no kernels: numpy says what the old forms mean."""
    x, b = f32(2, 3, 4), f32(3)
    for op, fn in (("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Div", np.divide)):
        node(op, 6, {"x": x}, {"broadcast": 1, "axis": 1}, consts=dict(b=b), expected=[fn(x, b[:, None])], tag="axis", converter=False)
        node(op, 6, {"x": x}, {"broadcast": 1}, consts=dict(b=x[0, 0]), expected=[fn(x, x[0, 0])], tag="suffix", converter=False)
        node(op, 1, {"x": x}, {"consumed_inputs": [0, 0]}, consts=dict(b=x[::-1].copy()), expected=[fn(x, x[::-1])], converter=False)
    g = f32(2)
    node("Greater", 6, {"x": x}, {"broadcast": 1, "axis": 0}, consts=dict(b=g), expected=[x > g[:, None, None]], out_types=[T.BOOL], tag="axis", converter=False)
    a, w, c = f32(2, 3), f32(4, 3), f32(4)
    node("Gemm", 6, {"a": a}, {"broadcast": 1, "transB": 1}, consts=dict(w=w, c=c), expected=[a @ w.T + c], converter=False)
    node("MatMul", 6, {"a": a}, consts=dict(w=w.T.copy()), expected=[a @ w.T], converter=False)
    node("Relu", 1, {"x": x}, {"consumed_inputs": [0]}, expected=[np.maximum(x, 0)], converter=False)
    node("Dropout", 6, {"x": x}, {"is_test": 1, "ratio": 0.5}, expected=[x], converter=False)
    node("Dropout", 6, {"x": x}, tag="training", blocked_at=7, expected=[x], converter=False)
    node("Reshape", 1, {"x": x}, {"shape": [0, -1]}, expected=[x.reshape(2, -1)], converter=False)
    node("Concat", 1, {"x": x, "y": x}, expected=[np.concatenate([x, x], 1)], converter=False)
    node("Tile", 1, {"x": x}, consts=dict(t=np.array(2, np.int64), a=np.array(0, np.int64)), blocked_at=6, expected=[x], converter=False)


def layout():
    x = f32(2, 3, 4)
    for o in (7, 9, 11, 12, 13):
        node("Transpose", o, {"x": x}, {"perm": [2, 0, 1]})
        node("Reshape", o, {"x": x}, consts=dict(s=ints(0, -1)))
        node("Flatten", o, {"x": x}, {"axis": 2})
        node("Concat", o, {"x": x, "y": x}, {"axis": 1})
        node("Gather", o, {"x": x}, {"axis": 1}, consts=dict(i=ints(2, 0)))
        node("Shape", o, {"x": x}, out_types=[T.INT64])
        node("Size", o, {"x": x}, out_types=[T.INT64])
        node("Tile", o, {"x": x}, consts=dict(r=ints(1, 2, 1)))
        node("SpaceToDepth", o, {"x": f32(1, 2, 4, 4)}, {"blocksize": 2})
        node("DepthToSpace", o, {"x": f32(1, 8, 2, 2)}, {"blocksize": 2})
        node("MatMul", o, {"x": f32(3, 4), "y": f32(4, 5)})
        node("Gemm", o, {"x": f32(3, 4), "y": f32(5, 4)}, {"transB": 1, "alpha": 0.5, "beta": 2.0}, consts=dict(c=f32(5)))
    for o in (8, 12):
        node("Expand", o, {"x": f32(3, 1)}, consts=dict(s=ints(2, 1, 4)))
    for o in (9, 10):
        for axis in ({}, {"axis": 1}):
            u = f32(2, 2, 4) if axis == {} else f32(2, 2, 4)
            node("Scatter", o, {"x": f32(3, 3, 4)}, axis, consts=dict(i=np.tile(ints(0, 2).reshape(2, 1, 1) if axis == {} else ints(0, 2).reshape(1, 2, 1), (1, 2, 4) if axis == {} else (2, 1, 4)), u=u), tag=str(axis))
        node("OneHot", o, {"i": ints(0, 2, 5, 1)}, consts=dict(d=np.array(3, np.int64), v=np.array([0, 1], np.float32)), out_types=[T.FLOAT])
        node("Compress", o, {"x": x}, {"axis": 1}, consts=dict(c=np.array([True, False, True])))
        node("ConstantOfShape", o, {"s": ints(2, 3)}, {"value": h.make_tensor("v", T.FLOAT, [1], [2.5])}, out_types=[T.FLOAT])
        node("EyeLike", o, {"x": f32(3, 4)})
    for o in (11, 13, 16):
        node("ScatterElements", o, {"x": f32(3, 4)}, {"axis": 1}, consts=dict(i=ints(0, 3, 1).reshape(3, 1), u=f32(3, 1)))
        node("ScatterND", o, {"x": f32(3, 4)}, consts=dict(i=ints(0, 2).reshape(2, 1), u=f32(2, 4)))
        node("GatherElements", o, {"x": f32(3, 4)}, {"axis": 1}, consts=dict(i=ints(0, 3, 1).reshape(3, 1)))
        node("GatherND", o, {"x": f32(3, 4)}, consts=dict(i=ints(0, 2).reshape(2, 1)))
        node("Range", o, {"s": np.array(1.0, np.float32), "l": np.array(7.0, np.float32), "d": np.array(2.0, np.float32)})
        node("Unique", o, {"x": np.round(f32(8))}, out_types=[T.FLOAT])
        node("DepthToSpace", o, {"x": f32(1, 8, 2, 2)}, {"blocksize": 2, "mode": "CRD"}, tag="CRD")
        node("Det", o, {"x": f32(2, 3, 3)})
    boxes = np.sort(np.abs(f32(1, 6, 4)), axis=-1)[..., [0, 1, 2, 3]]
    for o in (10, 11):
        node("NonMaxSuppression", o, {"b": boxes, "s": np.abs(f32(1, 1, 6))}, consts=dict(n=ints(3), i=np.array([0.3], np.float32)), out_types=[T.INT64])
    node("ReverseSequence", 10, {"x": f32(4, 3)}, {"time_axis": 0, "batch_axis": 1}, consts=dict(l=ints(2, 4, 1)))
    node("Einsum", 12, {"x": f32(3, 4), "y": f32(4, 5)}, {"equation": "ij,jk->ik"})
    node("Trilu", 14, {"x": f32(4, 4)})
    for o in (10, 13):
        for z in (np.uint8, np.int8):
            q = dict(s=np.array(0.1, np.float32), z=np.array(3, z))
            node("QuantizeLinear", o, {"x": f32(3, 4)}, consts=q, out_types=[DTYPES[np.dtype(z)]], tag=z.__name__)
            node("DequantizeLinear", o, {"x": np.arange(12).reshape(3, 4).astype(z)}, consts=q, out_types=[T.FLOAT], tag=z.__name__)
    node("DequantizeLinear", 13, {"x": np.arange(12).reshape(3, 4).astype(np.int8)}, {"axis": 0},
         consts=dict(s=np.abs(f32(3)), z=np.array([1, 2, 3], np.int8)), out_types=[T.FLOAT], tag="per axis")
    node("DynamicQuantizeLinear", 11, {"x": f32(3, 4)}, out_types=[T.UINT8, T.FLOAT, T.UINT8])
    node("MatMulInteger", 10, {"x": np.arange(12).reshape(3, 4).astype(np.uint8), "y": np.arange(8).reshape(4, 2).astype(np.uint8)}, out_types=[T.INT32])


def recurrent():
    x = f32(5, 2, 3)
    for o in (7, 13):
        for op, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
            for d in ("forward", "bidirectional"):
                n = 2 if d == "bidirectional" else 1
                node(op, o, {"x": x}, {"hidden_size": 4, "direction": d}, consts=dict(w=f32(n, 4 * gates, 3), r=f32(n, 4 * gates, 4), b=f32(n, 8 * gates)),
                     outs=2, tag=d)


def structure():
    x = f32(2, 3)

    def sub(name, nodes, inputs, outputs, inits=()):
        return h.make_graph(nodes, name, [h.make_tensor_value_info(n, t, s) for n, t, s in inputs],
                            [h.make_tensor_value_info(n, t, s) for n, t, s in outputs], inits)

    then = sub("then", [h.make_node("Unsqueeze", ["x"], ["t0"], axes=[0]), h.make_node("ReduceSum", ["t0"], ["t"], axes=[2])], [], [("t", T.FLOAT, None)])
    other = sub("else", [h.make_node("Unsqueeze", ["x"], ["e0"], axes=[0]), h.make_node("Softmax", ["e0"], ["e1"], axis=1),
                         h.make_node("ReduceMax", ["e1"], ["e"], axes=[2])], [], [("e", T.FLOAT, None)])
    for o in (9, 11):
        for c in (True, False):
            add(f"If/{c}", o, [h.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)], {"c": np.array(c), "x": x}, [("y", T.FLOAT)])
    body = sub("body", [h.make_node("Dropout", ["v"], ["d"], ratio=0.25), h.make_node("Clip", ["d"], ["k"], min=-1.0, max=1.0),
                        h.make_node("Add", ["k", "x"], ["vo"]), h.make_node("Identity", ["ci"], ["co"]),
                        h.make_node("Squeeze", ["u"], ["s"], axes=[0]), h.make_node("Unsqueeze", ["vo"], ["u"], axes=[0])],
               [("i", T.INT64, []), ("ci", T.BOOL, []), ("v", T.FLOAT, [2, 3])], [("co", T.BOOL, []), ("vo", T.FLOAT, [2, 3]), ("s", T.FLOAT, [2, 3])])
    body.node.sort(key=lambda n: n.op_type == "Squeeze")
    for o in (9, 10):
        add("Loop", o, [h.make_node("Loop", ["n", "c", "x"], ["y", "ys"], body=body)], {"x": x}, [("y", T.FLOAT), ("ys", T.FLOAT)],
            dict(n=np.array(3, np.int64), c=np.array(True)))
    scan = sub("scan", [h.make_node("Add", ["s", "e"], ["so"]), h.make_node("Softmax", ["so"], ["eo"], axis=0)],
               [("s", T.FLOAT, [3]), ("e", T.FLOAT, [3])], [("so", T.FLOAT, [3]), ("eo", T.FLOAT, [3])])
    for b in (1, 2):
        for a in ({}, {"directions": [1]}):
            add(f"Scan/batch {b} {a}", 8, [h.make_node("Scan", ["", "s", "e"], ["y", "ys"], body=scan, num_scan_inputs=1, **a)],
                {"s": f32(b, 3), "e": f32(b, 5, 3)}, [("y", T.FLOAT), ("ys", T.FLOAT)], blocked_at=9 if b == 2 else None, converter=False)
    add("Scan", 9, [h.make_node("Scan", ["s", "e"], ["y", "ys"], body=scan, num_scan_inputs=1, scan_input_directions=[1])],
        {"s": f32(3), "e": f32(5, 3)}, [("y", T.FLOAT), ("ys", T.FLOAT)])
    for o in (9, 12):
        fn = h.make_function("local", "F", ["a"], ["b"], [
            h.make_node("Softmax", ["a"], ["s"], axis=1), h.make_node("Clip", ["s"], ["k"], **({"min": 0.1} if o < 11 else {})),
            h.make_node("Unsqueeze", ["k"], ["u"], axes=[0]), h.make_node("ReduceMean", ["u"], ["b"], keepdims=0)],
            [h.make_opsetid("", o)])
        ref = h.make_node("ReduceMax", ["q"], ["c"])
        ref.attribute.append(onnx.AttributeProto(name="axes", ref_attr_name="over", type=onnx.AttributeProto.INTS))
        fn2 = h.make_function("local", "G", ["q"], ["c"], [ref], [h.make_opsetid("", o)], ["over"])
        add("functions", o, [h.make_node("G", ["x"], ["g"], domain="local", over=[1]), h.make_node("F", ["g"], ["y"], domain="local")],
            {"x": f32(2, 3, 4)}, [("y", T.FLOAT)], functions=[fn, fn2], opsets=[h.make_opsetid("local", 1)],
            blocked_at=(lambda to: to < 15) if o < 11 else None)  # nothing tells Clip's element type in F, and CastLike came with 15
    add("chain", 8, [h.make_node("Squeeze", ["x"], ["a"], axes=[0]), h.make_node("Unsqueeze", ["a"], ["b"], axes=[0]),
                     h.make_node("Upsample", ["b"], ["u"], scales=[1.0, 1.0, 2.0, 2.0]), h.make_node("Pad", ["u"], ["p"], pads=[0, 0, 1, 1, 0, 0, 1, 1]),
                     h.make_node("ReduceMean", ["p"], ["m"], axes=[2, 3], keepdims=0), h.make_node("Softmax", ["m"], ["y"])],
        {"x": f32(1, 3, 4, 4)}, [("y", T.FLOAT)])


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def difference(a, b):
    """The largest difference relative to the largest value; None when shapes or types differ."""
    worst = 0.0
    for x, y in zip(a, b):
        x, y = np.asarray(x), np.asarray(y)
        if x.shape != y.shape or x.dtype != y.dtype:
            return None
        if x.dtype.kind in "fc" and x.size:
            same = (x == y) | (np.isnan(x) & np.isnan(y))
            with np.errstate(invalid="ignore"):
                d = np.where(same, 0, np.abs(x.astype(np.float64) - y)) / (np.abs(x[np.isfinite(x)]).max(initial=0) or 1)
            worst = max(worst, float(np.nan_to_num(d, nan=np.inf).max()))
        elif x.size and (x != y).any():
            return float("inf")
    return worst


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--to", default="", help="target versions, comma separated")
    p.add_argument("--only", default="", help="only cases whose name contains this")
    p.add_argument("-v", action="store_true", help="a line for every case")
    args = p.parse_args()
    newest = 22 if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 23) else 25
    targets = [int(t) for t in args.to.split(",")] if args.to else [13, 19, 22] + [25] * (newest >= 25)
    onnxruntime.set_default_logger_severity(4)
    for make in (normalization, dropout, resizing, attributes_to_inputs, softmax, pooling, elementwise, first_versions, layout, recurrent, structure):
        make()
    todo = [c for c in cases if args.only in c.name]
    failures = []
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}, {len(todo)} models")
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        tool = tmp / "liftopset"
        subprocess.run(["go", "build", "-o", tool, "./interop/liftopset"], cwd=ROOT, check=True)
        before = {}
        for c in todo:
            try:
                before[c.name] = c.expected or run(c.model, c.feeds)
            except Exception as e:
                before[c.name] = e
                continue
            for o, v in zip(c.model.graph.output, before[c.name]):  # onnx.checker asks for ranks; the extents stay unknown
                o.type.tensor_type.shape.SetInParent()
                for i in range(np.asarray(v).ndim):
                    o.type.tensor_type.shape.dim.add(dim_param=f"{o.name}_{i}")
        for to in targets:
            count = collections.Counter()
            part = [c for c in todo if c.opset < to]
            for i, c in enumerate(part):
                onnx.save(c.model, tmp / f"{i}.onnx")
            pairs = [str(tmp / f"{i}{s}.onnx") for i in range(len(part)) for s in ("", ".out")]
            for i in range(len(part)):
                (tmp / f"{i}.out.onnx").unlink(missing_ok=True)
            out = subprocess.run([tool, "-to", str(to), *pairs], check=True, capture_output=True, text=True).stdout.splitlines()
            for i, c in enumerate(part):
                verdict, note = judge(c, to, before[c.name], out[i], tmp / f"{i}.out.onnx")
                count[verdict] += 1
                if verdict.startswith("FAIL"):
                    failures.append(c.name)
                if args.v or verdict.startswith("FAIL"):
                    print(f"  to {to}: {c.name}: {verdict}: {note}")
                if verdict in ("bit-identical", "within 1e-6") and c.converter:
                    third(c, to, before[c.name], count, args.v)
            print(f"to {to}: " + ", ".join(f"{k} {v}" for k, v in sorted(count.items())))
    print("failed: " + str(len(failures)))
    return 1 if failures else 0


def judge(c, to, want, line, path):
    expect_block = c.blocked_at(to) if callable(c.blocked_at) else c.blocked_at is not None and c.blocked_at <= to
    if line.startswith("blocked"):
        return ("blocked as expected", line) if expect_block else ("FAIL blocked", line)
    if not line.startswith("lifted"):
        return "FAIL tool", line
    if expect_block:
        return "FAIL not blocked", line
    m = onnx.load(path)
    try:
        onnx.checker.check_model(m, full_check=True)
    except Exception as e:
        if valid(c.model):
            return "FAIL checker", str(e).strip().replace("\n", " ")
    if isinstance(want, Exception):
        try:
            run(m, c.feeds)
            return "old form not runnable here, new form is", str(want).splitlines()[0]
        except Exception:
            return "neither form runnable here, new form valid", str(want).splitlines()[0]
    try:
        got = run(m, c.feeds)
    except Exception as e:
        # No kernel at this version in this runtime says nothing about the lift.
        if "NOT_IMPLEMENTED" in str(e) or "Could not find an implementation" in str(e):
            return "no kernel for the new form here", str(e).splitlines()[0]
        return "FAIL run", str(e).splitlines()[0]
    d = difference(want, got)
    if d is None or d > 1e-6:
        return "FAIL differs", f"by {d}"
    return ("bit-identical" if d == 0 else "within 1e-6"), f"{d}"


def valid(model):
    try:
        onnx.checker.check_model(model, full_check=True)
        return True
    except Exception:
        return False


def third(c, to, want, count, verbose):
    """What onnx.version_converter makes of the same model."""
    try:
        got = run(onnx.version_converter.convert_version(c.model, to), c.feeds)
    except Exception:
        count["(version_converter: cannot)"] += 1
        return
    d = difference(want, got)
    ok = d is not None and d <= 1e-6
    count["(version_converter: agrees)" if ok else "(version_converter: differs from the original)"] += 1
    if not ok and verbose:
        print(f"  to {to}: {c.name}: version_converter differs by {d}")


if __name__ == "__main__":
    sys.exit(main())
