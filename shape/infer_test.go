package shape

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func expect(t *testing.T, i *Info, g *graph.Graph, want map[string]string) {
	t.Helper()
	for name, w := range want {
		if got := spell(i.Of(g, name)); got != w {
			t.Errorf("%q: got %s, want %s", name, got, w)
		}
	}
}

func TestShapeArithmeticIsFolded(t *testing.T) {
	// The way torch exports x.view(x.shape[0], -1, heads, 8): Shape, Gather, Unsqueeze, Concat, Reshape.
	m := model(t, 17, "x:float32[B,S,64]", map[string][]int64{"scalar_zero": {0}, "rest": {-1}, "heads": {8, 8}, "a0": {0}, "two": {2},
		"scalar_two": {2}},
		node("Shape x -> s"), node("Gather s scalar_zero -> b"), node("Unsqueeze b a0 -> b1"),
		node("Concat b1 rest heads -> to", graph.Int("axis", 0)), node("Reshape x to -> y"),
		node("Gather s scalar_two -> k"), node("Div k scalar_two -> half"), node("Unsqueeze half a0 -> half1"),
		node("Concat b1 half1 -> fill_shape", graph.Int("axis", 0)), node("ConstantOfShape fill_shape -> filled"))
	i := Infer(m)
	expect(t, i, m.Graph, map[string]string{"y": "float32[B,S,8,8]", "to": "int64[4]", "filled": "float32[B,32]"})
	if v, ok := i.Ints(m.Graph, "half1"); !ok || !slices.Equal(v, []int64{32}) {
		t.Errorf("half1: got %v %v, want [32]", v, ok)
	}
	if _, ok := i.Ints(m.Graph, "to"); ok {
		t.Error(`"to" holds a named extent and must not count as known integers`)
	}
}

func TestTorchExpandIsFolded(t *testing.T) {
	// x.expand(-1, 4): where(equal(shape, -1), ones, shape).
	m := model(t, 17, "x:float32[N,1]", map[string][]int64{"want": {-1, 4}, "minus": {-1}, "two": {2}},
		node("ConstantOfShape two -> ones", graph.TensorAttr("value", tensor.Int64s(tensor.Shape{1}, 1))),
		node("Mul ones minus -> minuses"), node("Equal want minuses -> is"), node("Where is ones want -> to"), node("Expand x to -> y"))
	expect(t, Infer(m), m.Graph, map[string]string{"y": "float32[N,4]"})
}

func TestUnsortedNodesAreFollowed(t *testing.T) {
	m := model(t, 17, "x:float32[2,3]", nil, node("Relu b -> y"), node("Neg a -> b"), node("Transpose x -> a"))
	expect(t, Infer(m), m.Graph, map[string]string{"y": "float32[3,2]"})
}

func TestACycleEnds(t *testing.T) {
	m := model(t, 17, "x:float32[2,3]", nil, node("Add x b -> a"), node("Relu a -> b"), node("Neg x -> y"))
	expect(t, Infer(m), m.Graph, map[string]string{"a": "float32", "y": "float32[2,3]"})
}

func TestARepeatedNameIsUnknown(t *testing.T) {
	m := model(t, 17, "x:float32[2,3] w:float32[5]", nil, node("Relu x -> a"), node("Relu w -> a"), node("Neg a -> y"))
	expect(t, Infer(m), m.Graph, map[string]string{"a": "?", "y": "?", "missing": "nothing"})
}

func TestDeclarationsAreTrustedUnlessConstantsSayOtherwise(t *testing.T) {
	m := model(t, 17, "x:float32[2,3] u:float32", map[string][]int64{"s": {6, 1}},
		node("Frobnicate x -> a"),   // declared only
		node("Reshape x s -> b"),    // the shape is constant: the declared rank 3 is wrong
		node("Relu x -> c"),         // two declarations disagree on the rank
		node("Relu u -> d"),         // the declaration adds the rank
		node("Relu x -> e"),         // the declarations disagree on one axis
		node("Shape x -> f"),        // the element type is the operator's own
		node("Gemm x x -> g"),       // a matrix whatever is declared
		node("Transpose x -> last")) // the graph's output
	m.Graph.Values = values(t, "a:float16[7] b:float32[1,2,3] c:float32[2] d:float32[4,4] e:float32[2,4] f:int32[2] g:float32[1,2,3]")
	m.Graph.Outputs = values(t, "last:float32[3,2]")
	expect(t, Infer(m), m.Graph, map[string]string{"a": "float16[7]", "b": "float32[6,1]", "c": "float32", "d": "float32[4,4]",
		"e": "float32[2,?]", "f": "int64[2]", "g": "float32[2,3]", "last": "float32[3,2]"})
}

func TestAnOverridableDefaultFixesOnlyItsType(t *testing.T) {
	m := model(t, 17, "s:int64[2] x:float32[6]", map[string][]int64{"s": {2, 3}}, node("Reshape x s -> y"))
	expect(t, Infer(m), m.Graph, map[string]string{"y": "float32[?,?]"})
	m.IRVersion = 3
	expect(t, Infer(m), m.Graph, map[string]string{"y": "float32[2,3]"})
}

