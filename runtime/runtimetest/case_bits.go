package runtimetest

import (
	"bytes"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// bitCases: where calibration promises the same bits, a row's result depends neither on how many rows there are nor on the threads.
// Not every engine promises it.
func bitCases() []testCase {
	return []testCase{{"bits/one row or many", sameRows}, {"bits/one thread or many", sameThreads}}
}

// bitModels are a product, and layers between other operators.
func bitModels() map[string]*graph.Model {
	const k, n = 203, 77
	plain := newModel(modern)
	input(plain.Graph, "x", typ(tensor.Float32, "rows", k))
	constant(plain.Graph, "w", fromNumbers(tensor.Float32, tensor.Shape{k, n}, random(111, tensor.Float32, k*n)))
	node(plain.Graph, "MatMul", one("x", "w"), one("product"))
	node(plain.Graph, "Softmax", one("product"), one("y"), graph.Int("axis", -1))
	output(plain.Graph, "y", typ(tensor.Float32, "rows", n))
	all := map[string]*graph.Model{"MatMul": plain}
	for _, v := range []ops.Variant{{}, {Weight: ops.WeightDelayed}, {Input: ops.InputOff}} {
		for _, dtype := range []tensor.DType{tensor.Float32, tensor.Float16} {
			l := newLayer("layer", v, dtype, n, k, true)
			m := newModel(modern)
			input(m.Graph, "x", typ(dtype, "rows", k))
			l.add(m, m.Graph, "x", "z")
			constant(m.Graph, "bias", fromNumbers(dtype, tensor.Shape{n}, random(112, dtype, n)))
			node(m.Graph, "Add", one("z", "bias"), one("shifted"))
			node(m.Graph, "Relu", one("shifted"), one("y"))
			output(m.Graph, "y", typ(dtype, "rows", n))
			all[v.String()+" of "+dtype.String()] = m
		}
	}
	return all
}

// rowsOf are n rows of a larger input of m.
func rowsOf(m *graph.Model, from, n int) feeds {
	in := m.Graph.Inputs[0].Type
	k := int(in.Shape[1].Value)
	x := random(113, in.DType, 200*k)
	return feeds{"x": fromNumbers(in.DType, tensor.Shape{int64(n), int64(k)}, x[from*k:(from+n)*k])}
}

func rawOutput(t *testing.T, s runtime.Session, in feeds) []byte {
	t.Helper()
	b, err := run(t, s, in).Values["y"].Tensor.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sameRows(t *testing.T, e *engine) {
	for name, m := range bitModels() {
		s := e.open(t, m, runtime.Options{Threads: 2})
		all := rawOutput(t, s, rowsOf(m, 0, 200))
		for _, part := range []struct{ from, rows int }{{0, 1}, {7, 1}, {3, 2}, {10, 5}, {64, 13}, {100, 64}, {1, 199}} {
			got := rawOutput(t, s, rowsOf(m, part.from, part.rows))
			row := len(all) / 200
			if !bytes.Equal(got, all[part.from*row:(part.from+part.rows)*row]) {
				t.Errorf("%s: %d rows from %d on differ from the same among 200", name, part.rows, part.from)
			}
		}
	}
}

func sameThreads(t *testing.T, e *engine) {
	for name, m := range bitModels() {
		want := rawOutput(t, e.open(t, m, runtime.Options{Threads: 1}), rowsOf(m, 0, 200))
		for _, n := range []int{2, 3, 5} {
			if !bytes.Equal(rawOutput(t, e.open(t, m, runtime.Options{Threads: n}), rowsOf(m, 0, 200)), want) {
				t.Errorf("%s: %d threads give other bits than one", name, n)
			}
		}
	}
}
