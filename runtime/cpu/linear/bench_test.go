package linear

import (
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// BenchmarkFloat8Linear reports GFLOP/s of 512×768 by 768×3072 in float32, beside a MatMul's.
func BenchmarkFloat8Linear(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	const m, k, n = 512, 768, 3072
	random := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	pool := kernel.NewPool(goruntime.GOMAXPROCS(0))
	x := f32([]int{m, k}, random(m*k)...)
	codes := make([]uint8, n*k)
	for i := range codes {
		codes[i] = uint8(rng.IntN(0x7F))
	}
	float8, original := kernel.FromSlice(tensor.Float8E4M3FN, []int{n, k}, codes), f32([]int{n, k}, random(n*k)...)
	measure := func(b *testing.B, in []kernel.Value, run func(*kernel.Call) error) {
		mem := kernel.NewArena(0)
		for b.Loop() {
			c := call(2, in...)
			c.Pool, c.Mem = pool, mem
			if err := run(c); err != nil {
				b.Fatal(err)
			}
			kernel.Release(c.Out[0])
			kernel.Release(c.Out[1])
		}
		b.ReportMetric(2*m*n*k*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	}
	for _, v := range ops.Variants() {
		w := float8
		if v.Weight != ops.WeightFloat8 {
			w = original
		}
		site := layerNode(v, 448)
		site.Constant = func(i int) *kernel.Tensor {
			if i == ops.InWeight {
				return w
			}
			return nil
		}
		o, err := NewFloat8Linear(site)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(v), func(b *testing.B) {
			measure(b, []kernel.Value{x, w, f32(nil, 100), f32(nil, 100)}, func(c *kernel.Call) error {
				_, err := o.Run(c, Options{Counts: true})
				return err
			})
		})
	}
	matrix := f32([]int{k, n}, random(n*k)...)
	site := layerNode(ops.Variant{}, 448)
	site.Node.Attributes = nil
	site.Constant = func(i int) *kernel.Tensor { return []*kernel.Tensor{nil, matrix}[i] }
	o, err := NewMatMul(site)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("MatMul", func(b *testing.B) {
		measure(b, []kernel.Value{x, matrix}, func(c *kernel.Call) error { return o.Run(c, Fuse{}) })
	})
}
