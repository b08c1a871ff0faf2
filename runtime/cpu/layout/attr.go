package layout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// reader takes a node's attributes one by one. It keeps the first thing that was wrong, and done also refuses what nobody asked for: an
// attribute that is not understood may change what the operator means.
type reader struct {
	node *graph.Node
	seen []string
	err  error
}

func read(s *kernel.Site) *reader { return &reader{node: s.Node} }

// get is the attribute called name, nil where it is left out.
func (r *reader) get(name string, kind graph.AttributeKind) *graph.Attribute {
	r.seen = append(r.seen, name)
	a := r.node.Attr(name)
	if a != nil && a.Kind != kind {
		r.fail("attribute %q is of kind %d, want %d", name, a.Kind, kind)
		return nil
	}
	return a
}

// skip accepts an attribute that has no influence here.
func (r *reader) skip(names ...string) { r.seen = append(r.seen, names...) }

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *reader) done() error {
	for _, a := range r.node.Attributes {
		if !slices.Contains(r.seen, a.Name) {
			r.fail("attribute %q is not known", a.Name)
		}
	}
	return r.err
}

func (r *reader) has(name string) bool { return r.node.Attr(name) != nil }

func (r *reader) int(name string, def int64) int64 {
	if a := r.get(name, graph.AttrInt); a != nil {
		return a.Int
	}
	return def
}

func (r *reader) flag(name string, def bool) bool {
	if a := r.get(name, graph.AttrInt); a != nil {
		return a.Int != 0
	}
	return def
}

func (r *reader) float(name string, def float32) float32 {
	if a := r.get(name, graph.AttrFloat); a != nil {
		return a.Float
	}
	return def
}

func (r *reader) string(name, def string) string {
	if a := r.get(name, graph.AttrString); a != nil {
		return string(a.String)
	}
	return def
}

// word is a string attribute that must be one of allowed; def need not be.
func (r *reader) word(name, def string, allowed ...string) string {
	a := r.get(name, graph.AttrString)
	if a == nil {
		return def
	}
	if w := string(a.String); slices.Contains(allowed, w) {
		return w
	}
	r.fail("attribute %q is %q, want one of %s", name, a.String, strings.Join(allowed, ", "))
	return def
}

func (r *reader) ints(name string) ([]int64, bool) {
	if a := r.get(name, graph.AttrInts); a != nil {
		return a.Ints, true
	}
	return nil, false
}

func (r *reader) floats(name string) ([]float32, bool) {
	if a := r.get(name, graph.AttrFloats); a != nil {
		return a.Floats, true
	}
	return nil, false
}

func (r *reader) strings(name string) ([]string, bool) {
	a := r.get(name, graph.AttrStrings)
	if a == nil {
		return nil, false
	}
	out := make([]string, len(a.Strings))
	for i, s := range a.Strings {
		out[i] = string(s)
	}
	return out, true
}

// tensor is a tensor attribute in the engine's form, nil where it is left out.
func (r *reader) tensor(name string) *kernel.Tensor {
	a := r.get(name, graph.AttrTensor)
	if a == nil {
		return nil
	}
	t, err := constant(a.Tensor)
	if err != nil {
		r.fail("attribute %q: %w", name, err)
		return nil
	}
	return t
}

// dtype is an attribute that holds one of ONNX's numbers for element types.
func (r *reader) dtype(name string, def tensor.DType) tensor.DType {
	n := r.int(name, int64(def))
	d := tensor.DType(n)
	if int64(d) != n || (d != tensor.Undefined && !d.Known()) {
		r.fail("attribute %q: %d is no element type", name, n)
	}
	return d
}

// constant brings a model's tensor into memory: types narrower than a byte take one each, signed ones with their sign.
func constant(t *tensor.Tensor) (*kernel.Tensor, error) {
	if t == nil {
		return nil, fmt.Errorf("no tensor")
	}
	count, err := t.Shape.Elements()
	if err != nil {
		return nil, err
	}
	shape := make([]int, len(t.Shape))
	for i, d := range t.Shape {
		shape[i] = int(d)
	}
	out := &kernel.Tensor{DType: t.DType, Shape: shape}
	if t.DType == tensor.String {
		if int64(len(t.Strings)) != count {
			return nil, fmt.Errorf("%d strings for shape %s", len(t.Strings), t.Shape)
		}
		out.Strings = make([]string, len(t.Strings))
		for i, s := range t.Strings {
			out.Strings[i] = string(s)
		}
		return out, nil
	}
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	if want, err := t.DType.ByteSize(count); err != nil {
		return nil, err
	} else if int64(len(b)) != want {
		return nil, fmt.Errorf("%d bytes for %s%s, want %d", len(b), t.DType, t.Shape, want)
	}
	bits := t.DType.Bits()
	if bits >= 8 {
		out.Bytes = b
		return out, nil
	}
	out.Bytes = make([]byte, count)
	per := 8 / bits
	mask := byte(1<<bits - 1)
	signed := t.DType == tensor.Int4 || t.DType == tensor.Int2
	for i := range out.Bytes {
		v := b[i/per] >> (i % per * bits) & mask
		if signed {
			v = byte(int8(v<<(8-bits)) >> (8 - bits))
		}
		out.Bytes[i] = v
	}
	return out, nil
}
