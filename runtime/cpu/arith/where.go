package arith

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// where is ONNX's Where: elements of input 1 where input 0 is true, else of input 2. Only the width of an element matters.
func where(c *kernel.Call) error {
	cond, x, err := operands(c)
	if err != nil {
		return err
	}
	y, err := c.Tensor(2)
	if err != nil {
		return err
	}
	if cond.DType != tensor.Bool {
		return fmt.Errorf("input 0 is %s, want bool", cond.DType)
	}
	if x.DType != y.DType {
		return fmt.Errorf("input 2 is %s, want %s like input 1", y.DType, x.DType)
	}
	shape, err := kernel.Broadcast(cond.Shape, x.Shape, y.Shape)
	if err != nil {
		return err
	}
	p := newPlan(shape, cond.Shape, x.Shape, y.Shape)
	if x.DType == tensor.String {
		out, err := c.New(0, x.DType, shape)
		if err != nil {
			return err
		}
		choose(c.Pool, p, out.Strings, kernel.Of[uint8](cond), x.Strings, y.Strings)
		return nil
	}
	out, err := reuse(c, x.DType, shape, 1, 2)
	if err != nil {
		return err
	}
	mask := kernel.Of[uint8](cond)
	switch kernel.ElemSize(x.DType) {
	case 1:
		choose(c.Pool, p, kernel.Of[uint8](out), mask, kernel.Of[uint8](x), kernel.Of[uint8](y))
	case 2:
		choose(c.Pool, p, kernel.Of[uint16](out), mask, kernel.Of[uint16](x), kernel.Of[uint16](y))
	case 4:
		choose(c.Pool, p, kernel.Of[uint32](out), mask, kernel.Of[uint32](x), kernel.Of[uint32](y))
	case 8:
		choose(c.Pool, p, kernel.Of[uint64](out), mask, kernel.Of[uint64](x), kernel.Of[uint64](y))
	default:
		choose(c.Pool, p, kernel.Of[complex128](out), mask, kernel.Of[complex128](x), kernel.Of[complex128](y))
	}
	return nil
}

func choose[T any](pool *kernel.Pool, p *plan, dst []T, cond []uint8, x, y []T) {
	pool.For(p.n, grain, func(lo, hi int) {
		cb, xb, yb := buffer(p, 0, cond), buffer(p, 1, x), buffer(p, 2, y)
		p.ranges(lo, hi, func(lo, hi int) {
			c, a, b, d := view(p, 0, cond, lo, hi, cb), view(p, 1, x, lo, hi, xb), view(p, 2, y, lo, hi, yb), dst[lo:hi]
			c, a, b = c[:len(d)], a[:len(d)], b[:len(d)]
			for i := range d {
				v := b[i]
				if c[i] != 0 {
					v = a[i]
				}
				d[i] = v
			}
		})
	})
}
