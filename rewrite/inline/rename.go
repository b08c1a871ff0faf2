package inline

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// scopeNames maps the names that one graph (or the body itself) defines to new ones; what it does not define is looked up further
// out.
type scopeNames struct {
	own   map[string]string
	fresh map[string]bool // names that were made here, in contrast to those of the caller
	outer *scopeNames
}

func newNames(outer *scopeNames) *scopeNames {
	return &scopeNames{own: map[string]string{}, fresh: map[string]bool{}, outer: outer}
}

func (s *scopeNames) find(name string) (string, bool) {
	for ; s != nil; s = s.outer {
		if to, ok := s.own[name]; ok {
			return to, true
		}
	}
	return "", false
}

// renamer gives fresh names to what a body defines. A name that nothing defines is an error, since a function sees nothing of its
// surroundings; an open renamer leaves it as it is, and leaves repeated ones to be repeated.
type renamer struct {
	names  *graph.Names
	prefix string
	open   bool
}

// make gives name a fresh one in s, unless the caller gave it one.
func (r *renamer) make(s *scopeNames, name string) {
	if _, ok := s.own[name]; name == "" || ok {
		return
	}
	s.own[name] = r.names.Fresh(r.prefix + name)
	s.fresh[name] = true
}

// nodes renames a list of nodes whose names belong to s.
func (r *renamer) nodes(nodes []*graph.Node, s *scopeNames) error {
	defined := map[string]bool{}
	for _, n := range nodes {
		for _, o := range n.Outputs {
			if o != "" && defined[o] && !r.open {
				return fmt.Errorf("node %q: output %q is defined twice", n.Name, o)
			}
			defined[o] = true
			r.make(s, o)
		}
	}
	for _, n := range nodes {
		old := n.Name
		if n.Name == "" {
			n.Name = n.OpType
		}
		n.Name = r.names.Fresh(r.prefix + n.Name)
		for i, in := range n.Inputs {
			to, err := r.use(s, in)
			if err != nil {
				return fmt.Errorf("node %q: %w", old, err)
			}
			n.Inputs[i] = to
		}
		// A trailing argument that the call leaves out is left out by shortening: variadic operators know no empty ones.
		for k := len(n.Inputs); k > 0 && n.Inputs[k-1] == ""; k-- {
			n.Inputs = n.Inputs[:k-1]
		}
		for i, o := range n.Outputs {
			if o != "" {
				n.Outputs[i] = s.own[o]
			}
		}
		for _, sub := range n.Subgraphs() {
			if err := r.graph(sub, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *renamer) use(s *scopeNames, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	to, ok := s.find(name)
	if !ok && r.open {
		return name, nil
	}
	if !ok {
		return "", fmt.Errorf("input %q: nothing defines it", name)
	}
	return to, nil
}

// graph renames a graph inside the body.
func (r *renamer) graph(g *graph.Graph, outer *scopeNames) error {
	s := newNames(outer)
	for _, v := range g.Inputs {
		r.make(s, v.Name)
		v.Name = s.own[v.Name]
	}
	for _, i := range g.Initializers {
		r.make(s, i.Name)
		i.Name = s.own[i.Name]
	}
	for _, sp := range g.Sparse {
		r.make(s, sp.Name)
		sp.Name = s.own[sp.Name]
	}
	if err := r.nodes(g.Nodes, s); err != nil {
		return err
	}
	for _, v := range g.Outputs {
		to, err := r.use(s, v.Name)
		if err != nil {
			return fmt.Errorf("graph %q: output: %w", g.Name, err)
		}
		if to == "" && v.Name != "" {
			return fmt.Errorf("graph %q: output %q is an argument that the call leaves out", g.Name, v.Name)
		}
		v.Name = to
	}
	for _, v := range g.Values {
		if to, ok := s.own[v.Name]; ok {
			v.Name = to
		}
	}
	return nil
}
