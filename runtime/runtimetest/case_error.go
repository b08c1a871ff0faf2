package runtimetest

import (
	"errors"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func errorCases() []testCase {
	return []testCase{{"errors/an operator that nobody has", unknownOperator}, {"errors/a node that cannot compute", badNode}, {"errors/a bound on memory", memory}}
}

func unknownOperator(t *testing.T, e *engine) {
	m := newModel(modern)
	m.SetOpset("com.nowhere", 1)
	input(m.Graph, "x", typ(tensor.Float32, 3))
	node(m.Graph, "Relu", one("x"), one("z"))
	node(m.Graph, "Frobnicate", one("z"), one("y")).Domain = "com.nowhere"
	output(m.Graph, "y", typ(tensor.Float32, 3))
	s, err := e.Open(t.Context(), m, runtime.Options{})
	if err == nil {
		s.Close()
	}
	said, ok := errors.AsType[*runtime.UnsupportedError](err)
	if !ok {
		t.Fatalf("error %v, want an UnsupportedError", err)
	}
	if said.Backend != e.Name() || said.Node != "make_y" || said.Op != "com.nowhere:Frobnicate" && said.Op != "com.nowhere::Frobnicate" && said.Op != "com.nowhere.Frobnicate" {
		t.Errorf("%+v, want engine %q, node %q, operator Frobnicate of com.nowhere", said, e.Name(), "make_y")
	}
}

// badNode asks for 3 elements in the shape [4].
func badNode(t *testing.T, e *engine) {
	m := newModel(modern)
	input(m.Graph, "x", typ(tensor.Float32, "n"))
	input(m.Graph, "shape", typ(tensor.Int64, "rank"))
	node(m.Graph, "Reshape", one("x", "shape"), one("z"))
	node(m.Graph, "Relu", one("z"), one("y"))
	output(m.Graph, "y", anyShape(tensor.Float32))
	s := e.open(t, m, runtime.Options{})
	x := tensor.Float32s(tensor.Shape{3}, 1, 2, 3)
	_, err := s.Run(t.Context(), feeds{"x": x, "shape": tensor.Int64s(tensor.Shape{1}, 4)}.values())
	said, ok := errors.AsType[*runtime.NodeError](err)
	if !ok {
		t.Fatalf("error %v, want a NodeError", err)
	}
	if said.Node != "make_z" || said.Op != "Reshape" || said.Err == nil {
		t.Errorf("%+v, want node %q, operator Reshape and a cause", said, "make_z")
	}
	res := run(t, s, feeds{"x": x, "shape": tensor.Int64s(tensor.Shape{2}, 3, 1)})
	e.near(t, "y", res.Values["y"], reference{tensor.Float32, tensor.Shape{3, 1}, []float64{1, 2, 3}, nil}, 0)
}

// memory: what cannot fit is refused with both numbers, at Open or at Run; what can is not.
func memory(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{}, tensor.Float32, 300, 400, false)
	shape := tensor.Shape{500, 400}
	x := random(91, tensor.Float32, elements(shape))
	in := feeds{"x": fromNumbers(tensor.Float32, shape, x)}
	res := e.once(t, layerModel(l), in, runtime.Options{MaxMemory: 1 << 30})
	e.near(t, "y", res.Values["y"], l.output(x, shape), e.part(l))
	s, err := e.Open(t.Context(), layerModel(l), runtime.Options{MaxMemory: 4096})
	if err == nil {
		defer s.Close()
		_, err = s.Run(t.Context(), in.values())
	}
	said, ok := errors.AsType[*runtime.MemoryError](err)
	if !ok {
		t.Fatalf("500 × 300 elements in 4096 bytes: error %v, want a MemoryError", err)
	}
	if said.Have != 4096 || said.Need <= said.Have {
		t.Errorf("%+v, want to have 4096 and to need more", said)
	}
}
