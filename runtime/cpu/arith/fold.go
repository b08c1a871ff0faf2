package arith

import (
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// fold joins many elements of type T into one of type R, by way of an accumulator of type A. Its order is fixed by the length of what is
// joined: neither the number of results nor of threads changes a result.
type fold[T, A, R any] struct {
	init A
	row  func(acc A, src []T) A        // joins elements that lie side by side
	col  func(acc []A, src []T)        // joins each element to its own accumulator
	join func(a, b A) A                // joins accumulators, the later one second
	done func(dst []R, acc []A, n int) // results of accumulators that have joined n elements each
}

const (
	// A row is joined in pieces of rowPiece elements, each from init, and the pieces are joined in order.
	rowPiece = 8192
	// Columns are joined in pieces of colPiece rows, colWidth of them at a time.
	colPiece = 4096
	colWidth = 1024
)

// reduction says which axes are joined. Axes of extent 1 are dropped, neighbours of one kind are one axis.
type reduction struct {
	kept, keptStrides     []int // axes that stay, without inner where that stays
	joined, joinedStrides []int // axes that go, without inner where that goes
	inner                 int   // extent of the last axis
	innerJoined           bool
	outs, n               int // results, and elements in each
}

// newReduction reads shape with the axes in gone joined.
func newReduction(shape []int, gone []bool) *reduction {
	r := &reduction{inner: 1, innerJoined: true, outs: 1, n: 1}
	type axis struct {
		extent, stride int
		gone           bool
	}
	var axes []axis
	strides := kernel.Strides(shape)
	for i, d := range shape {
		if gone[i] {
			r.n *= d
		} else {
			r.outs *= d
		}
		switch last := len(axes) - 1; {
		case d == 1:
		case last >= 0 && axes[last].gone == gone[i]:
			axes[last].extent *= d
			axes[last].stride = strides[i]
		default:
			axes = append(axes, axis{d, strides[i], gone[i]})
		}
	}
	if last := len(axes) - 1; last >= 0 {
		r.inner, r.innerJoined = axes[last].extent, axes[last].gone
		axes = axes[:last]
	}
	for _, a := range axes {
		if a.gone {
			r.joined, r.joinedStrides = append(r.joined, a.extent), append(r.joinedStrides, a.stride)
		} else {
			r.kept, r.keptStrides = append(r.kept, a.extent), append(r.keptStrides, a.stride)
		}
	}
	return r
}

// at is the offset of the i-th combination of indices along axes.
func at(i int, extents, strides []int) int {
	off := 0
	for k := len(extents) - 1; k >= 0; k-- {
		off += i % extents[k] * strides[k]
		i /= extents[k]
	}
	return off
}

// reduce folds src into dst.
func reduce[T, A, R any](pool *kernel.Pool, r *reduction, f *fold[T, A, R], dst []R, src []T) {
	switch {
	case r.outs == 0:
	case r.n == 0:
		acc := make([]A, r.outs)
		for i := range acc {
			acc[i] = f.init
		}
		f.done(dst, acc, 0)
	case r.innerJoined:
		reduceRows(pool, r, f, dst, src)
	default:
		reduceCols(pool, r, f, dst, src)
	}
}

// reduceRows folds rows of r.inner elements, one or more for each result.
func reduceRows[T, A, R any](pool *kernel.Pool, r *reduction, f *fold[T, A, R], dst []R, src []T) {
	rows := kernel.Count(r.joined)
	pieces := (r.inner + rowPiece - 1) / rowPiece
	units := rows * pieces // for each result
	piece := func(out, unit int) A {
		off := at(out, r.kept, r.keptStrides) + at(unit/pieces, r.joined, r.joinedStrides)
		lo := unit % pieces * rowPiece
		return f.row(f.init, src[off+lo:off+min(lo+rowPiece, r.inner)])
	}
	if r.outs >= 2*pool.Threads() || r.n <= rowPiece {
		pool.For(r.outs, max(1, grain/r.n), func(lo, hi int) {
			acc := make([]A, hi-lo)
			for i := range acc {
				a := piece(lo+i, 0)
				for u := 1; u < units; u++ {
					a = f.join(a, piece(lo+i, u))
				}
				acc[i] = a
			}
			f.done(dst[lo:hi], acc, r.n)
		})
		return
	}
	// Few results of many elements: the pieces are shared out instead.
	parts := make([]A, r.outs*units)
	pool.For(len(parts), max(1, grain*units/r.n), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			parts[i] = piece(i/units, i%units)
		}
	})
	acc := make([]A, r.outs)
	for i := range acc {
		a := parts[i*units]
		for u := 1; u < units; u++ {
			a = f.join(a, parts[i*units+u])
		}
		acc[i] = a
	}
	f.done(dst, acc, r.n)
}

