package ops

import (
	"math"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Body is the function that defines the variant in ONNX's own operators, importing them at opset. That must be the version that
// the model itself imports (onnx's checker refuses another one), at least MinOpset; the nodes are the same at every version up
// to 26. docs/FLOAT8LINEAR.md lists the nodes and gives the reason for each form.
func Body(v Variant, opset int64) *graph.Function {
	b := builder{made: map[string]bool{}}
	x := b.activation(v)
	b.product(x, b.weight(v))
	return &graph.Function{
		Name:     v.FunctionName(),
		Domain:   Domain,
		Doc:      "float8 linear layer, y = x . transpose(weight); see https://github.com/fp8rewrite/fp8rewrite/blob/main/docs/FLOAT8LINEAR.md",
		Inputs:   slices.Clone(inputNames[:]),
		Outputs:  slices.Clone(outputNames[:]),
		Defaults: defaults(),
		Nodes:    append(b.constants, b.nodes...),
		Opsets:   []graph.Opset{{Domain: "", Version: opset}},
	}
}

// operand is one side of the product. scale is the name of its quantization scale, "" where values is not a tensor of codes but
// of values.
type operand struct{ values, scale string }

// activation casts the input and measures it: amax_input is ReduceMax(Abs), 0 for no elements (where ReduceMax gives -Inf), and NaN
// where an element is. ReduceMax alone loses NaN in ONNX Runtime; the sum of magnitudes is NaN exactly when an element is.
func (b *builder) activation(v Variant) operand {
	b.add("Cast", "x", "input").SetAttr(to(tensor.Float32))
	b.add("Abs", "x_abs", "x")
	b.add("ReduceMax", "x_max", "x_abs").SetAttr(graph.Int("keepdims", 0))
	b.add("Max", "x_max0", "x_max", b.float("zero", 0))
	b.add("ReduceSum", "x_sum", "x_abs").SetAttr(graph.Int("keepdims", 0))
	b.add("IsNaN", "x_nan", "x_sum")
	b.add("Where", "amax_input", "x_nan", "x_sum", "x_max0")
	switch v.Input {
	case InputDelayed:
		return b.quantize("x", "x", "scale_input", "scale_input")
	case InputDynamic:
		scale := b.dynamicScale("x", "amax_input", "scale_input", v.PowerOfTwo)
		return b.quantize("x", "x", scale, scale)
	}
	return operand{values: "x"}
}

// weight is the codes of the weight, [N, K], or its values where the activation is not cast. Nothing here depends on the
// activation, so a runtime that folds constants does all of it once.
func (b *builder) weight(v Variant) operand {
	w := operand{scale: "scale_weight"}
	switch v.Weight {
	case WeightFloat8:
		b.add("Cast", "w_codes", "weight").SetAttr(to(tensor.Float32))
		w.values = "w_codes"
	default:
		b.add("Cast", "w", "weight").SetAttr(to(tensor.Float32))
		if v.Weight == WeightDynamic {
			w.scale = b.dynamicScale("w", b.weightAmax(), "scale_weight", v.PowerOfTwo)
		}
		w = b.quantize("w", "w", b.rows(w.scale), w.scale)
	}
	if v.Input != InputOff {
		return w
	}
	// Scaling the weight here instead of the product lets a runtime fold it into one float32 constant, and no sum of 448·x
	// overflows.
	b.add("Reciprocal", "w_inverse_scale", b.rows(w.scale))
	b.add("Mul", "w_dequantized", w.values, "w_inverse_scale")
	return operand{values: "w_dequantized"}
}

// product multiplies and undoes the scales: output = T((Σ x·w) · 1/(s_x·s_w)).
func (b *builder) product(x, w operand) {
	b.add("Transpose", "w_transposed", w.values).SetAttr(graph.Ints("perm", 1, 0))
	if x.scale == "" {
		b.add("MatMul", "result", x.values, "w_transposed")
	} else {
		b.add("MatMul", "product", x.values, "w_transposed")
		b.add("Mul", "scale", x.scale, w.scale)
		b.add("Reciprocal", "inverse_scale", "scale")
		b.add("Mul", "result", "product", "inverse_scale")
	}
	b.add("CastLike", "output", "result", "input")
}

// quantize casts values·factor to float8 and back to float32: the codes as numbers. factor is scale in a shape that fits values.
// Cast saturates by itself; Clip says so to runtimes whose Cast does not.
func (b *builder) quantize(prefix, values, factor, scale string) operand {
	limit := float8.E4M3FNFormat.Max()
	b.add("Mul", prefix+"_scaled", values, factor)
	b.add("Clip", prefix+"_clipped", prefix+"_scaled", b.float("float8_min", -limit), b.float("float8_max", limit))
	b.add("Cast", prefix+"_float8", prefix+"_clipped").SetAttr(to(tensor.Float8E4M3FN))
	b.add("Cast", prefix+"_codes", prefix+"_float8").SetAttr(to(tensor.Float32))
	return operand{values: prefix + "_codes", scale: scale}
}

// rows is a weight's scale as a column, [1, 1] or [N, 1], that multiplies the rows of [N, K].
func (b *builder) rows(scale string) string {
	if !b.made["w_scale_rows"] {
		b.add("Reshape", "w_scale_rows", scale, b.ints("column", -1, 1))
	}
	return "w_scale_rows"
}

// weightAmax is the amax of the weight, [1] or [N], in as many groups of rows as scale_weight has elements: one body serves a scale
// for the tensor and a scale per channel.
func (b *builder) weightAmax() string {
	last := b.ints("last_axis", -1)
	reduce := func(op, out, in string) { b.add(op, out, in, last).SetAttr(graph.Int("keepdims", 0)) }
	b.add("Abs", "w_abs", "w")
	reduce("ReduceMax", "w_row_max", "w_abs")
	reduce("ReduceSum", "w_row_sum", "w_abs")
	b.add("Size", "w_groups", "scale_weight")
	b.add("Reshape", "w_groups_1", "w_groups", b.ints("one_dim", 1))
	b.add("Concat", "w_group_shape", "w_groups_1", b.ints("minus_one", -1)).SetAttr(graph.Int("axis", 0))
	b.add("Reshape", "w_group_max", "w_row_max", "w_group_shape")
	reduce("ReduceMax", "w_max", "w_group_max")
	b.add("Reshape", "w_group_sum", "w_row_sum", "w_group_shape")
	reduce("ReduceSum", "w_sum", "w_group_sum")
	b.add("IsNaN", "w_nan", "w_sum")
	b.add("Where", "w_amax", "w_nan", "w_sum", "w_max")
	return "w_amax"
}

// amaxFloor is scaling.Epsilon, which this package may not import; a test compares them.
const amaxFloor = 1e-12

// dynamicScale is quant_max · 1/max(amax, 1e-12), the two roundings of scaling.Recipe.Scale, and keep, the stored scale, where amax is
// 0, Inf or NaN. The quotient is a Reciprocal because ONNX Runtime fuses 1/a·b, written with Div, into b/a, which rounds once.
func (b *builder) dynamicScale(prefix, amax, keep string, powerOfTwo bool) string {
	b.add("Greater", prefix+"_positive", amax, b.float("zero", 0))
	b.add("Less", prefix+"_finite", amax, b.float("inf", float32(math.Inf(1))))
	b.add("And", prefix+"_usable", prefix+"_positive", prefix+"_finite")
	b.add("Max", prefix+"_amax_floored", amax, b.float("amax_floor", amaxFloor))
	b.add("Reciprocal", prefix+"_amax_inverse", prefix+"_amax_floored")
	b.add("Mul", prefix+"_scale_exact", b.quantMax(), prefix+"_amax_inverse")
	scale := prefix + "_scale_exact"
	if powerOfTwo {
		// The largest power that is not above the scale, by comparison: a logarithm is rounded, and picks the wrong power next
		// to an exact one.
		last := b.ints("last_axis", -1)
		powers := b.powersOfTwo()
		b.add("Unsqueeze", prefix+"_scale_column", scale, last)
		b.add("LessOrEqual", prefix+"_not_above", powers, prefix+"_scale_column")
		b.add("Where", prefix+"_powers", prefix+"_not_above", powers, b.float("smallest_power", float32(math.Ldexp(1, minPower))))
		b.add("ReduceMax", prefix+"_power", prefix+"_powers", last).SetAttr(graph.Int("keepdims", 0))
		scale = prefix + "_power"
	}
	b.add("Where", prefix+"_scale", prefix+"_usable", scale, keep)
	return prefix + "_scale"
}

func to(d tensor.DType) *graph.Attribute { return graph.Int("to", int64(d)) }
