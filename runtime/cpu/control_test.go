package cpu

import (
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func TestIfRunsOneBranchAndReadsFromOutside(t *testing.T) {
	s := open(t, model(input("c bool"), input("x float32 n"), outputs("y"),
		node("Add x x -> x2"),
		node("If c -> y",
			body("then_branch", node("Add x2 x -> a"), outputs("a")),
			body("else_branch", outputs("x2")))), runtime.Options{})
	for range 2 {
		wantFloats(t, run(t, s, in{"c": tensor.Bools(nil, true), "x": f32(1, 2)})["y"], 3, 6)
		wantFloats(t, run(t, s, in{"c": tensor.Bools(nil, false), "x": f32(1, 2)})["y"], 2, 4)
	}
}

// sums is a Loop that adds x to a carried value and collects every sum.
func sums() *graph.Node {
	return node("Loop m c start -> last all", body("body", input("i int64"), input("ci bool"), input("s float32 2"),
		node("Add s x -> t"), node("Identity ci -> co"), node("Identity t -> u"), outputs("co t u")))
}

func TestLoop(t *testing.T) {
	m := model(input("m int64"), input("c bool"), input("start float32 2"), input("x float32 2"), sums(), outputs("last all"))
	m.Graph.Nodes[0].Attributes[0].Graph.Outputs[2].Type = &graph.Type{DType: tensor.Float32, HasShape: true, Shape: []graph.Dim{{Value: 2}}}
	s := open(t, m, runtime.Options{})
	got := run(t, s, in{"m": tensor.Int64s(nil, 3), "c": tensor.Bools(nil, true), "start": f32(0, 1), "x": f32(1, 2)})
	wantFloats(t, got["last"], 3, 7)
	wantFloats(t, got["all"], 1, 3, 2, 5, 3, 7)
	none := run(t, s, in{"m": tensor.Int64s(nil, 3), "c": tensor.Bools(nil, false), "start": f32(0, 1), "x": f32(1, 2)})
	wantFloats(t, none["last"], 0, 1)
	wantFloats(t, none["all"])
	if got := none["all"].Tensor.Shape; !got.Equal(tensor.Shape{0, 2}) {
		t.Errorf("no iterations collect %s, want [0,2]", got)
	}
}

func TestLoopWithoutBoundsEndsByItsCondition(t *testing.T) {
	n := node("Loop _ _ start -> last", body("body", input("i int64"), input("ci bool"), input("s float32 1"),
		node("Add s one -> t"), node("Less t ten -> co"), outputs("co t")))
	s := open(t, model(n, input("start float32 1"), floats("one", nil, 1), floats("ten", nil, 10), outputs("last")), runtime.Options{})
	wantFloats(t, run(t, s, in{"start": f32(0.5)})["last"], 10.5)
}

func TestScan(t *testing.T) {
	scan := node("Scan s x -> last all", graph.Int("num_scan_inputs", 1), graph.Ints("scan_input_directions", 1), graph.Ints("scan_output_axes", 1),
		body("body", input("a float32 2"), input("b float32 2"), node("Add a b -> c"), node("Identity c -> d"), outputs("c d")))
	s := open(t, model(scan, input("s float32 2"), input("x float32 n 2"), outputs("last all")), runtime.Options{})
	got := run(t, s, in{"s": f32(0, 0), "x": tensor.Float32s(tensor.Shape{3, 2}, 1, 2, 3, 4, 5, 6)})
	wantFloats(t, got["last"], 9, 12)
	wantFloats(t, got["all"], 5, 8, 9, 6, 10, 12)
}

func TestScanOfOpset8(t *testing.T) {
	scan := node("Scan lens s x -> last all", graph.Int("num_scan_inputs", 1),
		body("body", input("a float32 1"), input("b float32 1"), node("Add a b -> c"), node("Identity c -> d"), outputs("c d")))
	s := open(t, model(scan, opset(8), input("lens int64 2"), input("s float32 2 1"), input("x float32 2 3 1"), outputs("last all")),
		runtime.Options{})
	got := run(t, s, in{"lens": i64(3, 1), "s": tensor.Float32s(tensor.Shape{2, 1}, 0, 10),
		"x": tensor.Float32s(tensor.Shape{2, 3, 1}, 1, 2, 3, 4, 5, 6)})
	wantFloats(t, got["last"], 6, 14)
	wantFloats(t, got["all"], 1, 3, 6, 14, 0, 0)
}

func TestSequenceMap(t *testing.T) {
	m := model(node("SequenceMap q x -> y", body("body", input("e float32 n"), input("w float32 n"), node("Add e w -> z"), outputs("z"))),
		&graph.Value{Name: "q", Type: &graph.Type{Kind: graph.OtherKind}}, input("x float32 n"), outputs("y"))
	s := open(t, m, runtime.Options{})
	r, err := s.Run(t.Context(), map[string]runtime.Value{"x": runtime.FromTensor(f32(10)),
		"q": {Kind: runtime.SequenceValue, Items: []runtime.Value{runtime.FromTensor(f32(1)), runtime.FromTensor(f32(2))}}})
	if err != nil {
		t.Fatal(err)
	}
	items := r.Values["y"].Items
	if len(items) != 2 {
		t.Fatalf("%d items, want 2", len(items))
	}
	wantFloats(t, items[0], 11)
	wantFloats(t, items[1], 12)
}

func TestFunctionsAreExpanded(t *testing.T) {
	inner := function("Twice", "x", "y", node("Add x x -> y"))
	outer := function("Outer", "x w", "y", node("f.Twice x -> t"), node("Add t w -> y"))
	s := open(t, model(inner, outer, node("f.Outer x t -> y"), node("f.Outer x y -> z"), input("x float32 n"), input("t float32 n"),
		outputs("y z")), runtime.Options{})
	got := run(t, s, in{"x": f32(1, 2), "t": f32(10, 20)})
	wantFloats(t, got["y"], 12, 24)
	wantFloats(t, got["z"], 14, 28)
}

func TestNodesNeedNotBeSorted(t *testing.T) {
	s := open(t, model(node("Add b b -> y"), node("Add a a -> b"), node("Add x x -> a"), input("x float32 n"), outputs("y")), runtime.Options{})
	wantFloats(t, run(t, s, in{"x": f32(1)})["y"], 8)
}

func TestARepeatedNameMeansTheDefinitionBefore(t *testing.T) {
	s := open(t, model(node("Add x x -> a"), node("Add a a -> b"), node("Add a b -> a"), node("Add a b -> y"), input("x float32 n"), outputs("y")),
		runtime.Options{})
	wantFloats(t, run(t, s, in{"x": f32(1)})["y"], 10)
}

func TestOfSeveralConstantsTheLastCounts(t *testing.T) {
	two := func(v float32) *graph.Node { return node("Constant -> c", graph.Float("value_float", v)) }
	s := open(t, model(two(1), node("Add x c -> a"), two(2), node("Add a c -> y"), two(3), input("x float32 n"), outputs("y")), runtime.Options{})
	wantFloats(t, run(t, s, in{"x": f32(1)})["y"], 7)
}

func TestTablesDoNotOverlap(t *testing.T) {
	if _, err := join(rooms()); err != nil {
		t.Error(err)
	}
	for _, op := range append(controls, "Constant") {
		if all, _ := join(rooms()); all[op] != nil {
			t.Errorf("a table holds %s, which is the engine's own", op)
		}
	}
	if _, err := join(map[string]kernel.Table{"a": {"Add": nil}, "b": {"Add": nil}}); err == nil {
		t.Error("an operator in two tables is no error")
	}
}

// The graphs inside an attention see the names around it, and query heads share key heads in order.
func TestAttentionWithGraphsInside(t *testing.T) {
	shape := func(heads, rows int64) tensor.Shape { return tensor.Shape{2, heads, rows, 4} }
	x := in{"q": tensor.Float32s(shape(4, 3), random(96, 1)...), "k": tensor.Float32s(shape(2, 5), random(80, 2)...),
		"v": tensor.Float32s(shape(2, 5), random(80, 3)...), "two": f32(2)}
	of := func(attrs ...*graph.Attribute) *graph.Model {
		m := model(opset(26), input("q float32 b 4 3 4"), input("k float32 b 2 5 4"), input("v float32 b 2 5 4"), input("two float32 1"),
			node("ai.onnx.preview.FlexAttention q k v -> y", attrs...), outputs("y"))
		m.SetOpset("ai.onnx.preview", 1)
		return m
	}
	nothing := body("score_mod", &graph.Value{Name: "q"}, node("Identity q -> s"), outputs("s"))
	twice := body("prob_mod", &graph.Value{Name: "p"}, node("Mul p two -> s"), outputs("s"))
	plain := run(t, open(t, of(), runtime.Options{}), x)["y"].Tensor
	want, _ := plain.AsFloat32s()
	for i, m := range []*graph.Model{of(nothing), of(nothing, twice), of(twice, graph.Float("scale", 0.5))} {
		got := run(t, open(t, m, runtime.Options{}), x)["y"].Tensor
		if !got.Shape.Equal(plain.Shape) {
			t.Fatalf("shape %s, want %s", got.Shape, plain.Shape)
		}
		v, _ := got.AsFloat32s()
		for j := range v {
			if w := want[j] * float32(min(i, 1)+1); v[j]-w > 1e-5 || w-v[j] > 1e-5 {
				t.Fatalf("model %d: element %d is %v, want %v", i, j, v[j], w)
			}
		}
	}
}
