package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// eachISA runs f with the kernels of every instruction set of this processor, plain Go included.
func eachISA(t *testing.T, f func(t *testing.T)) {
	detected := best
	defer func() { best = detected }()
	for _, set := range available() {
		best = set
		t.Run(set.name, f)
	}
}

func normal(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// chainTolerance bounds the error of a float32 sum of K products against the exact one, relative to the sum of their magnitudes: half an ulp for
// each of the K additions and K products.
func chainTolerance(k int) float64 { return float64(k+2) * 0x1p-24 * 2 }

// checkProduct compares c with the product in float64. a and b are read through at.
func checkProduct(t *testing.T, c []float32, ldc, m, n, k int, a, b func(i, j int) float64) {
	t.Helper()
	for i := range m {
		for j := range n {
			sum, mag := 0.0, 0.0
			for l := range k {
				p := a(i, l) * b(l, j)
				sum += p
				mag += math.Abs(p)
			}
			if got := float64(c[i*ldc+j]); !(math.Abs(got-sum) <= chainTolerance(k)*mag) {
				t.Fatalf("[%d,%d]·[%d,%d]: element %d,%d is %g, want %g", m, k, k, n, i, j, got, sum)
			}
		}
	}
}

func dense(v []float32, cols int) Operand { return RowMajor(tensor.Float32, bytesOf(v), cols) }

func output(v []float32, cols int) Output {
	return Output{DType: tensor.Float32, Bytes: bytesOf(v), RowStride: cols}
}

func TestProductsOfSmallSizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	pool := kernel.NewPool(2)
	eachISA(t, func(t *testing.T) {
		step := 1
		if testing.Short() {
			step = 7
		}
		for m := 1; m <= 40; m += step {
			for _, n := range []int{1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40} {
				for k := 0; k <= 40; k += 1 + rng.IntN(6) {
					a, b, c := normal(rng, m*k), normal(rng, k*n), normal(rng, m*(n+1))
					last := c[len(c)-1]
					p := Problem{M: m, N: n, K: k, A: dense(a, k), B: dense(b, n), C: output(c, n+1)}
					form := rng.IntN(4)
					at := make([]float32, m*k)
					bt := make([]float32, k*n)
					if form&1 != 0 {
						for i := range m {
							for l := range k {
								at[l*m+i] = a[i*k+l]
							}
						}
						p.A = dense(at, m).Transposed()
					}
					if form&2 != 0 {
						for l := range k {
							for j := range n {
								bt[j*k+l] = b[l*n+j]
							}
						}
						p.B = dense(bt, k).Transposed()
					}
					if rng.IntN(2) == 0 {
						p.Packed = Pack(pool, p.B, k, n)
					}
					Run(pool, &p)
					checkProduct(t, c, n+1, m, n, k,
						func(i, l int) float64 { return float64(a[i*k+l]) }, func(l, j int) float64 { return float64(b[l*n+j]) })
					if c[len(c)-1] != last {
						t.Fatalf("[%d,%d]·[%d,%d] wrote beyond its columns", m, k, k, n)
					}
				}
			}
		}
	})
}

// A row's bits depend on neither M, N, its place, the number of threads, nor the form of the operands.
func TestRowsAreIndependent(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, size := range [][3]int{{150, 130, 700}, {13, 1000, 300}, {230, 300, 40}} {
		m, n, k := size[0], size[1], size[2]
		if testing.Short() {
			m = min(m, 30)
		}
		a, b := normal(rng, m*k), normal(rng, k*n)
		eachISA(t, func(t *testing.T) {
			whole := make([]float32, m*n)
			Run(kernel.NewPool(1), &Problem{M: m, N: n, K: k, A: dense(a, k), B: dense(b, n), C: output(whole, n)})
			same := func(what string, c []float32, ldc, i0, i1, j0, j1 int) {
				t.Helper()
				for i := i0; i < i1; i++ {
					for j := j0; j < j1; j++ {
						if got, want := c[(i-i0)*ldc+j-j0], whole[i*n+j]; math.Float32bits(got) != math.Float32bits(want) {
							t.Fatalf("%s: element %d,%d is %v, want %v", what, i, j, got, want)
						}
					}
				}
			}
			packed := Pack(kernel.NewPool(2), dense(b, n), k, n)
			for threads := 1; threads <= 4; threads++ {
				pool := kernel.NewPool(threads)
				c := make([]float32, m*n)
				Run(pool, &Problem{M: m, N: n, K: k, A: dense(a, k), Packed: packed, C: output(c, n)})
				same(fmt.Sprintf("%d threads", threads), c, n, 0, m, 0, n)
				for _, i := range []int{0, 1, m / 2, m - 1} {
					Run(pool, &Problem{M: 1, N: n, K: k, A: dense(a[i*k:], k), Packed: packed, C: output(c[:n], n)})
					same(fmt.Sprintf("row %d alone", i), c, n, i, i+1, 0, n)
				}
				i0, j0 := rng.IntN(m-1), rng.IntN(n-1)
				i1, j1 := i0+1+rng.IntN(m-i0), j0+1+rng.IntN(n-j0)
				i1, j1 = min(i1, m), min(j1, n)
				Run(pool, &Problem{M: i1 - i0, N: j1 - j0, K: k, A: dense(a[i0*k:], k), B: dense(b[j0:], n), C: output(c, j1-j0)})
				same(fmt.Sprintf("rows %d-%d, columns %d-%d", i0, i1, j0, j1), c, j1-j0, i0, i1, j0, j1)
			}
		})
	}
}

// All assembly kernels compute the same chains.
func TestInstructionSetsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	sets := available()
	detected := best
	defer func() { best = detected }()
	m, n, k := 37, 75, 600
	a, b, bias := normal(rng, m*k), normal(rng, k*n), normal(rng, n)
	var first []float32
	for _, set := range sets[1:] {
		best = set
		c := make([]float32, m*n)
		Run(kernel.NewPool(2), &Problem{M: m, N: n, K: k, A: dense(a, k), B: dense(b, n), C: output(c, n), Epilogue: Epilogue{Scale: []float32{0.3}, Bias: bias}})
		if first == nil {
			first = c
			continue
		}
		for i := range c {
			if math.Float32bits(c[i]) != math.Float32bits(first[i]) {
				t.Fatalf("%s: element %d is %v, and %v with %s", set.name, i, c[i], first[i], sets[1].name)
			}
		}
	}
}

func TestLongSums(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	m, n, k := 3, 5, 2*maxK+100
	a, b := normal(rng, m*k), normal(rng, k*n)
	eachISA(t, func(t *testing.T) {
		pool := kernel.NewPool(2)
		c := make([]float32, m*n)
		Run(pool, &Problem{M: m, N: n, K: k, A: dense(a, k), B: dense(b, n), C: output(c, n)})
		checkProduct(t, c, n, m, n, k, func(i, l int) float64 { return float64(a[i*k+l]) }, func(l, j int) float64 { return float64(b[l*n+j]) })
		half := make([]uint16, m*n)
		Run(pool, &Problem{M: m, N: n, K: k, A: dense(a, k), B: dense(b, n), C: Output{DType: tensor.Float16, Bytes: bytes16(half), RowStride: n}})
		for i, h := range half {
			if want := float8.Float16FromFloat32(c[i]); float8.Float16(h) != want {
				t.Fatalf("element %d as float16: %#04x, want %#04x", i, h, want)
			}
		}
	})
}

func bytes16(v []uint16) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 2*len(v))
}
