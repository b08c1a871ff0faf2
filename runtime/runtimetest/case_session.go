package runtimetest

import (
	"slices"
	"sync"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func sessionCases() []testCase {
	return []testCase{
		{"session/inputs and outputs", describe},
		{"session/a name", func(t *testing.T, e *engine) {
			if e.Name() == "" {
				t.Error("the engine has no name")
			}
		}},
		{"session/kept values", keep},
		{"session/closed twice", closeTwice},
		{"session/values outlive it", outlive},
		{"session/values outlive the next run", outliveRun},
		{"session/two at once", two},
		{"session/one thread and three", threads},
		{"session/a plan", plan},
		{"session/the model stays as it is", unchanged},
	}
}

// keepModel is y = relu(x · 2 + 1), whose inner values have names.
func keepModel() *graph.Model {
	m := newModel(modern)
	g := m.Graph
	input(g, "x", typ(tensor.Float32, "n"))
	constant(g, "two", scalar(2))
	constant(g, "one", scalar(1))
	node(g, "Mul", one("x", "two"), one("doubled"))
	node(g, "Add", one("doubled", "one"), one("shifted"))
	node(g, "Relu", one("shifted"), one("y"))
	output(g, "y", typ(tensor.Float32, "n"))
	return m
}

func describe(t *testing.T, e *engine) {
	s := e.open(t, inputModel(), runtime.Options{})
	var names []string
	for _, in := range s.Inputs() {
		names = append(names, in.Name)
		if in.Type == nil {
			t.Errorf("input %q has no type", in.Name)
		}
	}
	if !slices.Equal(names, one("x", "k")) || !slices.Equal(s.Outputs(), one("y")) || len(s.Layers()) != 0 {
		t.Errorf("inputs %q, outputs %q, layers %q", names, s.Outputs(), s.Layers())
	}
}

func keep(t *testing.T, e *engine) {
	s := e.open(t, keepModel(), runtime.Options{Keep: one("shifted", "doubled")})
	if want := one("y", "shifted", "doubled"); !slices.Equal(s.Outputs(), want) {
		t.Fatalf("outputs %q, want %q", s.Outputs(), want)
	}
	res := run(t, s, feeds{"x": tensor.Float32s(tensor.Shape{3}, -3, 0, 4)})
	for name, want := range map[string][]float64{"doubled": {-6, 0, 8}, "shifted": {-5, 1, 9}, "y": {0, 1, 9}} {
		e.near(t, name, res.Values[name], reference{tensor.Float32, tensor.Shape{3}, want, nil}, 0)
	}
	if _, err := e.Open(t.Context(), keepModel(), runtime.Options{Keep: one("nobody")}); err == nil {
		t.Error("a value that the model does not have is to be kept")
	}
	// What a layer reads and what it makes may be kept as well, its amax included.
	l := newLayer("layer", ops.Variant{}, tensor.Float32, 5, 8, false)
	x := random(71, tensor.Float32, 16)
	res = e.once(t, layerModel(l), feeds{"x": fromNumbers(tensor.Float32, tensor.Shape{2, 8}, x)}, runtime.Options{Keep: one("layer.amax")})
	e.near(t, "layer.amax", res.Values["layer.amax"], reference{tensor.Float32, tensor.Shape{}, []float64{float64(amaxOf(x))}, nil}, 0)
	checkStats(t, res, l, x)
}

func closeTwice(t *testing.T, e *engine) {
	s, err := e.Open(t.Context(), keepModel(), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if _, err := s.Run(t.Context(), feeds{"x": tensor.Float32s(tensor.Shape{1}, 1)}.values()); err == nil {
		t.Error("a closed session ran")
	}
}

func outlive(t *testing.T, e *engine) {
	s, err := e.Open(t.Context(), keepModel(), runtime.Options{Keep: one("doubled", "two")})
	if err != nil {
		t.Fatal(err)
	}
	res := run(t, s, feeds{"x": tensor.Float32s(tensor.Shape{3}, 1, 2, 3)})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]float64{"y": {3, 5, 7}, "doubled": {2, 4, 6}} {
		e.near(t, name, res.Values[name], reference{tensor.Float32, tensor.Shape{3}, want, nil}, 0)
	}
}

// outliveRun: buffers that a session reuses are not those that it gave away, and it does not keep the caller's either.
func outliveRun(t *testing.T, e *engine) {
	s := e.open(t, keepModel(), runtime.Options{Keep: one("doubled")})
	first := run(t, s, feeds{"x": tensor.Float32s(tensor.Shape{3}, 1, 2, 3)})
	second := run(t, s, feeds{"x": tensor.Float32s(tensor.Shape{3}, 10, 20, 30)})
	e.near(t, "y of the first run", first.Values["y"], reference{tensor.Float32, tensor.Shape{3}, []float64{3, 5, 7}, nil}, 0)
	e.near(t, "doubled of the first run", first.Values["doubled"], reference{tensor.Float32, tensor.Shape{3}, []float64{2, 4, 6}, nil}, 0)
	e.near(t, "y of the second run", second.Values["y"], reference{tensor.Float32, tensor.Shape{3}, []float64{21, 41, 61}, nil}, 0)
}

func two(t *testing.T, e *engine) {
	a := newLayer("layer", ops.Variant{}, tensor.Float32, 9, 20, false)
	b := newLayer("layer", ops.Variant{Input: ops.InputDynamic}, tensor.Float32, 5, 20, true)
	var wait sync.WaitGroup
	for _, l := range []*layerSpec{a, b} {
		s := e.open(t, layerModel(l), runtime.Options{})
		wait.Go(func() {
			for i := range uint64(20) {
				x := random(i, tensor.Float32, 60)
				res, err := s.Run(t.Context(), feeds{"x": fromNumbers(tensor.Float32, tensor.Shape{3, 20}, x)}.values())
				if err != nil {
					t.Error(err)
					return
				}
				if got := res.Layers[0].AmaxInput; got != amaxOf(x) {
					t.Errorf("amax %g, want %g", got, amaxOf(x))
				}
				e.near(t, "y", res.Values["y"], l.output(x, tensor.Shape{3, 20}), e.part(l))
			}
		})
	}
	wait.Wait()
}

func threads(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{}, tensor.Float32, 70, 130, false)
	shape := tensor.Shape{40, 130}
	x := random(72, tensor.Float32, elements(shape))
	for _, n := range []int{1, 3} {
		res := e.once(t, layerModel(l), feeds{"x": fromNumbers(tensor.Float32, shape, x)}, runtime.Options{Threads: n})
		e.near(t, "y", res.Values["y"], l.output(x, shape), e.part(l))
	}
}

