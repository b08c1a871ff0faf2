package cpu

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// call lowers the body of f, a function of the model, in place of the node that calls it: the same slots, names of its own.
func (c *compiler) call(sc *scope, s *step, f *graph.Function) error {
	if slices.Contains(sc.calls, f) {
		return c.unsupported(s, fmt.Sprintf("function %q calls itself", f.Name))
	}
	if sc.depth > maxDepth {
		return c.unsupported(s, fmt.Sprintf("more than %d graphs and functions deep", maxDepth))
	}
	if len(s.in) > len(f.Inputs) || len(s.node.Outputs) > len(f.Outputs) {
		return c.unsupported(s, fmt.Sprintf("%d inputs and %d outputs, function %q has %d and %d", len(s.in), len(s.node.Outputs), f.Name,
			len(f.Inputs), len(f.Outputs)))
	}
	in := &scope{prog: sc.prog, names: map[string]int{}, opsets: f.Opsets, attrs: map[string]*graph.Attribute{}, inFunction: true,
		calls: append(sc.calls[:len(sc.calls):len(sc.calls)], f), path: s.name + "/", depth: sc.depth + 1}
	for i, formal := range f.Inputs {
		if i < len(s.in) {
			in.define(formal, s.in[i])
		} else {
			in.define(formal, absent)
		}
	}
	for _, a := range f.Defaults {
		in.attrs[a.Name] = a
	}
	for _, a := range s.node.Attributes {
		in.attrs[a.Name] = a
	}
	if err := c.nodes(in, f.Nodes); err != nil {
		return err
	}
	for i, o := range s.node.Outputs {
		slot, err := in.find(f.Outputs[i])
		if err != nil {
			return fmt.Errorf("%s: node %q: %s: function %q: output: %w", name, s.name, s.op(), f.Name, err)
		}
		sc.define(o, slot)
	}
	return nil
}

// resolve is n with the values of the call in place of the references to its attributes; one that the call leaves out and that has
// no default is left out.
func (s *scope) resolve(n *graph.Node) (*graph.Node, error) {
	if !slices.ContainsFunc(n.Attributes, func(a *graph.Attribute) bool { return a.Ref != "" }) {
		return n, nil
	}
	if !s.inFunction {
		return nil, fmt.Errorf("%s: node %q: %s: an attribute refers to a function's, and there is no function around it", name, nodeName(n), key(n))
	}
	r := *n
	r.Attributes = nil
	for _, a := range n.Attributes {
		if a.Ref != "" {
			given := s.attrs[a.Ref]
			if given == nil {
				continue
			}
			if a.Kind != graph.AttrUndefined && given.Kind != a.Kind {
				return nil, fmt.Errorf("%s: node %q: %s: attribute %q: got kind %d, want %d", name, s.path+nodeName(n), key(n), a.Ref, given.Kind, a.Kind)
			}
			copied := *given
			copied.Name = a.Name
			a = &copied
		}
		r.Attributes = append(r.Attributes, a)
	}
	return &r, nil
}
