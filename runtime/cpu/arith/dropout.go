package arith

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeDropout makes Dropout. It drops only where training is asked for: by input 2 from opset 12 on, by a missing is_test before opset 7,
// not at all between.
func makeDropout(s *kernel.Site) (kernel.Func, error) {
	want := attrs{"seed": graph.AttrInt}
	if s.Opset < 12 {
		want = attrs{"ratio": graph.AttrFloat}
	}
	if s.Opset < 7 {
		want["is_test"] = graph.AttrInt
	}
	if err := check(s, want); err != nil {
		return nil, err
	}
	start := source(s)
	return func(c *kernel.Call) error {
		x, err := c.Tensor(0)
		if err != nil {
			return err
		}
		training := s.Opset < 7 && !flag(s, "is_test", 0)
		if mode := c.Optional(2); mode != nil && s.Opset >= 12 {
			if mode.DType != tensor.Bool || mode.Len() != 1 {
				return fmt.Errorf("input 2 is %s, want one bool", mode)
			}
			training = kernel.Of[uint8](mode)[0] != 0
		}
		ratio := number(s, "ratio", 0.5)
		if t := c.Optional(1); t != nil && s.Opset >= 12 {
			if t.Len() != 1 || !castable(t.DType) {
				return fmt.Errorf("input 1 is %s, want one number", t)
			}
			var v [1]float64
			loadFloat64(v[:], t, 0)
			ratio = v[0]
		}
		if training && !(ratio >= 0 && ratio < 1) {
			return fmt.Errorf("ratio is %v, want at least 0 and below 1", ratio)
		}
		drop := training && ratio > 0
		var mask *kernel.Tensor
		if c.Wants(1) || drop {
			d := tensor.Bool
			if s.Opset < 10 {
				d = x.DType
			}
			if mask, err = c.Mem.New(d, x.Shape); err != nil {
				return err
			}
			if c.Wants(1) {
				c.Out[1] = mask
			} else {
				defer kernel.Release(mask)
			}
			r := start()
			keep(mask, func() bool { return !drop || r.uniform() >= ratio })
		}
		if !drop {
			c.View(0, x, x.Shape)
			return nil
		}
		out, err := c.New(0, x.DType, x.Shape)
		if err != nil {
			return err
		}
		return scaleKept(c, out, x, mask, 1/(1-ratio))
	}, nil
}

// keep writes what next says to every element.
func keep(mask *kernel.Tensor, next func() bool) {
	buf := conversions.Get().(*buffers)
	defer conversions.Put(buf)
	for lo, n := 0, mask.Len(); lo < n; lo += chunk {
		v := buf.f64[:min(chunk, n-lo)]
		for i := range v {
			v[i] = float64(truth(next()))
		}
		storeFloat64(mask, lo, v, buf, narrowing{})
	}
}

// scaleKept is scale·x·mask.
func scaleKept(c *kernel.Call, out, x, mask *kernel.Tensor, scale float64) error {
	if !castable(x.DType) || isInteger(x.DType) {
		return typeError(0, x.DType)
	}
	c.Pool.For(x.Len(), grain, func(lo, hi int) {
		buf := conversions.Get().(*buffers)
		defer conversions.Put(buf)
		var m [chunk]float64
		for ; lo < hi; lo += chunk {
			n := min(chunk, hi-lo)
			loadFloat64(buf.f64[:n], x, lo)
			loadFloat64(m[:n], mask, lo)
			for i, k := range m[:n] {
				buf.f64[i] *= scale * k
			}
			storeFloat64(out, lo, buf.f64[:n], buf, narrowing{})
		}
	})
	return nil
}
