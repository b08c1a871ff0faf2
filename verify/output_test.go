package verify_test

import (
	"context"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/tensor"
	"github.com/fp8rewrite/fp8rewrite/verify"
)

// rows is the batch [[1, 5, 2], [4, 3, 0]] of the input x, twice.
type rows struct{}

func (rows) Steps() int   { return 2 }
func (rows) Rows(int) int { return 2 }
func (rows) Batch(context.Context, int, int, int) (map[string]*tensor.Tensor, error) {
	return map[string]*tensor.Tensor{"x": tensor.Float32s(tensor.Shape{2, 3}, 1, 5, 2, 4, 3, 0)}, nil
}

// declare is a model that computes k, int64[2], the place of the largest of each row of x, and y, float32[2, 3], which is x without a
// sign. Its outputs are those given, in their order, with their types.
func declare(outputs ...graph.Value) *graph.Model {
	value := func(name string, d tensor.DType) *graph.Value {
		return &graph.Value{Name: name, Type: &graph.Type{Kind: graph.TensorKind, DType: d}}
	}
	x := value("x", tensor.Float32)
	x.Type.HasShape, x.Type.Shape = true, []graph.Dim{{Value: -1}, {Value: 3}}
	g := &graph.Graph{Name: "g", Inputs: []*graph.Value{x}, Nodes: []*graph.Node{
		{OpType: "ArgMax", Inputs: []string{"x"}, Outputs: []string{"k"}, Attributes: []*graph.Attribute{graph.Int("axis", 1), graph.Int("keepdims", 0)}},
		{OpType: "Abs", Inputs: []string{"x"}, Outputs: []string{"y"}},
	}}
	for _, o := range outputs {
		g.Outputs = append(g.Outputs, &o)
	}
	return &graph.Model{IRVersion: 9, Opsets: []graph.Opset{{Version: 19}}, Graph: g}
}

func typed(name string, d tensor.DType) graph.Value {
	return graph.Value{Name: name, Type: &graph.Type{Kind: graph.TensorKind, DType: d}}
}

func TestOutputsOfOtherTypes(t *testing.T) {
	untyped := graph.Value{Name: "k"}
	for _, c := range []struct {
		name    string
		model   *graph.Model
		logits  string
		outputs string // the names of those compared
		err     string
	}{
		{"int64 without a type beside a float", declare(untyped, typed("y", tensor.Float32)), "", "y", ""},
		{"a type without an element type", declare(typed("k", tensor.Undefined), typed("y", tensor.Float32)), "", "y", ""},
		{"a float without a type", declare(graph.Value{Name: "y"}), "y", "y", ""},
		{"int64 that says so", declare(typed("k", tensor.Int64), typed("y", tensor.Float32)), "", "y", ""},
		{"int64 without a type alone", declare(untyped), "", "", "the original has no floating-point output to compare"},
		{"int64 that says so alone", declare(typed("k", tensor.Int64)), "", "", "the original has no floating-point output to compare"},
		{"int64 that claims to be a float", declare(typed("k", tensor.Float32), typed("y", tensor.Float32)), "", "", `output "k": declared float32, computed int64`},
		{"logits that say they are int64", declare(typed("k", tensor.Int64), typed("y", tensor.Float32)), "k", "", `output "k" is int64, want a floating-point type`},
		{"logits without a type that are int64", declare(untyped, typed("y", tensor.Float32)), "k", "", `output "k" is int64, want a floating-point type`},
		{"logits that are a sequence", declare(graph.Value{Name: "k", Type: &graph.Type{Kind: graph.SequenceKind}}, typed("y", tensor.Float32)), "k", "",
			`output "k" is no tensor, want a floating-point type`},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Measured twice, since the second time the original's outputs come from memory.
			var m *verify.Measured
			v, err := verify.New(cpu.New(), c.model, rows{}, verify.Options{Logits: c.logits, Labels: func(context.Context, int) (*tensor.Tensor, error) {
				return tensor.Int64s(tensor.Shape{2}, 1, 0), nil
			}})
			for range 2 {
				if err == nil {
					m, err = v.Measure(context.Background(), c.model)
				}
			}
			if c.err != "" {
				if err == nil || !strings.HasSuffix(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, o := range m.Outputs {
				names = append(names, o.Name)
			}
			if got := strings.Join(names, " "); got != c.outputs || m.Logits != "y" || m.After.Correct != 4 {
				t.Errorf("compared %q, logits %q, %d correct; want %q, y, 4", got, m.Logits, m.After.Correct, c.outputs)
			}
		})
	}
}

func TestARewrittenModelOfAnotherType(t *testing.T) {
	original, rewritten := declare(graph.Value{Name: "y"}), declare(graph.Value{Name: "y"})
	rewritten.Graph.Nodes[0].Outputs, rewritten.Graph.Nodes[1].Outputs = []string{"y"}, []string{"k"}
	v, err := verify.New(cpu.New(), original, rows{}, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Measure(context.Background(), rewritten)
	if want := `rewritten model: batch 1: output "y" is int64, and float32 in the original`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

// alike are variants that all compute what the original does.
type alike struct{ *graph.Model }

func (alike) Layers() []string { return []string{"a"} }

func (a alike) Only(context.Context, []string) (*graph.Model, error) { return a.Model, nil }

func TestAnOutputThatIsZeroCostsNothing(t *testing.T) {
	m := declare(typed("y", tensor.Float32))
	m.Graph.Nodes[1] = &graph.Node{OpType: "Sub", Inputs: []string{"x", "x"}, Outputs: []string{"y"}}
	v, err := verify.New(cpu.New(), m, rows{}, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	costs, err := v.Sensitivity(context.Background(), alike{m})
	if err != nil {
		t.Fatal(err)
	}
	if len(costs) != 1 || costs[0].Noise != 0 {
		t.Errorf("got %+v, want one layer without noise", costs)
	}
}
