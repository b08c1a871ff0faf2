package nn

import "github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"

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

// loops computes c[i*ldc+j] += Σ a(i,l)·b(l,j) over l in [0, k), in the order of l, for m rows and n columns. It is what every other form
// of the product is checked against, and what float64 and integers use.
func loops[N number](m, n, k int, a, b matrix[N], c []N, ldc int) {
	if n == 0 {
		return
	}
	for i := range m {
		row := c[i*ldc:][:n]
		if b.col != 1 && b.row == 1 {
			for j := range row {
				bj := b.data[j*b.col:][:k]
				s := row[j]
				for l, v := range bj {
					s += N(a.data[i*a.row+l*a.col] * v)
				}
				row[j] = s
			}
			continue
		}
		for l := range k {
			v := a.data[i*a.row+l*a.col]
			if b.col == 1 {
				bl := b.data[l*b.row:][:n]
				for j, w := range bl {
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

// addProduct is loops with the rows shared out among the workers.
func addProduct[N number](p *kernel.Pool, m, n, k int, a, b matrix[N], c []N, ldc int) {
	rows := max(1, grain/max(1, n*k))
	p.For(m, rows, func(lo, hi int) {
		part := a
		part.data = a.data[min(lo*a.row, len(a.data)):]
		loops(hi-lo, n, k, part, b, c[lo*ldc:], ldc)
	})
}
