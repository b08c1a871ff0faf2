package shape

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// fact is what is known of one value. The zero fact says nothing.
type fact struct {
	other bool // not a dense tensor
	elem  elemType
	ext   extent
	vals  []scalar // the content, where it is an integer or boolean scalar or short vector; nil where unknown
}

// elemType is an element type; sure when it follows from constants and operator definitions and not from a declaration.
type elemType struct {
	dtype tensor.DType
	sure  bool
}

// extent is a rank and its axes.
type extent struct {
	ranked bool
	dims   []graph.Dim
	sure   certainty
}

// certainty says which part of an extent follows from constants and operator definitions alone, without any declaration.
type certainty uint8

const (
	sureNothing certainty = iota
	sureRank
	sureDims // and the rank
)

// scalar is one element of a small tensor: an integer, a named extent, or unknown.
type scalar struct {
	known bool
	value int64
	param string
}

var (
	anyDim  = graph.Dim{Value: -1}
	scalar0 = extent{ranked: true, dims: []graph.Dim{}, sure: sureDims}
)

// sureElem is an element type that an operator's definition fixes.
func sureElem(d tensor.DType) elemType { return elemType{d, d != tensor.Undefined} }

// fixed is the extent of a constant.
func fixed(s tensor.Shape) extent {
	dims := make([]graph.Dim, len(s))
	for i, v := range s {
		dims[i] = graph.Dim{Value: max(v, -1)}
	}
	return extent{ranked: true, dims: dims, sure: sureDims}
}

// ofRank is an extent of which only the rank is known.
func ofRank(n int, sure certainty) extent {
	if n < 0 {
		return extent{}
	}
	dims := make([]graph.Dim, n)
	for i := range dims {
		dims[i] = anyDim
	}
	return extent{ranked: true, dims: dims, sure: sure}
}

// with is the extent with axis i replaced.
func (e extent) with(i int, d graph.Dim) extent {
	e.dims = append([]graph.Dim{}, e.dims...)
	e.dims[i] = d
	return e
}

// vague is the extent with no axis known.
func (e extent) vague() extent {
	if !e.ranked {
		return extent{}
	}
	return ofRank(len(e.dims), e.sure)
}

// axis makes a possibly negative axis of an array of rank n positive; false when it is out of range.
func axis(a int64, n int) (int, bool) {
	if a < 0 {
		a += int64(n)
	}
	return int(a), a >= 0 && a < int64(n)
}

// ints is the content when every element is a known integer.
func (f fact) ints() ([]int64, bool) {
	if f.vals == nil {
		return nil, false
	}
	out := make([]int64, len(f.vals))
	for i, v := range f.vals {
		if !v.known {
			return nil, false
		}
		out[i] = v.value
	}
	return out, true
}

// length is the number of elements of a vector where it is fixed.
func (f fact) length() (int, bool) {
	if f.ext.ranked && len(f.ext.dims) == 1 && f.ext.dims[0].Value >= 0 && f.ext.dims[0].Value <= maxRank {
		return int(f.ext.dims[0].Value), true
	}
	return 0, false
}

// maxRank bounds ranks that a file can ask for by a number.
const maxRank = 1 << 10

// declared is a fact out of a type that the file gives.
func declared(t *graph.Type) fact {
	if t == nil {
		return fact{}
	}
	if t.Kind != graph.TensorKind {
		return fact{other: true}
	}
	f := fact{elem: elemType{dtype: t.DType}}
	if t.HasShape {
		f.ext = extent{ranked: true, dims: make([]graph.Dim, len(t.Shape))}
		for i, d := range t.Shape {
			if d.Value >= 0 {
				f.ext.dims[i] = graph.Dim{Value: d.Value}
			} else {
				f.ext.dims[i] = graph.Dim{Value: -1, Param: d.Param}
			}
		}
	}
	return f
}

// merge joins what was inferred with what the file declares for the same value.
func merge(inferred, decl fact) fact {
	if inferred.other || decl.other {
		return fact{other: true}
	}
	out := inferred
	switch a, b := inferred.elem, decl.elem; {
	case a.dtype == tensor.Undefined:
		out.elem = b
	case b.dtype != tensor.Undefined && a.dtype != b.dtype && !a.sure:
		out.elem = elemType{}
	}
	switch a, b := inferred.ext, decl.ext; {
	case !b.ranked:
	case !a.ranked:
		out.ext = b
	case len(a.dims) != len(b.dims):
		if a.sure == sureNothing {
			out.ext = extent{}
		}
	default:
		dims := make([]graph.Dim, len(a.dims))
		for i := range dims {
			dims[i] = mergeDim(a.dims[i], b.dims[i], a.sure == sureDims)
		}
		out.ext.dims = dims
		// Axes that only the declaration knows are no more than declared.
		if a.sure == sureDims && !sameDims(dims, a.dims) {
			out.ext.sure = sureRank
		}
	}
	return out
}

func mergeDim(inferred, decl graph.Dim, sure bool) graph.Dim {
	switch {
	case inferred.Value >= 0 && decl.Value >= 0 && inferred.Value != decl.Value && !sure:
		return anyDim
	case inferred.Value >= 0:
		return inferred
	case decl.Value >= 0:
		return decl
	case inferred.Param != "":
		return inferred
	}
	return decl
}

func sameDims(a, b []graph.Dim) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// either is what holds of a value that is a or b, as after an If.
func either(a, b fact) fact {
	var out fact
	if a.other || b.other {
		return fact{other: a.other && b.other}
	}
	if a.elem.dtype == b.elem.dtype {
		out.elem = elemType{a.elem.dtype, a.elem.sure && b.elem.sure}
	}
	if a.ext.ranked && b.ext.ranked && len(a.ext.dims) == len(b.ext.dims) {
		out.ext = ofRank(len(a.ext.dims), min(a.ext.sure, b.ext.sure))
		out.ext.sure = min(a.ext.sure, b.ext.sure)
		for i, d := range a.ext.dims {
			if d == b.ext.dims[i] {
				out.ext.dims[i] = d
			}
		}
	}
	if len(a.vals) == len(b.vals) && a.vals != nil {
		out.vals = make([]scalar, len(a.vals))
		for i, v := range a.vals {
			if v == b.vals[i] {
				out.vals[i] = v
			}
		}
	}
	return out
}

// broadcast is the extent of two operands under ONNX's (numpy's) broadcasting.
func broadcast(a, b extent) extent {
	if !a.ranked || !b.ranked {
		return extent{}
	}
	if len(a.dims) < len(b.dims) {
		a, b = b, a
	}
	out := extent{ranked: true, dims: append([]graph.Dim{}, a.dims...), sure: min(a.sure, b.sure)}
	off := len(a.dims) - len(b.dims)
	for i, d := range b.dims {
		out.dims[off+i] = broadcastDim(a.dims[off+i], d)
	}
	return out
}

func broadcastDim(a, b graph.Dim) graph.Dim {
	switch {
	case a == b || b.Value == 1:
		return a
	case a.Value == 1:
		return b
	// A fixed extent other than 1 stays, whatever the other is: it can only be equal or 1.
	case a.Value >= 0 && b.Value < 0:
		return a
	case b.Value >= 0 && a.Value < 0:
		return b
	}
	return anyDim
}
