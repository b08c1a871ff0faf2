package opset

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// Result says what a lift did.
type Result struct {
	From, To int64 // version of ONNX's own domain in the model, before and after
	Changes  []Change
}

// Change is one conversion of one node.
type Change struct {
	Where  string // the function that holds the node, "" for the model's graphs
	Node   string // the node's name, or its first output where it has none
	OpType string // before the conversion
	At     int64  // the version whose change asked for it
	What   string
}

// Lift raises ONNX's own domain to version to everywhere in m: in the main graph, in the graphs inside its nodes, and in every
// function body below to. Every node then means at to what it meant before. Versions that are at or above to stay as they are.
//
// It is all or nothing. Where a node cannot be converted exactly the error is a Blockers with every reason, and m is untouched. On
// success m.Graph, m.Functions and the opset imports are replaced: pointers taken into the old ones no longer belong to m. The IR
// version stays as it is.
func Lift(m *graph.Model, to int64) (*Result, error) {
	if to > newest {
		return nil, fmt.Errorf("opset: target version %d: the newest known is %d", to, newest)
	}
	from := m.OpsetVersion("")
	res := &Result{From: from, To: max(from, to)}
	if from >= to && !functionsBelow(m, to) {
		return res, nil
	}
	work := &graph.Model{IRVersion: m.IRVersion, Opsets: m.Opsets, Graph: m.Graph.Clone()}
	work.Functions = make([]*graph.Function, len(m.Functions))
	for i, f := range m.Functions {
		work.Functions[i] = cloneFunction(f)
	}
	l := newLifter(to, graph.NewNames(work), inferTypes(work))
	l.local = localFunctions(work)
	l.given = givenAttributes(work)
	l.overridable = m.IRVersion >= 4

	switch {
	case from == 0 && usesOwnDomain(work.Graph.Nodes, l.local):
		l.block("", nil, "the model imports no version of ONNX's own operators but uses them")
	case from < 0:
		l.block("", nil, fmt.Sprintf("the model imports version %d of ONNX's own operators", from))
	case from < to:
		if from != 0 {
			l.liftGraph(work.Graph, from)
		}
		work.SetOpset("", to)
	}
	for _, f := range work.Functions {
		switch v := f.OpsetVersion(""); {
		case v == 0 && usesOwnDomain(f.Nodes, l.local):
			l.block(f.Name, nil, "the function imports no version of ONNX's own operators but uses them")
		case v == 0 || v >= to:
		case v < 0:
			l.block(f.Name, nil, fmt.Sprintf("the function imports version %d of ONNX's own operators", v))
		default:
			l.liftFunction(f, v)
			f.SetOpset("", to)
		}
	}
	if len(l.blocked) > 0 {
		return nil, l.blocked
	}
	m.Graph, m.Functions, m.Opsets = work.Graph, work.Functions, work.Opsets
	res.Changes = l.changes
	return res, nil
}

// Body is a list of nodes that leaves its home for a place at another version, as a function's body does when it is inlined.
type Body struct {
	Nodes []*graph.Node
	// Live are the outputs of Nodes that are read from outside.
	Live []string
	// Names hands out the names of new values and nodes.
	Names *graph.Names
	// Types tells what is known about the values; nil when nothing is.
	Types func(name string) (graph.Type, bool)
}

// LiftNodes gives the nodes that mean at version to what b.Nodes mean at version from, under the same names for their inputs and
// live outputs. b.Nodes stay as they are. Attributes that are bound to those of a function must have been replaced before. The
// error is a Blockers.
func LiftNodes(b Body, from, to int64) ([]*graph.Node, error) {
	g := &graph.Graph{Nodes: make([]*graph.Node, len(b.Nodes))}
	for i, n := range b.Nodes {
		g.Nodes[i] = n.Clone()
	}
	for _, name := range b.Live {
		g.Outputs = append(g.Outputs, &graph.Value{Name: name})
	}
	if from >= to {
		return g.Nodes, nil
	}
	var types typer = noTypes{}
	if b.Types != nil {
		types = bodyTypes(b.Types)
	}
	l := newLifter(to, b.Names, types)
	switch {
	case to > newest:
		return nil, fmt.Errorf("opset: target version %d: the newest known is %d", to, newest)
	case from < 1:
		l.block("", nil, fmt.Sprintf("the nodes are at version %d of ONNX's own operators", from))
	default:
		l.liftGraph(g, from)
	}
	if len(l.blocked) > 0 {
		return nil, l.blocked
	}
	return g.Nodes, nil
}

func functionsBelow(m *graph.Model, to int64) bool {
	for _, f := range m.Functions {
		if v := f.OpsetVersion(""); v < to && (v != 0 || usesOwnDomain(f.Nodes, localFunctions(m))) {
			return true
		}
	}
	return false
}

func usesOwnDomain(nodes []*graph.Node, local map[functionKey]bool) bool {
	uses := false
	graph.WalkNodes(nodes, func(n *graph.Node) {
		uses = uses || graph.CanonicalDomain(n.Domain) == "" && !local[keyOf(n)]
	})
	return uses
}

func cloneFunction(f *graph.Function) *graph.Function {
	c := *f
	c.Nodes = make([]*graph.Node, len(f.Nodes))
	for i, n := range f.Nodes {
		c.Nodes[i] = n.Clone()
	}
	c.Opsets = append([]graph.Opset(nil), f.Opsets...)
	return &c
}
