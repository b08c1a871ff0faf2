package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// as is v as elements of d, and what they hold.
func as(d tensor.DType, v []float32) (bytes []byte, held []float32) {
	held = make([]float32, len(v))
	switch d {
	case tensor.Float32:
		copy(held, v)
		return bytesOf(held), held
	case tensor.Float16:
		b := make([]uint16, len(v))
		float8.NarrowFloat16(b, v)
		float8.WidenFloat16(held, b)
		return bytes16(b), held
	case tensor.BFloat16:
		b := make([]uint16, len(v))
		float8.NarrowBFloat16(b, v)
		float8.WidenBFloat16(held, b)
		return bytes16(b), held
	}
	f, _ := kernel.Float8Format(d)
	bytes = make([]byte, len(v))
	for i, x := range v {
		bytes[i] = f.Encode(x, float8.Saturate)
		held[i] = f.Decode(bytes[i])
	}
	return bytes, held
}

var allTypes = []tensor.DType{tensor.Float32, tensor.Float16, tensor.BFloat16, tensor.Float8E4M3FN, tensor.Float8E4M3FZ, tensor.Float8E5M2, tensor.Float8E5M2FZ}

// turned is a [rows,cols] matrix with its columns laid one after another.
func turned[T any](v []T, rows, cols int) []T {
	w := make([]T, len(v))
	for i := range rows {
		for j := range cols {
			w[j*rows+i] = v[i*cols+j]
		}
	}
	return w
}

// Every element type, on either side, in rows, in columns and with gaps, packed before and in the run, gives the bits that the float32
// values give.
func TestElementTypesAreTheirValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	pool := kernel.NewPool(2)
	eachISA(t, func(t *testing.T) {
		for _, d := range allTypes {
			for _, size := range [][3]int{{5, 70, 300}, {100, 33, 31}, {1, 1, 77}, {130, 300, 40}} {
				m, n, k := size[0], size[1], size[2]
				aBytes, a := as(d, normal(rng, m*k))
				bBytes, b := as(d, normal(rng, k*n))
				want := make([]float32, m*n)
				Run(pool, &Problem{M: m, N: n, K: k, A: dense(a, k), B: dense(b, n), C: output(want, n)})
				width := sizeOf(d)
				gaps := func(bytes []byte, rows, cols int) Operand { // an element between any two
					w := make([]byte, 2*len(bytes)+width)
					for i := range rows * cols {
						copy(w[(2*i+1)*width:], bytes[i*width:(i+1)*width])
					}
					return Operand{DType: d, Bytes: w, RowStride: 2 * cols, ColStride: 2, Offsets: []int{1}}
				}
				columns := func(v []float32, rows, cols int) Operand {
					bytes, _ := as(d, turned(v, rows, cols))
					return RowMajor(d, bytes, rows).Transposed()
				}
				for i, operands := range [][2]Operand{
					{RowMajor(d, aBytes, k), RowMajor(d, bBytes, n)},
					{columns(a, m, k), columns(b, k, n)},
					{gaps(aBytes, m, k), gaps(bBytes, k, n)},
				} {
					for _, packed := range []bool{false, true} {
						c := make([]float32, m*n)
						p := Problem{M: m, N: n, K: k, A: operands[0], B: operands[1], C: output(c, n)}
						if packed {
							p.Packed = Pack(pool, operands[1], k, n)
						}
						Run(pool, &p)
						sameBits(t, fmt.Sprintf("%v, form %d, packed %t, %v", d, i, packed, size), c, want)
					}
				}
			}
		}
	})
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

func TestScalesOfFloat8Columns(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	pool := kernel.NewPool(2)
	m, n, k := 9, 45, 150
	a := normal(rng, m*k)
	codes, b := as(tensor.Float8E4M3FN, normal(rng, k*n))
	eachISA(t, func(t *testing.T) {
		for _, scale := range [][]float32{{0.3}, normal(rng, n)} {
			scaled := make([]float32, k*n)
			for i := range scaled {
				scaled[i] = b[i] * scale[i%n%len(scale)]
			}
			want := make([]float32, m*n)
			Run(pool, &Problem{M: m, N: n, K: k, A: dense(a, k), B: dense(scaled, n), C: output(want, n)})
			for _, o := range []Operand{RowMajor(tensor.Float8E4M3FN, codes, n), RowMajor(tensor.Float8E4M3FN, turned(codes, k, n), k).Transposed()} {
				o.Scale = scale
				c := make([]float32, m*n)
				Run(pool, &Problem{M: m, N: n, K: k, A: dense(a, k), B: o, C: output(c, n)})
				sameBits(t, "scaled", c, want)
			}
		}
	})
}

