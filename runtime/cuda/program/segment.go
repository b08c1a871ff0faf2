package program

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
)

// segment makes a step of nodes that the host runs one after the other.
func (b *builder) segment(nodes []*graph.Node) error {
	st := b.st.Model
	inside := map[string]bool{}
	among := map[*graph.Node]bool{}
	for _, n := range nodes {
		among[n] = true
		for _, out := range n.Outputs {
			inside[out] = true
		}
	}
	g := &graph.Graph{Name: st.Graph.Name, Nodes: nodes}
	seg := &Segment{Model: &graph.Model{
		IRVersion: st.IRVersion, ProducerName: st.ProducerName, ProducerVersion: st.ProducerVersion, Opsets: st.Opsets, Functions: st.Functions, Graph: g,
	}}
	step := Step{Node: nodes[0].Name, Op: nodes[0].OpType, Kernel: "cpu", Segment: seg}
	seen := map[string]bool{}
	for _, n := range nodes {
		for _, name := range n.Reads() {
			if inside[name] || seen[name] {
				continue
			}
			seen[name] = true
			if sparse := b.sparse[name]; sparse != nil {
				g.Sparse = append(g.Sparse, sparse)
				continue
			}
			v := b.values[name]
			if v == nil {
				return fmt.Errorf("node %q (%s) reads %q, which nothing makes", n.Name, n.OpType, name)
			}
			if v.role == fromContent {
				g.Initializers = append(g.Initializers, &graph.Initializer{Name: name, Tensor: v.content})
				continue
			}
			g.Inputs = append(g.Inputs, &graph.Value{Name: name, Type: b.declared(name)})
			if v.role != fromNode {
				continue
			}
			b.node = b.producer[name]
			t, why := b.get(name)
			if why != "" {
				return fmt.Errorf("segment at node %q (%s): %s", nodes[0].Name, nodes[0].OpType, why)
			}
			t = b.contiguous(b.convert(t, own(v.typ.DType)))
			seg.In = append(seg.In, Transfer{name, t})
			step.Reads = append(step.Reads, t.Buffer)
		}
		for _, out := range n.Outputs {
			if out == "" || !b.kept[out] && !slices.ContainsFunc(b.readers[out], func(r *graph.Node) bool { return !among[r] }) {
				continue
			}
			g.Outputs = append(g.Outputs, &graph.Value{Name: out, Type: b.declared(out)})
		}
		for _, out := range n.Outputs {
			if v := b.values[out]; v != nil {
				v.role, v.segment = fromSegment, seg
			}
		}
	}
	if len(g.Outputs) == 0 {
		return nil
	}
	graph.WalkNodes(nodes, func(n *graph.Node) {
		if ops.IsFloat8Linear(n) {
			if i := b.place(ops.LayerName(n)); i >= 0 {
				b.prog.Layers[i].Segment = seg
			}
		}
	})
	for _, n := range nodes {
		b.prog.Placed = append(b.prog.Placed, placement(n, "cpu", b.host[n]))
	}
	b.segments[len(b.prog.Steps)] = seg
	b.prog.Steps = append(b.prog.Steps, step)
	return nil
}

// declared is the type of a value as the static model knows it, nil where it knows none.
func (b *builder) declared(name string) *graph.Type {
	if t, ok := b.st.Types[name]; ok {
		return &t
	}
	return b.types[name]
}

// placement says where a node runs.
func placement(n *graph.Node, where, why string) runtime.Placement {
	p := runtime.Placement{Node: n.Name, Op: operator(n), Where: where, Why: why}
	if ops.IsFloat8Linear(n) {
		p.Layer = ops.LayerName(n)
	}
	return p
}
