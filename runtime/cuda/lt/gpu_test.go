package lt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

func TestGPUProducts(t *testing.T) {
	r := gpuRig(t)
	worst := map[string]float64{}
	for i, p := range slices.Concat(problems(5, 16, 32), problems(257, 272, 1040)) {
		s := newSample(uint64(i), p)
		kind := fmt.Sprintf("%v·%v → %v, fast %v", p.X, p.W, p.Y, p.Fast)
		r.do(t, func(c *driver.Context) error {
			plan, got, err := r.compute(c, s)
			if err != nil {
				t.Errorf("%v, fast %v: %v", p, p.Fast, err)
				return c.SyncAll()
			}
			e, at := s.errorOf(got)
			if e > tolerance(p) || plan.MultiplyX || plan.MultiplyW {
				t.Errorf("%v, fast %v: error %g of the sum of |terms|, want %g: %s", p, p.Fast, e, tolerance(p), at)
			}
			worst[kind] = max(worst[kind], e)
			return nil
		})
	}
	for kind, e := range worst {
		t.Logf("%s: largest error beyond rounding %.2g of the sum of |terms|", kind, e)
	}
}

// TestGPUComputesWhatWhyAllows asks for shapes on both sides of the rules: what Why allows must run and be right. What runs beside that
// is logged.
func TestGPUComputesWhatWhyAllows(t *testing.T) {
	r := gpuRig(t)
	more := map[string][]string{}
	for _, y := range []Type{BF16, F16, F32, E4M3} {
		for _, fast := range []bool{false, true} {
			for _, m := range []int{1, 3, 17} {
				for _, n := range []int{1, 2, 4, 8, 12, 16, 24, 36} {
					for _, k := range []int{8, 16, 24, 48} {
						p := Problem{M: m, N: n, K: k, X: E4M3, W: E4M3, Y: y, Fast: fast, Batch: 1}
						s := newSample(uint64(m*n*k), p)
						r.do(t, func(c *driver.Context) error {
							why := Why(c.Info(), p)
							if r.h.plans[p] == nil { // past the rules
								plan, err := r.h.ask(c, p)
								if err == nil {
									r.h.plans[p] = plan
								} else if why == "" {
									t.Errorf("%v, fast %v: %v", p, fast, err)
								}
								if err != nil {
									return nil
								}
							}
							_, got, err := r.compute(c, s)
							if err == nil {
								if e, at := s.errorOf(got); e > tolerance(p) {
									err = fmt.Errorf("error %g: %s", e, at)
								}
							}
							switch {
							case err != nil && why == "":
								t.Errorf("%v, fast %v: %v", p, fast, err)
							case err == nil && why != "":
								kind := fmt.Sprintf("%v fast %v", y, fast)
								more[kind] = append(more[kind], fmt.Sprintf("%d,%d,%d", m, n, k))
							}
							return nil
						})
					}
				}
			}
		}
	}
	for kind, shapes := range more {
		t.Logf("refused by Why, and ran: %s: %s", kind, strings.Join(shapes, " "))
	}
}

func TestGPUVectorsOfScales(t *testing.T) {
	r := gpuRig(t)
	seen := map[string]int{}
	for _, y := range []Type{BF16, F16, F32} {
		for _, fast := range []bool{false, true} {
			for _, bias := range []bool{false, true} {
				for _, v := range [][2]bool{{true, false}, {false, true}, {true, true}} {
					p := Problem{M: 33, N: 64, K: 128, X: E4M3, W: E4M3, Y: y, Fast: fast, Rows: v[0], Channels: v[1]}
					if bias {
						p.Bias = p.BiasType()
					}
					s := newSample(7, p)
					r.do(t, func(c *driver.Context) error {
						plan, got, err := r.compute(c, s)
						if err != nil {
							t.Errorf("%v, rows %v, channels %v: %v", p, p.Rows, p.Channels, err)
							return c.SyncAll()
						}
						seen[fmt.Sprintf("rows %v, channels %v: spread %v, %v, multiply %v, %v", p.Rows, p.Channels, plan.SpreadX, plan.SpreadW, plan.MultiplyX, plan.MultiplyW)]++
						if plan.MultiplyX || plan.MultiplyW {
							return nil // a library or a card before vectors; the fallback has a test of its own
						}
						if e, at := s.errorOf(got); e > tolerance(p) {
							t.Errorf("%v, rows %v, channels %v: error %g: %s", p, p.Rows, p.Channels, e, at)
						}
						return nil
					})
				}
			}
		}
	}
	for how, n := range seen {
		t.Logf("%s (%d problems)", how, n)
	}
}

func TestGPUProductInAGraph(t *testing.T) {
	r := gpuRig(t)
	p := Problem{M: 40, N: 64, K: 96, X: E4M3, W: E4M3, Y: BF16, Fast: true, Bias: BF16}
	first, second := newSample(1, p), newSample(2, p)
	r.do(t, func(c *driver.Context) error {
		plan, err := r.h.Plan(c, p)
		if err != nil {
			return err
		}
		o, free, err := first.upload(c, r.s)
		if err != nil {
			return err
		}
		g, err := c.Capture(r.s, func() error { return r.h.Matmul(c, plan, o, r.s) })
		if err != nil {
			return err
		}
		for _, s := range []*sample{first, second} {
			if err := errors.Join(c.Write(o.X, s.x, r.s), c.Write(o.W, s.w, r.s), c.Write(o.ScaleX, s.scaleX, r.s),
				c.Write(o.ScaleW, s.scaleW, r.s), c.Write(o.Bias, s.bias, r.s), c.Replay(g, r.s)); err != nil {
				return err
			}
			b := make([]byte, len(s.want)*p.Y.Size())
			if err := c.Read(b, o.Y, r.s); err != nil {
				return err
			}
			if e, at := s.errorOf(values(p.Y, b)); e > tolerance(p) {
				t.Errorf("error %g: %s", e, at)
			}
		}
		return errors.Join(c.FreeGraph(g), free())
	})
}

