package cpu

import (
	"math"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// both runs a model with fusion and without and compares the outputs; tol is relative to the largest element, 0 for the same bits. It gives
// the operators that are left.
func both(t *testing.T, m *graph.Model, inputs in, tol float64) []string {
	t.Helper()
	plain := testBackend()
	plain.plain = true
	slow, err := plain.Open(t.Context(), m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fast := open(t, m, runtime.Options{})
	want := run(t, slow, inputs)
	for range 2 {
		got := run(t, fast, inputs)
		for _, o := range fast.Outputs() {
			a, b := want[o].Tensor, got[o].Tensor
			if !a.Shape.Equal(b.Shape) || a.DType != b.DType {
				t.Fatalf("%s: got %s%s, want %s%s", o, b.DType, b.Shape, a.DType, a.Shape)
			}
			x, _ := a.AsFloat32s()
			y, _ := b.AsFloat32s()
			peak := 0.0
			for _, v := range x {
				peak = max(peak, math.Abs(float64(v)))
			}
			for i := range x {
				if d := math.Abs(float64(x[i] - y[i])); !(d <= tol*peak) {
					t.Fatalf("%s[%d]: %v, want %v", o, i, y[i], x[i])
				}
			}
		}
	}
	var left []string
	for _, s := range fast.(*session).main.steps {
		left = append(left, s.op())
	}
	return left
}

// attention has two query heads for each of two key heads, rotary embeddings and a mask, as exporters write them.
func attention() *graph.Model {
	rotary := func(x string) []any {
		n := func(s string) string { return x + s }
		return []any{
			node("Slice " + x + " zero half last one -> " + n("_lo")), node("Slice " + x + " half end last one -> " + n("_hi")),
			node("Neg " + n("_hi") + " -> " + n("_ng")), node("Concat "+n("_ng")+" "+n("_lo")+" -> "+n("_rot"), graph.Int("axis", -1)),
			node("Mul " + x + " cos -> " + n("_c")), node("Mul " + n("_rot") + " sin -> " + n("_s")), node("Add " + n("_c") + " " + n("_s") + " -> " + n("_r")),
		}
	}
	heads := graph.Ints("perm", 0, 2, 1, 3)
	parts := []any{
		input("q float32 b t 32"), input("k float32 b t 16"), input("v float32 b t 16"), input("mask float32 t t"), input("cos float32 t 8"), input("sin float32 t 8"),
		ints("q4", tensor.Shape{4}, 0, 0, 4, 8), ints("k4", tensor.Shape{4}, 0, 0, 2, 8), ints("five", tensor.Shape{5}, 1, 2, 2, 1, 8), ints("four", tensor.Shape{4}, 0, -1, 5, 8),
		ints("three", tensor.Shape{3}, 0, 0, -1), ints("two", tensor.Shape{1}, 2),
		ints("zero", tensor.Shape{1}, 0), ints("half", tensor.Shape{1}, 4), ints("end", tensor.Shape{1}, math.MaxInt64), ints("last", tensor.Shape{1}, 3), ints("one", tensor.Shape{1}, 1),
		floats("scale", nil, 0.35),
		node("Reshape q q4 -> q0"), node("Transpose q0 -> qt", heads), node("Reshape k k4 -> k0"), node("Transpose k0 -> kt", heads),
		node("Reshape v k4 -> v0"), node("Transpose v0 -> vt", heads),
	}
	parts = append(append(parts, rotary("qt")...), rotary("kt")...)
	return model(append(parts,
		node("Unsqueeze kt_r two -> k5"), node("Expand k5 five -> k6"), node("Reshape k6 four -> k7"), node("Transpose k7 -> k8", graph.Ints("perm", 0, 1, 3, 2)),
		node("Unsqueeze vt two -> v5"), node("Expand v5 five -> v6"), node("Reshape v6 four -> v7"),
		node("MatMul qt_r k8 -> s0"), node("Mul s0 scale -> s1"), node("Add s1 mask -> s2"), node("Softmax s2 -> p"),
		node("MatMul p v7 -> o0"), node("Transpose o0 -> o1", heads), node("Reshape o1 three -> y"), outputs("y"))...)
}

func attentionInputs(b int64) in {
	mask := make([]float32, 25)
	for i := range 5 {
		for j := i + 1; j < 5; j++ {
			mask[5*i+j] = float32(math.Inf(-1))
		}
	}
	return in{"q": tensor.Float32s(tensor.Shape{b, 5, 32}, random(int(b)*160, 1)...), "k": tensor.Float32s(tensor.Shape{b, 5, 16}, random(int(b)*80, 2)...),
		"v": tensor.Float32s(tensor.Shape{b, 5, 16}, random(int(b)*80, 3)...), "mask": tensor.Float32s(tensor.Shape{5, 5}, mask...),
		"cos": tensor.Float32s(tensor.Shape{5, 8}, random(40, 4)...), "sin": tensor.Float32s(tensor.Shape{5, 8}, random(40, 5)...)}
}

func TestAttentionMovesNoHeads(t *testing.T) {
	for _, b := range []int64{1, 3} {
		left := both(t, attention(), attentionInputs(b), 2e-6)
		for _, op := range []string{"Transpose", "Expand", "Slice", "Concat", "Neg"} {
			if slices.Contains(left, op) {
				t.Errorf("a %s is left of %v", op, left)
			}
		}
	}
}

func TestABiasIsAddedByTheProduct(t *testing.T) {
	w := floats("w", tensor.Shape{6, 5}, random(30, 1)...)
	m := model(input("x float32 b t 6"), w, floats("c", tensor.Shape{5}, random(5, 2)...), node("MatMul x w -> h"), node("Add c h -> y"), outputs("y"))
	x := in{"x": tensor.Float32s(tensor.Shape{2, 3, 6}, random(36, 3)...)}
	if left := both(t, m, x, 0); !slices.Equal(left, []string{"MatMul"}) {
		t.Errorf("steps %v", left)
	}
	// A bias with more axes than the product has changes its shape.
	m = model(input("x float32 b 6"), w, floats("c", tensor.Shape{1, 1, 5}, random(5, 2)...), node("MatMul x w -> h"), node("Add h c -> y"), outputs("y"))
	both(t, m, in{"x": tensor.Float32s(tensor.Shape{3, 6}, random(18, 3)...)}, 0)
	// A product that somebody else reads stays.
	m = model(input("x float32 b 6"), w, floats("c", tensor.Shape{5}, random(5, 2)...), node("MatMul x w -> h"), node("Add h c -> y"), outputs("y h"))
	both(t, m, in{"x": tensor.Float32s(tensor.Shape{3, 6}, random(18, 3)...)}, 0)
}

// layered is a Float8Linear with delayed scales, the weight's codes all 1.
func layered(output string, after ...any) *graph.Model {
	codes := make([]byte, 2*3)
	for i := range codes {
		codes[i] = 0x38
	}
	l := ops.Layer{Name: "node", Input: "x", Weight: ops.StateName("fc", ops.InWeight), ScaleInput: "si", ScaleWeight: "sw", Output: output, AmaxInput: "amax",
		Original: ops.MatMul("w"), QuantMax: 448}
	m := model(append([]any{input("x float32 b 3"), floats("si", nil, 1), floats("sw", nil, 1),
		&graph.Initializer{Name: l.Weight, Tensor: &tensor.Tensor{DType: tensor.Float8E4M3FN, Shape: tensor.Shape{2, 3}, Data: tensor.Bytes(codes)}}, l.Node()}, after...)...)
	m.SetOpset("", 20)
	m.SetOpset(ops.Domain, 1)
	return m
}

func TestALayerWithABiasTellsWhatItSaw(t *testing.T) {
	for _, outs := range []outputs{"y", "y amax"} {
		m := layered("h", floats("c", tensor.Shape{2}, 10, 20), node("Add h c -> y"), outs)
		x := in{"x": tensor.Float32s(tensor.Shape{2, 3}, 1, 2, 3, 4, -500, 6)}
		both(t, m, x, 0)
		s := open(t, m, runtime.Options{Statistics: true})
		r, err := s.Run(t.Context(), x.values())
		if err != nil {
			t.Fatal(err)
		}
		wantFloats(t, r.Values["y"], 16, 26, -428, -418)
		want := runtime.LayerStats{Layer: "fc", Runs: 1, AmaxInput: 500, Input: runtime.Counts{Elements: 6, Saturated: 1}, Counted: true}
		if len(r.Layers) != 1 || r.Layers[0] != want {
			t.Errorf("%+v, want %+v", r.Layers, want)
		}
	}
}

func TestALayerInALoopReportsAllIterations(t *testing.T) {
	inner := layered("h", node("Identity ci -> co"), node("Concat h one -> next", graph.Int("axis", 1)), node("Mul next two -> grown"), outputs("co grown"))
	inner.Graph.Inputs = []*graph.Value{input("i int64"), input("ci bool"), {Name: "x"}}
	loop := node("Loop m _ start -> y", &graph.Attribute{Name: "body", Kind: graph.AttrGraph, Graph: inner.Graph})
	skipped := layered("h", outputs("h"))
	skipped.Graph.Inputs = nil
	for _, n := range skipped.Graph.Nodes {
		n.Name, n.Inputs[1] = "skipped", "w8" // its own name where the weight's does not tell
	}
	skipped.Graph.Initializers[2].Name = "w8"
	skipped.Graph.Nodes[0].Inputs[0] = "y"
	choice := node("If no -> z", &graph.Attribute{Name: "then_branch", Kind: graph.AttrGraph, Graph: skipped.Graph},
		body("else_branch", node("Identity y -> h"), outputs("h")))
	m := model(loop, choice, input("m int64"), input("start float32 1 3"), input("no bool"), floats("one", tensor.Shape{1, 1}, 1), floats("two", nil, 2), outputs("y z"))
	m.SetOpset("", 20)
	m.SetOpset(ops.Domain, 1)
	s := open(t, m, runtime.Options{Statistics: true})
	if got := s.Layers(); !slices.Equal(got, []string{"fc", "skipped"}) {
		t.Fatalf("layers %v", got)
	}
	for range 2 {
		r, err := s.Run(t.Context(), in{"m": tensor.Int64s(nil, 2), "start": tensor.Float32s(tensor.Shape{1, 3}, 1, 2, 3), "no": tensor.Bools(nil, false)}.values())
		if err != nil {
			t.Fatal(err)
		}
		// [1 2 3] sums to 6 in both channels, so that the second iteration sees [12 12 2].
		want := []runtime.LayerStats{{Layer: "fc", Runs: 2, AmaxInput: 12, Input: runtime.Counts{Elements: 6}, Counted: true}, {Layer: "skipped"}}
		if !slices.Equal(r.Layers, want) {
			t.Errorf("%+v, want %+v", r.Layers, want)
		}
	}
}

func TestViewsAgreeWithCopies(t *testing.T) {
	x := kernel.FromSlice(tensor.Float32, []int{2, 3, 4}, random(24, 1))
	reshape := func(v view, shape ...int) (view, bool) { return v.reshape(shape) }
	v, ok := whole(x).transpose([]int64{1, 0, 2})
	if !ok || !slices.Equal(v.shape(), []int{3, 2, 4}) {
		t.Fatal(v.shape(), ok)
	}
	if w, ok := reshape(v, 3, 2, 2, 2); !ok || !slices.Equal(w.offsets(4), []int{0, 1, 2, 3, 12, 13, 14, 15, 4, 5, 6, 7, 16, 17, 18, 19, 8, 9, 10, 11, 20, 21, 22, 23}) {
		t.Error("an axis that is split", ok)
	}
	if w, ok := reshape(v, 6, 4); !ok || !slices.Equal(w.offsets(1), []int{0, 12, 4, 16, 8, 20}) {
		t.Error("axes that are merged", ok)
	} else if _, single := w.stride(0); single {
		t.Error("axes that are merged have one stride")
	}
	if _, ok := reshape(v, 2, 12); ok {
		t.Error("a reshape across an axis needs a copy")
	}
	if _, ok := reshape(whole(x), 25); ok {
		t.Error("a reshape to another number of elements")
	}
}
