package nn

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// attrs reads a node's attributes and remembers the first that makes no sense. done must be called when all were read: it also refuses
// attributes that nobody asked for, because they would silently change nothing.
type attrs struct {
	node *graph.Node
	read []string
	err  error
}

func attributes(s *kernel.Site) *attrs { return &attrs{node: s.Node} }

// get is the attribute of this kind, nil where it is left out.
func (a *attrs) get(name string, kind graph.AttributeKind) *graph.Attribute {
	a.read = append(a.read, name)
	at := a.node.Attr(name)
	if at != nil && at.Kind != kind {
		a.fail("attribute %q has kind %d, want %d", name, at.Kind, kind)
		return nil
	}
	return at
}

// fail keeps the first error.
func (a *attrs) fail(format string, args ...any) {
	if a.err == nil {
		a.err = fmt.Errorf(format, args...)
	}
}

func (a *attrs) int(name string, def int64) int64 {
	if at := a.get(name, graph.AttrInt); at != nil {
		return at.Int
	}
	return def
}

// flag is an integer that stands for a bool.
func (a *attrs) flag(name string, def bool) bool {
	d := int64(0)
	if def {
		d = 1
	}
	v := a.int(name, d)
	if v != 0 && v != 1 {
		a.fail("attribute %q is %d, want 0 or 1", name, v)
	}
	return v != 0
}

// count is an integer of at least min that an int holds everywhere.
func (a *attrs) count(name string, def, min int64) int {
	v := a.int(name, def)
	if v < min || v > maxExtent {
		a.fail("attribute %q is %d, want %d to %d", name, v, min, int64(maxExtent))
		return int(min)
	}
	return int(v)
}

func (a *attrs) float(name string, def float32) float32 {
	if at := a.get(name, graph.AttrFloat); at != nil {
		return at.Float
	}
	return def
}

// oneOf is a string out of a list whose first is the default.
func (a *attrs) oneOf(name string, choices ...string) string {
	at := a.get(name, graph.AttrString)
	if at == nil {
		return choices[0]
	}
	v := string(at.String)
	if !slices.Contains(choices, v) {
		a.fail("attribute %q is %q, want one of %q", name, v, choices)
	}
	return v
}

// extents is a list of integers of at least min, nil where it is left out. Very large numbers are refused so that sums of a few products
// do not overflow.
func (a *attrs) extents(name string, min int64) []int {
	at := a.get(name, graph.AttrInts)
	if at == nil {
		return nil
	}
	out := make([]int, len(at.Ints))
	for i, v := range at.Ints {
		if v < min || v > maxExtent {
			a.fail("attribute %q is %d, want every number from %d to %d", name, at.Ints, min, int64(maxExtent))
			return nil
		}
		out[i] = int(v)
	}
	return out
}

func (a *attrs) floats(name string) []float32 {
	if at := a.get(name, graph.AttrFloats); at != nil {
		return at.Floats
	}
	return nil
}

func (a *attrs) strings(name string) []string {
	at := a.get(name, graph.AttrStrings)
	if at == nil {
		return nil
	}
	out := make([]string, len(at.Strings))
	for i, s := range at.Strings {
		out[i] = string(s)
	}
	return out
}

// done is the first error.
func (a *attrs) done() error {
	if a.err != nil {
		return a.err
	}
	for _, at := range a.node.Attributes {
		if !slices.Contains(a.read, at.Name) {
			return fmt.Errorf("attribute %q is not known", at.Name)
		}
	}
	return nil
}
