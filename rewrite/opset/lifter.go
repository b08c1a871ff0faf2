package opset

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// lifter carries one lift. It goes through the versions one by one, each over every node, so that a conversion need only know one
// change, and the nodes that it adds are themselves carried on from there.
type lifter struct {
	to    int64
	names *graph.Names
	types typer

	local       map[functionKey]bool            // functions of the model
	given       map[functionKey]map[string]bool // attributes that every call of a function passes
	overridable bool                            // whether an initializer that is also a graph input is only a default

	blocked Blockers
	stuck   map[*graph.Node]bool // blocked once is enough
	own     map[*graph.Node]bool // CastLike nodes that a conversion made, for types that float8 is not among
	changes []Change
}

// change is an operator and the version that changed it.
type change struct {
	op string
	at int64
}

// byChange finds the lines of the table.
var byChange = func() map[change]*step {
	m := make(map[change]*step, len(steps))
	for i := range steps {
		m[change{steps[i].op, steps[i].at}] = &steps[i]
	}
	return m
}()

// functionKey names a function as a call does.
type functionKey struct{ domain, name, overload string }

func keyOf(n *graph.Node) functionKey {
	return functionKey{graph.CanonicalDomain(n.Domain), n.OpType, n.Overload}
}

// site is a graph or a function body under work.
type site struct {
	graph *graph.Graph // a function body stands in one of its own
	scope *graph.Scope
	outer *site
	fn    *graph.Function

	// used are the names that somebody reads, at this depth or below; conversions that add reads need not keep it, since they
	// read only what the node read before.
	used map[string]bool
	// shared are the constants that the present version's conversions made here, by content.
	shared map[string]string
	// made are all constants that conversions made here, by name.
	made map[string]*tensor.Tensor
	// enlarges holds the Resize nodes that come from Upsample, whose scales are at least 1 by contract.
	enlarges map[*graph.Node]bool
	inner    map[*graph.Graph]*site
}

func newLifter(to int64, names *graph.Names, types typer) *lifter {
	return &lifter{to: to, names: names, types: types, stuck: map[*graph.Node]bool{}, own: map[*graph.Node]bool{}}
}

func newSite(g *graph.Graph, outer *site, holder *graph.Node, fn *graph.Function) *site {
	s := &site{graph: g, outer: outer, fn: fn, used: map[string]bool{}, made: map[string]*tensor.Tensor{},
		enlarges: map[*graph.Node]bool{}, inner: map[*graph.Graph]*site{}}
	if outer == nil {
		s.scope = graph.NewScope(g, nil, nil)
	} else {
		s.scope = outer.scope.Inner(g, holder)
	}
	g.Walk(func(g *graph.Graph) {
		for _, n := range g.Nodes {
			for _, in := range n.Inputs {
				s.used[in] = true
			}
		}
		for _, o := range g.Outputs {
			s.used[o.Name] = true
		}
	})
	return s
}

func (l *lifter) liftGraph(g *graph.Graph, from int64) { l.lift(newSite(g, nil, nil, nil), from) }

func (l *lifter) liftFunction(f *graph.Function, from int64) {
	g := &graph.Graph{Name: f.Name, Nodes: f.Nodes, Values: f.Values}
	for _, name := range f.Inputs {
		g.Inputs = append(g.Inputs, &graph.Value{Name: name})
	}
	for _, name := range f.Outputs {
		g.Outputs = append(g.Outputs, &graph.Value{Name: name})
	}
	l.lift(newSite(g, nil, nil, f), from)
	f.Nodes, f.Values = g.Nodes, g.Values
}

func (l *lifter) lift(s *site, from int64) {
	l.checkKnown(s, from)
	for at := from + 1; at <= l.to; at++ {
		l.pass(s, at)
	}
}

// checkKnown blocks operators that the table does not have or that are younger than the version that claims them.
func (l *lifter) checkKnown(s *site, from int64) {
	graph.WalkNodes(s.graph.Nodes, func(n *graph.Node) {
		if graph.CanonicalDomain(n.Domain) != "" || l.local[keyOf(n)] || early[n.OpType] {
			return
		}
		n.DropAttr("consumed_inputs") // a leftover of version 1, without a meaning since 6
		switch v, ok := born[n.OpType]; {
		case !ok:
			l.block(s.where(), n, "unknown operator")
		case v > from:
			l.block(s.where(), n, fmt.Sprintf("the operator came with version %d, the model is at %d", v, from))
		case gone[n.OpType] != 0 && from >= gone[n.OpType]:
			l.block(s.where(), n, fmt.Sprintf("the operator went with version %d, the model is at %d", gone[n.OpType], from))
		}
	})
}

// pass takes every node of s and below from version at-1 to at.
func (l *lifter) pass(s *site, at int64) {
	s.shared = map[string]string{}
	out := make([]*graph.Node, 0, len(s.graph.Nodes))
	for _, n := range s.graph.Nodes {
		for _, g := range n.Subgraphs() {
			if s.inner[g] == nil {
				s.inner[g] = newSite(g, s, n, s.fn)
			}
			l.pass(s.inner[g], at)
		}
		step := byChange[change{n.OpType, at}]
		if step == nil || step.convert == nil || graph.CanonicalDomain(n.Domain) != "" || l.local[keyOf(n)] || l.stuck[n] {
			out = append(out, n)
			continue
		}
		if len(n.Inputs) == 0 || len(n.Outputs) == 0 {
			l.block(s.where(), n, "the node has no inputs or no outputs")
			continue
		}
		c := &call{lifter: l, site: s, node: n, at: at, op: n.OpType, what: step.what}
		step.convert(c)
		out = append(append(append(out, c.before...), n), c.after...)
	}
	s.graph.Nodes = out
}

func (l *lifter) block(where string, n *graph.Node, reason string) {
	b := &Blocked{Where: where, Reason: reason}
	if n != nil {
		if l.stuck[n] {
			return
		}
		l.stuck[n] = true
		b.Node, b.OpType = nameOf(n), n.OpType
	}
	l.blocked = append(l.blocked, b)
}

func (s *site) where() string {
	if s.fn != nil {
		return s.fn.Name
	}
	return ""
}

func nameOf(n *graph.Node) string {
	if n.Name != "" {
		return n.Name
	}
	for _, o := range n.Outputs {
		if o != "" {
			return o
		}
	}
	return ""
}

func localFunctions(m *graph.Model) map[functionKey]bool {
	out := map[functionKey]bool{}
	for _, f := range m.Functions {
		out[functionKey{graph.CanonicalDomain(f.Domain), f.Name, f.Overload}] = true
	}
	return out
}

// givenAttributes collects, per function, the attributes that every one of its calls passes.
func givenAttributes(m *graph.Model) map[functionKey]map[string]bool {
	local, given := localFunctions(m), map[functionKey]map[string]bool{}
	visit := func(n *graph.Node) {
		k := keyOf(n)
		if !local[k] {
			return
		}
		now := map[string]bool{}
		for _, a := range n.Attributes {
			// Passing on an attribute that may itself be missing gives no certainty.
			if a.Ref == "" && (given[k] == nil || given[k][a.Name]) {
				now[a.Name] = true
			}
		}
		given[k] = now
	}
	graph.WalkNodes(m.Graph.Nodes, visit)
	for _, f := range m.Functions {
		graph.WalkNodes(f.Nodes, visit)
	}
	return given
}
