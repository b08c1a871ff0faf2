package graph

// Scope answers where a name of a graph comes from: from the graph itself or from one around it. It is a snapshot: build it
// again after a change.
type Scope struct {
	Graph  *Graph
	Outer  *Scope // nil for the main graph
	Holder *Node  // the node of Outer whose attribute holds Graph; nil for the main graph

	producers map[string]*Node
	constants map[string]*Initializer
	sparse    map[string]*Sparse
	inputs    map[string]*Value
	types     map[string]*Type
	repeated  map[string]bool
}

// NewScope indexes g, which lies inside outer (nil for a main graph) as an attribute of holder.
func NewScope(g *Graph, outer *Scope, holder *Node) *Scope {
	s := &Scope{
		Graph: g, Outer: outer, Holder: holder,
		producers: make(map[string]*Node, len(g.Nodes)),
		constants: make(map[string]*Initializer, len(g.Initializers)),
		sparse:    map[string]*Sparse{},
		inputs:    make(map[string]*Value, len(g.Inputs)),
		types:     make(map[string]*Type, len(g.Values)),
		repeated:  map[string]bool{},
	}
	for _, vs := range [][]*Value{g.Values, g.Outputs, g.Inputs} {
		for _, v := range vs {
			if v.Type != nil {
				s.types[v.Name] = v.Type
			}
		}
	}
	for _, v := range g.Inputs {
		s.inputs[v.Name] = v
	}
	for _, i := range g.Initializers {
		if s.constants[i.Name] != nil {
			s.repeated[i.Name] = true
		}
		s.constants[i.Name] = i
	}
	for _, sp := range g.Sparse {
		s.sparse[sp.Name] = sp
	}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			if o == "" {
				continue
			}
			if s.producers[o] != nil || s.constants[o] != nil {
				s.repeated[o] = true
			}
			s.producers[o] = n
		}
	}
	return s
}

// Source is where a value comes from. Exactly one of Node, Constant, Sparse, Input is set for a value that exists; Input may
// stand beside Constant: then the constant is the input's default.
type Source struct {
	Scope    *Scope // the graph that defines the value; nil when no graph does
	Node     *Node
	Constant *Initializer
	Sparse   *Sparse
	Input    *Value
	// Repeated is set when more than one element of the defining graph claims the name.
	Repeated bool
}

// Find looks name up in the graph and in those around it, innermost first.
func (s *Scope) Find(name string) Source {
	if name == "" {
		return Source{}
	}
	for sc := s; sc != nil; sc = sc.Outer {
		src := Source{Scope: sc, Node: sc.producers[name], Constant: sc.constants[name], Sparse: sc.sparse[name],
			Input: sc.inputs[name], Repeated: sc.repeated[name]}
		if src.Node != nil || src.Constant != nil || src.Sparse != nil || src.Input != nil {
			return src
		}
	}
	return Source{}
}

// Type is the type that the file gives for name, nil when it gives none.
func (s *Scope) Type(name string) *Type {
	for sc := s; sc != nil; sc = sc.Outer {
		if t := sc.types[name]; t != nil {
			return t
		}
		if sc.producers[name] != nil || sc.constants[name] != nil {
			return nil
		}
	}
	return nil
}

// Inner is the scope of g, which is held by an attribute of node of this scope's graph.
func (s *Scope) Inner(g *Graph, node *Node) *Scope { return NewScope(g, s, node) }

// Key tells one value from every other of the model: the graph that defines it and its name there.
type Key struct {
	Graph *Graph
	Name  string
}

// Uses counts for every value of the model how many inputs of nodes and graph outputs read it, at any depth.
func Uses(g *Graph) map[Key]int {
	uses := map[Key]int{}
	countUses(NewScope(g, nil, nil), uses)
	return uses
}

func countUses(s *Scope, uses map[Key]int) {
	count := func(name string) {
		if src := s.Find(name); src.Scope != nil {
			uses[Key{src.Scope.Graph, name}]++
		}
	}
	for _, n := range s.Graph.Nodes {
		for _, in := range n.Inputs {
			count(in)
		}
		for _, sub := range n.Subgraphs() {
			countUses(s.Inner(sub, n), uses)
		}
	}
	for _, o := range s.Graph.Outputs {
		count(o.Name)
	}
}
