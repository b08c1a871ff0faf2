package layout

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

func makeConcat(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	axis := r.Int("axis", 1) // a default only in opset 1 to 3
	if s.Opset >= 4 && !r.Has("axis") {
		r.Fail("attribute %q is missing", "axis")
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		parts := make([]*kernel.Tensor, len(c.In))
		for i := range c.In {
			t, err := c.Tensor(i)
			if err != nil {
				return err
			}
			parts[i] = t
		}
		return concat(c, parts, axis)
	}, nil
}

// concat makes the first output of the parts side by side along axis.
func concat(c *kernel.Call, parts []*kernel.Tensor, axis int64) error {
	if len(parts) == 0 {
		return fmt.Errorf("nothing to concatenate")
	}
	first := parts[0]
	a, err := kernel.Axis(axis, len(first.Shape))
	if err != nil {
		return err
	}
	shape := append([]int(nil), first.Shape...)
	for i, t := range parts[1:] {
		fits := len(t.Shape) == len(shape) && t.DType == first.DType
		for j := 0; fits && j < len(shape); j++ {
			fits = j == a || t.Shape[j] == first.Shape[j]
		}
		if !fits {
			return fmt.Errorf("input %d is %s, want %s but for axis %d", i+1, t, first, a)
		}
		shape[a] += t.Shape[a]
	}
	out, err := c.New(0, first.DType, shape)
	if err != nil {
		return err
	}
	outer, _, inner := split3(shape, a)
	at, row := 0, shape[a]*inner
	for _, t := range parts {
		n := t.Shape[a] * inner
		copyStrided(c.Pool, out, at, []int{row, 1}, t, 0, []int{n, 1}, []int{outer, n})
		at += n
	}
	return nil
}

// makeSplit cuts along an axis: into the lengths given by attribute or input, else into as many equal parts as there are outputs, the
// last one smaller where they do not come out even.
func makeSplit(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	axis := r.Int("axis", 0)
	attr, asAttr := r.Ints("split")
	parts := r.Int("num_outputs", int64(len(s.Node.Outputs)))
	if parts != int64(len(s.Node.Outputs)) {
		r.Fail("num_outputs is %d, the node has %d", parts, len(s.Node.Outputs))
	}
	if asAttr && r.Has("num_outputs") {
		r.Fail("both %q and %q are given", "split", "num_outputs")
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		a, err := kernel.Axis(axis, len(t.Shape))
		if err != nil {
			return err
		}
		want, some, err := axesOf(c, attr, asAttr, 1)
		if err != nil {
			return err
		}
		extent := t.Shape[a]
		var lengths []int
		if some {
			if lengths, err = partsOf(want, extent, a); err != nil {
				return err
			}
			if len(lengths) != len(c.Out) {
				return fmt.Errorf("split %v has %d parts, the node has %d outputs", want, len(want), len(c.Out))
			}
		} else {
			n := len(c.Out)
			each := (extent + n - 1) / n
			if each*(n-1) > extent || (extent%n != 0 && s.Opset < 18) {
				return fmt.Errorf("axis %d of %s does not split into %d parts", a, t, n)
			}
			for i := range n {
				lengths = append(lengths, min(each, extent-i*each))
			}
		}
		from := 0
		for i, n := range lengths {
			if c.Wants(i) {
				shape := append([]int(nil), t.Shape...)
				shape[a] = n
				out, err := c.New(i, t.DType, shape)
				if err != nil {
					return err
				}
				cut(c.Pool, out, t, a, from)
			}
			from += n
		}
		return nil
	}, nil
}

// partsOf checks that lengths add up to the extent of an axis.
func partsOf(want []int64, extent, axis int) ([]int, error) {
	lengths, sum := make([]int, len(want)), 0
	for i, n := range want {
		if n < 0 || n > int64(extent-sum) {
			return nil, fmt.Errorf("parts %v do not fit axis %d of extent %d", want, axis, extent)
		}
		lengths[i] = int(n)
		sum += lengths[i]
	}
	if sum != extent {
		return nil, fmt.Errorf("parts %v add up to %d, axis %d has extent %d", want, sum, axis, extent)
	}
	return lengths, nil
}

// cut fills dst with what begins at from along the axis of src.
func cut(p *kernel.Pool, dst, src *kernel.Tensor, axis, from int) {
	outer, extent, inner := split3(src.Shape, axis)
	n := dst.Shape[axis] * inner
	copyStrided(p, dst, 0, []int{n, 1}, src, from*inner, []int{extent * inner, 1}, []int{outer, n})
}
