package linear

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Fuse is what is done to a product [M,N] before it is written, in the order of the fields. The result has the bits that the operators would
// give one after another, each rounding to the type of the product. The zero value does nothing. The product must be float32, float16
// or bfloat16.
type Fuse struct {
	// Bias is added to every row: N elements of the product's type, in any shape.
	Bias *kernel.Tensor
	// Add is added element by element: the product's type and as many elements as it. It may not share memory with the output.
	Add *kernel.Tensor
	// Act is applied in place to pieces of rows; an element's result must depend on the element alone. It may be called from several
	// goroutines.
	Act func([]float32)
}

// Empty reports whether there is nothing to do.
func (f *Fuse) Empty() bool { return f.Bias == nil && f.Add == nil && f.Act == nil }

// isFloat reports whether the fast kernels compute elements of the type.
func isFloat(d tensor.DType) bool {
	return d == tensor.Float32 || d == tensor.Float16 || d == tensor.BFloat16
}

// apply sets p's epilogue, whose Scale may already stand, for a product of which all rows of the batch lie one after another.
func (f *Fuse) apply(p *gemm.Problem, batch int) error {
	if f.Empty() {
		return nil
	}
	d := p.C.DType
	if f.Bias != nil {
		if f.Bias.DType != d || f.Bias.Len() != p.N {
			return fmt.Errorf("fused bias is %s, want %d elements of %s", f.Bias, p.N, d)
		}
		bias, err := floats(f.Bias)
		if err != nil {
			return err
		}
		p.Bias = bias
	}
	if f.Add != nil {
		if f.Add.DType != d || f.Add.Len() != batch*p.M*p.N {
			return fmt.Errorf("fused matrix is %s, want %d elements of %s", f.Add, batch*p.M*p.N, d)
		}
		if d != tensor.Float32 && f.Bias != nil {
			return fmt.Errorf("a bias and a matrix of %s cannot be fused at once: each rounds", d)
		}
		add := gemm.RowMajor(d, f.Add.Bytes, p.N)
		add.Offsets = p.C.Offsets
		p.Add, p.Beta = &add, 1
	}
	p.Act = f.Act
	p.Steps = d != tensor.Float32
	return nil
}

// floats is a tensor of float32, float16 or bfloat16 as float32; one of float32 shares its memory.
func floats(t *kernel.Tensor) ([]float32, error) {
	switch t.DType {
	case tensor.Float32:
		return kernel.Of[float32](t), nil
	case tensor.Float16:
		v := make([]float32, t.Len())
		float8.WidenFloat16(v, kernel.Of[uint16](t))
		return v, nil
	case tensor.BFloat16:
		v := make([]float32, t.Len())
		float8.WidenBFloat16(v, kernel.Of[uint16](t))
		return v, nil
	}
	return nil, fmt.Errorf("%s, want float32, float16 or bfloat16", t)
}
