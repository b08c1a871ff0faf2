package gemm

// Number are the element types of products in plain Go.
type Number interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// Matrix is an operand of [Generic]: matrix i of a batch has element (r, c) at Data[Offsets[i]+r·RowStride+c·ColStride].
type Matrix[T Number] struct {
	Data                 []T
	RowStride, ColStride int
	Offsets              []int // nil puts all at 0
}

func (m *Matrix[T]) at(i int) []T {
	if m.Offsets == nil {
		return m.Data
	}
	return m.Data[m.Offsets[i]:]
}

// Generic computes C[m,n] = A[m,k]·B[k,n] for every matrix of a batch, with the sums in T, k in order; integers wrap around. Rows of C lie
// next to each other, c.RowStride apart.
func Generic[T Number](w Workers, batch, m, n, k int, a, b, c Matrix[T]) {
	if n == 0 {
		return
	}
	grain := max(1, (1<<15)/max(1, n*k))
	w.For(batch*m, grain, func(lo, hi int) {
		for row := lo; row < hi; row++ {
			i, r := row/m, row%m
			out := c.at(i)[r*c.RowStride:][:n]
			clear(out)
			if k == 0 {
				continue
			}
			x, y := a.at(i)[r*a.RowStride:], b.at(i)
			if b.ColStride == 1 {
				for l := range k {
					v := x[l*a.ColStride]
					for j, u := range y[l*b.RowStride:][:n] {
						out[j] += T(v * u)
					}
				}
				continue
			}
			for j := range out {
				var sum T
				for l := range k {
					sum += T(x[l*a.ColStride] * y[l*b.RowStride+j*b.ColStride])
				}
				out[j] = sum
			}
		}
	})
}
