package specialize

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// simplify takes away nodes that give what they read: Identity, Dropout outside training, and those that for these shapes and types change
// nothing. Their readers read the source. A node whose output must survive under its name stays, unless the source can take that name.
func (w *work) simplify() bool {
	outputs := map[string]bool{}
	for _, o := range w.g.Outputs {
		outputs[o.Name] = true
	}
	from, changed := map[string]string{}, false
	nodes := w.g.Nodes[:0:0]
	for _, n := range w.g.Nodes {
		src := n.Input(0)
		if s, ok := from[src]; ok {
			src = s
		}
		if src == "" || n.Output(0) == "" || outputs[n.Output(0)] || !w.idle(n) {
			nodes = append(nodes, n)
			continue
		}
		from[n.Output(0)] = src
		changed = true
	}
	if !changed {
		return false
	}
	w.g.Nodes = nodes
	for _, n := range nodes {
		rename(n, from)
	}
	return true
}

// rename gives other names to what n reads from the graph that it stands in.
func rename(n *graph.Node, to map[string]string) {
	for i, in := range n.Inputs {
		if t, ok := to[in]; ok {
			n.Inputs[i] = t
		}
	}
	for _, g := range n.Subgraphs() {
		outer := to
		for _, name := range defined(g) {
			if _, ok := to[name]; ok {
				if len(outer) == len(to) {
					outer = map[string]string{}
					for k, v := range to {
						outer[k] = v
					}
				}
				delete(outer, name)
			}
		}
		for _, inner := range g.Nodes {
			rename(inner, outer)
		}
		for _, o := range g.Outputs {
			if t, ok := outer[o.Name]; ok {
				o.Name = t
			}
		}
	}
}

// defined are the names that g itself gives a meaning.
func defined(g *graph.Graph) []string {
	var names []string
	for _, v := range g.Inputs {
		names = append(names, v.Name)
	}
	for _, i := range g.Initializers {
		names = append(names, i.Name)
	}
	for _, s := range g.Sparse {
		names = append(names, s.Name)
	}
	for _, n := range g.Nodes {
		names = append(names, n.Outputs...)
	}
	return names
}

// idle reports whether the first output of n, the only one that is read, is its first input.
func (w *work) idle(n *graph.Node) bool {
	if graph.CanonicalDomain(n.Domain) != "" {
		return false
	}
	switch n.OpType {
	case "Identity":
		return true
	case "Dropout":
		// From version 12 on training is an input, before that no runtime trains.
		return !w.read(n.Output(1)) && (n.Input(2) == "" || w.isFalse(n.Input(2)))
	case "Cast", "CastLike":
		a, b := w.info.DType(w.g, n.Input(0)), w.info.DType(w.g, n.Output(0))
		return a == b && a != 0
	case "Concat":
		return len(n.Inputs) == 1
	case "Reshape", "Expand", "Squeeze", "Unsqueeze", "Flatten", "Tile", "Slice", "Pad":
		return w.sameType(n.Input(0), n.Output(0)) && (n.OpType != "Slice" || w.forward(n)) && (n.OpType != "Pad" || w.zeroPads(n))
	case "Transpose":
		perm, ok := n.AttrInts("perm")
		for i, p := range perm {
			ok = ok && p == int64(i)
		}
		return ok
	}
	return false
}

// sameType reports whether both values have one fixed type.
func (w *work) sameType(a, b string) bool {
	s, ok := w.fixedType(a)
	t, ok2 := w.fixedType(b)
	return ok && ok2 && s.DType == t.DType && extents(s).Equal(extents(t))
}

// forward reports whether a Slice has steps of one: then one that keeps all extents keeps everything.
func (w *work) forward(n *graph.Node) bool {
	if n.Input(4) == "" {
		return true
	}
	t := w.consts[n.Input(4)]
	if t == nil {
		return false
	}
	v, err := t.AsInt64s()
	return err == nil && !slices.ContainsFunc(v, func(s int64) bool { return s != 1 })
}

// zeroPads reports whether a Pad adds nothing on either side.
func (w *work) zeroPads(n *graph.Node) bool {
	t := w.consts[n.Input(1)]
	if t == nil {
		return false
	}
	v, err := t.AsInt64s()
	return err == nil && !slices.ContainsFunc(v, func(p int64) bool { return p != 0 })
}

// read reports whether anybody reads a value.
func (w *work) read(name string) bool {
	if name == "" {
		return false
	}
	for _, o := range w.g.Outputs {
		if o.Name == name {
			return true
		}
	}
	for _, n := range w.g.Nodes {
		if slices.Contains(reads(n), name) {
			return true
		}
	}
	return false
}

func (w *work) isFalse(name string) bool {
	t := w.consts[name]
	if t == nil {
		return false
	}
	v, err := t.AsBool()
	return err == nil && !v
}
