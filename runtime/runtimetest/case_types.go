package runtimetest

import (
	"bytes"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// typeCases take a value of every type through the engine unchanged: the bytes that go in come out.
func typeCases() []testCase {
	var all []testCase
	for _, dtype := range []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Float8E4M3FN, tensor.Float8E4M3FZ,
		tensor.Float8E5M2, tensor.Float8E5M2FZ, tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64, tensor.Uint8, tensor.Uint16, tensor.Uint32,
		tensor.Uint64, tensor.Bool} {
		all = append(all, testCase{"types/" + dtype.String(), func(t *testing.T, e *engine) { passThrough(t, e, dtype) }})
	}
	return append(all, testCase{"types/string", passStrings}, testCase{"types/a sequence", sequence})
}

func identity(dtype tensor.DType) *graph.Model {
	model := newModel(modern)
	input(model.Graph, "x", anyShape(dtype))
	node(model.Graph, "Identity", one("x"), one("y"))
	output(model.Graph, "y", anyShape(dtype))
	return model
}

func passThrough(t *testing.T, e *engine, dtype tensor.DType) {
	s := e.open(t, identity(dtype), runtime.Options{})
	for _, shape := range []tensor.Shape{{}, {1}, {2, 3}, {0, 3}, {2, 1, 3, 1, 1}} {
		n := elements(shape)
		v := make([]float64, n)
		for i := range v {
			v[i] = float64((i + 1) % 2)
			if dtype != tensor.Bool {
				v[i] = float64(i*7%50) + 1
			}
		}
		in := fromNumbers(dtype, shape, v)
		res := run(t, s, feeds{"x": in})
		out := res.Values["y"].Tensor
		if out == nil || out.DType != dtype || !out.Shape.Equal(shape) {
			t.Fatalf("%s %s came out as %v", dtype, shape, out)
		}
		want, _ := in.Bytes()
		got, err := out.Bytes()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s %s: bytes %x, want %x (%v)", dtype, shape, got, want, err)
		}
	}
}

func passStrings(t *testing.T, e *engine) {
	s := e.open(t, identity(tensor.String), runtime.Options{})
	for _, want := range [][]string{{"one", "", "a zero\x00within", "größer"}, nil} {
		in := &tensor.Tensor{DType: tensor.String, Shape: tensor.Shape{int64(len(want)), 1}}
		for _, w := range want {
			in.Strings = append(in.Strings, []byte(w))
		}
		out := run(t, s, feeds{"x": in}).Values["y"].Tensor
		if out == nil || out.DType != tensor.String || !out.Shape.Equal(in.Shape) || len(out.Strings) != len(want) {
			t.Fatalf("%q came out as %v", want, out)
		}
		for i := range want {
			if string(out.Strings[i]) != want[i] {
				t.Errorf("string %d: %q, want %q", i, out.Strings[i], want[i])
			}
		}
	}
}

// sequence makes a sequence of two tensors, hands it out, and takes it in again.
func sequence(t *testing.T, e *engine) {
	list := &graph.Type{Kind: graph.SequenceKind, Elem: anyShape(tensor.Float32)}
	model := newModel(modern)
	input(model.Graph, "a", anyShape(tensor.Float32))
	input(model.Graph, "b", anyShape(tensor.Float32))
	node(model.Graph, "SequenceConstruct", one("a", "b"), one("s"))
	output(model.Graph, "s", list)
	a, b := tensor.Float32s(tensor.Shape{2}, 1, 2), tensor.Float32s(tensor.Shape{}, 3)
	s := e.once(t, model, feeds{"a": a, "b": b}, runtime.Options{}).Values["s"]
	if s.Kind != runtime.SequenceValue || len(s.Items) != 2 {
		t.Fatalf("kind %d with %d elements, want a sequence of 2", s.Kind, len(s.Items))
	}
	e.near(t, "s[0]", s.Items[0], reference{tensor.Float32, tensor.Shape{2}, []float64{1, 2}, nil}, 0)
	e.near(t, "s[1]", s.Items[1], reference{tensor.Float32, tensor.Shape{}, []float64{3}, nil}, 0)

	model = newModel(modern)
	input(model.Graph, "s", list)
	constant(model.Graph, "last", tensor.Int64s(tensor.Shape{}, -1))
	node(model.Graph, "SequenceAt", one("s", "last"), one("y"))
	output(model.Graph, "y", anyShape(tensor.Float32))
	res, err := e.open(t, model, runtime.Options{}).Run(t.Context(), map[string]runtime.Value{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	e.near(t, "y", res.Values["y"], reference{tensor.Float32, tensor.Shape{}, []float64{3}, nil}, 0)
}
