package opset

import (
	"errors"
	"fmt"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Every operator at every version, with too few and too many inputs and outputs and with attributes of every kind under the names
// that conversions look at, is lifted or blocked; it never panics, and what is blocked stays.
func TestNodesThatMakeNoSenseAreLiftedOrBlocked(t *testing.T) {
	attrs := map[string]bool{}
	for _, a := range []string{"axes", "axis", "split", "starts", "ends", "k", "pads", "value", "min", "max", "ratio", "scales", "mode", "spatial",
		"nearest_mode", "coordinate_transformation_mode", "ceil_mode", "auto_pad", "kernel_shape", "strides", "dilations", "count_include_pad",
		"output_shape", "output_padding", "num_groups", "to", "saturate", "output_dtype", "directions", "broadcast", "is_test", "shape"} {
		attrs[a] = true
	}
	kinds := []func(name string) *graph.Attribute{
		func(n string) *graph.Attribute { return graph.Int(n, 1) },
		func(n string) *graph.Attribute { return graph.Int(n, -1<<63) },
		func(n string) *graph.Attribute { return graph.Ints(n) },
		func(n string) *graph.Attribute { return graph.Ints(n, 0, -1, 1<<62) },
		func(n string) *graph.Attribute { return graph.Float(n, 2) },
		func(n string) *graph.Attribute { return graph.Floats(n, 0.5, 2) },
		func(n string) *graph.Attribute { return graph.Str(n, "nearest") },
		func(n string) *graph.Attribute { return graph.Ref(n, "outer", graph.AttrInts) },
		func(n string) *graph.Attribute { return &graph.Attribute{Name: n, Kind: graph.AttrTensor} },
	}
	every := int64(1)
	if testing.Short() {
		every = 6
	}
	for op := range born {
		for from := int64(1); from < newest; from += every {
			for k, kind := range kinds {
				n := &graph.Node{OpType: op}
				for i := range (int(from) + k) % 6 {
					n.Inputs = append(n.Inputs, []string{"x", "", "c", "missing"}[(i+k)%4])
				}
				for i := range (int(from) + k) % 3 {
					n.Outputs = append(n.Outputs, fmt.Sprint("y", i))
				}
				for a := range attrs {
					n.Attributes = append(n.Attributes, kind(a))
				}
				g := &graph.Graph{Nodes: []*graph.Node{n}, Inputs: []*graph.Value{value("x", 2, -1, 4)},
					Initializers: []*graph.Initializer{{Name: "c", Tensor: tensor.Int64s(tensor.Shape{}, 3)}}}
				m := &graph.Model{IRVersion: 9, Opsets: []graph.Opset{{Version: from}}, Graph: g}
				before := len(n.Attributes) + len(n.Inputs)
				_, err := Lift(m, newest)
				var b *Blocked
				if err != nil && !errors.As(err, &b) {
					t.Fatalf("%s at %d: %v", op, from, err)
				}
				if err != nil && (m.Graph != g || len(n.Attributes)+len(n.Inputs) != before || m.OpsetVersion("") != from) {
					t.Fatalf("%s at %d: blocked, but the model changed", op, from)
				}
			}
		}
	}
}
