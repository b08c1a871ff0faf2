package gemm

import (
	"fmt"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Workers are the threads that a product may use; *kernel.Pool is one.
type Workers interface {
	Threads() int
	// For calls f for ranges of grain elements that together are [0, n).
	For(n, grain int, f func(lo, hi int))
}

// Problem is one product C[M,N] = epilogue(A[M,K]·B[K,N]), or a batch of them.
type Problem struct {
	M, N, K int
	Batch   int // 0 means 1

	A Operand

	// B in one of its forms: see the package documentation.
	B      Operand
	Packed *Packed
	Fill   Fill

	Cast *Cast // of A, optional
	C    Output
	Epilogue
}

// Fill writes rows [k0, k1) of columns [j0, j1) of B, of matrix i of the batch, to dst: element (k, j) at (k-k0)·width + j-j0. j0 is a multiple of
// width, j1-j0 is at most width; what lies right of j1-j0 was zeroed and stays so. It is called from many goroutines.
type Fill func(dst []float32, width, i, k0, k1, j0, j1 int)

// Output is where the product goes: element (r, c) of matrix i is element Offsets[i] + r·RowStride + c of Bytes.
type Output struct {
	DType     tensor.DType // float32, float16 or bfloat16
	Bytes     []byte
	RowStride int
	Offsets   []int
}

// Epilogue is what happens to a sum on its way out, in the order of the fields. Each operation is rounded to float32.
type Epilogue struct {
	Scale   []float32 // multiplied: one number, or [N]; nil for none
	Bias    []float32 // [N], added
	RowBias []float32 // [M], added to all of a row
	// Add is a matrix like C that is added, multiplied by Beta first.
	Add  *Operand
	Beta float32
	// Act is applied to pieces of rows, in place; an element's result must depend on the element alone.
	Act func([]float32)
	// Steps rounds to the output's type after the product and its Scale, after the additions, and again after Act, as if each were an
	// operator of its own.
	Steps bool
}

// Cast makes every element of A, which is float32, float16 or bfloat16, the value of the code sat_e4m3fn(float32(a)·Scale), as
// [float8.CastFloat32] does.
type Cast struct {
	Scale float32

	mu        sync.Mutex
	seen      float8.Stats
	nonFinite int64
	elements  int64
}

// Seen is what the cast met: each element of every matrix of A once, into however many products of the run it went.
func (c *Cast) Seen() (s float8.Stats, elements, nonFinite int64) {
	return c.seen, c.elements, c.nonFinite
}

func (c *Cast) merge(s float8.Stats, elements, nonFinite int64) {
	c.mu.Lock()
	c.seen.Merge(s)
	c.elements += elements
	c.nonFinite += nonFinite
	c.mu.Unlock()
}

func (p *Problem) check() {
	if p.M < 0 || p.N < 0 || p.K < 0 {
		panic(fmt.Sprintf("gemm: [%d,%d]·[%d,%d]", p.M, p.K, p.K, p.N))
	}
	p.A.check("A", p.M, p.K, p.Batch)
	switch {
	case p.Packed != nil:
		if p.Packed.n != p.N || p.Packed.k != p.K {
			panic(fmt.Sprintf("gemm: packed B is [%d,%d], want [%d,%d]", p.Packed.k, p.Packed.n, p.K, p.N))
		}
	case p.Fill == nil:
		p.B.check("B", p.K, p.N, p.Batch)
	}
	out := Operand{DType: p.C.DType, Bytes: p.C.Bytes, RowStride: p.C.RowStride, ColStride: 1, Offsets: p.C.Offsets}
	if d := p.C.DType; d != tensor.Float32 && d != tensor.Float16 && d != tensor.BFloat16 {
		panic(fmt.Sprintf("gemm: C of %s", d))
	}
	out.check("C", p.M, p.N, p.Batch)
	if p.Batch > 1 && p.C.Offsets == nil || p.M > 1 && p.C.RowStride < p.N {
		panic(fmt.Sprintf("gemm: rows of C overlap: stride %d, %d columns", p.C.RowStride, p.N))
	}
	if n := len(p.Scale); n > 1 && n != p.N || p.Bias != nil && len(p.Bias) != p.N || p.RowBias != nil && len(p.RowBias) != p.M {
		panic(fmt.Sprintf("gemm: %d scales, %d and %d biases for [%d,%d]", len(p.Scale), len(p.Bias), len(p.RowBias), p.M, p.N))
	}
	if p.Add != nil {
		p.Add.check("added matrix", p.M, p.N, p.Batch)
	}
	if p.Cast != nil && sizeOf(p.A.DType) == 1 {
		panic("gemm: cast of float8")
	}
}
