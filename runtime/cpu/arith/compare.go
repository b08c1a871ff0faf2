package arith

import (
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// relation is a comparison of two numbers. Less and greater are one relation with its operands exchanged.
type relation uint8

const (
	equal relation = iota
	less
	lessOrEqual
	greater
	greaterOrEqual
)

// compareLoop compares with r; what involves NaN is false.
func compareLoop[T numeric](r relation) func(dst []uint8, a, b []T) {
	switch r {
	case equal:
		return equals[T]
	case less:
		return lesses[T]
	case lessOrEqual:
		return lessEquals[T]
	case greater:
		return func(dst []uint8, a, b []T) { lesses(dst, b, a) }
	}
	return func(dst []uint8, a, b []T) { lessEquals(dst, b, a) }
}

func equals[T numeric](dst []uint8, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = truth(a[i] == b[i])
	}
}

func lesses[T numeric](dst []uint8, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = truth(a[i] < b[i])
	}
}

func lessEquals[T numeric](dst []uint8, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = truth(a[i] <= b[i])
	}
}

// halfCompare is f for a 16-bit float type.
func halfCompare(h half, f func(dst []uint8, a, b []float32)) map2 {
	return run2(func(dst []uint8, a, b []uint16) {
		buf := scratches.Get().(*scratch)
		defer scratches.Put(buf)
		for len(dst) > 0 {
			n := min(chunk, len(dst))
			h.widen(buf.a[:n], a[:n])
			h.widen(buf.b[:n], b[:n])
			f(dst[:n], buf.a[:n], buf.b[:n])
			dst, a, b = dst[n:], a[n:], b[n:]
		}
	})
}

// comparison is the map2 of a relation.
func comparison(r relation, d tensor.DType) map2 {
	switch d {
	case tensor.Float32:
		return run2(compareLoop[float32](r))
	case tensor.Float64:
		return run2(compareLoop[float64](r))
	case tensor.Float16, tensor.BFloat16:
		return halfCompare(halfOf(d), compareLoop[float32](r))
	case tensor.Int8:
		return run2(compareLoop[int8](r))
	case tensor.Int16:
		return run2(compareLoop[int16](r))
	case tensor.Int32:
		return run2(compareLoop[int32](r))
	case tensor.Int64:
		return run2(compareLoop[int64](r))
	case tensor.Uint8:
		return run2(compareLoop[uint8](r))
	case tensor.Uint16:
		return run2(compareLoop[uint16](r))
	case tensor.Uint32:
		return run2(compareLoop[uint32](r))
	case tensor.Uint64:
		return run2(compareLoop[uint64](r))
	case tensor.Bool:
		if r == equal {
			return run2(equals[uint8])
		}
	case tensor.String:
		if r == equal {
			return equalStrings
		}
	}
	return nil
}

func equalStrings(_ *kernel.Pool, p *plan, out, a, b *kernel.Tensor) {
	dst := kernel.Of[uint8](out)
	ab, bb := buffer(p, 0, a.Strings), buffer(p, 1, b.Strings)
	p.ranges(0, p.n, func(lo, hi int) {
		x, y := view(p, 0, a.Strings, lo, hi, ab), view(p, 1, b.Strings, lo, hi, bb)
		for i := range x {
			dst[lo+i] = truth(x[i] == y[i])
		}
	})
}

// comparisons are the operators that compare elements.
func comparisons() kernel.Table {
	make := func(r relation) kernel.Maker {
		return pairs(tensor.Bool, func(d tensor.DType) map2 { return comparison(r, d) })
	}
	return kernel.Table{
		"Equal":          make(equal),
		"Less":           make(less),
		"LessOrEqual":    make(lessOrEqual),
		"Greater":        make(greater),
		"GreaterOrEqual": make(greaterOrEqual),
	}
}
