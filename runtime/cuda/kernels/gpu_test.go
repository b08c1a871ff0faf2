package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// Tolerances of ‖got − want‖ / ‖want‖, want in float64 of the inputs as they are in memory.
const (
	tolFloat32   = 2e-6 // float32 sums of some thousand terms, functions of 2 ulp
	tolBFloat16  = 4e-3 // one rounding to 8 bits: 2^-8 at most, where all values round alike; 1.7e-3 as a norm of many
	tolAttention = 6e-3 // and the weights rounded to bfloat16 on their way through the tensor cores
)

var shared struct {
	once sync.Once
	dev  *driver.Device
	set  *Set
	err  error
}

// openGPU opens the first GPU once for all tests.
func openGPU() {
	api, err := driver.Load()
	if err != nil {
		shared.err = err
		return
	}
	if shared.dev, shared.err = driver.Open(api, 0); shared.err != nil {
		return
	}
	shared.err = shared.dev.Do(func(c *driver.Context) (err error) {
		shared.set, err = New(c)
		return err
	})
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.dev != nil {
		if err := shared.dev.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close the GPU:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// guard is how many bytes behind every array must stay as they are.
const guard, poison = 64, 0xcb

// gpu is a test's hold on the GPU: arrays are poisoned when made, and watched beyond their ends.
type gpu struct {
	testing.TB
	*Set
	rnd   *rand.Rand
	sizes map[driver.Ptr]int64
}

// onGPU runs f with the GPU, or skips where there is none.
func onGPU(t testing.TB, f func(g *gpu)) {
	t.Helper()
	shared.once.Do(openGPU)
	if shared.err != nil {
		t.Skipf("NO GPU, NOTHING TESTED: %v", shared.err)
	}
	err := shared.dev.Do(func(*driver.Context) error {
		g := &gpu{t, shared.set, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), map[driver.Ptr]int64{}}
		defer g.done()
		f(g)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (g *gpu) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

// done checks what lies behind the arrays and frees them.
func (g *gpu) done() {
	for p, n := range g.sizes {
		b := make([]byte, guard)
		if err := g.c.Read(b, p.Add(n), 0); err != nil {
			g.Error(err)
			return
		}
		for i, v := range b {
			if v != poison {
				g.Errorf("byte %d behind an array of %d bytes was written", i, n)
				break
			}
		}
		if err := g.c.Free(p); err != nil {
			g.Error(err)
		}
	}
}

// alloc makes an array of n poisoned bytes.
func (g *gpu) alloc(n int64) driver.Ptr {
	g.Helper()
	p, err := g.c.Alloc(n + guard)
	g.must(err)
	g.must(g.c.Set8(p, poison, n+guard, 0))
	g.sizes[p] = n
	return p
}

func (g *gpu) put(b []byte) driver.Ptr {
	g.Helper()
	p := g.alloc(int64(len(b)))
	g.must(g.c.Write(p, b, 0))
	return p
}

func (g *gpu) get(p driver.Ptr, n int64) []byte {
	g.Helper()
	b := make([]byte, n)
	g.must(g.c.Read(b, p, 0))
	return b
}

// bits are values as type t holds them in memory.
func bits(t Type, v []float32) []byte {
	b := make([]byte, int64(len(v))*t.Size())
	for i, x := range v {
		switch t {
		case F32:
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(x))
		case F16:
			binary.LittleEndian.PutUint16(b[2*i:], uint16(float8.Float16FromFloat32(x)))
		case BF16:
			binary.LittleEndian.PutUint16(b[2*i:], uint16(float8.BFloat16FromFloat32(x)))
		case Bool:
			if x != 0 {
				b[i] = 1
			}
		case I32:
			binary.LittleEndian.PutUint32(b[4*i:], uint32(int32(x)))
		case I64:
			binary.LittleEndian.PutUint64(b[8*i:], uint64(int64(x)))
		}
	}
	return b
}

// values is the reverse of bits.
func values(t Type, b []byte) []float32 {
	v := make([]float32, int64(len(b))/t.Size())
	for i := range v {
		switch t {
		case F32:
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		case F16:
			v[i] = float8.Float16(binary.LittleEndian.Uint16(b[2*i:])).Float32()
		case BF16:
			v[i] = float8.BFloat16(binary.LittleEndian.Uint16(b[2*i:])).Float32()
		case Bool:
			v[i] = float32(b[i])
		}
	}
	return v
}

// normal draws n values and gives them as type t holds them, on the GPU and here.
func (g *gpu) normal(t Type, n int64, sigma float64) (driver.Ptr, []float32) {
	g.Helper()
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(g.rnd.NormFloat64() * sigma)
	}
	b := bits(t, v)
	return g.put(b), values(t, b)
}

// number puts one float32.
func (g *gpu) number(v float32) driver.Ptr { return g.put(bits(F32, []float32{v})) }

func (g *gpu) read(t Type, p driver.Ptr, n int64) []float32 { return values(t, g.get(p, n*t.Size())) }

// codes makes room for n codes with their amax.
func (g *gpu) codes(f Type, n int64, scale float32) Codes {
	return Codes{To: g.alloc(n), Format: f, Scale: g.number(scale), Amax: g.number(0)}
}

var formats = map[Type]float8.Format{E4M3: float8.E4M3FNFormat, E5M2: float8.E5M2Format}

// tolerance is that of a kernel whose output is of type t.
func tolerance(t Type) float64 {
	if t == BF16 {
		return tolBFloat16
	}
	return tolFloat32
}

// near fails where got is further from want than tol allows, or NaN in other places.
func (g *gpu) near(what string, got []float32, want []float64, tol float64) {
	g.Helper()
	if len(got) != len(want) {
		g.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	var diff, norm float64
	for i, w := range want {
		x := float64(got[i])
		if math.IsNaN(w) || math.IsNaN(x) || math.IsInf(w, 0) || math.IsInf(x, 0) {
			if !(math.IsNaN(w) && math.IsNaN(x)) && w != x {
				g.Errorf("%s: element %d is %v, want %v", what, i, x, w)
				return
			}
			continue
		}
		diff += (x - w) * (x - w)
		norm += w * w
	}
	if e := math.Sqrt(diff / max(norm, 1e-60)); !(e <= tol) {
		g.Errorf("%s: error %.3g of the norm, tolerance %.3g", what, e, tol)
	} else if testing.Verbose() {
		g.Logf("%s: error %.3g of the norm, tolerance %.3g", what, e, tol)
	}
}

// sameCodes holds codes and amax of a fused kernel against those of its own output y, rows of cols, which package float8 casts: every bit.
func (g *gpu) sameCodes(what string, q Codes, y []float32, scale float32, cols int64) {
	g.Helper()
	ld := q.Ld
	if ld == 0 {
		ld = cols
	}
	rows := int64(len(y)) / cols
	got := g.get(q.To, rows*ld)
	want := make([]byte, cols)
	amax := float32(0)
	for r := range rows {
		st := float8.CastFloat32(want, y[r*cols:(r+1)*cols], formats[q.Format], scale)
		amax = float8.MaxAmax(amax, st.Amax)
		for c := range ld {
			w := byte(0)
			if c < cols {
				w = want[c]
			}
			if got[r*ld+c] != w {
				g.Errorf("%s: code of row %d, column %d is %#x, want %#x", what, r, c, got[r*ld+c], w)
				return
			}
		}
	}
	g.sameAmax(what, q.Amax, amax)
}

func (g *gpu) sameAmax(what string, at driver.Ptr, want float32) {
	g.Helper()
	got := g.read(F32, at, 1)[0]
	if got != want && !(got != got && want != want) {
		g.Errorf("%s: amax %v, want %v", what, got, want)
	}
}
