package graph

import "strconv"

// Names hands out names that nothing in the model has yet: values and nodes at every depth share one space, so that a name given
// out can stand in any graph of the model.
type Names struct {
	taken map[string]bool
	next  map[string]int // the suffix to try next, so that many wishes for one name stay linear
}

// NewNames collects the names in use in m.
func NewNames(m *Model) *Names {
	n := &Names{taken: map[string]bool{}, next: map[string]int{}}
	m.Graph.Walk(n.addGraph)
	for _, f := range m.Functions {
		WalkNodes(f.Nodes, n.addNode)
		for _, s := range f.Inputs {
			n.taken[s] = true
		}
	}
	return n
}

func (n *Names) addGraph(g *Graph) {
	for _, vs := range [][]*Value{g.Inputs, g.Outputs, g.Values} {
		for _, v := range vs {
			n.taken[v.Name] = true
		}
	}
	for _, i := range g.Initializers {
		n.taken[i.Name] = true
	}
	for _, s := range g.Sparse {
		n.taken[s.Name] = true
	}
	for _, node := range g.Nodes {
		n.addNode(node)
	}
}

func (n *Names) addNode(node *Node) {
	n.taken[node.Name] = true
	for _, s := range node.Inputs {
		n.taken[s] = true
	}
	for _, s := range node.Outputs {
		n.taken[s] = true
	}
}

// Fresh is want itself where it is free, else want with the first free suffix _2, _3, …; the name is taken from then on.
func (n *Names) Fresh(want string) string {
	name := want
	i := max(n.next[want], 2)
	for ; name == "" || n.taken[name]; i++ {
		name = want + "_" + strconv.Itoa(i)
	}
	n.next[want] = i
	n.taken[name] = true
	return name
}

// Taken reports whether name is in use.
func (n *Names) Taken(name string) bool { return n.taken[name] }
