package nn

import (
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// number are the types that convolutions accumulate in.
type number interface{ float32 | float64 | int32 }

// matrix is a view of numbers: element (i, j) lies at data[i*row+j*col].
type matrix[N number] struct {
	data     []N
	row, col int
}

// rowMajor is data as rows of n.
func rowMajor[N number](data []N, n int) matrix[N] { return matrix[N]{data, n, 1} }

// transposed swaps rows and columns.
func (m matrix[N]) transposed() matrix[N] { return matrix[N]{m.data, m.col, m.row} }

// alone is one thread: for products inside a range of a kernel.Pool.
type alone struct{}

// Threads is 1.
func (alone) Threads() int { return 1 }

// For calls f for one range after the other.
func (alone) For(n, grain int, f func(lo, hi int)) {
	for lo := 0; lo < n; lo += grain {
		f(lo, min(lo+grain, n))
	}
}

// factor is the right side of a product that is made more than once: [k, n], and packed where that paid.
type factor[F real] struct {
	matrix[F]
	packed *gemm.Packed
}

// multiply writes a·b, m×k by k×n, to the m rows of c, ldc apart, and adds bias, where given, to each row. A row of the result depends on
// its row of a and on b alone.
func multiply[F real](workers gemm.Workers, m, n, k int, a matrix[F], b factor[F], c []F, ldc int, bias []F) {
	if m == 0 || n == 0 {
		return
	}
	if c32, ok := any(c).([]float32); ok {
		p := gemm.Problem{M: m, N: n, K: k, A: operand(a), Packed: b.packed,
			C: gemm.Output{DType: tensor.Float32, Bytes: bytesOf(c32), RowStride: max(ldc, n)}}
		if b.packed == nil {
			p.B = operand(b.matrix)
		}
		p.Bias, _ = any(bias).([]float32)
		gemm.Run(workers, &p)
		return
	}
	workers.For(m, max(1, grain/max(1, n*k)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := c[i*ldc:][:n]
			clear(row)
			copy(row, bias)
		}
		part := a
		part.data = a.data[min(lo*a.row, len(a.data)):]
		loops(hi-lo, n, k, part, b.matrix, c[lo*ldc:], ldc)
	})
}

// operand is m, of float32, as gemm sees it.
func operand[F real](m matrix[F]) gemm.Operand {
	data, _ := any(m.data).([]float32)
	return gemm.Operand{DType: tensor.Float32, Bytes: bytesOf(data), RowStride: m.row, ColStride: m.col}
}

// bytesOf is the memory of v.
func bytesOf(v []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

// packTransposed packs rows [lo, hi) of matrix d of t, [matrices, rows, k], as the right side [k, hi-lo] of products, where t is constant and
// memory allows; else it is nil.
func packTransposed(site *kernel.Site, t *kernel.Tensor, d, lo, hi int) *gemm.Packed {
	if t == nil || len(t.Shape) != 3 || d >= t.Shape[0] || lo < 0 || hi > t.Shape[1] || lo >= hi {
		return nil
	}
	switch t.DType {
	case tensor.Float32, tensor.Float16, tensor.BFloat16:
	default:
		return nil
	}
	k := t.Shape[2]
	if site.MayPack == nil || !site.MayPack(gemm.PackedBytes(k, hi-lo)) {
		return nil
	}
	from := t.Bytes[(d*t.Shape[1]+lo)*k*kernel.ElemSize(t.DType):]
	return gemm.Pack(alone{}, gemm.RowMajor(t.DType, from, k).Transposed(), k, hi-lo)
}

// loops computes c[i*ldc+j] += Σ a(i,l)·b(l,j) over l in [0, k), in the order of l, for m rows and n columns. It is what every other form
// of the product is checked against, and what float64 and integers use.
func loops[N number](m, n, k int, a, b matrix[N], c []N, ldc int) {
	if n == 0 {
		return
	}
	for i := range m {
		row := c[i*ldc:][:n]
		for l := range k {
			v := a.data[i*a.row+l*a.col]
			if b.col == 1 {
				for j, w := range b.data[l*b.row:][:n] {
					row[j] += N(v * w)
				}
				continue
			}
			for j := range row {
				row[j] += N(v * b.data[l*b.row+j*b.col])
			}
		}
	}
}
