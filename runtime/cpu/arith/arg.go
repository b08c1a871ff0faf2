package arith

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeArg is the Maker of ArgMax, or of ArgMin where least. A NaN counts as the extreme, as numpy has it.
func makeArg(least bool) kernel.Maker {
	return func(s *kernel.Site) (kernel.Func, error) {
		if err := check(s, attrs{"axis": graph.AttrInt, "keepdims": graph.AttrInt, "select_last_index": graph.AttrInt}); err != nil {
			return nil, err
		}
		axis, keep, last := s.Node.AttrInt("axis", 0), flag(s, "keepdims", 1), flag(s, "select_last_index", 0)
		return func(c *kernel.Call) error {
			x, err := c.Tensor(0)
			if err != nil {
				return err
			}
			k, err := kernel.Axis(axis, len(x.Shape))
			if err != nil {
				return err
			}
			l := along(x.Shape, k)
			if l.n == 0 && l.count() > 0 {
				return fmt.Errorf("input 0 is %s: axis %d has no elements", x, k)
			}
			_, shape, err := axesOf(x.Shape, []int64{axis}, keep, false)
			if err != nil {
				return err
			}
			find := finder(x.DType)
			if find == nil {
				return typeError(0, x.DType)
			}
			out, err := c.New(0, tensor.Int64, shape)
			if err != nil {
				return err
			}
			find(c.Pool, kernel.Of[int64](out), x, l, least, last)
			return nil
		}, nil
	}
}

type finderFunc func(pool *kernel.Pool, dst []int64, x *kernel.Tensor, l lanes, least, last bool)

func finder(d tensor.DType) finderFunc {
	switch d {
	case tensor.Float32:
		return find[float32]
	case tensor.Float64:
		return find[float64]
	case tensor.Float16, tensor.BFloat16:
		return findHalf(halfOf(d))
	case tensor.Int8:
		return find[int8]
	case tensor.Int16:
		return find[int16]
	case tensor.Int32:
		return find[int32]
	case tensor.Int64:
		return find[int64]
	case tensor.Uint8:
		return find[uint8]
	case tensor.Uint16:
		return find[uint16]
	case tensor.Uint32:
		return find[uint32]
	case tensor.Uint64:
		return find[uint64]
	}
	return nil
}

func find[T float32 | float64 | integer](pool *kernel.Pool, dst []int64, x *kernel.Tensor, l lanes, least, last bool) {
	src := kernel.Of[T](x)
	if l.inner == 1 {
		each(pool, l, func() any { return nil }, func(lane int, _ any) {
			dst[lane] = int64(extreme(src[lane*l.n:(lane+1)*l.n], least, last))
		})
		return
	}
	each(pool, l, func() []T { return make([]T, l.n) }, func(lane int, buf []T) {
		gather(buf, src, l, lane)
		dst[lane] = int64(extreme(buf, least, last))
	})
}

func findHalf(h half) finderFunc {
	return func(pool *kernel.Pool, dst []int64, x *kernel.Tensor, l lanes, least, last bool) {
		src := kernel.Of[uint16](x)
		type room struct {
			codes  []uint16
			values []float32
		}
		each(pool, l, func() room { return room{make([]uint16, l.n), make([]float32, l.n)} }, func(lane int, r room) {
			gather(r.codes, src, l, lane)
			h.widen(r.values, r.codes)
			dst[lane] = int64(extreme(r.values, least, last))
		})
	}
}

// extreme is the index of the largest element, or the smallest; of several the first, or the last. A NaN beats all numbers.
func extreme[T numeric](v []T, least, last bool) int {
	var most T
	if least {
		most = minRow(v[0], v)
	} else {
		most = maxRow(v[0], v)
	}
	best := 0
	for i, x := range v {
		if x == most || x != x { // where one is NaN, most is, and is equal to nothing
			if best = i; !last {
				break
			}
		}
	}
	return best
}
