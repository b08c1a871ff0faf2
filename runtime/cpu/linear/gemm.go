package linear

import (
	"errors"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Gemm is ONNX's operator: alpha·A'·B' + beta·C, where ' may be a transpose and C broadcasts to the product.
type Gemm struct {
	transA, transB bool
	alpha, beta    float32
	weight         *weight
}

// NewGemm prepares the operator of a node. A constant B is kept packed where memory allows.
func NewGemm(s *kernel.Site) (*Gemm, error) {
	n := s.Node
	o := &Gemm{transA: n.AttrInt("transA", 0) != 0, transB: n.AttrInt("transB", 0) != 0, alpha: n.AttrFloat("alpha", 1), beta: n.AttrFloat("beta", 1)}
	if err := known(s, "transA", "transB", "alpha", "beta"); err != nil {
		return nil, err
	}
	if b := constant(s, 1); b != nil && isFloat(b.DType) && len(b.Shape) == 2 {
		k, n := b.Shape[0], b.Shape[1]
		operand := gemm.RowMajor(b.DType, b.Bytes, n)
		if o.transB {
			k, n, operand = n, k, operand.Transposed()
		}
		o.weight = newWeight(s, operand, k, n)
	}
	return o, nil
}

// Run computes output 0 from inputs 0, 1 and, where there is one, 2.
func (o *Gemm) Run(c *kernel.Call, f Fuse) error {
	a, b, err := operands(c)
	if err != nil {
		return err
	}
	if len(a.Shape) != 2 || len(b.Shape) != 2 {
		return fmt.Errorf("operands are %s and %s, want two axes each", a, b)
	}
	m, k, kb, n := a.Shape[0], a.Shape[1], b.Shape[0], b.Shape[1]
	if o.transA {
		m, k = k, m
	}
	if o.transB {
		kb, n = n, kb
	}
	if k != kb {
		return fmt.Errorf("operands are %s and %s with transA %t and transB %t: %d columns meet %d rows", a, b, o.transA, o.transB, k, kb)
	}
	addend := c.Optional(2)
	if o.beta == 0 {
		addend = nil
	}
	rs, cs := 0, 0
	if addend != nil {
		if addend.DType != a.DType {
			return fmt.Errorf("operands are %s, %s and %s, want one type", a, b, addend)
		}
		if rs, cs, err = addendStrides(addend, m, n); err != nil {
			return err
		}
	}
	out, err := c.New(0, a.DType, []int{m, n})
	if err != nil {
		return err
	}
	if !isFloat(a.DType) {
		if !f.Empty() {
			return fmt.Errorf("%s: nothing can be fused", a.DType)
		}
		return o.generic(c.Pool, a, b, addend, out, m, n, k, rs, cs)
	}
	q := &gemm.Problem{M: m, N: n, K: k, A: gemm.RowMajor(a.DType, a.Bytes, a.Shape[1]), B: gemm.RowMajor(b.DType, b.Bytes, b.Shape[1]),
		C: gemm.Output{DType: out.DType, Bytes: out.Bytes, RowStride: n}}
	if o.transA {
		q.A = q.A.Transposed()
	}
	if o.transB {
		q.B = q.B.Transposed()
	}
	if o.weight != nil {
		q.Packed = o.weight.get(c.Pool, nil)
	}
	if o.alpha != 1 {
		q.Scale = []float32{o.alpha}
	}
	if addend == nil {
		if err := f.apply(q, 1); err != nil {
			return err
		}
		gemm.Run(c.Pool, q)
		return nil
	}
	if f.Bias != nil || f.Add != nil {
		return errors.New("nothing more can be added to a Gemm that has a C")
	}
	if q.Act = f.Act; f.Act != nil && a.DType != tensor.Float32 {
		q.Act = func(v []float32) {
			roundTo(v, out.DType) // the Gemm's own rounding
			f.Act(v)
		}
	}
	if rs == 0 && cs == 1 && o.beta == 1 && a.DType == tensor.Float32 {
		q.Bias = kernel.Of[float32](addend)
	} else {
		q.Add = &gemm.Operand{DType: addend.DType, Bytes: addend.Bytes, RowStride: rs, ColStride: cs}
		q.Beta = o.beta
	}
	gemm.Run(c.Pool, q)
	return nil
}

func roundTo(v []float32, d tensor.DType) {
	for i, x := range v {
		if d == tensor.Float16 {
			v[i] = float8.Float16FromFloat32(x).Float32()
		} else {
			v[i] = float8.BFloat16FromFloat32(x).Float32()
		}
	}
}

// addendStrides are those with which C is read as [m,n].
func addendStrides(t *kernel.Tensor, m, n int) (rs, cs int, err error) {
	rows, cols := 1, 1
	switch len(t.Shape) {
	case 0:
	case 1:
		cols = t.Shape[0]
	case 2:
		rows, cols = t.Shape[0], t.Shape[1]
	default:
		rows = -1
	}
	if rows != m && rows != 1 || cols != n && cols != 1 {
		return 0, 0, fmt.Errorf("addend is %s, which does not broadcast to %s", t, kernel.ShapeString([]int{m, n}))
	}
	if rows == m && m != 1 {
		rs = cols
	}
	if cols == n && n != 1 || n == 1 && cols == 1 {
		cs = 1
	}
	return rs, cs, nil
}

func (o *Gemm) generic(w gemm.Workers, a, b, addend, out *kernel.Tensor, m, n, k, rs, cs int) error {
	switch a.DType {
	case tensor.Float64:
		genericGemm[float64](o, w, a, b, addend, out, m, n, k, rs, cs)
	case tensor.Int32:
		genericGemm[int32](o, w, a, b, addend, out, m, n, k, rs, cs)
	case tensor.Int64:
		genericGemm[int64](o, w, a, b, addend, out, m, n, k, rs, cs)
	case tensor.Uint32:
		genericGemm[uint32](o, w, a, b, addend, out, m, n, k, rs, cs)
	case tensor.Uint64:
		genericGemm[uint64](o, w, a, b, addend, out, m, n, k, rs, cs)
	default:
		return fmt.Errorf("elements of type %s are not multiplied", a.DType)
	}
	return nil
}

func genericGemm[T interface {
	gemm.Number
	kernel.Elem
}](o *Gemm, w gemm.Workers, a, b, addend, out *kernel.Tensor, m, n, k, rs, cs int) {
	x := gemm.Matrix[T]{Data: kernel.Of[T](a), RowStride: a.Shape[1], ColStride: 1}
	if o.transA {
		x.RowStride, x.ColStride = x.ColStride, x.RowStride
	}
	y := gemm.Matrix[T]{Data: kernel.Of[T](b), RowStride: b.Shape[1], ColStride: 1}
	if o.transB {
		y.RowStride, y.ColStride = y.ColStride, y.RowStride
	}
	v := kernel.Of[T](out)
	gemm.Generic(w, 1, m, n, k, x, y, gemm.Matrix[T]{Data: v, RowStride: n, ColStride: 1})
	// A factor of one is not applied: integers stay exact.
	if o.alpha != 1 {
		for i := range v {
			v[i] = T(float64(v[i]) * float64(o.alpha))
		}
	}
	if addend == nil {
		return
	}
	z := kernel.Of[T](addend)
	for i := range m {
		for j := range n {
			t := z[i*rs+j*cs]
			if o.beta != 1 {
				t = T(float64(t) * float64(o.beta))
			}
			v[i*n+j] += t
		}
	}
}
