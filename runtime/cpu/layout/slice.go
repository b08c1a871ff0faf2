package layout

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// makeSlice takes start:end:step of axes; starts and ends count from the back where negative, and are clamped to the axis.
func makeSlice(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	starts, asAttr := r.Ints("starts")
	ends, _ := r.Ints("ends")
	which, someAxes := r.Ints("axes")
	if asAttr != r.Has("ends") || (s.Opset < 10) != asAttr {
		r.Fail("starts and ends must be %s in opset %d", map[bool]string{true: "attributes", false: "inputs"}[s.Opset < 10], s.Opset)
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		starts, ends, which, steps := starts, ends, which, []int64(nil)
		some := someAxes
		if !asAttr {
			if starts, err = c.Ints(1); err != nil {
				return err
			}
			if ends, err = c.Ints(2); err != nil {
				return err
			}
			if some = given(c, 3); some {
				if which, err = c.Ints(3); err != nil {
					return err
				}
			}
			if given(c, 4) {
				if steps, err = c.Ints(4); err != nil {
					return err
				}
			}
		}
		rank := len(t.Shape)
		at := make([]int, 0, rank)
		if some {
			if at, err = axes(which, rank); err != nil {
				return err
			}
		} else {
			for i := range min(len(starts), rank) {
				at = append(at, i)
			}
		}
		if len(starts) != len(at) || len(ends) != len(at) || (steps != nil && len(steps) != len(at)) {
			return fmt.Errorf("%d starts, %d ends and %d steps for %d axes of %s", len(starts), len(ends), len(steps), len(at), t)
		}
		shape := append([]int(nil), t.Shape...)
		stride := kernel.Strides(t.Shape)
		from, whole := 0, true
		for i, a := range at {
			step := int64(1)
			if steps != nil {
				step = steps[i]
			}
			if step == 0 {
				return fmt.Errorf("step of axis %d is 0", a)
			}
			first, n := span(starts[i], ends[i], step, int64(t.Shape[a]))
			if n == 1 {
				step = 1
			}
			whole = whole && n == t.Shape[a] && step == 1
			shape[a] = n
			from += first * stride[a]
			stride[a] *= int(step)
		}
		if whole {
			c.View(0, t, shape)
			return nil
		}
		out, err := c.New(0, t.DType, shape)
		if err != nil {
			return err
		}
		copyStrided(c.Pool, out, 0, kernel.Strides(shape), t, from, stride, shape)
		return nil
	}, nil
}

// span is the first index and the number of indices of start:end:step over an axis.
func span(start, end, step, extent int64) (first, n int) {
	clamp := func(v, lo, hi int64) int64 {
		if v < 0 {
			v += extent // cannot overflow: one is negative, the other is not
		}
		return min(max(v, lo), hi)
	}
	if step > 0 {
		a, b := clamp(start, 0, extent), clamp(end, 0, extent)
		if a >= b {
			return 0, 0
		}
		return int(a), int((b-a-1)/step + 1)
	}
	// A start before the first element becomes the first element, unlike in numpy, where nothing is left then.
	a, b := clamp(start, 0, extent-1), clamp(end, -1, extent-1)
	if a <= b {
		return 0, 0
	}
	// -(a-b-1)/step rather than a-b-1 over -step, since the smallest int64 has no opposite.
	return int(a), int(-((a - b - 1) / step) + 1)
}
