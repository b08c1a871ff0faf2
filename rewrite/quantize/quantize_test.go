package quantize

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	goruntime "runtime"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// source makes a matrix of N·K random values; its bytes start at an odd address, as a protobuf field may.
func source(t testing.TB, dtype tensor.DType, n, k int, transposed bool, rng *rand.Rand) (Matrix, []float32) {
	t.Helper()
	values := make([]float32, n*k) // [N, K]
	for i := range values {
		v := float32(rng.NormFloat64())
		switch dtype {
		case tensor.Float16:
			v = float8.Float16FromFloat32(v).Float32()
		case tensor.BFloat16:
			v = float8.BFloat16FromFloat32(v).Float32()
		}
		values[i] = v
	}
	b := []byte{0xAA}
	put := func(v float32) {
		switch dtype {
		case tensor.Float32:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		case tensor.Float16:
			b = binary.LittleEndian.AppendUint16(b, uint16(float8.Float16FromFloat32(v)))
		default:
			b = binary.LittleEndian.AppendUint16(b, uint16(float8.BFloat16FromFloat32(v)))
		}
	}
	shape := tensor.Shape{int64(n), int64(k)}
	if transposed {
		shape = tensor.Shape{int64(k), int64(n)}
		for j := range k {
			for i := range n {
				put(values[i*k+j])
			}
		}
	} else {
		for _, v := range values {
			put(v)
		}
	}
	src, err := tensor.New(dtype, shape, tensor.Bytes(b[1:]))
	if err != nil {
		t.Fatal(err)
	}
	return Matrix{Source: src, N: int64(n), K: int64(k), Transposed: transposed}, values
}

// TestWeightIsTheFormulaElementByElement holds codes, amaxes and statistics against one call of the scalar cast per element, for
// every element type and order, sizes around the panel and tile limits, and one or N scales.
func TestWeightIsTheFormulaElementByElement(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, dtype := range []tensor.DType{tensor.Float32, tensor.Float16, tensor.BFloat16} {
		for _, transposed := range []bool{false, true} {
			for _, size := range [][2]int{{1, 1}, {3, 5}, {64, 64}, {65, 63}, {257, 130}, {600, 71}, {9, 1000}} {
				for _, perChannel := range []bool{false, true} {
					n, k := size[0], size[1]
					t.Run(fmt.Sprintf("%s/transposed=%v/%dx%d/perChannel=%v", dtype, transposed, n, k, perChannel), func(t *testing.T) {
						m, values := source(t, dtype, n, k, transposed, rng)
						checkWeight(t, m, values, perChannel)
					})
				}
			}
		}
	}
}

func checkWeight(t *testing.T, m Matrix, values []float32, perChannel bool) {
	t.Helper()
	n, k := int(m.N), int(m.K)
	a, err := Measure(t.Context(), m, perChannel)
	if err != nil {
		t.Fatal(err)
	}
	var top float32
	rowTop := make([]float32, n)
	for i, v := range values {
		top = max(top, max(v, -v))
		rowTop[i/k] = max(rowTop[i/k], max(v, -v))
	}
	if a.Tensor != top {
		t.Fatalf("amax: got %g, want %g", a.Tensor, top)
	}
	recipe := scaling.DefaultRecipe()
	scales := []scaling.QuantScale{recipe.Scale(448, top, 1) * 1.5} // 1.5: some elements saturate
	if perChannel {
		scales = scales[:0]
		for i, v := range a.Channel {
			if v != rowTop[i] {
				t.Fatalf("amax of channel %d: got %g, want %g", i, v, rowTop[i])
			}
			scales = append(scales, recipe.Scale(448, v, 1))
		}
	}
	w, err := NewWeight(m, scales, new(Buffers))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := w.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	var want float8.Stats
	for i, v := range values {
		s := float32(w.scale(i / k))
		q := float8.E4M3FNFormat.Encode(v*s, float8.Saturate)
		if out.Bytes()[i] != q {
			t.Fatalf("channel %d, input %d: value %g, scale %g: got code %#x, want %#x", i/k, i%k, v, s, out.Bytes()[i], q)
		}
		d := float64(v) - float64(float8.E4M3FNFormat.Decode(q)*(1/s))
		want.SumSq += float64(v) * float64(v)
		want.ErrSq += d * d
		if float8.E4M3FNFormat.Encode(v*s, float8.NoSaturate)&0x7F == 0x7F {
			want.Saturated++
		}
		if v != 0 && q&0x7F == 0 {
			want.Flushed++
		}
	}
	got, seen := w.Stats()
	if !seen || got.Amax != top || got.Saturated != want.Saturated || got.Flushed != want.Flushed {
		t.Errorf("stats: got %+v, want %+v", got, want)
	}
	if math.Abs(got.SumSq-want.SumSq) > 1e-9*want.SumSq || math.Abs(got.ErrSq-want.ErrSq) > 1e-5*want.ErrSq {
		t.Errorf("sums: got %g and %g, want %g and %g", got.SumSq, got.ErrSq, want.SumSq, want.ErrSq)
	}
}

