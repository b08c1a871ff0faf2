package layout

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeIdentity hands its input on: a tensor, a sequence or an optional.
func makeIdentity(s *kernel.Site) (kernel.Func, error) {
	if err := s.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		if !given(c, 0) {
			return fmt.Errorf("input 0 is missing")
		}
		hand(c, c.In[0])
		return nil
	}, nil
}

// hand makes the first output an existing value, which thereby has one more holder.
func hand(c *kernel.Call, v kernel.Value) {
	if len(c.Out) > 0 {
		kernel.Retain(v)
		c.Out[0] = v
	}
}

// makeReshape: 0 copies the input's extent unless allowzero, one -1 takes what is left.
func makeReshape(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	zeros := r.Flag("allowzero", false)
	attr, asAttr := r.Ints("shape") // opset 1 to 4
	r.Skip("consumed_inputs")
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		want := attr
		if !asAttr {
			if want, err = c.Ints(1); err != nil {
				return err
			}
		}
		shape, err := reshaped(t, want, zeros)
		if err != nil {
			return err
		}
		c.View(0, t, shape)
		return nil
	}, nil
}

func reshaped(t *kernel.Tensor, want []int64, zeros bool) ([]int, error) {
	shape := make([]int64, len(want))
	free := -1
	for i, d := range want {
		switch {
		case d == -1 && free >= 0:
			return nil, fmt.Errorf("shape %v has two axes of -1", want)
		case d == -1:
			free = i
			d = 1
		case d == 0 && !zeros:
			if i >= len(t.Shape) {
				return nil, fmt.Errorf("shape %v copies axis %d of %s, which has none", want, i, t)
			}
			d = int64(t.Shape[i])
		}
		shape[i] = d
	}
	out, err := dims(shape)
	if err != nil {
		return nil, err
	}
	n, have := kernel.Count(out), t.Len()
	if free >= 0 {
		if n == 0 || have%n != 0 {
			return nil, fmt.Errorf("%s has no shape %v: %d elements do not divide by %d", t, want, have, n)
		}
		out[free] = have / n
		n = have
	}
	if n != have {
		return nil, fmt.Errorf("%s has no shape %v: %d elements, want %d", t, want, have, n)
	}
	return out, nil
}

// makeFlatten makes a matrix of [axes before axis] by [axes from axis on].
func makeFlatten(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	axis := r.Int("axis", 1)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		rank := int64(len(t.Shape))
		if axis < -rank || axis > rank {
			return fmt.Errorf("axis %d, want %d to %d", axis, -rank, rank)
		}
		a := axis
		if a < 0 {
			a += rank
		}
		c.View(0, t, []int{kernel.Count(t.Shape[:a]), kernel.Count(t.Shape[a:])})
		return nil
	}, nil
}

// axesOf reads axes from the attribute of older opsets or from the input at in; ok says whether there are any.
func axesOf(c *kernel.Call, attr []int64, asAttr bool, in int) (v []int64, ok bool, err error) {
	if asAttr {
		return attr, true, nil
	}
	if !given(c, in) {
		return nil, false, nil
	}
	v, err = c.Ints(in)
	return v, true, err
}

func makeSqueeze(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	attr, asAttr := r.Ints("axes")
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		v, some, err := axesOf(c, attr, asAttr, 1)
		if err != nil {
			return err
		}
		drop := make([]bool, len(t.Shape))
		if some {
			for _, a := range v {
				n, err := kernel.Axis(a, len(t.Shape))
				if err != nil {
					return err
				}
				if t.Shape[n] != 1 {
					return fmt.Errorf("axis %d of %s has extent %d, want 1", n, t, t.Shape[n])
				}
				drop[n] = true
			}
		} else {
			for i, d := range t.Shape {
				drop[i] = d == 1
			}
		}
		shape := make([]int, 0, len(t.Shape))
		for i, d := range t.Shape {
			if !drop[i] {
				shape = append(shape, d)
			}
		}
		c.View(0, t, shape)
		return nil
	}, nil
}

// makeUnsqueeze puts in axes of extent 1, counted in the output.
func makeUnsqueeze(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	attr, asAttr := r.Ints("axes")
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		v, some, err := axesOf(c, attr, asAttr, 1)
		if err != nil {
			return err
		}
		if !some {
			return fmt.Errorf("axes are missing")
		}
		rank := len(t.Shape) + len(v)
		at, err := axes(v, rank)
		if err != nil {
			return err
		}
		shape := make([]int, rank)
		for _, a := range at {
			shape[a] = 1
		}
		next := 0
		for i := range shape {
			if shape[i] == 0 {
				// Extents of the input may be 0, which is why the new axes are marked first and the rest is filled in order.
				shape[i] = -1
			}
		}
		for i := range shape {
			if shape[i] < 0 {
				shape[i] = t.Shape[next]
				next++
			}
		}
		c.View(0, t, shape)
		return nil
	}, nil
}

// makeShape gives the extents of the axes from start up to end, both clamped.
func makeShape(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	start := r.Int("start", 0)
	open := !r.Has("end")
	end := r.Int("end", 0)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		rank := int64(len(t.Shape))
		clamp := func(a int64) int64 {
			if a < 0 {
				a += rank
			}
			return min(max(a, 0), rank)
		}
		from, to := clamp(start), rank
		if !open {
			to = clamp(end)
		}
		to = max(from, to)
		out, err := c.New(0, tensor.Int64, []int{int(to - from)})
		if err != nil {
			return err
		}
		for i, v := 0, kernel.Of[int64](out); i < len(v); i++ {
			v[i] = int64(t.Shape[int(from)+i])
		}
		return nil
	}, nil
}

func makeSize(s *kernel.Site) (kernel.Func, error) {
	if err := s.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		out, err := c.New(0, tensor.Int64, nil)
		if err != nil {
			return err
		}
		kernel.Of[int64](out)[0] = int64(t.Len())
		return nil
	}, nil
}
