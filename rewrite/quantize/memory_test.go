package quantize

import (
	"bytes"
	"io"
	"math/rand/v2"
	goruntime "runtime"
	"sync"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// blank is a matrix of zeros, which costs no memory of its own.
func blank(dtype tensor.DType, n, k int64, transposed bool) Matrix {
	shape := tensor.Shape{n, k}
	if transposed {
		shape = tensor.Shape{k, n}
	}
	b := make([]byte, n*k*int64(dtype.Bits())/8)
	return Matrix{Source: &tensor.Tensor{DType: dtype, Shape: shape, Data: tensor.Bytes(b)}, N: n, K: k, Transposed: transposed}
}

// gatedWriter starts to take bytes when its turn comes.
type gatedWriter struct {
	turn <-chan struct{}
	pool *Buffers
	t    *testing.T
	n    int64
}

func (w *gatedWriter) Write(b []byte) (int, error) {
	<-w.turn
	w.n += int64(len(b))
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	if most := budgetBytes + (len(w.pool.writes)-1)*chunkBytes; w.pool.used > most {
		w.t.Errorf("%d bytes are handed out to %d writes, want at most %d", w.pool.used, len(w.pool.writes), most)
	}
	return len(b), nil
}

// TestMemoryIsBounded writes weights of awkward shapes at the same time on many processors. Each must wait for its turn, as in a
// file, and turns come in either order of the starts.
func TestMemoryIsBounded(t *testing.T) {
	defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(16))
	perChannel := make([]scaling.QuantScale, 4096)
	for i := range perChannel {
		perChannel[i] = 1
	}
	high := blank(tensor.Float32, 512, 32768, true)
	higher := blank(tensor.Float16, 160, 1<<17, true)
	square := blank(tensor.Float32, 4096, 2048, true)
	pool := new(Buffers)
	var datas []tensor.Data
	for _, m := range []Matrix{high, higher, square} {
		w, err := NewWeight(m, []scaling.QuantScale{1}, pool)
		if err != nil {
			t.Fatal(err)
		}
		datas = append(datas, w)
	}
	w, err := NewWeight(square, perChannel, pool)
	if err != nil {
		t.Fatal(err)
	}
	datas = append(datas, w, Reorder(high, pool), Reorder(higher, pool))
	for _, order := range [][]int{{0, 1, 2, 3}, {5, 4, 3, 1}} {
		for _, backwards := range []bool{false, true} {
			turns := make([]chan struct{}, len(order)+1)
			for i := range turns {
				turns[i] = make(chan struct{})
			}
			var wg sync.WaitGroup
			for i, d := range order {
				place := i
				if backwards {
					place = len(order) - 1 - i
				}
				wg.Go(func() {
					out := &gatedWriter{turn: turns[place], pool: pool, t: t}
					if _, err := datas[d].WriteTo(out); err != nil || out.n != datas[d].Size() {
						t.Errorf("weight %d: wrote %d of %d bytes: %v", d, out.n, datas[d].Size(), err)
					}
					close(turns[place+1])
				})
			}
			close(turns[0])
			wg.Wait()
		}
	}
	if pool.used != 0 || len(pool.writes) != 0 {
		t.Errorf("%d bytes stay handed out to %d writes", pool.used, len(pool.writes))
	}
	total := 0
	for _, c := range pool.chunks {
		total += len(c.mem)
		if len(c.blocks) != 0 {
			t.Errorf("a chunk has %d blocks left", len(c.blocks))
		}
	}
	t.Logf("%d MiB in %d chunks", total>>20, len(pool.chunks))
	if total > 96<<20 {
		t.Errorf("took %d bytes from the system, want at most 96 MiB", total)
	}
}

// TestPanelsFitAndCover cuts matrices of many shapes: the panels are the matrix in [N, K] order, and each fits into a chunk with
// all that it needs besides.
func TestPanelsFitAndCover(t *testing.T) {
	for _, size := range [][2]int64{{1, 1}, {1 << 27, 1}, {1, 1 << 27}, {3, 1<<24 + 5}, {64, 1 << 23}, {512, 65536}, {960, 4096}, {65536, 512},
		{28672, 8192}, {8192, 28672}, {321, 40000}, {1 << 20, 100}} {
		for _, transposed := range []bool{false, true} {
			for _, width := range []int{1, 2, 4, 8} {
				m := Matrix{N: size[0], K: size[1], Transposed: transposed}
				c := cut(m, width)
				next := 0 // the element that the next panel begins with
				for i := range c.count() {
					p := c.at(i)
					if at := p.lo*c.k + p.from; at != next || p.channels() < 1 || p.inputs() < 1 || p.channels() > 1 && p.inputs() != c.k {
						t.Fatalf("%v, width %d: panel %d is %+v, want one that begins at element %d", m, width, i, p, next)
					}
					next += p.channels() * p.inputs()
					bytes := aligned(p.channels() * p.inputs() * width)
					for _, kernel := range [][2]int{{tileRows, width}, {tileRows, 5}, {tileRowsPerChannel, 8}} {
						tl := tileOf(p, kernel[0], kernel[1])
						if tl.tall < 1 || tl.wide < 1 || aligned(bytes+tl.tall*tl.wide*kernel[1]) > chunkBytes {
							t.Fatalf("%v, width %d: panel %+v with tile %+v is larger than a chunk", m, width, p, tl)
						}
					}
				}
				if next != int(m.N*m.K) {
					t.Fatalf("%v, width %d: panels have %d elements", m, width, next)
				}
			}
		}
	}
}

