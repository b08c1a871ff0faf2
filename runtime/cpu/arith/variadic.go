package arith

import (
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// variadic is the Maker of an operator that joins any number of inputs, one after the other. A mean divides by their number at the end.
func variadic(o op, mean bool) kernel.Maker {
	return plain(func(c *kernel.Call) error {
		first, err := c.Tensor(0)
		if err != nil {
			return err
		}
		ins, shapes := make([]*kernel.Tensor, len(c.In)), make([][]int, len(c.In))
		for i := range c.In {
			if ins[i], err = c.Tensor(i); err != nil {
				return err
			}
			if err := sameType(i, ins[i], first); err != nil {
				return err
			}
			shapes[i] = ins[i].Shape
		}
		shape, err := kernel.Broadcast(shapes...)
		if err != nil {
			return err
		}
		if (o == opAdd || mean) && !isFloat(first.DType) {
			return typeError(0, first.DType)
		}
		if len(ins) == 1 {
			c.View(0, first, shape)
			return nil
		}
		all := make([]int, len(ins))
		for i := range all {
			all[i] = i
		}
		out, err := reuse(c, first.DType, shape, all...)
		if err != nil {
			return err
		}
		p := newPlan(shape, shapes...)
		switch d := first.DType; d {
		case tensor.Float32:
			joinFloats(c.Pool, p, out, ins, float32Loop(o), mean)
		case tensor.Float64:
			joinFloats(c.Pool, p, out, ins, floatLoop[float64](o), mean)
		case tensor.Float16, tensor.BFloat16:
			joinHalves(c.Pool, p, halfOf(d), out, ins, float32Loop(o), mean)
		case tensor.Int8:
			join(c.Pool, p, out, ins, intLoop[int8](o), nil)
		case tensor.Int16:
			join(c.Pool, p, out, ins, intLoop[int16](o), nil)
		case tensor.Int32:
			join(c.Pool, p, out, ins, intLoop[int32](o), nil)
		case tensor.Int64:
			join(c.Pool, p, out, ins, intLoop[int64](o), nil)
		case tensor.Uint8:
			join(c.Pool, p, out, ins, intLoop[uint8](o), nil)
		case tensor.Uint16:
			join(c.Pool, p, out, ins, intLoop[uint16](o), nil)
		case tensor.Uint32:
			join(c.Pool, p, out, ins, intLoop[uint32](o), nil)
		case tensor.Uint64:
			join(c.Pool, p, out, ins, intLoop[uint64](o), nil)
		default:
			kernel.Release(out)
			c.Out[0] = nil
			return typeError(0, d)
		}
		return nil
	})
}

// join writes f(…f(f(in0, in1), in2)…) to out, by way of a buffer: out may be the memory of any of the inputs.
func join[T kernel.Elem](pool *kernel.Pool, p *plan, out *kernel.Tensor, ins []*kernel.Tensor, f func(dst, a, b []T), finish func([]T)) {
	d, src := kernel.Of[T](out), make([][]T, len(ins))
	for k, t := range ins {
		src[k] = kernel.Of[T](t)
	}
	pool.For(p.n, grain, func(lo, hi int) {
		bufs := make([][]T, len(ins))
		for k := range bufs {
			bufs[k] = buffer(p, k, src[k])
		}
		acc := make([]T, min(chunk, hi-lo))
		p.ranges(lo, hi, func(lo, hi int) {
			acc := acc[:hi-lo]
			copy(acc, view(p, 0, src[0], lo, hi, bufs[0]))
			for k := 1; k < len(src); k++ {
				f(acc, acc, view(p, k, src[k], lo, hi, bufs[k]))
			}
			if finish != nil {
				finish(acc)
			}
			copy(d[lo:hi], acc)
		})
	})
}

// meanOf divides by the number of inputs.
func meanOf[T float](n int) func([]T) {
	return func(v []T) {
		for i := range v {
			v[i] /= T(n)
		}
	}
}

func joinFloats[T float32 | float64](pool *kernel.Pool, p *plan, out *kernel.Tensor, ins []*kernel.Tensor, f func(dst, a, b []T), mean bool) {
	var finish func([]T)
	if mean {
		finish = meanOf[T](len(ins))
	}
	join(pool, p, out, ins, f, finish)
}

// joinHalves is joinFloats for a 16-bit float type: it rounds once, after the last input.
func joinHalves(pool *kernel.Pool, p *plan, h half, out *kernel.Tensor, ins []*kernel.Tensor, f func(dst, a, b []float32), mean bool) {
	d, src := kernel.Of[uint16](out), make([][]uint16, len(ins))
	for k, t := range ins {
		src[k] = kernel.Of[uint16](t)
	}
	pool.For(p.n, grain, func(lo, hi int) {
		bufs := make([][]uint16, len(ins))
		for k := range bufs {
			bufs[k] = buffer(p, k, src[k])
		}
		buf := scratches.Get().(*scratch)
		defer scratches.Put(buf)
		p.ranges(lo, hi, func(lo, hi int) {
			acc, next := buf.a[:hi-lo], buf.b[:hi-lo]
			h.widen(acc, view(p, 0, src[0], lo, hi, bufs[0]))
			for k := 1; k < len(src); k++ {
				h.widen(next, view(p, k, src[k], lo, hi, bufs[k]))
				f(acc, acc, next)
			}
			if mean {
				meanOf[float32](len(src))(acc)
			}
			h.narrow(d[lo:hi], acc)
		})
	})
}

// variadics are the operators with any number of inputs.
func variadics() kernel.Table {
	return kernel.Table{
		"Sum":  variadic(opAdd, false),
		"Mean": variadic(opAdd, true),
		"Max":  variadic(opMax, false),
		"Min":  variadic(opMin, false),
	}
}
