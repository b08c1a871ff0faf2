package linear

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// einsum is an equation: labels of each operand's axes and of the result's. An ellipsis stands as label dots.
type einsum struct {
	in  [][]int
	out []int
}

// dots is an ellipsis; the axes it stands for are labelled dots-1 for the last, dots-2 for the one before it, and so on.
const dots = -1

// newEinsum parses an equation such as "...ij,...jk->...ik". Without an arrow the result has the ellipsis, then the labels that occur
// once, in alphabetical order (capitals first).
func newEinsum(equation string) (*einsum, error) {
	left, right, arrow := strings.Cut(strings.ReplaceAll(equation, " ", ""), "->")
	e := &einsum{}
	seen := map[int]int{}
	for term := range strings.SplitSeq(left, ",") {
		labels, err := parseTerm(equation, term)
		if err != nil {
			return nil, err
		}
		for _, l := range labels {
			seen[l]++
		}
		e.in = append(e.in, labels)
	}
	if arrow {
		labels, err := parseTerm(equation, right)
		if err != nil {
			return nil, err
		}
		for i, l := range labels {
			if l != dots && seen[l] == 0 || slices.Contains(labels[:i], l) {
				return nil, fmt.Errorf("equation %q: label %q of the result is not in the operands, or twice in the result", equation, string(rune(l)))
			}
		}
		e.out = labels
		return e, nil
	}
	if seen[dots] > 0 {
		e.out = append(e.out, dots)
	}
	for l := 'A'; l <= 'z'; l++ {
		if seen[int(l)] == 1 {
			e.out = append(e.out, int(l))
		}
	}
	return e, nil
}

func parseTerm(equation, term string) ([]int, error) {
	var labels []int
	for i := 0; i < len(term); i++ {
		switch b := term[i]; {
		case b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z':
			labels = append(labels, int(b))
		case strings.HasPrefix(term[i:], "...") && !slices.Contains(labels, dots):
			labels = append(labels, dots)
			i += 2
		default:
			return nil, fmt.Errorf("equation %q: %q is not a term", equation, term)
		}
	}
	return labels, nil
}

// strided is an array read through one stride for each label. Labels occur once.
type strided[T gemm.Number] struct {
	data    []T
	labels  []int
	dims    []int
	strides []int
}

func (s *strided[T]) find(label int) int { return slices.Index(s.labels, label) }

// spread replaces an ellipsis by rank labels.
func spread(labels []int, rank int) []int {
	i := slices.Index(labels, dots)
	if i < 0 {
		return labels
	}
	v := slices.Clone(labels[:i])
	for axis := range rank {
		v = append(v, dots-rank+axis)
	}
	return append(v, labels[i+1:]...)
}

// Einsum's operator.
func newEinsumFunc(s *kernel.Site) (kernel.Func, error) {
	if err := known(s, "equation"); err != nil {
		return nil, err
	}
	e, err := newEinsum(s.Node.AttrString("equation", ""))
	if err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		in := make([]*kernel.Tensor, len(e.in))
		if len(c.In) != len(e.in) {
			return fmt.Errorf("%d operands for an equation of %d", len(c.In), len(e.in))
		}
		for i := range in {
			if in[i], err = c.Tensor(i); err != nil {
				return err
			}
			if in[i].DType != in[0].DType {
				return fmt.Errorf("operands are %s and %s, want one type", in[0], in[i])
			}
		}
		return e.run(c, in)
	}, nil
}

func (e *einsum) run(c *kernel.Call, in []*kernel.Tensor) error {
	switch d := in[0].DType; d {
	case tensor.Float32:
		return contract[float32](e, c, in)
	case tensor.Float64:
		return contract[float64](e, c, in)
	case tensor.Int8:
		return contract[int8](e, c, in)
	case tensor.Int16:
		return contract[int16](e, c, in)
	case tensor.Int32:
		return contract[int32](e, c, in)
	case tensor.Int64:
		return contract[int64](e, c, in)
	case tensor.Uint8:
		return contract[uint8](e, c, in)
	case tensor.Uint16:
		return contract[uint16](e, c, in)
	case tensor.Uint32:
		return contract[uint32](e, c, in)
	case tensor.Uint64:
		return contract[uint64](e, c, in)
	case tensor.Float16, tensor.BFloat16:
		// In float32, rounded once.
		wide := make([]*kernel.Tensor, len(in))
		for i, t := range in {
			v, err := floats(t)
			if err != nil {
				return err
			}
			wide[i] = kernel.FromSlice(tensor.Float32, t.Shape, v)
		}
		inner := *c
		inner.Out = make([]kernel.Value, 1)
		if err := contract[float32](e, &inner, wide); err != nil {
			return err
		}
		t := inner.Out[0].(*kernel.Tensor)
		defer kernel.Release(t)
		out, err := c.New(0, d, t.Shape)
		if err != nil {
			return err
		}
		if d == tensor.Float16 {
			float8.NarrowFloat16(kernel.Of[uint16](out), kernel.Of[float32](t))
		} else {
			float8.NarrowBFloat16(kernel.Of[uint16](out), kernel.Of[float32](t))
		}
		return nil
	default:
		return fmt.Errorf("elements of type %s are not multiplied", d)
	}
}