// The cast sees every element once, whatever the blocks, and makes what the codes say.
func TestCastOfA(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, size := range [][3]int{{3, 5, 7}, {200, 300, 120}, {2, 9, castPiece + 100}, {300, 40, 9000}, {5, 700, 3000}, {2, 3, maxK + 5}} {
		m, n, k := size[0], size[1], size[2]
		if testing.Short() && m*k > 1<<16 {
			continue
		}
		b := normal(rng, k*n)
		values := normal(rng, m*k)
		values[0], values[k/2], values[m*k-1], values[k-1] = inf, nan, 1000, 1e-9
		for _, d := range allTypes[:3] {
			const scale = 100
			bytes, held := as(d, values)
			codes := make([]byte, len(held))
			want := float8.CastFloat32(codes, held, float8.E4M3FNFormat, scale)
			decoded := make([]float32, len(held))
			float8.DecodeFloat32(decoded, codes, float8.E4M3FNFormat, 1)
			product := make([]float32, m*n)
			for _, threads := range []int{1, 3} {
				pool := kernel.NewPool(threads)
				Run(pool, &Problem{M: m, N: n, K: k, A: dense(decoded, k), B: dense(b, n), C: output(product, n)})
				turnedBytes, _ := as(d, turned(held, m, k))
				for form, a := range []Operand{RowMajor(d, bytes, k), RowMajor(d, turnedBytes, m).Transposed()} {
					for _, packed := range []*Packed{nil, Pack(pool, dense(b, n), k, n)} {
						c := make([]float32, m*n)
						cast := &Cast{Scale: scale}
						Run(pool, &Problem{M: m, N: n, K: k, A: a, B: dense(b, n), Packed: packed, Cast: cast, C: output(c, n)})
						what := fmt.Sprintf("%v, %v, %d threads, form %d, packed %t", size, d, threads, form, packed != nil)
						sameBits(t, what, c, product)
						seen, elements, nonFinite := cast.Seen()
						if elements != int64(m*k) || nonFinite != 2 || seen.Amax == seen.Amax || seen.Saturated != want.Saturated || seen.Flushed != want.Flushed {
							t.Fatalf("%s: saw %+v, %d elements, %d not finite; want %+v, %d, 2", what, seen, elements, nonFinite, want, m*k)
						}
					}
				}
			}
		}
	}
}

func TestBatches(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	eachISA(t, func(t *testing.T) {
		for _, size := range [][4]int{{12, 20, 33, 16}, {3, 100, 64, 300}, {64, 3, 5, 2}, {40, 97, 128, 64}} {
			batch, m, n, k := size[0], size[1], size[2], size[3]
			a, b := normal(rng, batch*m*k), normal(rng, 2*k*n)
			want := make([]float32, batch*m*n)
			aOff, bOff, cOff := make([]int, batch), make([]int, batch), make([]int, batch)
			for i := range batch {
				aOff[i], bOff[i], cOff[i] = (batch-1-i)*m*k, i/3%2*k*n, i*m*n
				Run(kernel.NewPool(1), &Problem{M: m, N: n, K: k, A: dense(a[aOff[i]:], k), B: dense(b[bOff[i]:], n), C: output(want[cOff[i]:], n)})
			}
			for threads := 1; threads <= 4; threads++ {
				c := make([]float32, batch*m*n)
				p := Problem{Batch: batch, M: m, N: n, K: k, A: dense(a, k), B: dense(b, n), C: output(c, n)}
				p.A.Offsets, p.B.Offsets, p.C.Offsets = aOff, bOff, cOff
				Run(kernel.NewPool(threads), &p)
				sameBits(t, fmt.Sprintf("%v, %d threads", size, threads), c, want)
			}
		}
	})
}

