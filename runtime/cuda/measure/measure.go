package measure

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
)

// Meter measures on one card. It lives inside a driver.Device.Do.
type Meter struct {
	// Rest is how long the card rests before each measurement. One that is kept busy slows down: the same product took from 0.193 to
	// 0.215 ms within a second on an H200. What is measured next would pay for what was measured before.
	Rest time.Duration

	c      *driver.Context
	lt     *lt.Handle
	set    *kernels.Set
	stream driver.Stream
	events [2]driver.Event
	chunks [2][]byte // random bfloat16 values, of inputs and of weights
	runs   int       // replays that a median is of
}

// New is a meter on c's card whose figures are medians of so many runs.
func New(c *driver.Context, library *lt.Library, runs int) (m *Meter, err error) {
	m = &Meter{c: c, runs: max(runs, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	if m.set, err = kernels.New(c); err != nil {
		return m, err
	}
	if m.lt, err = library.New(c, lt.DefaultWorkspace); err != nil {
		return m, err
	}
	if m.stream, err = c.NewStream(); err != nil {
		return m, err
	}
	for i := range m.events {
		if m.events[i], err = c.NewEvent(true); err != nil {
			return m, err
		}
	}
	for i := range m.chunks {
		m.chunks[i] = normal(4<<20, uint64(i))
	}
	return m, nil
}

// Close gives everything back.
func (m *Meter) Close() error {
	var errs []error
	if m.lt != nil {
		errs = append(errs, m.lt.Close(m.c))
	}
	if m.set != nil {
		errs = append(errs, m.set.Close())
	}
	for _, e := range m.events {
		if e != 0 {
			errs = append(errs, m.c.DestroyEvent(e))
		}
	}
	if m.stream != 0 {
		errs = append(errs, m.c.DestroyStream(m.stream))
	}
	return errors.Join(errs...)
}

// normal is n normal values in bfloat16.
func normal(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, 0, 2*n)
	for range n {
		b = binary.LittleEndian.AppendUint16(b, uint16(math.Float32bits(float32(r.NormFloat64()))>>16))
	}
	return b
}

// operand says which values a matrix has: an input and a weight are not alike.
type operand int

const (
	input operand = iota
	weight
)

// memory is what one measurement takes from the card, to be given back.
type memory struct {
	m    *Meter
	ptrs []driver.Ptr
	err  error
}

func (a *memory) take(bytes int64) driver.Ptr {
	if a.err != nil {
		return 0
	}
	var p driver.Ptr
	if p, a.err = a.m.c.Alloc(bytes); a.err == nil {
		a.ptrs = append(a.ptrs, p)
	}
	return p
}

// normal is n normal bfloat16 values; they repeat after a few million.
func (a *memory) normal(n int64, what operand) driver.Ptr {
	p, chunk := a.take(2*n), a.m.chunks[what]
	for at := int64(0); a.err == nil && at < 2*n; at += int64(len(chunk)) {
		a.err = a.m.c.Write(p+driver.Ptr(at), chunk[:min(int64(len(chunk)), 2*n-at)], a.m.stream)
	}
	return p
}

// reach is a scale that takes normal values to the whole range of e4m3, as one of their amax does.
const reach = 84

// codes are n normal values times reach in e4m3.
func (a *memory) codes(n int64, what operand) driver.Ptr {
	v, p, scale := a.normal(n, what), a.take(n), a.float(reach)
	if a.err == nil {
		a.err = a.m.set.Cast(kernels.Codes{To: p, Format: kernels.E4M3, Scale: scale}, v, kernels.BF16, n, 0, a.m.stream)
	}
	return p
}

// float is a float32.
func (a *memory) float(v float32) driver.Ptr {
	p := a.take(16)
	if a.err == nil {
		a.err = a.m.c.Write(p, binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)), a.m.stream)
	}
	return p
}

func (a *memory) free() error {
	var errs []error
	for _, p := range a.ptrs {
		errs = append(errs, a.m.c.Free(p))
	}
	return errors.Join(errs...)
}

// calls are how many launches are recorded together, where each multiplies so many numbers: work for a millisecond or two on a large
// card. torch_bench.py of bench/gpu has the same rule, since a longer graph heats the card more.
func calls(products int64) int { return int(min(max(1<<40/products, 1), 50)) }

// moves is how many launches are recorded together that only move memory.
const moves = 10

