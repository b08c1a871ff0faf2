package specialize

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
)

// untangle gives names of their own to values of the main graph that share one, which ONNX forbids and some exporters do. As in the embedded
// engine, and in ONNX Runtime: of several Constants the last one counts, at the place of the first. Else a reader means the definition
// before it where nodes stand in an order in which they can run, and the first definition where they do not.
func (w *work) untangle() {
	w.lastConstants()
	definitions := map[string][]int{}
	repeated, inOrder := false, true
	for i, n := range w.g.Nodes {
		for _, o := range n.Outputs {
			if o != "" {
				repeated = repeated || len(definitions[o]) > 0
				definitions[o] = append(definitions[o], i)
			}
		}
	}
	if !repeated {
		return
	}
	for i, n := range w.g.Nodes {
		for _, r := range n.Reads() {
			if d := definitions[r]; len(d) > 0 && d[0] >= i {
				inOrder = false
			}
		}
	}
	names := graph.NewNames(w.m)
	now := map[string]string{}
	for i, n := range w.g.Nodes {
		if inOrder {
			rename(n, now)
		}
		for j, o := range n.Outputs {
			d := definitions[o]
			if len(d) < 2 {
				continue
			}
			// The definition that an output of the graph means keeps the name.
			keeps := d[0]
			if inOrder {
				keeps = d[len(d)-1]
			}
			if delete(now, o); keeps != i {
				n.Outputs[j] = names.Fresh(o)
				now[o] = n.Outputs[j]
			}
		}
	}
}

// lastConstants leaves one Constant of several that define a name.
func (w *work) lastConstants() {
	first := map[string]int{}
	nodes := w.g.Nodes[:0:0]
	for _, n := range w.g.Nodes {
		if n.Is("Constant") {
			if at, twice := first[n.Output(0)]; twice {
				nodes[at] = n
				continue
			}
			first[n.Output(0)] = len(nodes)
		}
		nodes = append(nodes, n)
	}
	w.g.Nodes = nodes
}
