package observe

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Unobserved is the amax of a layer that did not run: in the branch of an If that was not taken, in a Loop without iterations. A
// real amax is never negative.
const Unobserved = -1

// Observed is one Float8Linear node.
type Observed struct {
	Layer  string // the prefix of its state's names, or the node's name where it has none
	Output string // the output of the main graph with its amax; "" where there is none
	Reason string // why there is none
}

// Expose makes the amax of each Float8Linear of m an output of the main graph: a float32 scalar, max|input| over the run, called
// "<layer>.fp8_amax_input" (with a suffix where that name is taken). A layer in a Loop or Scan reports its maximum over the
// iterations, NaN if one was NaN; one that did not run reports Unobserved. The result has an entry for each node, in graph order, a
// node before those after it and the layers inside it in the order of its attributes. Layers inside operators that hand no further
// values out, and in functions, have a Reason and no Output. Outputs that are there already are found again and not doubled.
//
// The error names an If, Loop or Scan whose arguments do not fit its graphs; m is then changed in part.
func Expose(m *graph.Model) ([]Observed, error) {
	x := &exposer{model: m, names: graph.NewNames(m), outputs: map[string]bool{}, claimed: map[string]bool{}}
	for _, o := range m.Graph.Outputs {
		x.outputs[o.Name] = true
	}
	signals, err := x.graph(m.Graph)
	if err != nil {
		return nil, err
	}
	for _, s := range signals {
		if !x.outputs[s.value] {
			addOutput(m.Graph, s.value)
			x.outputs[s.value] = true
		}
		x.found[s.index].Output = s.value
	}
	for _, f := range m.Functions {
		if f.Domain == ops.Domain {
			continue
		}
		graph.WalkNodes(f.Nodes, func(n *graph.Node) {
			if ops.IsFloat8Linear(n) {
				x.found = append(x.found, Observed{Layer: ops.LayerName(n), Reason: fmt.Sprintf("inside function %q", f.Name)})
			}
		})
	}
	return x.found, nil
}

// amaxType is the type of every value that is added here.
func amaxType() *graph.Type {
	return &graph.Type{DType: tensor.Float32, HasShape: true, Shape: []graph.Dim{}}
}

func value(name string) *graph.Value { return &graph.Value{Name: name, Type: amaxType()} }

// addOutput makes a value of g its last output.
func addOutput(g *graph.Graph, name string) { insertOutput(g, len(g.Outputs), name) }

// insertOutput makes a value of g its output number i. Its type is given there and nowhere else.
func insertOutput(g *graph.Graph, i int, name string) {
	g.Outputs = slices.Insert(g.Outputs, i, value(name))
	g.Values = slices.DeleteFunc(g.Values, func(v *graph.Value) bool { return v.Name == name })
}

// exposer is one run of Expose.
type exposer struct {
	model   *graph.Model
	names   *graph.Names
	outputs map[string]bool // of the main graph
	claimed map[string]bool // outputs of the main graph that a layer has
	found   []Observed
}

// signal is an amax on its way to the main graph.
type signal struct {
	index int    // in found
	value string // its name in the graph that is being looked at
	final string // its name in the main graph
}

// graph collects the amaxes of g, those from graphs inside its nodes included, as values of g.
func (x *exposer) graph(g *graph.Graph) ([]signal, error) {
	var signals []signal
	nodes := make([]*graph.Node, 0, len(g.Nodes))
	for _, n := range g.Nodes {
		switch {
		case ops.IsFloat8Linear(n):
			if s, ok := x.layer(g, n); ok {
				signals = append(signals, s)
			}
			nodes = append(nodes, n)
		case len(n.Subgraphs()) > 0:
			before, more, err := x.thread(g, n)
			if err != nil {
				return nil, err
			}
			signals = append(signals, more...)
			nodes = append(append(nodes, before...), n)
		default:
			nodes = append(nodes, n)
		}
	}
	g.Nodes = nodes
	return signals, nil
}

// layer names the amax of one node; false where an earlier Expose has led it out.
func (x *exposer) layer(g *graph.Graph, n *graph.Node) (signal, bool) {
	layer := ops.LayerName(n)
	want := layer + ".fp8_" + ops.OutputName(ops.OutAmaxInput)
	s := signal{index: len(x.found), value: n.Output(ops.OutAmaxInput)}
	x.found = append(x.found, Observed{Layer: layer})
	main := g == x.model.Graph
	if main && x.outputs[s.value] {
		x.claimed[s.value] = true
		x.found[s.index].Output = s.value
		return s, false
	}
	if !main {
		for i := 1; ; i++ {
			name := want
			if i > 1 {
				name = fmt.Sprintf("%s_%d", want, i)
			}
			if !x.outputs[name] {
				break
			}
			if !x.claimed[name] {
				x.claimed[name] = true
				x.found[s.index].Output = name
				return s, false
			}
		}
	}
	switch {
	case s.value == want || s.value != "" && x.names.Taken(want):
		s.final = s.value
	default:
		s.final = x.names.Fresh(want)
	}
	x.claimed[s.final] = true
	to := s.final
	if !main {
		to = x.inner(s)
	}
	for len(n.Outputs) < ops.NumOutputs {
		n.Outputs = append(n.Outputs, "")
	}
	if s.value != "" && s.value != to {
		rename(g, s.value, to)
	}
	n.Outputs[ops.OutAmaxInput] = to
	s.value = to
	return s, true
}

// inner is a name for the amax on its way.
func (x *exposer) inner(s signal) string { return x.names.Fresh(s.final + ".inner") }

// out is the name of the amax in g, to which it is handed.
func (x *exposer) out(g *graph.Graph, s signal) string {
	if g == x.model.Graph {
		return s.final
	}
	return x.inner(s)
}

// rename gives a value of g another name, wherever it is read. Names of inner graphs do not hide it: ONNX forbids that.
func rename(g *graph.Graph, from, to string) {
	graph.WalkNodes(g.Nodes, func(n *graph.Node) {
		for i, in := range n.Inputs {
			if in == from {
				n.Inputs[i] = to
			}
		}
	})
	g.Walk(func(g *graph.Graph) {
		for _, vs := range [][]*graph.Value{g.Outputs, g.Values} {
			for _, v := range vs {
				if v.Name == from {
					v.Name = to
				}
			}
		}
	})
}