// reduceCols folds element by element along the axes that go, r.inner results side by side.
func reduceCols[T, A, R any](pool *kernel.Pool, r *reduction, f *fold[T, A, R], dst []R, src []T) {
	rows := r.n
	pieces := (rows + colPiece - 1) / colPiece
	widths := (r.inner + colWidth - 1) / colWidth
	blocks := r.outs / r.inner * widths // of results
	span := func(block int) (first, n, off int) {
		at0, w := block/widths, block%widths*colWidth
		n = min(colWidth, r.inner-w)
		return at0*r.inner + w, n, at(at0, r.kept, r.keptStrides) + w
	}
	sum := func(acc []A, off, piece int) {
		for i := range acc {
			acc[i] = f.init
		}
		for k := piece * colPiece; k < min((piece+1)*colPiece, rows); k++ {
			o := off + at(k, r.joined, r.joinedStrides)
			f.col(acc, src[o:o+len(acc)])
		}
	}
	if pieces == 1 {
		pool.For(blocks, max(1, grain/(rows*min(colWidth, r.inner))), func(lo, hi int) {
			buf := make([]A, min(colWidth, r.inner))
			for b := lo; b < hi; b++ {
				first, n, off := span(b)
				sum(buf[:n], off, 0)
				f.done(dst[first:first+n], buf[:n], rows)
			}
		})
		return
	}
	width := min(colWidth, r.inner)
	parts := make([]A, blocks*pieces*width)
	pool.For(blocks*pieces, 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			_, n, off := span(i / pieces)
			sum(parts[i*width:i*width+n], off, i%pieces)
		}
	})
	for b := range blocks {
		first, n, _ := span(b)
		acc := parts[b*pieces*width:][:n]
		for k := 1; k < pieces; k++ {
			for i, v := range parts[(b*pieces+k)*width:][:n] {
				acc[i] = f.join(acc[i], v)
			}
		}
		f.done(dst[first:first+n], acc, rows)
	}
}

// widenFold is a fold of float32 for a 16-bit float type; the result is rounded once.
func widenFold[A any](h half, f *fold[float32, A, float32]) *fold[uint16, A, uint16] {
	return &fold[uint16, A, uint16]{
		init: f.init,
		join: f.join,
		row: func(acc A, src []uint16) A {
			// Chunk by chunk, where float32 is folded in one go: the sums of the two may differ in what float32 rounds off.
			buf := scratches.Get().(*scratch)
			defer scratches.Put(buf)
			for len(src) > 0 {
				n := min(chunk, len(src))
				h.widen(buf.a[:n], src[:n])
				acc = f.row(acc, buf.a[:n])
				src = src[n:]
			}
			return acc
		},
		col: func(acc []A, src []uint16) {
			buf := scratches.Get().(*scratch)
			defer scratches.Put(buf)
			h.widen(buf.a[:len(src)], src) // at most colWidth
			f.col(acc, buf.a[:len(src)])
		},
		done: func(dst []uint16, acc []A, n int) {
			buf := scratches.Get().(*scratch)
			defer scratches.Put(buf)
			for len(dst) > 0 {
				k := min(chunk, len(dst))
				f.done(buf.a[:k], acc[:k], n)
				h.narrow(dst[:k], buf.a[:k])
				dst, acc = dst[k:], acc[k:]
			}
		},
	}
}
