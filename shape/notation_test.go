package shape

import (
	"strconv"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// The tests write types as "float32[2,N,?]": a fixed extent, a named one, an unknown one. "float32" alone has no known rank,
// "?" is no known element type.

func typ(t *testing.T, s string) *graph.Type {
	t.Helper()
	name, dims, ranked := strings.Cut(strings.TrimSuffix(s, "]"), "[")
	out := &graph.Type{HasShape: ranked}
	for d := tensor.Undefined; d <= tensor.Int2; d++ {
		if d.String() == name {
			out.DType = d
		}
	}
	if out.DType == tensor.Undefined && name != "?" {
		t.Fatalf("%q: no such element type", s)
	}
	if dims != "" {
		for d := range strings.SplitSeq(dims, ",") {
			dim := graph.Dim{Value: -1}
			if v, err := strconv.ParseInt(d, 10, 64); err == nil {
				dim.Value = v
			} else if d != "?" {
				dim.Param = d
			}
			out.Shape = append(out.Shape, dim)
		}
	}
	return out
}

func spell(t graph.Type, ok bool) string {
	if !ok {
		return "nothing"
	}
	if t.Kind != graph.TensorKind {
		return "no tensor"
	}
	name := "?"
	if t.DType != tensor.Undefined {
		name = t.DType.String()
	}
	if !t.HasShape {
		return name
	}
	dims := make([]string, len(t.Shape))
	for i, d := range t.Shape {
		switch {
		case d.Value >= 0:
			dims[i] = strconv.FormatInt(d.Value, 10)
		case d.Param != "":
			dims[i] = d.Param
		default:
			dims[i] = "?"
		}
	}
	return name + "[" + strings.Join(dims, ",") + "]"
}

// model makes a model whose inputs are given as "name:type" and whose constants are ints by name.
func model(t *testing.T, opset int64, inputs string, ints map[string][]int64, nodes ...*graph.Node) *graph.Model {
	t.Helper()
	g := &graph.Graph{Name: "g", Nodes: nodes}
	g.Inputs = values(t, inputs)
	for name, v := range ints {
		s := tensor.Shape{int64(len(v))}
		if strings.HasPrefix(name, "scalar") {
			s = tensor.Shape{}
		}
		g.Initializers = append(g.Initializers, &graph.Initializer{Name: name, Tensor: tensor.Int64s(s, v...)})
	}
	return &graph.Model{IRVersion: 10, Opsets: []graph.Opset{{Version: opset}}, Graph: g}
}

func values(t *testing.T, list string) []*graph.Value {
	t.Helper()
	var out []*graph.Value
	for _, f := range strings.Fields(list) {
		name, ty, ok := strings.Cut(f, ":")
		v := &graph.Value{Name: name}
		if ok {
			v.Type = typ(t, ty)
		}
		out = append(out, v)
	}
	return out
}

// node makes "Op in1 in2 -> out1 out2"; "_" leaves one out.
func node(s string, attrs ...*graph.Attribute) *graph.Node {
	head, tail, _ := strings.Cut(s, "->")
	in := strings.Fields(head)
	n := &graph.Node{OpType: in[0], Attributes: attrs}
	for _, x := range in[1:] {
		n.Inputs = append(n.Inputs, strings.Trim(x, "_"))
	}
	for _, x := range strings.Fields(tail) {
		n.Outputs = append(n.Outputs, strings.Trim(x, "_"))
	}
	return n
}
