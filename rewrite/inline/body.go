package inline

import (
	"fmt"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// body makes the nodes that take the place of call: f's body with the names, attributes and versions of the call's surroundings.
func (x *expander) body(call *graph.Node, f *graph.Function, p place) ([]*graph.Node, error) {
	fail := func(format string, args ...any) ([]*graph.Node, error) {
		return nil, fmt.Errorf("inline: node %q: function %q: "+format, append([]any{call.Name, label(f)}, args...)...)
	}
	if len(call.Inputs) > len(f.Inputs) || len(call.Outputs) > len(f.Outputs) {
		return fail("called with %d inputs and %d outputs, has %d and %d", len(call.Inputs), len(call.Outputs), len(f.Inputs), len(f.Outputs))
	}
	count := 0
	graph.WalkNodes(f.Nodes, func(*graph.Node) { count++ })
	if x.made += count + len(f.Values) + len(f.Outputs); x.made > x.limit {
		return nil, &SizeError{Function: label(f), Limit: x.limit}
	}
	if err := x.imports(call, f, p); err != nil {
		return nil, err
	}
	nodes := make([]*graph.Node, len(f.Nodes))
	for i, n := range f.Nodes {
		nodes[i] = n.Clone()
	}
	bind(nodes, call, f)

	prefix := call.Name
	if prefix == "" {
		prefix = f.Name
	}
	prefix += "/"
	r := &renamer{names: x.names, prefix: prefix}
	outer := newNames(nil)
	computed := map[string]bool{}
	for _, n := range nodes {
		for _, o := range n.Outputs {
			computed[o] = true
		}
	}
	for i, in := range f.Inputs {
		if _, twice := outer.own[in]; twice || computed[in] {
			return fail("input %q is defined twice", in)
		}
		outer.own[in] = call.Input(i)
	}
	// An output that the body computes is computed under the caller's name; one that is an input, or the same as another
	// output, needs a node of its own.
	var extra []*graph.Node
	var live []string
	for i, o := range f.Outputs {
		want := call.Output(i)
		if want == "" {
			continue
		}
		live = append(live, want)
		if _, taken := outer.own[o]; !taken && computed[o] {
			outer.own[o] = want
			continue
		}
		from, ok := outer.find(o)
		if !ok || from == "" {
			return fail("output %q: nothing gives its value", o)
		}
		extra = append(extra, &graph.Node{Name: x.names.Fresh(prefix + "Identity"), OpType: "Identity", Inputs: []string{from},
			Outputs: []string{want}})
	}
	if err := r.nodes(nodes, outer); err != nil {
		return fail("%w", err)
	}
	for _, v := range f.Values {
		name, ok := outer.find(v.Name)
		if !ok || name == "" || !outer.fresh[v.Name] {
			continue // the caller knows the types of its own values
		}
		c := *v
		c.Name = name
		*p.values = append(*p.values, &c)
	}
	nodes = append(nodes, extra...)

	from, to := f.OpsetVersion(""), p.opset("")
	if from != 0 && from != to && uses(nodes, "", x.functions) {
		e := &OpsetError{Function: label(f), Call: call.Name, From: from, To: to}
		if x.lift == nil || from > to {
			return nil, e
		}
		if nodes, e.Err = x.lift(nodes, live, x.names, from, to); e.Err != nil {
			return nil, e
		}
	}
	x.graphArguments(nodes, call, f, prefix)
	graph.WalkNodes(nodes, func(n *graph.Node) {
		if len(n.Metadata) == 0 {
			n.Metadata = append([]graph.Property(nil), call.Metadata...)
		}
	})
	return nodes, nil
}

// imports sees to it that every domain of the body is imported at the place of the call, ONNX's own aside, whose versions a Lift
// may bridge. A domain in which the body only calls functions of the model has no version that could matter.
func (x *expander) imports(call *graph.Node, f *graph.Function, p place) error {
	for _, o := range f.Opsets {
		domain := graph.CanonicalDomain(o.Domain)
		have := p.opset(domain)
		switch {
		case have == 0 && mentions(f.Nodes, domain):
			p.set(o.Domain, o.Version)
		case domain == "" || have == o.Version || !uses(f.Nodes, domain, x.functions):
		default:
			return &OpsetError{Function: label(f), Call: call.Name, Domain: domain, From: o.Version, To: have}
		}
	}
	return nil
}

// mentions reports whether a node of the domain is among nodes.
func mentions(nodes []*graph.Node, domain string) bool {
	found := false
	graph.WalkNodes(nodes, func(n *graph.Node) { found = found || graph.CanonicalDomain(n.Domain) == domain })
	return found
}

// uses reports whether an operator of the domain that is not a function of the model is among nodes.
func uses(nodes []*graph.Node, domain string, functions map[key]*graph.Function) bool {
	found := false
	graph.WalkNodes(nodes, func(n *graph.Node) {
		found = found || graph.CanonicalDomain(n.Domain) == domain && functions[keyOf(n)] == nil
	})
	return found
}

// argument is the value for the function's attribute called name: the call's, or the default, or nil.
func argument(name string, call *graph.Node, f *graph.Function) (a *graph.Attribute, fromCall bool) {
	if a := call.Attr(name); a != nil {
		return a, true
	}
	for _, d := range f.Defaults {
		if d.Name == name {
			return d, false
		}
	}
	return nil, false
}

// waiting marks a bound attribute that graphArguments fills. The value of another may be bound to an attribute of the function
// around the call, which is not this function's even when it has the same name.
const waiting = "\x00"

func holdsGraph(a *graph.Attribute) bool { return a.Graph != nil || a.Graphs != nil }

// bind replaces attributes that refer to the function's by the values of this call; those without a value go. Graphs wait for
// graphArguments.
func bind(nodes []*graph.Node, call *graph.Node, f *graph.Function) {
	graph.WalkNodes(nodes, func(n *graph.Node) {
		kept := n.Attributes[:0]
		for _, a := range n.Attributes {
			if a.Ref != "" {
				v, _ := argument(a.Ref, call, f)
				if v == nil {
					continue
				}
				if holdsGraph(v) {
					a.Ref = waiting + a.Ref
				} else {
					c := v.Clone()
					c.Name = a.Name
					a = c
				}
			}
			kept = append(kept, a)
		}
		n.Attributes = kept
	})
}

// graphArguments puts graphs that the call hands over into the body. They see the names around the call, so they come after the
// renaming; from the second use on their own names are made fresh.
func (x *expander) graphArguments(nodes []*graph.Node, call *graph.Node, f *graph.Function, prefix string) {
	used := map[string]bool{}
	var walk func(nodes []*graph.Node)
	walk = func(nodes []*graph.Node) {
		for _, n := range nodes {
			for i, a := range n.Attributes {
				if a.Ref == "" {
					for _, g := range (&graph.Node{Attributes: []*graph.Attribute{a}}).Subgraphs() {
						walk(g.Nodes)
					}
					continue
				}
				name, ok := strings.CutPrefix(a.Ref, waiting)
				if !ok {
					continue
				}
				v, fromCall := argument(name, call, f)
				c := v.Clone()
				c.Name = a.Name
				if used[name] || !fromCall {
					r := &renamer{names: x.names, prefix: prefix, open: true}
					for _, g := range (&graph.Node{Attributes: []*graph.Attribute{c}}).Subgraphs() {
						graph.WalkNodes(g.Nodes, func(*graph.Node) { x.made++ })
						// An open renamer takes any name, so it cannot fail.
						_ = r.graph(g, newNames(nil))
					}
				}
				used[name] = true
				n.Attributes[i] = c
			}
		}
	}
	walk(nodes)
}
