package arith

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeCumulative is the Maker of CumSum, or of CumProd where product.
func makeCumulative(product bool) kernel.Maker {
	return func(s *kernel.Site) (kernel.Func, error) {
		if err := check(s, attrs{"exclusive": graph.AttrInt, "reverse": graph.AttrInt}); err != nil {
			return nil, err
		}
		w := walk{product, flag(s, "exclusive", 0), flag(s, "reverse", 0)}
		return func(c *kernel.Call) error {
			x, err := c.Tensor(0)
			if err != nil {
				return err
			}
			axes, err := c.Ints(1)
			if err != nil {
				return err
			}
			if len(axes) != 1 {
				return fmt.Errorf("input 1 has %d elements, want one axis", len(axes))
			}
			axis, err := kernel.Axis(axes[0], len(x.Shape))
			if err != nil {
				return err
			}
			run := w.of(x.DType)
			if run == nil {
				return typeError(0, x.DType)
			}
			out, err := c.New(0, x.DType, x.Shape)
			if err != nil {
				return err
			}
			run(c.Pool, out, x, along(x.Shape, axis))
			return nil
		}, nil
	}
}

// walk says how a cumulative operator goes along an axis.
type walk struct{ product, exclusive, reverse bool }

type walker func(pool *kernel.Pool, out, x *kernel.Tensor, l lanes)

func (w walk) of(d tensor.DType) walker {
	switch d {
	case tensor.Float32:
		return walkLanes[float32](w)
	case tensor.Float64:
		return walkLanes[float64](w)
	case tensor.Int32:
		return walkLanes[int32](w)
	case tensor.Int64:
		return walkLanes[int64](w)
	case tensor.Uint32:
		return walkLanes[uint32](w)
	case tensor.Uint64:
		return walkLanes[uint64](w)
	case tensor.Float16, tensor.BFloat16:
		h := halfOf(d)
		return func(pool *kernel.Pool, out, x *kernel.Tensor, l lanes) {
			dst, src := kernel.Of[uint16](out), kernel.Of[uint16](x)
			type room struct {
				codes  []uint16
				values []float32
			}
			each(pool, l, func() room { return room{make([]uint16, l.n), make([]float32, l.n)} }, func(lane int, r room) {
				gather(r.codes, src, l, lane)
				h.widen(r.values, r.codes)
				accumulate(r.values, w)
				h.narrow(r.codes, r.values)
				scatter(dst, r.codes, l, lane)
			})
		}
	}
	return nil
}

func walkLanes[T float32 | float64 | int32 | int64 | uint32 | uint64](w walk) walker {
	return func(pool *kernel.Pool, out, x *kernel.Tensor, l lanes) {
		dst, src := kernel.Of[T](out), kernel.Of[T](x)
		each(pool, l, func() []T { return make([]T, l.n) }, func(lane int, buf []T) {
			gather(buf, src, l, lane)
			accumulate(buf, w)
			scatter(dst, buf, l, lane)
		})
	}
}

// accumulate replaces every element by the sum, or product, of those up to it.
func accumulate[T numeric](v []T, w walk) {
	var acc T
	if w.product {
		acc = 1
	}
	for k := range v {
		i := k
		if w.reverse {
			i = len(v) - 1 - k
		}
		next := acc + v[i]
		if w.product {
			next = acc * v[i]
		}
		if w.exclusive {
			v[i] = acc
		} else {
			v[i] = next
		}
		acc = next
	}
}
