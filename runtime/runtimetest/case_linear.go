package runtimetest

import (
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// product is a [m, k] · b [k, n], summed in float64.
func product(a, b []float64, m, k, n int) (value, magnitude []float64) {
	for i := range m {
		for j := range n {
			var sum, size float64
			for x := range k {
				p := a[i*k+x] * b[x*n+j]
				sum += p
				size += math.Abs(p)
			}
			value, magnitude = append(value, sum), append(magnitude, size)
		}
	}
	return value, magnitude
}

func linearCases() []testCase {
	matmul := func(m, k, n int) func(*testing.T, *engine) {
		return func(t *testing.T, e *engine) {
			a, b := random(1, tensor.Float32, m*k), random(2, tensor.Float32, k*n)
			model := newModel(13)
			g := model.Graph
			input(g, "a", typ(tensor.Float32, "rows", k))
			constant(g, "b", fromNumbers(tensor.Float32, tensor.Shape{int64(k), int64(n)}, b))
			node(g, "MatMul", one("a", "b"), one("y"))
			output(g, "y", typ(tensor.Float32, "rows", n))
			res := e.once(t, model, feeds{"a": fromNumbers(tensor.Float32, tensor.Shape{int64(m), int64(k)}, a)}, runtime.Options{})
			value, magnitude := product(a, b, m, k, n)
			e.near(t, "y", res.Values["y"], reference{tensor.Float32, tensor.Shape{int64(m), int64(n)}, value, magnitude}, e.tol.Sum)
		}
	}
	return []testCase{
		{"linear/matmul", matmul(5, 67, 19)},
		{"linear/matmul of one row", matmul(1, 300, 33)},
		{"linear/matmul larger than a block", matmul(131, 517, 261)},
		{"linear/matmul without rows", matmul(0, 8, 4)},
		{"linear/matmul of two batches", matmulBatched},
		{"linear/gemm, bias and relu", gemm},
	}
}

// matmulBatched broadcasts the leading axes: [2, 1, 3, 4] · [5, 4, 6].
func matmulBatched(t *testing.T, e *engine) {
	a, b := random(3, tensor.Float32, 2*3*4), random(4, tensor.Float32, 5*4*6)
	model := newModel(13)
	g := model.Graph
	input(g, "a", anyShape(tensor.Float32))
	input(g, "b", anyShape(tensor.Float32))
	node(g, "MatMul", one("a", "b"), one("y"))
	output(g, "y", anyShape(tensor.Float32))
	want := reference{dtype: tensor.Float32, shape: tensor.Shape{2, 5, 3, 6}}
	for i := range 2 {
		for j := range 5 {
			value, magnitude := product(a[i*12:(i+1)*12], b[j*24:(j+1)*24], 3, 4, 6)
			want.value, want.weight = append(want.value, value...), append(want.weight, magnitude...)
		}
	}
	res := e.once(t, model, feeds{
		"a": fromNumbers(tensor.Float32, tensor.Shape{2, 1, 3, 4}, a),
		"b": fromNumbers(tensor.Float32, tensor.Shape{5, 4, 6}, b),
	}, runtime.Options{})
	e.near(t, "y", res.Values["y"], want, e.tol.Sum)
}

// gemm is Relu(0.5 · a·bᵀ + 2 · c).
func gemm(t *testing.T, e *engine) {
	const m, k, n = 7, 45, 21
	a, b, c := random(5, tensor.Float32, m*k), random(6, tensor.Float32, k*n), random(7, tensor.Float32, n)
	transposed := make([]float64, len(b))
	for i := range k {
		for j := range n {
			transposed[j*k+i] = b[i*n+j]
		}
	}
	model := newModel(13)
	g := model.Graph
	input(g, "a", typ(tensor.Float32, "rows", k))
	constant(g, "b", fromNumbers(tensor.Float32, tensor.Shape{n, k}, transposed))
	constant(g, "c", fromNumbers(tensor.Float32, tensor.Shape{n}, c))
	node(g, "Gemm", one("a", "b", "c"), one("z"), graph.Int("transB", 1), graph.Float("alpha", 0.5), graph.Float("beta", 2))
	node(g, "Relu", one("z"), one("y"))
	output(g, "y", typ(tensor.Float32, "rows", n))
	value, magnitude := product(a, b, m, k, n)
	for i := range value {
		value[i] = max(0, 0.5*value[i]+2*c[i%n])
		magnitude[i] = 0.5*magnitude[i] + 2*math.Abs(c[i%n])
	}
	res := e.once(t, model, feeds{"a": fromNumbers(tensor.Float32, tensor.Shape{m, k}, a)}, runtime.Options{})
	e.near(t, "y", res.Values["y"], reference{tensor.Float32, tensor.Shape{m, n}, value, magnitude}, e.tol.Sum)
}
