package specialize

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// What is added to a masked score, or stands in its place: from hidden on its probability is zero in float32 beside a score that is not
// masked, unless scores are thousands apart; from absorbing on it leaves nothing of a score that it is added to.
const (
	hidden    = -1e4
	absorbing = -1e30
)

// masking is one masking of the scores.
type masking struct {
	add    string  // what is added, or
	where  string  // the condition under which a score
	keep   bool    // stays or goes
	masked float64 // the value that it gets then
}

// mask is the joint mask of a match as the operator takes it.
type mask struct {
	causal  bool
	name    string
	boolean bool
	seeing  bool // no query is without a key
}

// mask joins the maskings; nodes that it takes go to before. It is false where the operator cannot mean the same.
func (a *attention) mask(before *[]*graph.Node) (mask, bool) {
	var out mask
	var finite *constantMask // a causal one that does not hide with -Inf
	for _, m := range a.masks {
		c, part := a.constantMask(m), mask{}
		switch {
		case c != nil && c.kind == noMask:
			continue
		case c != nil && c.kind == causalMask:
			if out.causal {
				return out, false
			}
			out.causal = true
			if !math.IsInf(c.masked, -1) {
				finite = c
			}
			continue
		case c != nil:
			part = mask{name: c.array(), boolean: m.where != "", seeing: c.seeing}
		case m.where != "":
			part = a.condition(m, before)
		default:
			part.name = a.fitting(m.add, before)
		}
		if out = a.join(out, part, before); out.name == "" {
			return out, false
		}
	}
	// Where another mask hides all keys up to the query's own position, the keys after it count, unless they are hidden with -Inf.
	if finite != nil && out.name != "" {
		out.causal = false
		out = a.join(out, mask{name: finite.array()}, before)
		return out, out.name != ""
	}
	return out, true
}

// join is the sum of two masks, with no name where there is none.
func (a *attention) join(x, y mask, before *[]*graph.Node) mask {
	if x.name == "" || y.name == "" {
		y.causal = x.causal
		return y
	}
	if x.boolean || y.boolean {
		return mask{}
	}
	x.seeing = false
	x.name = a.once(before, [2]string{x.name, y.name}, func() *graph.Node {
		return a.node("Add", x.name+"/joined", []string{x.name, y.name})
	})
	return x
}

// once makes a node for the first match that asks for it.
func (a *attention) once(before *[]*graph.Node, key [2]string, make func() *graph.Node) string {
	if a.found.joined[key] == "" {
		n := make()
		*before = append(*before, n)
		a.found.joined[key] = n.Outputs[0]
	}
	return a.found.joined[key]
}

// fits reports whether an array may be the operator's mask: what is shorter than the keys would be read otherwise.
func (a *attention) fits(name string) (tensor.Shape, bool) {
	_, s, ok := a.typ(name)
	return s, ok && len(s) > 0 && len(s) <= 4 && s[len(s)-1] == a.keys && !(a.flat && len(s) > 3)
}

// fitting is what is added to the scores with an axis for the heads, "" where it does not fit.
func (a *attention) fitting(name string, before *[]*graph.Node) string {
	s, ok := a.fits(name)
	if !ok {
		return ""
	}
	if !a.flat || len(s) < 3 {
		return name
	}
	return a.once(before, [2]string{name, "heads"}, func() *graph.Node {
		return a.node("Unsqueeze", name+"/head", []string{name, a.fresh(name+"/axis", tensor.Int64s(tensor.Shape{1}, 1))})
	})
}

// condition is a mask out of a condition that is not constant.
func (a *attention) condition(m masking, before *[]*graph.Node) mask {
	if s, ok := a.fits(m.where); !ok || a.flat && len(s) > 2 {
		return mask{}
	}
	switch {
	case math.IsInf(m.masked, -1) && m.keep:
		return mask{name: m.where, boolean: true}
	case math.IsInf(m.masked, -1):
		return mask{boolean: true, name: a.once(before, [2]string{m.where, "not"}, func() *graph.Node {
			return a.node("Not", m.where+"/kept", []string{m.where})
		})}
	case m.masked <= absorbing && a.within == tensor.Float32:
		// A query that sees nothing weighs all keys alike, which a mask of -Inf would not say.
		return mask{name: a.once(before, [2]string{m.where, fmt.Sprint(m.keep, m.masked)}, func() *graph.Node {
			zero, far := a.fresh(m.where+"/zero", tensor.Float32s(tensor.Shape{}, 0)), a.fresh(m.where+"/far", tensor.Float32s(tensor.Shape{}, float32(m.masked)))
			if !m.keep {
				zero, far = far, zero
			}
			return a.node("Where", m.where+"/added", []string{m.where, zero, far})
		})}
	}
	return mask{}
}

// maskKind is what a constant mask does.
type maskKind uint8

const (
	otherMask  maskKind = iota
	noMask              // hides nothing
	causalMask          // hides the keys after the query's own position
)

// constantMask is what is known of a constant mask.
type constantMask struct {
	kind   maskKind
	masked float64       // the largest value that hides
	seeing bool          // no query is without a key, as far as that is known
	array  func() string // the mask as an initializer, of one matrix where that holds for all batches and heads; "" where it cannot be one
}

