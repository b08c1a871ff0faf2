package layout

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeConstantOfShape repeats one element, by default a float32 zero.
func makeConstantOfShape(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	value := r.Tensor("value")
	if value == nil {
		value = &kernel.Tensor{DType: tensor.Float32, Bytes: make([]byte, 4)}
	}
	if value.Len() != 1 {
		r.Fail("attribute %q has %d elements, want 1", "value", value.Len())
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		want, err := c.Ints(0)
		if err != nil {
			return err
		}
		shape, err := dims(want)
		if err != nil {
			return err
		}
		out, err := c.New(0, value.DType, shape)
		if err != nil {
			return err
		}
		fill(c.Pool, out, value)
		return nil
	}, nil
}

// makeEyeLike has ones on diagonal k.
func makeEyeLike(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	k := r.Int("k", 0)
	d := r.DType("dtype", tensor.Undefined)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		shape := t.Shape
		if len(shape) == 1 {
			shape = []int{shape[0], shape[0]}
		}
		if len(shape) != 2 {
			return fmt.Errorf("input is %s, want two axes", t)
		}
		to := d
		if to == tensor.Undefined {
			to = t.DType
		}
		if to == tensor.String {
			return fmt.Errorf("no one of type %s", to)
		}
		out, err := c.New(0, to, shape)
		if err != nil || out.Len() == 0 {
			return err
		}
		one := &kernel.Tensor{DType: to, Shape: []int{1}, Bytes: make([]byte, width(out))}
		if err := store(one, []float64{1}, math.Trunc); err != nil {
			return err
		}
		zero(out)
		rows, cols := shape[0], shape[1]
		for i := range rows {
			if j := int64(i) + min(max(k, -int64(rows)), int64(cols)); j >= 0 && j < int64(cols) {
				move(out, i*cols+int(j), one, 0, 1)
			}
		}
		return nil
	}, nil
}

// makeRange counts from start by delta as long as limit is not reached: max(ceil((limit−start)/delta), 0) numbers start + i·delta.
func makeRange(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	r.DType("stash_type", tensor.Float32) // the type to compute in, which is at least as wide here
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		var in [3]*kernel.Tensor
		for i := range in {
			t, err := c.Tensor(i)
			if err != nil {
				return err
			}
			if t.Len() != 1 || t.DType != c.In[0].(*kernel.Tensor).DType {
				return fmt.Errorf("input %d is %s, want one %s", i, t, c.In[0].(*kernel.Tensor).DType)
			}
			in[i] = t
		}
		switch in[0].DType {
		case tensor.Int64:
			return countInts[int64](c, in)
		case tensor.Int32:
			return countInts[int32](c, in)
		case tensor.Int16:
			return countInts[int16](c, in)
		case tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16:
		default:
			return fmt.Errorf("no range of %s", in[0].DType)
		}
		var v [3]float64
		for i, t := range in {
			if err := load(v[i:i+1], t); err != nil {
				return err
			}
		}
		n := math.Ceil((v[1] - v[0]) / v[2])
		if v[2] == 0 || math.IsNaN(n) || n > maxExtent {
			return fmt.Errorf("no range from %g to %g by %g", v[0], v[1], v[2])
		}
		out, err := c.New(0, in[0].DType, []int{int(max(n, 0))})
		if err != nil {
			return err
		}
		switch out.DType {
		case tensor.Float32:
			for i, d := 0, kernel.Of[float32](out); i < len(d); i++ {
				d[i] = float32(v[0] + float64(i)*v[2])
			}
		case tensor.Float64:
			for i, d := 0, kernel.Of[float64](out); i < len(d); i++ {
				d[i] = v[0] + float64(i)*v[2]
			}
		case tensor.Float16:
			for i, d := 0, kernel.Of[float8.Float16](out); i < len(d); i++ {
				d[i] = float8.Float16FromFloat32(float32(v[0] + float64(i)*v[2]))
			}
		case tensor.BFloat16:
			for i, d := 0, kernel.Of[float8.BFloat16](out); i < len(d); i++ {
				d[i] = float8.BFloat16FromFloat32(float32(v[0] + float64(i)*v[2]))
			}
		}
		return nil
	}, nil
}

func countInts[T int16 | int32 | int64](c *kernel.Call, in [3]*kernel.Tensor) error {
	start, limit, delta := int64(kernel.Of[T](in[0])[0]), int64(kernel.Of[T](in[1])[0]), int64(kernel.Of[T](in[2])[0])
	var way, step uint64 // unsigned differences do not overflow
	switch {
	case delta == 0:
		return fmt.Errorf("no range from %d to %d by 0", start, limit)
	case delta > 0 && limit > start:
		way, step = uint64(limit)-uint64(start), uint64(delta)
	case delta < 0 && limit < start:
		way, step = uint64(start)-uint64(limit), -uint64(delta)
	default:
		step = 1
	}
	n := way / step
	if way%step != 0 {
		n++
	}
	if n > maxExtent {
		return fmt.Errorf("a range from %d to %d by %d has %d elements", start, limit, delta, n)
	}
	out, err := c.New(0, in[0].DType, []int{int(n)})
	if err != nil {
		return err
	}
	for i, d := 0, kernel.Of[T](out); i < len(d); i++ {
		d[i] = T(start + int64(i)*delta)
	}
	return nil
}
