package rewrite_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// node makes "name: domain.Op in1 in2 -> out1 out2"; "_" leaves an argument out.
func node(s string, attrs ...*graph.Attribute) *graph.Node {
	n := &graph.Node{Attributes: attrs}
	if name, rest, ok := strings.Cut(s, ": "); ok {
		n.Name, s = name, rest
	}
	head, tail, _ := strings.Cut(s, "->")
	in := strings.Fields(head)
	n.OpType = in[0]
	if at := strings.LastIndex(in[0], "."); at >= 0 {
		n.Domain, n.OpType = in[0][:at], in[0][at+1:]
	}
	for _, x := range in[1:] {
		n.Inputs = append(n.Inputs, strings.Trim(x, "_"))
	}
	for _, x := range strings.Fields(tail) {
		n.Outputs = append(n.Outputs, strings.Trim(x, "_"))
	}
	return n
}

// value declares a value; extents below 0 are unknown, and without extents the shape is.
func value(name string, d tensor.DType, extents ...int64) *graph.Value {
	t := &graph.Type{DType: d, HasShape: len(extents) > 0}
	for _, e := range extents {
		t.Shape = append(t.Shape, graph.Dim{Value: e})
	}
	return &graph.Value{Name: name, Type: t}
}

// x is the activation that most models have.
func x() *graph.Value { return value("x", tensor.Float32, 5, 8) }

// weight is a constant whose element i is 1 + i modulo 7.
func weight(name string, shape ...int64) *graph.Initializer {
	return &graph.Initializer{Name: name, Tensor: ramp(shape...)}
}

func ramp(shape ...int64) *tensor.Tensor {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(1 + i%7)
	}
	return tensor.Float32s(tensor.Shape(shape), v...)
}

// zeros is a constant of any type.
func zeros(name string, d tensor.DType, shape ...int64) *graph.Initializer {
	n := int64(1)
	for _, e := range shape {
		n *= e
	}
	t, err := tensor.New(d, shape, tensor.Bytes(make([]byte, n*int64(d.Bits())/8)))
	if err != nil {
		panic(err)
	}
	return &graph.Initializer{Name: name, Tensor: t}
}

// model holds parts: nodes, inputs, initializers, sparse initializers and functions. What no node and no branch reads leaves it.
func model(parts ...any) *graph.Model {
	m := &graph.Model{IRVersion: 8, Opsets: []graph.Opset{{Version: 17}}, Graph: &graph.Graph{Name: "g"}}
	for _, p := range parts {
		switch p := p.(type) {
		case *graph.Node:
			m.Graph.Nodes = append(m.Graph.Nodes, p)
		case *graph.Value:
			m.Graph.Inputs = append(m.Graph.Inputs, p)
		case *graph.Initializer:
			m.Graph.Initializers = append(m.Graph.Initializers, p)
		case *graph.Sparse:
			m.Graph.Sparse = append(m.Graph.Sparse, p)
		case *graph.Function:
			m.Functions = append(m.Functions, p)
			m.SetOpset(p.Domain, 1)
		case opsetIs:
			m.SetOpset("", int64(p))
		case irIs:
			m.IRVersion = int64(p)
		default:
			panic(fmt.Sprintf("%T", p))
		}
	}
	uses := graph.Uses(m.Graph)
	for _, n := range m.Graph.Nodes {
		for _, o := range n.Outputs {
			if uses[graph.Key{Graph: m.Graph, Name: o}] == 0 {
				m.Graph.Outputs = append(m.Graph.Outputs, &graph.Value{Name: o, Type: &graph.Type{DType: tensor.Float32}})
			}
		}
	}
	return m
}

type (
	opsetIs int64
	irIs    int64
)

// function is one of domain f, at opset 17 of ONNX's own operators.
func function(name, in, out string, nodes ...*graph.Node) *graph.Function {
	return &graph.Function{Name: name, Domain: "f", Inputs: strings.Fields(in), Outputs: strings.Fields(out), Nodes: nodes,
		Opsets: []graph.Opset{{Version: 17}, {Domain: "f", Version: 1}}}
}

// body is a graph attribute; parts are its inputs, nodes and initializers.
func body(name, outputs string, parts ...any) *graph.Attribute {
	g := model(parts...).Graph
	g.Name, g.Outputs = name, nil
	for _, o := range strings.Fields(outputs) {
		g.Outputs = append(g.Outputs, &graph.Value{Name: o})
	}
	return &graph.Attribute{Name: name, Kind: graph.AttrGraph, Graph: g}
}

// lines writes the nodes of g as node reads them, graphs inside them indented. Of a Float8Linear it shows what a reader of the
// graph follows: the variant, the activation, the weight, the output.
func lines(g *graph.Graph) []string {
	var out []string
	for _, n := range g.Nodes {
		in, results := n.Inputs, n.Outputs
		if ops.IsFloat8Linear(n) {
			in, results = in[:2], results[:1]
		}
		out = append(out, n.OpType+" "+strings.Join(in, " ")+" -> "+strings.Join(results, " "))
		for _, sub := range n.Subgraphs() {
			for _, l := range lines(sub) {
				out = append(out, "  "+l)
			}
		}
	}
	return out
}

// find is the initializer called name, wherever it lies.
func find(t *testing.T, m *graph.Model, name string) *tensor.Tensor {
	t.Helper()
	var found *tensor.Tensor
	m.Graph.Walk(func(g *graph.Graph) {
		if i := g.Initializer(name); i != nil {
			found = i.Tensor
		}
	})
	if found == nil {
		t.Fatalf("no initializer %q", name)
	}
	return found
}
