package cpu

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// scope is what names mean inside one graph or one call of a function.
type scope struct {
	prog  *program
	names map[string]int
	// outer is the scope around a graph that a node holds; nil for a main graph and for a function, which see nothing else.
	outer *scope

	opsets []graph.Opset
	// attrs are the attributes of the call, for a function and the graphs inside it; inFunction tells none from not in a function.
	attrs      map[string]*graph.Attribute
	inFunction bool
	calls      []*graph.Function // those that are being expanded, outermost first
	path       string            // of the calls, before the names of nodes
	depth      int
}

// slot makes a new slot.
func (p *program) slot() int {
	p.slots++
	return p.slots - 1
}

// constant makes a slot that holds c.
func (p *program) constant(c *constant) int {
	i := p.slot()
	p.consts[i] = c
	return i
}

// define gives a name a slot; a later definition of the same name hides it.
func (s *scope) define(name string, slot int) {
	if name != "" {
		s.names[name] = slot
	}
}

// find is the slot of a name, taken from the scopes around where this one does not have it.
func (s *scope) find(name string) (int, error) {
	if name == "" {
		return absent, nil
	}
	if i, ok := s.names[name]; ok {
		return i, nil
	}
	if s.outer == nil {
		return absent, fmt.Errorf("nothing defines %q", name)
	}
	from, err := s.outer.find(name)
	if err != nil || from == absent || s.outer.prog == s.prog {
		return from, err
	}
	i := s.prog.capture(s.outer.prog, from)
	s.names[name] = i
	return i, nil
}

// capture is the slot that holds a value of the program around this one. A constant needs no carrying over.
func (p *program) capture(outer *program, from int) int {
	if c := outer.consts[from]; c != nil {
		return p.constant(c)
	}
	if i := slices.IndexFunc(p.captures, func(c capture) bool { return c.from == from }); i >= 0 {
		return p.captures[i].to
	}
	to := p.slot()
	p.captures = append(p.captures, capture{from, to})
	return to
}

// opset is the version of a node's domain.
func (s *scope) opset(m *graph.Model, domain string) int64 {
	for _, sets := range [][]graph.Opset{s.opsets, m.Opsets} {
		f := graph.Function{Opsets: sets}
		if v := f.OpsetVersion(domain); v > 0 {
			return v
		}
	}
	return 1
}
