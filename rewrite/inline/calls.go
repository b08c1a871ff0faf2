package inline

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// Lift gives nodes that mean at version to of ONNX's own operators what nodes mean at version from, with the same outer names.
// live are the outputs that are read from outside; names hands out names that are free. Attributes that stay bound to those of a
// function (nodes that end up in another function's body) have a Ref.
type Lift func(nodes []*graph.Node, live []string, names *graph.Names, from, to int64) ([]*graph.Node, error)

// Inlined is one call that was replaced.
type Inlined struct {
	Function string // the function's name, with its domain: "my.domain::Name"
	Call     string // the name of the node that called it
	Nodes    int    // nodes that came in its place, those in graphs of its own included
}

// maxNodes is far above the largest models and far below what hurts.
const maxNodes = 1 << 20

// Calls replaces, everywhere in m, each call of a function for which want says true by the function's body: in the main graph, in
// graphs inside nodes, in the bodies of functions that stay, and in what came out of other calls. Inner values and nodes get
// fresh names that begin with the call's name and "/"; metadata of the call goes to the nodes of the body that have none; inner
// types of the function come along. Functions that were inlined and have no call left are removed from m.Functions.
//
// A body that was written for another version of ONNX's own operators than its caller goes through lift; a nil lift, a version
// above the caller's, and a difference in any other domain are an *OpsetError. A cycle is a *RecursionError, growth without
// reason a *SizeError. On error m holds what it held before (graphs inside it are copies then).
//
// Nodes of the result are in the order of the calls, each body in its own order.
func Calls(m *graph.Model, want func(*graph.Function) bool, lift Lift) ([]Inlined, error) {
	return calls(m, want, lift, maxNodes)
}

func calls(m *graph.Model, want func(*graph.Function) bool, lift Lift, limit int) ([]Inlined, error) {
	x := &expander{model: m, lift: lift, limit: limit, functions: map[key]*graph.Function{}, wanted: map[*graph.Function]bool{},
		inlined: map[*graph.Function]bool{}}
	for _, f := range m.Functions {
		k := key{graph.CanonicalDomain(f.Domain), f.Name, f.Overload}
		if old := x.functions[k]; old != nil && (x.wanted[old] || want(f)) {
			return nil, fmt.Errorf("inline: function %q is defined twice", label(f))
		}
		x.functions[k] = f
		x.wanted[f] = want(f)
	}
	if !x.anyCall() {
		return nil, nil
	}
	if err := x.acyclic(); err != nil {
		return nil, err
	}
	undo := backup(m)
	x.names = graph.NewNames(m)
	if err := x.run(); err != nil {
		undo()
		return nil, err
	}
	return x.done, nil
}

// key is what a call names its function by.
type key struct{ domain, name, overload string }

func keyOf(n *graph.Node) key { return key{graph.CanonicalDomain(n.Domain), n.OpType, n.Overload} }

// label is a function's name for people.
func label(f *graph.Function) string {
	s := f.Name
	if f.Domain != "" {
		s = f.Domain + "::" + s
	}
	if f.Overload != "" {
		s += "::" + f.Overload
	}
	return s
}

// expander is one run of Calls.
type expander struct {
	model     *graph.Model
	lift      Lift
	names     *graph.Names
	functions map[key]*graph.Function
	wanted    map[*graph.Function]bool
	inlined   map[*graph.Function]bool
	done      []Inlined
	made      int // nodes and values made so far
	limit     int // of made
}

// callee is the wanted function that n calls, nil when it calls none.
func (x *expander) callee(n *graph.Node) *graph.Function {
	if f := x.functions[keyOf(n)]; f != nil && x.wanted[f] {
		return f
	}
	return nil
}

func (x *expander) anyCall() bool {
	found := false
	look := func(n *graph.Node) { found = found || x.callee(n) != nil }
	graph.WalkNodes(x.model.Graph.Nodes, look)
	for _, f := range x.model.Functions {
		graph.WalkNodes(f.Nodes, look)
	}
	return found
}

