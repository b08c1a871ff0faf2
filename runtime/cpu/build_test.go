package cpu

import (
	"context"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
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

// input declares an input: "x float32 batch 8".
func input(s string) *graph.Value {
	f := strings.Fields(s)
	t := &graph.Type{DType: dtype(f[1]), HasShape: true}
	for _, d := range f[2:] {
		n, fixed := int64(0), true
		for _, r := range d {
			fixed = fixed && r >= '0' && r <= '9'
			n = 10*n + int64(r-'0')
		}
		if fixed {
			t.Shape = append(t.Shape, graph.Dim{Value: n})
		} else {
			t.Shape = append(t.Shape, graph.Dim{Value: -1, Param: strings.Trim(d, "?")})
		}
	}
	return &graph.Value{Name: f[0], Type: t}
}

func dtype(s string) tensor.DType {
	for d := tensor.Float32; d <= tensor.Int2; d++ {
		if d.String() == s {
			return d
		}
	}
	panic(s)
}

// floats is a constant.
func floats(name string, shape []int64, v ...float32) *graph.Initializer {
	return &graph.Initializer{Name: name, Tensor: tensor.Float32s(shape, v...)}
}

func ints(name string, shape []int64, v ...int64) *graph.Initializer {
	return &graph.Initializer{Name: name, Tensor: tensor.Int64s(shape, v...)}
}

type opset int64

// outputs names the graph's outputs.
type outputs string

// model holds parts: nodes, inputs, initializers, functions, outputs.
func model(parts ...any) *graph.Model {
	m := &graph.Model{IRVersion: 8, Opsets: []graph.Opset{{Version: 18}}, Graph: &graph.Graph{Name: "g"}}
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
		case opset:
			m.SetOpset("", int64(p))
		case outputs:
			for _, o := range strings.Fields(string(p)) {
				m.Graph.Outputs = append(m.Graph.Outputs, &graph.Value{Name: o})
			}
		default:
			panic(p)
		}
	}
	return m
}

// body is a graph attribute.
func body(name string, parts ...any) *graph.Attribute {
	return &graph.Attribute{Name: name, Kind: graph.AttrGraph, Graph: model(parts...).Graph}
}

// function is one of domain f.
func function(name, in, out string, nodes ...*graph.Node) *graph.Function {
	return &graph.Function{Name: name, Domain: "f", Inputs: strings.Fields(in), Outputs: strings.Fields(out), Nodes: nodes,
		Opsets: []graph.Opset{{Version: 18}, {Domain: "f", Version: 1}}}
}

// testBackend overwrites what is given back.
func testBackend() *backend {
	b := New().(*backend)
	b.poison = true
	return b
}

func open(t *testing.T, m *graph.Model, opt runtime.Options) runtime.Session {
	t.Helper()
	s, err := testBackend().Open(context.Background(), m, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// in are the inputs of a run.
type in map[string]*tensor.Tensor

func (i in) values() map[string]runtime.Value {
	v := map[string]runtime.Value{}
	for name, t := range i {
		v[name] = runtime.FromTensor(t)
	}
	return v
}

func run(t *testing.T, s runtime.Session, inputs in) map[string]runtime.Value {
	t.Helper()
	r, err := s.Run(context.Background(), inputs.values())
	if err != nil {
		t.Fatal(err)
	}
	return r.Values
}

// f32 is a vector.
func f32(v ...float32) *tensor.Tensor { return tensor.Float32s(tensor.Shape{int64(len(v))}, v...) }

func i64(v ...int64) *tensor.Tensor { return tensor.Int64s(tensor.Shape{int64(len(v))}, v...) }

func wantFloats(t *testing.T, got runtime.Value, want ...float32) {
	t.Helper()
	v, err := got.Tensor.AsFloat32s()
	if err != nil {
		t.Fatal(err)
	}
	if len(v) != len(want) {
		t.Fatalf("got %v, want %v", v, want)
	}
	for i := range v {
		if v[i] != want[i] {
			t.Fatalf("got %v, want %v", v, want)
		}
	}
}
