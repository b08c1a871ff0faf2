package layout

import (
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// unit is what is moved: elements of one width, whatever they mean, and strings.
type unit interface {
	uint8 | uint16 | uint32 | uint64 | complex128 | string
}

// job is about how many elements one goroutine takes at a time: enough that handing them out costs nothing.
const job = 1 << 14

// width is the bytes of an element, 0 for strings.
func width(t *kernel.Tensor) int {
	if t.DType == tensor.String {
		return 0
	}
	return kernel.ElemSize(t.DType)
}

// move copies n elements that lie side by side.
func move(dst *kernel.Tensor, at int, src *kernel.Tensor, from, n int) {
	w := width(dst)
	if w == 0 {
		copy(dst.Strings[at:at+n], src.Strings[from:from+n])
		return
	}
	copy(dst.Bytes[at*w:(at+n)*w], src.Bytes[from*w:(from+n)*w])
}

// zero makes every element zero, or an empty string.
func zero(t *kernel.Tensor) {
	clear(t.Bytes)
	clear(t.Strings)
}

// fill makes every element of dst the first of src.
func fill(p *kernel.Pool, dst, src *kernel.Tensor) {
	copyStrided(p, dst, 0, []int{1}, src, 0, []int{0}, []int{dst.Len()})
}

// permute writes src, seen in shape, with its axes in the order perm.
func permute(p *kernel.Pool, dst, src *kernel.Tensor, shape, perm []int) {
	from := kernel.Strides(shape)
	n := make([]int, len(perm))
	s := make([]int, len(perm))
	for i, a := range perm {
		n[i], s[i] = shape[a], from[a]
	}
	copyStrided(p, dst, 0, kernel.Strides(n), src, 0, s, n)
}

// walk is two arrays gone through in step: along axis a the position moves by d[a] in one and by s[a] in the other.
type walk struct{ n, d, s []int }

// compact leaves out axes of extent 1 and joins neighbours that lie behind each other in both arrays.
func compact(shape, d, s []int) walk {
	var w walk
	for i, n := range shape {
		if n == 1 {
			continue
		}
		if k := len(w.n) - 1; k >= 0 && w.d[k] == d[i]*n && w.s[k] == s[i]*n {
			w.n[k] *= n
			w.d[k], w.s[k] = d[i], s[i]
			continue
		}
		w.n, w.d, w.s = append(w.n, n), append(w.d, d[i]), append(w.s, s[i])
	}
	if len(w.n) == 0 {
		w = walk{[]int{1}, []int{1}, []int{1}}
	}
	return w
}

// copyStrided copies an array of this shape between two memories. Positions and strides count elements; a source stride may be 0 or
// negative. Every position must lie inside: the callers derive them from checked shapes.
func copyStrided(p *kernel.Pool, dst *kernel.Tensor, dAt int, d []int, src *kernel.Tensor, sAt int, s []int, shape []int) {
	for _, n := range shape {
		if n == 0 {
			return
		}
	}
	w := compact(shape, d, s)
	switch width(dst) {
	case 0:
		copyWalk(p, dst.Strings, src.Strings, dAt, sAt, w)
	case 1:
		copyWalk(p, kernel.Of[uint8](dst), kernel.Of[uint8](src), dAt, sAt, w)
	case 2:
		copyWalk(p, kernel.Of[uint16](dst), kernel.Of[uint16](src), dAt, sAt, w)
	case 4:
		copyWalk(p, kernel.Of[uint32](dst), kernel.Of[uint32](src), dAt, sAt, w)
	case 8:
		copyWalk(p, kernel.Of[uint64](dst), kernel.Of[uint64](src), dAt, sAt, w)
	case 16:
		copyWalk(p, kernel.Of[complex128](dst), kernel.Of[complex128](src), dAt, sAt, w)
	}
}

// position is where an outer index lies in both arrays.
func (w walk) position(i, axes int) (d, s int) {
	for a := axes - 1; a >= 0; a-- {
		k := i % w.n[a]
		i /= w.n[a]
		d += k * w.d[a]
		s += k * w.s[a]
	}
	return d, s
}

func copyWalk[E unit](p *kernel.Pool, dst, src []E, dAt, sAt int, w walk) {
	last := len(w.n) - 1
	n, ds, ss := w.n[last], w.d[last], w.s[last]
	if ds == 1 && ss != 1 && ss != 0 {
		for a := range last {
			if w.s[a] == 1 && w.n[a] >= 4 && n >= 4 {
				turn(p, dst, src, dAt, sAt, w, a)
				return
			}
		}
	}
	outer := 1
	for _, k := range w.n[:last] {
		outer *= k
	}
	p.For(outer, max(1, job/n), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			d, s := w.position(i, last)
			d, s = d+dAt, s+sAt
			switch {
			case ds == 1 && ss == 1:
				copy(dst[d:d+n], src[s:s+n])
			case ds == 1 && ss == 0:
				v, row := src[s], dst[d:d+n]
				for j := range row {
					row[j] = v
				}
			case ds == 1:
				row := dst[d : d+n]
				for j := range row {
					row[j] = src[s]
					s += ss
				}
			default:
				for range n {
					dst[d] = src[s]
					d, s = d+ds, s+ss
				}
			}
		}
	})
}

