package lt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/drivertest"
)

// rig is a device with cuBLASLt.
type rig struct {
	dev    *driver.Device
	lib    *Library
	h      *Handle
	s      driver.Stream
	cuda   *drivertest.Library // nil on a GPU
	cublas *drivertest.Library
}

// newRig opens what was found.
func newRig(t testing.TB, f driver.Found) *rig {
	t.Helper()
	d, err := f.Driver()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{}
	if r.lib, err = Open(f.CUBLASLt); err != nil {
		t.Fatal(err)
	}
	if r.dev, err = driver.Open(d, 0); err != nil {
		t.Fatal(err)
	}
	r.do(t, func(c *driver.Context) (err error) {
		if r.s, err = c.NewStream(); err != nil {
			return err
		}
		r.h, err = r.lib.New(c, DefaultWorkspace)
		return err
	})
	t.Cleanup(func() {
		if r.dev.Lost() == nil {
			r.do(t, func(c *driver.Context) error { return r.h.Close(c) })
		}
		if err := r.dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// fakeRig is one without a GPU.
func fakeRig(t testing.TB, version string) *rig {
	t.Helper()
	cuda, cublas := drivertest.CUDA(t).Use(driver.EnvCUDA), drivertest.CUBLASLt(t, version).Use(driver.EnvCUBLASLt)
	r := newRig(t, driver.Find())
	r.cuda, r.cublas = cuda, cublas
	return r
}

// gpuRig is one with a GPU that has float8. Without one the test is skipped, saying what is missing.
func gpuRig(t testing.TB) *rig {
	t.Helper()
	f := driver.Find()
	if err := f.Err(); err != nil {
		t.Skipf("no GPU: %v", err)
	}
	d, err := f.Driver()
	if err != nil {
		t.Skipf("no GPU: %v", err)
	}
	infos, err := driver.Devices(d)
	if err != nil {
		t.Skipf("no GPU: %v", err)
	}
	if why := Why(infos[0], Problem{M: 16, N: 16, K: 16, X: E4M3, W: E4M3, Y: BF16}); why != "" {
		t.Skipf("no GPU with float8: %s", why)
	}
	t.Logf("%s, CUDA %s, cuBLASLt %s", infos[0].Name, f.CUDA.VersionText(), f.CUBLASLt.VersionText())
	return newRig(t, f)
}

// do runs f on the device's thread and fails the test where f fails.
func (r *rig) do(t testing.TB, f func(c *driver.Context) error) {
	t.Helper()
	if err := r.dev.Do(f); err != nil {
		t.Fatal(err)
	}
}

// decode is the value of a code of a float8 format, by its definition: sign, exponent, mantissa of m bits.
func decode(code byte, m, bias int) float64 {
	e, f := int(code&0x7f)>>m, int(code)&(1<<m-1)
	x := math.Ldexp(float64(f), 1-bias-m)
	if e > 0 {
		x = math.Ldexp(float64(1<<m+f), e-bias-m)
	}
	if code&0x80 != 0 {
		return -x
	}
	return x
}

// random makes n elements of type t, of magnitude up to 2: what they are in memory, and their values.
func random(rng *rand.Rand, t Type, n int) ([]byte, []float64) {
	b := make([]byte, n*t.Size())
	v := make([]float64, n)
	for i := range v {
		switch t {
		case E4M3, E5M2:
			m, bias := 3, 7
			if t == E5M2 {
				m, bias = 2, 15
			}
			for {
				b[i] = byte(rng.Uint32())
				if v[i] = decode(b[i], m, bias); math.Abs(v[i]) <= 2 {
					break
				}
			}
		case BF16:
			u := math.Float32bits(float32(rng.NormFloat64()/2)) >> 16
			binary.LittleEndian.PutUint16(b[2*i:], uint16(u))
			v[i] = float64(math.Float32frombits(u << 16))
		case F16:
			// ±(1 + f/1024) · 2^-e with e from 1 to 4
			u := uint16(rng.Uint32()&0x83ff) | uint16(11+rng.Uint32()%4)<<10
			binary.LittleEndian.PutUint16(b[2*i:], u)
			v[i] = half(u)
		case F32:
			f := float32(rng.NormFloat64() / 2)
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(f))
			v[i] = float64(f)
		}
	}
	return b, v
}

// half is the value of a finite float16.
func half(u uint16) float64 {
	e, f := int(u>>10)&31, int(u)&1023
	x := math.Ldexp(float64(f), -24)
	if e > 0 {
		x = math.Ldexp(float64(1024+f), e-25)
	}
	if u&0x8000 != 0 {
		return -x
	}
	return x
}

// values reads elements of type t.
func values(t Type, b []byte) []float64 {
	v := make([]float64, len(b)/t.Size())
	for i := range v {
		switch t {
		case E4M3:
			v[i] = decode(b[i], 3, 7)
		case E5M2:
			v[i] = decode(b[i], 2, 15)
		case BF16:
			v[i] = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16))
		case F16:
			v[i] = half(binary.LittleEndian.Uint16(b[2*i:]))
		case F32:
			v[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
		}
	}
	return v
}

func floats(v []float64) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
	}
	return b
}

