package lt

import (
	"errors"
	"math/rand/v2"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

func TestProducts(t *testing.T) {
	r := fakeRig(t, "130102")
	for i, p := range problems(5, 16, 32) {
		s := newSample(uint64(i), p)
		r.do(t, func(c *driver.Context) error {
			plan, got, err := r.compute(c, s)
			if err != nil {
				t.Errorf("%v: %v", p, err)
				return nil
			}
			if worst, at := s.errorOf(got); worst > 1e-6 || plan.MultiplyX || plan.MultiplyW {
				t.Errorf("%v: error %g: %s", p, worst, at)
			}
			return nil
		})
	}
}

func TestThePlanSaysWhatTheLibraryIsTold(t *testing.T) {
	r := fakeRig(t, "130102")
	r.cublas.Forget()
	p := Problem{M: 4, N: 32, K: 16, X: E5M2, W: E4M3, Y: F32, Fast: true, Rows: true, Channels: true, Bias: BF16, Activation: ReLU}
	r.do(t, func(c *driver.Context) error {
		_, _, err := r.compute(c, newSample(1, p))
		return err
	})
	want := []string{
		"heuristic 4,32,16 workspace 32 align 16,16,16,16 want 1", "cublasLtMatmulPreferenceDestroy",
		"cublasLtMatmul 29·28->0 fast 1 epilogue 6 bias 14 modes 3,3 workspace 1 32 stream 1",
	}
	if log := r.cublas.Log(); !slices.Equal(log, want) {
		t.Errorf("log %q, want %q", log, want)
	}
}

func TestAPlanIsMadeOnce(t *testing.T) {
	r := fakeRig(t, "130102")
	p := Problem{M: 4, N: 32, K: 16, X: BF16, W: BF16, Y: BF16}
	fast, batch := p, p
	fast.Fast = true // which bfloat16 has not
	batch.Batch, batch.XStride = 1, 999
	r.cublas.Forget()
	r.do(t, func(c *driver.Context) error {
		for _, p := range []Problem{p, fast, batch, p} {
			if _, err := r.h.Plan(c, p); err != nil {
				return err
			}
		}
		return nil
	})
	if n := strings.Count(strings.Join(r.cublas.Log(), "\n"), "heuristic"); n != 1 || r.h.Plans() != 1 {
		t.Errorf("the library was asked %d times for %d plans, want 1", n, r.h.Plans())
	}
	r.cublas.Forget()
	r.do(t, func(c *driver.Context) error { return errors.Join(r.h.Close(c), r.h.Close(c)) })
	count := map[string]int{}
	for _, line := range r.cublas.Log() {
		count[line]++
	}
	if count["cublasLtMatmulDescDestroy"] != 1 || count["cublasLtMatrixLayoutDestroy"] != 4 || count["cublasLtDestroy 1"] != 1 {
		t.Errorf("given back: %v", count)
	}
	if used := r.cuda.Used(); used != 0 {
		t.Errorf("%d bytes are left", used)
	}
}

func TestPlansThatNobodyAsksForAreDropped(t *testing.T) {
	r := fakeRig(t, "130102")
	const more = 20
	problem := func(i int) Problem { return Problem{M: 1 + i, N: 32, K: 16, X: BF16, W: BF16, Y: BF16, Batch: 1} }
	var held *Plan
	r.do(t, func(c *driver.Context) error {
		for i := range mostPlans + more {
			plan, err := r.h.Plan(c, problem(i))
			if err != nil {
				return err
			}
			if i == 1 {
				held = plan
			}
			if _, err := r.h.Plan(c, problem(0)); err != nil { // the one asked for again and again
				return err
			}
		}
		return nil
	})
	destroyed := func() int {
		return strings.Count(strings.Join(r.cublas.Log(), "\n"), "cublasLtMatmulDescDestroy")
	}
	if r.h.Plans() != mostPlans {
		t.Fatalf("%d plans are kept, want %d", r.h.Plans(), mostPlans)
	}
	if r.h.plans[problem(0)] == nil || r.h.plans[problem(1)] != nil || r.h.plans[problem(more)] != nil || r.h.plans[problem(more+1)] == nil {
		t.Error("other plans were dropped than those that were not asked for for longest")
	}
	// What was dropped is given back once nobody holds it, and not before.
	for range 500 {
		goruntime.GC()
		r.do(t, func(*driver.Context) error { return r.h.sweep() })
		if destroyed() >= more-1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if n := destroyed(); n != more-1 {
		t.Errorf("%d dropped plans were given back, want %d and not the one that is held", n, more-1)
	}
	s := newSample(1, problem(1))
	r.do(t, func(c *driver.Context) error {
		r.h.plans[problem(1)] = held
		defer delete(r.h.plans, problem(1))
		plan, got, err := r.compute(c, s)
		if err != nil {
			return err
		}
		if worst, at := s.errorOf(got); plan != held || worst > 1e-6 {
			t.Errorf("the plan that is held: error %g: %s", worst, at)
		}
		return nil
	})
}

func TestABadAddressIsFoundBeforeTheCall(t *testing.T) {
	r := fakeRig(t, "130102")
	p := Problem{M: 4, N: 32, K: 16, X: E4M3, W: E4M3, Y: BF16, Channels: true, Rows: true, Bias: BF16}
	r.do(t, func(c *driver.Context) error {
		plan, err := r.h.Plan(c, p)
		if err != nil {
			return err
		}
		plain, err := r.h.Plan(c, Problem{M: 4, N: 32, K: 16, X: BF16, W: BF16, Y: BF16})
		if err != nil {
			return err
		}
		good := Operands{X: 0x1000, W: 0x2000, Y: 0x3000, ScaleX: 0x4000, ScaleW: 0x5000, Bias: 0x6000}
		r.cublas.Forget()
		for name, b := range map[string]struct {
			plan *Plan
			bad  func(*Operands)
			want string
		}{
			"x":                {plan, func(o *Operands) { o.X += 8 }, "x at address 0x1008, want a multiple of 16"},
			"w":                {plan, func(o *Operands) { o.W += 1 }, "w at address 0x2001, want a multiple of 16"},
			"y":                {plan, func(o *Operands) { o.Y += 2 }, "y at address 0x3002, want a multiple of 16"},
			"scaleX":           {plan, func(o *Operands) { o.ScaleX += 4 }, "scaleX at address 0x4004, want a multiple of 16"},
			"scaleW":           {plan, func(o *Operands) { o.ScaleW += 4 }, "scaleW at address 0x5004, want a multiple of 16"},
			"bias":             {plan, func(o *Operands) { o.Bias += 2 }, "bias at address 0x6002, want a multiple of 16"},
			"no x":             {plan, func(o *Operands) { o.X = 0 }, "x at address 0x0, want an address"},
			"no bias":          {plan, func(o *Operands) { o.Bias = 0 }, "bias at address 0x0, want an address"},
			"no vector":        {plan, func(o *Operands) { o.ScaleW = 0 }, "scaleW at address 0x0, want an address"},
			"a scale of y":     {plan, func(o *Operands) { o.ScaleY = 0x10 }, "scaleY at address 0x10, want none"},
			"a bias too many":  {plain, func(o *Operands) { o.ScaleX, o.ScaleW = 0, 0 }, "bias at address 0x6000, want none"},
			"a scale too many": {plain, func(o *Operands) { o.Bias = 0 }, "scaleX at address 0x4000, want none"},
		} {
			o := good
			b.bad(&o)
			err := r.h.Matmul(c, b.plan, o, r.s)
			if _, ok := errors.AsType[*AddressError](err); !ok || !strings.Contains(err.Error(), b.want) {
				t.Errorf("%s: %v, want %q", name, err, b.want)
			}
		}
		if log := r.cublas.Log(); log != nil {
			t.Errorf("calls %q", log)
		}
		return nil
	})
}

func TestVectorsOfScales(t *testing.T) {
	// As on Hopper: for both operands, or for none.
	r := fakeRig(t, "130102")
	for _, v := range [][2]bool{{true, false}, {false, true}, {true, true}} {
		s := newSample(3, Problem{M: 5, N: 16, K: 32, X: E4M3, W: E4M3, Y: F32, Rows: v[0], Channels: v[1], Bias: BF16, Activation: GELU})
		r.do(t, func(c *driver.Context) error {
			plan, got, err := r.compute(c, s)
			if err != nil {
				return err
			}
			if plan.SpreadX != !v[0] || plan.SpreadW != !v[1] || plan.MultiplyX || plan.MultiplyW {
				t.Errorf("rows %v, channels %v: plan %+v", v[0], v[1], plan)
			}
			if worst, at := s.errorOf(got); worst > 1e-6 {
				t.Errorf("rows %v, channels %v: error %g: %s", v[0], v[1], worst, at)
			}
			return nil
		})
	}
	if r.h.Plans() != 3 {
		t.Errorf("%d plans, want 3", r.h.Plans())
	}
}

func TestVectorsOfScalesThatAreNotTakenAreTheCallers(t *testing.T) {
	for name, version := range map[string]string{"the library has none": "120403", "the library refuses": "130102"} {
		t.Run(name, func(t *testing.T) {
			r := fakeRig(t, version)
			if version == "130102" {
				r.cublas.Set("outer", 0)
			}
			s := newSample(3, Problem{M: 5, N: 16, K: 32, X: E4M3, W: E4M3, Y: F32, Channels: true, Bias: BF16, Activation: GELU})
			r.do(t, func(c *driver.Context) error {
				plan, got, err := r.compute(c, s)
				if err != nil {
					return err
				}
				if !plan.MultiplyW || plan.MultiplyX || plan.Problem.Bias != None || plan.Problem.Activation != Identity {
					t.Errorf("plan %+v", plan)
				}
				// The scalar of x is still in the product, nothing else.
				bare := newSample(3, s.p)
				bare.p.Bias, bare.p.Activation = None, Identity
				for i := range bare.want {
					bare.want[i], bare.magnitude[i] = 0, 1
					for k := range s.p.K {
						bare.want[i] += bare.valueX[i/s.p.N*s.p.K+k] * bare.valueW[i%s.p.N*s.p.K+k] * bare.scalesX[0]
					}
				}
				if worst, at := bare.errorOf(got); worst > 1e-5 {
					t.Errorf("error %g: %s", worst, at)
				}
				if err := r.h.Matmul(c, plan, Operands{X: 16, W: 16, Y: 16, ScaleW: 16}, r.s); err == nil || !strings.Contains(err.Error(), "scaleW") {
					t.Errorf("a vector that the plan does not take: %v", err)
				}
				return nil
			})
		})
	}
}

func TestWhatTheLibraryCannotDoIsSaid(t *testing.T) {
	r := fakeRig(t, "130102")
	good := Problem{M: 4, N: 32, K: 16, X: E4M3, W: E4M3, Y: BF16}
	plan := func(p Problem) (err error) {
		return r.dev.Do(func(c *driver.Context) error { _, err := r.h.Plan(c, p); return err })
	}
	r.cublas.Set("answers", 0)
	if err := plan(good); err == nil || !strings.Contains(err.Error(), "e4m3[4,16] · e4m3[32,16]ᵀ → bfloat16: the library has no algorithm for it") {
		t.Errorf("%v", err)
	}
	r.cublas.Set("answers", 1)
	for want, change := range map[string]func(*Problem){
		"K is 24, cuBLASLt wants a multiple of 16":              func(p *Problem) { p.K = 24 },
		"N is 20, cuBLASLt wants a multiple of 8":               func(p *Problem) { p.N = 20 },
		"M 0, N 32, K 16":                                       func(p *Problem) { p.M = 0 },
		"no product of e5m2 with e5m2":                          func(p *Problem) { p.X, p.W = E5M2, E5M2 },
		"no product of e4m3 with bfloat16":                      func(p *Problem) { p.W = BF16 },
		"no float16 output of bfloat16":                         func(p *Problem) { p.X, p.W, p.Y = BF16, BF16, F16 },
		"bias of float32, want bfloat16":                        func(p *Problem) { p.Bias = F32 },
		"outputs of 128 elements lie 64 apart":                  func(p *Problem) { p.X, p.W, p.Batch, p.YStride = BF16, BF16, 2, 64 },
		"float8 products only with K contiguous":                func(p *Problem) { p.KN = true },
		"scales belong to float8 products":                      func(p *Problem) { p.X, p.W, p.Channels = BF16, BF16, true },
		"element types e4m3, e4m3, none":                        func(p *Problem) { p.Y = None },
		"N is 8, cuBLASLt wants a multiple of 16 for e4m3":      func(p *Problem) { p.N, p.Y = 8, E4M3 },
		"N is 6, cuBLASLt wants a multiple of 4 for float32":    func(p *Problem) { p.N, p.Y = 6, F32 },
		"cuBLASLt has no e5m2 output of e4m3 with e4m3":         func(p *Problem) { p.Y = E5M2 },
		"activation Activation(9)":                              func(p *Problem) { p.Activation = 9 },
		"batch 2 with strides 0, -1, 0":                         func(p *Problem) { p.Batch, p.WStride = 2, -1 },
		"cuBLASLt has no e4m3 output of bfloat16 with bfloat16": func(p *Problem) { p.X, p.W, p.Y = BF16, BF16, E4M3 },
	} {
		p := good
		change(&p)
		err := plan(p)
		if _, ok := errors.AsType[*UnsupportedError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// A failure of another kind is no refusal, and leaves nothing in the cache.
	r.cublas.Fail("cublasLtMatmulAlgoGetHeuristic", 14, 0)
	err := plan(good)
	if _, ok := errors.AsType[*UnsupportedError](err); ok || err == nil || !strings.Contains(err.Error(), "CUBLAS_STATUS_INTERNAL_ERROR (14)") || r.h.Plans() != 0 {
		t.Errorf("%v, %d plans", err, r.h.Plans())
	}
}

func TestALostContextIsTheDriversError(t *testing.T) {
	r := fakeRig(t, "130102")
	s := newSample(1, Problem{M: 4, N: 32, K: 16, X: E4M3, W: E4M3, Y: BF16})
	r.cublas.Fail("cublasLtMatmul", 13, 0)
	r.cuda.Fail("cuCtxSynchronize", 700, 0)
	err := r.dev.Do(func(c *driver.Context) error { _, _, err := r.compute(c, s); return err })
	if e, ok := errors.AsType[*driver.Error](err); !ok || e.Code != driver.CodeIllegalAddress || !strings.Contains(err.Error(), "CUBLAS_STATUS_EXECUTION_FAILED") {
		t.Errorf("%v", err)
	}
	if r.dev.Lost() == nil {
		t.Error("the device does not know")
	}
}

func TestNoMemoryForTheWorkspace(t *testing.T) {
	r := fakeRig(t, "130102")
	r.cublas.Forget()
	r.do(t, func(c *driver.Context) error {
		if _, err := r.lib.New(c, 1<<40); !driver.IsOutOfMemory(err) {
			t.Errorf("%v", err)
		}
		return nil
	})
	if log := r.cublas.Log(); !slices.Equal(log, []string{"cublasLtCreate", "cublasLtDestroy 1"}) {
		t.Errorf("log %q", log)
	}
	if _, err := Open(driver.Library{Name: "libcublasLt", Err: errors.New("mine")}); err == nil || err.Error() != "mine" {
		t.Errorf("a library that was not found: %v", err)
	}
	f := driver.Find()
	if _, err := Open(f.CUDA); err == nil || !strings.Contains(err.Error(), "lacks a function") {
		t.Errorf("another library: %v", err)
	}
}

func TestWhyAndPadAgree(t *testing.T) {
	card := driver.Info{Name: "H", Major: 9}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		p := Problem{M: 1 + rng.IntN(300), N: 1 + rng.IntN(300), K: 1 + rng.IntN(300), X: E4M3, W: E4M3, Y: []Type{BF16, F16, F32, E4M3}[rng.IntN(4)]}
		q := Pad(p)
		if why := Why(card, q); why != "" {
			t.Fatalf("%v, padded %v: %s", p, q, why)
		}
		if fits := Why(card, p) == ""; fits != (p == q) || q.K < p.K || q.N < p.N || q.K-p.K > 15 || q.N-p.N > 15 {
			t.Fatalf("%v, padded %v, fits %v", p, q, fits)
		}
	}
	p := Problem{M: 16, N: 16, K: 16, X: E4M3, W: E4M3, Y: BF16}
	for _, c := range []struct {
		major, minor int
		fits         bool
	}{{8, 0, false}, {8, 6, false}, {8, 9, true}, {9, 0, true}, {12, 0, true}, {7, 5, false}} {
		card := driver.Info{Name: "Card", Major: c.major, Minor: c.minor}
		why := Why(card, p)
		if (why == "") != c.fits || why != "" && !strings.Contains(why, "Card has compute capability") {
			t.Errorf("%d.%d: %q", c.major, c.minor, why)
		}
	}
	if why := Why(card, Problem{M: 1, N: 8, K: 16, X: BF16, W: BF16, Y: BF16}); !strings.Contains(why, "no float8 product") {
		t.Errorf("%q", why)
	}
	if (Problem{M: 2, N: 3, K: 4, Batch: 5}).FLOPs() != 240 {
		t.Error("operations")
	}
}