// constantMask looks at a masking that is constant; nil for one that is not.
func (a *attention) constantMask(m masking) *constantMask {
	name, key := m.add, m.add
	if m.where != "" {
		name = m.where
		key = fmt.Sprint(name, m.keep, m.masked)
	}
	t := a.consts[name]
	if t == nil {
		return nil
	}
	key = fmt.Sprint(key, a.queries, a.keys, a.flat)
	c := a.found.masks[key]
	if c == nil {
		c = a.readMask(name, t, m)
		a.found.masks[key] = c
	}
	return c
}

func (a *attention) readMask(name string, t *tensor.Tensor, m masking) *constantMask {
	nothing := &constantMask{array: func() string { return "" }}
	rank := len(t.Shape)
	b, err := t.Bytes()
	if err != nil || rank == 0 || rank > 4 || t.Shape[rank-1] != a.keys || t.DType.Bits()%8 != 0 || (t.DType == tensor.Bool) != (m.where != "") {
		return nothing
	}
	rows := int64(1)
	if rank > 1 {
		rows = t.Shape[rank-2]
	}
	size := int(rows*a.keys) * t.DType.Bits() / 8
	if size == 0 || len(b) == 0 {
		return nothing
	}
	same := true
	for at := size; at < len(b); at += size {
		same = same && bytes.Equal(b[:size], b[at:at+size])
	}
	var once string
	if !same {
		if m.where != "" || a.flat && rank > 2 {
			return nothing
		}
		return &constantMask{array: func() string { return name }}
	}
	matrix := &tensor.Tensor{DType: t.DType, Shape: tensor.Shape{rows, a.keys}, Data: tensor.Bytes(b[:size:size])}
	if m.where != "" {
		matrix = hiding(matrix, m)
	}
	array := func() string {
		switch {
		case once != "":
		case m.where == "" && (size == len(b) && rank <= 2 || size == len(b) && !a.flat):
			once = name
		default:
			matrix.Data = tensor.Bytes(bytes.Clone(matrix.Data.(tensor.Bytes)))
			once = a.fresh(name+"/matrix", matrix)
		}
		return once
	}
	c := &constantMask{array: array}
	c.kind, c.masked = kindOf(matrix, rows == a.queries && a.queries == a.keys)
	if m.where == "" || c.kind == noMask {
		return c
	}
	if m.masked > hidden {
		return nothing
	}
	if c.masked = m.masked; c.kind == causalMask {
		return c
	}
	// A row that hides everything: as in condition.
	full := make([]byte, a.keys)
	hides := false
	for r := range int(rows) {
		hides = hides || bytes.Equal(matrix.Data.(tensor.Bytes)[r*int(a.keys):][:a.keys], full)
	}
	c.seeing = !hides
	if hides && !math.IsInf(m.masked, -1) {
		return nothing
	}
	return c
}

// hiding is a condition as one that says what is looked at.
func hiding(t *tensor.Tensor, m masking) *tensor.Tensor {
	b := bytes.Clone(t.Data.(tensor.Bytes))
	for i, x := range b {
		b[i] = 0
		if (x != 0) == m.keep {
			b[i] = 1
		}
	}
	return &tensor.Tensor{DType: tensor.Bool, Shape: t.Shape, Data: tensor.Bytes(b)}
}

// kindOf looks at a matrix of booleans, which say what is looked at, or of numbers that are added. Only a square one is causal. Matrices are as
// large as the square of a sequence, so rows are compared as bytes.
func kindOf(t *tensor.Tensor, square bool) (maskKind, float64) {
	at := reader(t)
	if at == nil {
		return otherMask, 0
	}
	b, width := []byte(t.Data.(tensor.Bytes)), t.DType.Bits()/8
	rows, keys := int(t.Shape[0]), int(t.Shape[1])
	seen := make([]byte, keys*width)
	if t.DType == tensor.Bool {
		seen = bytes.Repeat([]byte{1}, keys)
	}
	none, causal, masked := true, square, math.Inf(-1)
	for r := range rows {
		row := b[r*keys*width:][:keys*width]
		none = none && bytes.Equal(row, seen)
		if past := (r + 1) * width; causal {
			causal = bytes.Equal(row[:past], seen[:past])
			for c := r + 1; c < keys && causal; c++ {
				x := at(r*keys + c)
				masked = max(masked, x)
				causal = x <= hidden
				if bytes.Equal(row[c*width:len(row)-width], row[(c+1)*width:]) {
					break // all that follows is the same
				}
			}
		}
		if !none && !causal {
			return otherMask, 0
		}
	}
	if none {
		return noMask, 0
	}
	return causalMask, masked
}

// reader gives the elements of a mask as what they add to a score; nil for a type that is no mask's.
func reader(t *tensor.Tensor) func(i int) float64 {
	b := []byte(t.Data.(tensor.Bytes))
	switch t.DType {
	case tensor.Bool:
		return func(i int) float64 {
			if b[i] != 0 {
				return 0
			}
			return math.Inf(-1)
		}
	case tensor.Float32:
		return func(i int) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))) }
	case tensor.Float16:
		return func(i int) float64 { return fromFloat16(binary.LittleEndian.Uint16(b[2*i:])) }
	case tensor.BFloat16:
		return func(i int) float64 { return fromBFloat16(binary.LittleEndian.Uint16(b[2*i:])) }
	}
	return nil
}
