package runtimetest

import (
	"fmt"
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// layerModel is a model of one layer from x to y.
func layerModel(l *layerSpec) *graph.Model {
	m := newModel(modern)
	input(m.Graph, "x", anyShape(l.dtype))
	l.add(m, m.Graph, "x", "y")
	output(m.Graph, "y", anyShape(l.dtype))
	return m
}

// part is the tolerance of the layer's output.
func (e *engine) part(l *layerSpec) float64 {
	part := e.tol.Sum
	switch {
	case l.variant.Input != ops.InputOff:
		part = max(part, e.tol.Codes)
	case l.dtype == tensor.BFloat16:
		part = max(part, e.tol.Decoded)
	}
	if l.variant.Dynamic() {
		part += e.tol.Scale
	}
	return part
}

// layerCases are all bodies of the operator, with each type of activation and each kind of weight scale.
func layerCases() []testCase {
	var all []testCase
	for _, v := range ops.Variants() {
		for _, dtype := range []tensor.DType{tensor.Float32, tensor.Float16, tensor.BFloat16} {
			for _, perChannel := range []bool{false, true} {
				kind := "per tensor"
				if perChannel {
					kind = "per channel"
				}
				all = append(all, testCase{fmt.Sprintf("float8linear/%s/%s/%s", v, dtype, kind), func(t *testing.T, e *engine) {
					oneLayer(t, e, newLayer("layer", v, dtype, 19, 67, perChannel), tensor.Shape{2, 3, 67})
				}})
			}
		}
	}
	plain := ops.Variant{}
	for _, rows := range []tensor.Shape{{67}, {1, 67}, {0, 67}, {2, 0, 67}, {1, 2, 1, 67}} {
		all = append(all, testCase{fmt.Sprintf("float8linear/an input of %s", rows), func(t *testing.T, e *engine) {
			oneLayer(t, e, newLayer("layer", plain, tensor.Float32, 19, 67, false), rows)
		}})
	}
	return append(all,
		testCase{"float8linear/larger than a block", func(t *testing.T, e *engine) {
			oneLayer(t, e, newLayer("layer", plain, tensor.Float32, 261, 517, true), tensor.Shape{131, 517})
		}},
		testCase{"float8linear/a margin", func(t *testing.T, e *engine) {
			l := newLayer("layer", ops.Variant{Input: ops.InputDynamic, Weight: ops.WeightDynamic}, tensor.Float32, 5, 9, false)
			l.maximum = ops.QuantMax(3)
			oneLayer(t, e, l, tensor.Shape{4, 9})
		}},
		testCase{"float8linear/a bias after it", layerAndBias},
		testCase{"float8linear/two layers share a weight", sharedWeight},
	)
}

// oneLayer runs a layer and holds its output and amaxes against the reference.
func oneLayer(t *testing.T, e *engine, l *layerSpec, shape tensor.Shape) {
	t.Helper()
	x := random(21, l.dtype, elements(shape))
	res := e.once(t, layerModel(l), feeds{"x": fromNumbers(l.dtype, shape, x)}, runtime.Options{})
	e.near(t, "y", res.Values["y"], l.output(x, shape), e.part(l))
	checkStats(t, res, l, x)
}

// checkStats holds what a layer reports of a run over x.
func checkStats(t *testing.T, res *runtime.Result, l *layerSpec, x []float64) {
	t.Helper()
	for _, got := range res.Layers {
		if got.Layer != l.name {
			continue
		}
		if got.Runs < 1 {
			t.Errorf("layer %q ran %d times", l.name, got.Runs)
		}
		if want := amaxOf(x); !same(got.AmaxInput, want) {
			t.Errorf("layer %q: amax of the input %g, want %g", l.name, got.AmaxInput, want)
		}
		var want float32
		if l.variant.Weight != ops.WeightFloat8 {
			want = amaxOf(l.weight)
		}
		if !same(got.AmaxWeight, want) {
			t.Errorf("layer %q: amax of the weight %g, want %g", l.name, got.AmaxWeight, want)
		}
		return
	}
	t.Errorf("no layer %q among %v", l.name, res.Layers)
}

// same is equality under which a NaN is a NaN.
func same(a, b float32) bool {
	return a == b || math.IsNaN(float64(a)) && math.IsNaN(float64(b))
}

func layerAndBias(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{}, tensor.Float32, 6, 10, false)
	bias := random(22, tensor.Float32, 6)
	m := newModel(modern)
	g := m.Graph
	input(g, "x", typ(tensor.Float32, "rows", 10))
	l.add(m, g, "x", "z")
	constant(g, "bias", fromNumbers(tensor.Float32, tensor.Shape{6}, bias))
	node(g, "Add", one("z", "bias"), one("y"))
	output(g, "y", typ(tensor.Float32, "rows", 6))
	x := random(23, tensor.Float32, 30)
	want := l.output(x, tensor.Shape{3, 10})
	for i := range want.value {
		want.value[i] += bias[i%6]
		want.weight[i] += math.Abs(bias[i%6])
	}
	res := e.once(t, m, feeds{"x": fromNumbers(tensor.Float32, tensor.Shape{3, 10}, x)}, runtime.Options{})
	e.near(t, "y", res.Values["y"], want, e.part(l))
}

// sharedWeight: two layers read one weight, each with state of its own.
func sharedWeight(t *testing.T, e *engine) {
	first := newLayer("first", ops.Variant{Weight: ops.WeightDelayed}, tensor.Float32, 8, 8, false)
	second := newLayer("second", ops.Variant{Weight: ops.WeightDelayed}, tensor.Float32, 8, 8, false)
	second.scaleX, second.weight = 11, first.weight
	m := newModel(modern)
	g := m.Graph
	input(g, "x", typ(tensor.Float32, "rows", 8))
	a := first.add(m, g, "x", "y")
	b := second.add(m, g, "x", "z")
	b.Inputs[ops.InWeight] = a.Inputs[ops.InWeight]
	output(g, "y", typ(tensor.Float32, "rows", 8))
	output(g, "z", typ(tensor.Float32, "rows", 8))
	x := random(24, tensor.Float32, 40)
	res := e.once(t, m, feeds{"x": fromNumbers(tensor.Float32, tensor.Shape{5, 8}, x)}, runtime.Options{})
	e.near(t, "y", res.Values["y"], first.output(x, tensor.Shape{5, 8}), e.part(first))
	e.near(t, "z", res.Values["z"], second.output(x, tensor.Shape{5, 8}), e.part(second))
	checkStats(t, res, first, x)
	checkStats(t, res, second, x)
}
