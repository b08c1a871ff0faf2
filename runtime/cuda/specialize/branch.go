package specialize

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
)

// branches puts the branch that is taken in place of each If of the main graph whose condition is constant.
func (w *work) branches() bool {
	nodes, changed := w.g.Nodes[:0:0], false
	for _, n := range w.g.Nodes {
		g := w.taken(n)
		if g == nil {
			nodes = append(nodes, n)
			continue
		}
		nodes = append(nodes, w.unfold(n, g)...)
		changed = true
	}
	w.g.Nodes = nodes
	return changed
}

// taken is the branch of an If that runs, nil where that is not known.
func (w *work) taken(n *graph.Node) *graph.Graph {
	if !n.Is("If") || w.consts[n.Input(0)] == nil {
		return nil
	}
	cond, err := w.consts[n.Input(0)].AsBool()
	if err != nil {
		return nil
	}
	name := "else_branch"
	if cond {
		name = "then_branch"
	}
	a := n.Attr(name)
	if a == nil || a.Graph == nil || len(a.Graph.Outputs) != len(n.Outputs) {
		return nil
	}
	return a.Graph
}

// unfold is the nodes of g, an inner graph of n without inputs, with names that are free outside, and an Identity for each output.
func (w *work) unfold(n *graph.Node, g *graph.Graph) []*graph.Node {
	to := map[string]string{}
	for _, name := range defined(g) {
		if name != "" && to[name] == "" {
			to[name] = w.names.Fresh(n.Name + "/" + name)
		}
	}
	for _, i := range g.Initializers {
		i.Name = to[i.Name]
		w.g.Initializers = append(w.g.Initializers, i)
		w.consts[i.Name] = i.Tensor
	}
	for _, s := range g.Sparse {
		s.Name = to[s.Name]
		w.g.Sparse = append(w.g.Sparse, s)
	}
	for _, inner := range g.Nodes {
		rename(inner, to)
		for i, o := range inner.Outputs {
			if o != "" {
				inner.Outputs[i] = to[o]
			}
		}
	}
	nodes := g.Nodes
	for i, o := range g.Outputs {
		src := o.Name
		if t, ok := to[src]; ok {
			src = t
		}
		if n.Outputs[i] != "" {
			nodes = append(nodes, &graph.Node{Name: w.names.Fresh(n.Name + "/" + n.Outputs[i]), OpType: "Identity", Inputs: []string{src}, Outputs: []string{n.Outputs[i]}})
		}
	}
	return nodes
}