// epsilon is half the distance of 1 to the next number of type t, above any rounding of a number that is not tiny.
func epsilon(t Type) float64 {
	switch t {
	case BF16:
		return 1.0 / 256
	case F16:
		return 1.0 / 2048
	case E4M3:
		return 1.0 / 16
	case E5M2:
		return 1.0 / 8
	}
	return 1.0 / (1 << 24)
}

// sample is a problem with numbers: inputs, and what must come out.
type sample struct {
	p                               Problem
	x, w, bias, scaleX, scaleW      []byte
	scaleY                          float64
	want, magnitude                 []float64 // outputs, and the sum of |terms| behind each
	valueX, valueW, scalesX, scaleV []float64
}

// newSample makes random inputs for p and computes the outputs in float64.
func newSample(seed uint64, p Problem) *sample {
	rng := rand.New(rand.NewPCG(seed, 8))
	batch := max(p.Batch, 1)
	span := func(one int, stride int64) int { return one + int(stride)*(batch-1) }
	s := &sample{p: p, scaleY: 1}
	s.x, s.valueX = random(rng, p.X, span(p.M*p.K, p.XStride))
	s.w, s.valueW = random(rng, p.W, span(p.N*p.K, p.WStride))
	s.scalesX, s.scaleV = []float64{1}, []float64{1}
	if p.X.Float8() {
		scales := func(n int) []float64 {
			v := make([]float64, n)
			for i := range v {
				v[i] = float64(float32(0.25 + rng.Float64()))
			}
			return v
		}
		nx, nw := 1, 1
		if p.Rows {
			nx = p.M
		}
		if p.Channels {
			nw = p.N
		}
		s.scalesX, s.scaleV = scales(nx), scales(nw)
		s.scaleX, s.scaleW = floats(s.scalesX), floats(s.scaleV)
	}
	bias := make([]float64, p.N)
	if p.Bias != None {
		s.bias, bias = random(rng, p.Bias, p.N)
	}
	if p.Y.Float8() {
		s.scaleY = 0.125
	}
	size := span(p.M*p.N, p.YStride)
	s.want, s.magnitude = make([]float64, size), make([]float64, size)
	for b := range batch {
		x, w := s.valueX[b*int(p.XStride):], s.valueW[b*int(p.WStride):]
		for m := range p.M {
			for n := range p.N {
				var sum, abs float64
				for k := range p.K {
					wi := n*p.K + k
					if p.KN {
						wi = k*p.N + n
					}
					t := x[m*p.K+k] * w[wi]
					sum += t
					abs += math.Abs(t)
				}
				scale := s.scalesX[m%len(s.scalesX)] * s.scaleV[n%len(s.scaleV)]
				y := sum*scale + bias[n]
				switch p.Activation {
				case ReLU:
					y = max(y, 0)
				case GELU:
					y = 0.5 * y * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(y+0.044715*y*y*y)))
				}
				i := b*int(p.YStride) + m*p.N + n
				s.want[i], s.magnitude[i] = y*s.scaleY, (abs*scale+math.Abs(bias[n]))*s.scaleY
			}
		}
	}
	return s
}

// upload puts the inputs on the GPU. free gives them back.
func (s *sample) upload(c *driver.Context, st driver.Stream) (o Operands, free func() error, err error) {
	var all []driver.Ptr
	put := func(b []byte) (p driver.Ptr) {
		if len(b) == 0 || err != nil {
			return 0
		}
		if p, err = c.Alloc(int64(len(b))); err == nil {
			all = append(all, p)
			err = c.Write(p, b, st)
		}
		return p
	}
	o = Operands{X: put(s.x), W: put(s.w), ScaleX: put(s.scaleX), ScaleW: put(s.scaleW), Bias: put(s.bias)}
	if s.p.Y.Float8() {
		o.ScaleY = put(floats([]float64{s.scaleY}))
	}
	o.Y = put(make([]byte, len(s.want)*s.p.Y.Size()))
	return o, func() (err error) {
		for _, p := range all {
			if e := c.Free(p); e != nil {
				err = e
			}
		}
		return err
	}, err
}

