package runtimetest

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func inputCases() []testCase {
	var all []testCase
	good := func() feeds {
		return feeds{"x": tensor.Float32s(tensor.Shape{2, 3}, 1, 2, 3, 4, 5, 6), "k": tensor.Int64s(tensor.Shape{}, 1)}
	}
	for _, c := range []struct {
		name  string
		put   feeds // nil takes an input away
		input string
		says  []string
	}{
		{"a missing one", feeds{"x": nil}, "x", one("float32")},
		{"an unknown one", feeds{"X": tensor.Float32s(tensor.Shape{1}, 1)}, "X", one("x")},
		{"another type", feeds{"x": tensor.Int64s(tensor.Shape{2, 3}, 1, 2, 3, 4, 5, 6)}, "x", one("int64", "float32")},
		{"another rank", feeds{"x": tensor.Float32s(tensor.Shape{6}, 1, 2, 3, 4, 5, 6)}, "x", one("[6]", "3]")},
		{"another fixed extent", feeds{"x": tensor.Float32s(tensor.Shape{3, 2}, 1, 2, 3, 4, 5, 6)}, "x", one("[3,2]", "3]")},
		{"no scalar", feeds{"k": tensor.Int64s(tensor.Shape{1}, 1)}, "k", one("[1]", "[]")},
	} {
		all = append(all, testCase{"inputs/" + c.name, func(t *testing.T, e *engine) {
			s := e.open(t, inputModel(), runtime.Options{})
			in := good()
			maps.Copy(in, c.put)
			maps.DeleteFunc(in, func(_ string, v *tensor.Tensor) bool { return v == nil })
			_, err := s.Run(t.Context(), in.values())
			said, ok := errors.AsType[*runtime.InputError](err)
			if !ok {
				t.Fatalf("error %v, want an InputError", err)
			}
			if said.Input != c.input || said.Got == "" || said.Want == "" {
				t.Errorf("%+v, want one of input %q with got and want", said, c.input)
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			// The session is as good as before.
			run(t, s, good())
		}})
	}
	return append(all, testCase{"inputs/a default that may be overridden", overridable}, testCase{"inputs/rows that change from run to run", rows})
}

// inputModel is x + k, x [rows, 3] and k a scalar.
func inputModel() *graph.Model {
	m := newModel(modern)
	input(m.Graph, "x", typ(tensor.Float32, "rows", 3))
	input(m.Graph, "k", typ(tensor.Int64))
	node(m.Graph, "Cast", one("k"), one("c"), graph.Int("to", int64(tensor.Float32)))
	node(m.Graph, "Add", one("x", "c"), one("y"))
	output(m.Graph, "y", typ(tensor.Float32, "rows", 3))
	return m
}

func overridable(t *testing.T, e *engine) {
	m := newModel(modern)
	input(m.Graph, "x", typ(tensor.Float32, 2))
	input(m.Graph, "d", typ(tensor.Float32, 2))
	constant(m.Graph, "d", tensor.Float32s(tensor.Shape{2}, 10, 20))
	node(m.Graph, "Add", one("x", "d"), one("y"))
	output(m.Graph, "y", typ(tensor.Float32, 2))
	s := e.open(t, m, runtime.Options{})
	if in := s.Inputs(); len(in) != 1 || in[0].Name != "x" {
		t.Errorf("a run needs %d inputs, want x alone", len(in))
	}
	in := feeds{"x": tensor.Float32s(tensor.Shape{2}, 1, 2)}
	for range 2 {
		delete(in, "d")
		e.near(t, "y", run(t, s, in).Values["y"], reference{tensor.Float32, tensor.Shape{2}, []float64{11, 22}, nil}, 0)
		in["d"] = tensor.Float32s(tensor.Shape{2}, 5, 6)
		e.near(t, "y", run(t, s, in).Values["y"], reference{tensor.Float32, tensor.Shape{2}, []float64{6, 8}, nil}, 0)
	}
	in["d"] = tensor.Float32s(tensor.Shape{3}, 5, 6, 7)
	if _, err := s.Run(t.Context(), in.values()); err == nil {
		t.Error("a default was overridden by another shape")
	}
}

func rows(t *testing.T, e *engine) {
	s := e.open(t, inputModel(), runtime.Options{})
	for _, n := range []int64{1, 50, 0, 7} {
		x := random(61, tensor.Float32, int(n)*3)
		want := reference{dtype: tensor.Float32, shape: tensor.Shape{n, 3}}
		for _, v := range x {
			want.value = append(want.value, v+4)
		}
		res := run(t, s, feeds{"x": fromNumbers(tensor.Float32, want.shape, x), "k": tensor.Int64s(tensor.Shape{}, 4)})
		e.near(t, "y", res.Values["y"], want, 1e-6)
	}
}