func TestOtherKindsAndOwnFunctionsAreNotGuessed(t *testing.T) {
	m := model(t, 17, "x:float32[2] q", nil, node("Identity q -> r"), node("Relu x -> y"))
	m.Graph.Inputs[1].Type = &graph.Type{Kind: graph.OtherKind}
	m.Functions = []*graph.Function{{Name: "Relu", Domain: "ai.onnx"}}
	expect(t, Infer(m), m.Graph, map[string]string{"r": "no tensor", "y": "?"})
}

func body(t *testing.T, inputs, outputs string, nodes ...*graph.Node) *graph.Graph {
	t.Helper()
	return &graph.Graph{Name: "body", Inputs: values(t, inputs), Outputs: values(t, outputs), Nodes: nodes}
}

func sub(name string, g *graph.Graph) *graph.Attribute {
	return &graph.Attribute{Name: name, Kind: graph.AttrGraph, Graph: g}
}

func TestIfGivesWhatBothBranchesGive(t *testing.T) {
	then := body(t, "", "p q r", node("Relu x -> p"), node("Neg x -> q"), node("Flatten x -> r"))
	other := body(t, "", "p q r", node("Transpose x -> p"), node("ReduceSum x -> q", graph.Int("keepdims", 0)), node("Flatten x -> r"))
	m := model(t, 17, "c:bool[] x:float32[2,3]", nil, node("If c -> p1 q1 r1", sub("then_branch", then), sub("else_branch", other)))
	i := Infer(m)
	expect(t, i, m.Graph, map[string]string{"p1": "float32[?,?]", "q1": "float32", "r1": "float32[2,3]"})
	expect(t, i, then, map[string]string{"p": "float32[2,3]", "x": "float32[2,3]", "c": "bool[]"})
}

func TestLoopKeepsARankOnlyWhenTheBodyDoes(t *testing.T) {
	b := body(t, "i c s g", "c s2 g2 o", node("Add s s -> s2"), node("Unsqueeze g a0 -> g2"), node("MatMul s w -> o"))
	m := model(t, 17, "n:int64[] c:bool[] s0:float32[2,3] g0:float32[4] w:float32[3,5]", map[string][]int64{"a0": {0}},
		node("Loop n c s0 g0 -> s9 g9 o9", sub("body", b)))
	i := Infer(m)
	expect(t, i, m.Graph, map[string]string{"s9": "float32[?,?]", "g9": "float32", "o9": "float32[?,?,5]"})
	expect(t, i, b, map[string]string{"i": "int64[]", "s": "float32[?,?]", "g": "float32"})
}

func TestScanSlicesAndStacks(t *testing.T) {
	b := body(t, "s e", "s2 o", node("Add s e -> s2"), node("Identity e -> o"))
	m := model(t, 17, "s0:float32[5] x:float32[5,N]", nil,
		node("Scan s0 x -> s9 o9", sub("body", b), graph.Int("num_scan_inputs", 1), graph.Ints("scan_input_axes", 1)))
	i := Infer(m)
	expect(t, i, m.Graph, map[string]string{"s9": "float32[5]", "o9": "float32[N,5]"})
	expect(t, i, b, map[string]string{"e": "float32[5]"})
}

func TestGraphsOfUnknownOperatorsAreEntered(t *testing.T) {
	b := body(t, "i:float32[2,3]", "o", node("Gemm i w -> o"))
	m := model(t, 17, "x:float32[1] w:float32[3,4]", nil, node("Decode x -> y", sub("decoder", b)))
	expect(t, Infer(m), b, map[string]string{"o": "float32[2,4]"})
}

func TestTimeIsLinear(t *testing.T) {
	build := func(n int) *graph.Model {
		nodes := make([]*graph.Node, n)
		for i := range nodes {
			nodes[n-1-i] = node(fmt.Sprintf("Add v%d w -> v%d", i, i+1)) // the worst order
		}
		return model(t, 17, "v0:float32[2,3] w:float32[3]", nil, nodes...)
	}
	took := func(n int) time.Duration {
		m := build(n)
		best := time.Hour
		for range 3 {
			start := time.Now()
			i := Infer(m)
			best = min(best, time.Since(start))
			expect(t, i, m.Graph, map[string]string{fmt.Sprintf("v%d", n): "float32[2,3]"})
		}
		return best
	}
	small, large := took(4000), took(32000)
	if large > 40*small+50*time.Millisecond {
		t.Errorf("8 times the nodes took %v instead of %v", large, small)
	}
	// Loops inside loops must not multiply without end.
	inner := body(t, "i c s", "c s2", node("Relu s -> s2"))
	for range 12 {
		inner = body(t, "i c s", "c s2", node("Loop n c s -> s2", sub("body", inner)))
	}
	m := model(t, 17, "n:int64[] c:bool[] s0:float32[2]", nil, node("Loop n c s0 -> y", sub("body", inner)))
	start := time.Now()
	Infer(m)
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("13 nested loops took %v", d)
	}
}
