package arith

import "github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"

// plan says how operands of several shapes are read as one shape. Axes of extent 1 are dropped and axes that lie in memory one after the
// other, in all operands, are joined.
type plan struct {
	n       int   // elements of the result
	dims    []int // joined axes
	inner   int   // the last of dims
	strides [][]int
	modes   []mode
	direct  bool // no operand needs a buffer
}

// mode is how an operand is read.
type mode uint8

const (
	whole  mode = iota // element i belongs to element i of the result
	single             // one element for all
	spread             // anything else
)

// newPlan plans to read arrays of shapes ins as one of shape out.
func newPlan(out []int, ins ...[]int) *plan {
	p := &plan{n: kernel.Count(out), strides: make([][]int, len(ins)), modes: make([]mode, len(ins)), direct: true}
	raw := make([][]int, len(ins))
	for k, in := range ins {
		raw[k] = kernel.BroadcastStrides(in, out)
	}
	for i := len(out) - 1; i >= 0; i-- {
		if out[i] == 1 {
			continue
		}
		joins := len(p.dims) > 0
		if joins {
			first := p.dims[0]
			for k := range ins {
				if raw[k][i] != p.strides[k][0]*first {
					joins = false
					break
				}
			}
		}
		if joins {
			p.dims[0] *= out[i]
			continue
		}
		p.dims = append([]int{out[i]}, p.dims...)
		for k := range ins {
			p.strides[k] = append([]int{raw[k][i]}, p.strides[k]...)
		}
	}
	p.inner = 1
	if len(p.dims) > 0 {
		p.inner = p.dims[len(p.dims)-1]
	}
	for k, in := range ins {
		switch {
		case kernel.Count(in) == p.n:
			p.modes[k] = whole
		case kernel.Count(in) == 1:
			p.modes[k] = single
			p.direct = false
		default:
			p.modes[k] = spread
			p.direct = false
		}
	}
	return p
}

// ranges cuts [lo, hi) into pieces of at most chunk elements. Where rows are long, pieces end with them, so that an operand that
// repeats row by row is read in place.
func (p *plan) ranges(lo, hi int, f func(lo, hi int)) {
	for lo < hi {
		end := min(lo+chunk, hi)
		if p.inner >= chunk/4 {
			end = min(end, lo+p.inner-lo%p.inner)
		}
		f(lo, end)
		lo = end
	}
}

// buffer is what view needs for the operand at k; one that is a single element is spread here once for all views.
func buffer[T any](p *plan, k int, src []T) []T {
	switch p.modes[k] {
	case whole:
		return nil
	case single:
		buf := make([]T, min(chunk, p.n))
		for i := range buf {
			buf[i] = src[0]
		}
		return buf
	}
	return make([]T, min(chunk, p.n))
}

// view is the operand at k for elements [lo, hi) of the result, at most chunk of them: a piece of src, or written to buf.
func view[T any](p *plan, k int, src []T, lo, hi int, buf []T) []T {
	switch p.modes[k] {
	case whole:
		return src[lo:hi]
	case single:
		return buf[:hi-lo]
	}
	strides, last := p.strides[k], len(p.dims)-1
	step := strides[last]
	// The offset of the row that lo lies in, and lo's place in it.
	at, row := lo%p.inner, lo/p.inner
	if step == 1 && at+hi-lo <= p.inner {
		off := p.offset(row, strides) + at
		return src[off : off+hi-lo]
	}
	dst := buf[:hi-lo]
	for len(dst) > 0 {
		n := min(p.inner-at, len(dst))
		off := p.offset(row, strides)
		if step == 1 {
			copy(dst[:n], src[off+at:])
		} else {
			v := src[off]
			for i := range dst[:n] {
				dst[i] = v
			}
		}
		dst, at, row = dst[n:], 0, row+1
	}
	return buf[:hi-lo]
}

// offset is where a row of the result begins in an operand.
func (p *plan) offset(row int, strides []int) int {
	off := 0
	for i := len(p.dims) - 2; i >= 0; i-- {
		if i == 0 {
			return off + row*strides[0]
		}
		d := p.dims[i]
		off += row % d * strides[i]
		row /= d
	}
	return off
}
