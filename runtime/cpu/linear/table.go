package linear

import (
	"fmt"
	"math"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// Table is the package's operators. Float8Linear is made by [NewFloat8Linear].
func Table() kernel.Table {
	return kernel.Table{
		"MatMul": func(s *kernel.Site) (kernel.Func, error) {
			o, err := NewMatMul(s)
			if err != nil {
				return nil, err
			}
			return func(c *kernel.Call) error { return o.Run(c, Fuse{}) }, nil
		},
		"Gemm": func(s *kernel.Site) (kernel.Func, error) {
			o, err := NewGemm(s)
			if err != nil {
				return nil, err
			}
			return func(c *kernel.Call) error { return o.Run(c, Fuse{}) }, nil
		},
		"MatMulInteger": func(s *kernel.Site) (kernel.Func, error) { return matMulInteger, known(s.Node) },
		"QLinearMatMul": func(s *kernel.Site) (kernel.Func, error) { return qLinearMatMul, known(s.Node) },
		"Einsum":        newEinsumFunc,

		"com.microsoft.MatMulNBits": newNBits,
	}
}

// known refuses attributes that the operator does not have.
func known(n *graph.Node, names ...string) error {
	for _, a := range n.Attributes {
		if !slices.Contains(names, a.Name) {
			return fmt.Errorf("attribute %q is not known", a.Name)
		}
	}
	return nil
}

// sameBits reports whether a and b are equal, a NaN to itself too.
func sameBits(a, b []float32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}
