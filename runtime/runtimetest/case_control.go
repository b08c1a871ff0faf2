package runtimetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func controlCases() []testCase {
	return []testCase{
		{"control/if", ifBranches},
		{"control/loop", loop},
		{"control/a loop without iterations", loopNever},
		{"control/scan", scan},
		{"control/an if inside a loop", ifInLoop},
	}
}

// ifBranches: layers before, in both branches and after; the branch that is not taken reports nothing.
func ifBranches(t *testing.T, e *engine) {
	layers := map[string]*layerSpec{}
	for i, name := range one("before", "then", "else", "after") {
		layers[name] = newLayer(name, ops.Variant{}, tensor.Float32, 12, 12, false)
		layers[name].scaleX = float32(10 + i)
	}
	m := newModel(modern)
	g := m.Graph
	input(g, "x", typ(tensor.Float32, "rows", 12))
	input(g, "condition", typ(tensor.Bool))
	layers["before"].add(m, g, "x", "a")
	branch := func(name string) *graph.Graph {
		b := &graph.Graph{Name: name}
		layers[name].add(m, b, "a", name+".out")
		output(b, name+".out", anyShape(tensor.Float32))
		return b
	}
	node(g, "If", one("condition"), one("b"), graphAttr("then_branch", branch("then")), graphAttr("else_branch", branch("else")))
	layers["after"].add(m, g, "b", "y")
	for _, name := range one("a", "b", "y") {
		output(g, name, anyShape(tensor.Float32))
	}
	s := e.open(t, m, runtime.Options{})
	if want := one("before", "then", "else", "after"); !slices.Equal(s.Layers(), want) {
		t.Fatalf("layers %q, want %q", s.Layers(), want)
	}
	shape := tensor.Shape{3, 12}
	x := random(51, tensor.Float32, 36)
	for _, condition := range []bool{true, false, true} {
		taken, other := "then", "else"
		if !condition {
			taken, other = other, taken
		}
		res := run(t, s, feeds{"x": fromNumbers(tensor.Float32, shape, x), "condition": tensor.Bools(tensor.Shape{}, condition)})
		// Each layer is held against what it really got, so that a rounding that falls the other way in one is not the next one's.
		a, b := numbers(t, res.Values["a"].Tensor), numbers(t, res.Values["b"].Tensor)
		e.near(t, "a", res.Values["a"], layers["before"].output(x, shape), e.part(layers["before"]))
		e.near(t, "b", res.Values["b"], layers[taken].output(a, shape), e.part(layers[taken]))
		e.near(t, "y", res.Values["y"], layers["after"].output(b, shape), e.part(layers["after"]))
		checkStats(t, res, layers["before"], x)
		checkStats(t, res, layers[taken], a)
		checkStats(t, res, layers["after"], b)
		i := slices.Index(s.Layers(), other)
		if got := res.Layers[i]; got != (runtime.LayerStats{Layer: other, Counted: got.Counted}) {
			t.Errorf("the branch that was not taken reports %+v", got)
		}
	}
}

// loopModel runs a layer on x, factor·x, factor²·x, …, as often as the input trips says.
func loopModel(l *layerSpec, factor float32) *graph.Model {
	m := newModel(modern)
	g := m.Graph
	input(g, "x", typ(tensor.Float32, "rows", l.k))
	input(g, "trips", typ(tensor.Int64))
	body := &graph.Graph{Name: "body"}
	input(body, "i", typ(tensor.Int64))
	input(body, "go_on", typ(tensor.Bool))
	input(body, "value", anyShape(tensor.Float32))
	constant(body, "factor", scalar(factor))
	l.add(m, body, "value", "made")
	node(body, "Mul", one("value", "factor"), one("next"))
	node(body, "Identity", one("go_on"), one("still"))
	output(body, "still", typ(tensor.Bool))
	output(body, "next", anyShape(tensor.Float32))
	output(body, "made", anyShape(tensor.Float32))
	node(g, "Loop", one("trips", "", "x"), one("last", "all"), graphAttr("body", body))
	output(g, "last", anyShape(tensor.Float32))
	output(g, "all", anyShape(tensor.Float32))
	return m
}

func loop(t *testing.T, e *engine) {
	shape := tensor.Shape{2, 10}
	for _, factor := range []float32{2, 0.5} {
		l := newLayer("layer", ops.Variant{}, tensor.Float32, 6, 10, false)
		s := e.open(t, loopModel(l, factor), runtime.Options{})
		for _, trips := range []int64{4, 1} {
			x := random(52, tensor.Float32, 20)
			in := feeds{"x": fromNumbers(tensor.Float32, shape, x), "trips": tensor.Int64s(tensor.Shape{}, trips)}
			res := run(t, s, in)
			want := reference{dtype: tensor.Float32, shape: tensor.Shape{trips, 2, 6}}
			for i := range trips {
				y := l.output(x, shape)
				want.value, want.weight = append(want.value, y.value...), append(want.weight, y.weight...)
				if largest := factor < 1 && i == 0 || factor > 1 && i+1 == trips; largest {
					checkStats(t, res, l, x)
				}
				for j := range x {
					x[j] *= float64(factor)
				}
			}
			e.near(t, "all", res.Values["all"], want, e.tol.Sum)
			e.near(t, "last", res.Values["last"], reference{tensor.Float32, shape, x, nil}, 0)
		}
	}
}

