package runtimetest

import (
	"math"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// layerSpec is a Float8Linear with numbers in it.
type layerSpec struct {
	name    string
	variant ops.Variant
	dtype   tensor.DType
	n, k    int
	weight  []float64 // [n, k], of dtype
	scaleX  float32
	scaleW  []float32 // one, or one per row of the weight
	maximum float32   // what an amax is scaled to

	// joined is what the amaxes of the run are multiplied by before a scale is made of them: what other workers may do.
	joined float32
}

// newLayer is a layer with a random weight and stored scales that fit it only roughly.
func newLayer(name string, v ops.Variant, dtype tensor.DType, n, k int, perChannel bool) *layerSpec {
	l := &layerSpec{name: name, variant: v, dtype: dtype, n: n, k: k, weight: random(7, dtype, n*k), scaleX: 37.5, scaleW: []float32{61.25},
		maximum: ops.QuantMax(0), joined: 1}
	for i := range l.weight {
		l.weight[i] = round(dtype, l.weight[i]*0.3)
	}
	if perChannel {
		l.scaleW = make([]float32, n)
		for i := range l.scaleW {
			l.scaleW[i] = 40 + 3.5*float32(i%13)
		}
	}
	return l
}

// add puts the layer into g, whose model must declare the operator.
func (l *layerSpec) add(m *graph.Model, g *graph.Graph, in, out string) *graph.Node {
	if _, err := ops.Declare(m, l.variant); err != nil {
		panic(err)
	}
	state := func(i int, t *tensor.Tensor) string {
		name := ops.StateName(l.name, i)
		constant(g, name, t)
		return name
	}
	layer := ops.Layer{Name: l.name, Variant: l.variant, Input: in, Output: out, AmaxInput: l.name + ".amax", Original: ops.MatMul(""), QuantMax: l.maximum}
	shape := tensor.Shape{int64(l.n), int64(l.k)}
	if l.variant.Weight == ops.WeightFloat8 {
		layer.Weight = state(ops.InWeight, fromNumbers(tensor.Float8E4M3FN, shape, l.weightCodes()))
	} else {
		layer.Weight = l.name + ".weight"
		constant(g, layer.Weight, fromNumbers(l.dtype, shape, l.weight))
	}
	layer.ScaleInput = state(ops.InScaleInput, scalar(l.scaleX))
	if len(l.scaleW) == 1 {
		layer.ScaleWeight = state(ops.InScaleWeight, scalar(l.scaleW[0]))
	} else {
		layer.ScaleWeight = state(ops.InScaleWeight, tensor.Float32s(tensor.Shape{int64(l.n)}, l.scaleW...))
	}
	layer.AmaxHistoryInput = state(ops.InAmaxHistoryInput, tensor.Float32s(tensor.Shape{4}, 0, 0, 0, 0))
	layer.AmaxHistoryWeight = state(ops.InAmaxHistoryWeight, tensor.Float32s(tensor.Shape{4}, 0, 0, 0, 0))
	layer.ScaleGradOutput = state(ops.InScaleGradOutput, scalar(1))
	layer.AmaxHistoryGradOutput = state(ops.InAmaxHistoryGradOutput, tensor.Float32s(tensor.Shape{4}, 0, 0, 0, 0))
	layer.Initialized = state(ops.InInitialized, tensor.Bools(tensor.Shape{}, false))
	n := layer.Node()
	g.Nodes = append(g.Nodes, n)
	return n
}

// amaxOf is max|x|: NaN if one is, 0 of nothing.
func amaxOf(x []float64) float32 {
	var top float64
	for _, v := range x {
		if math.IsNaN(v) {
			return float32(math.NaN())
		}
		top = max(top, math.Abs(v))
	}
	return float32(top)
}

// madeScale is the scale that the operator makes from an amax of the run; stored is used where none can be made. The formula and
// the order of its roundings are those of docs/FLOAT8LINEAR.md.
func (l *layerSpec) madeScale(amax, stored float32) float32 {
	amax *= l.joined
	if !(amax > 0) || math.IsInf(float64(amax), 1) {
		return stored
	}
	s := float32(1/float64(max(amax, 1e-12))) * l.maximum
	if l.variant.PowerOfTwo {
		_, exponent := math.Frexp(float64(s))
		s = float32(math.Ldexp(1, exponent-1))
	}
	return s
}

func code(x float64, scale float32) float64 {
	return float64(float8.E4M3FNFromFloat32(float32(x)*scale, float8.Saturate).Float32())
}

// weightScales are the scales that the weight's rows are cast with.
func (l *layerSpec) weightScales() []float32 {
	s := make([]float32, l.n)
	for i := range s {
		stored := l.scaleW[i%len(l.scaleW)]
		s[i] = stored
		if l.variant.Weight == ops.WeightDynamic {
			rows := l.weight
			if len(l.scaleW) > 1 {
				rows = l.weight[i*l.k : (i+1)*l.k]
			}
			s[i] = l.madeScale(amaxOf(rows), stored)
		}
	}
	return s
}

// weightCodes are the values of the weight's float8 codes.
func (l *layerSpec) weightCodes() []float64 {
	s := l.weightScales()
	out := make([]float64, len(l.weight))
	for i, w := range l.weight {
		out[i] = code(w, s[i/l.k])
	}
	return out
}

// output is what the layer makes of x [..., k], summed in float64.
func (l *layerSpec) output(x []float64, shape tensor.Shape) reference {
	rows := len(x) / l.k
	out := reference{dtype: l.dtype, shape: append(shape[:len(shape)-1:len(shape)-1], int64(l.n))}
	sw := l.weightScales()
	w := l.weightCodes()
	sx, q := float32(1), x
	if l.variant.Input != ops.InputOff {
		sx = l.scaleX
		if l.variant.Input == ops.InputDynamic {
			sx = l.madeScale(amaxOf(x), l.scaleX)
		}
		q = make([]float64, len(x))
		for i, v := range x {
			q[i] = code(v, sx)
		}
	}
	for r := range rows {
		for c := range l.n {
			var sum, magnitude float64
			for k := range l.k {
				p := q[r*l.k+k] * w[c*l.k+k]
				sum += p
				magnitude += math.Abs(p)
			}
			inverse := float64(float32(1 / float64(sx*sw[c])))
			out.value = append(out.value, sum*inverse)
			out.weight = append(out.weight, magnitude*inverse)
		}
	}
	return out
}
