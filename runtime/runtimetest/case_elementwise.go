package runtimetest

import (
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// elementwiseCases are operators that models have between their layers, at opset 13, on float32.
func elementwiseCases() []testCase {
	var all []testCase
	unary := map[string]func(float64) float64{
		"Neg": func(x float64) float64 { return -x }, "Abs": math.Abs, "Exp": math.Exp, "Tanh": math.Tanh, "Erf": math.Erf,
		"Sigmoid": func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, "Relu": func(x float64) float64 { return max(0, x) },
		"Floor": math.Floor, "Ceil": math.Ceil, "Round": math.RoundToEven, "Sin": math.Sin, "Cos": math.Cos,
		"Softplus":   func(x float64) float64 { return math.Log1p(math.Exp(-math.Abs(x))) + max(0, x) },
		"Reciprocal": func(x float64) float64 { return 1 / x }, "Identity": func(x float64) float64 { return x },
	}
	for _, op := range []string{"Neg", "Abs", "Exp", "Tanh", "Erf", "Sigmoid", "Relu", "Floor", "Ceil", "Round", "Sin", "Cos", "Softplus", "Reciprocal",
		"Identity"} {
		all = append(all, unaryCase(op, unary[op], random(11, tensor.Float32, 60)))
	}
	positive := random(12, tensor.Float32, 60)
	for i := range positive {
		positive[i] = math.Abs(positive[i])
	}
	all = append(all, unaryCase("Sqrt", math.Sqrt, positive), unaryCase("Log", math.Log, positive))
	binary := map[string]func(a, b float64) float64{
		"Add": func(a, b float64) float64 { return a + b }, "Sub": func(a, b float64) float64 { return a - b },
		"Mul": func(a, b float64) float64 { return a * b }, "Div": func(a, b float64) float64 { return a / b },
		"Max": func(a, b float64) float64 { return max(a, b) }, "Min": func(a, b float64) float64 { return min(a, b) },
		"Pow": func(a, b float64) float64 { return math.Pow(math.Abs(a), b) },
	}
	for _, op := range []string{"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"} {
		all = append(all, binaryCase(op, binary[op]))
	}
	return append(all, testCase{"elementwise/Where of Greater", whereGreater}, testCase{"elementwise/Clip", clip},
		testCase{"elementwise/Softmax", softmax}, testCase{"elementwise/a chain that may be fused", chain})
}

func unaryCase(op string, f func(float64) float64, x []float64) testCase {
	return testCase{"elementwise/" + op, func(t *testing.T, e *engine) {
		model := newModel(13)
		input(model.Graph, "x", typ(tensor.Float32, "a", "b"))
		node(model.Graph, op, one("x"), one("y"))
		output(model.Graph, "y", typ(tensor.Float32, "a", "b"))
		want := reference{dtype: tensor.Float32, shape: tensor.Shape{3, 20}}
		for _, v := range x {
			y := f(v)
			want.value = append(want.value, y)
			// Sin and Cos near a zero, and the tails of Erf, are as good as their argument.
			want.weight = append(want.weight, max(math.Abs(y), min(1, math.Abs(v))))
		}
		res := e.once(t, model, feeds{"x": fromNumbers(tensor.Float32, want.shape, x)}, runtime.Options{})
		e.near(t, "y", res.Values["y"], want, e.tol.Elementwise)
	}}
}

// binaryCase broadcasts [2, 3, 4] with [3, 1].
func binaryCase(op string, f func(a, b float64) float64) testCase {
	return testCase{"elementwise/" + op, func(t *testing.T, e *engine) {
		a, b := random(13, tensor.Float32, 24), random(14, tensor.Float32, 3)
		if op == "Pow" {
			for i := range a {
				a[i] = math.Abs(a[i])
			}
		}
		model := newModel(13)
		input(model.Graph, "a", anyShape(tensor.Float32))
		input(model.Graph, "b", typ(tensor.Float32, "m", "n"))
		node(model.Graph, op, one("a", "b"), one("y"))
		output(model.Graph, "y", anyShape(tensor.Float32))
		want := reference{dtype: tensor.Float32, shape: tensor.Shape{2, 3, 4}}
		for i, v := range a {
			w := b[i/4%3]
			want.value = append(want.value, f(v, w))
			want.weight = append(want.weight, max(math.Abs(f(v, w)), 1e-3))
		}
		res := e.once(t, model, feeds{"a": fromNumbers(tensor.Float32, want.shape, a), "b": fromNumbers(tensor.Float32, tensor.Shape{3, 1}, b)}, runtime.Options{})
		e.near(t, "y", res.Values["y"], want, e.tol.Elementwise)
	}}
}

func whereGreater(t *testing.T, e *engine) {
	a, b := random(15, tensor.Float32, 12), random(16, tensor.Float32, 12)
	model := newModel(13)
	for _, name := range one("a", "b") {
		input(model.Graph, name, typ(tensor.Float32, 12))
	}
	node(model.Graph, "Greater", one("a", "b"), one("c"))
	node(model.Graph, "Where", one("c", "a", "b"), one("y"))
	output(model.Graph, "y", typ(tensor.Float32, 12))
	want := reference{dtype: tensor.Float32, shape: tensor.Shape{12}}
	for i := range a {
		want.value = append(want.value, max(a[i], b[i]))
	}
	res := e.once(t, model, feeds{"a": fromNumbers(tensor.Float32, want.shape, a), "b": fromNumbers(tensor.Float32, want.shape, b)}, runtime.Options{})
	e.near(t, "y", res.Values["y"], want, 0)
}

func clip(t *testing.T, e *engine) {
	x := append(random(17, tensor.Float32, 20), math.NaN(), math.Inf(1), math.Inf(-1))
	model := newModel(13)
	input(model.Graph, "x", typ(tensor.Float32, "n"))
	constant(model.Graph, "low", scalar(-0.5))
	constant(model.Graph, "high", scalar(0.75))
	node(model.Graph, "Clip", one("x", "low", "high"), one("y"))
	output(model.Graph, "y", typ(tensor.Float32, "n"))
	want := reference{dtype: tensor.Float32, shape: tensor.Shape{23}}
	for _, v := range x {
		if !math.IsNaN(v) {
			v = min(max(v, -0.5), 0.75)
		}
		want.value = append(want.value, v)
	}
	res := e.once(t, model, feeds{"x": fromNumbers(tensor.Float32, want.shape, x)}, runtime.Options{})
	e.near(t, "y", res.Values["y"], want, 0)
}

func softmax(t *testing.T, e *engine) {
	x := random(18, tensor.Float32, 4*37)
	model := newModel(13)
	input(model.Graph, "x", typ(tensor.Float32, "rows", 37))
	node(model.Graph, "Softmax", one("x"), one("y"), graph.Int("axis", -1))
	output(model.Graph, "y", typ(tensor.Float32, "rows", 37))
	want := reference{dtype: tensor.Float32, shape: tensor.Shape{4, 37}}
	for r := range 4 {
		var sum float64
		for _, v := range x[r*37 : (r+1)*37] {
			sum += math.Exp(v)
		}
		for _, v := range x[r*37 : (r+1)*37] {
			want.value = append(want.value, math.Exp(v)/sum)
		}
	}
	res := e.once(t, model, feeds{"x": fromNumbers(tensor.Float32, want.shape, x)}, runtime.Options{})
	e.near(t, "y", res.Values["y"], want, 10*e.tol.Elementwise)
}

// chain is GELU written out, whose parts are also used twice.
func chain(t *testing.T, e *engine) {
	x := random(19, tensor.Float32, 1000)
	model := newModel(13)
	g := model.Graph
	input(g, "x", typ(tensor.Float32, "rows", "columns"))
	constant(g, "root", scalar(float32(math.Sqrt2)))
	constant(g, "one", scalar(1))
	constant(g, "half", scalar(0.5))
	node(g, "Div", one("x", "root"), one("scaled"))
	node(g, "Erf", one("scaled"), one("erf"))
	node(g, "Add", one("erf", "one"), one("shifted"))
	node(g, "Mul", one("x", "shifted"), one("twice"))
	node(g, "Mul", one("twice", "half"), one("y"))
	output(g, "y", typ(tensor.Float32, "rows", "columns"))
	output(g, "shifted", typ(tensor.Float32, "rows", "columns"))
	y := reference{dtype: tensor.Float32, shape: tensor.Shape{40, 25}}
	shifted := reference{dtype: tensor.Float32, shape: tensor.Shape{40, 25}}
	for _, v := range x {
		s := math.Erf(v/math.Sqrt2) + 1
		shifted.value, shifted.weight = append(shifted.value, s), append(shifted.weight, 1)
		y.value, y.weight = append(y.value, v*s/2), append(y.weight, math.Abs(v))
	}
	res := e.once(t, model, feeds{"x": fromNumbers(tensor.Float32, y.shape, x)}, runtime.Options{})
	e.near(t, "y", res.Values["y"], y, e.tol.Elementwise)
	e.near(t, "shifted", res.Values["shifted"], shifted, e.tol.Elementwise)
}