// time is the median time of a call of f, which launches work on the meter's stream and is recorded n times.
func (m *Meter) time(n int, f func() error) (t time.Duration, err error) {
	// Without a recording first: kernels are loaded, plans made.
	for range 2 {
		if _, err := m.between(f); err != nil {
			return 0, err
		}
	}
	g, err := m.c.Capture(m.stream, func() error {
		for range n {
			if err := f(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.c.FreeGraph(g)) }()
	replay := func() error { return m.c.Replay(g, m.stream) }
	time.Sleep(m.Rest)
	for range 3 {
		if _, err := m.between(replay); err != nil {
			return 0, err
		}
	}
	times := make([]time.Duration, m.runs)
	for i := range times {
		if times[i], err = m.between(replay); err != nil {
			return 0, err
		}
	}
	slices.Sort(times)
	return times[len(times)/2] / time.Duration(n), nil
}

// between is how long the card takes for what f launches.
func (m *Meter) between(f func() error) (time.Duration, error) {
	if err := m.c.Record(m.events[0], m.stream); err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	if err := m.c.Record(m.events[1], m.stream); err != nil {
		return 0, err
	}
	if err := m.c.SyncEvent(m.events[1]); err != nil {
		return 0, err
	}
	ms, err := m.c.Elapsed(m.events[0], m.events[1])
	return time.Duration(float64(ms) * 1e6), err
}

// with measures what make prepares, n calls of it in a graph.
func (m *Meter) with(what string, n int, make func(a *memory) func() error) (t time.Duration, err error) {
	a := &memory{m: m}
	defer func() {
		if err = errors.Join(err, a.free()); err != nil {
			t, err = 0, fmt.Errorf("measure: %s: %w", what, err)
		}
	}()
	f := make(a)
	if a.err != nil {
		return 0, a.err
	}
	return m.time(n, f)
}

// Copy is the time of a copy of so many bytes on the card; it moves twice as many.
func (m *Meter) Copy(bytes int64) (time.Duration, error) {
	return m.with("copy", moves, func(a *memory) func() error {
		from, to := a.normal(bytes/2, input), a.take(bytes)
		return func() error { return m.c.Copy(to, from, bytes, m.stream) }
	})
}

// CastAmax is the time of the fused kernel that writes the e4m3 codes of n bfloat16 values and raises their amax: 3·n bytes.
func (m *Meter) CastAmax(n int64) (time.Duration, error) {
	return m.with("cast and amax", moves, func(a *memory) func() error {
		x, q, scale, amax := a.normal(n, input), a.take(n), a.float(reach), a.float(0)
		return func() error {
			return m.set.Cast(kernels.Codes{To: q, Format: kernels.E4M3, Scale: scale, Amax: amax}, x, kernels.BF16, n, 0, m.stream)
		}
	})
}

// BFloat16 is the time of x[M,K]·w[N,K]ᵀ in bfloat16.
func (m *Meter) BFloat16(tokens, out, in int64) (time.Duration, error) {
	return m.with("bfloat16 product", calls(tokens*out*in), func(a *memory) func() error {
		p := lt.Problem{M: int(tokens), N: int(out), K: int(in), X: lt.BF16, W: lt.BF16, Y: lt.BF16}
		return a.product(p, lt.Operands{X: a.normal(tokens*in, input), W: a.normal(out*in, weight), Y: a.take(2 * tokens * out)})
	})
}

// Float8 is the time of the same product of e4m3 codes with scales, to bfloat16.
func (m *Meter) Float8(tokens, out, in int64) (time.Duration, error) {
	return m.with("float8 product", calls(tokens*out*in), func(a *memory) func() error {
		return a.product(float8(tokens, out, in), lt.Operands{X: a.codes(tokens*in, input), W: a.codes(out*in, weight), Y: a.take(2 * tokens * out),
			ScaleX: a.float(1. / reach), ScaleW: a.float(1. / reach)})
	})
}

// Linear is the time of a Float8Linear with a stored scale, as delayed scaling has it: the amax is cleared, the bfloat16 input cast with
// its amax, the product made. Nothing before the layer helps with the cast.
func (m *Meter) Linear(tokens, out, in int64) (time.Duration, error) {
	return m.with("Float8Linear", calls(tokens*out*in), func(a *memory) func() error {
		x, q, scale, amax := a.normal(tokens*in, input), a.take(tokens*in), a.float(reach), a.float(0)
		product := a.product(float8(tokens, out, in), lt.Operands{X: q, W: a.codes(out*in, weight), Y: a.take(2 * tokens * out),
			ScaleX: a.float(1. / reach), ScaleW: a.float(1. / reach)})
		return func() error {
			if err := m.c.Set32(amax, 0, 1, m.stream); err != nil {
				return err
			}
			codes := kernels.Codes{To: q, Format: kernels.E4M3, Scale: scale, Amax: amax}
			if err := m.set.Cast(codes, x, kernels.BF16, tokens*in, 0, m.stream); err != nil {
				return err
			}
			return product()
		}
	})
}

func float8(tokens, out, in int64) lt.Problem {
	return lt.Problem{M: int(tokens), N: int(out), K: int(in), X: lt.E4M3, W: lt.E4M3, Y: lt.BF16, Fast: true}
}

// product launches a product.
func (a *memory) product(p lt.Problem, o lt.Operands) func() error {
	if a.err != nil {
		return nil
	}
	plan, err := a.m.lt.Plan(a.m.c, p)
	if err != nil {
		a.err = err
		return nil
	}
	return func() error { return a.m.lt.Matmul(a.m.c, plan, o, a.m.stream) }
}
