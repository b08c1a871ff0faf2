package runtimetest

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// modern is the operator set of most cases: the first one in which a float8 Cast exists.
const modern = ops.MinOpset

// newModel is a model without nodes.
func newModel(opset int64) *graph.Model {
	m := &graph.Model{IRVersion: ops.MinIRVersion, ProducerName: "runtimetest", Graph: &graph.Graph{Name: "main"}}
	m.SetOpset("", opset)
	return m
}

// typ is the type of a tensor; a dimension is an int or a name.
func typ(dtype tensor.DType, dims ...any) *graph.Type {
	t := &graph.Type{DType: dtype, HasShape: true, Shape: []graph.Dim{}}
	for _, d := range dims {
		switch d := d.(type) {
		case int:
			t.Shape = append(t.Shape, graph.Dim{Value: int64(d)})
		case string:
			t.Shape = append(t.Shape, graph.Dim{Value: -1, Param: d})
		default:
			panic(fmt.Sprintf("runtimetest: a dimension of type %T", d))
		}
	}
	return t
}

// anyShape is the type of a tensor of unknown rank.
func anyShape(dtype tensor.DType) *graph.Type { return &graph.Type{DType: dtype} }

func input(g *graph.Graph, name string, t *graph.Type) {
	g.Inputs = append(g.Inputs, &graph.Value{Name: name, Type: t})
}

func output(g *graph.Graph, name string, t *graph.Type) {
	g.Outputs = append(g.Outputs, &graph.Value{Name: name, Type: t})
}

func constant(g *graph.Graph, name string, t *tensor.Tensor) {
	g.Initializers = append(g.Initializers, &graph.Initializer{Name: name, Tensor: t})
}

// node adds a node called after its first output.
func node(g *graph.Graph, op string, in, out []string, attrs ...*graph.Attribute) *graph.Node {
	n := &graph.Node{Name: "make_" + out[0], OpType: op, Inputs: in, Outputs: out, Attributes: attrs}
	g.Nodes = append(g.Nodes, n)
	return n
}

func graphAttr(name string, g *graph.Graph) *graph.Attribute {
	return &graph.Attribute{Name: name, Kind: graph.AttrGraph, Graph: g}
}

func scalar(x float32) *tensor.Tensor { return tensor.Float32s(tensor.Shape{}, x) }

// one is a list of one name, or of several.
func one(names ...string) []string { return names }
