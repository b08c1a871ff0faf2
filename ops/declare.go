package ops

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// Declare makes m able to hold nodes of v: it imports the domain and adds the function, and says whether the function is new. One of
// that name that stands there already, made for m's opset, stays as it is where a node calls it, since the file's own definition
// counts for its own nodes; one that nothing calls is replaced. m must have been lifted to MinOpset and MinIRVersion.
func Declare(m *graph.Model, v Variant) (added bool, err error) {
	opset := m.OpsetVersion("")
	if opset < MinOpset {
		return false, fmt.Errorf("ops: %s: opset %d, want at least %d for a float8 Cast", v, opset, MinOpset)
	}
	if m.IRVersion < MinIRVersion {
		return false, fmt.Errorf("ops: %s: IR version %d, want at least %d for float8 tensors", v, m.IRVersion, MinIRVersion)
	}
	switch have := m.OpsetVersion(Domain); have {
	case 0:
		m.SetOpset(Domain, Version)
	case Version:
	default:
		return false, fmt.Errorf("ops: %s: the model imports domain %q at version %d, want %d", v, Domain, have, Version)
	}
	name := v.FunctionName()
	for i, f := range m.Functions {
		if f.Domain != Domain || f.Name != name {
			continue
		}
		if f.OpsetVersion("") != opset || !calls(m)[name] {
			m.Functions[i] = Body(v, opset)
		}
		return false, nil
	}
	m.Functions = append(m.Functions, Body(v, opset))
	return true, nil
}

// DropUnused removes the functions of the domain that no node calls, and the import of the domain when no node of it is left: what
// remains after Float8Linear nodes were lowered or restored.
func DropUnused(m *graph.Model) {
	called := calls(m)
	var kept []*graph.Function
	for _, f := range m.Functions {
		if f.Domain != Domain || called[f.Name] {
			kept = append(kept, f)
		}
	}
	m.Functions = kept
	if len(called) > 0 {
		return
	}
	var sets []graph.Opset
	for _, o := range m.Opsets {
		if o.Domain != Domain {
			sets = append(sets, o)
		}
	}
	m.Opsets = sets
}

// calls are the names of the domain's functions that nodes of m call.
func calls(m *graph.Model) map[string]bool {
	called := map[string]bool{}
	note := func(n *graph.Node) {
		if n.Domain == Domain {
			called[n.OpType] = true
		}
	}
	graph.WalkNodes(m.Graph.Nodes, note)
	for _, f := range m.Functions {
		graph.WalkNodes(f.Nodes, note)
	}
	return called
}
