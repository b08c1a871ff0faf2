package specialize

import (
	"bytes"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// largeConstant is the number of bytes from which it is worth looking whether a constant repeats itself.
const largeConstant = 16 << 20

// elementwise are operators whose result follows, element by element, from operands that broadcast.
var elementwise = map[string]bool{"Add": true, "Sub": true, "Mul": true, "Div": true, "And": true, "Or": true, "Xor": true, "Not": true,
	"Where": true, "Equal": true, "Less": true, "LessOrEqual": true, "Greater": true, "GreaterOrEqual": true, "Cast": true, "Neg": true}

// compact leaves one of the equal parts of a large computed constant, such as the mask of each batch, where all that reads it broadcasts, so
// that in the end the result is the same.
func (w *work) compact() bool {
	changed := false
	for _, i := range w.g.Initializers {
		t := i.Tensor
		if w.weights[t] || w.compacted[t] || t.Size() < largeConstant || t.DType.Bits()%8 != 0 {
			continue
		}
		w.compacted[t] = true
		b, err := t.Bytes()
		if err != nil {
			continue
		}
		s := t.Shape.Clone()
		for a := range s {
			if s[a] > 1 {
				n := len(b) / int(s[a])
				for at := n; n > 0 && at < len(b); at += n {
					if !bytes.Equal(b[:n], b[at:at+n]) {
						n = 0
					}
				}
				if n == 0 {
					break
				}
				b, s[a] = b[:n], 1
			}
		}
		if s.Equal(t.Shape) || !w.broadcasts(i.Name, s, 0) {
			continue
		}
		i.Tensor = &tensor.Tensor{DType: t.DType, Shape: s, Data: tensor.Bytes(bytes.Clone(b))}
		w.consts[i.Name] = i.Tensor
		w.compacted[i.Tensor] = true
		changed = true
	}
	return changed
}

// broadcasts reports whether a value may have shape s, of ones in places, and nobody would see it in the end.
func (w *work) broadcasts(name string, s tensor.Shape, depth int) bool {
	if depth > 8 || slices.ContainsFunc(w.g.Outputs, func(v *graph.Value) bool { return v.Name == name }) {
		return false
	}
	for _, n := range w.g.Nodes {
		if !slices.Contains(reads(n), name) {
			continue
		}
		if !elementwise[n.OpType] || graph.CanonicalDomain(n.Domain) != "" || len(n.Outputs) != 1 {
			return false
		}
		out := s
		for _, in := range n.Inputs {
			if in == name {
				continue
			}
			t, ok := w.fixedType(in)
			if !ok {
				return false
			}
			if out, ok = joint(out, extents(t)); !ok {
				return false
			}
		}
		t, ok := w.fixedType(n.Output(0))
		if !ok || !out.Equal(extents(t)) && (len(out) != len(t.Shape) || !w.broadcasts(n.Output(0), out, depth+1)) {
			return false
		}
	}
	return true
}

// joint is the shape that two operands broadcast to.
func joint(a, b tensor.Shape) (tensor.Shape, bool) {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := a.Clone()
	for i, n := range b {
		at := &out[len(a)-len(b)+i]
		switch {
		case *at == 1:
			*at = n
		case n != 1 && n != *at:
			return nil, false
		}
	}
	return out, true
}