// tile is the side of the squares that turn works in: 32 rows of 64 bytes fit the first cache level.
const tile = 32

// turn copies where neighbours in the source lie along axis a and neighbours in the destination along the last one. Going through the
// plane in squares keeps every cache line that is read until all of it has been used.
func turn[E unit](p *kernel.Pool, dst, src []E, dAt, sAt int, w walk, a int) {
	last := len(w.n) - 1
	rows, cols, dRow, sCol := w.n[a], w.n[last], w.d[a], w.s[last]
	rest := walk{}
	outer := 1
	for i := range last {
		if i != a {
			rest.n, rest.d, rest.s = append(rest.n, w.n[i]), append(rest.d, w.d[i]), append(rest.s, w.s[i])
			outer *= w.n[i]
		}
	}
	bands := (rows + tile - 1) / tile
	p.For(outer*bands, max(1, job/(tile*cols)), func(lo, hi int) {
		for k := lo; k < hi; k++ {
			d, s := rest.position(k/bands, len(rest.n))
			d, s = d+dAt, s+sAt
			from := k % bands * tile
			to := min(from+tile, rows)
			for j := 0; j < cols; j += tile {
				width := min(tile, cols-j)
				i := from
				for ; i+8 <= to; i += 8 {
					at := d + i*dRow + j
					r0, r1, r2, r3 := dst[at:][:width], dst[at+dRow:][:width], dst[at+2*dRow:][:width], dst[at+3*dRow:][:width]
					at += 4 * dRow
					r4, r5, r6, r7 := dst[at:][:width], dst[at+dRow:][:width], dst[at+2*dRow:][:width], dst[at+3*dRow:][:width]
					at = s + i + j*sCol
					for x := range width {
						v := (*[8]E)(src[at:])
						r0[x], r1[x], r2[x], r3[x] = v[0], v[1], v[2], v[3]
						r4[x], r5[x], r6[x], r7[x] = v[4], v[5], v[6], v[7]
						at += sCol
					}
				}
				for ; i < to; i++ {
					row := dst[d+i*dRow+j:][:width]
					at := s + i + j*sCol
					for x := range row {
						row[x] = src[at]
						at += sCol
					}
				}
			}
		}
	})
}

