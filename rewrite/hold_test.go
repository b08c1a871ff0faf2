package rewrite_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// tower is a model that calls the first of n functions, each of which calls the next twice; last is the body of the last, from a
// to c.
func tower(n int, last ...*graph.Node) *graph.Model {
	parts := []any{node("one: f.F0 x -> y0"), node("MatMul y0 fc.weight -> y"), x(), weight("fc.weight", 8, 8)}
	for i := range n - 1 {
		parts = append(parts, function(fmt.Sprintf("F%d", i), "a", "c", node(fmt.Sprintf("f.F%d a -> b", i+1)), node(fmt.Sprintf("f.F%d b -> c", i+1))))
	}
	return model(append(parts, function(fmt.Sprintf("F%d", n-1), "a", "c", last...))...)
}

// TestFunctionsThatHoldLayers covers what no small model shows; TestDecisions has the plain cases. The towers would take years if
// every call were followed.
func TestFunctionsThatHoldLayers(t *testing.T) {
	constant := func(name string) *graph.Node { return node("Constant -> "+name, graph.TensorAttr("value", ramp(8, 8))) }
	plain := function("MatMul8", "a b", "c", node("mm: MatMul a b -> c"))
	plain.Domain = "ai.onnx"
	// Each function hands sixteen matrices on in two other orders, so that hardly two calls are alike.
	matrices := []any{x()}
	var order []string
	for i := range 16 {
		w := weight(fmt.Sprintf("w%d", i), 1, int64(i+1))
		matrices, order = append(matrices, w), append(order, w.Name)
	}
	const depth = 30
	list := strings.Join(order, " ")
	rotated := strings.Join(append(slices.Clone(order[1:]), order[0]), " ")
	swapped := strings.Join(append([]string{order[1], order[0]}, order[2:]...), " ")
	matrices = append(matrices, node("f.G0 x "+list+" -> y"))
	for i := range depth {
		next := fmt.Sprintf("f.G%d ", i+1)
		matrices = append(matrices, function(fmt.Sprintf("G%d", i), "a "+list, "c", node(next+"a "+rotated+" -> b"), node(next+"b "+swapped+" -> c")))
	}
	matrices = append(matrices, function(fmt.Sprintf("G%d", depth), "a "+list, "c", node("Relu a -> c")))
	for _, c := range []struct {
		name  string
		model *graph.Model
		want  []string
	}{
		{"a tower without a layer", tower(30, node("Relu a -> c")), []string{"fc: matmul"}},
		{"a low tower above a layer", tower(3, constant("k"), node("mm: MatMul a k -> c")), []string{"one/F1/F2/k: matmul", "one/F1/F2_2/k: matmul", "one/F1_2/F2/k: matmul",
			"one/F1_2/F2_2/k: matmul", "fc: matmul"}},
		{"a tower of calls that differ", model(matrices...), nil},
		{"a function that holds a layer and calls one that does", model(node("one: f.Outer x -> y"), x(),
			function("Outer", "a", "c", constant("k"), node("mm: MatMul a k -> t"), node("two: f.Inner t -> c")),
			function("Inner", "a", "c", constant("k"), node("mm: MatMul a k -> c"))), []string{"one/k: matmul", "one/two/k: matmul"}},
		{"the same function with and without a constant", model(node("one: f.Mul x x -> t"), node("two: f.Mul t fc.weight -> y"), value("x", tensor.Float32, 8, 8),
			weight("fc.weight", 8, 8), function("Mul", "a b", "c", node("mm: MatMul a b -> c"))), []string{"one/mm: no-constant-operand", "fc: matmul"}},
		{"a shape that makes a matrix of a vector", model(node("one: f.Make x -> y"), x(), function("Make", "a", "c",
			node("Constant -> v", graph.TensorAttr("value", ramp(64))), node("Constant -> s", graph.TensorAttr("value", tensor.Int64s(tensor.Shape{2}, 8, 8))),
			node("Constant -> n", graph.TensorAttr("value", tensor.Int64s(tensor.Shape{2}, 64, -2))), node("f.Use a v n -> u"), node("f.Use a v s -> c")),
			function("Use", "a v s", "c", node("Reshape v s -> w"), node("mm: MatMul a w -> c"))), []string{"one/v: weight-unresolved", "one/v_2: matmul"}},
		{"a function of ONNX's own domain", model(node("ai.onnx.MatMul8 x fc.weight -> y"), x(), weight("fc.weight", 8, 8), plain), []string{"mm: no-constant-operand"}},
		{"functions that call each other", model(node("f.A x -> y"), x(), function("A", "a", "c", node("f.B a -> b"), node("f.B b -> c")),
			function("B", "a", "c", node("f.A a -> b"), constant("k"), node("f.A b -> d"), node("mm: MatMul d k -> c"))), []string{"mm: in-function"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := rewrite.Convert(t.Context(), c.model, rewrite.Options{Recipe: scaling.DefaultRecipe()})
			if err != nil {
				t.Fatal(err)
			}
			got := decisionsOf(res)
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestNamesOfLayersAreUnique has suffixes that are taken, and more layers of one name than can be counted through for each.
func TestNamesOfLayersAreUnique(t *testing.T) {
	parts := []any{value("x", tensor.Float32, 4, 4)}
	for i, name := range []string{"a", "a", "a_2", "a", "a_3", "a"} {
		parts = append(parts, node(fmt.Sprintf("%s: MatMul x x -> y%d", name, i)))
	}
	const many = 30000
	for i := range many {
		parts = append(parts, node(fmt.Sprintf("MatMul x x -> z%d", i)))
	}
	res, err := rewrite.Convert(t.Context(), model(parts...), rewrite.Options{Recipe: scaling.DefaultRecipe()})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	seen := map[string]bool{}
	for i, l := range res.Layers() {
		if seen[l.Name] {
			t.Fatalf("two layers are called %q", l.Name)
		}
		seen[l.Name] = true
		if i < 6 {
			got = append(got, l.Name)
		}
	}
	if want := []string{"a", "a_2", "a_2_2", "a_3", "a_3_2", "a_4"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(seen) != many+6 {
		t.Errorf("got %d layers, want %d", len(seen), many+6)
	}
}
