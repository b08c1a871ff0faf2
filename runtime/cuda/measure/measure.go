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
	c      *driver.Context
	lt     *lt.Handle
	set    *kernels.Set
	stream driver.Stream
	events [2]driver.Event
	chunk  []byte // random bfloat16 values
	runs   int    // replays that a median is of
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
	m.chunk = normal(4 << 20)
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
func normal(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, 2*n)
	for range n {
		b = binary.LittleEndian.AppendUint16(b, uint16(math.Float32bits(float32(r.NormFloat64()))>>16))
	}
	return b
}

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
func (a *memory) normal(n int64) driver.Ptr {
	p := a.take(2 * n)
	for at := int64(0); a.err == nil && at < 2*n; at += int64(len(a.m.chunk)) {
		a.err = a.m.c.Write(p+driver.Ptr(at), a.m.chunk[:min(int64(len(a.m.chunk)), 2*n-at)], a.m.stream)
	}
	return p
}

// codes are n normal values times 64 in e4m3: the range that a scale of their amax gives them.
func (a *memory) codes(n int64) driver.Ptr {
	v, p, scale := a.normal(n), a.take(n), a.float(64)
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

func (a *memory) free() {
	for _, p := range a.ptrs {
		a.err = errors.Join(a.err, a.m.c.Free(p))
	}
}

// calls are how many launches are recorded together: enough that a replay takes a few milliseconds.
func calls(once time.Duration) int {
	return int(min(max(2*time.Millisecond/max(once, time.Microsecond), 1), 50))
}

// time is the median time of a call of f, which launches work on the meter's stream.
func (m *Meter) time(f func() error) (time.Duration, error) {
	// Without a recording first: kernels are loaded, plans made, and it tells how long a call takes.
	var once time.Duration
	for range 2 {
		t, err := m.between(f)
		if err != nil {
			return 0, err
		}
		once = t
	}
	n := calls(once)
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
	defer m.c.FreeGraph(g)
	replay := func() error { return m.c.Replay(g, m.stream) }
	for range 2 {
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

// with measures what make prepares.
func (m *Meter) with(what string, make func(a *memory) func() error) (time.Duration, error) {
	a := &memory{m: m}
	defer a.free()
	f := make(a)
	if a.err != nil {
		return 0, fmt.Errorf("measure: %s: %w", what, a.err)
	}
	t, err := m.time(f)
	if err != nil {
		return 0, fmt.Errorf("measure: %s: %w", what, err)
	}
	return t, nil
}

// Copy is the time of a copy of so many bytes on the card; it moves twice as many.
func (m *Meter) Copy(bytes int64) (time.Duration, error) {
	return m.with("copy", func(a *memory) func() error {
		from, to := a.normal(bytes/2), a.take(bytes)
		return func() error { return m.c.Copy(to, from, bytes, m.stream) }
	})
}

// CastAmax is the time of the fused kernel that writes the e4m3 codes of n bfloat16 values and raises their amax: 3·n bytes.
func (m *Meter) CastAmax(n int64) (time.Duration, error) {
	return m.with("cast and amax", func(a *memory) func() error {
		x, q, scale, amax := a.normal(n), a.take(n), a.float(64), a.float(0)
		return func() error {
			return m.set.Cast(kernels.Codes{To: q, Format: kernels.E4M3, Scale: scale, Amax: amax}, x, kernels.BF16, n, 0, m.stream)
		}
	})
}

// BFloat16 is the time of x[M,K]·w[N,K]ᵀ in bfloat16.
func (m *Meter) BFloat16(tokens, out, in int64) (time.Duration, error) {
	return m.with("bfloat16 product", func(a *memory) func() error {
		p := lt.Problem{M: int(tokens), N: int(out), K: int(in), X: lt.BF16, W: lt.BF16, Y: lt.BF16}
		return a.product(p, lt.Operands{X: a.normal(tokens * in), W: a.normal(out * in), Y: a.take(2 * tokens * out)})
	})
}

// Float8 is the time of the same product of e4m3 codes with scales, to bfloat16.
func (m *Meter) Float8(tokens, out, in int64) (time.Duration, error) {
	return m.with("float8 product", func(a *memory) func() error {
		return a.product(float8(tokens, out, in), lt.Operands{X: a.codes(tokens * in), W: a.codes(out * in), Y: a.take(2 * tokens * out),
			ScaleX: a.float(1. / 64), ScaleW: a.float(1. / 64)})
	})
}

// Linear is the time of a Float8Linear with a stored scale, as delayed scaling has it: the amax is cleared, the bfloat16 input cast with
// its amax, the product made. Nothing before the layer helps with the cast.
func (m *Meter) Linear(tokens, out, in int64) (time.Duration, error) {
	return m.with("Float8Linear", func(a *memory) func() error {
		x, q, scale, amax := a.normal(tokens*in), a.take(tokens*in), a.float(64), a.float(0)
		product := a.product(float8(tokens, out, in), lt.Operands{X: q, W: a.codes(out * in), Y: a.take(2 * tokens * out),
			ScaleX: a.float(1. / 64), ScaleW: a.float(1. / 64)})
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