// acyclic follows the calls among wanted functions, deepest first.
func (x *expander) acyclic() error {
	const (
		open = iota + 1
		closed
	)
	state := map[*graph.Function]int{}
	var chain []string
	var visit func(f *graph.Function) error
	visit = func(f *graph.Function) error {
		chain = append(chain, label(f))
		defer func() { chain = chain[:len(chain)-1] }()
		if state[f] == open {
			from := 0
			for chain[from] != label(f) {
				from++
			}
			return &RecursionError{Chain: append([]string(nil), chain[from:]...)}
		}
		if state[f] == closed {
			return nil
		}
		state[f] = open
		var err error
		graph.WalkNodes(f.Nodes, func(n *graph.Node) {
			if c := x.callee(n); c != nil && err == nil {
				err = visit(c)
			}
		})
		state[f] = closed
		return err
	}
	for _, f := range x.model.Functions {
		if x.wanted[f] {
			if err := visit(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// run expands the main graph first, then the functions that stay, and removes the others.
func (x *expander) run() error {
	if err := x.graph(x.model.Graph, x.inModel()); err != nil {
		return err
	}
	// A wanted function that nothing reached is nobody's body: it stays, and is a place for calls like any other.
	for _, staying := range []bool{true, false} {
		for _, f := range x.model.Functions {
			if x.wanted[f] == staying || x.inlined[f] {
				continue
			}
			nodes, err := x.nodes(f.Nodes, x.inFunction(f))
			if err != nil {
				return err
			}
			f.Nodes = nodes
		}
	}
	called := map[*graph.Function]bool{}
	count := func(n *graph.Node) { called[x.functions[keyOf(n)]] = true }
	graph.WalkNodes(x.model.Graph.Nodes, count)
	for _, f := range x.model.Functions {
		if !x.inlined[f] {
			graph.WalkNodes(f.Nodes, count)
		}
	}
	var keep []*graph.Function
	for _, f := range x.model.Functions {
		if !x.inlined[f] || called[f] {
			keep = append(keep, f)
		}
	}
	x.model.Functions = keep
	return nil
}

// place is where a body comes to stand.
type place struct {
	values *[]*graph.Value // receives the types of inner values
	opset  func(domain string) int64
	set    func(domain string, version int64)
}

func (x *expander) inModel() place { return place{opset: x.model.OpsetVersion, set: x.model.SetOpset} }

func (x *expander) inFunction(f *graph.Function) place {
	return place{values: &f.Values, opset: f.OpsetVersion, set: f.SetOpset}
}

func (x *expander) graph(g *graph.Graph, p place) error {
	p.values = &g.Values
	nodes, err := x.nodes(g.Nodes, p)
	if err != nil {
		return err
	}
	g.Nodes = nodes
	return nil
}

// nodes is list with every wanted call in it replaced.
func (x *expander) nodes(list []*graph.Node, p place) ([]*graph.Node, error) {
	out := make([]*graph.Node, 0, len(list))
	for _, n := range list {
		if f := x.callee(n); f != nil {
			at := len(x.done)
			x.done = append(x.done, Inlined{Function: label(f), Call: n.Name})
			body, err := x.body(n, f, p)
			if err != nil {
				return nil, err
			}
			if body, err = x.nodes(body, p); err != nil {
				return nil, err
			}
			graph.WalkNodes(body, func(*graph.Node) { x.done[at].Nodes++ })
			out = append(out, body...)
			x.inlined[f] = true
			continue
		}
		for _, sub := range n.Subgraphs() {
			if err := x.graph(sub, p); err != nil {
				return nil, err
			}
		}
		out = append(out, n)
	}
	return out, nil
}

// backup gives a function that puts m back.
func backup(m *graph.Model) func() {
	opsets, functions, g := m.Opsets, m.Functions, m.Graph.Clone()
	olds := make([]graph.Function, len(functions))
	for i, f := range functions {
		olds[i] = *f
		olds[i].Nodes = make([]*graph.Node, len(f.Nodes))
		for j, n := range f.Nodes {
			olds[i].Nodes[j] = n.Clone()
		}
		olds[i].Values = append([]*graph.Value(nil), f.Values...)
	}
	return func() {
		*m.Graph = *g
		m.Opsets, m.Functions = opsets, functions
		for i, f := range functions {
			*f = olds[i]
		}
	}
}
