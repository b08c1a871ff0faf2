package layout

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeOneHot puts in an axis of length depth, with values[1] where the index says and values[0] elsewhere. An index outside of
// [-depth, depth-1] has values[0] all along.
func makeOneHot(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	axis := r.Int("axis", -1)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		it, err := c.Tensor(0)
		if err != nil {
			return err
		}
		idx, err := numbers(it)
		if err != nil {
			return err
		}
		dt, err := c.Tensor(1)
		if err != nil {
			return err
		}
		depths, err := numbers(dt)
		if err != nil {
			return err
		}
		values, err := c.Tensor(2)
		if err != nil {
			return err
		}
		if len(depths) != 1 || !(depths[0] >= 1 && depths[0] <= maxExtent) {
			return fmt.Errorf("depth is %v, want one positive number", depths)
		}
		if values.Len() != 2 {
			return fmt.Errorf("values have %d elements, want 2", values.Len())
		}
		depth := int(depths[0])
		a, err := kernel.Axis(axis, len(it.Shape)+1)
		if err != nil {
			return err
		}
		shape := with(it.Shape, a, depth)
		out, err := c.New(0, values.DType, shape)
		if err != nil {
			return err
		}
		fill(c.Pool, out, values)
		_, _, inner := split3(shape, a)
		for i, v := range idx {
			k := clampInt(math.Trunc(v), -depth-1, depth)
			if math.IsNaN(v) || k < -depth || k >= depth {
				continue
			}
			if k < 0 {
				k += depth
			}
			move(out, (i/inner*depth+k)*inner+i%inner, values, 1, 1)
		}
		return nil
	}, nil
}

// makeNonZero gives the positions of what is not zero, false or an empty string, one column each.
func makeNonZero(s *kernel.Site) (kernel.Func, error) {
	if err := s.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		at := nonZero(t)
		rank := len(t.Shape)
		out, err := c.New(0, tensor.Int64, []int{rank, len(at)})
		if err != nil {
			return err
		}
		v := kernel.Of[int64](out)
		for j, p := range at {
			for a := rank - 1; a >= 0; a-- {
				v[a*len(at)+j] = int64(p % t.Shape[a])
				p /= t.Shape[a]
			}
		}
		return nil
	}, nil
}

// nonZero is where t is not zero. Of a float every bit but the sign counts; a format without a negative zero has its NaN there.
func nonZero(t *kernel.Tensor) []int {
	var at []int
	if t.DType == tensor.String {
		for i, s := range t.Strings {
			if s != "" {
				at = append(at, i)
			}
		}
		return at
	}
	w := width(t)
	mask := make([]byte, w)
	for i := range mask {
		mask[i] = 0xFF
	}
	switch t.DType {
	case tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Complex64, tensor.Complex128,
		tensor.Float8E4M3FN, tensor.Float8E5M2:
		mask[w-1] = 0x7F
		if t.DType == tensor.Complex64 || t.DType == tensor.Complex128 {
			mask[w/2-1] = 0x7F
		}
	case tensor.Float4E2M1:
		mask[0] = 7
	case tensor.Float8E8M0: // powers of two, of which none is zero
		for i := range t.Len() {
			at = append(at, i)
		}
		return at
	}
	for i := range t.Len() {
		for j, m := range mask {
			if t.Bytes[i*w+j]&m != 0 {
				at = append(at, i)
				break
			}
		}
	}
	return at
}
