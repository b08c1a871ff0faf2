package runtimetest

import (
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func variableCases() []testCase {
	return []testCase{
		{"variables/a scale of the input", setScale},
		{"variables/scales of the weight", setWeightScale},
		{"variables/a weight", setWeight},
		{"variables/inside a branch", setInside},
		{"variables/any initializer", setConstant},
		{"variables/what does not fit", setWrong},
	}
}

// setScale: another scale, another result; nothing is left over from the first.
func setScale(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{}, tensor.Float32, 9, 20, false)
	scale := ops.StateName("layer", ops.InScaleInput)
	s := e.open(t, layerModel(l), runtime.Options{Variables: one(scale)})
	shape := tensor.Shape{3, 20}
	x := random(41, tensor.Float32, 60)
	in := feeds{"x": fromNumbers(tensor.Float32, shape, x)}
	for _, v := range []float32{37.5, 1, 4096, 0.125, 37.5} {
		l.scaleX = v
		if err := s.Set(scale, scalar(v)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			res := run(t, s, in)
			e.near(t, "y", res.Values["y"], l.output(x, shape), e.part(l))
			checkStats(t, res, l, x)
		}
	}
}

func setWeightScale(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{Weight: ops.WeightDelayed}, tensor.Float32, 9, 20, true)
	scale := ops.StateName("layer", ops.InScaleWeight)
	s := e.open(t, layerModel(l), runtime.Options{Variables: one(scale)})
	shape := tensor.Shape{3, 20}
	x := random(42, tensor.Float32, 60)
	in := feeds{"x": fromNumbers(tensor.Float32, shape, x)}
	// Before the first Set, the file's own content counts.
	e.near(t, "y", run(t, s, in).Values["y"], l.output(x, shape), e.part(l))
	for i := range l.scaleW {
		l.scaleW[i] *= 5
	}
	if err := s.Set(scale, tensor.Float32s(tensor.Shape{9}, l.scaleW...)); err != nil {
		t.Fatal(err)
	}
	e.near(t, "y", run(t, s, in).Values["y"], l.output(x, shape), e.part(l))
}

func setWeight(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{Weight: ops.WeightDelayed}, tensor.Float32, 9, 20, false)
	s := e.open(t, layerModel(l), runtime.Options{Variables: one("layer.weight")})
	shape := tensor.Shape{3, 20}
	x := random(43, tensor.Float32, 60)
	in := feeds{"x": fromNumbers(tensor.Float32, shape, x)}
	for seed := range uint64(2) {
		l.weight = random(44+seed, tensor.Float32, 180)
		if err := s.Set("layer.weight", fromNumbers(tensor.Float32, tensor.Shape{9, 20}, l.weight)); err != nil {
			t.Fatal(err)
		}
		res := run(t, s, in)
		e.near(t, "y", res.Values["y"], l.output(x, shape), e.part(l))
		checkStats(t, res, l, x)
	}
}

// setInside: the layer's state lies in a branch of an If.
func setInside(t *testing.T, e *engine) {
	inner := newLayer("inner", ops.Variant{}, tensor.Float32, 6, 20, false)
	m := newModel(modern)
	input(m.Graph, "x", typ(tensor.Float32, "rows", 20))
	input(m.Graph, "condition", typ(tensor.Bool))
	then := &graph.Graph{Name: "then"}
	inner.add(m, then, "x", "inside")
	output(then, "inside", anyShape(tensor.Float32))
	otherwise := &graph.Graph{Name: "else"}
	constant(otherwise, "nothing", tensor.Float32s(tensor.Shape{1, 6}, 1, 2, 3, 4, 5, 6))
	node(otherwise, "Identity", one("nothing"), one("outside"))
	output(otherwise, "outside", anyShape(tensor.Float32))
	node(m.Graph, "If", one("condition"), one("y"), graphAttr("then_branch", then), graphAttr("else_branch", otherwise))
	output(m.Graph, "y", anyShape(tensor.Float32))
	scale := ops.StateName("inner", ops.InScaleInput)
	s := e.open(t, m, runtime.Options{Variables: one(scale, "nothing")})
	shape := tensor.Shape{2, 20}
	x := random(45, tensor.Float32, 40)
	for _, v := range []float32{3, 300} {
		inner.scaleX = v
		if err := s.Set(scale, scalar(v)); err != nil {
			t.Fatal(err)
		}
		res := run(t, s, feeds{"x": fromNumbers(tensor.Float32, shape, x), "condition": tensor.Bools(tensor.Shape{}, true)})
		e.near(t, "y", res.Values["y"], inner.output(x, shape), e.part(inner))
	}
	if err := s.Set("nothing", tensor.Float32s(tensor.Shape{1, 6}, 6, 5, 4, 3, 2, 1)); err != nil {
		t.Fatal(err)
	}
	res := run(t, s, feeds{"x": fromNumbers(tensor.Float32, shape, x), "condition": tensor.Bools(tensor.Shape{}, false)})
	e.near(t, "y", res.Values["y"], reference{tensor.Float32, tensor.Shape{1, 6}, []float64{6, 5, 4, 3, 2, 1}, nil}, 0)
}

// setConstant: what could be folded away at Open may not be, where it is a variable.
func setConstant(t *testing.T, e *engine) {
	m := newModel(modern)
	input(m.Graph, "x", typ(tensor.Float32, 3))
	constant(m.Graph, "c", tensor.Float32s(tensor.Shape{3}, 1, 2, 3))
	constant(m.Graph, "d", tensor.Float32s(tensor.Shape{}, 10))
	node(m.Graph, "Mul", one("c", "d"), one("product"))
	node(m.Graph, "Add", one("x", "product"), one("y"))
	output(m.Graph, "y", typ(tensor.Float32, 3))
	s := e.open(t, m, runtime.Options{Variables: one("c")})
	in := feeds{"x": tensor.Float32s(tensor.Shape{3}, 1, 1, 1)}
	e.near(t, "y", run(t, s, in).Values["y"], reference{tensor.Float32, tensor.Shape{3}, []float64{11, 21, 31}, nil}, 0)
	if err := s.Set("c", tensor.Float32s(tensor.Shape{3}, 4, 5, 6)); err != nil {
		t.Fatal(err)
	}
	e.near(t, "y", run(t, s, in).Values["y"], reference{tensor.Float32, tensor.Shape{3}, []float64{41, 51, 61}, nil}, 0)
}

func setWrong(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{}, tensor.Float32, 9, 20, false)
	scale := ops.StateName("layer", ops.InScaleInput)
	s := e.open(t, layerModel(l), runtime.Options{Variables: one(scale)})
	if s.Set(scale, tensor.Float32s(tensor.Shape{2}, 1, 2)) == nil {
		t.Error("another shape was taken")
	}
	if s.Set(scale, tensor.Int64s(tensor.Shape{}, 1)) == nil {
		t.Error("another type was taken")
	}
	if s.Set(ops.StateName("layer", ops.InScaleWeight), scalar(1)) == nil {
		t.Error("an initializer that was not opened as a variable was replaced")
	}
	if _, err := e.Open(t.Context(), layerModel(l), runtime.Options{Variables: one("nobody")}); err == nil {
		t.Error("a variable that the model does not have was taken")
	}
	x := random(46, tensor.Float32, 20)
	res := run(t, s, feeds{"x": fromNumbers(tensor.Float32, tensor.Shape{1, 20}, x)})
	e.near(t, "y after refused ones", res.Values["y"], l.output(x, tensor.Shape{1, 20}), e.part(l))
}
