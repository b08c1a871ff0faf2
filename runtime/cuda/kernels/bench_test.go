package kernels

import (
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// timed gives the median time in ms of one run of f, which gets the number of the run: 5 to warm up and 30 that count, each between
// two events.
func (g *gpu) timed(f func(run int) error) float64 {
	g.Helper()
	from, err := g.c.NewEvent(true)
	g.must(err)
	to, err := g.c.NewEvent(true)
	g.must(err)
	var ms []float64
	for run := range 35 {
		g.must(g.c.Record(from, 0))
		g.must(f(run))
		g.must(g.c.Record(to, 0))
		g.must(g.c.SyncEvent(to))
		t, err := g.c.Elapsed(from, to)
		g.must(err)
		if run >= 5 {
			ms = append(ms, float64(t))
		}
	}
	g.must(g.c.DestroyEvent(from))
	g.must(g.c.DestroyEvent(to))
	slices.Sort(ms)
	return ms[len(ms)/2]
}

// report runs f once for each iteration asked for and reports the median's rates.
func (g *gpu) report(b *testing.B, bytes, flop int64, f func(run int) error) {
	g.Helper()
	var ms float64
	for b.Loop() {
		ms = g.timed(f)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms, "ms")
	b.ReportMetric(float64(bytes)/ms/1e9, "TB/s")
	if flop > 0 {
		b.ReportMetric(float64(flop)/ms/1e9, "TFLOP/s")
	}
}

// sets of inputs, so that the next run does not find its own in the cache: together several times the 60 MB of an H200.
const sets = 3

func (g *gpu) bench(n int64) (p [sets]driver.Ptr) {
	g.Helper()
	small, _ := g.normal(BF16, 1<<20, 1)
	for i := range p {
		p[i] = g.alloc(2 * n)
		for at := int64(0); at < n; at += 1 << 20 {
			g.must(g.c.Copy(p[i].Add(2*at), small, 2*min(1<<20, n-at), 0))
		}
	}
	return p
}

// BenchmarkKernels measures what a layer of hidden 4096 and intermediate 11008 at 8192 tokens moves. Run it with -benchtime 1x.
func BenchmarkKernels(b *testing.B) {
	const side, tokens, hidden, inter = 8192, 8192, 4096, 11008
	n := int64(side * side)
	run := func(name string, f func(b *testing.B, g *gpu)) {
		b.Run(name, func(b *testing.B) { onGPU(b, func(g *gpu) { f(b, g) }) })
	}
	run("copy 8192² bf16", func(b *testing.B, g *gpu) {
		src, dst := g.bench(n), g.bench(n)
		g.report(b, 4*n, 0, func(i int) error { return g.c.Copy(dst[i%sets], src[i%sets], 2*n, 0) })
	})
	run("cast e4m3 + amax 8192² bf16", func(b *testing.B, g *gpu) {
		src, q := g.bench(n), g.codes(E4M3, n, 1)
		g.report(b, 3*n, 0, func(i int) error { return g.Cast(q, src[i%sets], BF16, n, 0, 0) })
	})
	run("cast e4m3 + amax + counts 8192² bf16", func(b *testing.B, g *gpu) {
		src, q, counts := g.bench(n), g.codes(E4M3, n, 1), g.put(make([]byte, 24))
		g.report(b, 3*n, 0, func(i int) error { return g.Cast(q, src[i%sets], BF16, n, counts, 0) })
	})
	run("cast e4m3 + amax 8192² f32", func(b *testing.B, g *gpu) {
		src, q := g.bench(2*n), g.codes(E4M3, n, 1)
		g.report(b, 5*n, 0, func(i int) error { return g.Cast(q, src[i%sets], F32, n, 0, 0) })
	})
	run("amax 8192² bf16", func(b *testing.B, g *gpu) {
		src, amax := g.bench(n), g.number(0)
		g.report(b, 2*n, 0, func(i int) error { return g.Amax(amax, src[i%sets], BF16, n, 0) })
	})
	run("rms norm + residual + codes 8192x4096 bf16", func(b *testing.B, g *gpu) {
		m := int64(tokens * hidden)
		x, r, sum, q := g.bench(m), g.bench(m), g.alloc(2*m), g.codes(E4M3, m, 1)
		w := g.bench(hidden)
		g.report(b, 7*m, 0, func(i int) error {
			return g.Normalize(Norm{T: BF16, X: x[i%sets], Residual: r[i%sets], Sum: sum, Codes: q, Weight: w[0], WeightType: BF16, Rows: tokens, Cols: hidden, Epsilon: 1e-5}, 0)
		})
	})
	run("silu_mul + codes 8192x11008 bf16", func(b *testing.B, g *gpu) {
		m := int64(tokens * inter)
		x, y, q := g.bench(m), g.bench(m), g.codes(E4M3, m, 1)
		g.report(b, 5*m, 0, func(i int) error {
			return g.Activate(Activation{Act: SiLUMul, T: BF16, A: x[i%sets], B: y[i%sets], Codes: q, Rows: tokens, Cols: inter}, 0)
		})
	})
	run("chain bias + gelu 8192x4096 bf16", func(b *testing.B, g *gpu) {
		m := int64(tokens * hidden)
		x, y, bias := g.bench(m), g.alloc(2*m), g.bench(hidden)
		g.report(b, 4*m, 0, func(i int) error {
			return g.Chain(Chain{Dims: []int64{tokens, hidden}, Inputs: []ChainInput{{x[i%sets], BF16, []int64{hidden, 1}}, {bias[0], BF16, []int64{0, 1}}},
				Steps: []Step{{OpAdd, Input(1)}, {Op: OpGELUErf}}, Y: y, T: BF16}, 0)
		})
	})
	run("chain add 8192x4096 bf16", func(b *testing.B, g *gpu) {
		m := int64(tokens * hidden)
		x, y, z := g.bench(m), g.alloc(2*m), g.bench(m)
		g.report(b, 6*m, 0, func(i int) error {
			return g.Chain(Chain{Dims: []int64{m}, Inputs: []ChainInput{{x[i%sets], BF16, []int64{1}}, {z[i%sets], BF16, []int64{1}}},
				Steps: []Step{{OpAdd, Input(1)}}, Y: y, T: BF16}, 0)
		})
	})
	run("softmax 32768x4096 bf16", func(b *testing.B, g *gpu) {
		m := int64(32768 * 4096)
		x, y := g.bench(m), g.alloc(2*m)
		g.report(b, 4*m, 0, func(i int) error {
			return g.Softmax(Softmax{T: BF16, X: x[i%sets], Y: y, Dims: [3]int64{1, 1, 32768}, Cols: 4096, Scale: 1}, 0)
		})
	})
	run("transpose 8192² bf16", func(b *testing.B, g *gpu) {
		src, dst := g.bench(n), g.alloc(2*n)
		g.report(b, 4*n, 0, func(i int) error { return g.Permute(dst, src[i%sets], []int64{side, side}, []int{1, 0}, 2, 0) })
	})
	run("permute heads 2x4096x32x128 bf16", func(b *testing.B, g *gpu) {
		m := int64(2 * 4096 * 32 * 128)
		src, dst := g.bench(m), g.alloc(2*m)
		g.report(b, 4*m, 0, func(i int) error {
			return g.Permute(dst, src[i%sets], []int64{2, 4096, 32, 128}, []int{0, 2, 1, 3}, 2, 0)
		})
	})
	run("rotary 2x32x4096x128 bf16", func(b *testing.B, g *gpu) {
		m := int64(2 * 4096 * 32 * 128)
		x, y, table := g.bench(m), g.alloc(2*m), g.bench(4096*128)
		g.report(b, 4*m, 0, func(i int) error {
			st := [3]int64{4096 * 4096, 128, 4096}
			return g.Rotate(Rotary{T: BF16, X: x[i%sets], Y: y, XStrides: st, YStrides: st, Batch: 2, Heads: 32, Sequence: 4096, Head: 128, Width: 128,
				Cos: table[0], Sin: table[1], TableType: BF16, Full: true}, 0)
		})
	})
	for _, at := range []struct {
		name         string
		heads, head  int64
		causal, mask bool
		codes, older bool // codes in place of the output; the kernel for cards that are not of compute capability 9.0
	}{
		{"causal attention 2x32x4096x128 bf16", 32, 128, true, false, false, false},
		{"causal attention 2x32x4096x128 bf16 to codes", 32, 128, true, false, true, false},
		{"attention 2x32x4096x128 bf16", 32, 128, false, false, false, false},
		{"attention 2x32x4096x128 bf16 with a mask", 32, 128, false, true, false, false},
		{"causal attention 2x64x4096x64 bf16", 64, 64, true, false, false, false},
		{"causal attention 2x32x4096x128 bf16 without wgmma", 32, 128, true, false, false, true},
		{"attention 2x32x4096x128 bf16 with a mask without wgmma", 32, 128, false, true, false, true},
	} {
		run(at.name, func(b *testing.B, g *gpu) {
			const rows = 4096
			width := at.heads * at.head
			m, flop := 2*rows*width, 4*2*width*rows*rows
			q, k, v, o, st := g.bench(m), g.bench(m), g.bench(m), g.alloc(2*m), [3]int64{rows * width, at.head, width}
			a := Attention{T: BF16, O: o, QStrides: st, KStrides: st, VStrides: st, OStrides: st, Batch: 2, Heads: at.heads, KVHeads: at.heads,
				Head: at.head, Queries: rows, Keys: rows, Scale: 0.088388, Causal: at.causal}
			if at.causal {
				flop /= 2
			}
			if at.mask {
				a.Mask = Mask{g.bench(rows * rows)[0], BF16, [4]int64{0, 0, rows, 1}}
			}
			if at.codes {
				a.O, a.Codes = 0, g.codes(E4M3, m, 1)
			}
			g.report(b, 8*m, flop, func(i int) error {
				a.Q, a.K, a.V = q[i%sets], k[i%sets], v[i%sets]
				return g.attend(a, g.hopper() && !at.older, 0)
			})
		})
	}
}
