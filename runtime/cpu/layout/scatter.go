package layout

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeScatterElements serves Scatter too, which is its older name without a reduction.
func makeScatterElements(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	axis := r.Int("axis", 0)
	how := r.Word("reduction", "none", "none", "add", "mul", "max", "min")
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, up, err := updated(c, 2)
		if err != nil {
			return err
		}
		a, err := ranked(t, axis)
		if err != nil {
			return err
		}
		at, it, err := elementOffsets(c, 1, t.Shape, a)
		if err != nil {
			return err
		}
		if kernel.ShapeString(it.Shape) != kernel.ShapeString(up.Shape) {
			return fmt.Errorf("updates are %s, want the shape of the indices %s", up, it)
		}
		out, err := copyOf(c, 0, 0, t)
		if err != nil {
			return err
		}
		return scatter(out, up, at, 1, how)
	}, nil
}

func makeScatterND(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	how := r.Word("reduction", "none", "none", "add", "mul", "max", "min")
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, up, err := updated(c, 2)
		if err != nil {
			return err
		}
		at, run, it, err := tupleOffsets(c, 1, t.Shape, 0)
		if err != nil {
			return err
		}
		last := len(it.Shape) - 1
		want := append(append([]int(nil), it.Shape[:last]...), t.Shape[it.Shape[last]:]...)
		if kernel.ShapeString(want) != kernel.ShapeString(up.Shape) {
			return fmt.Errorf("updates are %s, want shape %s", up, kernel.ShapeString(want))
		}
		out, err := copyOf(c, 0, 0, t)
		if err != nil {
			return err
		}
		return scatter(out, up, at, run, how)
	}, nil
}

// updated is the tensor that an operator writes updates into, and the updates, input i, of the same type.
func updated(c *kernel.Call, i int) (t, up *kernel.Tensor, err error) {
	if t, err = c.Tensor(0); err != nil {
		return nil, nil, err
	}
	if up, err = c.Tensor(i); err != nil {
		return nil, nil, err
	}
	return t, up, sameType(t, up)
}

// scatter brings runs of n elements to these positions, in order.
func scatter(dst, src *kernel.Tensor, at []int, n int, how string) error {
	if how == "none" {
		putRuns(dst, src, at, n)
		return nil
	}
	switch dst.DType {
	case tensor.Float32:
		reduce(kernel.Of[float32](dst), kernel.Of[float32](src), at, n, how)
	case tensor.Float64:
		reduce(kernel.Of[float64](dst), kernel.Of[float64](src), at, n, how)
	case tensor.Int8:
		reduce(kernel.Of[int8](dst), kernel.Of[int8](src), at, n, how)
	case tensor.Int16:
		reduce(kernel.Of[int16](dst), kernel.Of[int16](src), at, n, how)
	case tensor.Int32:
		reduce(kernel.Of[int32](dst), kernel.Of[int32](src), at, n, how)
	case tensor.Int64:
		reduce(kernel.Of[int64](dst), kernel.Of[int64](src), at, n, how)
	case tensor.Uint8:
		reduce(kernel.Of[uint8](dst), kernel.Of[uint8](src), at, n, how)
	case tensor.Uint16:
		reduce(kernel.Of[uint16](dst), kernel.Of[uint16](src), at, n, how)
	case tensor.Uint32:
		reduce(kernel.Of[uint32](dst), kernel.Of[uint32](src), at, n, how)
	case tensor.Uint64:
		reduce(kernel.Of[uint64](dst), kernel.Of[uint64](src), at, n, how)
	case tensor.Float16:
		reduceHalf(kernel.Of[float8.Float16](dst), kernel.Of[float8.Float16](src), at, n, how, float8.Float16FromFloat32)
	case tensor.BFloat16:
		reduceHalf(kernel.Of[float8.BFloat16](dst), kernel.Of[float8.BFloat16](src), at, n, how, float8.BFloat16FromFloat32)
	case tensor.Bool:
		// Addition and maximum of truth values are "or", the others "and".
		d, s := kernel.Of[uint8](dst), kernel.Of[uint8](src)
		for i, a := range at {
			for j := range n {
				if how == "add" || how == "max" {
					d[a+j] |= s[i*n+j]
				} else {
					d[a+j] &= s[i*n+j]
				}
			}
		}
	default:
		return fmt.Errorf("reduction %q of %s", how, dst.DType)
	}
	return nil
}

func reduce[T number](dst, src []T, at []int, n int, how string) {
	for i, a := range at {
		d, s := dst[a:a+n], src[i*n:(i+1)*n]
		switch how {
		case "add":
			for j, v := range s {
				d[j] += v
			}
		case "mul":
			for j, v := range s {
				d[j] *= v
			}
		case "max":
			for j, v := range s {
				d[j] = max(d[j], v)
			}
		case "min":
			for j, v := range s {
				d[j] = min(d[j], v)
			}
		}
	}
}

// half is a 16-bit float.
type half interface {
	float8.Float16 | float8.BFloat16
	Float32() float32
}

func reduceHalf[T half](dst, src []T, at []int, n int, how string, from func(float32) T) {
	one := []int{0}
	for i, a := range at {
		for j := range n {
			d, s := []float32{dst[a+j].Float32()}, []float32{src[i*n+j].Float32()}
			reduce(d, s, one, 1, how)
			dst[a+j] = from(d[0])
		}
	}
}

// makeTensorScatter writes a step of keys or values into a cache: along axis from the place that write_indices gives for each batch entry.
func makeTensorScatter(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	axis := r.Int("axis", -2)
	circular := r.Word("mode", "linear", "linear", "circular") == "circular"
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, up, err := updated(c, 1)
		if err != nil {
			return err
		}
		a, err := ranked(t, axis)
		if err != nil {
			return err
		}
		if a == 0 {
			return fmt.Errorf("axis 0 is the batch, which has no sequence")
		}
		fits := len(t.Shape) == len(up.Shape)
		for i := 0; fits && i < len(t.Shape); i++ {
			fits = t.Shape[i] == up.Shape[i] || (i == a && up.Shape[i] <= t.Shape[i])
		}
		if !fits {
			return fmt.Errorf("update is %s, which does not fit cache %s along axis %d", up, t, a)
		}
		if t.Len() == 0 {
			_, err := c.New(0, t.DType, t.Shape)
			return err
		}
		places := make([]int64, t.Shape[0])
		if given(c, 2) {
			if places, err = c.Ints(2); err != nil {
				return err
			}
			if len(places) != t.Shape[0] {
				return fmt.Errorf("%d write indices for a batch of %d", len(places), t.Shape[0])
			}
		}
		extent, n, inner := t.Shape[a], up.Shape[a], kernel.Count(t.Shape[a+1:])
		prefix := kernel.Count(t.Shape[1:a])
		at := make([]int, 0, t.Shape[0]*prefix*n)
		for b, place := range places {
			if place < 0 || (!circular && place > int64(extent-n)) {
				return fmt.Errorf("write index %d of batch entry %d does not leave room for %d of %d along axis %d", place, b, n, extent, a)
			}
			for i := range prefix {
				for j := range n {
					at = append(at, ((b*prefix+i)*extent+(int(place%int64(extent))+j)%extent)*inner)
				}
			}
		}
		out, err := copyOf(c, 0, 0, t)
		if err != nil {
			return err
		}
		putRuns(out, up, at, inner)
		return nil
	}, nil
}
