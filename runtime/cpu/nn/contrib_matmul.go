package nn

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// fusedMatMul is the attributes of com.microsoft.FusedMatMul.
type fusedMatMul struct {
	alpha          float32
	transA, transB bool
	batchA, batchB bool // the first axis stands where the rows belong, behind the batch
}

// makeFusedMatMul is com.microsoft.FusedMatMul: alpha·A·B, each side turned around first.
func makeFusedMatMul(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	o := fusedMatMul{alpha: a.Float("alpha", 1), transA: a.Bit("transA", false), transB: a.Bit("transB", false),
		batchA: a.Bit("transBatchA", false), batchB: a.Bit("transBatchB", false)}
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return fusedProduct(w, &o) },
			func(w *work[float64]) error { return fusedProduct(w, &o) })
	}, nil
}

// batched is a side of the product: matrices [rows, cols] with strides, in a batch of any shape.
type batched[F real] struct {
	matrix[F]
	rows, cols    int
	shape, stride []int // of the batch
	vector        bool  // one axis was added
}

// readBatched reads the input at i.
func readBatched[F real](w *work[F], i int, transpose, batch bool) (*batched[F], error) {
	t, v, err := w.in(i)
	if err != nil {
		return nil, err
	}
	shape, stride := append([]int(nil), t.Shape...), kernel.Strides(t.Shape)
	b := &batched[F]{}
	switch {
	case len(shape) == 0:
		return nil, fmt.Errorf("input %d is a scalar", i)
	case len(shape) == 1:
		b.vector, transpose, batch = true, false, false
		if i == 0 {
			shape, stride = []int{1, shape[0]}, []int{shape[0], 1}
		} else {
			shape, stride = []int{shape[0], 1}, []int{1, 1}
		}
	}
	n := len(shape)
	if batch && n > 2 {
		for _, l := range [][]int{shape, stride} {
			first := l[0]
			copy(l, l[1:n-1])
			l[n-2] = first
		}
	}
	if transpose {
		shape[n-1], shape[n-2] = shape[n-2], shape[n-1]
		stride[n-1], stride[n-2] = stride[n-2], stride[n-1]
	}
	b.rows, b.cols = shape[n-2], shape[n-1]
	b.matrix = matrix[F]{v, stride[n-2], stride[n-1]}
	b.shape, b.stride = shape[:n-2], stride[:n-2]
	return b, nil
}

// offsets are where the matrices of a batch of shape out begin.
func (b *batched[F]) offsets(out []int) []int {
	o := make([]int, kernel.Count(out))
	lead := len(out) - len(b.shape)
	for i := range o {
		rest := i
		for k := len(out) - 1; k >= lead; k-- {
			if b.shape[k-lead] != 1 {
				o[i] += rest % out[k] * b.stride[k-lead]
			}
			rest /= out[k]
		}
	}
	return o
}

func fusedProduct[F real](w *work[F], o *fusedMatMul) error {
	a, err := readBatched(w, 0, o.transA, o.batchA)
	if err != nil {
		return err
	}
	b, err := readBatched(w, 1, o.transB, o.batchB)
	if err != nil {
		return err
	}
	if a.cols != b.rows {
		return fmt.Errorf("a product of [%d,%d] and [%d,%d]", a.rows, a.cols, b.rows, b.cols)
	}
	batch, err := kernel.Broadcast(a.shape, b.shape)
	if err != nil {
		return err
	}
	shape := append([]int(nil), batch...)
	if !a.vector {
		shape = append(shape, a.rows)
	}
	if !b.vector {
		shape = append(shape, b.cols)
	}
	xt, err := w.Tensor(0)
	if err != nil {
		return err
	}
	y, err := w.out(0, xt.DType, shape)
	if err != nil {
		return err
	}
	fromA, fromB := a.offsets(batch), b.offsets(batch)
	size := a.rows * b.cols
	if y32, ok := any(y).([]float32); ok {
		p := gemm.Problem{M: a.rows, N: b.cols, K: a.cols, Batch: len(fromA), A: operand(a.matrix), B: operand(b.matrix),
			C: gemm.Output{DType: tensor.Float32, Bytes: bytesOf(y32), RowStride: b.cols, Offsets: make([]int, len(fromA))}}
		for i := range fromA {
			p.C.Offsets[i] = i * size
		}
		p.A.Offsets, p.B.Offsets = fromA, fromB
		if o.alpha != 1 {
			p.Scale = []float32{o.alpha}
		}
		if len(fromA) > 0 {
			gemm.Run(w.Pool, &p)
		}
		return nil
	}
	for i := range fromA {
		left, right := a.matrix, b.matrix
		left.data, right.data = left.data[fromA[i]:], right.data[fromB[i]:]
		out := y[i*size:][:size]
		multiply(w.Pool, a.rows, b.cols, a.cols, left, factor[F]{matrix: right}, out, b.cols, nil)
		for j := range out {
			out[j] *= F(o.alpha)
		}
	}
	return nil
}