// A Fill gives what the operand that it reads would.
func TestFill(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	eachISA(t, func(t *testing.T) {
		for _, size := range [][3]int{{10, 50, 20}, {64, 1000, 700}, {7, 33, maxK + 3}} {
			m, n, k := size[0], size[1], size[2]
			if testing.Short() {
				n = 33
			}
			a, b := normal(rng, m*k), normal(rng, 2*k*n)
			for threads := 1; threads <= 2; threads++ {
				pool := kernel.NewPool(threads)
				c, want := make([]float32, 2*m*n), make([]float32, 2*m*n)
				p := Problem{Batch: 2, M: m, N: n, K: k, A: dense(a, k), B: dense(b, n), C: output(want, n)}
				p.B.Offsets, p.C.Offsets = []int{0, k * n}, []int{0, m * n}
				Run(pool, &p)
				p.C.Bytes = bytesOf(c)
				p.B = Operand{}
				p.Fill = func(dst []float32, width, i, k0, k1, j0, j1 int) {
					if j0%width != 0 || j1-j0 > width || len(dst) < (k1-k0)*width {
						panic(fmt.Sprint("fill ", len(dst), width, k0, k1, j0, j1))
					}
					for l := k0; l < k1; l++ {
						copy(dst[(l-k0)*width:], b[i*k*n+l*n+j0:i*k*n+l*n+j1])
					}
				}
				Run(pool, &p)
				sameBits(t, fmt.Sprintf("%v, %d threads", size, threads), c, want)
			}
		}
	})
}

// The epilogue has the bits of its steps in plain Go.
func TestEpilogue(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 10))
	act := func(v []float32) {
		for i := range v {
			v[i] = max(v[i], 0.25)
		}
	}
	eachISA(t, func(t *testing.T) {
		for _, size := range [][3]int{{5, 7, 9}, {40, 300, 600}, {200, 65, 3}, {13, 32, 0}, {3, 40, maxK + 1}} {
			m, n, k := size[0], size[1], size[2]
			if testing.Short() && k > 100 {
				continue
			}
			pool := kernel.NewPool(2)
			a, b := normal(rng, m*k), normal(rng, k*n)
			product := make([]float32, m*n)
			Run(pool, &Problem{M: m, N: n, K: k, A: dense(a, k), B: dense(b, n), C: output(product, n)})
			columns, bias, rowBias, matrix := normal(rng, n), normal(rng, n), normal(rng, m), normal(rng, m*n)
			half, halfValues := as(tensor.Float16, matrix)
			for i, e := range []Epilogue{
				{Scale: []float32{0.3}}, {Scale: columns}, {Bias: bias}, {RowBias: rowBias}, {Scale: columns, Bias: bias, RowBias: rowBias}, {Act: act},
				{Add: &Operand{DType: tensor.Float32, Bytes: bytesOf(matrix), RowStride: n, ColStride: 1}, Beta: 0.7},
				{Add: &Operand{DType: tensor.Float16, Bytes: half, RowStride: n, ColStride: 1}, Beta: 1, Act: act, Scale: columns},
				{Add: &Operand{DType: tensor.Float32, Bytes: bytesOf(rowBias), RowStride: 1}, Beta: 2},
				{Scale: columns, Bias: bias, RowBias: rowBias, Act: act},
			} {
				for _, d := range allTypes[:3] {
					for _, steps := range []bool{false, true} {
						e.Steps = steps
						round := func(v float32) float32 {
							_, held := as(d, []float32{v})
							return held[0]
						}
						want := append([]float32(nil), product...)
						for at := range want {
							r, c := at/n, at%n
							if e.Scale != nil {
								want[at] *= e.Scale[c%len(e.Scale)]
							}
							if steps {
								want[at] = round(want[at])
							}
							if e.Bias != nil {
								want[at] += e.Bias[c]
							}
							if e.RowBias != nil {
								want[at] += e.RowBias[r]
							}
							switch {
							case e.Add == nil:
							case e.Add.DType == tensor.Float16:
								want[at] += e.Beta * halfValues[at]
							case e.Add.ColStride == 0:
								want[at] += e.Beta * rowBias[r]
							default:
								want[at] += float32(e.Beta * matrix[at])
							}
							if steps {
								want[at] = round(want[at])
							}
						}
						if e.Act != nil {
							act(want)
						}
						out := make([]float32, m*n+1)
						p := Problem{M: m, N: n, K: k, A: dense(a, k), B: dense(b, n), C: Output{DType: d, Bytes: bytesOf(out)[:m*n*sizeOf(d)], RowStride: n}, Epilogue: e}
						Run(pool, &p)
						_, want = as(d, want)
						got := make([]float32, m*n)
						(&Operand{DType: d, Bytes: p.C.Bytes}).widen(got, 0, m*n, 1, 1)
						sameBits(t, fmt.Sprintf("%v, epilogue %d in %v, steps %t", size, i, d, steps), got, want)
					}
				}
			}
		}
	})
}