// plan: an engine says what a run takes, or that it does not know.
func plan(t *testing.T, e *engine) {
	s := e.open(t, inputModel(), runtime.Options{})
	p, err := s.Plan(map[string]tensor.Shape{"x": {1000, 3}, "k": {}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Unknown == 0 && p.Peak() <= 0 {
		t.Errorf("%+v: nothing is needed and nothing unknown", p)
	}
}

// unchanged: a session leaves the model alone, whatever it makes of it for itself.
func unchanged(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{}, tensor.Float32, 5, 8, false)
	m := layerModel(l)
	scale := ops.StateName("layer", ops.InScaleInput)
	before := count(m)
	in := feeds{"x": fromNumbers(tensor.Float32, tensor.Shape{1, 8}, random(73, tensor.Float32, 8))}
	e.once(t, m, in, runtime.Options{Variables: one(scale), Keep: one("layer.amax")})
	if after := count(m); after != before {
		t.Errorf("the model has %+v, had %+v", after, before)
	}
	if !slices.Equal(m.Graph.Nodes[0].Outputs, one("y", "layer.amax")) || m.Graph.Initializer(scale) == nil {
		t.Error("the layer's node or state is another one")
	}
}

type counts struct{ nodes, inputs, outputs, initializers, functions int }

func count(m *graph.Model) counts {
	g := m.Graph
	return counts{len(g.Nodes), len(g.Inputs), len(g.Outputs), len(g.Initializers), len(m.Functions)}
}
