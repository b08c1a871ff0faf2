package graph

// Clone is a deep copy of the node and of the graphs inside it; tensors and Origins are shared, since nobody changes them.
func (n *Node) Clone() *Node {
	c := *n
	c.Inputs = append([]string(nil), n.Inputs...)
	c.Outputs = append([]string(nil), n.Outputs...)
	c.Metadata = append([]Property(nil), n.Metadata...)
	c.Attributes = make([]*Attribute, len(n.Attributes))
	for i, a := range n.Attributes {
		c.Attributes[i] = a.Clone()
	}
	return &c
}

// Clone is a deep copy of the attribute; tensors and Origins are shared.
func (a *Attribute) Clone() *Attribute {
	c := *a
	if a.Graph != nil {
		c.Graph = a.Graph.Clone()
	}
	if a.Graphs != nil {
		c.Graphs = make([]*Graph, len(a.Graphs))
		for i, g := range a.Graphs {
			c.Graphs[i] = g.Clone()
		}
	}
	return &c
}

// Clone is a deep copy of the graph; tensors, types and Origins are shared.
func (g *Graph) Clone() *Graph {
	c := *g
	c.Nodes = make([]*Node, len(g.Nodes))
	for i, n := range g.Nodes {
		c.Nodes[i] = n.Clone()
	}
	c.Inputs = cloneAll(g.Inputs)
	c.Outputs = cloneAll(g.Outputs)
	c.Values = cloneAll(g.Values)
	c.Initializers = cloneAll(g.Initializers)
	c.Sparse = cloneAll(g.Sparse)
	c.Metadata = append([]Property(nil), g.Metadata...)
	return &c
}

func cloneAll[T any](in []*T) []*T {
	if in == nil {
		return nil
	}
	out := make([]*T, len(in))
	for i, p := range in {
		v := *p
		out[i] = &v
	}
	return out
}