func loopNever(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{}, tensor.Float32, 6, 10, false)
	x := random(53, tensor.Float32, 20)
	shape := tensor.Shape{2, 10}
	res := e.once(t, loopModel(l, 2), feeds{"x": fromNumbers(tensor.Float32, shape, x), "trips": tensor.Int64s(tensor.Shape{}, 0)}, runtime.Options{})
	if got := res.Layers[0]; got != (runtime.LayerStats{Layer: "layer", Counted: got.Counted}) {
		t.Errorf("a layer that never ran reports %+v", got)
	}
	e.near(t, "last", res.Values["last"], reference{tensor.Float32, shape, x, nil}, 0)
}

// scan runs a layer over the rows of x and adds them up on the way.
func scan(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{}, tensor.Float32, 6, 10, false)
	m := newModel(modern)
	g := m.Graph
	input(g, "x", typ(tensor.Float32, "rows", 10))
	constant(g, "start", tensor.Float32s(tensor.Shape{10}, make([]float32, 10)...))
	body := &graph.Graph{Name: "body"}
	input(body, "sum", typ(tensor.Float32, 10))
	input(body, "row", typ(tensor.Float32, 10))
	node(body, "Add", one("sum", "row"), one("next"))
	l.add(m, body, "row", "made")
	output(body, "next", typ(tensor.Float32, 10))
	output(body, "made", typ(tensor.Float32, 6))
	node(g, "Scan", one("start", "x"), one("total", "y"), graphAttr("body", body), graph.Int("num_scan_inputs", 1))
	output(g, "total", anyShape(tensor.Float32))
	output(g, "y", anyShape(tensor.Float32))
	s := e.open(t, m, runtime.Options{})
	for _, rows := range []int64{5, 2} {
		x := random(54+uint64(rows), tensor.Float32, int(rows)*10)
		res := run(t, s, feeds{"x": fromNumbers(tensor.Float32, tensor.Shape{rows, 10}, x)})
		e.near(t, fmt.Sprintf("y of %d rows", rows), res.Values["y"], l.output(x, tensor.Shape{rows, 10}), e.part(l))
		checkStats(t, res, l, x)
	}
}

// ifInLoop: iteration i has (i+1)·x, which the layer gets in one of them and Neg in the others.
func ifInLoop(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{}, tensor.Float32, 10, 10, false)
	m := newModel(modern)
	g := m.Graph
	input(g, "x", typ(tensor.Float32, "rows", 10))
	input(g, "trips", typ(tensor.Int64))
	input(g, "when", typ(tensor.Int64))
	then := &graph.Graph{Name: "then"}
	l.add(m, then, "scaled", "made")
	output(then, "made", anyShape(tensor.Float32))
	otherwise := &graph.Graph{Name: "else"}
	node(otherwise, "Neg", one("scaled"), one("negative"))
	output(otherwise, "negative", anyShape(tensor.Float32))
	body := &graph.Graph{Name: "body"}
	input(body, "i", typ(tensor.Int64))
	input(body, "go_on", typ(tensor.Bool))
	constant(body, "first", tensor.Int64s(tensor.Shape{}, 1))
	node(body, "Add", one("i", "first"), one("number"))
	node(body, "Cast", one("number"), one("factor"), graph.Int("to", int64(tensor.Float32)))
	node(body, "Mul", one("x", "factor"), one("scaled"))
	node(body, "Equal", one("i", "when"), one("now"))
	node(body, "If", one("now"), one("y"), graphAttr("then_branch", then), graphAttr("else_branch", otherwise))
	node(body, "Identity", one("go_on"), one("still"))
	output(body, "still", typ(tensor.Bool))
	output(body, "y", anyShape(tensor.Float32))
	node(g, "Loop", one("trips", ""), one("all"), graphAttr("body", body))
	output(g, "all", anyShape(tensor.Float32))
	s := e.open(t, m, runtime.Options{})
	shape := tensor.Shape{2, 10}
	x := random(55, tensor.Float32, 20)
	for _, when := range []int64{1, 7} {
		res := run(t, s, feeds{"x": fromNumbers(tensor.Float32, shape, x), "trips": tensor.Int64s(tensor.Shape{}, 3), "when": tensor.Int64s(tensor.Shape{}, when)})
		want := reference{dtype: tensor.Float32, shape: tensor.Shape{3, 2, 10}}
		for i := range int64(3) {
			in := make([]float64, len(x))
			part := reference{value: make([]float64, len(x)), weight: make([]float64, len(x))}
			for j := range x {
				in[j] = round(tensor.Float32, x[j]*float64(i+1))
				part.value[j] = -in[j]
			}
			if i == when {
				part = l.output(in, shape)
				checkStats(t, res, l, in)
			}
			want.value, want.weight = append(want.value, part.value...), append(want.weight, part.weight...)
		}
		e.near(t, "all", res.Values["all"], want, e.tol.Sum)
		if got := res.Layers[0]; when == 7 && got != (runtime.LayerStats{Layer: "layer", Counted: got.Counted}) {
			t.Errorf("a layer that never ran reports %+v", got)
		}
	}
}
