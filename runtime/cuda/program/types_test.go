package program

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// TestModelsOf16Bits goes through operators of each family in the 16-bit types, whose values the GPU may hold with more digits than the
// model has, and rounds where the model says so.
func TestModelsOf16Bits(t *testing.T) {
	for _, d := range []tensor.DType{tensor.Float16, tensor.BFloat16} {
		for _, compute := range []kernels.Type{kernels.F32, kernels.BF16} {
			within := 4e-3
			if d == tensor.BFloat16 || compute == kernels.BF16 {
				within = 3e-2
			}
			t.Run(fmt.Sprint(d, compute), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(9, 1))
				x := newNet(t)
				to := attrs(graph.Int("to", int64(d)))
				narrowed := func(v *tensor.Tensor, constant bool) string {
					if constant {
						raw, _ := v.AsFloat32s()
						own := &tensor.Tensor{DType: d, Shape: v.Shape}
						bytes := make([]byte, 2*len(raw))
						m := &machine{mem: [][]byte{bytes}}
						for i, f := range raw {
							m.put(map[tensor.DType]kernels.Type{tensor.Float16: kernels.F16, tensor.BFloat16: kernels.BF16}[d], gap, int64(i), f)
						}
						own.Data = tensor.Bytes(bytes)
						return x.constant(own)
					}
					return x.node("Cast", to, x.input(v))
				}
				a, b := narrowed(floatsOf(rng, false, 2, 4, 8), false), narrowed(floatsOf(rng, false, 2, 4, 8), false)
				w := narrowed(floatsOf(rng, false, 8), true)
				sum := x.node("Add", nil, a, b)
				norm := x.node("RMSNormalization", nil, sum, w)
				gelu := x.node("Gelu", nil, x.node("Add", nil, norm, w))
				soft := x.node("Softmax", nil, x.node("Mul", nil, norm, narrowed(tensor.Float32s(nil, 0.5), true)))
				total := x.node("ReduceMean", nil, gelu, x.constant(list(1)))
				cat := x.node("Concat", attrs(graph.Int("axis", 1)), total, soft)
				wide := x.node("Cast", attrs(graph.Int("to", int64(tensor.Float32))), x.node("Max", nil, cat, narrowed(tensor.Float32s(nil, 0.1), true)))
				less := x.node("Where", nil, x.node("Less", nil, a, narrowed(tensor.Float32s(nil, 0), true)), a, w)
				p := x.check(compute, within, sum, wide, less, total)
				x.onGPU(p)
			})
		}
	}
}

// TestCastsRound holds that a cast to fewer digits drops them where the GPU computes with more, in the middle of an expression too.
func TestCastsRound(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 2))
	for _, d := range []tensor.DType{tensor.Float16, tensor.BFloat16} {
		x := newNet(t)
		in := x.input(floatsOf(rng, true, 300))
		there := x.node("Cast", attrs(graph.Int("to", int64(d))), in)
		back := x.node("Cast", attrs(graph.Int("to", int64(tensor.Float32))), there)
		p := x.check(kernels.F32, 0, x.node("Sub", nil, back, x.constant(tensor.Float32s(nil, 1))), back)
		x.onGPU(p)
	}
}
