package gemm

import (
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// BenchmarkRun reports GFLOP/s: 2·M·N·K operations a product. GOMAXPROCS says how many threads.
func BenchmarkRun(b *testing.B) {
	rng := rand.New(rand.NewPCG(9, 9))
	pool := kernel.NewPool(goruntime.GOMAXPROCS(0))
	for _, s := range []struct{ batch, m, k, n int }{
		{1, 512, 1024, 1024}, {1, 128, 768, 3072}, {1, 512, 768, 3072}, {1, 512, 3072, 768}, {1, 1024, 128, 352}, {1, 8, 768, 3072}, {1, 1, 768, 3072}, {32, 128, 64, 128}, {32, 128, 128, 64},
	} {
		a, w, c := normal(rng, s.batch*s.m*s.k), normal(rng, s.batch*s.k*s.n), make([]float32, s.batch*s.m*s.n)
		p := Problem{M: s.m, N: s.n, K: s.k, Batch: s.batch, A: dense(a, s.k), B: dense(w, s.n), C: output(c, s.n)}
		p.A.Offsets, p.B.Offsets, p.C.Offsets = make([]int, s.batch), make([]int, s.batch), make([]int, s.batch)
		for i := range s.batch {
			p.A.Offsets[i], p.B.Offsets[i], p.C.Offsets[i] = i*s.m*s.k, i*s.k*s.n, i*s.m*s.n
		}
		name := fmt.Sprintf("%dx%dx%d", s.m, s.k, s.n)
		if s.batch > 1 {
			name = fmt.Sprintf("%dof%s", s.batch, name)
		}
		measure := func(b *testing.B, p *Problem) {
			for b.Loop() {
				Run(pool, p)
			}
			b.ReportMetric(2*float64(s.batch)*float64(s.m)*float64(s.n)*float64(s.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		}
		b.Run(name+"/runtime", func(b *testing.B) { measure(b, &p) })
		if s.batch > 1 {
			b.Run(name+"/transposed", func(b *testing.B) {
				q := p
				q.B.RowStride, q.B.ColStride = 1, s.k
				measure(b, &q)
			})
			continue
		}
		p.Packed = Pack(pool, p.B, s.k, s.n)
		b.Run(name+"/packed", func(b *testing.B) { measure(b, &p) })
		b.Run(name+"/cast", func(b *testing.B) {
			q := p
			q.Cast = &Cast{Scale: 100}
			measure(b, &q)
		})
		if s.m == 512 {
			b.Run(name+"/half", func(b *testing.B) {
				q := p
				q.A.DType, q.A.Bytes = tensor.Float16, q.A.Bytes[:2*s.m*s.k]
				q.C.DType, q.C.Bytes = tensor.Float16, q.C.Bytes[:2*s.m*s.n]
				measure(b, &q)
			})
		}
	}
}
