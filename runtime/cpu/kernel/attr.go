package kernel

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// MaxExtent bounds every extent that comes from an attribute, so that products of two of them and sums of those fit an int64.
const MaxExtent = 1<<31 - 1

// Attrs reads a node's attributes one by one and keeps the first thing that was wrong. Done must be called when all were read: it also
// refuses what nobody asked for, since an attribute that is not understood may change what the operator means.
type Attrs struct {
	node *graph.Node
	read []string
	err  error
}

// Attrs begins to read the node's attributes.
func (s *Site) Attrs() *Attrs { return &Attrs{node: s.Node} }

// Get is the attribute of this name and kind, nil where it is left out.
func (a *Attrs) Get(name string, kind graph.AttributeKind) *graph.Attribute {
	a.read = append(a.read, name)
	at := a.node.Attr(name)
	if at != nil && at.Kind != kind {
		a.Fail("attribute %q has kind %d, want %d", name, at.Kind, kind)
		return nil
	}
	return at
}

// Has reports whether the node has an attribute of this name. It does not count as read.
func (a *Attrs) Has(name string) bool { return a.node.Attr(name) != nil }

// Skip accepts attributes that have no influence here, or that are read elsewhere.
func (a *Attrs) Skip(names ...string) { a.read = append(a.read, names...) }

// Fail makes this the error unless there is one.
func (a *Attrs) Fail(format string, args ...any) {
	if a.err == nil {
		a.err = fmt.Errorf(format, args...)
	}
}

// Err is the first error so far.
func (a *Attrs) Err() error { return a.err }

// Done is the first error, which may be an attribute that was not asked for.
func (a *Attrs) Done() error {
	for _, at := range a.node.Attributes {
		if !slices.Contains(a.read, at.Name) {
			a.Fail("attribute %q is not known", at.Name)
		}
	}
	return a.err
}

// Int is an integer.
func (a *Attrs) Int(name string, def int64) int64 {
	if at := a.Get(name, graph.AttrInt); at != nil {
		return at.Int
	}
	return def
}

// Flag is an integer that is true unless it is 0.
func (a *Attrs) Flag(name string, def bool) bool {
	if at := a.Get(name, graph.AttrInt); at != nil {
		return at.Int != 0
	}
	return def
}

// Bit is an integer that stands for a bool and must be 0 or 1.
func (a *Attrs) Bit(name string, def bool) bool {
	at := a.Get(name, graph.AttrInt)
	if at == nil {
		return def
	}
	if at.Int != 0 && at.Int != 1 {
		a.Fail("attribute %q is %d, want 0 or 1", name, at.Int)
	}
	return at.Int != 0
}

// Count is an integer from low to MaxExtent.
func (a *Attrs) Count(name string, def, low int64) int {
	v := a.Int(name, def)
	if v < low || v > MaxExtent {
		a.Fail("attribute %q is %d, want %d to %d", name, v, low, int64(MaxExtent))
		return int(low)
	}
	return int(v)
}

// Float is a float.
func (a *Attrs) Float(name string, def float32) float32 {
	if at := a.Get(name, graph.AttrFloat); at != nil {
		return at.Float
	}
	return def
}

// String is a string.
func (a *Attrs) String(name, def string) string {
	if at := a.Get(name, graph.AttrString); at != nil {
		return string(at.String)
	}
	return def
}

// Word is a string that must be one of allowed; def need not be.
func (a *Attrs) Word(name, def string, allowed ...string) string {
	at := a.Get(name, graph.AttrString)
	if at == nil {
		return def
	}
	w := string(at.String)
	if !slices.Contains(allowed, w) {
		a.Fail("attribute %q is %q, want one of %s", name, w, strings.Join(allowed, ", "))
		return def
	}
	return w
}

// Ints is a list of integers, and whether it is there.
func (a *Attrs) Ints(name string) ([]int64, bool) {
	if at := a.Get(name, graph.AttrInts); at != nil {
		return at.Ints, true
	}
	return nil, false
}

// Extents is a list of integers from low to MaxExtent, nil where it is left out.
func (a *Attrs) Extents(name string, low int64) []int {
	given, ok := a.Ints(name)
	if !ok {
		return nil
	}
	out := make([]int, len(given))
	for i, v := range given {
		if v < low || v > MaxExtent {
			a.Fail("attribute %q is %d, want every number from %d to %d", name, given, low, int64(MaxExtent))
			return nil
		}
		out[i] = int(v)
	}
	return out
}

// Floats is a list of floats, and whether it is there.
func (a *Attrs) Floats(name string) ([]float32, bool) {
	if at := a.Get(name, graph.AttrFloats); at != nil {
		return at.Floats, true
	}
	return nil, false
}

// Strings is a list of strings, and whether it is there.
func (a *Attrs) Strings(name string) ([]string, bool) {
	at := a.Get(name, graph.AttrStrings)
	if at == nil {
		return nil, false
	}
	out := make([]string, len(at.Strings))
	for i, s := range at.Strings {
		out[i] = string(s)
	}
	return out, true
}

// Tensor is a tensor, nil where it is left out.
func (a *Attrs) Tensor(name string) *Tensor {
	at := a.Get(name, graph.AttrTensor)
	if at == nil {
		return nil
	}
	t, err := FromTensor(at.Tensor)
	if err != nil {
		a.Fail("attribute %q: %w", name, err)
		return nil
	}
	return t
}

// DType is one of ONNX's numbers for element types.
func (a *Attrs) DType(name string, def tensor.DType) tensor.DType {
	n := a.Int(name, int64(def))
	d := tensor.DType(n)
	if int64(d) != n || (d != tensor.Undefined && !d.Known()) {
		a.Fail("attribute %q: %d is no element type", name, n)
	}
	return d
}