type element interface {
	gemm.Number
	kernel.Elem
}

// contract joins the operands from left to right.
func contract[T element](e *einsum, c *kernel.Call, in []*kernel.Tensor) error {
	rank := 0 // of the ellipsis
	for i, t := range in {
		letters, has := len(e.in[i]), slices.Contains(e.in[i], dots)
		if has {
			letters--
			rank = max(rank, len(t.Shape)-letters)
		}
		if len(t.Shape) < letters || !has && len(t.Shape) > letters {
			return fmt.Errorf("operand %d is %s, and the equation gives it %d axes", i, t, letters)
		}
	}
	sizes := map[int]int{}
	labels := make([][]int, len(in))
	for i, t := range in {
		labels[i] = spread(e.in[i], len(t.Shape)-len(e.in[i])+1)
		for axis, l := range labels[i] {
			size, seen := sizes[l]
			switch d := t.Shape[axis]; {
			case !seen || size == 1:
				sizes[l] = d
			case d != 1 && d != size:
				return fmt.Errorf("operand %d is %s: axis %d has %d elements, and %d elsewhere in the equation", i, t, axis, d, size)
			}
		}
	}
	out := spread(e.out, rank)
	shape := make([]int, len(out))
	for i, l := range out {
		size, ok := sizes[l]
		if !ok {
			return fmt.Errorf("the result has an ellipsis of %d axes, and the operands have not", rank)
		}
		shape[i] = size
	}
	y, err := c.New(0, in[0].DType, shape)
	if err != nil {
		return err
	}
	var acc strided[T]
	for i, t := range in {
		v := strided[T]{data: kernel.Of[T](t)}
		for axis, stride := range kernel.Strides(t.Shape) {
			l := labels[i][axis]
			if t.Shape[axis] != sizes[l] {
				continue // broadcast
			}
			if at := v.find(l); at >= 0 {
				v.strides[at] += stride // a diagonal
				continue
			}
			v.labels, v.dims, v.strides = append(v.labels, l), append(v.dims, t.Shape[axis]), append(v.strides, stride)
		}
		if i == 0 {
			acc = v
			continue
		}
		keep := slices.Clone(out)
		for _, later := range labels[i+1:] {
			keep = append(keep, later...)
		}
		acc = multiply(c.Pool, acc, v, keep)
	}
	return finishEinsum(acc, out, sizes, kernel.Of[T](y))
}

// finishEinsum sums what is not in the result and brings the rest in its order.
func finishEinsum[T element](acc strided[T], out []int, sizes map[int]int, y []T) error {
	if len(y) == 0 {
		return nil
	}
	dims, strides := make([]int, len(out)), make([]int, len(out))
	for i, l := range out {
		dims[i] = sizes[l]
		if at := acc.find(l); at >= 0 {
			strides[i] = acc.strides[at]
		}
	}
	var sumDims, sumStrides []int
	for i, l := range acc.labels {
		if !slices.Contains(out, l) {
			sumDims, sumStrides = append(sumDims, acc.dims[i]), append(sumStrides, acc.strides[i])
		}
	}
	gather(y, acc.data, dims, strides, sumDims, sumStrides)
	return nil
}

// gather writes the elements of src that dims and strides reach, in order; of each the sum over sumDims.
func gather[T gemm.Number](dst, src []T, dims, strides, sumDims, sumStrides []int) {
	i := 0
	if last := len(dims) - 1; len(sumDims) == 0 && last >= 0 {
		n, step := dims[last], strides[last]
		walk(dims[:last], strides[:last], 0, func(at int) {
			for j := range dst[i : i+n] {
				dst[i+j] = src[at+j*step]
			}
			i += n
		})
		return
	}
	walk(dims, strides, 0, func(at int) {
		var sum T
		walk(sumDims, sumStrides, at, func(at int) { sum += src[at] })
		dst[i] = sum
		i++
	})
}

// walk calls f for every place, the last axis fastest.
func walk(dims, strides []int, at int, f func(at int)) {
	if len(dims) == 0 {
		f(at)
		return
	}
	for range dims[0] {
		walk(dims[1:], strides[1:], at, f)
		at += strides[0]
	}
}