// NaN and infinities spoil what they touch and nothing else; 0·NaN and 0·Inf are NaN.
func TestSpecialValuesStayInTheirRowsAndColumns(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	eachISA(t, func(t *testing.T) {
		for m := 1; m <= 14; m++ {
			for _, n := range []int{1, 8, 15, 31, 33} {
				k := 1 + rng.IntN(20)
				for _, bad := range []float32{nan, inf} {
					a, b, c := make([]float32, m*k), normal(rng, k*n), make([]float32, m*n)
					row, col := rng.IntN(m), rng.IntN(n)
					a[row*k+rng.IntN(k)] = bad
					clear(b[:n]) // zeros on the right do not save it
					for i := range b {
						if i%n != col {
							b[i] = 0
						}
					}
					Run(kernel.NewPool(1), &Problem{M: m, N: n, K: k, A: dense(a, k), B: dense(b, n), C: output(c, n)})
					for i, v := range c {
						if i/n != row && v != 0 {
							t.Fatalf("[%d,%d]: element %d is %v, want 0: row %d holds %v", m, n, i, v, row, bad)
						}
						if i/n == row && v == v && i%n != col {
							t.Fatalf("[%d,%d]: element %d is %v, want NaN: %v by 0", m, n, i, v, bad)
						}
					}
					clear(a)
					b = make([]float32, k*n)
					b[rng.IntN(k)*n+col] = bad
					Run(kernel.NewPool(1), &Problem{M: m, N: n, K: k, A: dense(a, k), B: dense(b, n), C: output(c, n)})
					for i, v := range c {
						if (v != v) != (i%n == col) {
							t.Fatalf("[%d,%d]: element %d is %v: column %d holds %v", m, n, i, v, col, bad)
						}
					}
				}
			}
		}
	})
}

func TestOperandsThatDoNotFitPanic(t *testing.T) {
	pool := kernel.NewPool(1)
	v := make([]float32, 12)
	good := Problem{M: 3, N: 3, K: 4, A: dense(v, 4), B: dense(v, 3), C: output(v[:9], 3)}
	for what, spoil := range map[string]func(*Problem){
		"a short A":              func(p *Problem) { p.M = 4 },
		"a short B":              func(p *Problem) { p.B.Bytes = p.B.Bytes[4:] },
		"a short C":              func(p *Problem) { p.C.Bytes = p.C.Bytes[4:] },
		"a negative stride":      func(p *Problem) { p.A.RowStride = -1 },
		"rows of C that overlap": func(p *Problem) { p.C.RowStride = 2 },
		"a short bias":           func(p *Problem) { p.Bias = v[:2] },
		"another packed B":       func(p *Problem) { p.Packed = Pack(pool, dense(v, 4), 3, 4) },
		"integers":               func(p *Problem) { p.A.DType = tensor.Int32 },
		"C in float8":            func(p *Problem) { p.C.DType = tensor.Float8E4M3FN },
		"too few offsets":        func(p *Problem) { p.Batch, p.A.Offsets = 2, []int{0} },
		"an offset outside":      func(p *Problem) { p.A.Offsets = []int{1} },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", what)
				}
			}()
			p := good
			spoil(&p)
			Run(pool, &p)
		}()
	}
}

func TestGeneric(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 12))
	m, n, k := 7, 9, 11
	a, b := make([]int32, m*k), make([]int32, k*n)
	for i := range a {
		a[i] = int32(rng.Uint32())
	}
	for i := range b {
		b[i] = int32(rng.Uint32())
	}
	want := make([]int32, m*n)
	for i := range m {
		for j := range n {
			for l := range k {
				want[i*n+j] += a[i*k+l] * b[l*n+j]
			}
		}
	}
	for i, operands := range [][2]Matrix[int32]{
		{{Data: a, RowStride: k, ColStride: 1}, {Data: b, RowStride: n, ColStride: 1}},
		{{Data: turned(a, m, k), RowStride: 1, ColStride: m}, {Data: turned(b, k, n), RowStride: 1, ColStride: k}},
	} {
		c := make([]int32, m*n)
		Generic(kernel.NewPool(2), 1, m, n, k, operands[0], operands[1], Matrix[int32]{Data: c, RowStride: n, ColStride: 1})
		for j := range c {
			if c[j] != want[j] {
				t.Fatalf("form %d: element %d is %d, want %d", i, j, c[j], want[j])
			}
		}
	}
}