// TestChannelsInParts cuts channels into parts, as happens to those of many million inputs, and expects the same bytes.
func TestChannelsInParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, dtype := range []tensor.DType{tensor.Float32, tensor.Float16} {
		for _, transposed := range []bool{false, true} {
			m, _ := source(t, dtype, 7, 501, transposed, rng)
			parts := panels{n: 7, k: 501, channels: 1, inputs: 130}
			for _, scales := range [][]scaling.QuantScale{{100}, {10, 20, 30, 40, 50, 60, 70}} {
				w, err := NewWeight(m, scales, new(Buffers))
				if err != nil {
					t.Fatal(err)
				}
				var want, got bytes.Buffer
				if _, err := w.WriteTo(&want); err != nil {
					t.Fatal(err)
				}
				whole, _ := w.Stats()
				if _, err := w.write(&got, parts); err != nil {
					t.Fatal(err)
				}
				st, _ := w.Stats()
				if !bytes.Equal(got.Bytes(), want.Bytes()) || st.Amax != whole.Amax || st.Saturated != whole.Saturated || st.Flushed != whole.Flushed {
					t.Errorf("%s, transposed %t, %d scales: codes or statistics differ", dtype, transposed, len(scales))
				}
			}
		}
		m, _ := source(t, dtype, 7, 501, true, rng)
		var want, got bytes.Buffer
		if _, err := Reorder(m, new(Buffers)).WriteTo(&want); err != nil {
			t.Fatal(err)
		}
		if _, err := (reordered{m, new(Buffers)}).write(&got, panels{n: 7, k: 501, channels: 1, inputs: 130}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("%s: reordered bytes differ", dtype)
		}
	}
}

// TestReorderTurns holds Reorder against the plain formula, for every width of an element.
func TestReorderTurns(t *testing.T) {
	for _, dtype := range []tensor.DType{tensor.Float8E4M3FN, tensor.BFloat16, tensor.Float32, tensor.Float64} {
		for _, size := range [][2]int{{1, 1}, {5, 3}, {330, 130}, {40, 700}} {
			n, k, width := size[0], size[1], dtype.Bits()/8
			m := blank(dtype, int64(n), int64(k), true)
			src, _ := m.Source.Bytes()
			rng := rand.New(rand.NewPCG(13, 14))
			for i := range src {
				src[i] = byte(rng.Uint32())
			}
			var got bytes.Buffer
			if _, err := Reorder(m, new(Buffers)).WriteTo(&got); err != nil {
				t.Fatal(err)
			}
			for i := range n * k {
				from := (i%k*n + i/k) * width
				if !bytes.Equal(got.Bytes()[i*width:(i+1)*width], src[from:from+width]) {
					t.Fatalf("%s [%d, %d]: element %d is wrong", dtype, n, k, i)
				}
			}
		}
	}
}

// TestManyColumns measures a matrix whose rows take more than one block.
func TestManyColumns(t *testing.T) {
	const n, k = 2*blockColumns + 77, 19
	for _, dtype := range []tensor.DType{tensor.Float32, tensor.BFloat16} {
		m, values := source(t, dtype, n, k, true, rand.New(rand.NewPCG(15, 16)))
		a, err := Measure(t.Context(), m, true)
		if err != nil {
			t.Fatal(err)
		}
		for c := range n {
			var want float32
			for _, v := range values[c*k : (c+1)*k] {
				want = max(want, v, -v)
			}
			if a.Channel[c] != want {
				t.Fatalf("%s, channel %d: got %g, want %g", dtype, c, a.Channel[c], want)
			}
		}
	}
}

// TestAFailedWriteGivesItsMemoryBack fails while others wait for memory.
func TestAFailedWriteGivesItsMemoryBack(t *testing.T) {
	defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(16))
	pool := new(Buffers)
	m := blank(tensor.BFloat16, 512, 1<<17, true)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			w, err := NewWeight(m, []scaling.QuantScale{1}, pool)
			if err != nil {
				t.Error(err)
				return
			}
			out := io.Writer(&shortWriter{left: i << 23})
			if i == 3 {
				out = io.Discard
			}
			if _, err := w.WriteTo(out); (err != nil) != (i < 3) {
				t.Errorf("write %d: got error %v", i, err)
			}
		})
	}
	wg.Wait()
	if pool.used != 0 || len(pool.writes) != 0 {
		t.Errorf("%d bytes stay handed out", pool.used)
	}
}