// dense is s with its labels in this order, without gaps; labels that are not among them are summed.
func (s strided[T]) dense(order []int) strided[T] {
	d := strided[T]{labels: order, dims: make([]int, len(order)), strides: make([]int, len(order))}
	from := make([]int, len(order))
	n := 1
	for i := len(order) - 1; i >= 0; i-- {
		at := s.find(order[i])
		d.dims[i], d.strides[i], from[i] = s.dims[at], n, s.strides[at]
		n *= s.dims[at]
	}
	var sumDims, sumStrides []int
	for i, l := range s.labels {
		if !slices.Contains(order, l) {
			sumDims, sumStrides = append(sumDims, s.dims[i]), append(sumStrides, s.strides[i])
		}
	}
	if len(sumDims) == 0 && slices.Equal(from, d.strides) {
		d.data = s.data
		return d
	}
	d.data = make([]T, n)
	if n > 0 {
		gather(d.data, s.data, d.dims, from, sumDims, sumStrides)
	}
	return d
}

// multiply joins two operands into one that has the labels of both that are kept: a batch of matrix products.
func multiply[T element](w gemm.Workers, a, b strided[T], keep []int) strided[T] {
	var both, left, right, sum []int
	size := func(s strided[T], labels []int) int {
		n := 1
		for _, l := range labels {
			n *= s.dims[s.find(l)]
		}
		return n
	}
	for _, l := range a.labels {
		switch kept, shared := slices.Contains(keep, l), b.find(l) >= 0; {
		case kept && shared:
			both = append(both, l)
		case kept:
			left = append(left, l)
		case shared:
			sum = append(sum, l)
		}
	}
	for _, l := range b.labels {
		if slices.Contains(keep, l) && a.find(l) < 0 {
			right = append(right, l)
		}
	}
	batch, m, k, n := size(a, both), size(a, left), size(a, sum), size(b, right)
	x, y := a.matrix(both, left, sum), b.matrix(both, sum, right)
	out := strided[T]{labels: slices.Concat(both, left, right), data: make([]T, batch*m*n)}
	for _, l := range out.labels {
		if at := a.find(l); at >= 0 {
			out.dims = append(out.dims, a.dims[at])
		} else {
			out.dims = append(out.dims, b.dims[b.find(l)])
		}
	}
	out.strides = kernel.Strides(out.dims)
	if len(out.data) > 0 {
		products(w, batch, m, n, k, x, y, out.data)
	}
	return out
}

// step is the stride of several labels read as one axis; false where they do not lie like one.
func (s *strided[T]) step(labels []int) (stride int, ok bool) {
	if len(labels) == 0 {
		return 1, true
	}
	at := s.find(labels[len(labels)-1])
	stride, n := s.strides[at], s.dims[at]
	for i := len(labels) - 2; i >= 0; i-- {
		at := s.find(labels[i])
		if s.strides[at] != stride*n {
			return 0, false
		}
		n *= s.dims[at]
	}
	return stride, true
}

// matrix is s as a batch of matrices: where it lies, if one stride leads along the rows and one along the columns, else copied. Labels that are
// not named are summed.
func (s strided[T]) matrix(batch, rows, cols []int) gemm.Matrix[T] {
	rowStride, rowsOK := s.step(rows)
	colStride, colsOK := s.step(cols)
	if !rowsOK || !colsOK || len(s.labels) > len(batch)+len(rows)+len(cols) {
		s = s.dense(slices.Concat(batch, rows, cols))
		rowStride, _ = s.step(rows)
		colStride, _ = s.step(cols)
	}
	m := gemm.Matrix[T]{Data: s.data, RowStride: rowStride, ColStride: colStride}
	dims, strides := make([]int, len(batch)), make([]int, len(batch))
	for i, l := range batch {
		at := s.find(l)
		dims[i], strides[i] = s.dims[at], s.strides[at]
	}
	walk(dims, strides, 0, func(at int) { m.Offsets = append(m.Offsets, at) })
	return m
}

// products multiplies a batch of matrices into dense ones.
func products[T element](w gemm.Workers, batch, m, n, k int, a, b gemm.Matrix[T], c []T) {
	out := gemm.Matrix[T]{Data: c, RowStride: n, ColStride: 1, Offsets: make([]int, batch)}
	for i := range out.Offsets {
		out.Offsets[i] = i * m * n
	}
	x, ok := any(a).(gemm.Matrix[float32])
	if !ok {
		gemm.Generic(w, batch, m, n, k, a, b, out)
		return
	}
	y := any(b).(gemm.Matrix[float32])
	gemm.Run(w, &gemm.Problem{M: m, N: n, K: k, Batch: batch,
		A: gemm.Operand{DType: tensor.Float32, Bytes: bytesOf(x.Data), RowStride: x.RowStride, ColStride: x.ColStride, Offsets: x.Offsets},
		B: gemm.Operand{DType: tensor.Float32, Bytes: bytesOf(y.Data), RowStride: y.RowStride, ColStride: y.ColStride, Offsets: y.Offsets},
		C: gemm.Output{DType: tensor.Float32, Bytes: bytesOf(c), RowStride: n, Offsets: out.Offsets}})
}

func bytesOf[T any](v []T) []byte {
	var z T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(z)))
}