func TestGPUIsNotReachedByABadAddress(t *testing.T) {
	r := gpuRig(t)
	s := newSample(1, Problem{M: 40, N: 64, K: 96, X: E4M3, W: E4M3, Y: BF16, Bias: BF16})
	r.do(t, func(c *driver.Context) error {
		plan, err := r.h.Plan(c, s.p)
		if err != nil {
			return err
		}
		o, free, err := s.upload(c, r.s)
		if err != nil {
			return err
		}
		for i, bad := range []func(*Operands){
			func(o *Operands) { o.X++ }, func(o *Operands) { o.W += 8 }, func(o *Operands) { o.Y += 2 },
			func(o *Operands) { o.ScaleX += 4 }, func(o *Operands) { o.ScaleW += 4 }, func(o *Operands) { o.Bias += 2 },
		} {
			q := o
			bad(&q)
			if err := r.h.Matmul(c, plan, q, r.s); err == nil {
				t.Errorf("bad address %d was taken", i)
			}
		}
		return errors.Join(c.SyncAll(), free())
	})
}

func BenchmarkGPU(b *testing.B) {
	type kind struct {
		name string
		p    Problem
	}
	for _, size := range [][3]int{{8192, 8192, 8192}, {4096, 4096, 4096}, {8192, 4096, 4096}, {8192, 11008, 4096}, {2048, 4096, 4096}, {256, 1024, 1024}} {
		for _, k := range []kind{
			{"e4m3 fast", Problem{X: E4M3, W: E4M3, Y: BF16, Fast: true}},
			{"e4m3 precise", Problem{X: E4M3, W: E4M3, Y: BF16}},
			{"e4m3 fast bias", Problem{X: E4M3, W: E4M3, Y: BF16, Fast: true, Bias: BF16}},
			{"e4m3 fast vectors", Problem{X: E4M3, W: E4M3, Y: BF16, Fast: true, Rows: true, Channels: true}},
			{"e5m2 fast", Problem{X: E5M2, W: E4M3, Y: BF16, Fast: true}},
			{"bf16", Problem{X: BF16, W: BF16, Y: BF16}},
		} {
			p := k.p
			p.M, p.N, p.K = size[0], size[1], size[2]
			b.Run(fmt.Sprintf("%dx%dx%d/%s", p.M, p.N, p.K, k.name), func(b *testing.B) { benchmark(b, p) })
		}
	}
}

// benchmark times single launches by events, and reports the median.
func benchmark(b *testing.B, p Problem) {
	r := gpuRig(b)
	r.do(b, func(c *driver.Context) error {
		plan, err := r.h.Plan(c, p)
		if err != nil {
			return err
		}
		var all []driver.Ptr
		take := func(n int, word uint32) (at driver.Ptr) {
			if err == nil {
				if at, err = c.Alloc(int64(n)); err == nil {
					all = append(all, at)
					err = c.Set32(at, word, int64(n/4), r.s)
				}
			}
			return at
		}
		// Random bits cost more power than equal ones: the numbers are those of a layer, nearly.
		noise := func(t Type, n int) driver.Ptr {
			at := take(n*t.Size(), 0)
			block, _ := random(newRand(), t, 1<<20)
			for from := 0; from < n*t.Size() && err == nil; from += len(block) {
				err = c.Write(at.Add(int64(from)), block[:min(len(block), n*t.Size()-from)], r.s)
			}
			return at
		}
		one := uint32(0x3f800000)
		o := Operands{X: noise(p.X, p.M*p.K), W: noise(p.W, p.N*p.K), Y: take(p.M*p.N*p.Y.Size(), 0)}
		if p.X.Float8() {
			o.ScaleX, o.ScaleW = take(4*p.M, one), take(4*p.N, one)
		}
		if plan.MultiplyX {
			o.ScaleX, o.ScaleW = 0, 0
		}
		if p.Bias != None {
			o.Bias = take(4*p.N, 0)
		}
		if err != nil {
			return err
		}
		from, err := c.NewEvent(true)
		if err != nil {
			return err
		}
		to, err := c.NewEvent(true)
		if err != nil {
			return err
		}
		var times []float64
		for range 33 {
			if err := errors.Join(c.Record(from, r.s), r.h.Matmul(c, plan, o, r.s), c.Record(to, r.s), c.SyncEvent(to)); err != nil {
				return err
			}
			ms, err := c.Elapsed(from, to)
			if err != nil {
				return err
			}
			times = append(times, float64(ms))
		}
		times = times[3:] // the first ones load code
		slices.Sort(times)
		median := times[len(times)/2]
		b.ReportMetric(median, "ms/product")
		b.ReportMetric(p.FLOPs()/median/1e9, "TFLOP/s")
		b.ReportMetric(0, "ns/op")
		for _, at := range all {
			if err := c.Free(at); err != nil {
				return err
			}
		}
		return errors.Join(c.DestroyEvent(from), c.DestroyEvent(to))
	})
}
