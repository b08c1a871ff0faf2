package specialize

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// reads are the names that a node reads, those of the graphs inside it included. A name that such a graph defines itself may be
// among them, which does no harm: ONNX forbids it to have a meaning outside.
func reads(n *graph.Node) []string {
	sub := n.Subgraphs()
	if len(sub) == 0 {
		return n.Inputs
	}
	names := slices.Clone(n.Inputs)
	for _, g := range sub {
		g.Walk(func(g *graph.Graph) {
			for _, o := range g.Outputs {
				names = append(names, o.Name)
			}
			for _, inner := range g.Nodes {
				names = append(names, inner.Inputs...)
			}
		})
	}
	return names
}

// sort puts producers before readers, and keeps the order where it is one.
func (w *work) sort() error {
	producer := make(map[string]int, len(w.g.Nodes))
	for i, n := range w.g.Nodes {
		for _, o := range n.Outputs {
			if o != "" {
				producer[o] = i
			}
		}
	}
	const (
		open = iota + 1
		done
	)
	needs := make([][]int, len(w.g.Nodes))
	for i, n := range w.g.Nodes {
		for _, r := range reads(n) {
			if p, ok := producer[r]; ok && (p != i || !n.Is("Loop") && !n.Is("Scan") && !n.Is("If")) {
				needs[i] = append(needs[i], p)
			}
		}
	}
	state := make([]uint8, len(w.g.Nodes))
	out := make([]*graph.Node, 0, len(w.g.Nodes))
	var stack []int
	for root := range w.g.Nodes {
		stack = append(stack[:0], root)
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			if state[i] == 0 {
				state[i] = open
				for _, p := range needs[i] {
					if state[p] == open {
						return fmt.Errorf("specialize: node %q: %s: its inputs depend on its own output", w.g.Nodes[i].Name, w.g.Nodes[i].OpType)
					}
					if state[p] == 0 {
						stack = append(stack, p)
					}
				}
				continue
			}
			stack = stack[:len(stack)-1]
			if state[i] == open {
				state[i] = done
				out = append(out, w.g.Nodes[i])
			}
		}
	}
	w.g.Nodes = out
	return nil
}

// prune takes away nodes whose outputs nobody reads, and initializers that nobody reads.
func (w *work) prune() {
	live := map[string]bool{}
	for _, o := range w.g.Outputs {
		live[o.Name] = true
	}
	keep := make([]bool, len(w.g.Nodes))
	for i := len(w.g.Nodes) - 1; i >= 0; i-- {
		n := w.g.Nodes[i]
		for _, o := range n.Outputs {
			keep[i] = keep[i] || live[o]
		}
		if keep[i] = keep[i] || hasLayer(n); keep[i] {
			for _, r := range reads(n) {
				if r != "" {
					live[r] = true
				}
			}
		}
	}
	nodes := w.g.Nodes[:0:0]
	for i, n := range w.g.Nodes {
		if keep[i] {
			nodes = append(nodes, n)
		}
	}
	w.g.Nodes = nodes
	inits := w.g.Initializers[:0:0]
	for _, i := range w.g.Initializers {
		if live[i.Name] {
			inits = append(inits, i)
		} else {
			delete(w.consts, i.Name)
		}
	}
	w.g.Initializers = inits
}
