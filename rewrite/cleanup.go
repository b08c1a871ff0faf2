package rewrite

import "github.com/fp8rewrite/fp8rewrite/graph"

// cleanup takes away what nothing reads any more: constants of which before counts uses that are all gone, and the nodes on the
// way from them. What nothing read before the rewrite either stays: it is not ours to remove.
func cleanup(m *graph.Model, before map[graph.Key]int) {
	g := m.Graph
	for {
		uses := graph.Uses(g)
		for _, name := range m.Pinned {
			uses[graph.Key{Graph: g, Name: name}]++
		}
		changed := false
		g.Walk(func(inner *graph.Graph) {
			if sweep(inner, before, uses) {
				changed = true
			}
		})
		if !changed {
			return
		}
	}
}

// passThrough are the operators that may stand between a constant and a layer; they have no effect but their output.
var passThrough = map[string]bool{"Identity": true, "Transpose": true, "Cast": true, "Reshape": true, "Constant": true}

func sweep(g *graph.Graph, before, uses map[graph.Key]int) bool {
	dead := func(name string) bool {
		k := graph.Key{Graph: g, Name: name}
		return name != "" && before[k] > 0 && uses[k] == 0
	}
	gone := map[string]bool{}
	nodes := g.Nodes[:0:0]
	for _, n := range g.Nodes {
		if passThrough[n.OpType] && graph.CanonicalDomain(n.Domain) == "" && len(n.Outputs) == 1 && dead(n.Outputs[0]) {
			gone[n.Outputs[0]] = true
			continue
		}
		nodes = append(nodes, n)
	}
	inits := g.Initializers[:0:0]
	inputs := map[string]bool{}
	for _, v := range g.Inputs {
		inputs[v.Name] = true
	}
	for _, i := range g.Initializers {
		if dead(i.Name) && !inputs[i.Name] {
			gone[i.Name] = true
			continue
		}
		inits = append(inits, i)
	}
	if len(gone) == 0 {
		return false
	}
	values := g.Values[:0:0]
	for _, v := range g.Values {
		if !gone[v.Name] {
			values = append(values, v)
		}
	}
	g.Nodes, g.Initializers, g.Values = nodes, inits, values
	return true
}
