package linear

import (
	"math"

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
		"MatMulInteger": func(s *kernel.Site) (kernel.Func, error) { return matMulInteger, known(s) },
		"QLinearMatMul": func(s *kernel.Site) (kernel.Func, error) { return qLinearMatMul, known(s) },
		"Einsum":        newEinsumFunc,

		"com.microsoft.MatMulNBits": newNBits,
	}
}

// known refuses attributes that the operator does not have.
func known(s *kernel.Site, names ...string) error {
	a := s.Attrs()
	a.Skip(names...)
	return a.Done()
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
