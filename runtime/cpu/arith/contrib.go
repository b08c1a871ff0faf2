package arith

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// biasGelu is a Gelu of the sum of input 0 and a bias over its last axis, which may be left out where optional. The sum of a 16-bit type
// is not rounded.
func biasGelu(f32 func(dst, src []float32), f64 func(dst, src []float64), optional bool) kernel.Func {
	unary := apply(tensor.Undefined, loops1{f32: f32, f64: f64}.of)
	sum := loops2{
		f32: func(dst, a, b []float32) { add(dst, a, b); f32(dst, dst) },
		f64: func(dst, a, b []float64) { add(dst, a, b); f64(dst, dst) },
	}
	binary := applyPairs(tensor.Undefined, sum.of, func(a, b []int) ([]int, error) {
		if len(b) != 1 || len(a) == 0 || a[len(a)-1] != b[0] {
			return nil, fmt.Errorf("bias %s does not fit input %s", kernel.ShapeString(b), kernel.ShapeString(a))
		}
		return b, nil
	})
	return func(c *kernel.Call) error {
		if optional && c.Optional(1) == nil {
			return unary(c)
		}
		return binary(c)
	}
}

// contribs are elementwise operators of the domain com.microsoft, as ONNX Runtime defines them.
func contribs() kernel.Table {
	return kernel.Table{
		"com.microsoft.Gelu":     vectored(gelu32(), gelu),
		"com.microsoft.BiasGelu": plain(biasGelu(gelu32(), through[float64](gelu), false)),
		"com.microsoft.FastGelu": plain(biasGelu(tanhGelu32(), through[float64](tanhGelu), true)),
		"com.microsoft.QuickGelu": func(s *kernel.Site) (kernel.Func, error) {
			if err := check(s, attrs{"alpha": graph.AttrFloat}); err != nil {
				return nil, err
			}
			a := number(s, "alpha", 1.702)
			f := function1{swish32(a), func(x float64) float64 { return x * sigmoid(a*x) }}
			return apply(tensor.Undefined, f.loops().of), nil
		},
	}
}
