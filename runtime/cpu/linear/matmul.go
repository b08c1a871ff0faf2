package linear

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// MatMul is ONNX's operator: numpy's matmul.
type MatMul struct{ weight *weight }

// NewMatMul prepares the operator of a node. A constant right operand of one matrix is kept packed where memory allows.
func NewMatMul(s *kernel.Site) (*MatMul, error) {
	if err := known(s); err != nil {
		return nil, err
	}
	o := &MatMul{}
	if b := constant(s, 1); b != nil && isFloat(b.DType) && len(b.Shape) >= 2 {
		if k, n := b.Shape[len(b.Shape)-2], b.Shape[len(b.Shape)-1]; k*n == b.Len() {
			o.weight = newWeight(s, gemm.RowMajor(b.DType, b.Bytes, n), k, n)
		}
	}
	return o, nil
}

func constant(s *kernel.Site, i int) *kernel.Tensor {
	if s.Constant == nil {
		return nil
	}
	return s.Constant(i)
}

// Run computes output 0 from inputs 0 and 1.
func (o *MatMul) Run(c *kernel.Call, f Fuse) error {
	a, b, err := operands(c)
	if err != nil {
		return err
	}
	p, err := planProduct(a.Shape, b.Shape)
	if err != nil {
		return err
	}
	out, err := c.New(0, a.DType, p.shape)
	if err != nil {
		return err
	}
	if out.Len() == 0 {
		return nil
	}
	if isFloat(a.DType) {
		q := p.problem(a, b, out)
		if o.weight != nil {
			q.Packed = o.weight.get(c.Pool, nil)
		}
		if err := f.apply(q, p.batch); err != nil {
			return err
		}
		gemm.Run(c.Pool, q)
		return nil
	}
	if !f.Empty() {
		return fmt.Errorf("%s: nothing can be fused", a.DType)
	}
	switch a.DType {
	case tensor.Float64:
		generic[float64](c.Pool, p, a, b, out)
	case tensor.Int32:
		generic[int32](c.Pool, p, a, b, out)
	case tensor.Int64:
		generic[int64](c.Pool, p, a, b, out)
	case tensor.Uint32:
		generic[uint32](c.Pool, p, a, b, out)
	case tensor.Uint64:
		generic[uint64](c.Pool, p, a, b, out)
	default:
		return fmt.Errorf("elements of type %s are not multiplied", a.DType)
	}
	return nil
}

// operands are inputs 0 and 1, of one type.
func operands(c *kernel.Call) (a, b *kernel.Tensor, err error) {
	if a, err = c.Tensor(0); err != nil {
		return nil, nil, err
	}
	if b, err = c.Tensor(1); err != nil {
		return nil, nil, err
	}
	if a.DType != b.DType {
		return nil, nil, fmt.Errorf("operands are %s and %s, want one type", a, b)
	}
	return a, b, nil
}

// problem is the plan over dense operands.
func (p *plan) problem(a, b, out *kernel.Tensor) *gemm.Problem {
	q := &gemm.Problem{M: p.m, N: p.n, K: p.k, Batch: p.batch,
		A: gemm.RowMajor(a.DType, a.Bytes, p.k), B: gemm.RowMajor(b.DType, b.Bytes, p.n),
		C: gemm.Output{DType: out.DType, Bytes: out.Bytes, RowStride: p.n}}
	if p.batch > 1 {
		q.A.Offsets, q.B.Offsets, q.C.Offsets = p.aOff, p.bOff, p.cOff
	}
	return q
}

// generic computes the plan in the elements' own type.
func generic[T interface {
	gemm.Number
	kernel.Elem
}](w gemm.Workers, p *plan, a, b, out *kernel.Tensor) {
	gemm.Generic(w, p.batch, p.m, p.n, p.k,
		gemm.Matrix[T]{Data: kernel.Of[T](a), RowStride: p.k, ColStride: 1, Offsets: p.aOff},
		gemm.Matrix[T]{Data: kernel.Of[T](b), RowStride: p.n, ColStride: 1, Offsets: p.bOff},
		gemm.Matrix[T]{Data: kernel.Of[T](out), RowStride: p.n, ColStride: 1, Offsets: p.cOff})
}
