package arith

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// map2 writes an operator's result for every pair of elements, read as p says, to out.
type map2 func(pool *kernel.Pool, p *plan, out, a, b *kernel.Tensor)

// run2 shares the work of f out. f may write where it reads.
func run2[T, R kernel.Elem](f func(dst []R, a, b []T)) map2 {
	return func(pool *kernel.Pool, p *plan, out, a, b *kernel.Tensor) {
		d, x, y := kernel.Of[R](out), kernel.Of[T](a), kernel.Of[T](b)
		if p.direct {
			pool.For(p.n, grain, func(lo, hi int) { f(d[lo:hi], x[lo:hi], y[lo:hi]) })
			return
		}
		pool.For(p.n, grain, func(lo, hi int) {
			xb, yb := buffer(p, 0, x), buffer(p, 1, y)
			p.ranges(lo, hi, func(lo, hi int) {
				f(d[lo:hi], view(p, 0, x, lo, hi, xb), view(p, 1, y, lo, hi, yb))
			})
		})
	}
}

// half2 is f for a 16-bit float type.
func half2(h half, f func(dst, a, b []float32)) map2 {
	return run2(func(dst, a, b []uint16) {
		buf := scratches.Get().(*scratch)
		defer scratches.Put(buf)
		for len(dst) > 0 {
			n := min(chunk, len(dst))
			h.widen(buf.a[:n], a[:n])
			h.widen(buf.b[:n], b[:n])
			f(buf.c[:n], buf.a[:n], buf.b[:n])
			h.narrow(dst[:n], buf.c[:n])
			dst, a, b = dst[n:], a[n:], b[n:]
		}
	})
}

// loops2 are an operator's loops by element type; nil where it does not take the type.
type loops2 struct {
	f32  func(dst, a, b []float32)
	f64  func(dst, a, b []float64)
	i8   func(dst, a, b []int8)
	i16  func(dst, a, b []int16)
	i32  func(dst, a, b []int32)
	i64  func(dst, a, b []int64)
	u8   func(dst, a, b []uint8)
	u16  func(dst, a, b []uint16)
	u32  func(dst, a, b []uint32)
	u64  func(dst, a, b []uint64)
	bool func(dst, a, b []uint8)
}

func some2[T kernel.Elem](f func(dst, a, b []T)) map2 {
	if f == nil {
		return nil
	}
	return run2(f)
}

// of is the loop for an element type.
func (l loops2) of(d tensor.DType) map2 {
	switch d {
	case tensor.Float32:
		return some2(l.f32)
	case tensor.Float64:
		return some2(l.f64)
	case tensor.Float16, tensor.BFloat16:
		if l.f32 == nil {
			return nil
		}
		return half2(halfOf(d), l.f32)
	case tensor.Int8:
		return some2(l.i8)
	case tensor.Int16:
		return some2(l.i16)
	case tensor.Int32:
		return some2(l.i32)
	case tensor.Int64:
		return some2(l.i64)
	case tensor.Uint8:
		return some2(l.u8)
	case tensor.Uint16:
		return some2(l.u16)
	case tensor.Uint32:
		return some2(l.u32)
	case tensor.Uint64:
		return some2(l.u64)
	case tensor.Bool:
		return some2(l.bool)
	}
	return nil
}

// pairs is the Maker of an operator on two tensors of one type that broadcast. The result has their type, or result where that is set.
func pairs(result tensor.DType, choose func(tensor.DType) map2) kernel.Maker {
	return func(s *kernel.Site) (kernel.Func, error) {
		shape, err := legacy(s)
		if err != nil {
			return nil, err
		}
		return applyPairs(result, choose, shape), nil
	}
}

// aligner gives the second operand's shape as it broadcasts to the first.
type aligner func(a, b []int) ([]int, error)

// legacy reads the attributes broadcast and axis that operators had before opset 7; nil stands for numpy's rules.
func legacy(s *kernel.Site) (aligner, error) {
	if s.Opset >= 7 {
		return nil, check(s, nil)
	}
	if err := check(s, attrs{"axis": graph.AttrInt, "broadcast": graph.AttrInt}); err != nil {
		return nil, err
	}
	if !flag(s, "broadcast", 0) {
		return nil, nil
	}
	given := s.Node.Attr("axis") != nil
	axis := s.Node.AttrInt("axis", 0)
	return func(a, b []int) ([]int, error) {
		at := len(a) - len(b)
		if given {
			k, err := kernel.Axis(axis, len(a))
			if err != nil {
				return nil, err
			}
			at = k
		}
		if at < 0 || at+len(b) > len(a) {
			return nil, fmt.Errorf("shape %s does not broadcast to %s at axis %d", kernel.ShapeString(b), kernel.ShapeString(a), at)
		}
		out := append([]int(nil), b...)
		for range len(a) - at - len(b) {
			out = append(out, 1)
		}
		return out, nil
	}, nil
}

// applyPairs is the Func of an operator on two tensors of one type.
func applyPairs(result tensor.DType, choose func(tensor.DType) map2, align aligner) kernel.Func {
	return func(c *kernel.Call) error {
		a, b, err := operands(c)
		if err != nil {
			return err
		}
		f := choose(a.DType)
		if f == nil {
			return typeError(0, a.DType)
		}
		if err := sameType(1, b, a); err != nil {
			return err
		}
		bs := b.Shape
		if align != nil {
			if bs, err = align(a.Shape, bs); err != nil {
				return err
			}
		}
		shape, err := kernel.Broadcast(a.Shape, bs)
		if err != nil {
			return err
		}
		d := result
		if d == tensor.Undefined {
			d = a.DType
		}
		out, err := reuse(c, d, shape, 0, 1)
		if err != nil {
			return err
		}
		f(c.Pool, newPlan(shape, a.Shape, bs), out, a, b)
		return nil
	}
}

// operands are the first two inputs.
func operands(c *kernel.Call) (a, b *kernel.Tensor, err error) {
	if a, err = c.Tensor(0); err != nil {
		return nil, nil, err
	}
	b, err = c.Tensor(1)
	return a, b, err
}

// reuse makes output 0 in the memory of the first of the inputs that has the right size and may be overwritten, else anew.
func reuse(c *kernel.Call, d tensor.DType, shape []int, inputs ...int) (*kernel.Tensor, error) {
	n := kernel.Count(shape)
	for _, i := range inputs {
		t := c.Optional(i)
		if t != nil && t.Len() == n && i < len(c.Dies) && c.Dies[i] && t.Sole() && kernel.ElemSize(t.DType) == kernel.ElemSize(d) {
			return c.Reuse(0, i, d, shape)
		}
	}
	return c.New(0, d, shape)
}