// pickRuns puts together runs of n elements that lie at these positions of src.
func pickRuns(p *kernel.Pool, dst, src *kernel.Tensor, at []int, n int) {
	if n == 0 || len(at) == 0 {
		return
	}
	w := width(dst)
	switch {
	case w == 0:
		p.For(len(at), max(1, job/n), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				copy(dst.Strings[i*n:(i+1)*n], src.Strings[at[i]:at[i]+n])
			}
		})
	case n == 1 && w == 1:
		pick(p, kernel.Of[uint8](dst), kernel.Of[uint8](src), at)
	case n == 1 && w == 2:
		pick(p, kernel.Of[uint16](dst), kernel.Of[uint16](src), at)
	case n == 1 && w == 4:
		pick(p, kernel.Of[uint32](dst), kernel.Of[uint32](src), at)
	case n == 1 && w == 8:
		pick(p, kernel.Of[uint64](dst), kernel.Of[uint64](src), at)
	default:
		run := n * w
		p.For(len(at), max(1, job/n), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				from := at[i] * w
				copy(dst.Bytes[i*run:(i+1)*run], src.Bytes[from:from+run])
			}
		})
	}
}

func pick[E unit](p *kernel.Pool, dst, src []E, at []int) {
	p.For(len(at), job, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			dst[i] = src[at[i]]
		}
	})
}

// putRuns writes runs of n elements to these positions of dst, in order: of two that meet, the later stays.
func putRuns(dst, src *kernel.Tensor, at []int, n int) {
	w := width(dst)
	if w == 0 {
		for i, a := range at {
			copy(dst.Strings[a:a+n], src.Strings[i*n:(i+1)*n])
		}
		return
	}
	for i, a := range at {
		copy(dst.Bytes[a*w:(a+n)*w], src.Bytes[i*n*w:(i+1)*n*w])
	}
}

// pickGrid writes an array whose element at (i, j, …) is src at table[0][i] + table[1][j] + …. There is at least one table.
func pickGrid(p *kernel.Pool, dst, src *kernel.Tensor, table [][]int) {
	switch width(dst) {
	case 0:
		grid(p, dst.Strings, src.Strings, table)
	case 1:
		grid(p, kernel.Of[uint8](dst), kernel.Of[uint8](src), table)
	case 2:
		grid(p, kernel.Of[uint16](dst), kernel.Of[uint16](src), table)
	case 4:
		grid(p, kernel.Of[uint32](dst), kernel.Of[uint32](src), table)
	case 8:
		grid(p, kernel.Of[uint64](dst), kernel.Of[uint64](src), table)
	case 16:
		grid(p, kernel.Of[complex128](dst), kernel.Of[complex128](src), table)
	}
}

func grid[E unit](p *kernel.Pool, dst, src []E, table [][]int) {
	last := table[len(table)-1]
	outer := 1
	for _, t := range table[:len(table)-1] {
		outer *= len(t)
	}
	if len(last) == 0 {
		return
	}
	p.For(outer, max(1, job/len(last)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			from, k := 0, i
			for a := len(table) - 2; a >= 0; a-- {
				t := table[a]
				from += t[k%len(t)]
				k /= len(t)
			}
			row := dst[i*len(last):][:len(last)]
			for j, off := range last {
				row[j] = src[from+off]
			}
		}
	})
}

// aliases reports whether another input of the call lies in the memory of the one at i, so that it must not be overwritten.
func aliases(c *kernel.Call, i int) bool {
	t := c.Optional(i)
	if t == nil || len(t.Bytes) == 0 {
		return false
	}
	for j := range c.In {
		if o := c.Optional(j); j != i && o != nil && len(o.Bytes) > 0 && &o.Bytes[0] == &t.Bytes[0] {
			return true
		}
	}
	return false
}

// copyOf makes the output at o a copy of the input at i that may be changed: the input itself where nobody else needs it.
func copyOf(c *kernel.Call, o, i int, t *kernel.Tensor) (*kernel.Tensor, error) {
	var out *kernel.Tensor
	var err error
	if aliases(c, i) {
		out, err = c.New(o, t.DType, t.Shape)
	} else {
		out, err = c.Reuse(o, i, t.DType, t.Shape)
	}
	if err != nil {
		return nil, err
	}
	if t.DType == tensor.String || (len(t.Bytes) > 0 && &out.Bytes[0] != &t.Bytes[0]) {
		move(out, 0, t, 0, t.Len())
	}
	return out, nil
}
