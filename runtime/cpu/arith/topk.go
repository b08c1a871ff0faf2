package arith

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeTopK makes TopK. K is an attribute before opset 10 and input 1 from then on. The results are sorted whether asked for or not: the
// order is undefined otherwise.
func makeTopK(s *kernel.Site) (kernel.Func, error) {
	want := attrs{"axis": graph.AttrInt}
	if s.Opset < 10 {
		want["k"] = graph.AttrInt
	}
	if s.Opset >= 11 {
		want["largest"], want["sorted"] = graph.AttrInt, graph.AttrInt
	}
	if err := check(s, want); err != nil {
		return nil, err
	}
	axis, largest, fixed := s.Node.AttrInt("axis", -1), flag(s, "largest", 1), s.Node.AttrInt("k", -1)
	return func(c *kernel.Call) error {
		x, err := c.Tensor(0)
		if err != nil {
			return err
		}
		k := fixed
		if s.Opset >= 10 {
			v, err := c.Ints(1)
			if err != nil {
				return err
			}
			if len(v) != 1 {
				return fmt.Errorf("input 1 has %d elements, want one", len(v))
			}
			k = v[0]
		}
		at, err := kernel.Axis(axis, len(x.Shape))
		if err != nil {
			return err
		}
		if k < 0 || k > int64(x.Shape[at]) {
			return fmt.Errorf("k is %d, and axis %d of input 0 has %d elements", k, at, x.Shape[at])
		}
		run := topper(x.DType)
		if run == nil {
			return typeError(0, x.DType)
		}
		shape := slices.Clone(x.Shape)
		shape[at] = int(k)
		// Both results are always computed; what nobody wants is scratch.
		values, err := c.Mem.New(x.DType, shape)
		if err != nil {
			return err
		}
		indices, err := c.Mem.New(tensor.Int64, shape)
		if err != nil {
			kernel.Release(values)
			return err
		}
		run(c.Pool, values, indices, x, along(x.Shape, at), int(k), largest)
		for i, t := range []*kernel.Tensor{values, indices} {
			if i < len(c.Out) {
				c.Out[i] = t
			} else {
				kernel.Release(t)
			}
		}
		return nil
	}, nil
}

type topFunc func(pool *kernel.Pool, values, indices, x *kernel.Tensor, l lanes, k int, largest bool)

func topper(d tensor.DType) topFunc {
	switch d {
	case tensor.Float32:
		return top[float32, float32](nil)
	case tensor.Float64:
		return top[float64, float64](nil)
	case tensor.Float16, tensor.BFloat16:
		return top(halfOf(d).widen)
	case tensor.Int8:
		return top[int8, int8](nil)
	case tensor.Int16:
		return top[int16, int16](nil)
	case tensor.Int32:
		return top[int32, int32](nil)
	case tensor.Int64:
		return top[int64, int64](nil)
	case tensor.Uint8:
		return top[uint8, uint8](nil)
	case tensor.Uint16:
		return top[uint16, uint16](nil)
	case tensor.Uint32:
		return top[uint32, uint32](nil)
	case tensor.Uint64:
		return top[uint64, uint64](nil)
	}
	return nil
}

// top finds the k first elements of every lane, in the order of the elements themselves or of the keys that widen makes of them. NaN
// counts as larger than every number.
func top[T float32 | float64 | integer, K numeric](widen func(dst []K, src []T)) topFunc {
	return func(pool *kernel.Pool, values, indices, x *kernel.Tensor, l lanes, k int, largest bool) {
		if k == 0 {
			return
		}
		src, dst, at := kernel.Of[T](x), kernel.Of[T](values), kernel.Of[int64](indices)
		outs := lanes{l.outer, k, l.inner}
		type room struct {
			lane []T
			keys []K
			best []int
		}
		makeRoom := func() room {
			r := room{lane: make([]T, l.n), best: make([]int, k)}
			if widen != nil {
				r.keys = make([]K, l.n)
			}
			return r
		}
		each(pool, l, makeRoom, func(lane int, r room) {
			gather(r.lane, src, l, lane)
			if widen == nil {
				first(r.best, r.lane, largest)
			} else {
				widen(r.keys, r.lane)
				first(r.best, r.keys, largest)
			}
			to := outs.start(lane)
			for _, i := range r.best {
				dst[to], at[to] = r.lane[i], int64(i)
				to += outs.inner
			}
		})
	}
}

// first fills best with the indices of the first elements of v in descending order, or in ascending. Of equal elements the lower index
// comes first. A heap whose root is the last of the best so far keeps it at n·log k.
func first[T numeric](best []int, v []T, largest bool) {
	// before reports whether the element at i comes before the one at j.
	before := func(i, j int) bool {
		a, b := v[i], v[j]
		if !largest {
			a, b = b, a
		}
		switch {
		case a > b, a != a && b == b:
			return true
		case a < b, b != b && a == a:
			return false
		}
		return i < j
	}
	k := len(best)
	down := func(i int) {
		for {
			last := i
			for c := 2*i + 1; c <= 2*i+2 && c < k; c++ {
				if before(best[last], best[c]) {
					last = c
				}
			}
			if last == i {
				return
			}
			best[i], best[last] = best[last], best[i]
			i = last
		}
	}
	for i := range best {
		best[i] = i
	}
	for i := k/2 - 1; i >= 0; i-- {
		down(i)
	}
	for i := k; i < len(v); i++ {
		if before(i, best[0]) {
			best[0] = i
			down(0)
		}
	}
	slices.SortFunc(best, func(i, j int) int {
		if before(i, j) {
			return -1
		}
		return 1
	})
}
