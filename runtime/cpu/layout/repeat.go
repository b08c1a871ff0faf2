package layout

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// makeExpand broadcasts in both directions: an axis of the input that is longer than asked for stays.
func makeExpand(s *kernel.Site) (kernel.Func, error) {
	if err := s.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		want, err := c.Ints(1)
		if err != nil {
			return err
		}
		target, err := dims(want)
		if err != nil {
			return err
		}
		shape, err := kernel.Broadcast(t.Shape, target)
		if err != nil {
			return err
		}
		n, err := product(shape)
		if err != nil {
			return err
		}
		if n == t.Len() {
			c.View(0, t, shape)
			return nil
		}
		out, err := c.New(0, t.DType, shape)
		if err != nil {
			return err
		}
		copyStrided(c.Pool, out, 0, kernel.Strides(shape), t, 0, kernel.BroadcastStrides(t.Shape, shape), shape)
		return nil
	}, nil
}

// makeTile repeats the whole array along every axis.
func makeTile(s *kernel.Site) (kernel.Func, error) {
	if err := s.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		times, err := c.Ints(1)
		if err != nil {
			return err
		}
		if len(c.In) > 2 { // opset 1 to 5: one number and one axis
			a, err := scalar(c, 2)
			if err != nil {
				return err
			}
			axis, err := kernel.Axis(a, len(t.Shape))
			if err != nil || len(times) != 1 {
				return fmt.Errorf("%d repeats along axis %d of %s", len(times), a, t)
			}
			n := times[0]
			times = make([]int64, len(t.Shape))
			for i := range times {
				times[i] = 1
			}
			times[axis] = n
		}
		if len(times) != len(t.Shape) {
			return fmt.Errorf("%d repeats for %s, want %d", len(times), t, len(t.Shape))
		}
		repeats, err := dims(times)
		if err != nil {
			return err
		}
		rank := len(repeats)
		shape := make([]int, rank)
		for i, n := range repeats {
			if t.Shape[i] > 0 && n > maxExtent/t.Shape[i] {
				return &kernel.SizeError{Shape: append([]int(nil), repeats...)}
			}
			shape[i] = n * t.Shape[i]
		}
		out, err := c.New(0, t.DType, shape)
		if err != nil {
			return err
		}
		// Every axis becomes two: the copies, along which the source stands still, and the extent.
		grid, to, from := make([]int, 2*rank), make([]int, 2*rank), make([]int, 2*rank)
		outStride, inStride := kernel.Strides(shape), kernel.Strides(t.Shape)
		for i := range shape {
			grid[2*i], to[2*i] = repeats[i], outStride[i]*t.Shape[i]
			grid[2*i+1], to[2*i+1], from[2*i+1] = t.Shape[i], outStride[i], inStride[i]
		}
		copyStrided(c.Pool, out, 0, to, t, 0, from, grid)
		return nil
	}, nil
}