// errorOf compares outputs: the largest error beyond rounding to p.Y, as a share of the sum of |terms|, and where it is.
func (s *sample) errorOf(got []float64) (worst float64, at string) {
	for i, want := range s.want {
		if s.magnitude[i] == 0 { // between the outputs of a batch
			continue
		}
		d := math.Abs(got[i]-want) - epsilon(s.p.Y)*math.Abs(want)
		if s.p.Y.Float8() {
			d -= math.Ldexp(1, -10) // half the smallest e4m3, and more than that of e5m2
		}
		if e := d / s.magnitude[i]; e > worst || math.IsNaN(e) {
			worst, at = e, fmt.Sprintf("element %d is %g, want %g", i, got[i], want)
			if math.IsNaN(e) {
				return math.Inf(1), at
			}
		}
	}
	return worst, at
}

// compute runs a sample.
func (r *rig) compute(c *driver.Context, s *sample) (plan *Plan, got []float64, err error) {
	if plan, err = r.h.Plan(c, s.p); err != nil {
		return nil, nil, err
	}
	o, free, err := s.upload(c, r.s)
	if err != nil {
		return nil, nil, err
	}
	spread := func(scale driver.Ptr, n int) (all driver.Ptr) {
		if err == nil {
			if all, err = c.Alloc(int64(4 * n)); err == nil {
				err = r.h.Spread(c, all, scale, n, r.s)
			}
		}
		return all
	}
	if plan.SpreadX {
		o.ScaleX = spread(o.ScaleX, s.p.M)
		defer func() { err = errors.Join(err, c.Free(o.ScaleX)) }()
	}
	if plan.SpreadW {
		o.ScaleW = spread(o.ScaleW, s.p.N)
		defer func() { err = errors.Join(err, c.Free(o.ScaleW)) }()
	}
	if err != nil {
		return nil, nil, err
	}
	if plan.MultiplyX {
		o.ScaleX = 0
	}
	if plan.MultiplyW {
		o.ScaleW = 0
	}
	if plan.Problem.Bias == None {
		o.Bias = 0
	}
	if err = r.h.Matmul(c, plan, o, r.s); err == nil {
		b := make([]byte, len(s.want)*s.p.Y.Size())
		if err = c.Read(b, o.Y, r.s); err == nil {
			got = values(s.p.Y, b)
		}
	}
	if c.Device().Lost() != nil {
		return plan, nil, err
	}
	if ferr := free(); err == nil {
		err = ferr
	}
	return plan, got, err
}

// tolerance is what the tensor cores may err, as a share of the sum of |terms|: float8 is summed in accumulators of some 14 bits, which
// are promoted to float32 every 128 elements of K unless it is fast; the other types in float32.
func tolerance(p Problem) float64 {
	switch {
	case p.Fast:
		return toleranceFast
	case p.X.Float8():
		return tolerancePrecise
	}
	return toleranceF32
}

const (
	toleranceFast    = 1.0 / (1 << 9)
	tolerancePrecise = 1.0 / (1 << 11)
	toleranceF32     = 1.0 / (1 << 18)
)

// problems are the products that every library must compute, at a size.
func problems(m, n, k int) []Problem {
	var list []Problem
	for _, pair := range [][2]Type{{E4M3, E4M3}, {E5M2, E4M3}, {E4M3, E5M2}} {
		for _, y := range []Type{BF16, F16, F32} {
			for _, fast := range []bool{false, true} {
				p := Problem{M: m, N: n, K: k, X: pair[0], W: pair[1], Y: y, Fast: fast}
				list = append(list, p)
				p.Bias = p.BiasType()
				list = append(list, p)
			}
		}
	}
	for _, t := range []Type{BF16, F16, F32} {
		p := Problem{M: m, N: n, K: k, X: t, W: t, Y: t}
		list = append(list, p)
		q := p
		q.KN = true
		list = append(list, q)
		q.Batch, q.XStride, q.WStride, q.YStride = 3, int64(m*k), int64(n*k), int64(m*n)+16
		list = append(list, q)
		q.KN, q.WStride = false, 0
		list = append(list, q)
		p.Bias = t
		list = append(list, p)
		if t != F32 {
			p.Y, p.Bias = F32, None
			list = append(list, p)
		}
	}
	for _, a := range []Activation{ReLU, GELU} {
		p := Problem{M: m, N: n, K: k, X: E4M3, W: E4M3, Y: BF16, Activation: a}
		list = append(list, p)
		p.Bias = BF16
		list = append(list, p)
		p.X, p.W = BF16, BF16
		list = append(list, p)
	}
	return append(list, Problem{M: m, N: n, K: k, X: E4M3, W: E4M3, Y: E4M3})
}

// newRand is a source of numbers that are the same each time.
func newRand() *rand.Rand { return rand.New(rand.NewPCG(1, 8)) }