func TestStatisticsDoNotDependOnTheNumberOfWorkers(t *testing.T) {
	m, _ := source(t, tensor.BFloat16, 9000, 600, true, rand.New(rand.NewPCG(3, 4)))
	var first float8.Stats
	var firstCodes []byte
	for i, procs := range []int{1, 2, 7, 16} {
		old := goruntime.GOMAXPROCS(procs)
		w, err := NewWeight(m, []scaling.QuantScale{100}, new(Buffers))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := w.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		goruntime.GOMAXPROCS(old)
		st, _ := w.Stats()
		if i == 0 {
			first, firstCodes = st, out.Bytes()
		} else if st != first || !bytes.Equal(out.Bytes(), firstCodes) {
			t.Errorf("%d workers: got %+v, want %+v", procs, st, first)
		}
	}
}

func TestNonFiniteElementsShowInTheAmax(t *testing.T) {
	for _, transposed := range []bool{false, true} {
		for _, perChannel := range []bool{false, true} {
			m, _ := source(t, tensor.Float32, 40, 30, transposed, rand.New(rand.NewPCG(5, 6)))
			b, _ := m.Source.Bytes()
			at := 4 * 700
			binary.LittleEndian.PutUint32(b[at:], math.Float32bits(float32(math.Inf(-1))))
			if a, err := Measure(t.Context(), m, perChannel); err != nil || !math.IsInf(float64(a.Tensor), 1) {
				t.Errorf("transposed %v, per channel %v: got %v, %v, want +Inf", transposed, perChannel, a.Tensor, err)
			}
			binary.LittleEndian.PutUint32(b[at+400:], 0x7FC00000)
			if a, err := Measure(t.Context(), m, perChannel); err != nil || a.Tensor == a.Tensor {
				t.Errorf("transposed %v, per channel %v: got %v, %v, want NaN", transposed, perChannel, a.Tensor, err)
			}
		}
	}
}

func TestWrongMatricesAreRefused(t *testing.T) {
	i32, _ := tensor.New(tensor.Int32, tensor.Shape{2, 2}, tensor.Bytes(make([]byte, 16)))
	f32, _ := tensor.New(tensor.Float32, tensor.Shape{2, 2}, tensor.Bytes(make([]byte, 16)))
	for _, m := range []Matrix{{Source: i32, N: 2, K: 2}, {Source: f32, N: 2, K: 3}} {
		if _, err := Measure(t.Context(), m, false); err == nil {
			t.Errorf("%s as %d×%d: want an error", m.Source.DType, m.N, m.K)
		}
	}
	if _, err := NewWeight(Matrix{Source: f32, N: 2, K: 2}, make([]scaling.QuantScale, 3), new(Buffers)); err == nil {
		t.Error("3 scales for 2 channels: want an error")
	}
}

type shortWriter struct{ left int }

func (w *shortWriter) Write(b []byte) (int, error) {
	if len(b) > w.left {
		return w.left, io.ErrShortWrite
	}
	w.left -= len(b)
	return len(b), nil
}

func TestAWriteErrorEndsTheWork(t *testing.T) {
	m, _ := source(t, tensor.Float32, 4000, 3000, true, rand.New(rand.NewPCG(7, 8)))
	w, _ := NewWeight(m, []scaling.QuantScale{1}, new(Buffers))
	if _, err := w.WriteTo(&shortWriter{left: 5 << 20}); err != io.ErrShortWrite {
		t.Errorf("got %v, want the writer's error", err)
	}
	if _, seen := w.Stats(); seen {
		t.Error("a weight that was not written whole has statistics")
	}
}

func BenchmarkWeight(b *testing.B) {
	for _, dtype := range []tensor.DType{tensor.BFloat16, tensor.Float32} {
		for _, transposed := range []bool{false, true} {
			for _, perChannel := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/transposed=%v/perChannel=%v", dtype, transposed, perChannel), func(b *testing.B) {
					const n, k = 4096, 4096
					m := Matrix{Source: random(dtype, n*k), N: n, K: k, Transposed: transposed}
					b.SetBytes(m.Source.Size())
					buffers := new(Buffers) // as the weights of a model share them
					for b.Loop() {
						a, err := Measure(b.Context(), m, perChannel)
						if err != nil {
							b.Fatal(err)
						}
						scales := []scaling.QuantScale{scaling.DefaultRecipe().Scale(448, a.Tensor, 1)}
						if perChannel {
							scales = make([]scaling.QuantScale, n)
							for i := range scales {
								scales[i] = 100
							}
						}
						w, _ := NewWeight(m, scales, buffers)
						if _, err := w.WriteTo(io.Discard); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

func random(dtype tensor.DType, n int) *tensor.Tensor {
	rng := rand.New(rand.NewPCG(9, 10))
	b := make([]byte, 0, n*dtype.Bits()/8)
	for range n {
		v := float32(rng.NormFloat64())
		if dtype == tensor.Float32 {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		} else {
			b = binary.LittleEndian.AppendUint16(b, uint16(float8.BFloat16FromFloat32(v)))
		}
	}
	return &tensor.Tensor{DType: dtype, Shape: tensor.Shape{int64(n)}, Data: tensor.Bytes(b)}
}

func TestMeasureStopsWhenItsContextEnds(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	for _, transposed := range []bool{false, true} {
		m := Matrix{Source: &tensor.Tensor{DType: tensor.Float32, Shape: tensor.Shape{4, 4}, Data: tensor.Bytes(make([]byte, 64))}, N: 4, K: 4,
			Transposed: transposed}
		for _, perChannel := range []bool{false, true} {
			if _, err := Measure(ctx, m, perChannel); !errors.Is(err, cause) {
				t.Errorf("transposed %t, per channel %t: got error %v, want the cause of the context", transposed, perChannel, err)
			}
		}
	}
}
